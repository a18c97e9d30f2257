"""Tiers: up at once, down by the calendar, never otherwise; a change of rules is tried before it is saved."""

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from core import clock, jobs
from core.audits import run_audit, run_check
from core.events import deliver_due
from core.models import Job
from crm import queries, services, tiers_rules
from crm.errors import BadPoints
from crm.models import (
    Activity,
    Earning,
    Member,
    Membership,
    MemberStats,
    MemberTier,
    TierChange,
    TierPolicy,
    TierRule,
)
from crm.queries.tiers import TierPlan, current_plan, preview_tiers
from crm.services import LevelInput
from tests.crm.conftest import MORNING
from tests.crm.test_points import a_member

LEVELS = (tiers_rules.Level("银卡", 100), tiers_rules.Level("金卡", 500), tiers_rules.Level("黑金", 2_000))
DAY = timedelta(days=1)


@pytest.fixture
def levels(db: Any) -> None:
    services.save_tiers(
        basis="growth",
        window_days=365,
        keep_days=30,
        levels=[LevelInput(level.name, level.threshold) for level in LEVELS],
    )
    Job.objects.all().delete()


def grow(member: Member, growth: int, cause: str = "") -> None:
    services.earn(
        member_id=member.pk, cause=cause or f"order:{member.pk}:{growth}", source="order", growth=growth
    )
    deliver_due()


def tier_of(member: Member) -> str:
    return Member.objects.values_list("tier", flat=True).get(pk=member.pk)


@given(
    tier=st.sampled_from(["", "银卡", "金卡", "黑金", "员工"]),
    known=st.booleans(),
    is_over=st.booleans(),
    merit=st.integers(0, 3),
)
def test_members_move_only_as_defined(tier: str, known: bool, is_over: bool, merit: int) -> None:
    names = ["", *(level.name for level in LEVELS)]
    verdict = tiers_rules.judge(tiers_rules.Standing(tier, known, is_over, merit), LEVELS)
    deserved = names[merit]
    if tier not in names:
        assert verdict.tier == (deserved if known else tier)
    elif merit > names.index(tier):
        assert (verdict.step, verdict.tier) == ("up", deserved)
    elif merit < names.index(tier):
        assert verdict.tier == (deserved if known and is_over else tier)
    else:
        assert verdict.tier == tier
    again = tiers_rules.judge(
        tiers_rules.Standing(verdict.tier, verdict.tier in names[1:], False, merit), LEVELS
    )
    assert again.step == "stay"


def test_she_rises_at_once_and_falls_when_the_protected_days_are_over(
    morning: datetime, levels: None
) -> None:
    member = a_member()
    grow(member, 99)
    assert (tier_of(member), TierChange.objects.count()) == ("", 0)
    grow(member, 401)
    assert tier_of(member) == "金卡"
    services.keep_of_earning(earned=f"order:{member.pk}:401", cause="refund:1", points=0, growth=1)
    deliver_due()
    assert (tier_of(member), queries.tier_card(member).value) == ("金卡", 100)  # type: ignore[union-attr]
    border = clock.day_start(clock.today() + 31 * DAY)
    for at, tier in ((border - timedelta(microseconds=1), "金卡"), (border, "银卡"), (border, "银卡")):
        with clock.travel(at):
            services.review_due_tiers()
            assert tier_of(member) == tier
    assert list(TierChange.objects.order_by("pk").values_list("old", "new", "reason", "value")) == [
        ("", "金卡", "up", 500),
        ("金卡", "银卡", "down", 100),
    ]
    with clock.travel(border + 31 * DAY):
        services.review_due_tiers()
        renewed = MemberTier.objects.get()
        assert (renewed.tier, renewed.protected_until > clock.now() + 30 * DAY) == ("银卡", True)
    with clock.travel(morning + 400 * DAY):  # growth is older than the window
        services.review_due_tiers()
        assert (tier_of(member), MemberTier.objects.count()) == ("", 0)
    assert run_audit()[1] == []


def test_by_spend_the_window_counts_and_a_tier_of_another_scheme_stays(morning: datetime, db: Any) -> None:
    services.save_tiers(basis="spend", window_days=10, keep_days=1, levels=[LevelInput("银卡", 10_000)])
    rich, staff, old = a_member(), a_member(), a_member()
    Member.objects.filter(pk=staff.pk).update(tier="员工")
    services.prepare_timeline(since=(morning - 60 * DAY).date(), until=morning.date())
    for member, days, paid in ((rich, 9, 12_000), (staff, 1, 99_000), (old, 10, 99_000)):
        services.record_activity(
            member_id=member.pk, kind=Activity.PAID, at=morning - days * DAY, amount_fen=paid
        )
    services.record_activity(member_id=rich.pk, kind=Activity.REFUNDED, at=morning, amount_fen=2_000)
    services.record_activity(  # of an order that was paid before the window began
        member_id=rich.pk, kind=Activity.REFUNDED, at=morning, amount_fen=9_000, subject="order:1"
    )
    services.review_tiers(member_ids=[rich.pk, staff.pk, old.pk])
    assert [tier_of(member) for member in (rich, staff, old)] == ["银卡", "员工", ""]


def test_a_tier_given_by_hand_is_protected_from_then_on(morning: datetime, levels: None) -> None:
    member = a_member()
    Member.objects.filter(pk=member.pk).update(tier="黑金")
    services.review_tiers(member_ids=[member.pk])
    assert (tier_of(member), MemberTier.objects.get().tier, TierChange.objects.count()) == ("黑金", "黑金", 0)
    with clock.travel(morning + 32 * DAY):
        services.review_due_tiers()
        assert tier_of(member) == ""


@pytest.mark.parametrize("by_hand", ["", "员工"])
def test_a_member_whom_a_hand_moved_out_of_the_levels_is_not_due_for_ever(
    morning: datetime, levels: None, by_hand: str
) -> None:
    member = a_member()
    grow(member, 150)
    Member.objects.filter(pk=member.pk).update(tier=by_hand)
    with clock.travel(morning + 400 * DAY):
        services.review_due_tiers()
        assert (tier_of(member), MemberTier.objects.count()) == (by_hand, 0)


def test_two_histories_become_one_that_ends_where_she_stands(morning: datetime, levels: None) -> None:
    kept, merged = a_member(), a_member("小满")
    grow(kept, 600)
    with clock.travel(morning + DAY):
        grow(merged, 150)
        services.merge_members(kept_id=kept.pk, merged_id=merged.pk)
        assert run_check("crm.tiers_have_their_history") == []
        page = list(TierChange.objects.filter(member=kept).order_by("pk").values_list("new", "reason"))
    assert page == [("金卡", "up"), ("银卡", "up"), ("金卡", "merged")]


def test_the_preview_says_what_the_job_then_does(
    client: Client, morning: datetime, levels: None, django_assert_max_num_queries: Any
) -> None:
    people = [a_member(f"会员{number}") for number in range(6)]
    for member, growth in zip(people, (50, 150, 150, 600, 600, 2_500), strict=True):
        grow(member, growth)
    client.force_login(User.objects.create_superuser("boss"))
    page = reverse("admin:crm_tierpolicy_changelist")
    assert "银卡" in client.get(page).content.decode()
    names = ("name", "threshold", "percent", "benefits")
    rows = [
        ("银卡", "40", "100", "包邮"),
        ("金卡", "1000", "150", ""),
        ("", "", "", ""),
        ("钻石", "3000", "200", ""),
    ]
    form = {
        **{"is_active": "on", "basis": "growth", "window_days": 365, "keep_days": 30},
        **{"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": 3},
        **{
            f"form-{n}-{name}": value
            for n, row in enumerate(rows)
            for name, value in zip(names, row, strict=True)
        },
    }
    with django_assert_max_num_queries(14):
        shown = client.post(page, form | {"preview": "1"})
    assert shown.status_code == 200
    moves = {(move.old, move.new, move.waits): move.count for move in shown.context["moves"]}
    # 黑金 is abolished: who had it goes to what she reaches at once; the two of 金卡 are protected.
    assert moves == {("", "银卡", False): 1, ("黑金", "金卡", False): 1, ("金卡", "银卡", True): 2}
    assert (TierRule.objects.count(), Job.objects.count()) == (3, 0)
    for wrong in (
        {"form-1-threshold": "40"},
        {"form-1-name": "银卡"},
        {"form-0-threshold": "多"},
        {"keep_days": 0},
    ):
        assert client.post(page, form | wrong | {"save": "1"}).status_code == 422
    assert client.post(page, form | {"save": "1"}).status_code == 302
    assert [tier_of(member) for member in people][:2] == ["", "银卡"]
    job = Job.objects.get()
    jobs.run(job_id=job.pk)
    job.refresh_from_db()
    assert (job.status, job.result, job.percent) == ("done", {"members": 6, "moved": 2}, 100)
    assert [tier_of(member) for member in people] == ["银卡", "银卡", "银卡", "金卡", "金卡", "金卡"]
    assert set(TierChange.objects.filter(reason="rules").values_list("old", "new")) == {
        ("", "银卡"),
        ("黑金", "金卡"),
    }
    assert run_audit()[1] == []
    assert "会员5" in client.get(reverse("admin:crm_tierchange_changelist")).content.decode()
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename="view_tierpolicy"))
    client.force_login(reader)
    assert client.get(page).status_code == 200
    assert client.post(page, form | {"save": "1"}).status_code == 403


def test_the_preview_of_everybody_says_what_then_happens_paid_or_not(morning: datetime, levels: None) -> None:
    """Against plain Python, member by member; and against the job, and the day on which nothing keeps anybody."""
    random, draft = Random(7), (("银卡", 200), ("铂金", 400), ("黑金", 900))
    given_to, earned, bought, stood = [], [], [], []
    expected: Counter[tuple[str, str, bool, bool]] = Counter()
    for number in range(90):
        member = Member(name=f"{number}", joined_via="import", created_at=morning)
        given_to.append(member)
        value, old = (
            random.choice((0, 150, 250, 450, 1_000)),
            random.choice(("", "银卡", "金卡", "黑金", "员工")),
        )
        paid = random.choice(("", "", "银卡", "铂金", "黑金", "金卡"))  # the rules abolish the last one
        term = random.choice(((-9, 20), (-9, 200), (-9, -1), (3, 40)))
        is_known, is_noted = random.choice((True, False)), term[0] < 0 and random.choice((True, False))
        counts, noted = paid if term[0] < 0 < term[1] else "", paid if paid and is_noted else ""
        names = ["", *(name for name, _threshold in draft)]
        ranks = ["", "银卡", "金卡", "黑金", "员工"]
        member.tier = worn = max(old, noted, key=ranks.index) if old != "员工" and noted in ranks else old
        if value:
            earned.append((member, value))
        if paid:
            bought.append((member, paid, term))
        has_row = (bool(old) and is_known and old != "员工") or bool(noted)
        if has_row:
            days = random.choice((-1, 15))
            stood.append((member, old, days, noted))
        # What she earned, as the rules see it: her own word unless it is the membership's.
        mine = old if has_row and worn in (old, noted or old) else worn
        reached = names[sum(value >= threshold for _name, threshold in draft)]
        rules_put_her = has_row and worn in (old, noted or old)
        if mine and mine not in names and not rules_put_her:
            now = end = worn
        else:
            if mine not in names or names.index(reached) >= names.index(mine):
                now = reached
            else:
                now = reached if rules_put_her and has_row and days < 0 else mine
            end = reached
            now = max(now, counts if counts in names else "", key=names.index)
        if now != worn:
            expected[worn, now, False, False] += 1
        elif end != now:
            lasts = counts in names and names.index(counts) > names.index(end)
            expected[worn, end, True, lasts] += 1
    Member.objects.bulk_create(given_to)
    MemberStats.objects.bulk_create(MemberStats(member=member) for member in given_to)
    Earning.objects.bulk_create(
        Earning(
            member=member,
            kind="growth",
            cause=f"o:{member.pk}",
            source="order",
            given=value,
            earned_at=morning,
        )
        for member, value in earned
    )
    Membership.objects.bulk_create(
        Membership(
            member=member, cause=f"p:{member.pk}", name=tier, tier=tier,
            begins_at=morning + begin * DAY, ends_at=morning + end * DAY,
        )
        for member, tier, (begin, end) in bought
    )  # fmt: skip
    MemberTier.objects.bulk_create(
        MemberTier(
            member=member, tier=tier, since=morning - DAY, protected_until=morning + days * DAY, paid_tier=noted,
            paid_until=morning + 20 * DAY if noted else None,
        )
        for member, tier, days, noted in stood
    )  # fmt: skip
    plan = TierPlan("growth", 0, 30, tuple(tiers_rules.Level(*level) for level in draft))
    members, moves = preview_tiers(plan)
    assert members == 90
    assert {(move.old, move.new, move.waits, move.paid): move.count for move in moves} == expected
    assert {(waits, paid) for _old, _new, waits, paid in expected} == {
        (False, False),
        (True, False),
        (True, True),
    }

    services.save_tiers(
        basis="growth", window_days=0, keep_days=30, levels=[LevelInput(*level) for level in draft]
    )
    before = {member.pk: member.tier for member in given_to}
    jobs.run(job_id=Job.objects.get().pk)
    after = dict(Member.objects.values_list("pk", "tier"))
    now = Counter((before[pk], after[pk], False) for pk in before if before[pk] != after[pk])
    with clock.travel(morning + 300 * DAY):
        services.review_due_tiers()
    final = dict(Member.objects.values_list("pk", "tier"))
    later = Counter((after[pk], final[pk], True) for pk in before if before[pk] == after[pk] != final[pk])
    by_preview: Counter[tuple[str, str, bool]] = Counter()
    for move in moves:
        by_preview[move.old, move.new, move.waits] += move.count
    assert by_preview == now + later


def test_wrong_rules_are_refused_and_change_nothing(levels: None) -> None:
    for given_levels, more in (
        ([LevelInput("", 1)], {}),
        ([LevelInput("银卡", -1)], {}),
        ([LevelInput("银卡", 10**15)], {}),
        ([LevelInput("银卡" * 21, 1)], {}),
        ([LevelInput("银卡", 1, 100_001)], {}),
        ([LevelInput("银卡", 1), LevelInput("金卡", 1)], {}),
        ([LevelInput("银卡", 1)], {"basis": "luck"}),
        ([LevelInput("银卡", 1)], {"keep_days": 0}),
    ):
        values: dict[str, Any] = {"basis": "growth", "window_days": 0, "keep_days": 30, **more}
        with pytest.raises(BadPoints):
            services.save_tiers(levels=given_levels, **values)
    plan = current_plan()
    assert plan is not None
    assert plan.levels == LEVELS


def test_the_audit_finds_a_standing_without_its_change(morning: datetime, levels: None) -> None:
    member = a_member()
    grow(member, 150)
    assert run_check("crm.tiers_have_their_history") == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_tierchange SET new = '黑金'")
    assert run_check("crm.tiers_have_their_history") != []
    assert TierPolicy.objects.count() == 1
    assert morning == MORNING
