"""Points and growth: earned once, frozen, expired at the day's border, owed when they were spent; statements add up."""

import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import clock, ledger
from core.audits import run_audit, run_check
from core.ledger import BalanceTooLow, CauseTaken
from core.models import LedgerLot
from crm import points_rules as rules
from crm import queries, services
from crm.days import YearDay
from crm.errors import BadPoints
from crm.models import Earning, Identity, Member, MemberStats, PointsAdjustment, PointsRules, SignIn, Touch
from crm.services import points
from tests.crm.conftest import MORNING
from tests.shop.test_races import at_once
from wechat.models import OutboundMessage, ReplyWindow

SHANGHAI = clock.zone()


def a_member(name: str = "小池") -> Member:
    member = Member.objects.create(name=name, created_at=MORNING)
    MemberStats.objects.create(member=member)
    return member


def earned(member: Member, cause: str, points: int, **more: Any) -> Earning:
    return services.earn(member_id=member.pk, cause=cause, source="order", points=points, **more)[0]


def figures(member: Member) -> tuple[int, int, int]:
    """Balance, frozen, owed."""
    found = queries.points_of(member.pk)
    return found.balance, found.frozen, found.owed


# --- Rules without a database ---------------------------------------------------------------------------------------
@given(
    fens=st.lists(st.integers(0, 10**7), min_size=1, max_size=6),
    rate=st.integers(0, 1_000),
    back=st.lists(st.integers(0, 10**7), max_size=6),
)
def test_what_is_kept_never_earns_more_than_all_of_it(fens: list[int], rate: int, back: list[int]) -> None:
    whole = rules.Rate(rate, 15_000, 20_000)
    kept = [max(fen - part, 0) for fen, part in zip(fens, [*back, *[0] * 6], strict=False)]
    assert 0 <= whole.of((fen, 10_000) for fen in kept) <= whole.of((fen, 10_000) for fen in fens)
    assert whole.of((0, 10_000) for _fen in fens) == 0


def test_an_order_earns_by_rate_category_tier_and_birthday() -> None:
    assert rules.Rate(100).of([(9_999, 10_000)]) == 99
    assert rules.Rate(100, 12_000, 20_000).of([(10_000, 10_000), (5_000, 20_000), (7_000, 0)]) == 480
    assert rules.Rate(50).of([(199, 10_000), (1, 10_000)]) == 1  # rounded once, at the end


@pytest.mark.parametrize(
    ("day", "months", "last"),
    [
        (date(2026, 3, 4), 12, date(2027, 3, 4)),
        (date(2026, 8, 31), 6, date(2027, 2, 28)),
        (date(2027, 12, 31), 2, date(2028, 2, 29)),
    ],
)
def test_points_end_with_the_last_day_of_their_time(day: date, months: int, last: date) -> None:
    ends = rules.expires_after(day, months, SHANGHAI)
    assert ends == datetime(last.year, last.month, last.day, tzinfo=SHANGHAI) + timedelta(days=1)
    assert rules.expires_after(day, 0, SHANGHAI) is None


def test_birthdays_and_days_in_a_row() -> None:
    leap = date(2000, 2, 29)
    assert rules.is_birthday(leap, date(2027, 2, 28), whole_month=False)
    assert not rules.is_birthday(leap, date(2028, 2, 28), whole_month=False)
    assert rules.is_birthday(leap, date(2028, 2, 1), whole_month=True)
    assert not rules.is_birthday(None, date(2028, 2, 1), whole_month=True)
    assert rules.streak_of(date(2026, 3, 4), (date(2026, 3, 3), 6)) == 7
    assert rules.streak_of(date(2026, 3, 4), (date(2026, 3, 2), 6)) == 1
    assert [rules.has_bonus(7, 7), rules.has_bonus(8, 7), rules.has_bonus(7, 0)] == [True, False, False]


# --- Earning, freezing, taking back ---------------------------------------------------------------------------------
def test_frozen_points_become_spendable_once_and_expire_at_midnight_in_shanghai(
    morning: datetime, db: Any
) -> None:
    member = a_member()
    earning = earned(member, "order:1", 300, growth=250, due_at=morning + timedelta(days=15), months=1)
    assert earned_again(member) == []
    assert figures(member) == (0, 300, 0)
    assert services.due_earnings(source="order") == []
    with clock.travel(morning + timedelta(days=15)):
        assert services.due_earnings(source="order") == [(earning.pk, "order:1")]
        assert [services.free_points(earning_id=earning.pk) for _ in range(2)] == [300, 0]
        assert figures(member) == (300, 0, 0)
    border = datetime(2026, 4, 20, tzinfo=SHANGHAI)  # freed on 19 March, a month: the end of 19 April
    for at, left in ((border - timedelta(microseconds=1), 300), (border, 0)):
        with clock.travel(at):
            ledger.expire_lots()
            assert (figures(member), queries.points_of(member.pk).growth) == ((left, 0, 0), 250)
    assert run_audit()[1] == []


def earned_again(member: Member) -> list[Earning]:
    return services.earn(member_id=member.pk, cause="order:1", source="order", points=999, growth=1)


def test_what_was_spent_before_it_is_taken_back_is_owed_and_settled_by_the_next_points(
    morning: datetime, db: Any
) -> None:
    member = a_member()
    house = ledger.open_account(kind="points.spent", owner_id=ledger.HOUSE)
    earned(member, "order:1", 100)
    frozen = earned(member, "order:2", 40, due_at=morning)
    ledger.transfer(
        cause="test:spent",
        debit=ledger.open_account(kind="points", owner_id=member.pk),
        credit=house,
        amount=70,
    )
    for _ in range(2):
        services.keep_of_earning(earned="order:1", cause="refund:1", points=0, growth=0)
    assert figures(member) == (0, 40, 70)  # 30 were there, the frozen ones belong to another order
    services.keep_of_earning(earned="order:2", cause="refund:2", points=30, growth=0)
    assert figures(member) == (0, 30, 70)
    services.free_points(earning_id=frozen.pk)
    assert figures(member) == (0, 0, 40)
    earned(member, "order:3", 50)
    assert figures(member) == (10, 0, 0)
    lines = queries.points_statement(member.pk)
    assert (sum(one.amount for one in lines), sum(one.frozen for one in lines)) == (10, 0)
    assert (lines[0].balance, lines[0].words) == (10, "结清欠下的积分")
    assert run_audit()[1] == []


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60)), max_size=12))
@pytest.mark.django_db
def test_whatever_happens_lots_are_never_negative_and_statements_add_up(steps: list[tuple[int, int]]) -> None:
    """Earn, free, spend, take back, let time pass in any order; the order's share is exact at every moment."""
    with clock.travel(MORNING):
        member = a_member()
    account = ledger.open_account(kind="points", owner_id=member.pk)
    spent = ledger.open_account(kind="points.spent", owner_id=ledger.HOUSE)
    made: list[int] = []
    late = timedelta()
    for number, (what, amount) in enumerate(steps):
        with clock.travel(MORNING + late):
            if what == 0 or not made:
                cause = f"order:{member.pk}:{number}"
                made.append(earned(member, cause, amount, due_at=clock.now(), months=1).pk)
            elif what == 1:
                services.free_points(earning_id=made[amount % len(made)])
            elif what == 2 and 0 < amount <= ledger.spendable_of(account.pk):
                ledger.transfer(
                    cause=f"spend:{member.pk}:{number}", debit=account, credit=spent, amount=amount
                )
            elif what == 3:
                one = Earning.objects.get(pk=made[amount % len(made)])
                kept = min(amount, one.given - one.taken)
                services.keep_of_earning(earned=one.cause, cause=f"refund:{number}", points=kept, growth=0)
                one.refresh_from_db()
                assert one.given - one.taken == kept
            else:
                late += timedelta(days=amount)
                ledger.expire_lots()
        found = queries.points_of(member.pk)
        lines = queries.points_statement(member.pk, limit=1_000)
        assert sum(line.amount for line in lines) == found.balance >= 0
        assert sum(line.frozen for line in lines) == found.frozen >= 0
        assert not LedgerLot.objects.filter(remaining__lt=0).exists()
        assert not found.owed or not found.spendable
    for check in ("crm.earnings_are_posted", "crm.frozen_points_are_earned", "core.ledger.lots"):
        assert run_check(check) == []


def test_merging_moves_everything_and_lots_keep_their_days(morning: datetime, db: Any) -> None:
    kept, merged = a_member(), a_member("小满")
    earned(merged, "order:1", 30, growth=30, due_at=morning)
    earned(merged, "order:2", 20)
    PointsRules.objects.create(pk=1)
    for member in (kept, merged):
        services.sign_in(member_id=member.pk)
    services.merge_members(kept_id=kept.pk, merged_id=merged.pk)
    services.even_out_points(kept_id=kept.pk, merged_id=merged.pk)
    found = queries.points_of(kept.pk)
    assert (found.frozen, found.growth, SignIn.objects.count()) == (30, 30, 1)
    services.keep_of_earning(earned="order:1", cause="refund:1", points=10, growth=10)
    found = queries.points_of(kept.pk)
    assert (found.frozen, found.growth) == (10, 10)
    assert services.earn(member_id=merged.pk, cause="late", source="order", points=1)[0].member_id == kept.pk
    assert run_audit()[1] == []


# --- Sign-in, profile, corrections ----------------------------------------------------------------------------------
def test_signing_in_gives_points_once_a_day_and_a_bonus_for_days_in_a_row(db: Any) -> None:
    member = a_member()
    with pytest.raises(BadPoints):
        services.sign_in(member_id=member.pk)
    PointsRules.objects.create(pk=1, signin_points=5, streak_days=3, streak_points=20)
    midnight = datetime(2026, 3, 5, tzinfo=SHANGHAI)
    for at in (midnight - timedelta(seconds=1), midnight, midnight, midnight + timedelta(days=1)):
        with clock.travel(at):
            row = services.sign_in(member_id=member.pk)
    assert (row.streak, figures(member)) == (3, (35, 0, 0))
    with clock.travel(midnight + timedelta(days=3)):
        assert services.sign_in(member_id=member.pk).streak == 1


@pytest.mark.django_db(transaction=True)
def test_two_hands_at_once_earn_once() -> None:
    with clock.travel(MORNING):
        member = a_member()
        PointsRules.objects.create(pk=1)
        frozen = earned(member, "order:1", 40, due_at=MORNING)
        answers = at_once(
            *[lambda: services.sign_in(member_id=member.pk)] * 2,
            *[lambda: services.free_points(earning_id=frozen.pk)] * 2,
            *[lambda: services.keep_of_earning(earned="order:1", cause="refund:1", points=30, growth=0)] * 2,
        )
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert figures(member) == (35, 0, 0)
        assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
def test_freeing_waits_for_a_merge_before_it_locks_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The elder earning owes: who locked the younger one first would meet the merge in a circle."""
    with clock.travel(MORNING):
        kept, merged = a_member(), a_member("小满")
        earned(merged, "order:1", 10)
        services.adjust_points(member_id=merged.pk, amount=-10, reason="兑换", idempotency_key="spent")
        services.keep_of_earning(earned="order:1", cause="refund:1", points=0, growth=0)
        frozen = earned(merged, "order:2", 40, due_at=MORNING)
        real, locked = points.lock_rows, threading.Event()

        def slow(*querysets: Any) -> Any:
            rows = real(*querysets)
            if querysets[0].model is Earning and not locked.is_set():
                locked.set()
                time.sleep(0.3)
            return rows

        monkeypatch.setattr(points, "lock_rows", slow)

        def merge() -> None:
            locked.wait(60)
            services.merge_members(kept_id=kept.pk, merged_id=merged.pk)

        answers = at_once(lambda: services.free_points(earning_id=frozen.pk), merge)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert figures(kept)[1:] == (0, 0)


def test_a_complete_profile_is_rewarded_once(morning: datetime, db: Any) -> None:
    PointsRules.objects.create(pk=1)
    member = a_member()
    with pytest.raises(BadPoints, match="生日、电话"):
        services.reward_profile(member_id=member.pk)
    services.keep_day(member_id=member.pk, kind="birthday", day=YearDay("lunar", 4, 30))
    Identity.objects.create(
        member=member, kind="phone", value="13800000009", is_verified=False, created_at=morning
    )
    for _ in range(2):
        services.reward_profile(member_id=member.pk)
    assert figures(member) == (50, 0, 0)


def test_staff_give_and_take_with_a_reason(morning: datetime, db: Any) -> None:
    member = a_member()
    for _ in range(2):
        services.adjust_points(member_id=member.pk, amount=80, reason="补偿", idempotency_key="one")
    services.adjust_points(member_id=member.pk, amount=-30, reason="误发", idempotency_key="two")
    for refusal, amount, reason, key in (
        (BalanceTooLow, -51, "误发", "three"),
        (BadPoints, 0, "无", "four"),
        (BadPoints, 10**12, "多", "five"),
        (BadPoints, 5, "  ", "six"),
        (CauseTaken, 5, "补偿", "one"),
    ):
        with pytest.raises(refusal):
            services.adjust_points(member_id=member.pk, amount=amount, reason=reason, idempotency_key=key)
    services.adjust_points(
        member_id=member.pk, kind="growth", amount=9, reason="补录", idempotency_key="seven"
    )
    services.adjust_points(
        member_id=member.pk, kind="growth", amount=-4, reason="误录", idempotency_key="eight"
    )
    assert (figures(member), queries.points_of(member.pk).growth) == ((50, 0, 0), 5)
    assert [line.note for line in queries.points_statement(member.pk)] == ["误发", "补偿"]
    assert (PointsAdjustment.objects.count(), run_audit()[1]) == (4, [])


def test_who_has_points_that_end_soon_hears_of_it_once_a_month(follower: Any, brand: Any, db: Any) -> None:
    PointsRules.objects.create(pk=1, remind_days=4)
    now = datetime(2026, 3, 26, 2, 0, tzinfo=UTC)
    with clock.travel(now):
        soon, later, silent = follower("o-soon"), follower("o-later"), follower("o-silent")
        for member, days in ((soon, 4), (later, 20), (silent, 4)):
            services.earn(member_id=member.pk, cause=f"order:{member.pk}", source="order", points=60)
            LedgerLot.objects.filter(account__owner_id=member.pk).update(
                expires_at=clock.day_start(clock.today() + timedelta(days=days + 1))
            )
        # Ends in the same month, though later than four days from now: there will be no other word of it.
        services.earn(member_id=soon.pk, cause="order:more", source="order", points=40)
        LedgerLot.objects.filter(account__owner_id=soon.pk, remaining=40).update(
            expires_at=datetime(2026, 4, 1, tzinfo=SHANGHAI)
        )
        for openid in ("o-soon", "o-later"):
            ReplyWindow.objects.create(
                account=brand,
                openid=openid,
                trigger="message",
                opened_at=now,
                expires_at=now + timedelta(hours=48),
                remaining=5,
            )
        assert [services.remind_of_expiring_points() for _ in range(2)] == [1, 0]
        said = OutboundMessage.objects.get()
        assert (said.to, "100" in str(said.body.content)) == ("o-soon", True)
        assert Touch.objects.get(answer="send").origin == "points-end:2026-03"


# --- Proofs and doors -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("check", "corruption"),
    [
        (
            "crm.earnings_are_posted",
            "UPDATE crm_earning SET taken = taken + 1, owed = owed + 1 WHERE kind = 'growth'",
        ),
        (
            "crm.earnings_are_posted",
            "UPDATE core_ledgertransfer SET amount = amount + 1 WHERE cause LIKE 'earn:%'",
        ),
        ("crm.earnings_are_posted", "DELETE FROM crm_earningtake"),
        ("crm.frozen_points_are_earned", "UPDATE crm_earning SET frozen = frozen - 1 WHERE frozen > 0"),
        (
            "crm.frozen_points_are_earned",
            "UPDATE core_ledgeraccount SET balance = balance + 1 WHERE kind = 'growth'",
        ),
    ],
)
def test_the_audit_finds(morning: datetime, db: Any, check: str, corruption: str) -> None:
    member = a_member()
    earned(member, "order:1", 30, growth=30, due_at=morning + timedelta(days=1))
    services.keep_of_earning(earned="order:1", cause="refund:1", points=10, growth=10)
    assert run_check(check) == []
    with connection.cursor() as cursor:
        cursor.execute(corruption)
        assert cursor.rowcount
    assert run_check(check) != []


def test_operators_set_the_rules_read_a_statement_and_adjust_by_permission(
    client: Client, db: Any, morning: datetime, django_assert_max_num_queries: Any
) -> None:
    member = a_member()
    for number in range(3):
        earned(member, f"order:{number}", 30)
    client.force_login(User.objects.create_superuser("boss"))
    assert client.get(reverse("admin:crm_pointsrules_changelist")).status_code == 302
    form = {
        **{"is_active": "on", "points_per_100_yuan": 150, "growth_per_100_yuan": 100, "least_yuan": "9.90"},
        **{
            "freeze_days": 15,
            "birthday_percent": 200,
            "birthday_when": "month",
            "months": 12,
            "remind_days": 7,
        },
        **{
            "signin_points": 5,
            "streak_days": 7,
            "streak_points": 20,
            "review_points": 20,
            "profile_points": 50,
        },
    }
    assert client.post(reverse("admin:crm_pointsrules_add"), form).status_code == 302
    assert client.post(reverse("admin:crm_pointsrules_add"), form).status_code == 403
    saved = PointsRules.objects.get()
    assert (saved.least_fen, saved.birthday_bps, saved.points_per_100_yuan) == (990, 20_000, 150)
    statement = reverse("admin:crm_earning_statement", args=[member.pk])
    with django_assert_max_num_queries(12):
        page = client.get(statement).content.decode()
    assert page.count("+30") == 3
    add = reverse("admin:crm_pointsadjustment_add")
    asked = {"member": member.pk, "kind": "points", "amount": -91, "reason": "误发", "token": "t"}
    refused = client.post(add, asked)
    assert (refused.status_code, figures(member), PointsAdjustment.objects.count()) == (200, (90, 0, 0), 0)
    for _ in range(2):
        assert client.post(add, asked | {"amount": -40}).status_code == 302
    assert figures(member) == (50, 0, 0)
    reader = User.objects.create_user("reader", is_staff=True)
    names = ["view_earning", "view_member", "view_pointsadjustment"]
    reader.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(reader)
    assert client.get(statement).status_code == 200
    assert client.get(reverse("admin:crm_earning_changelist")).status_code == 200
    assert client.post(add, asked | {"token": "u"}).status_code == 403
