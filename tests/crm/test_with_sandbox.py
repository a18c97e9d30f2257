"""The whole way with the platforms' stand-in: scan, follow, unionid, welcome, login."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from core import clock, events
from crm import services, sessions
from crm.models import Activity, ChannelCode, ChannelScan, Identity, Member, Staff
from tests.conftest_sandbox import Sandbox
from wechat import tasks as wechat_tasks

PHONE = {"HTTP_USER_AGENT": "Mozilla/5.0 MicroMessenger/8.0.50"}


def settle(sandbox: Sandbox) -> None:
    """Deliver the callbacks and let every alarm clock ring once."""
    sandbox.deliver()
    wechat_tasks.handle_notices()
    events.deliver_due()
    services.look_up_due()
    services.send_due_welcomes()
    wechat_tasks.send_urgent()
    events.deliver_due()


def make_code(account: Any, name: str, **more: Any) -> ChannelCode:
    code = ChannelCode.objects.create(
        name=name, account=account, scene=services.new_scene(), created_at=clock.now(), **more
    )
    return services.make_qr_code(code_id=code.pk)


def walk(sandbox: Sandbox, client: Client, her: dict[str, Any], query: str, **more: str) -> Any:
    """Tap a link that needs a login: our page, WeChat's page as her, and back to ours."""
    begun = client.get(f"/login/?{query}", **PHONE)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun["Location"]).query).items()}
    answer = sandbox.session.post(
        f"{sandbox.base}/connect/oauth2/authorize",
        data={**asked, "sandbox_person": her["id"], "decision": "allow", **more},
        allow_redirects=False,
        timeout=60,
    )
    back = urlsplit(answer.headers["Location"])
    return client.get(f"{back.path}?{back.query}", **PHONE)


@pytest.mark.django_db(transaction=True)
def test_a_scan_at_the_till_ends_as_a_welcomed_member_and_both_accounts_know_one_person(
    sandbox: Sandbox, client: Client
) -> None:
    brand, event = sandbox.account("brand"), sandbox.account("event")
    code = make_code(brand, "静安店收银台", welcome_text="欢迎来到池塘")
    assert code.qr_url.startswith("http")
    her = sandbox.person("小满")
    sandbox.post(f"people/{her['id']}/follow", account="event")
    settle(sandbox)
    sandbox.post(f"people/{her['id']}/scan", account="brand", ticket=code.qr_ticket)
    settle(sandbox)

    member = Member.objects.living().get()
    assert member.source == code
    assert {identity.account_id for identity in member.identities.filter(is_following=True)} == {
        brand.pk,
        event.pk,
    }
    assert Identity.objects.get(kind="unionid").value == her["unionid"]
    assert "欢迎来到池塘" in str(sandbox.inbox(her))

    response = walk(sandbox, client, her, "next=/orders/&scope=userinfo")
    assert response["Location"] == "/orders/"
    assert sessions.COOKIE in client.cookies
    member.refresh_from_db()
    assert member.name == "小满"
    assert Member.objects.living().count() == 1

    sandbox.advance(5)
    sandbox.post(f"people/{her['id']}/unfollow", account="brand")
    settle(sandbox)
    assert not Identity.objects.get(account=brand, kind="openid").is_following
    assert Activity.objects.filter(member=member, kind="unfollowed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_guides_customer_is_welcomed_in_time_and_recognised_by_her_unionid(sandbox: Sandbox) -> None:
    brand, corp = sandbox.account("brand"), sandbox.account("corp")
    staff = Staff.objects.create(name="李娜", work_userid="lina")
    code = make_code(corp, "李娜的活码", kind="work", staff=staff, welcome_text="我是李娜，有事找我")
    her = sandbox.person("小满")
    sandbox.post(f"people/{her['id']}/follow", account="brand")
    settle(sandbox)
    sandbox.post(f"people/{her['id']}/add_contact", account="corp", userid="lina", config_id=code.qr_ticket)
    settle(sandbox)
    assert ChannelScan.objects.get().greeting == "sent"
    assert "我是李娜" in str(sandbox.inbox(her, "welcome"))
    member = Member.objects.living().get()
    assert {identity.kind for identity in member.identities.all()} == {"openid", "unionid", "external_userid"}
    assert member.name == "小满"
    assert {identity.account_id for identity in member.identities.filter(is_following=True)} == {
        brand.pk,
        corp.pk,
    }
    sandbox.advance(5)
    sandbox.post(f"people/{her['id']}/delete_contact", account="corp", userid="lina")
    settle(sandbox)
    assert not Identity.objects.get(kind="external_userid").is_following


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_visitor_and_a_used_code_are_refused_with_friendly_pages(
    sandbox: Sandbox, client: Client
) -> None:
    brand = sandbox.account("brand")
    her = sandbox.person("小满")
    refused = walk(sandbox, client, her, "next=/me/&scope=userinfo", snapshot="1")
    assert refused.status_code == 403
    assert "快照" in refused.content.decode()
    assert Member.objects.count() == 0
    begun = client.get("/login/?next=/me/", **PHONE)
    state = parse_qs(urlsplit(begun["Location"]).query)["state"][0]
    wrong = client.get(f"/login/callback/?state={state}&code=0made-up", **PHONE)
    assert wrong.status_code == 403
    assert "重新登录" in wrong.content.decode()
    sandbox.fault(match="/sns/oauth2/access_token", errcode=-1, times=-1)
    busy = walk(sandbox, client, her, "next=/me/")
    assert busy.status_code == 503
    assert sessions.COOKIE not in client.cookies
    assert Member.objects.count() == 0
    assert brand.pk


@pytest.mark.django_db(transaction=True)
def test_a_code_that_the_platform_refuses_says_why_and_is_made_later(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    code = ChannelCode.objects.create(
        name="包裹卡", account=brand, scene=services.new_scene(), created_at=clock.now()
    )
    sandbox.fault(match="/cgi-bin/qrcode/create", errcode=45009, times=1)
    assert services.make_missing_qr_codes() == 0
    code.refresh_from_db()
    assert code.qr_error
    assert services.make_missing_qr_codes() == 1
    code.refresh_from_db()
    assert code.qr_url
    assert code.qr_error == ""
