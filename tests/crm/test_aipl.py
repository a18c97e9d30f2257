"""AIPL and RFM by month: equal to a slow count by hand, incremental, resumable, steered and seen by the operator."""

import datetime as dt
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DataError, connection, transaction
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_check
from crm import queries, services
from crm.errors import WrongDefinition
from crm.flows import flow_picture
from crm.models import (
    AiplDefinition,
    AiplMove,
    LifeDefinition,
    Member,
    MemberAipl,
    RfmMember,
    RfmMonth,
)
from crm.models.lifecycle import rfm_cell
from tests.crm.test_lifecycle import hour, write_facts

TODAY = dt.date(2026, 3, 4)
NOW = hour(TODAY, 10)
Fact = tuple[int, str, dt.datetime, str, int]
CHECKS = ("crm.aipl.moves", "crm.aipl.steps", "crm.rfm.months", "crm.tombstones", "crm.stats")


def keep_figures(facts: list[Fact]) -> None:
    """The figures that services keep with the facts, as sums."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO crm_memberstats (member_id, orders_count, paid_fen, refunded_fen, visits_count, first_paid_at,
                last_paid_at, last_active_at)
            SELECT m.id, count(*) FILTER (WHERE kind = 'paid'),
                COALESCE(sum(amount_fen) FILTER (WHERE kind = 'paid'), 0),
                COALESCE(sum(amount_fen) FILTER (WHERE kind = 'refunded'), 0), 0, min(at) FILTER (WHERE kind = 'paid'),
                max(at) FILTER (WHERE kind = 'paid'), max(at) FILTER (WHERE kind <> 'refunded')
            FROM crm_member m LEFT JOIN crm_activity a ON a.member_id = m.id
            WHERE m.merged_into_id IS NULL GROUP BY m.id
            ON CONFLICT (member_id) DO UPDATE SET orders_count = excluded.orders_count, paid_fen = excluded.paid_fen,
                refunded_fen = excluded.refunded_fen, last_paid_at = excluded.last_paid_at,
                first_paid_at = excluded.first_paid_at, last_active_at = excluded.last_active_at
            """
        )


@pytest.fixture
def village(db: Any) -> Iterator[list[Fact]]:
    """60 members who look, buy, return and fall silent; the clock stands on a morning."""
    chance = random.Random(5)
    people = Member.objects.bulk_create(
        Member(name=f"客人{number}", created_at=hour(TODAY, 1)) for number in range(60)
    )
    facts: list[Fact] = []
    for member in people[5:]:
        for _ in range(chance.randrange(4)):
            day = TODAY - dt.timedelta(days=chance.choice([0, 3, 25, 29, 30, 31, 80]))
            kind = chance.choice(["viewed_product", "message", "touched"])
            facts.append((member.pk, kind, hour(day, chance.randrange(10)), "", 0))
        for _ in range(chance.choice([0, 0, 1, 2, 3])):
            day = TODAY - dt.timedelta(days=chance.choice([0, 5, 40, 100, 101, 364, 365, 400]))
            subject, fen = f"order:{len(facts)}", chance.randrange(1_000, 90_000)
            facts.append((member.pk, "paid", hour(day, chance.randrange(10)), subject, fen))
            if chance.random() < 0.2:
                facts.append((member.pk, "refunded", hour(TODAY, 9), subject, chance.choice([fen, fen // 2])))
    write_facts(facts)
    keep_figures(facts)
    with clock.travel(NOW):
        yield facts


def kept_days(facts: list[Fact]) -> dict[int, dict[dt.date, int]]:
    """member → day → what was paid and not refunded, of orders not refunded in full."""
    back: dict[tuple[int, str], int] = defaultdict(int)
    for member, kind, _at, subject, fen in facts:
        if kind == "refunded":
            back[member, subject] += fen
    days: dict[int, dict[dt.date, int]] = defaultdict(lambda: defaultdict(int))
    for member, kind, at, subject, fen in facts:
        if kind == "paid" and fen > back[member, subject]:
            days[member][clock.local(at).date()] += fen - back[member, subject]
    return days


def by_hand(facts: list[Fact], rule: AiplDefinition) -> dict[int, str]:
    today, days = clock.today(), kept_days(facts)
    looks: Counter[int] = Counter()
    for member, kind, at, _subject, _fen in facts:
        if kind in rule.interest_kinds and 0 <= (today - clock.local(at).date()).days < rule.interest_days:
            looks[member] += 1
    steps = {}
    for pk in Member.objects.living().values_list("pk", flat=True):
        loyal = [fen for day, fen in days[pk].items() if (today - day).days < rule.loyal_days]
        if len(loyal) >= rule.loyal_purchases and sum(loyal) >= rule.loyal_fen:
            steps[pk] = "loyal"
        elif any((today - day).days < rule.bought_days for day in days[pk]):
            steps[pk] = "bought"
        else:
            steps[pk] = "interested" if looks[pk] >= rule.interest_facts else "aware"
    return steps


def stored() -> dict[int, str]:
    return dict(MemberAipl.objects.values_list("pk", "step"))


def no_findings() -> None:
    for name in CHECKS:
        assert run_check(name) == [], name


def test_everybody_stands_where_a_count_by_hand_puts_her_and_time_alone_moves_her(
    village: list[Fact],
) -> None:
    rule = queries.aipl_in_force()
    run = services.refresh_aipl()
    assert stored() == by_hand(village, rule)
    assert set(stored().values()) == {"aware", "interested", "bought", "loyal"}
    assert (run.judged, run.written) == (60, 60)
    assert services.refresh_aipl() == type(run)(0, 0, 0), "nothing is new, nobody is judged"
    before = stored()
    for days in (1, 2, 6):  # the last is still before the week's judging of everybody
        with clock.travel(NOW + dt.timedelta(days=days)):
            run = services.refresh_aipl()
            assert run.judged < 40, "only those whose time is over"
            assert stored() == by_hand(village, rule)
            no_findings()
    moved = {pk for pk, step in stored().items() if step != before[pk]}
    assert moved
    assert all(MemberAipl.objects.get(pk=pk).since > TODAY for pk in moved)
    day = TODAY + dt.timedelta(days=1)
    lines = queries.aipl_days(since=TODAY, until=day + dt.timedelta(days=5))
    assert sum(line["farther"] for line in lines) >= len(moved)  # type: ignore[misc]


def test_what_is_new_of_somebody_moves_her_alone_and_a_run_that_dies_is_done_again(
    village: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    services.refresh_aipl()
    her = next(pk for pk, step in stored().items() if step == "aware")
    services.record_activity(member_id=her, kind="paid", at=NOW, subject="order:900", amount_fen=500)
    services.book_purchase(member_id=her, paid_fen=500, at=NOW)
    with monkeypatch.context() as broken:
        broken.setattr("crm.services.aipl.COUNT_CHANGES", "SELECT %s, %s, 1 / 0")
        with pytest.raises(DataError), transaction.atomic():
            services.refresh_aipl()
    assert stored()[her] == "aware", "the run left nothing behind"
    assert services.refresh_aipl().judged == 1
    assert stored()[her] == "bought"
    assert queries.aipl_moves(since=TODAY, until=TODAY)["aware", "bought"] == 1
    services.record_activity(member_id=her, kind="refunded", at=NOW, subject="order:900", amount_fen=500)
    services.book_refund(member_id=her, refunded_fen=500, at=NOW)
    services.refresh_aipl()
    assert stored()[her] == "aware"
    no_findings()


def test_a_merged_member_leaves_and_the_other_is_judged_with_what_she_did(village: list[Fact]) -> None:
    services.refresh_aipl()
    merged = max(pk for pk, step in stored().items() if step == "loyal")
    kept = min(stored())
    services.count_rfm_months()
    services.merge_members(kept_id=kept, merged_id=merged)
    services.refresh_aipl()
    assert merged not in stored()
    assert stored()[kept] == "loyal"
    assert RfmMember.objects.filter(member=kept).exists()
    assert AiplMove.objects.filter(from_step="loyal", to_step="").exists()
    Member.objects.filter(pk=kept).update(erased_at=NOW)
    assert services.refresh_aipl().gone == 1, "who asked to be forgotten stands nowhere"
    assert kept not in stored()
    no_findings()


def test_a_definition_moves_exactly_whom_its_preview_named(
    village: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    services.refresh_aipl()
    before = stored()
    meaning: dict[str, Any] = {
        "interest_kinds": ["viewed_product"], "interest_facts": 1, "interest_days": 31, "bought_days": 90,
        "loyal_purchases": 2, "loyal_days": 200, "loyal_fen": 30_000,
    }  # fmt: skip
    promised = queries.moves_of_aipl(AiplDefinition(**meaning))
    assert promised.is_whole
    with monkeypatch.context() as large:
        large.setattr("crm.queries.aipl.JUDGED_BEFOREHAND", 30)
        about = queries.moves_of_aipl(AiplDefinition(**meaning))
    assert not about.is_whole
    assert all(count % 2 == 0 for count in about.moves.values()), "every second one counts for two"
    rule = services.define_aipl(**meaning, note="双十一之后")
    assert services.define_aipl(**meaning) == rule, "the same again is no new version"
    services.refresh_aipl()
    assert stored() == by_hand(village, rule)
    moved = Counter((before[pk], step) for pk, step in stored().items() if step != before[pk])
    assert moved == promised.moves
    assert len(moved) > 2
    told = queries.aipl_moves(since=TODAY, until=TODAY)
    assert all(not came for came, _to in told), "what a definition moved is not what members did"
    for wrong in (
        {"interest_kinds": []},
        {"interest_kinds": ["paid"]},
        {"loyal_purchases": 1},
        {"bought_days": 0},
        {"loyal_fen": -1},
        {"interest_days": 10_000},
    ):
        with pytest.raises(WrongDefinition):
            services.define_aipl(**{**meaning, **wrong})
    assert queries.aipl_in_force() == rule
    no_findings()


def month_by_hand(facts: list[Fact], until: dt.date, ends: list[list[int]]) -> dict[int, int]:
    """member → score when the month before `until` ended, as docs/lifecycle.md says."""
    scores = {}
    last = until - dt.timedelta(days=1)
    for pk, days in kept_days(
        [fact for fact in facts if fact[1] == "refunded" or fact[2] < hour(until, 0)]
    ).items():
        values = ((last - max(days)).days if days else 0, len(days), sum(days.values()))
        if not days:
            continue
        above = [sum(end < value for end in band) for band, value in zip(ends, values, strict=True)]
        scores[pk] = 100 * (5 - above[0]) + 10 * (1 + above[1]) + 1 + above[2]
    return scores


def test_months_that_ended_are_kept_as_they_were_and_a_run_that_dies_goes_on(
    village: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crm.services import rfm

    real = rfm.count_rfm_month
    monkeypatch.setattr(
        rfm, "count_rfm_month", lambda *, month: real(month=month) if month.year < 2026 else 1 // 0
    )
    with pytest.raises(ZeroDivisionError):
        services.count_rfm_months()
    assert RfmMonth.objects.count() == 10, "March to December 2025 are kept"
    monkeypatch.setattr(rfm, "count_rfm_month", real)
    assert services.count_rfm_months() == 2
    assert services.count_rfm_months() == 0
    assert not real(month=dt.date(2026, 2, 1))
    before: dict[int, int] = {}
    for month in RfmMonth.objects.order_by("month"):
        until = (month.month + dt.timedelta(days=31)).replace(day=1)
        ends = [month.days_ends, month.purchases_ends, month.spend_ends_fen]
        now = month_by_hand(village, until, ends)
        kept = dict(RfmMember.objects.filter(month=month.month).values_list("member_id", "rfm"))
        assert kept == now
        assert month.members_count == len(now)
        flows = Counter(
            (rfm_cell(before[pk]) if pk in before else "", rfm_cell(now[pk]) if pk in now else "")
            for pk in {*before, *now}
        )
        assert queries.rfm_flows([month.month])[month.month] == flows
        before = now
    no_findings()
    with clock.travel(hour(dt.date(2026, 4, 1), 4)):
        services.define_stages(
            cooling_below_bps=7_000, dormant_below_bps=4_000, lost_below_bps=1_500, bands="fixed",
            days_ends=[10, 20, 30, 40], purchases_ends=[1, 2, 3, 4], spend_ends_fen=[1, 2, 3, 4],
        )  # fmt: skip
        assert services.count_rfm_months() == 1
    assert RfmMonth.objects.latest("month").bands == LifeDefinition.FIXED


def test_the_audit_finds_a_step_and_a_month_that_nobody_counted(village: list[Fact]) -> None:
    services.refresh_aipl()
    services.count_rfm_months()
    no_findings()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_memberaipl SET step = 'loyal' WHERE step = 'bought'")
        cursor.execute("UPDATE crm_rfmflow SET members_count = members_count + 1 WHERE to_cell <> ''")
    assert {one.subject for one in run_check("crm.aipl.moves")} == {"step bought", "step loyal"}
    assert run_check("crm.aipl.steps")
    assert len(run_check("crm.rfm.months")) == RfmMonth.objects.count()


def test_the_picture_of_flows_loses_nobody() -> None:
    moves = {("a", "a"): 5, ("a", "b"): 1, ("", "b"): 2, ("b", ""): 40}
    picture = flow_picture(moves, ["a", "b", ""])
    assert {box.key: box.count for box in picture.left} == {"a": 6, "b": 40, "": 2}
    assert {box.key: box.count for box in picture.right} == {"a": 5, "b": 3, "": 40}
    assert sum(ribbon.count for ribbon in picture.ribbons) == 48
    assert max(box.y + box.height for box in [*picture.left, *picture.right]) <= picture.height + 1
    assert flow_picture({}, ["a"]).ribbons == []


def test_the_operator_sees_and_steers_both(
    client: Client, village: list[Fact], django_assert_max_num_queries: Any
) -> None:
    boss = User.objects.create_superuser("boss")
    client.force_login(boss)
    aipl, months = (reverse(f"admin:crm_{name}_changelist") for name in ("aipldefinition", "rfmmonth"))
    assert "life-empty" in client.get(aipl).content.decode()
    assert "life-empty" in client.get(months).content.decode()
    services.refresh_aipl()
    services.count_rfm_months()
    with django_assert_max_num_queries(10):
        text = client.get(f"{aipl}?days=7").content.decode()
    assert "认知" in text
    assert "忠诚" in text
    with django_assert_max_num_queries(6):
        text = client.get(f"{months}?month=2026-01").content.decode()
    assert "rfm-flow" in text
    assert client.get(f"{months}?month=💥").status_code == 200
    step, count = Counter(stored().values()).most_common(1)[0]
    listed = client.get(reverse("admin:crm_member_changelist") + f"?aipl={step}").content.decode()
    assert listed.count('name="_selected_action"') == count
    her = next(pk for pk, one in stored().items() if one == "loyal")
    assert "忠诚" in client.get(reverse("admin:crm_member_change", args=[her])).content.decode()
    define = reverse("admin:crm_aipl_define")
    assert client.get(define).status_code == 200
    given = {
        "interest_kinds": ["message", "menu"], "interest_facts": "1", "interest_days": "60", "bought_days": "180",
        "loyal_purchases": "3", "loyal_days": "365", "loyal_yuan": "199.50", "note": "试",
    }  # fmt: skip
    assert client.post(define, {**given, "preview": "1"}).status_code == 200
    for wrong in (
        {"interest_kinds": ["paid"]},
        {"interest_facts": "-1", "bought_days": "😀", "loyal_yuan": "-5"},
        {"loyal_yuan": "9" * 16, "note": "长" * 10_000},
    ):
        assert client.post(define, {**given, **wrong, "save": "1"}).status_code == 400, wrong
    assert AiplDefinition.objects.count() == 1, "looking changes nothing"
    assert client.post(define, {**given, "save": "1"})["Location"] == aipl
    newest = queries.aipl_in_force()
    assert (newest.loyal_fen, newest.created_by) == (19_950, boss)
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_aipldefinition"))
    client.force_login(looker)
    assert client.get(aipl).status_code == 200
    assert client.get(define).status_code == 403
    assert client.get(months).status_code == 403
