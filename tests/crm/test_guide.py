"""The guide's workbench: her own members and nobody else's, found, understood, tagged and noted; looks are kept."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import ledger
from crm import services
from crm.models import (
    Consent,
    Contact,
    Identity,
    Member,
    MemberField,
    MemberFieldValue,
    MemberLife,
    MemberStats,
    MemberTag,
    MergeProposal,
    PhoneLook,
    Segment,
    Staff,
    Store,
)
from shop.models import Order
from tests.shop import builders
from wechat.models import Account

GUIDE = [
    "view_member",
    "add_membertag",
    "delete_membertag",
    "change_memberfieldvalue",
    "view_phone",
    "view_order",
]


def guide_named(name: str, store: Store | None) -> Staff:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=GUIDE))
    return Staff.objects.create(name=name, work_userid=name, store=store, user=user)


@pytest.fixture
def guide(db: Any) -> Staff:
    return guide_named("lina", Store.objects.create(code="s-1", name="静安店"))


@pytest.fixture
def at_work(client: Client, guide: Staff) -> Client:
    assert guide.user is not None
    client.force_login(guide.user)
    return client


def customer(corp: Account, number: str, userid: str, at: datetime, **more: Any) -> Member:
    member = services.member_for_contact(account_id=corp.pk, external_userid=f"wm-{number}", at=at, **more)
    Contact.objects.create(identity=Identity.objects.get(value=f"wm-{number}"), userid=userid, added_at=at)
    return member


@pytest.fixture
def her(corp: Account, guide: Staff, morning: datetime) -> Member:
    member = customer(corp, "1", "lina", morning, name="林小雅")
    services.give_phone(member_id=member.pk, phone="13800001234", verified=True)
    return member


def lives(member: Member, stage: str, day: date) -> None:
    MemberLife.objects.create(
        member=member,
        stage=stage,
        since=day,
        rfm=345,
        frequency=2,
        first_day=day - timedelta(days=90),
        last_day=day,
        spent_fen=9_900,
        repeat_fen=0,
        chance_bps=6_340,
        vigour_bps=6_340,
        orders_milli=800,
        value_fen=12_300,
        scored_on=day,
    )


def page_of(member: Member, name: str = "guide_member") -> str:
    return reverse(f"crm:{name}", args=[member.pk])


def test_a_guide_finds_her_members_and_those_to_look_after(
    at_work: Client, guide: Staff, her: Member, corp: Account, morning: datetime
) -> None:
    fading = customer(corp, "2", "lina", morning, name="周倩")
    lives(fading, "dormant", morning.date())
    Member.objects.filter(pk=fading.pk).update(birthday=date(1990, 3, 10))
    Contact.objects.filter(identity__value="wm-2").update(remark="喜欢雪松")
    wangwei = guide_named("wangwei", guide.store)
    colleagues = customer(corp, "3", "wangwei", morning, name="陈静")
    elsewhere = customer(corp, "4", "stranger", morning, name="外人")
    services.note_contact_removed(
        account_id=corp.pk, external_userid="wm-4", userid="lina", by="staff", at=morning
    )
    here = reverse("crm:guide")

    def shown(query: str = "") -> list[str]:
        text = at_work.get(here + query).content.decode()
        return [name for name in ("林小雅", "周倩", "陈静", "外人") if name in text]

    assert shown() == ["林小雅", "周倩"]
    assert shown("?store=1") == ["林小雅", "周倩", "陈静"]
    assert shown("?list=dormant") == shown("?list=birthdays") == ["周倩"]
    for term, names in (
        ("小雅", ["林小雅"]),
        ("雪松", ["周倩"]),
        ("138 0000 1234", ["林小雅"]),
        ("1234", ["林小雅"]),
        ("8000", []),
        ("😀" * 5_000, []),
    ):
        assert shown(f"?q={term}") == names, term
    assert shown("?before=x&list=x&q=%00") == ["林小雅", "周倩"]
    with CaptureQueriesContext(connection) as asked:
        at_work.get(here + "?list=birthdays")
    assert len(asked) <= 10, [one["sql"][:80] for one in asked]

    for member, status in ((her, 200), (colleagues, 200), (elsewhere, 404)):
        assert at_work.get(page_of(member)).status_code == status
    for name in ("guide_tags", "guide_facts", "guide_phones", "guide_consent"):
        assert at_work.post(page_of(elsewhere, name), {"birthday": "1990-01-01"}).status_code == 404
    Staff.objects.filter(pk=wangwei.pk).update(store=None)
    assert at_work.get(page_of(colleagues)).status_code == 404, "she has left the store"
    assert PhoneLook.objects.count() == 0
    Staff.objects.filter(pk=guide.pk).update(is_active=False)
    assert at_work.get(here).status_code == 403
    at_work.force_login(User.objects.create_superuser("boss"))
    assert at_work.get(here).status_code == 403, "a login of nobody who serves customers"
    assert Client().get(here).status_code == 302


def test_one_member_is_understood_tagged_and_noted_in_few_statements(
    at_work: Client, guide: Staff, her: Member, corp: Account, tag: Any, morning: datetime
) -> None:
    lives(her, "cooling", morning.date())
    ledger.transfer(
        cause="gift",
        debit=ledger.open_account(kind="points.issued", owner_id=0),
        credit=ledger.open_account(kind="points", owner_id=her.pk),
        amount=120,
    )
    order = builders.pay(builders.order(her, (builders.sku(), 1)))
    Order.objects.filter(pk=order.pk).update(store=guide.store)
    services.book_touches(origin="broadcast:7", member_ids=[her.pk], at=morning, account_id=corp.pk + 9)
    rose, ruled = tag("玫瑰"), tag("高消费")
    services.add_tags(member_ids=[her.pk], tag_ids=[ruled.pk], origin="rule:1")
    other = services.member_for_contact(account_id=corp.pk, external_userid="wm-9", name="林小雅")
    MergeProposal.objects.create(
        elder=her, younger=other, kind="same_phone", confidence_bps=5_000, found_at=morning
    )
    field = MemberField.objects.create(name="肤质", kind="choice", choices=["干性", "油性"])
    shared = services.save_segment(
        name="冷却中",
        rules={"all": [{"field": "tags", "op": "any", "value": [ruled.pk]}]},
        is_shown_to_guides=True,
    )
    secret = services.save_segment(name="内部名单", rules={"all": []})
    at_work.get(page_of(her))
    with CaptureQueriesContext(connection) as asked:
        text = at_work.get(page_of(her)).content.decode()
    assert len(asked) <= 20, [one["sql"][:90] for one in asked]
    for words in (
        "林小雅",
        "63%",
        "¥123.00",
        "120",
        order.number,
        "138****1234",
        "同一个人",
        "冷却中",
        "高消费",
    ):
        assert words in text, words
    for words in ("13800001234", "内部名单", f"#{other.pk}"):
        assert words not in text, words

    act = page_of(her, "guide_tags")
    carried = MemberTag.objects.filter(member=her).values_list("tag__name", "origin")
    assert at_work.post(act, {"add": rose.pk}).status_code == 302
    assert set(carried) == {("高消费", "rule:1"), ("玫瑰", f"staff:{guide.user_id}")}
    assert at_work.post(act, {"remove": ruled.pk}).status_code == 409
    at_work.post(act, {"remove": rose.pk})
    for wrong in ({"add": "9" * 30}, {"remove": "😀"}):
        assert at_work.post(act, wrong).status_code == 302
    assert list(carried.all()) == [("高消费", "rule:1")]

    facts = page_of(her, "guide_facts")
    assert at_work.post(facts, {f"field-{field.pk}": "干性"}).status_code == 302
    assert MemberFieldValue.objects.values_list("text", "origin").get() == ("干性", f"guide:{guide.pk}")
    assert at_work.post(facts, {f"field-{field.pk}": "蓝色"}).status_code == 400
    assert at_work.post(facts, {"birthday": "1990-05-01"}).status_code == 302
    assert at_work.post(facts, {"note": "下周来试香"}).status_code == 302
    for wrong in ({"birthday": "2990-05-01"}, {"note": "长" * 10_000}):
        assert at_work.post(facts, wrong).status_code == 400, wrong
    her.refresh_from_db()
    assert (her.birthday, her.birthday_from) == (date(1990, 5, 1), "guide")
    text = at_work.get(page_of(her)).content.decode()
    assert "下周来试香" in text
    assert "由导购lina" in text.replace(" ", "")
    services.correct_profile(member_id=her.pk, name="林小雅", birthday=date(1991, 5, 1))
    assert at_work.post(facts, {"birthday": "1990-05-01"}).status_code == 400, "her own word stands"
    her.refresh_from_db()
    assert (her.birthday, her.birthday_from) == (date(1991, 5, 1), "herself")
    with pytest.raises(IntegrityError), transaction.atomic():
        Member.objects.filter(pk=her.pk).update(birthday=None)

    why = reverse("crm:guide_why", args=[her.pk, shared.pk])
    assert "高消费" in at_work.get(why).content.decode()
    assert at_work.get(reverse("crm:guide_why", args=[her.pk, secret.pk])).status_code == 404
    assert "13800001234" in at_work.post(page_of(her, "guide_phones")).content.decode()
    assert list(PhoneLook.objects.values_list("who", "member", "page")) == [
        ("lina", her.pk, page_of(her, "guide_phones"))
    ]
    assert guide.user is not None
    guide.user.user_permissions.set(Permission.objects.filter(codename="view_member"))
    for name, given in (
        ("guide_tags", {"add": rose.pk}),
        ("guide_facts", {"note": "x"}),
        ("guide_phones", {}),
    ):
        assert at_work.post(page_of(her, name), given).status_code == 403
    assert Segment.objects.filter(is_shown_to_guides=True).count() == 1


def test_what_she_told_her_guide_about_her_consent_is_kept_with_its_proof(
    at_work: Client, guide: Staff, her: Member, corp: Account, brand: Account
) -> None:
    here = page_of(her, "guide_consent")
    told = {
        "purpose": "marketing",
        "answer": "no",
        "where": "store",
        "proof": " 请不要再发\n广告 👩‍👧 ",
        "account": "",
    }
    assert at_work.post(here, told).status_code == 403
    assert "她不想要" not in at_work.get(page_of(her)).content.decode()
    assert guide.user is not None
    guide.user.user_permissions.add(Permission.objects.get(codename="add_consent"))
    for wrong in (
        *({"purpose": "x"}, {"where": "page"}, {"answer": "maybe"}, {"proof": " "}, {"proof": "字" * 201}),
        *({"proof": "a\x07b"}, {"account": str(brand.pk)}, {"account": "²"}, {"account": "9" * 30}),
        {"purpose": "phone", "account": str(corp.pk)},
    ):
        assert at_work.post(here, {**told, **wrong}).status_code in (400, 404, 409), wrong
    assert not Consent.objects.exists()
    assert at_work.post(here, told).status_code == 302
    one = Consent.objects.get()
    assert (one.is_given, one.channel, one.proof, one.recorded_by) == (
        False,
        "store",
        "请不要再发 广告 👩‍👧",
        guide.user,
    )
    assert one.text_version
    assert MemberStats.objects.get(pk=her.pk).marketing_consent is False
    assert "已撤回" in at_work.get(page_of(her)).content.decode()
    with CaptureQueriesContext(connection) as asked:
        at_work.get(page_of(her))
    assert len(asked) <= 20, [row["sql"][:80] for row in asked]


def test_an_operator_writes_down_an_answer_by_permission(client: Client, her: Member, corp: Account) -> None:
    here = reverse("admin:crm_member_consent", args=[her.pk])
    told = {"purpose": "marketing", "answer": "yes", "where": "paper", "proof": "会员表 17 号", "account": ""}
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_member"))
    client.force_login(clerk)
    assert client.post(here, told).status_code == 403
    assert "写下" not in client.get(reverse("admin:crm_member_change", args=[her.pk])).content.decode()
    client.force_login(User.objects.create_superuser("boss"))
    Identity.objects.filter(account=corp).update(is_following=True)
    shown = client.post(here, {**told, "account": str(corp.pk)}, follow=True).content.decode()
    assert "会员表 17 号" in shown
    assert client.post(here, {**told, "proof": ""}, follow=True).status_code == 200
    assert client.post(reverse("admin:crm_member_consent", args=[10**9]), told).status_code in (302, 404)
    kept = Consent.objects.get()
    assert (kept.account_id, kept.is_given, kept.channel) == (corp.pk, True, "paper")
