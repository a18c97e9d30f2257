"""A member's page: whole, honest about why, within fifteen statements; its small actions can be taken back."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from core import clock, ledger
from core.audits import run_check
from crm import services
from crm.models import (
    ChannelCode,
    Identity,
    Member,
    MemberField,
    MemberTag,
    PhoneLook,
    Staff,
    Store,
    TagRule,
    Touch,
)
from tests.crm.conftest import MORNING
from wechat.models import Account

MOST_QUERIES = 15


@pytest.fixture
def boss(client: Client, db: Any) -> Client:
    client.force_login(User.objects.create_superuser("boss", first_name="店长"))
    return client


@pytest.fixture
def her(
    follower: Callable[..., Member],
    brand: Account,
    corp: Account,
    tag: Callable[[str], Any],
    morning: datetime,
) -> Member:
    """A member with everything: guides, tags of three origins, value, orders, touches, a group, fields."""
    from community.models import Group, GroupMember
    from shop.models import Order

    member = follower("o-1", name="小满")
    services.member_for_contact(account_id=corp.pk, external_userid="wm-1", userid="lina", at=morning)
    services.give_phone(member_id=member.pk, phone="13800000001", verified=True)
    identity = services.member_for_contact(account_id=corp.pk, external_userid="wm-1").identities.first()
    assert identity is not None
    services.merge_members(kept_id=member.pk, merged_id=identity.member_id)
    code = ChannelCode.objects.create(name="收银台", account=brand, scene="c-1", created_at=morning)
    rule = TagRule(name="高消费", tag=tag("玫瑰"), kind="spend", amount_fen=100)
    services.save_tag_rule(rule=rule)
    services.record_activity(member_id=member.pk, kind="paid", at=morning, subject="order:1", amount_fen=300)
    services.book_purchase(member_id=member.pk, paid_fen=300, at=morning)
    services.run_tag_rules()
    services.add_tags(member_ids=[member.pk], tag_ids=[tag("木质").pk], origin=f"code:{code.pk}")
    boss = User.objects.filter(username="boss").first()
    services.add_tags(
        member_ids=[member.pk], tag_ids=[tag("麝香").pk], origin=f"staff:{boss.pk if boss else 0}"
    )
    account = ledger.open_account(kind="points", owner_id=member.pk)
    ledger.transfer(
        cause="t:1", debit=ledger.open_account(kind="points", owner_id=0), credit=account, amount=880
    )
    Order.objects.create(
        number="20260304000001", member=member, status="paid", items_fen=300, total_fen=300, paid_fen=300,
        placed_at=morning, paid_at=morning,
    )  # fmt: skip
    group = Group.objects.create(account=corp, chat_id="wr-1", name="三公里福利群")
    GroupMember.objects.create(
        group=group, kind="customer", platform_id="wm-1", member=member, joined_at=morning
    )
    services.book_touches(origin="broadcast:1", member_ids=[member.pk], channel="mass")
    Touch.objects.create(
        member=member, purpose="marketing", origin="broadcast:2", answer="skip", reason="week_cap", at=morning
    )
    field = MemberField.objects.create(name="肤质", kind="choice", choices=["干性", "油性"])
    services.set_fields(member_id=member.pk, values={field.pk: "干性"})
    return member


def page(client: Client, member: Member, query: str = "") -> str:
    response = client.get(reverse("admin:crm_member_change", args=[member.pk]) + query)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.django_db
def test_everything_that_is_known_of_her_is_on_one_page_within_fifteen_statements(
    boss: Client, her: Member, django_assert_max_num_queries: Any
) -> None:
    # A till that calls its members by their phones.
    Identity.objects.create(member=her, kind="import", value="ou:13800000001", created_at=clock.now())
    page(boss, her)
    with django_assert_max_num_queries(MOST_QUERIES):
        text = page(boss, her)
    assert "13800000001" not in text
    assert PhoneLook.objects.count() == 0
    assert "ou:13800000001" in page(boss, her, "?phones=1")
    assert PhoneLook.objects.get().count == 2
    for words in (
        "小满", "138****0001", "wm-1", "lina", "880", "20260304000001", "三公里福利群", "肤质", "干性",
        "由规则“高消费”打上", "扫“收银台”打上", "由 店长 打上", "本周", "已发送",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.django_db
def test_who_may_see_members_only_sees_no_orders_and_no_buttons(
    client: Client, her: Member, django_assert_max_num_queries: Any
) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_member"))
    client.force_login(clerk)
    page(client, her)
    with django_assert_max_num_queries(MOST_QUERIES):
        text = page(client, her)
    assert "20260304000001" not in text
    assert "138****0001" in text
    assert "crm-add-tag" not in text
    for action in ("tags", "note", "fields"):
        assert client.post(reverse(f"admin:crm_member_{action}", args=[her.pk])).status_code == 403
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(reverse("admin:crm_member_change", args=[her.pk])).status_code == 403


@pytest.mark.django_db
def test_a_store_manager_sees_the_orders_of_her_own_store_only(client: Client, her: Member) -> None:
    from shop.models import Order

    mine, other = (Store.objects.create(code=code, name=code) for code in ("mine", "other"))
    manager = User.objects.create_user("dianzhang", is_staff=True)
    manager.user_permissions.set(Permission.objects.filter(codename__in=["view_member", "view_order"]))
    Staff.objects.create(name="店长", user=manager, store=mine)
    client.force_login(manager)
    number = Order.objects.filter(member=her).values_list("number", flat=True)[0]
    order_id = Order.objects.get(member=her).pk
    services.record_activity(member_id=her.pk, kind="shipped", at=MORNING, subject=f"order:{order_id}")
    for store, is_shown in ((other, False), (mine, True)):
        Order.objects.filter(member=her).update(store=store)
        assert (number in page(client, her)) is is_shown, "neither her orders nor the timeline name it"


@pytest.mark.django_db
def test_the_timeline_narrows_by_kind_and_days_and_goes_on_by_key(boss: Client, her: Member) -> None:
    services.record_activities(
        {"member_id": her.pk, "kind": "viewed_product", "at": MORNING - timedelta(days=number), "subject": ""}
        for number in range(45)
    )
    first = page(boss, her, "?kind=viewed_product")
    assert first.count("<time>") == 20
    assert "before=" in first
    assert page(boss, her, "?kind=viewed_product&since=2026-03-01&until=2026-03-03").count("<time>") == 3
    # What is no day, no kind and no key asks for nothing special.
    assert page(boss, her, "?kind=💥&since=yesterday&until=0000&before=~").count("<time>") == 20


@pytest.mark.django_db
def test_a_tag_is_put_taken_off_and_given_back_with_its_origin(
    boss: Client, her: Member, tag: Callable[[str], Any]
) -> None:
    address = reverse("admin:crm_member_tags", args=[her.pk])
    rose = MemberTag.objects.get(member=her, tag__name="玫瑰")
    said = boss.post(address, {"remove": rose.tag_id}, follow=True).content.decode()
    assert "撤销" in said
    assert not MemberTag.objects.filter(pk=rose.pk).exists()
    for _ in range(2):  # pressed twice, it is there once
        boss.post(address, {"undo": rose.tag_id, "did": "removed"})
        assert MemberTag.objects.get(member=her, tag=rose.tag_id).origin == rose.origin
    new = tag("柑橘")
    assert "did=added" in boss.post(address, {"add": new.pk})["Location"]
    boss.post(address, {"undo": new.pk, "did": "added"})
    assert not MemberTag.objects.filter(member=her, tag=new).exists()
    assert boss.post(address, {"add": "9" * 30, "undo": "x"}).status_code == 302


@pytest.mark.django_db
def test_a_note_stands_on_the_timeline_with_who_wrote_it(boss: Client, her: Member) -> None:
    address = reverse("admin:crm_member_note", args=[her.pk])
    text = boss.post(address, {"text": "  对酒精\n过敏 🌹 "}, follow=True).content.decode()
    assert "对酒精 过敏 🌹" in text
    assert "店长" in text
    for wrong in ("", "  ", "字" * 501):
        assert "500" in boss.post(address, {"text": wrong}, follow=True).content.decode()
    assert her.activities.filter(kind="noted").count() == 1


@pytest.mark.django_db
def test_the_form_is_behind_edit_and_leads_back(boss: Client, her: Member) -> None:
    address = reverse("admin:crm_member_change", args=[her.pk])
    assert 'name="birthday"' in page(boss, her, "?edit=1")
    answer = boss.post(
        f"{address}?edit=1",
        {"name": "小满", "birthday": "1990-05-01", "time_zone": "", "note": "", "tier": ""},
    )
    assert answer["Location"] == address
    her.refresh_from_db()
    assert str(her.birthday) == "1990-05-01"


@pytest.mark.django_db
def test_fields_of_ones_own_take_what_fits_and_refuse_the_rest(boss: Client, her: Member) -> None:
    make = MemberField.objects.create
    fields = {
        "text": make(name="宠物", kind="text"),
        "number": make(name="鞋码", kind="number"),
        "date": make(name="纪念日", kind="date"),
        "choice": MemberField.objects.get(name="肤质"),
    }
    address = reverse("admin:crm_member_fields", args=[her.pk])

    def send(**typed: str) -> Any:
        return boss.post(address, {f"field-{fields[kind].pk}": text for kind, text in typed.items()})

    good = {"text": "猫🐈", "number": "36.5", "date": "2015-10-01", "choice": "油性"}
    assert send(**good).status_code == 302
    text = page(boss, her)
    assert all(word in text for word in good.values())
    for kind, wrong in (
        ("text", "字" * 201), ("number", "很大"), ("number", "1e99"), ("number", "NaN"),
        ("date", "2015-02-30"), ("choice", "混合"),
    ):  # fmt: skip
        answer = send(**{**good, "text": "狗", kind: wrong})
        assert answer.status_code == 400, wrong
        assert fields[kind].name in answer.content.decode()
    values = her.field_values
    assert values.get(field=fields["text"]).text == "猫🐈", "a refused form changes nothing"
    MemberField.objects.filter(name="肤质").update(choices=["干性"])
    assert send(choice="油性").status_code == 302, "what she has may stay"
    assert "已停用选项" in page(boss, her)
    assert send(text="").status_code == 302
    assert not values.filter(field=fields["text"]).exists()
    fields["text"].is_active = False
    fields["text"].save()
    assert send(text="狗").status_code == 400
    refused = boss.post(reverse("admin:crm_memberfield_add"), {"name": "空", "kind": "choice", "sort": 0})
    assert refused.status_code == 200
    assert not MemberField.objects.filter(name="空").exists()


@pytest.mark.django_db
def test_merged_members_keep_one_value_a_field_and_the_audit_finds_wrong_ones(
    her: Member, event_account: Account
) -> None:
    from django.db import connection

    other = services.member_for_openid(account_id=event_account.pk, openid="o-2", at=clock.now())
    kind, shoe = MemberField.objects.get(), MemberField.objects.create(name="鞋码", kind="number")
    services.set_fields(member_id=other.pk, values={kind.pk: "油性", shoe.pk: "36"})
    services.merge_members(kept_id=her.pk, merged_id=other.pk)
    assert sorted(str(row.text or row.number) for row in her.field_values.all()) == ["36.0000", "干性"]
    assert not any(run_check(name) for name in ("crm.member_fields", "crm.tag_rules", "crm.tombstones"))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE crm_memberfieldvalue SET text = 'x', number = NULL WHERE field_id = %s", [shoe.pk]
        )
        cursor.execute("UPDATE crm_membertag SET origin = 'rule:999999' WHERE member_id = %s", [her.pk])
    assert len(run_check("crm.member_fields")) == 1
    assert len(run_check("crm.tag_rules")) == 3
