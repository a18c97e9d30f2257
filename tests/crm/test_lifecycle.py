"""The members' lifecycle from their timeline: equal to a slow count by hand, incremental, steered by the operator."""

import datetime as dt
import io
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import DataError, connection, transaction
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_check
from crm import queries, services
from crm.admin.definitions import balance
from crm.errors import NotEnoughBuyers, WrongDefinition
from crm.lifecycle import HORIZON_DAYS
from crm.models import LifeDefinition, LifeFit, LifeMove, Member, MemberLife
from crm.models.lifecycle import STAGES, rfm_cell
from tests.shop.test_races import one_holds_while_other_waits

BEGIN = dt.date(2025, 3, 1)
NOW = clock.day_start(dt.date(2026, 3, 4)) + dt.timedelta(hours=10)
TODAY = dt.date(2026, 3, 4)


def write_facts(facts: list[tuple[int, str, dt.datetime, str, int]]) -> None:
    """(member, kind, at, subject, fen), straight into the timeline."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO crm_activity (member_id, kind, at, subject, amount_fen, data)"
            " VALUES (%s, %s, %s, %s, %s, '{}')",
            facts,
        )


def give_figures() -> None:
    """The row of figures that every living member has, with her orders."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO crm_memberstats (member_id, orders_count, paid_fen, refunded_fen, visits_count)
            SELECT member_id, count(*) FILTER (WHERE kind = 'paid'),
                   sum(amount_fen) FILTER (WHERE kind = 'paid'),
                   COALESCE(sum(amount_fen) FILTER (WHERE kind = 'refunded'), 0), 0
            FROM crm_activity GROUP BY member_id
            ON CONFLICT (member_id) DO UPDATE SET orders_count = excluded.orders_count,
                paid_fen = excluded.paid_fen, refunded_fen = excluded.refunded_fen
            """
        )


def hour(day: dt.date, hours: int) -> dt.datetime:
    return clock.day_start(day) + dt.timedelta(hours=hours)


@pytest.fixture
def town(db: Any) -> Iterator[list[tuple[int, str, dt.datetime, str, int]]]:
    """160 buyers with rhythms of their own, some refunds, two orders on one day; the clock stands on a morning."""
    chance = random.Random(3)
    people = Member.objects.bulk_create(
        Member(name=f"客人{number}", created_at=hour(BEGIN, 1)) for number in range(160)
    )
    facts: list[tuple[int, str, dt.datetime, str, int]] = []
    order = 0
    for member in people:
        pause, leaving, day = chance.uniform(6, 60), chance.uniform(0.05, 0.5), BEGIN
        day += dt.timedelta(days=chance.randrange(300))
        while day < TODAY:
            for _ in range(1 + (chance.random() < 0.1)):
                order += 1
                fen = chance.randrange(2_000, 40_000)
                facts.append((member.pk, "paid", hour(day, chance.randrange(24)), f"order:{order}", fen))
                if chance.random() < 0.08:
                    back = fen if chance.random() < 0.5 else fen // 2
                    facts.append((member.pk, "refunded", hour(day, 23), f"order:{order}", back))
            if chance.random() < leaving:
                break
            day += dt.timedelta(days=1 + int(chance.expovariate(1 / pause)))
    write_facts(facts)
    with clock.travel(NOW):
        yield facts


def by_hand(facts: list[tuple[int, str, dt.datetime, str, int]]) -> dict[int, tuple[Any, ...]]:
    """member → (frequency, first day, last day, spent, spent on repeat days) by docs/lifecycle.md."""
    back: dict[tuple[int, str], int] = defaultdict(int)
    for member, kind, _at, subject, fen in facts:
        if kind == "refunded":
            back[member, subject] += fen
    days: dict[int, dict[dt.date, int]] = defaultdict(lambda: defaultdict(int))
    for member, kind, at, subject, fen in facts:
        if kind == "paid" and fen > back[member, subject]:
            days[member][clock.local(at).date()] += fen - back[member, subject]
    return {
        member: (
            len(bought) - 1,
            min(bought),
            max(bought),
            sum(bought.values()),
            sum(bought.values()) - bought[min(bought)],
        )
        for member, bought in days.items()
    }


def rows() -> dict[int, MemberLife]:
    return {row.pk: row for row in MemberLife.objects.all()}


def no_findings() -> None:
    for name in ("crm.lifecycle.stages", "crm.lifecycle.moves", "crm.tombstones"):
        found = [one for one in run_check(name) if "crm_memberlife" in one.problem or "lifecycle" in name]
        assert found == []


def test_everybody_stands_where_a_count_by_hand_puts_her(town: Any) -> None:
    from crm import alive

    done = services.refresh_lives()
    facts, lives = by_hand(town), rows()
    kept = {
        pk: (one.frequency, one.first_day, one.last_day, one.spent_fen, one.repeat_fen)
        for pk, one in lives.items()
    }
    assert kept == facts
    assert (done.written, done.gone) == (len(facts), 0)
    fit = done.fit
    assert (fit.members_count, fit.repeaters_count) == (len(facts), sum(one[0] > 0 for one in facts.values()))
    assert fit.p is not None
    assert fit.q is not None
    assert fit.v is not None
    rhythm, spend = alive.Rhythm(fit.r, fit.alpha, fit.a, fit.b), alive.Spend(fit.p, fit.q, fit.v)
    rule = LifeDefinition.objects.get()
    ends = (rule.days_ends, rule.purchases_ends, rule.spend_ends_fen)
    values = sorted((TODAY - one[2]).days for one in facts.values())
    assert rule.days_ends == [values[-(-len(values) * fifth // 5) - 1] for fifth in (1, 2, 3, 4)]
    for pk, (x, first, last, spent, again) in facts.items():
        life = lives[pk]
        history = alive.History.of([x], [(last - first).days], [(TODAY - first).days])
        vigour = round(alive.vigour(rhythm, history, HORIZON_DAYS)[0] * 10_000)
        assert (life.chance_bps, life.vigour_bps) == (
            round(alive.chance_alive(rhythm, history)[0] * 10_000),
            vigour,
        )
        if vigour < 1_500:
            stage = "lost"
        elif vigour < 4_000:
            stage = "dormant"
        else:
            stage = "cooling" if vigour < 7_000 else "active" if x else "new"
        assert (life.stage, life.since, life.scored_on) == (stage, TODAY, TODAY)
        above = [
            sum(end < value for end in band)
            for band, value in zip(ends, ((TODAY - last).days, x + 1, spent), strict=True)
        ]
        assert life.rfm == 100 * (5 - above[0]) + 10 * (1 + above[1]) + 1 + above[2]
        worth = spend.mean if not x else spend.p * (spend.v + again) / (spend.p * x + spend.q - 1)
        assert (
            life.value_fen == pytest.approx(life.orders_milli / 1000 * worth, abs=1) if spend.q > 1 else True
        )
    assert {"active", "lost"} <= {one.stage for one in lives.values()}
    assert 0 < fit.holdout_days <= 90
    predicted = sum(row["predicted"] * row["members"] for row in fit.calibration)
    actual = sum(row["actual"] * row["members"] for row in fit.calibration)
    cut = TODAY - dt.timedelta(days=fit.holdout_days)
    assert sum(row["members"] for row in fit.calibration) == sum(one[1] <= cut for one in facts.values())
    assert predicted == pytest.approx(actual, rel=0.5)
    no_findings()


def test_only_what_changed_is_written_and_every_move_is_counted(town: Any) -> None:
    services.refresh_lives()
    first = queries.stage_counts()
    again = services.refresh_lives()
    assert (again.written, again.gone) == (0, 0), "a second run of the same day has nothing to say"
    lost = next(pk for pk, life in rows().items() if life.stage == "lost")
    refunded, one_order = next(
        (member, [fact for fact in town if fact[0] == member and fact[1] == "paid"])
        for member, life in rows().items()
        if member != lost
        and life.frequency == 0
        and sum(fact[0] == member and fact[1] == "paid" for fact in town) == 1
    )
    merged, kept = sorted(set(rows()) - {lost, refunded})[:2][::-1]
    stage_before = rows()[merged].stage
    services.forget_lives(member_ids=[merged])
    assert services.forget_lives(member_ids=[merged]) == 0
    Member.objects.filter(pk=merged).update(merged_into=kept)
    no_findings()
    tomorrow = NOW + dt.timedelta(days=1)
    write_facts(
        [
            (lost, "paid", tomorrow, "order:9001", 10_000),
            (refunded, "refunded", tomorrow, one_order[0][3], one_order[0][4]),
        ]
    )
    with clock.travel(tomorrow):
        done = services.refresh_lives()
        day = clock.today()
        moves = queries.stage_moves(since=day, until=day)
        assert rows()[lost].since == day
    assert done.gone == 1
    assert refunded not in rows()
    assert merged not in rows()
    assert 0 < done.written < len(town)
    came_back = rows()[lost].stage
    assert came_back != "lost"
    assert moves["lost", came_back] == 1
    assert LifeMove.objects.get(day=TODAY, from_stage=stage_before, to_stage="").members_count == 1
    counts = queries.stage_counts()
    everything = queries.stage_moves(since=TODAY, until=day)
    for stage in first:
        gained = sum(count for (_from, to), count in everything.items() if to == stage)
        left = sum(count for (before, _to), count in everything.items() if before == stage)
        assert counts[stage] == gained - left
    no_findings()


def standing() -> tuple[list[Any], list[Any]]:
    """All that a run writes: rows of members, and moves."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM crm_memberlife ORDER BY member_id")
        lives = cursor.fetchall()
        cursor.execute(
            "SELECT day, cause, from_stage, to_stage, members_count FROM crm_lifemove ORDER BY 1, 2, 3, 4"
        )
        return lives, cursor.fetchall()


def places() -> dict[int, str]:
    """member → where her row lies: whoever is written lies elsewhere."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT member_id, ctid::text FROM crm_memberlife")
        return dict(cursor.fetchall())


@pytest.mark.parametrize("bands", [LifeDefinition.QUANTILES, LifeDefinition.FIXED])
def test_a_night_between_writes_what_judging_everybody_would(
    town: Any, bands: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After random purchases and refunds; and it touches only whom something is new of, or whose day has come."""
    chance, newcomer = random.Random(bands), Member.objects.create(name="新客", created_at=hour(BEGIN, 1))
    services.define_stages(
        cooling_below_bps=7_000, dormant_below_bps=4_000, lost_below_bps=1_500, bands=bands
    )
    give_figures()
    first = services.refresh_due()
    assert first is not None
    assert services.refresh_lives(whole=False).judged == 0, "nothing is new and no day has come"
    monkeypatch.setattr("crm.services.lifecycle_scores.still_right", lambda *_: True)
    for night in (1, 2, 5):
        with clock.travel(NOW + dt.timedelta(days=night)):
            orders = [fact for fact in town if fact[1] == "paid"]
            back = chance.sample(orders, 3)
            buyers = [newcomer.pk, *chance.sample([fact[0] for fact in orders], 4)]
            write_facts(
                [(one, "paid", clock.now(), f"order:{night}-{place}", chance.randrange(1, 50_000))
                 for place, one in enumerate(buyers)]
                + [(one[0], "refunded", clock.now(), one[3], one[4]) for one in back]
            )  # fmt: skip
            give_figures()
            with transaction.atomic():
                MemberLife.objects.update(seen_orders=-1)  # everybody's purchases are read
                everybody, wanted = services.refresh_lives(whole=False), standing()
                transaction.set_rollback(True)
            lay = places()
            done = services.refresh_due()
            assert done is not None
            assert standing() == wanted
            news = len({*buyers, *(fact[0] for fact in back)})
            touched = [pk for pk, place in places().items() if lay.get(pk) != place]
            assert len(touched) <= done.written + news
            assert (done.fit.pk, done.written, done.gone) == (first.fit.pk, everybody.written, everybody.gone)
            assert done.judged < everybody.judged == len(wanted[0])
            no_findings()


def test_everybody_is_judged_anew_by_another_definition_after_a_week_and_when_the_models_say_something_else(
    town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_figures()
    fits = [services.refresh_due()]
    tomorrow = NOW + dt.timedelta(days=1)
    with clock.travel(tomorrow):
        services.define_stages(cooling_below_bps=9_000, dormant_below_bps=4_000, lost_below_bps=1_500)
        fits.append(services.refresh_due())
    with monkeypatch.context() as patch:
        patch.setattr("crm.services.lifecycle_scores.still_right", lambda *_: True)
        with clock.travel(tomorrow + dt.timedelta(days=6)):
            services.refresh_due()
            assert LifeFit.objects.count() == 2, "a night between"
        with clock.travel(tomorrow + dt.timedelta(days=7)):
            fits.append(services.refresh_due())
    with clock.travel(tomorrow + dt.timedelta(days=8)):
        write_facts([(pk, "paid", clock.now(), f"order:new-{pk}", 5_000) for pk in sorted(rows())[:3]])
        give_figures()
        fits.append(services.refresh_due())
    assert [one and one.judged for one in fits] == [len(rows())] * 4
    assert LifeFit.objects.count() == 4


def test_too_few_who_came_back_are_refused_and_nothing_is_written(db: Any) -> None:
    with pytest.raises(NotEnoughBuyers):
        services.refresh_lives()
    assert services.refresh_due() is None
    assert not LifeFit.objects.exists()
    assert not LifeDefinition.objects.exists()


def test_the_night_counts_once_and_a_run_that_dies_is_done_again(
    town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_figures()
    with monkeypatch.context() as broken:
        broken.setattr("crm.services.lifecycle.COUNT_CHANGES", "SELECT %s, %s, 1 / 0")
        with pytest.raises(DataError):
            services.refresh_due()
    assert not LifeFit.objects.exists(), "the day is not marked before it is done"
    assert not MemberLife.objects.exists()
    assert services.refresh_due() is not None
    assert services.refresh_due() is None
    with clock.travel(clock.day_start(TODAY + dt.timedelta(days=1)) + dt.timedelta(hours=2)):
        assert services.refresh_due() is None, "before three nobody counts"


def test_a_definition_moves_exactly_whom_its_preview_named(town: Any) -> None:
    services.refresh_lives()
    levels = {"cooling_below_bps": 9_000, "dormant_below_bps": 6_000, "lost_below_bps": 3_000}
    before = {pk: life.stage for pk, life in rows().items()}
    promised = queries.moves_of_definition(LifeDefinition(**levels))
    assert promised
    ends: dict[str, Any] = {
        "bands": "fixed", "days_ends": [10, 20, 30, 40], "purchases_ends": [1, 2, 3, 4], "spend_ends_fen": [1, 2, 3, 4],
    }  # fmt: skip
    version = services.define_stages(**levels, **ends, note="双十一之后")
    moved: dict[tuple[str, str], int] = defaultdict(int)
    for pk, life in rows().items():
        if life.stage != before[pk]:
            moved[before[pk], life.stage] += 1
        assert life.rfm % 10 == 5
    assert moved == promised
    assert services.define_stages(**levels, **ends) == version, "the same again is no new version"
    day = queries.stage_moves(since=TODAY, until=TODAY)
    assert all(not before for before, _after in day), "what a definition moved is not what members did"
    # A day that is over: what there was, less and more, is what there is, whatever came later.
    ruled = queries.stage_moves(since=TODAY, until=TODAY, causes=[LifeMove.RULES])
    later = {("new", "lost"): 3, ("", "new"): 2}
    now = queries.stage_counts()
    told = balance(STAGES, now, moves=day, ruled=ruled, later=later)
    first = {stage: sum(word == stage for word in before.values()) for stage in now}
    for line, (stage, count) in zip(told, now.items(), strict=True):
        assert line["end"] == count - {"new": -1, "lost": 3}.get(stage, 0)
        assert line["begin"] + line["came"] - line["went"] + line["ruled"] == line["end"]
        assert (line["came"], line["ruled"]) == (first[stage], count - first[stage])
    for wrong in (
        {**levels, "lost_below_bps": 6_000},
        {**levels, "cooling_below_bps": 10_001},
        {**levels, "lost_below_bps": -1},
        {**levels, **ends, "days_ends": [10, 20, 20, 40]},
        {**levels, **ends, "days_ends": [10, 20, 30]},
        {**levels, "bands": "thirds"},
    ):
        with pytest.raises(WrongDefinition):
            services.define_stages(**wrong)  # type: ignore[arg-type]
    assert queries.definition_in_force() == version
    no_findings()


def test_the_audit_finds_a_stage_that_nobody_moved_to(town: Any) -> None:
    services.refresh_lives()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_memberlife SET stage = 'lost' WHERE stage = 'active'")
    assert run_check("crm.lifecycle.stages")
    assert {one.subject for one in run_check("crm.lifecycle.moves")} == {"stage active", "stage lost"}


def test_the_operator_sees_and_steers_it(
    client: Client, town: Any, django_assert_max_num_queries: Any
) -> None:
    boss = User.objects.create_superuser("boss")
    client.force_login(boss)
    give_figures()
    home = reverse("admin:crm_lifedefinition_changelist")
    assert "20" in client.get(home).content.decode(), "before the first count it says what is missing"
    printed = io.StringIO()
    call_command("lifecycle_fit", stdout=printed)
    assert json.loads(printed.getvalue())["written"] == len(rows())
    with django_assert_max_num_queries(14):
        text = client.get(home + "?days=7").content.decode()
    assert "预测" in text
    yesterday = TODAY - dt.timedelta(days=1)
    past = client.get(f"{home}?day={yesterday}")
    assert {line["end"] for line in past.context["balance"]} == {0}, "yesterday nobody stood anywhere"
    assert f"?day={TODAY}" in past.content.decode()
    assert client.get(f"{home}?day=0001-01-01").status_code == 200
    life = next(life for life in rows().values() if life.frequency)
    listed = reverse("admin:crm_member_changelist")
    for query, count in (
        (f"?stage={life.stage}", MemberLife.objects.filter(stage=life.stage).count()),
        (
            f"?rfm={rfm_cell(life.rfm)}",
            sum(rfm_cell(one.rfm) == rfm_cell(life.rfm) for one in rows().values()),
        ),
        (f"?rfm={str(life.rfm)[:2]}", sum(str(one.rfm)[:2] == str(life.rfm)[:2] for one in rows().values())),
    ):
        shown = client.get(listed + query).content.decode().count('name="_selected_action"')
        assert shown == min(count, 50)
    hers = client.get(reverse("admin:crm_member_change", args=[life.pk])).content.decode()
    place = queries.lifecycle_of(life.pk)
    assert place is not None
    assert place.stage_label in hers
    assert place.cell_label in hers
    define = reverse("admin:crm_lifecycle_define")
    given = {"cooling": "90", "dormant": "60", "lost": "30.5", "bands": "quantiles", "note": "试"}
    looked = client.post(define, {**given, "preview": "1"})
    assert looked.status_code == 200
    assert LifeDefinition.objects.count() == 1, "looking changes nothing"
    for wrong in (
        {"cooling": "20"},
        {"lost": "-1", "note": "长" * 10_000},
        {"lost": "😀", "days_ends": "1 2 x 4"},
    ):
        assert client.post(define, {**given, **wrong, "save": "1"}).status_code == 400
    assert LifeDefinition.objects.count() == 1
    assert client.post(define, {**given, "save": "1"})["Location"] == home
    newest = queries.definition_in_force()
    assert (newest.lost_below_bps, newest.created_by) == (3_050, boss)
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_lifedefinition"))
    client.force_login(looker)
    assert client.get(home).status_code == 200
    assert client.get(define).status_code == 403
    assert client.post(reverse("admin:crm_lifecycle_refresh")).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_merge_during_a_run_is_counted_and_two_runs_write_once(town: Any) -> None:
    merged = min(by_hand(town))
    first, gone = one_holds_while_other_waits(
        services.refresh_lives, lambda: services.forget_lives(member_ids=[merged])
    )
    assert first.written == len(by_hand(town))
    assert gone == 1, "the merge waited for the row that the run was about to write"
    assert merged not in rows()
    again, other = one_holds_while_other_waits(services.refresh_lives, services.refresh_lives)
    assert (again.written, other.written) == (1, 0)
    no_findings()
