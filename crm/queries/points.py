"""What a member has of points and growth, how it came to be so, and what ends soon."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Sum
from django.utils.translation import gettext as _

from core import clock, ledger
from core.models import LedgerAccount, LedgerLot
from crm import points_rules as rules
from crm.days import YearDay, kept_between
from crm.models import Earning, Member, MemberDay, PointsAdjustment, PointsRules, PointsTaskRun, SignIn
from crm.models.points import FROZEN, GROWTH, POINTS
from crm.queries.tiers import tier_points_bps

SOON = timedelta(days=31)
A_YEAR = timedelta(days=300)
"""Shorter than between two birthdays: a lunar one moves by weeks, and a month counts as a whole."""


@dataclass(frozen=True)
class PointsBalance:
    """`balance` is what the ledger says; of it `spendable` is neither held by an open order nor expired. `frozen` comes
    on top, `owed` is taken from the next points. `ending`: points by the last day on which they can be spent, soon.
    """

    balance: int = 0
    spendable: int = 0
    held: int = 0
    frozen: int = 0
    growth: int = 0
    owed: int = 0
    ending: tuple[tuple[datetime, int], ...] = ()


@dataclass(frozen=True)
class PointsMovement:
    """One line of a statement. `amount` is what it did to the balance, `frozen` to the frozen points, both signed;
    `balance` and `frozen_after` what it left behind. `subject` names what it is about ("order:12").
    """

    pk: int
    at: datetime
    words: str
    note: str
    amount: int
    frozen: int
    balance: int
    frozen_after: int
    subject: str


def points_of(member_id: int) -> PointsBalance:
    """At most four statements."""
    accounts = {
        row.kind: row
        for row in LedgerAccount.objects.filter(owner_id=member_id, kind__in=[POINTS, FROZEN, GROWTH])
    }
    owed = Earning.objects.filter(member_id=member_id, owed__gt=0).aggregate(total=Sum("owed"))["total"] or 0
    account = accounts.get(POINTS)
    ending: tuple[tuple[datetime, int], ...] = ()
    spendable = 0
    if account is not None and account.balance:
        spendable = ledger.spendable_of(account.pk)
        moment = clock.now()
        lots = LedgerLot.objects.filter(
            account=account, remaining__gt=0, expires_at__gt=moment, expires_at__lte=moment + SOON
        )
        ending = tuple(
            (expires_at - timedelta(seconds=1), amount)
            for expires_at, amount in lots.values_list("expires_at")
            .annotate(sum=Sum("remaining"))
            .order_by("expires_at")
        )
    return PointsBalance(
        balance=account.balance if account else 0,
        spendable=spendable,
        held=account.held if account else 0,
        frozen=accounts[FROZEN].balance if FROZEN in accounts else 0,
        growth=accounts[GROWTH].balance if GROWTH in accounts else 0,
        owed=owed,
        ending=ending,
    )


def points_statement(
    member_id: int, *, kind: str = POINTS, before: int | None = None, limit: int = 30
) -> list[PointsMovement]:
    """Her movements, newest first; `before` is the last `pk` already seen. Points: with the frozen ones beside.

    All amounts sum to the balance, all `frozen` to the frozen points. At most three statements.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT * FROM (
                SELECT id, posted_at, cause, other, amount, frozen, sum(amount) OVER run, sum(frozen) OVER run FROM (
                    SELECT t.id, t.posted_at, t.cause, min(o.kind) AS other,
                           sum(CASE WHEN a.kind <> %s THEN s.sign * t.amount ELSE 0 END) AS amount,
                           sum(CASE WHEN a.kind = %s THEN s.sign * t.amount ELSE 0 END) AS frozen
                    FROM core_ledgeraccount a
                    CROSS JOIN (VALUES (1), (-1)) s(sign)
                    JOIN core_ledgertransfer t
                        ON (s.sign = 1 AND t.credit_id = a.id) OR (s.sign = -1 AND t.debit_id = a.id)
                    JOIN core_ledgeraccount o ON o.id = CASE s.sign WHEN 1 THEN t.debit_id ELSE t.credit_id END
                    WHERE a.owner_id = %s AND a.kind = ANY(%s)
                    GROUP BY t.id
                ) each_one WINDOW run AS (ORDER BY id)
            ) moved WHERE %s::bigint IS NULL OR id < %s ORDER BY id DESC LIMIT %s
            """,
            [
                *(FROZEN, FROZEN),
                member_id,
                [POINTS, FROZEN] if kind == POINTS else [kind],
                *(before, before, limit),
            ],
        )
        rows = cursor.fetchall()
    about = _subjects(row[2] for row in rows)
    notes = _reasons([*about.values(), *(row[2] for row in rows)])
    movements = []
    for pk, at, cause, other, amount, frozen, balance, frozen_after in rows:
        subject = about.get(cause, cause)
        movements.append(
            PointsMovement(
                pk=pk,
                at=at,
                words=_words(cause, other, subject),
                note=notes.get(subject, ""),
                amount=int(amount),
                frozen=int(frozen),
                balance=int(balance),
                frozen_after=int(frozen_after),
                subject=subject,
            )
        )
    return movements


@dataclass(frozen=True)
class Earner:
    """By what a member's orders are multiplied at a moment, per ten thousand."""

    tier_bps: int
    birthday_bps: int


def earner(member_id: int, at: datetime) -> Earner:
    """Her tier's multiplier, and the birthday's when it is her day (or month) in the shop's calendar."""
    member = Member.objects.only("tier", "birthday").get(pk=member_id)
    current = PointsRules.objects.filter(pk=1).first()
    birthday_bps = rules.WHOLE
    if current is not None and current.birthday_bps != rules.WHOLE and _is_hers(member, current, at):
        birthday_bps = rules.WHOLE if _had_another(member.pk, current, at) else current.birthday_bps
    return Earner(tier_points_bps(member.tier), birthday_bps)


def _had_another(member_id: int, current: PointsRules, at: datetime) -> bool:
    """She may write her birthday herself: one of a year counts. Has an order of hers counted as on another day (or in
    another month) since the last one?
    """
    day = clock.local(at).date()
    first = day.replace(day=1) if current.birthday_when == PointsRules.MONTH else day
    orders = Earning.objects.filter(member=member_id, kind=POINTS, source=Earning.ORDER)
    return orders.filter(
        earned_at__gte=clock.day_start(day - A_YEAR),
        earned_at__lt=clock.day_start(first),
        basis__birthday_bps__gt=rules.WHOLE,
    ).exists()


def _is_hers(member: Member, current: PointsRules, at: datetime) -> bool:
    """By the lunar calendar where she has a lunar birthday."""
    day, whole_month = clock.local(at).date(), current.birthday_when == PointsRules.MONTH
    lunar = MemberDay.objects.filter(member=member.pk, kind=MemberDay.BIRTHDAY).first()
    if lunar is None:
        return rules.is_birthday(member.birthday, day, whole_month=whole_month)
    first = day.replace(day=1) if whole_month else day
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1) if whole_month else day
    return YearDay(lunar.calendar, lunar.month, lunar.day, lunar.is_leap) in kept_between(first, last)


@dataclass(frozen=True)
class Glance:
    """What "me" shows of her value; `signin_points` 0: nobody signs in. `has_tiers`: there is a tier to look at;
    `open_tasks` of hers are not fulfilled in their period."""

    points: int
    frozen: int
    signin_points: int
    is_signed_in: bool
    has_tiers: bool
    open_tasks: int = 0
    has_tasks: bool = False


def value_at_a_glance(member_id: int) -> Glance:
    """One statement."""
    tasks = """
        FROM crm_pointstask t JOIN crm_pointsrules p ON p.id = 1 AND p.is_active
        WHERE t.is_active AND (t.starts_at IS NULL OR t.starts_at <= %s) AND (t.ends_at IS NULL OR t.ends_at > %s)
    """
    moment, today = clock.now(), clock.today()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT coalesce((SELECT balance FROM core_ledgeraccount WHERE kind = %s AND owner_id = %s), 0),
                   coalesce((SELECT balance FROM core_ledgeraccount WHERE kind = %s AND owner_id = %s), 0),
                   coalesce((SELECT signin_points FROM crm_pointsrules WHERE id = 1 AND is_active), 0),
                   EXISTS (SELECT FROM crm_signin WHERE member_id = %s AND day = %s),
                   EXISTS (SELECT FROM crm_tierrule r JOIN crm_tierpolicy p ON p.id = 1 AND p.is_active),
                   (SELECT count(*) {tasks} AND NOT EXISTS (
                       SELECT FROM crm_pointstaskrun r
                       WHERE r.member_id = %s AND r.task_id = t.id AND r.done_at IS NOT NULL AND r.period =
                           CASE t.period WHEN 'day' THEN %s WHEN 'week' THEN %s WHEN 'month' THEN %s ELSE '' END)),
                   EXISTS (SELECT {tasks})
            """,  # noqa: S608  the words stand above
            [
                *(POINTS, member_id, FROZEN, member_id, member_id, today, moment, moment, member_id),
                *(rules.period_of(period, today) for period in ("day", "week", "month")),
                *(moment, moment),
            ],
        )
        return Glance(*cursor.fetchone())


def running_streak(member_id: int) -> tuple[int, bool]:
    """Days in a row up to today or yesterday, 0 when she missed a day; and whether she has signed in today."""
    today = clock.today()
    last = SignIn.objects.filter(member_id=member_id).order_by("-day").first()
    if last is None or last.day < today - timedelta(days=1):
        return 0, False
    return last.streak, last.day == today


def earning_of(cause: str) -> list[Earning]:
    """What one cause gave: points and growth."""
    return list(Earning.objects.filter(cause=cause).order_by("pk"))


def has_profile_points(member_id: int) -> bool:
    """Whether she, or somebody who was merged into her, was rewarded for a complete profile."""
    return Earning.objects.filter(member_id=member_id, source=Earning.PROFILE).exists()


def _subjects(causes: Iterable[str]) -> dict[str, str]:
    """Cause of a transfer → what it is about: the earning's cause, or the order whose points were used."""
    found: dict[str, str] = {}
    by_earning: dict[str, int] = {}
    for cause in causes:
        parts = cause.split(":")
        if parts[0] == "earn":
            found[cause] = ":".join(parts[2:])
        elif parts[0] in ("free", "take", "owed") and parts[1].isdecimal():
            by_earning[cause] = int(parts[1])
        elif parts[:2] == ["capture", "order"]:
            found[cause] = f"order:{parts[2]}"
        elif parts[0] == "order":
            found[cause] = f"order:{parts[1]}"
    if by_earning:
        names = dict(Earning.objects.filter(pk__in=by_earning.values()).values_list("pk", "cause"))
        found |= {cause: names.get(pk, "") for cause, pk in by_earning.items()}
    return found


def _reasons(subjects: Collection[str]) -> dict[str, str]:
    """ "adjust:3" → the reason that staff gave; "task:3" → what she did."""
    told: dict[str, str] = {}
    for kind, says in (("adjust", PointsAdjustment.objects.values_list("pk", "reason")),
                       ("task", PointsTaskRun.objects.values_list("pk", "task__name"))):  # fmt: skip
        wanted = {
            subject: int(number)
            for subject, (first, _colon, number) in ((one, one.partition(":")) for one in subjects)
            if first == kind and number.isdecimal()
        }
        if wanted:
            said = dict(says.filter(pk__in=wanted.values()))
            told |= {subject: said.get(pk, "") for subject, pk in wanted.items()}
    return told


def _words(cause: str, other: str, subject: str) -> str:
    source = subject.partition(":")[0]
    if cause.startswith("earn:"):
        words = {
            Earning.ORDER: _("Earned with an order"),
            Earning.SIGNIN: _("Daily sign-in"),
            Earning.STREAK: _("Bonus for days in a row"),
            Earning.REVIEW: _("For your review"),
            Earning.PROFILE: _("For your complete profile"),
            Earning.TASK: _("For a task"),
            Earning.STAFF: _("Given by the shop"),
        }
        return words.get(source, _("Earned"))
    if cause.startswith("free:"):
        return _("Can be spent now")
    if cause.startswith("take:"):
        return _("Taken back with a refund") if source == Earning.ORDER else _("Taken back")
    if cause.startswith("owed:"):
        return _("Settled what you owed")
    if cause.startswith("capture:order:"):
        return _("Used for an order")
    if cause.startswith("order:"):
        return _("Returned from an order")
    if cause.startswith("adjust:"):
        return _("Taken by the shop")
    if cause.startswith("mall:"):
        return (
            _("Returned by the points mall") if cause.endswith(":back") else _("Exchanged in the points mall")
        )
    if cause.startswith("merge:"):
        return _("Brought along from your other account")
    if other.endswith(".expired"):
        return _("Expired")
    return _("Other movement")
