"""The page beside a chat in WeCom: a guide logs in by WeCom's word, sees whom she writes with, and tags her."""

import html
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import ledger
from crm import services
from crm.models import Contact, Identity, Member, MemberLife, MemberTag, PhoneLook, Staff, Store
from shop.models import Order
from tests.conftest_sandbox import Sandbox
from tests.shop import builders
from wechat.gateway.official import jssdk_signature
from wechat.models import AccessToken, Account

GUIDE = ["view_member", "add_membertag", "delete_membertag", "view_order"]


@pytest.fixture
def guide(db: Any) -> Staff:
    """A guide with a login, of a store."""
    user = User.objects.create_user("lina", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=GUIDE))
    store = Store.objects.create(code="s-1", name="静安店")
    return Staff.objects.create(name="李娜", work_userid="lina", store=store, user=user)


@pytest.fixture
def customer(corp: Account, morning: datetime) -> Member:
    """Somebody whom the guide has as a contact."""
    member = services.member_for_contact(account_id=corp.pk, external_userid="wm-1", name="林小雅")
    identity = Identity.objects.get(value="wm-1")
    Contact.objects.create(identity=identity, userid="lina", added_at=morning)
    return member


@pytest.fixture
def at_work(client: Client, guide: Staff) -> Client:
    assert guide.user is not None
    client.force_login(guide.user)
    return client


def page_of(corp: Account, external_userid: str = "wm-1") -> str:
    return f"{reverse('crm:sidebar', args=[corp.key])}?customer={external_userid}"


def test_the_picture_is_whole_short_and_asks_little(
    at_work: Client, corp: Account, customer: Member, guide: Staff, tag: Any, morning: datetime
) -> None:
    Member.objects.filter(pk=customer.pk).update(tier="金卡")
    services.give_phone(member_id=customer.pk, phone="13800000001", verified=True)
    services.add_tags(member_ids=[customer.pk], tag_ids=[tag("玫瑰").pk], origin="import:开业")
    services.book_touches(origin="broadcast:7", member_ids=[customer.pk], purpose="service", at=morning)
    for kind, amount in (("points", 120), ("stored_value", 5_000)):
        ledger.transfer(
            cause=f"gift:{kind}",
            debit=ledger.open_account(kind=f"{kind}.issued", owner_id=0),
            credit=ledger.open_account(kind=kind, owner_id=customer.pk),
            amount=amount,
        )
    order = builders.pay(builders.order(customer, (builders.sku(), 1)))
    Order.objects.filter(pk=order.pk).update(store=guide.store)
    MemberLife.objects.create(
        member=customer,
        stage="cooling",
        since=morning.date(),
        rfm=345,
        frequency=2,
        first_day=morning.date() - timedelta(days=90),
        last_day=morning.date(),
        spent_fen=9_900,
        repeat_fen=0,
        chance_bps=6_340,
        vigour_bps=6_340,
        orders_milli=800,
        scored_on=morning.date(),
    )
    at_work.get(page_of(corp))
    with CaptureQueriesContext(connection) as asked:
        response = at_work.get(page_of(corp))
    text = response.content.decode()
    for words in (
        "林小雅",
        "金卡",
        "玫瑰",
        "开业",
        "120",
        "¥50.00",
        order.number,
        "63%",
        "138****0001",
        "李娜",
    ):
        assert words in text, words
    assert "13800000001" not in text
    assert not PhoneLook.objects.exists()
    assert len(asked) <= 15, [one["sql"][:80] for one in asked]
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    assert "<style" not in text


def test_a_guide_tags_takes_off_and_takes_back(
    at_work: Client, corp: Account, customer: Member, guide: Staff, tag: Any
) -> None:
    rose, act = tag("玫瑰"), reverse("crm:sidebar_tags", args=[corp.key])

    def post(**given: Any) -> Any:
        return at_work.post(act, {"customer": "wm-1", **given})

    carried = MemberTag.objects.filter(member=customer).values_list("tag__name", "origin")
    done = post(add=rose.pk)
    assert list(carried) == [("玫瑰", f"staff:{guide.user_id}")]
    assert 'name="undo"' in at_work.get(done.headers["Location"].split("#")[0]).content.decode()
    post(undo=rose.pk, did="added")
    assert not carried.all().exists()
    post(add=rose.pk)
    post(remove=rose.pk)
    assert not carried.all().exists()
    for wrong in ({"add": "9" * 30}, {"add": "😀"}, {"add": "0"}, {"undo": rose.pk, "did": "x"}, {}):
        assert post(**wrong).status_code == 302
    assert not carried.all().exists()
    assert at_work.get(act).status_code == 405
    assert guide.user is not None
    guide.user.user_permissions.remove(*Permission.objects.filter(codename="add_membertag"))
    assert post(add=rose.pk).status_code == 403
    assert post(undo=rose.pk, did="removed").status_code == 403
    assert not carried.all().exists()


def test_only_guides_of_her_store_who_may_see_members_see_her(
    at_work: Client, corp: Account, customer: Member, guide: Staff, tag: Any
) -> None:
    act = reverse("crm:sidebar_tags", args=[corp.key])
    for unknown in ("wm-2", "x" * 10_000, "😀"):
        assert at_work.get(page_of(corp, unknown)).status_code == 404
    assert at_work.get(reverse("crm:sidebar", args=["elsewhere"])).status_code == 404
    Contact.objects.update(userid="wangwei")
    Staff.objects.create(
        name="王薇", work_userid="wangwei", store=Store.objects.create(code="s-2", name="徐汇店")
    )
    assert at_work.get(page_of(corp)).status_code == 403
    assert at_work.post(act, {"customer": "wm-1", "add": tag("玫瑰").pk}).status_code == 403
    assert not MemberTag.objects.exists()
    Staff.objects.filter(pk=guide.pk).update(store=None)
    assert at_work.get(page_of(corp)).status_code == 200, "the head office serves everybody"
    Staff.objects.filter(pk=guide.pk).update(is_active=False)
    assert at_work.get(page_of(corp)).status_code == 403
    at_work.force_login(User.objects.create_user("packer", is_staff=True))
    assert at_work.get(page_of(corp)).status_code == 403
    outside = Client().get(page_of(corp))
    assert outside.status_code == 302
    assert outside.headers["Location"].startswith(reverse("admin:login"))


def test_wecom_says_who_the_guide_is_and_signs_the_page(
    client: Client, guide: Staff, sandbox: Sandbox
) -> None:
    corp = sandbox.account("corp")
    here = reverse("crm:sidebar", args=[corp.key])
    wecom = {"HTTP_USER_AGENT": "Mozilla/5.0 MicroMessenger/7.0 wxwork/4.1"}

    def walk(as_guide: str) -> Any:
        sent = client.get(here, **wecom).headers["Location"].split("#")[0]
        back = requests.get(
            sent, params={"sandbox_guide": f"corp|{as_guide}"}, allow_redirects=False, timeout=60
        ).headers["Location"]
        parts = urlsplit(back)
        return client.get(f"{parts.path}?{parts.query}", **wecom), f"{parts.path}?{parts.query}"

    sandbox.post("members", account="corp", userid="newcomer", name="新人")
    refused, _address = walk("newcomer")
    assert refused.status_code == 403
    assert "_auth_user_id" not in client.session
    welcomed, address = walk("lina")
    assert welcomed.headers["Location"] == here
    assert client.session["_auth_user_id"] == str(guide.user_id)
    assert client.get(address, **wecom).status_code == 403, "the link works once"
    assert Client().get(address, **wecom).status_code == 403, "and in this browser only"

    shown = client.get(here, **wecom)
    text = shown.content.decode()
    config = json.loads(html.unescape(text.split('data-config="')[1].split('"')[0]))
    ticket = AccessToken.objects.get(account=corp, kind=AccessToken.AGENT).value
    url = f"http://testserver{here}"
    assert config["signature"] == jssdk_signature(ticket, config["nonceStr"], config["timestamp"], url)
    assert f'src="{sandbox.base}/jweixin.js"' in text
    checked = sandbox.post("jsapi/agent_config", **config, url=url)
    assert checked["errMsg"] == "agentConfig:ok"
    assert "fail" in sandbox.post("jsapi/agent_config", **config, url=f"{url}?else")["errMsg"]
