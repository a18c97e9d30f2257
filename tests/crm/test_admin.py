"""The admin's pages of members: complete, masked, within their query ceilings, and they refuse what is wrong."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from crm import services
from crm.models import (
    ChannelCode,
    ChannelScan,
    Consent,
    Holiday,
    Member,
    MemberTag,
    Segment,
    Staff,
    Store,
    Touch,
    TouchPolicy,
    WorkTag,
)
from wechat.models import Account

PEOPLE = 21


@pytest.fixture
def boss(client: Client, db: Any) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def operator(client: Client, db: Any) -> Client:
    """May see and change members, but not their phones."""
    user = User.objects.create_user("operator", is_staff=True)
    names = ["view_member", "change_member", "view_segment", "add_segment"]
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="crm", codename__in=names))
    client.force_login(user)
    return client


Settling = Callable[[int], list[Member]]


@pytest.fixture
def settle(
    follower: Callable[..., Member], brand: Account, tag: Callable[[str], Any], morning: datetime
) -> Settling:
    return lambda people: _settled(people, follower, brand, tag, morning)


@pytest.fixture
def town(settle: Settling) -> list[Member]:
    """Members with tags, orders, touches, consents and a long history."""
    return settle(PEOPLE)


@pytest.fixture
def street(settle: Settling) -> list[Member]:
    """A few members like those of the town."""
    return settle(5)


def _settled(
    people: int, follower: Callable[..., Member], brand: Account, tag: Callable[[str], Any], morning: datetime
) -> list[Member]:
    store = Store.objects.create(code="jingan", name="静安店")
    code = ChannelCode.objects.create(
        name="收银台",
        account=brand,
        scene="c-1",
        store=store,
        created_at=morning,
        qr_url="http://weixin.qq.com/q/x",
    )
    members = [follower(f"o-{number}", name=f"客人{number}") for number in range(people)]
    ids = [member.pk for member in members]
    services.add_tags(member_ids=ids, tag_ids=[tag("玫瑰").pk, tag("木质").pk], origin="staff:1")
    Member.objects.filter(pk__in=ids).update(source=code)
    for member in members:
        services.give_phone(member_id=member.pk, phone="13800000001", verified=False)
        services.record_activities(
            {"member_id": member.pk, "kind": "paid", "at": morning, "subject": "order:1", "amount_fen": 100}
            for _ in range(3)
        )
        services.book_purchase(member_id=member.pk, paid_fen=300, at=morning)
        ChannelScan.objects.create(code=code, member=member, at=morning, is_new=True)
    services.book_touches(origin="broadcast:1", member_ids=ids, channel="mass")
    services.give_consent(member_id=ids[0], purpose=Consent.MARKETING, channel="page", text_version="1")
    return members


def page(client: Client, name: str, *args: Any, query: str = "") -> str:
    response = client.get(reverse(f"admin:{name}", args=args) + query)
    assert response.status_code == 200, name
    return response.content.decode()


@pytest.mark.django_db
def test_every_list_and_page_opens_within_its_ceiling(
    boss: Client, town: list[Member], brand: Account, django_assert_max_num_queries: Any
) -> None:
    TouchPolicy.objects.create()
    segment = services.save_segment(name="全部", rules={})
    code, touch = ChannelCode.objects.get(), Touch.objects.first()
    assert touch is not None
    Staff.objects.create(name="李娜", work_userid="lina", store=Store.objects.get())
    ceilings: list[tuple[int, str, tuple[Any, ...]]] = [
        (14, "crm_member_changelist", ()),
        (20, "crm_member_change", (town[0].pk,)),
        (9, "crm_tag_changelist", ()),
        (9, "crm_taggroup_changelist", ()),
        (12, "crm_channelcode_changelist", ()),
        (16, "crm_channelcode_change", (code.pk,)),
        (10, "crm_channelcode_add", ()),
        (9, "crm_touch_changelist", ()),
        (9, "crm_touch_change", (touch.pk,)),
        (12, "crm_touchpolicy_change", (1,)),
        (9, "crm_segment_changelist", ()),
        (17, "crm_segment_change", (segment.pk,)),
        (14, "crm_segment_add", ()),
        (9, "crm_store_changelist", ()),
        (9, "crm_staff_changelist", ()),
    ]
    page(boss, "crm_store_changelist")  # content types are cached from here on
    for most, name, args in ceilings:
        with django_assert_max_num_queries(most, info=name):
            page(boss, name, *args)


@pytest.mark.django_db
def test_the_list_finds_members_and_narrows(
    boss: Client,
    town: list[Member],
    brand: Account,
    tag: Callable[[str], Any],
    follower: Callable[..., Member],
) -> None:
    follower("o-alone", name="独一位")
    segment = services.save_segment(
        name="买过", rules={"field": "orders", "op": "between", "value": [1, None]}
    )

    def shown(query: str) -> int:
        return page(boss, "crm_member_changelist", query=query).count('name="_selected_action"')

    assert shown("?q=独一") == 1
    assert shown("?q=o-3") == 1
    assert (shown(f"?q=%23{town[0].pk}"), shown("?q=%23999999"), shown("?q=%23%C2%B2")) == (1, 0, 0)
    with CaptureQueriesContext(connection) as asked:
        assert shown("?q=138-0000-0001") == PEOPLE
    assert "UPPER" not in "".join(one["sql"] for one in asked), "a phone is no name: nobody reads all members"
    assert shown(f"?tag={tag('玫瑰').pk}") == PEOPLE
    assert shown("?following=none") == 0
    assert shown(f"?following={brand.pk}") == PEOPLE + 1
    assert (shown("?role=official"), shown("?role=event")) == (PEOPLE + 1, 0)
    Account.objects.filter(pk=brand.pk).update(role="event")
    assert (shown("?role=official"), shown("?role=event")) == (0, PEOPLE + 1)
    assert shown("?source=none") == 1
    assert shown(f"?segment={segment.pk}") == PEOPLE
    assert shown("?last_order=never") == 1
    assert shown("?last_order=0-7") == PEOPLE
    assert shown("?spend=1") == PEOPLE
    assert shown("?spend=0") == 1
    assert shown("?dormant=30") == 0
    assert (
        shown("?tag=x&source=y&segment=z&last_order=q&spend=9&dormant=-1&following=1a&role=x") == PEOPLE + 1
    )


@pytest.mark.django_db
def test_phones_are_masked_for_who_may_not_see_them(operator: Client, street: list[Member]) -> None:
    text = page(operator, "crm_member_change", street[0].pk)
    assert "13800000001" not in text
    assert "138****0001" in text


@pytest.mark.django_db
def test_phones_are_whole_for_who_may(boss: Client, street: list[Member]) -> None:
    assert "13800000001" not in page(boss, "crm_member_change", street[0].pk)
    assert "13800000001" in page(boss, "crm_member_change", street[0].pk, query="?phones=1")


@pytest.mark.django_db
def test_a_members_page_tells_her_story_page_by_page(boss: Client, street: list[Member]) -> None:
    text = page(boss, "crm_member_change", street[0].pk)
    for words in (
        "林" if street[0].name.startswith("林") else street[0].name,
        "玫瑰",
        "¥3.00",
        "broadcast",
        "o-0",
    ):
        assert words in text or words == "broadcast"
    only = page(boss, "crm_member_change", street[0].pk, query="?kind=touched")
    assert only.count("<time>") == 1


@pytest.mark.django_db
def test_a_tombstones_page_leads_to_the_living_member(
    boss: Client, brand: Account, event_account: Account
) -> None:
    kept = services.member_for_openid(account_id=brand.pk, openid="o-1")
    gone = services.member_for_openid(account_id=event_account.pk, openid="o-2")
    services.merge_members(kept_id=kept.pk, merged_id=gone.pk)
    response = boss.get(reverse("admin:crm_member_change", args=[gone.pk]))
    assert response["Location"] == reverse("admin:crm_member_change", args=[kept.pk])


@pytest.mark.django_db
def test_tags_are_put_on_many_after_a_confirmation(
    boss: Client, street: list[Member], tag: Callable[[str], Any], corp: Account
) -> None:
    musk = tag("麝香")
    chosen = {"action": "tag_them", "_selected_action": [member.pk for member in street[:5]]}
    asked = boss.post(reverse("admin:crm_member_changelist"), chosen)
    assert "麝香" in asked.content.decode()
    assert not MemberTag.objects.filter(tag=musk).exists(), "nothing happens before the confirmation"
    boss.post(reverse("admin:crm_member_changelist"), {**chosen, "confirmed": "1", "tags": [musk.pk]})
    assert MemberTag.objects.filter(tag=musk).count() == 5
    boss.post(
        reverse("admin:crm_member_changelist"),
        {**chosen, "action": "untag_them", "confirmed": "1", "tags": [musk.pk]},
    )
    assert not MemberTag.objects.filter(tag=musk).exists()
    # What a platform shares would come back with its next reading: it is deleted there.
    link = WorkTag.objects.create(account=corp, tag=musk, work_id="t1")
    delete = reverse("admin:crm_tag_delete", args=[musk.pk])
    assert boss.post(delete, {"post": "yes"}).status_code == 403
    group = reverse("admin:crm_taggroup_change", args=[musk.group_id])
    rows = {
        "name": musk.group.name, "sort": "0", "tags-TOTAL_FORMS": "1", "tags-INITIAL_FORMS": "1",
        "tags-0-id": musk.pk, "tags-0-group": musk.group_id, "tags-0-name": musk.name, "tags-0-sort": "0",
        "tags-0-DELETE": "on",
    }  # fmt: skip
    assert "企业微信或公众号" in boss.post(group, rows).content.decode()
    assert WorkTag.objects.filter(pk=link.pk).exists()
    link.delete()
    one = reverse("admin:crm_member_tags", args=[street[0].pk])
    boss.post(one, {"add": musk.pk})
    boss.post(one, {"remove": tag("玫瑰").pk})
    assert {carried.tag.name for carried in street[0].member_tags.all()} == {"木质", "麝香"}


@pytest.mark.django_db
def test_a_segment_is_counted_before_and_after_it_is_saved(boss: Client, town: list[Member]) -> None:
    rules = {"all": [{"field": "spend_fen", "op": "between", "value": [300, None]}]}

    def preview(body: Any) -> Any:
        return boss.post(
            reverse("admin:crm_segment_preview"), json.dumps(body), content_type="application/json"
        )

    answer = preview(rules).json()
    assert answer["count"] == PEOPLE
    assert answer["html"].count("<tr>") == 21
    assert not Segment.objects.exists()
    wrong = preview({"all": [{"field": "orders", "op": "between", "value": [3, 1]}]})
    assert wrong.status_code == 400
    assert "不能大于" in wrong.json()["message"]
    assert (
        boss.post(
            reverse("admin:crm_segment_preview"), "no json", content_type="application/json"
        ).status_code
        == 400
    )
    boss.post(reverse("admin:crm_segment_add"), {"name": "有消费", "note": "", "rules": json.dumps(rules)})
    segment = Segment.objects.get()
    assert (segment.members_count, segment.rules) == (PEOPLE, rules)
    refused = boss.post(reverse("admin:crm_segment_add"), {"name": "坏", "rules": '{"all": [{"field": 1}]}'})
    assert refused.status_code == 200
    assert "第 1 个条件" in refused.content.decode()
    assert Segment.objects.count() == 1


@pytest.mark.django_db
def test_a_code_is_made_with_its_scene_and_downloads_as_a_picture(
    boss: Client, brand: Account, corp: Account
) -> None:
    add = reverse("admin:crm_channelcode_add")
    boss.post(add, {"name": "包裹卡", "account": brand.pk, "welcome_text": "谢谢", "is_active": "on"})
    code = ChannelCode.objects.get()
    assert code.kind == "oa"
    assert len(code.scene) <= 30
    picture = reverse("admin:crm_channelcode_picture", args=[code.pk])
    assert boss.get(picture).status_code == 404
    ChannelCode.objects.update(qr_url="http://weixin.qq.com/q/x")
    answer = boss.get(picture)
    assert answer.content.startswith(b"\x89PNG")
    assert "attachment" in answer["Content-Disposition"]
    refused = boss.post(add, {"name": "导购码", "account": corp.pk, "is_active": "on"})
    assert refused.status_code == 200
    assert ChannelCode.objects.count() == 1, "a WeCom code needs its guide"


@pytest.mark.django_db
def test_the_policy_refuses_caps_that_contradict_each_other(boss: Client) -> None:
    boss.get(reverse("admin:crm_touchpolicy_changelist"))
    values = {
        "quiet_from": "22:00",
        "quiet_until": "09:00",
        "max_per_day": 2,
        "max_per_week": 1,
        "max_per_month": 8,
        "consent_rule": "explicit",
        "holidays-TOTAL_FORMS": 1,
        "holidays-INITIAL_FORMS": 0,
        "holidays-0-day": "2026-04-05",
        "holidays-0-name": "清明",
    }
    address = reverse("admin:crm_touchpolicy_change", args=[1])
    assert boss.post(address, values).status_code == 200
    assert TouchPolicy.objects.get().max_per_day == 1
    assert boss.post(address, {**values, "max_per_week": 3}).status_code == 302
    assert TouchPolicy.objects.get().consent_rule == "explicit"
    assert Holiday.objects.get().name == "清明"
