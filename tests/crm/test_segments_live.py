"""Stored segments: who entered and left is told once, lists are frozen, files travel between houses."""

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from core import clock, ledger
from core.audits import run_check
from core.models import DomainEvent
from crm import services
from crm.errors import SegmentNameTaken, WrongRules, WrongSegmentFile
from crm.models import (
    Consent,
    Member,
    MemberLife,
    Segment,
    SegmentChange,
    SegmentDay,
    SegmentMember,
    SegmentSnapshot,
    Store,
    Tag,
    TagGroup,
    TierRule,
)
from crm.queries import segments_files, segments_shown
from shop.models import Category
from tests.shop import builders
from wechat.models import Account

BUYERS = {"all": [{"field": "orders", "op": "between", "value": [1, None]}]}
FRESH = {"all": [{"field": "last_order_days", "op": "between", "value": [0, 7]}]}


def buys(member: Member, at: datetime, fen: int = 9_900) -> None:
    services.book_purchase(member_id=member.pk, paid_fen=fen, at=at)
    services.record_activity(member_id=member.pk, kind="paid", at=at, amount_fen=fen)


def told(name: str) -> list[int]:
    rows = DomainEvent.objects.filter(name=f"crm.{name}").order_by("pk")
    return [row.payload["member_id"] for row in rows]


@pytest.mark.django_db
def test_who_enters_and_leaves_is_told_once_and_the_founders_are_not(
    follower: Callable[..., Member], morning: datetime
) -> None:
    rose, musk = follower("rose"), follower("musk")
    buys(rose, morning - timedelta(days=3))
    segment = services.save_segment(name="一周内买过", rules=FRESH, is_live=True)
    assert (segment.members_count, told("SegmentEntered")) == (1, [])
    noon = morning + timedelta(hours=1)
    with clock.travel(noon):
        buys(musk, noon)
        assert services.refresh_live_segments() == 1
        assert services.refresh_live_segments() == 1, "again finds nothing new"
    with clock.travel(noon + timedelta(days=5)):  # nothing happens to rose: only the days pass
        services.refresh_live_segments()
    assert (told("SegmentEntered"), told("SegmentLeft")) == ([musk.pk], [rose.pk])
    changes = SegmentChange.objects.order_by("pk").values_list("member_id", "is_entry")
    assert list(changes) == [(musk.pk, True), (rose.pk, False)]
    days = SegmentDay.objects.order_by("day").values_list("members_count", "entered", "left")
    assert list(days) == [(2, 1, 0), (1, 0, 1)]
    segment.refresh_from_db()
    assert segment.members_count == 1
    assert [row[0] for row in segments_shown.segments_of(musk.pk)] == [segment]
    assert run_check("crm.segments") == []


@pytest.mark.django_db
def test_comparing_the_changed_finds_what_comparing_everybody_finds(
    follower: Callable[..., Member],
    event_account: Account,
    brand: Account,
    tag: Callable[[str], Any],
    morning: datetime,
) -> None:
    people = [follower(f"o-{number}", name=f"客人{number}") for number in range(6)]
    rules = {
        "any": [
            {"field": "tags", "op": "any", "value": [tag("玫瑰").pk]},
            {"field": "consent", "op": "is", "value": "given"},
            {"field": "orders", "op": "between", "value": [1, None]},
            {"not": {"field": "following", "op": "yes", "value": None}},
        ]
    }
    services.add_tags(member_ids=[people[0].pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
    segment = services.save_segment(name="有过往来", rules=rules, is_live=True)
    later = morning + timedelta(minutes=30)
    with clock.travel(later):
        services.remove_tags(member_ids=[people[0].pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
        services.give_consent(
            member_id=people[1].pk, purpose=Consent.MARKETING, channel="page", text_version="1"
        )
        buys(people[2], later)
        services.note_unfollow(identity_id=people[3].identities.get().pk, at=later)
        services.record_activity(member_id=people[3].pk, kind="unfollowed", at=later)
        services.member_for_openid(account_id=event_account.pk, openid="new", at=later)
        refreshed = services.refresh_segment(segment_id=segment.pk)
        assert refreshed is not None
        assert not refreshed.is_whole
        stored = set(segments_shown.stored_ids(segment.pk))
        assert stored == set(segments_shown.ids_of(rules))
        assert {people[1].pk, people[2].pk, people[3].pk} <= stored
        assert people[0].pk not in stored
        services.merge_members(kept_id=people[1].pk, merged_id=people[2].pk)
        services.refresh_segment(segment_id=segment.pk)
        assert people[2].pk not in set(segments_shown.stored_ids(segment.pk)), "the tombstone left"
        whole = services.refresh_segment(segment_id=segment.pk, whole=True)
    assert whole is not None
    assert (whole.is_whole, whole.entered, whole.left) == (True, 0, 0)


def _life(member: Member, stage: str) -> None:
    today = clock.today()
    days = {"first_day": today, "last_day": today, "since": today, "scored_on": today}
    scores = {"chance_bps": 1, "vigour_bps": 1, "orders_milli": 1, "rfm": 111}
    sums = {"frequency": 0, "spent_fen": 1, "repeat_fen": 0}
    MemberLife.objects.update_or_create(member=member, defaults={"stage": stage, **days, **scores, **sums})


def _points(member: Member) -> None:
    accounts = [ledger.open_account(kind="points", owner_id=owner) for owner in (0, member.pk)]
    ledger.transfer(cause="gift", debit=accounts[0], credit=accounts[1], amount=5)


CHANGES: dict[str, tuple[str, str, Any, Callable[[Member], Any]]] = {
    "stage": ("stage", "in", ["lost"], lambda member: _life(member, "lost")),
    "birthday": (
        "birthday_month",
        "in",
        [3],
        lambda member: Member.objects.filter(pk=member.pk).update(birthday="1990-03-08"),
    ),
    "group": (
        "group",
        "in",
        [7],
        lambda member: services.set_group_members(group_id=7, member_ids=[member.pk]),
    ),
    "region": (
        "region",
        "in",
        ["广东"],
        lambda member: services.note_region(member_id=member.pk, address="广东省 深圳市", at=clock.now()),
    ),
    "points": ("points", "between", [5, 5], _points),
}


@pytest.mark.django_db
@pytest.mark.parametrize("what", CHANGES)
def test_what_leaves_no_fact_is_found_all_the_same(
    what: str, follower: Callable[..., Member], morning: datetime
) -> None:
    field, op, value, change = CHANGES[what]
    rose, _musk = follower("rose"), follower("musk")
    _life(rose, "new")
    rules = {"all": [{"field": field, "op": op, "value": value}]}
    segment = services.save_segment(name="人群", rules=rules, is_live=True)
    services.fold_bitmaps()
    assert segment.members_count == 0
    with clock.travel(morning + timedelta(minutes=20)):
        change(rose)
        services.fold_bitmaps()
        refreshed = services.refresh_segment(segment_id=segment.pk)
        assert refreshed is not None
        assert (refreshed.entered, refreshed.is_whole) == (1, False)
    assert told("SegmentEntered") == [rose.pk]


@pytest.mark.django_db
def test_changed_rules_and_switching_off_tell_nobody(
    follower: Callable[..., Member], morning: datetime
) -> None:
    rose, musk = follower("rose"), follower("musk")
    buys(rose, morning)
    segment = services.save_segment(name="买过", rules=BUYERS, is_live=True)
    segment_of_it = {"field": "segment", "op": "in", "value": [segment.pk]}
    outer = services.save_segment(name="外", rules=segment_of_it, is_live=True)
    outermost = services.save_segment(
        name="最外", rules={"field": "segment", "op": "in", "value": [outer.pk]}, is_live=True
    )
    services.save_segment(name="所有人", rules={}, segment_id=segment.pk)
    assert set(segments_shown.stored_ids(segment.pk)) == {rose.pk, musk.pk}
    for holder in (outer, outermost):
        assert set(segments_shown.stored_ids(holder.pk)) == {rose.pk, musk.pk}
        assert services.refresh_segment(segment_id=holder.pk)
    assert set(SegmentDay.objects.values_list("members_count", flat=True)) == {2}
    assert services.delete_segment(segment_id=outermost.pk)
    assert services.delete_segment(segment_id=outer.pk)
    services.save_segment(name="所有人", rules={}, segment_id=segment.pk, is_live=False)
    assert not SegmentMember.objects.exists()
    assert not DomainEvent.objects.filter(name__startswith="crm.Segment").exists()
    assert services.refresh_segment(segment_id=segment.pk) is None
    assert services.delete_segment(segment_id=segment.pk)
    assert not services.delete_segment(segment_id=segment.pk)
    assert not SegmentDay.objects.exists()
    with pytest.raises(WrongRules):
        services.save_segment(name=" ", rules={})


@pytest.mark.django_db(transaction=True)
def test_refreshing_from_many_workers_at_once_tells_each_change_once(
    follower: Callable[..., Member], morning: datetime
) -> None:
    people = [follower(f"o-{number}") for number in range(12)]
    segment = services.save_segment(name="买过", rules=BUYERS, is_live=True)
    for member in people:
        buys(member, morning)
    barrier, raised = threading.Barrier(4), []

    def work(whole: bool) -> None:
        try:
            barrier.wait(60)
            for _turn in range(3):
                services.refresh_segment(segment_id=segment.pk, whole=whole)
        except Exception as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert raised == []
    assert sorted(told("SegmentEntered")) == sorted(member.pk for member in people)
    assert SegmentChange.objects.count() == len(people)
    segment.refresh_from_db()
    assert segment.members_count == len(people) == SegmentMember.objects.count()
    assert SegmentDay.objects.get().entered == len(people)


@pytest.mark.django_db
def test_set_operations_make_rules_or_frozen_lists(
    follower: Callable[..., Member], tag: Callable[[str], Any], morning: datetime
) -> None:
    rose, musk, new = (follower(name) for name in ("rose", "musk", "new"))
    buys(rose, morning)
    buys(musk, morning)
    services.add_tags(member_ids=[musk.pk, new.pk], tag_ids=[tag("送礼").pk], origin="staff:1")
    buyers = services.save_segment(name="买过", rules=BUYERS)
    gifts = services.save_segment(
        name="送礼", rules={"field": "tags", "op": "any", "value": [tag("送礼").pk]}, is_live=True
    )
    expected = {
        ("union", (buyers, gifts)): {rose.pk, musk.pk, new.pk},
        ("intersection", (buyers, gifts)): {musk.pk},
        ("difference", (buyers, gifts)): {rose.pk},
        ("difference", (gifts, buyers)): {new.pk},
    }
    for (operation, chosen), members in expected.items():
        rules = services.combined_rules(operation=operation, chosen=chosen)
        assert set(segments_shown.ids_of(rules)) == members, operation
        name = f"{operation} {chosen[0].name}"
        kept = services.keep_combination(operation=operation, segments=chosen, name=name)
        assert (set(segments_shown.snapshot_ids(kept)), kept.members_count) == (members, len(members))
    everybody = services.save_segment(name="所有人", rules={})
    assert services.combined_rules(operation="union", chosen=[buyers, everybody]) == {"all": []}
    with pytest.raises(WrongRules):
        services.combined_rules(operation="minus", chosen=[buyers, gifts])
    shown = segments_shown.overlap([segments_shown.members_now(one) for one in (buyers, gifts)])
    assert (shown.counts, shown.pairs, shown.union, shown.intersection) == ([2, 2], [[2, 1], [1, 2]], 3, 1)
    assert sorted(shown.parts) == [((0,), 1), ((0, 1), 1), ((1,), 1)]


@pytest.mark.django_db
def test_a_snapshot_stays_as_it_was_under_a_name_of_its_own(
    follower: Callable[..., Member], morning: datetime
) -> None:
    rose, musk = follower("rose"), follower("musk")
    buys(rose, morning)
    segment = services.save_segment(name="买过", rules=BUYERS)
    kept = services.take_snapshot(segment_id=segment.pk, name="三月买过")
    buys(musk, morning)
    kept.refresh_from_db()
    assert set(segments_shown.snapshot_ids(kept)) == {rose.pk}
    for name, refusal in (("三月买过", SegmentNameTaken), ("", WrongRules), ("长" * 81, WrongRules)):
        with pytest.raises(refusal):
            services.take_snapshot(segment_id=segment.pk, name=name)
    assert SegmentSnapshot.objects.count() == 1
    services.delete_segment(segment_id=segment.pk)
    kept.refresh_from_db()
    assert (kept.segment_id, kept.rules) == (None, BUYERS)
    services.merge_members(kept_id=rose.pk, merged_id=musk.pk)
    rows = list(segments_shown.export_rows([rose.pk, musk.pk], whole_phones=False))
    assert [row[0] for row in rows[1:]] == [rose.pk], "a merged member stands as the living one, once"


@pytest.mark.django_db
def test_the_audit_finds_what_does_not_add_up(follower: Callable[..., Member], morning: datetime) -> None:
    follower("rose")
    live = services.save_segment(name="所有人", rules={}, is_live=True)
    idle = services.save_segment(name="买过", rules=BUYERS)
    kept = services.take_snapshot(segment_id=live.pk, name="名单")
    assert run_check("crm.segments") == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_segment SET members_count = 7 WHERE id = %s", [live.pk])
        cursor.execute("UPDATE crm_segmentsnapshot SET members_count = 7 WHERE id = %s", [kept.pk])
        cursor.execute(
            "INSERT INTO crm_segmentmember (segment_id, member_id, since)"
            " VALUES (%s, 999999, now()), (999, 999999, now())",
            [idle.pk],
        )
    found = {finding.subject for finding in run_check("crm.segments")}
    assert found == {f"segment {live.pk}", f"segment {idle.pk}", "segment 999", f"snapshot {kept.pk}"}
    SegmentSnapshot.objects.update(members=b"no bitmap")
    assert any("读" in finding.problem for finding in run_check("crm.segments"))


# --- Files ---------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_file_finds_its_tags_and_accounts_by_name(brand: Account, tag: Callable[[str], Any]) -> None:
    rules = {
        "all": [
            {"field": "tags", "op": "any", "value": [tag("玫瑰").pk, tag("送礼").pk]},
            {"not": {"field": "following", "op": "yes", "value": brand.pk}},
        ]
    }
    segment = services.save_segment(name="玫瑰", note="春天", rules=rules)
    data = json.dumps(segments_files.segment_file(segment)).encode()
    services.delete_segment(segment_id=segment.pk)
    old = tag("玫瑰").pk
    Tag.objects.all().delete()
    other = TagGroup.objects.create(name="别的")
    Tag.objects.create(group=other, name="玫瑰")
    again = (tag("玫瑰").pk, tag("送礼").pk)
    assert old not in again
    read = segments_files.read_segment_file(data)
    assert (read.name, read.note) == ("玫瑰", "春天")
    assert read.rules["all"][0]["value"] == list(again)
    assert read.rules["all"][1]["not"]["value"] == brand.pk
    Tag.objects.filter(name="送礼").delete()
    with pytest.raises(WrongSegmentFile) as refused:
        segments_files.read_segment_file(data)
    assert "送礼" in refused.value.message


@pytest.mark.django_db
def test_a_file_is_read_by_its_own_ids_and_in_few_statements(
    tag: Callable[[str], Any], django_assert_max_num_queries: Any
) -> None:
    """The ids of another house may be anything here; they are names before they are looked up."""
    tags = [tag(f"标签{number}").pk for number in range(9)]
    inner = services.save_segment(name="里面", rules=BUYERS)
    rules = {
        "any": [
            {"field": "segment", "op": "in", "value": [77]},
            *({"field": "tags", "op": "any", "value": [900 + number]} for number in range(9)),
        ]
    }
    names = {
        "segments": {"77": "里面"},
        "tags": {str(900 + number): ["兴趣", f"标签{number}"] for number in range(9)},
    }
    with django_assert_max_num_queries(4):
        read = segments_files.read_segment_file(written(rules=rules, names=names))
    assert read.rules["any"][0]["value"] == [inner.pk]
    assert [one["value"] for one in read.rules["any"][1:]] == [[pk] for pk in tags]
    with pytest.raises(WrongSegmentFile, match="里面的"):
        segments_files.read_segment_file(written(rules=rules, names={**names, "segments": {"77": "里面的"}}))


@pytest.mark.django_db
def test_what_facts_are_about_and_tiers_travel_by_name(brand: Account) -> None:
    """In another brand shelves, goods, accounts and levels have other numbers; what is not there is listed at once."""
    top = Category.objects.create(name="香水")
    shelf = Category.objects.create(name="淡香", parent=top)
    goods = builders.sku()
    store = Store.objects.create(code="jingan", name="静安店")
    TierRule.objects.create(name="金卡", threshold=100)
    about = [f"category:{shelf.pk}", f"product:{goods.product_id}", f"account:{brand.pk}", "staff:7", "周年"]
    fact = {"kind": "viewed_product", "times": 1, "days": 30, "subjects": about}
    rules = {
        "all": [
            {"field": "fact", "op": "at_least", "value": fact},
            {"field": "tier", "op": "in", "value": ["金卡", ""]},
            {"field": "store", "op": "in", "value": [store.pk]},
            {"field": "anniversary", "op": "between", "value": {"of": "joined", "from": 0, "to": 7}},
        ]
    }
    segment = services.save_segment(name="看过淡香", rules=rules)
    told = segments_files.segment_file(segment)
    assert told["names"]["subjects"][f"category:{shelf.pk}"] == "香水 / 淡香"
    moved = json.loads(json.dumps(told))
    one = moved["rules"]["all"][0]["value"]
    one["subjects"] = ["category:901", "product:902", "account:903", "staff:7", "周年"]
    names = moved["names"]["subjects"]
    moved["names"]["subjects"] = {
        new: names[old] for new, old in zip(one["subjects"], about[:3], strict=False)
    }
    services.delete_segment(segment_id=segment.pk)
    assert segments_files.read_segment_file(json.dumps(moved).encode()).rules == rules
    shelf.name = "浓香"
    shelf.save()
    one["subjects"].append("broadcast:5")
    TierRule.objects.update(name="银卡")
    store.delete()
    with pytest.raises(WrongSegmentFile) as refused:
        segments_files.read_segment_file(json.dumps(moved).encode())
    for words in ("香水 / 淡香", "broadcast:5", "金卡", "jingan"):
        assert words in refused.value.message


def written(**changes: Any) -> bytes:
    good = {"format": "pond.segment", "version": 1, "name": "买过", "note": "", "rules": BUYERS, "names": {}}
    return json.dumps({**good, **changes}).encode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[1]", "Pond"),
        (b" " * 300_000, "太大"),
        (written(format="other"), "Pond"),
        (written(version=2), "版本"),
        (written(name=""), "名称"),
        (written(name="长" * 61), "名称"),
        (written(name="a\x00"), "名称"),
        (written(note=5), "备注"),
        (written(rules=None), "规则"),
        (written(rules={"field": "shoe_size", "op": "is", "value": 38}), "shoe_size"),
        (written(rules={"field": "tags", "op": "any", "value": [3]}), "#3"),
        (
            written(
                rules={"field": "tags", "op": "any", "value": [3]}, names={"tags": {"3": ["😀" * 9, "\x00"]}}
            ),
            "标签",
        ),
    ],
)
def test_bad_files_are_refused_in_clear_words(data: bytes, words: str) -> None:
    with pytest.raises(WrongSegmentFile) as refused:
        segments_files.read_segment_file(data)
    assert words in refused.value.message
    assert not Segment.objects.exists()
