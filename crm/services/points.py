"""Earning points and growth, freezing and freeing them, taking back what a refund undid. All of it on the ledger.

A cause gives once. Frozen points are an account of their own, so that what can be spent is simply the balance of
"points". What was spent before it was taken back is owed: the next points settle it, a balance is never negative.
"""

from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, Sum
from django.utils.translation import gettext as _

from core import clock, ledger
from core.events import publish
from core.ledger import HOUSE, CauseTaken
from core.locks import lock_rows
from core.models import LedgerAccount, LedgerTransfer
from crm import points_rules as rules
from crm.errors import BadPoints, NoSuchMember
from crm.events import GrowthChanged
from crm.models import Earning, EarningTake, PointsAdjustment, PointsRules
from crm.models.points import FROZEN, GROWTH, POINTS

MOST = 10_000_000


# Takes of growth that no refund of the earning's own cause made.
BY_STAFF, MOVED = "adjust:", "moved:"


def current_points_rules() -> PointsRules | None:
    """The rules in force; None while nothing is earned."""
    return PointsRules.objects.filter(pk=1, is_active=True).first()


@transaction.atomic
def earn(
    *,
    member_id: int,
    cause: str,
    source: str,
    points: int = 0,
    growth: int = 0,
    at: datetime | None = None,
    due_at: datetime | None = None,
    months: int = 0,
    basis: dict[str, Any] | None = None,
) -> list[Earning]:
    """Book what a cause ("order:12") gives: points, frozen until `due_at` when it is given, and growth.

    Points expire `months` months after the day from which they can be spent (0: never). Returns what is new.
    Locks: member (key share), her earnings that owe, ledger accounts. Idempotent on: cause; the first content stands.
    Publishes: GrowthChanged. Raises NoSuchMember, BadPoints.
    """
    if not 0 <= points <= MOST or not 0 <= growth <= MOST:
        raise BadPoints(_("Enter a number between 1 and %(most)s.") % {"most": f"{MOST:,}"})
    member_id = living_id(member_id)
    moment = at or clock.now()
    made = []
    for kind, amount in ((POINTS, points), (GROWTH, growth)):
        if not amount:
            continue
        is_frozen = kind == POINTS and due_at is not None
        earning, is_new = Earning.objects.get_or_create(
            kind=kind,
            cause=cause,
            defaults={
                "member_id": member_id,
                "source": source,
                "given": amount,
                "frozen": amount if is_frozen else 0,
                "months": months if kind == POINTS else 0,
                "basis": basis or {},
                "earned_at": moment,
                "due_at": due_at if is_frozen else None,
            },
        )
        if not is_new:
            continue
        made.append(earning)
        debtors = [] if is_frozen or kind == GROWTH else _debtors(member_id)
        ledger.transfer(
            cause=f"earn:{kind}:{cause}",
            debit=ledger.open_account(kind=f"{kind}.earned", owner_id=HOUSE),
            credit=ledger.open_account(kind=FROZEN if is_frozen else kind, owner_id=member_id),
            amount=amount,
            expires_at=None if is_frozen or kind == GROWTH else _expiry(months),
        )
        _settle_owed(debtors, by=f"earn:{earning.pk}")
        if kind == GROWTH:
            publish(GrowthChanged(member_id=member_id, at=moment), key=f"member:{member_id}")
    return made


def due_earnings(*, source: str, limit: int = 200) -> list[tuple[int, str]]:
    """(id, cause) of frozen points whose day has come, the eldest first."""
    due = Earning.objects.filter(source=source, frozen__gt=0, due_at__lte=clock.now())
    return list(due.order_by("due_at", "pk").values_list("pk", "cause")[:limit])


@transaction.atomic
def postpone_points(*, cause: str, due_at: datetime) -> bool:
    """Frozen points of this cause are looked at again at `due_at`; False when nothing of it is frozen. Idempotent."""
    return bool(Earning.objects.filter(kind=POINTS, cause=cause, frozen__gt=0).update(due_at=due_at))


@transaction.atomic
def free_points(*, earning_id: int) -> int:
    """Frozen points can be spent from now on; returns how many. What she owes is settled from them at once.

    Locks: member (key share), the earning and those that owe, by key, ledger accounts. Idempotent: nothing is frozen
    the second time.
    """
    owner = Earning.objects.filter(pk=earning_id).values_list("member_id", flat=True).first()
    if owner is None:
        return 0
    # The member first: a merge locks her before it locks all her earnings.
    hers = Earning.objects.filter(Q(pk=earning_id) | Q(member_id=living_id(owner), owed__gt=0))
    locked = lock_rows(hers)[0]
    earning = next(row for row in locked if row.pk == earning_id)
    if not earning.frozen:
        return 0
    freed, debtors = earning.frozen, [row for row in locked if row.owed]
    ledger.transfer(
        cause=f"free:{earning.pk}",
        debit=ledger.open_account(kind=FROZEN, owner_id=earning.member_id),
        credit=ledger.open_account(kind=POINTS, owner_id=earning.member_id),
        amount=freed,
        expires_at=_expiry(earning.months),
    )
    Earning.objects.filter(pk=earning.pk).update(frozen=0, due_at=None)
    _settle_owed(debtors, by=f"free:{earning.pk}")
    return freed


@transaction.atomic
def keep_of_earning(*, earned: str, cause: str, points: int, growth: int) -> int:
    """Take back what an earning gave above `points` and `growth`, which is what her kept goods are worth.

    Frozen points first, then what can be spent; the rest is owed. Growth that staff had lowered before is not taken
    twice: what they took from this earning counts against her other growth then, the newest first. Returns how many
    points were taken or are owed.
    Locks: member (key share), the earnings and her growth, by key, ledger accounts. Idempotent on: (earned, cause).
    """
    owner = Earning.objects.filter(cause=earned).values_list("member_id", flat=True).first()
    if owner is None:
        return 0
    growths = Q(member_id=living_id(owner), kind=GROWTH, taken__lt=F("given"))
    locked = lock_rows(Earning.objects.filter(Q(cause=earned) | growths))[0]
    whole = 0
    for earning in locked:
        if earning.cause != earned:
            continue
        kept = points if earning.kind == POINTS else growth
        amount = earning.given - kept - _taken_by_refunds(earning)
        moved = f"{MOVED}{earning.pk}:{cause}"
        known = Q(earning=earning, cause=cause) | Q(cause=moved)
        hers = EarningTake.objects.filter(earning__member_id=earning.member_id)
        if amount <= 0 or hers.filter(known).exists():
            continue
        part = min(amount, earning.given - earning.taken)
        if part:
            _take(earning, part, cause)
        if earning.kind == GROWTH:
            _take_newest([row for row in locked if row.kind == GROWTH], amount - part, moved)
        whole += part if earning.kind == POINTS else 0
    return whole


def _taken_by_refunds(earning: Earning) -> int:
    """What refunds took of an earning, also where staff had taken it before and other growth had to give."""
    own = Q(earning=earning) & ~Q(cause__startswith=BY_STAFF) & ~Q(cause__startswith=MOVED)
    moved = Q(cause__startswith=f"{MOVED}{earning.pk}:")
    takes = EarningTake.objects.filter(own | moved, earning__member_id=earning.member_id)
    whole = F("from_frozen") + F("from_balance") + F("left_owed")
    return int(takes.aggregate(total=Sum(whole))["total"] or 0)


def _take(earning: Earning, amount: int, cause: str) -> None:
    """The caller holds the earning's lock."""
    house = ledger.open_account(kind=f"{earning.kind}.earned", owner_id=HOUSE)
    from_frozen = min(amount, earning.frozen)
    kinds = [POINTS, FROZEN] if earning.kind == POINTS else [GROWTH]
    account, *others = [ledger.open_account(kind=kind, owner_id=earning.member_id) for kind in kinds]
    lock_rows(LedgerAccount.objects.filter(pk__in=[one.pk for one in (account, *others)]))
    from_balance = min(amount - from_frozen, max(ledger.spendable_of(account.pk), 0))
    owed = amount - from_frozen - from_balance
    take = EarningTake.objects.create(
        earning=earning,
        cause=cause,
        from_frozen=from_frozen,
        from_balance=from_balance,
        left_owed=owed,
        at=clock.now(),
    )
    if from_frozen:
        ledger.transfer(
            cause=f"take:{earning.pk}:{take.pk}:frozen", debit=others[0], credit=house, amount=from_frozen
        )
    if from_balance:
        ledger.transfer(
            cause=f"take:{earning.pk}:{take.pk}:balance", debit=account, credit=house, amount=from_balance
        )
    earning.taken, earning.frozen = earning.taken + amount, earning.frozen - from_frozen
    earning.owed += owed
    if not earning.frozen:
        earning.due_at = None
    earning.save(update_fields=["taken", "frozen", "owed", "due_at"])
    if earning.kind == GROWTH:
        publish(GrowthChanged(member_id=earning.member_id, at=take.at), key=f"member:{earning.member_id}")


def _debtors(member_id: int) -> list[Earning]:
    """Her earnings that owe, locked: asked for before the ledger is."""
    return lock_rows(Earning.objects.filter(member_id=member_id, owed__gt=0))[0]


@transaction.atomic
def settle_owed(*, member_id: int, by: str) -> None:
    """Points that came back to her (an order was undone, a merge brought them) pay what she owes. `by` names what.

    Locks: her earnings that owe, ledger accounts. Idempotent: what is settled is owed no more.
    """
    _settle_owed(_debtors(living_id(member_id)), by=by)


def _settle_owed(debtors: list[Earning], *, by: str) -> None:
    """Points that just came pay what she owes, the eldest first. `by` names what came."""
    if not debtors:
        return
    account = ledger.open_account(kind=POINTS, owner_id=debtors[0].member_id)
    lock_rows(LedgerAccount.objects.filter(pk=account.pk))
    left = ledger.spendable_of(account.pk)
    for debtor in debtors:
        part = min(debtor.owed, left)
        if part <= 0:
            return
        ledger.transfer(
            cause=f"owed:{debtor.pk}:{by}:{debtor.owed}",
            debit=account,
            credit=ledger.open_account(kind=f"{POINTS}.earned", owner_id=HOUSE),
            amount=part,
        )
        Earning.objects.filter(pk=debtor.pk).update(owed=debtor.owed - part)
        left -= part


@transaction.atomic
def adjust_points(
    *,
    member_id: int,
    amount: int,
    reason: str,
    idempotency_key: str,
    kind: str = POINTS,
    by: str = "",
    user_id: int | None = None,
) -> PointsAdjustment:
    """Staff give points or growth (positive) or take them (negative), with a reason that the member reads.

    Locks: member (key share), earnings, ledger accounts. Idempotent on: idempotency_key.
    Raises BadPoints, BalanceTooLow (she does not have that many), CauseTaken (the key stands for another one).
    """
    reason = " ".join(reason.replace("\x00", "").split())[:120]
    if not 1 <= abs(amount) <= MOST or kind not in (POINTS, GROWTH):
        raise BadPoints(_("Enter a number between 1 and %(most)s.") % {"most": f"{MOST:,}"})
    if not reason:
        raise BadPoints(_("Say why: the member reads it."))
    member_id = living_id(member_id)
    row, is_new = PointsAdjustment.objects.get_or_create(
        idempotency_key=idempotency_key[:64],
        defaults={
            "member_id": member_id,
            "kind": kind,
            "amount": amount,
            "reason": reason,
            "actor": by[:80],
            "user_id": user_id,
            "at": clock.now(),
        },
    )
    if not is_new:
        if (row.member_id, row.kind, row.amount) != (member_id, kind, amount):
            raise CauseTaken(_("This form was already sent with other values. Please open it anew."))
        return row
    cause = f"adjust:{row.pk}"
    if amount > 0:
        current = current_points_rules()
        earn(
            member_id=member_id,
            cause=cause,
            source=Earning.STAFF,
            points=amount if kind == POINTS else 0,
            growth=amount if kind == GROWTH else 0,
            months=current.months if current else 0,
        )
    elif kind == POINTS:
        ledger.transfer(
            cause=cause,
            debit=ledger.open_account(kind=POINTS, owner_id=member_id),
            credit=ledger.open_account(kind=f"{POINTS}.adjusted", owner_id=HOUSE),
            amount=-amount,
        )
    else:
        _lower_growth(member_id, -amount, cause)
    return row


def _lower_growth(member_id: int, amount: int, cause: str) -> None:
    """The newest growth goes first: it counts longest."""
    if _take_newest(lock_rows(Earning.objects.filter(member_id=member_id, kind=GROWTH))[0], amount, cause):
        raise ledger.BalanceTooLow(_("The balance is not enough."))


def _take_newest(growths: list[Earning], amount: int, cause: str) -> int:
    """Take growth from locked earnings, the newest first; returns what they did not have."""
    left = amount
    for earning in reversed(growths):
        part = min(left, earning.given - earning.taken)
        if part:
            _take(earning, part, cause)
            left -= part
    return left


@transaction.atomic
def forfeit_earnings(*, member_id: int, cause: str) -> int:
    """Frozen points and growth go back to the house: she is no member any more. What she could spend is the shop's to
    take. Returns how much.

    Locks: her earnings, ledger accounts. Idempotent on: cause.
    """
    whole = 0
    for earning in lock_rows(Earning.objects.filter(member_id=member_id))[0]:
        amount = earning.frozen if earning.kind == POINTS else earning.given - earning.taken
        if amount:
            _take(earning, amount, cause)
            whole += amount
    return whole


@transaction.atomic
def move_points(*, kept_id: int, merged_id: int) -> None:
    """Earnings, frozen points and growth of a merged member become the kept one's; the shop moves what can be spent.

    Call where members are merged, under their locks. Locks: earnings, ledger accounts. Idempotent.
    """
    lock_rows(Earning.objects.filter(member_id=merged_id))
    Earning.objects.filter(member_id=merged_id).update(member_id=kept_id)
    PointsAdjustment.objects.filter(member_id=merged_id).update(member_id=kept_id)
    even_out_points(kept_id=kept_id, merged_id=merged_id)


@transaction.atomic
def even_out_points(*, kept_id: int, merged_id: int) -> None:
    """Frozen points and growth follow the earnings of both, in whichever direction they were moved.

    Locks: ledger accounts. Idempotent: what is even stays.
    """
    for kind in (FROZEN, GROWTH):
        accounts = {pk: ledger.open_account(kind=kind, owner_id=pk) for pk in (kept_id, merged_id)}
        lock_rows(LedgerAccount.objects.filter(pk__in=[account.pk for account in accounts.values()]))
        kept, merged = accounts[kept_id], accounts[merged_id]
        kept.refresh_from_db(fields=["balance"])
        earnings = Earning.objects.filter(member_id=kept_id, kind=POINTS if kind == FROZEN else GROWTH)
        worth = F("frozen") if kind == FROZEN else F("given") - F("taken")
        due = earnings.aggregate(total=Sum(worth))["total"] or 0
        if due == kept.balance:
            continue
        prefix = f"merge:{merged_id}:{kept_id}:{kind}:"
        number = LedgerTransfer.objects.filter(cause__startswith=prefix).count()
        giver, taker = (merged, kept) if due > kept.balance else (kept, merged)
        ledger.transfer(cause=f"{prefix}{number}", debit=giver, credit=taker, amount=abs(due - kept.balance))


def _expiry(months: int) -> datetime | None:
    return rules.expires_after(clock.today(), months, clock.zone())


def living_id(member_id: int) -> int:
    """Hers, or of the one she was merged into; she is not merged while this transaction lasts."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(merged_into_id, id) FROM crm_member WHERE id = %s FOR KEY SHARE", [member_id]
        )
        found = cursor.fetchone()
    if found is None:
        raise NoSuchMember(_("There is no such member."))
    return int(found[0])
