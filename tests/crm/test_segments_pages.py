"""The operator's pages of segments: counted while one builds, explained, combined, taken out with a note."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from crm import queries, services
from crm.models import Member, Segment, SegmentExport, SegmentSnapshot
from crm.queries import segments_shown, segments_why

BUYERS = {"all": [{"field": "orders", "op": "between", "value": [1, None]}]}


@pytest.fixture
def boss(client: Client, db: Any) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def people(
    follower: Callable[..., Member], tag: Callable[[str], Any], morning: datetime
) -> dict[str, Member]:
    """rose: bought, tagged, has a phone; new: none of it."""
    rose, new = follower("rose", name="林小满"), follower("new", name="新来的")
    services.book_purchase(member_id=rose.pk, paid_fen=52_000, at=morning - timedelta(days=40))
    services.add_tags(member_ids=[rose.pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
    services.give_phone(member_id=rose.pk, phone="13800000001", verified=True)
    return {"rose": Member.objects.get(pk=rose.pk), "new": Member.objects.get(pk=new.pk)}


def clerk(*codenames: str) -> Client:
    user = User.objects.create_user(f"clerk{User.objects.count()}", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="crm", codename__in=codenames)
    )
    client = Client()
    client.force_login(user)
    return client


def address(name: str, *args: Any, query: str = "") -> str:
    return reverse(f"admin:{name}", args=args) + query


@pytest.mark.django_db
def test_every_page_opens_within_its_ceiling(
    boss: Client, people: dict[str, Member], tag: Callable[[str], Any], django_assert_max_num_queries: Any
) -> None:
    rules = {"any": [BUYERS, {"field": "tags", "op": "any", "value": [tag("玫瑰").pk]}]}
    one = services.save_segment(name="买过", rules=rules, is_live=True)
    two = services.save_segment(name="所有人", rules={})
    kept = services.take_snapshot(segment_id=one.pk, name="名单")
    rose = people["rose"]
    boss.get(address("crm_store_changelist"))  # content types are cached from here on
    for most, page, words in [
        (14, address("crm_segment_board", one.pk), "买过"),
        (9, address("crm_segment_why"), "会员"),
        (12, address("crm_segment_why", query=f"?member={rose.pk}"), "所有人"),
        (14, address("crm_segment_why", query=f"?segment={one.pk}&member={rose.pk}"), "玫瑰"),
        (12, address("crm_segment_why", query=f"?segment={two.pk}&q=林小满"), "林小满"),
        (9, address("crm_segment_overlap"), "所有人"),
        (11, address("crm_segment_overlap", query=f"?segment={one.pk}&segment={two.pk}"), "%"),
        (6, address("crm_segment_bring"), "file"),
        (9, address("crm_segmentsnapshot_changelist"), "名单"),
        (12, address("crm_segmentsnapshot_change", kept.pk), "买过"),
        (9, address("crm_segmentexport_changelist"), ""),
    ]:
        with django_assert_max_num_queries(most, info=page):
            answer = boss.get(page)
        assert answer.status_code == 200, page
        assert words in answer.content.decode(), page
    for wrong in ("?segment=x&member=9e9", "?segment=99&member=99", "?q=" + "%00" + "a" * 300):
        assert boss.get(address("crm_segment_why", query=wrong)).status_code == 200
    assert boss.get(address("crm_segment_board", 10**30)).status_code == 404


@pytest.mark.django_db
def test_a_verdict_is_told_for_every_condition(people: dict[str, Member], tag: Callable[[str], Any]) -> None:
    roses = {"field": "tags", "op": "any", "value": [tag("玫瑰").pk]}
    spent = {"field": "spend_fen", "op": "between", "value": [50_000, None]}
    lately = {"field": "last_order_days", "op": "between", "value": [0, 30]}
    rules = {"all": [roses, {"any": [spent, lately]}, {"not": lately}]}
    tree = segments_why.explain(rules, people["rose"].pk).tree
    assert tree.is_true
    wanted, either, negation = tree.children
    assert (wanted.is_true, wanted.hers) == (True, "玫瑰")
    assert "玫瑰" in wanted.wanted
    assert [child.is_true for child in either.children] == [True, False]
    assert either.children[0].hers == "¥520.00"
    assert "40 天前" in either.children[1].hers
    assert (negation.is_true, negation.children[0].is_true) == (True, False)
    fields = [
        {"field": "contact", "op": "no", "value": None},
        {"field": "following", "op": "yes", "value": None},
        {"field": "consent", "op": "is", "value": "unasked"},
        {"field": "silent_days", "op": "at_least", "value": 1},
        {"field": "visits", "op": "between", "value": [0, 3]},
        {"field": "source", "op": "not_in", "value": [1]},
        {"field": "joined_days", "op": "between", "value": [0, 9]},
        *(spent, roses, lately),
    ]
    for name, member in people.items():
        for condition in fields:
            verdict = segments_why.explain(condition, member.pk).tree
            is_in = queries.members_in(condition).filter(pk=member.pk).exists()
            assert verdict.is_true == is_in, (name, condition)
            assert verdict.hers, condition
            assert segments_why.explain({"not": condition}, member.pk).is_in != is_in


@pytest.mark.django_db
def test_the_preview_blames_the_condition_and_shows_no_whole_phone(
    boss: Client, people: dict[str, Member]
) -> None:
    def preview(body: str, by: Client = boss) -> Any:
        return by.post(address("crm_segment_preview"), body, content_type="application/json")

    good = preview(json.dumps(BUYERS)).json()
    assert good["count"] == 1
    assert all(words in good["html"] for words in ("林小满", "138****0001", "玫瑰", "2026-01-23"))
    assert "13800000001" not in good["html"]
    assert 'data-cost="instant"' in good["html"]
    balance = {"all": [{"field": "points", "op": "between", "value": [0, 10]}]}
    assert 'data-cost="quick"' in preview(json.dumps(balance)).json()["html"]
    wrong = preview(
        json.dumps({"all": [*BUYERS["all"], {"any": [{"field": "tags", "op": "any", "value": []}]}]})
    )
    assert (wrong.status_code, wrong.json()["number"]) == (400, 2)
    for body in ("no json", "[" * 100_000, "\ud83d", '{"all": 1}', '{"field": "\\u0000"}'):
        assert preview(body.encode("utf-8", "replace").decode()).status_code == 400
    assert boss.get(address("crm_segment_preview")).status_code == 405
    assert preview("{}", clerk("view_segment")).status_code == 403, "seeing members is asked for, too"
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="boss"))
    assert preview("{}", strict).status_code == 403


@pytest.mark.django_db
def test_a_shelf_is_chosen_by_name_and_stands_for_its_products(
    boss: Client, people: dict[str, Member], morning: datetime
) -> None:
    """Viewed 香水 at least 3 times in 14 days and did not buy."""
    from shop.models import Category, Product

    scents = Category.objects.create(name="香水")
    roses = Category.objects.create(name="玫瑰香", parent=scents)
    times = {"created_at": morning, "updated_at": morning}
    viewed = Product.objects.create(name="雾玫瑰", category=roses, status="on_sale", **times)
    other = Product.objects.create(name="香皂", category=Category.objects.create(name="皂"), **times)
    for member, product in ((people["new"], viewed), (people["rose"], other)):
        for _time in range(3):
            services.record_activity(
                member_id=member.pk, kind="viewed_product", at=morning, subject=f"product:{product.pk}"
            )
    page = boss.get(address("crm_segment_add")).content.decode()
    assert f"category:{roses.pk}" in page
    looked = {"kind": "viewed_product", "times": 3, "days": 14, "subjects": [f"category:{scents.pk}"]}
    rules = {
        "all": [
            {"field": "fact", "op": "at_least", "value": looked},
            {"not": {"field": "last_order_days", "op": "between", "value": [None, 13]}},
        ]
    }
    told = boss.post(
        address("crm_segment_preview"), json.dumps(rules), content_type="application/json"
    ).json()
    assert told["count"] == 1
    assert "香水" in told["told"]
    assert "新来的" in told["html"]


@pytest.mark.django_db
def test_members_leave_the_house_by_permission_masked_and_noted(people: dict[str, Member]) -> None:
    segment = services.save_segment(name="=买过", rules=BUYERS)
    kept = services.take_snapshot(segment_id=segment.pk, name="名单")
    doors = [address("crm_segment_export", segment.pk), address("crm_segmentsnapshot_export", kept.pk)]
    see = ("view_segment", "view_segmentsnapshot", "view_member")
    for door in doors:
        assert clerk(*see).post(door).status_code == 403
    clerk(*see, "export_segment").get(doors[0])
    assert not SegmentExport.objects.exists(), "looking takes nothing out"
    for door in doors:
        answer = clerk(*see, "export_segment").post(door)
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        assert "138****0001" in text
        assert "13800000001" not in text
        assert text.count("\r\n") == 2
        assert "attachment" in answer["Content-Disposition"]
    whole = clerk(*see, "export_segment", "view_phone").post(doors[0])
    assert "13800000001" in b"".join(whole.streaming_content).decode()  # type: ignore[attr-defined]
    noted = SegmentExport.objects.order_by("pk").values_list("members_count", "has_whole_phones")
    assert list(noted) == [(1, False), (1, False), (1, True)]
    assert len(set(SegmentExport.objects.values_list("by", flat=True))) == 3


@pytest.mark.django_db
def test_rules_travel_as_a_file_and_a_bad_file_changes_nothing(
    boss: Client, people: dict[str, Member]
) -> None:
    segment = services.save_segment(name="买过", rules=BUYERS)
    data = boss.get(address("crm_segment_rules_file", segment.pk)).content

    def bring(content: bytes, name: str = "") -> Any:
        upload = SimpleUploadedFile("rules.json", content)
        return boss.post(address("crm_segment_bring"), {"file": upload, "name": name})

    taken = bring(data)
    assert taken.status_code == 400
    assert "同名" in taken.content.decode()
    for bad in (bring(b"{"), bring(data, "长" * 61), boss.post(address("crm_segment_bring"))):
        assert bad.status_code == 400
    assert Segment.objects.count() == 1
    made = bring(data, "买过的人 😀")
    assert made.status_code == 302
    assert Segment.objects.get(name="买过的人 😀").rules == BUYERS
    assert clerk("view_segment", "view_member").get(address("crm_segment_bring")).status_code == 403


@pytest.mark.django_db
def test_segments_are_combined_frozen_and_deleted_on_their_pages(
    boss: Client, people: dict[str, Member]
) -> None:
    one = services.save_segment(name="买过", rules=BUYERS, is_live=True)
    two = services.save_segment(name="所有人", rules={})
    door = address("crm_segment_overlap")
    given = {"segment": [one.pk, two.pk], "operation": "difference", "first": two.pk, "name": "没买过"}
    assert boss.post(door, {**given, "result": "segment"}).status_code == 302
    assert set(segments_shown.ids_of(Segment.objects.get(name="没买过"))) == {people["new"].pk}
    assert boss.post(door, {**given, "result": "segment"}).status_code == 400, "the name is taken"
    assert boss.post(door, {**given, "result": "snapshot", "name": "名单"}).status_code == 302
    for wrong in ({"operation": "x"}, {"segment": [one.pk]}, {"name": ""}, {"segment": ["-1", "x", 2**70]}):
        assert boss.post(door, {**given, "result": "snapshot", **wrong}).status_code == 400, wrong
    assert SegmentSnapshot.objects.get().members_count == 1
    boss.post(address("crm_segment_snapshot", one.pk), {"name": "买过 三月"})
    kept = SegmentSnapshot.objects.get(name="买过 三月")
    asked = boss.post(address("crm_segmentsnapshot_delete", kept.pk))
    assert asked.status_code == 200
    assert SegmentSnapshot.objects.filter(pk=kept.pk).exists(), "deleting asks first"
    boss.post(address("crm_segmentsnapshot_delete", kept.pk), {"post": "yes"})
    outer = services.save_segment(name="外", rules={"field": "segment", "op": "in", "value": [one.pk]})
    asked = boss.get(address("crm_segment_delete", one.pk)).content.decode()
    assert "外" in asked, "what names it stands in the way"
    boss.post(address("crm_segment_delete", one.pk), {"post": "yes"})
    assert Segment.objects.filter(pk=one.pk).exists()
    several = {"action": "delete_selected", "_selected_action": [one.pk, outer.pk], "post": "yes"}
    boss.post(address("crm_segment_changelist"), several)
    assert not SegmentSnapshot.objects.filter(pk=kept.pk).exists()
    assert not Segment.objects.filter(pk=one.pk).exists()
