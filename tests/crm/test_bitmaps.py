"""Bitmaps answer as the database would, at once after every change, whoever wrote them; what they cannot say is asked.

`POND_SEGMENTS=2000` tries two thousand random trees over other random members instead of a few.
"""

import contextlib
import json
import os
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import jsonschema
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from core import clock
from core.audits import run_check
from crm import bitmap_answers, bitmap_folding, bitmap_rows, bitmaps, queries, segments, services
from crm.errors import SegmentInUse, WrongRules
from crm.models import BitmapDelta, BitmapFold, Identity, Member, Segment, SegmentBitmap
from crm.queries import segments as segment_queries
from crm.queries import segments_why
from tests.crm.conftest import MORNING
from tests.crm.crowd import CROWD, Crowd, condition
from wechat.models import Account

TREES = int(os.environ.get("POND_SEGMENTS", "0"))


@pytest.fixture
def crowd(morning: datetime, brand: Account, corp: Account, tag: Callable[[str], Any]) -> Crowd:
    return Crowd(brand, corp, tag, seed=random.randrange(10**9) if TREES else 7)


def test_bitmaps_find_whom_sql_and_plain_python_find(crowd: Crowd) -> None:
    """On random trees, some members changing and being folded in between, so that all mixtures of old and new occur."""
    found = 0

    @settings(
        max_examples=TREES or 15,
        deadline=None,
        database=None,
        derandomize=not TREES,
        suppress_health_check=list(HealthCheck),
    )
    @given(rules=crowd.trees(), changes=st.integers(0, 3), is_folded=st.booleans())
    def compare(rules: dict[str, Any], changes: int, is_folded: bool) -> None:
        nonlocal found
        for _number in range(changes):
            crowd.change(crowd.chance.choice(crowd.members).pk)
        if is_folded:
            services.fold_bitmaps()
        by_bitmaps = set(queries.segment_member_ids(rules))
        assert by_bitmaps == set(queries.members_in(rules).values_list("pk", flat=True))
        assert by_bitmaps == crowd.found_plainly(rules)
        one = crowd.chance.choice(crowd.members).pk
        explained = segments_why.explain(rules, one)
        assert explained.is_in == (one in by_bitmaps)
        assert len(explained.tree.conditions()) == sum(1 for _one in segments.conditions(rules))
        found += 0 < len(by_bitmaps) < CROWD

    compare()
    assert found >= 4, "hardly a tree told members apart"
    assert not run_check("crm.bitmaps")


@pytest.mark.django_db
def test_every_field_finds_whom_sql_and_plain_python_find(crowd: Crowd) -> None:
    """Before and after folding, and told of each member by "why is she in"."""
    hobby, size, day, skin = (field.pk for field in crowd.fields)
    rules = [
        condition("points", "between", [1, None]),
        condition("points", "between", [None, 0]),
        condition("growth", "between", [0, 99]),
        condition("stored_fen", "between", [100, 600]),
        condition("stage", "in", ["new", ""]),
        condition("stage", "not_in", ["lost"]),
        condition("aipl", "in", ["loyal", "bought"]),
        condition("rfm", "in", ["key_valued"]),
        condition("chance_percent", "between", [30, 99]),
        condition("birthday_month", "in", [3]),
        condition("birthday_days", "between", [0, 30]),
        condition("birthday_days", "between", [359, None]),
        condition("birthday_days", "between", [0, 0]),
        condition("birthday_calendar", "in", ["lunar"]),
        condition("birthday_calendar", "not_in", ["solar"]),
        condition("anniversary", "between", {"of": "joined", "from": 0, "to": 340}),
        condition("anniversary", "between", {"of": "wedding", "from": 0, "to": 60}),
        condition("anniversary", "between", {"of": "field", "field": day, "from": None, "to": 10}),
        condition("device", "in", ["ios"]),
        condition("device", "not_in", ["android"]),
        condition("region", "in", ["浙江"]),
        condition("region", "not_in", ["浙江", "广东"]),
        condition("joined_via", "in", ["login", "import"]),
        condition("guide", "in", [crowd.guides[0].pk]),
        condition("store", "in", crowd.stores[1:]),
        condition("group", "in", [1]),
        condition("group", "not_in", [1, 2]),
        condition("touches", "at_least", {"times": 1, "days": 400}),
        condition("touches", "fewer", {"times": 2, "days": 30}),
        condition("custom", "in", {"field": hobby, "values": ["茶"]}),
        condition("custom", "not_in", {"field": skin, "values": ["干"]}),
        condition("custom", "known", {"field": hobby}),
        condition("custom", "unknown", {"field": size}),
        condition("custom", "between", {"field": size, "from": -1, "to": 38}),
        condition("custom", "between", {"field": day, "from": "2026-02-01", "to": None}),
    ]
    expected = [crowd.found_plainly(one) for one in rules]
    validator = jsonschema.Draft202012Validator(segments.schema())
    members = {member.pk for member in crowd.members}
    for is_folded in (False, True):
        for one, plainly in zip(rules, expected, strict=True):
            assert set(queries.segment_member_ids(one)) == plainly, one
            assert 0 < len(plainly) < CROWD, f"{one} tells nobody apart"
        if not is_folded:
            services.fold_bitmaps()
    for one, plainly in zip(rules, expected, strict=True):
        assert set(queries.members_in(one).values_list("pk", flat=True)) == plainly, one
        validator.validate(one)
        for pk in (min(plainly), min(members - plainly)):
            verdict = segments_why.explain(one, pk).tree
            assert verdict.is_true == (pk in plainly), one
            assert verdict.hers, one
    assert {one["field"] for one in rules} | set(OLD_FIELDS) == set(segments.OPS)


OLD_FIELDS = (
    *(
        "tags",
        "tier",
        "last_order_days",
        "orders",
        "spend_fen",
        "net_fen",
        "fact",
        "silent_days",
        "touched_days",
    ),
    *("untouched_days", "joined_days", "visits", "source", "following", "contact", "consent", "segment"),
)


@pytest.mark.django_db
def test_a_band_is_the_same_here_and_there() -> None:
    numbers = sorted({n + d for n in [0, 99, 100, 999, 1000, 10**7, 50_000, 10**15] for d in (-1, 0, 1)})
    with connection.cursor() as cursor:
        cursor.execute("SELECT n, crm_band(n) FROM unnest(%s::bigint[]) n", [numbers])
        for number, band in cursor.fetchall():
            assert bitmaps.band_of(number) == band
            low, high = bitmaps.band_ends(band)
            assert low <= number <= high
            assert bitmaps.band_of(high) == band == (bitmaps.band_of(low) if number >= 0 else -1)
        cursor.execute(
            "SELECT crm_shop_day('2026-03-03 16:00:00+00'), crm_shop_day('2026-03-03 15:59:59+00')"
        )
        day = bitmaps.day_number(MORNING.date())
        assert cursor.fetchone() == (day, day - 1)


CHANGES: dict[str, tuple[dict[str, Any], Callable[[Any, int, int], Any], int]] = {
    # rules, the change (of the member who did not match), how many match afterwards besides the one who did
    "tag added": (
        condition("tags", "any", [1]),
        lambda tag, a, b: services.add_tags(member_ids=[b], tag_ids=[tag], origin="staff:1"),
        2,
    ),
    "tag taken": (
        condition("tags", "any", [1]),
        lambda tag, a, b: services.remove_tags(member_ids=[a], tag_ids=[tag]),
        0,
    ),
    "order": (
        condition("spend_fen", "between", [50_050, None]),
        lambda tag, a, b: services.book_purchase(member_id=b, paid_fen=50_050, at=MORNING),
        2,
    ),
    "refund": (
        condition("net_fen", "between", [50_050, None]),
        lambda tag, a, b: services.book_refund(member_id=a, refunded_fen=1, at=MORNING),
        0,
    ),
    "touch": (
        condition("touched_days", "between", [None, 0]),
        lambda tag, a, b: services.book_touches(origin="broadcast:1", member_ids=[b], at=MORNING),
        1,
    ),
    "merge": (
        condition("orders", "between", [0, 0]),
        lambda tag, a, b: services.merge_members(kept_id=a, merged_id=b),
        0,
    ),
    "consent": (
        condition("consent", "is", "given"),
        lambda tag, a, b: services.give_consent(
            member_id=b, purpose="marketing", channel="page", text_version="1"
        ),
        1,
    ),
    "view": (
        condition("fact", "at_least", {"kind": "viewed_product", "times": 1, "days": 1}),
        lambda tag, a, b: services.record_activity(member_id=b, kind="viewed_product", at=MORNING),
        1,
    ),
    "unfollow": (
        condition("following", "yes", None),
        lambda tag, a, b: services.note_unfollow(
            identity_id=Identity.objects.get(member=a).pk, at=MORNING + timedelta(minutes=1)
        ),
        1,
    ),
    "tier": (condition("tier", "in", ["金卡"]), lambda tag, a, b: Member.objects.filter(pk=b).update(tier="金卡"), 1),
}  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen_by_the_next_count(
    what: str, follower: Callable[..., Member], tag: Callable[[str], Any], morning: datetime
) -> None:
    rules, change, expected = CHANGES[what]
    rose = tag("玫瑰").pk
    if rules["field"] == "tags":
        rules = {**rules, "value": [rose]}
    buyer, other = follower("a").pk, follower("b").pk
    services.book_purchase(member_id=buyer, paid_fen=50_050, at=morning)
    services.add_tags(member_ids=[buyer], tag_ids=[rose], origin="staff:1")
    services.fold_bitmaps()
    assert not BitmapDelta.objects.exists()
    before = queries.segment_count(rules)
    kept = {dimension: dict(several) for dimension, several in bitmap_rows._kept.items()}
    unions = bitmap_rows._unions.copy()  # what another process has
    change(rose, buyer, other)
    assert queries.segment_count(rules) == expected != before
    services.fold_bitmaps()
    assert queries.segment_count(rules) == expected
    bitmap_rows.forget()
    bitmap_rows._kept.update(kept)
    bitmap_rows._unions.update(unions)
    assert queries.segment_count(rules) == expected, "the other process trusts what it kept"
    services.rebuild_bitmaps()
    assert queries.segment_count(rules) == expected
    assert not run_check("crm.bitmaps")


@pytest.mark.django_db
def test_what_moves_no_bitmap_is_not_noted(follower: Callable[..., Member], morning: datetime) -> None:
    member = follower()
    services.record_activity(member_id=member.pk, kind="menu", at=morning + timedelta(minutes=1))
    services.fold_bitmaps()
    services.record_activity(member_id=member.pk, kind="menu", at=morning + timedelta(minutes=2))
    Member.objects.filter(pk=member.pk).update(name="木木")
    assert not BitmapDelta.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_after_the_fold_is_not_lost(
    follower: Callable[..., Member], tag: Callable[[str], Any], morning: datetime
) -> None:
    member, rose = follower().pk, tag("玫瑰").pk
    rules = condition("tags", "any", [rose])
    changed, folded = threading.Event(), threading.Event()

    def put_slowly() -> None:
        with transaction.atomic():
            services.add_tags(member_ids=[member], tag_ids=[rose], origin="staff:1")
            changed.set()
            folded.wait(60)
        connection.close()

    writer = threading.Thread(target=put_slowly)
    writer.start()
    changed.wait(60)
    services.fold_bitmaps()
    assert queries.segment_count(rules) == 0
    folded.set()
    writer.join()
    assert queries.segment_count(rules) == 1
    services.fold_bitmaps()
    assert queries.segment_count(rules) == 1
    with contextlib.suppress(InterruptedError), transaction.atomic():
        services.remove_tags(member_ids=[member], tag_ids=[rose])
        services.fold_bitmaps()
        assert queries.segment_count(rules) == 0
        raise InterruptedError
    assert queries.segment_count(rules) == 1, "what was rolled back is still kept"


@pytest.mark.django_db
def test_many_changes_are_read_from_the_tables_and_folded_in_by_a_worker(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(bitmap_answers, "wake_now", lambda task, **_more: asked.append(task))
    monkeypatch.setattr(bitmap_answers, "FOLD_WISHED", CROWD - 1)
    monkeypatch.setattr(bitmap_folding, "FOLDED_AT_ONCE", 50)
    rules = condition("orders", "between", [1, None])
    expected = crowd.found_plainly(rules)
    bitmap_rows.forget()
    for most in (CROWD, CROWD - 1):  # judged one by one, then from the tables
        monkeypatch.setattr(bitmap_answers, "MOST_CHANGED", most)
        with django_assert_num_queries(2):
            assert set(queries.segment_member_ids(rules)) == expected
    assert asked == ["crm.tasks.fold_bitmaps"] * 2
    assert not SegmentBitmap.objects.exists(), "readers write nothing"
    services.fold_bitmaps()
    assert queries.segment_count(rules) == len(expected)  # the bitmaps are read, and kept from here on
    with django_assert_num_queries(1):
        assert set(queries.segment_member_ids(rules)) == expected
    assert len(asked) == 2


@pytest.mark.django_db
def test_who_has_changed_since_is_known_or_said_not_to_be(
    follower: Callable[..., Member], morning: datetime
) -> None:
    rose, musk = follower("rose").pk, follower("musk").pk
    services.fold_bitmaps()
    later = morning + timedelta(hours=1)
    with clock.travel(later):
        services.book_purchase(member_id=rose, paid_fen=1, at=later)
        services.fold_bitmaps()
        services.book_purchase(member_id=musk, paid_fen=1, at=later)
        assert bitmap_folding.changed_since(later, most=2) == BitMap([rose, musk])
        assert bitmap_folding.changed_since(later + timedelta(seconds=1), most=2) == BitMap([musk])
        assert bitmap_folding.changed_since(later, most=1) is None, "more than were asked for"
        assert bitmap_folding.changed_since(morning - timedelta(days=1), most=2) is None, "too long ago"
        services.rebuild_bitmaps()
        assert bitmap_folding.changed_since(later, most=2) is None, "everything was written anew"
    with clock.travel(later + timedelta(days=2)):
        services.book_purchase(member_id=rose, paid_fen=1, at=later)
        services.fold_bitmaps()
    assert BitmapFold.objects.count() == 1, "old folds go"


@pytest.mark.django_db
def test_segments_within_segments(crowd: Crowd) -> None:
    inner = crowd.segment
    outer = services.save_segment(name="外面", rules=condition("segment", "in", [inner.pk]))
    assert outer.members_count == queries.segment_count(inner) > 0
    for rules in (
        condition("segment", "in", [outer.pk]),
        {"not": condition("segment", "not_in", [inner.pk])},
    ):
        with pytest.raises(WrongRules, match=r"外面|里面"):
            services.save_segment(name="里面", segment_id=inner.pk, rules=rules)
    with pytest.raises(WrongRules, match="999"):
        services.save_segment(name="没有", rules=condition("segment", "in", [999]))
    with pytest.raises(SegmentInUse, match="外面"):
        services.delete_segment(segment_id=inner.pk)
    inner.delete()
    services.recount_segments()
    outer.refresh_from_db()
    assert outer.members_count is None


@pytest.mark.django_db
def test_why_she_is_in_or_not(
    follower: Callable[..., Member], tag: Callable[[str], Any], morning: datetime
) -> None:
    member, rose = follower(), tag("玫瑰").pk
    services.book_purchase(member_id=member.pk, paid_fen=60_000, at=morning - timedelta(days=40))
    services.record_activity(member_id=member.pk, kind="viewed_product", at=morning, subject="product:3")
    bought = Segment.objects.create(
        name="买过", rules=condition("orders", "between", [1, None]), created_at=morning
    )
    rules = {
        "all": [
            condition("tags", "any", [rose]),
            condition("last_order_days", "between", [30, 90]),
            condition("spend_fen", "between", [50_000, None]),
            condition("untouched_days", "at_least", 7),
            condition("fact", "at_least", {"kind": "viewed_product", "times": 2, "days": 14}),
            condition("segment", "in", [bought.pk]),
            condition("consent", "is", "unasked"),
        ]
    }
    explained = segments_why.explain(rules, member.pk)
    assert not explained.is_in
    assert [(one.value, one.is_true) for one in explained.tree.conditions()] == [
        ([], False),
        (40, True),
        (60_000, True),
        (None, True),
        (1, False),
        ([bought.pk], True),
        ("unasked", True),
    ]
    assert not segments_why.explain({}, 10**12).is_living
    seen = segment_queries.preview({})
    assert (seen.count, seen.sample_ids) == (1, [member.pk])
    assert segment_queries.cost(rules).level == "quick"
    services.fold_bitmaps()
    instant = segment_queries.cost(condition("spend_fen", "between", [50_050, None]))
    assert (instant.level, instant.bitmaps_count, instant.bitmaps_members) == ("instant", 1, 1)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (condition("tier", "in", []), "至少选择"),
        (condition("tier", "in", ["a\0"]), "至少选择"),
        (condition("touched_days", "at_least", 3), "不能用"),
        (condition("fact", "at_least", {"kind": "viewed_product", "times": 3}), "多少次"),
        (condition("fact", "at_least", {"kind": "flew", "times": 3, "days": 14}), "flew"),
        (condition("fact", "at_least", {"kind": "visited", "times": 0, "days": 14}), "整数"),
        (condition("fact", "at_least", {"kind": "visited", "times": 1, "days": 10**9}), "整数"),
        (
            condition("fact", "at_least", {"kind": "visited", "times": 1, "days": 1, "subjects": "x"}),
            "列表|至少",
        ),
        (condition("tags", "any", list(range(1, 1_002))), "最多"),
        (condition("stage", "in", ["asleep"]), "至少选择"),
        (condition("birthday_month", "in", [13]), "至少选择"),
        (condition("birthday_month", "in", [True]), "至少选择"),
        (condition("region", "in", ["火星"]), "至少选择"),
        (condition("touches", "at_least", {"times": 1}), "多少次"),
        (condition("custom", "in", {"field": 1, "from": 1, "to": 2}), "字段"),
        (condition("custom", "known", {"field": "1"}), "字段"),
        (condition("custom", "between", {"field": 1, "from": 1, "to": "2026-01-01"}), "整数"),
        (condition("custom", "between", {"field": 1, "from": "2026-13-01", "to": None}), "整数"),
    ],
)
def test_bad_conditions_are_refused_in_clear_words(rules: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongRules, match=words):
        segments.check(rules)
    assert not jsonschema.Draft202012Validator(segments.schema()).is_valid(rules)


def test_the_schema_says_what_the_check_says() -> None:
    schema = json.loads(json.dumps(segments.schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    fact = {"kind": "viewed_product", "times": 3, "days": 14, "subjects": ["product:1"]}
    good = [
        {},
        {"all": []},
        {"not": {"any": [condition("tags", "none", [1]), condition("consent", "is", "given")]}},
        condition("spend_fen", "between", [None, 3]),
        condition("fact", "fewer", fact),
        condition("tier", "not_in", [""]),
        condition("following", "no", None),
    ]
    for rules in good:
        segments.check(rules)
        validator.validate(rules)


@pytest.mark.django_db
def test_the_audit_finds_a_wrong_bitmap(follower: Callable[..., Member]) -> None:
    member = follower()
    assert not run_check("crm.bitmaps")
    services.fold_bitmaps()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE crm_memberstats SET paid_fen = 50000 WHERE member_id = %s", [member.pk])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    assert {finding.subject for finding in run_check("crm.bitmaps")} == {
        "bitmap spend 0",
        f"bitmap spend {bitmaps.band_of(50_000)}",
        "bitmap net 0",
        f"bitmap net {bitmaps.band_of(50_000)}",
    }
    services.rebuild_bitmaps()
    assert not run_check("crm.bitmaps")
