"""The clients against the real sandbox: tokens, errors, retries, login, codes, people, WeCom, Pay."""

import threading
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection

from core import clock
from tests.conftest_sandbox import Sandbox
from wechat import errors, services
from wechat.gateway import addresses, tokens
from wechat.gateway.official import OfficialClient
from wechat.gateway.pay import PayClient
from wechat.gateway.work import WorkClient
from wechat.models import AccessToken, Account

NOTIFY = "https://shop.example/wechat/pay/pay/notify/"


def follow(sandbox: Sandbox, key: str = "brand", **more: Any) -> tuple[dict[str, Any], str]:
    """A person who follows the account, and her openid there."""
    her = sandbox.person()
    sandbox.post(f"people/{her['id']}/follow", account=key, **more)
    return her, her["openids"][sandbox.credentials(key)["appid"]]


# Tokens


def test_the_token_is_fetched_once_and_stored_encrypted(db: Any, sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    client = OfficialClient(brand)
    token = client.token()
    tokens.forget_remembered()
    assert client.token() == token
    assert sandbox.calls("/cgi-bin/stable_token") == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM wechat_accesstoken")
        assert token not in cursor.fetchone()[0]


def test_a_token_is_renewed_before_it_ends(db: Any, sandbox: Sandbox) -> None:
    client = OfficialClient(sandbox.account("brand"))
    client.token()
    sandbox.advance(7000)
    client.token()
    assert sandbox.calls("/cgi-bin/stable_token") == 2


@pytest.mark.parametrize("state", ["expired", "replaced"])
def test_a_rejected_token_is_replaced_exactly_once(db: Any, sandbox: Sandbox, state: str) -> None:
    client = OfficialClient(sandbox.account("brand"))
    _, openid = follow(sandbox)
    client.token()
    sandbox.post("tokens", account="brand", state=state)
    assert client.follower(openid).is_following
    assert sandbox.calls("/cgi-bin/user/info") == 2


def test_a_token_that_stays_rejected_is_an_error_after_one_retry(db: Any, sandbox: Sandbox) -> None:
    client = OfficialClient(sandbox.account("brand"))
    sandbox.fault(match="/cgi-bin/user/info", errcode=40001, times=-1)
    with pytest.raises(errors.TokenRejected) as caught:
        client.follower("o1")
    assert caught.value.code == "40001"
    assert sandbox.calls("/cgi-bin/user/info") == 2


def race_for_the_token(account: Account, callers: int = 8) -> list[str]:
    """Each caller as if in a process of its own: nothing remembered, its own connection."""
    got: list[str] = []
    start = threading.Barrier(callers)

    def call() -> None:
        try:
            start.wait()
            tokens.forget_remembered()
            got.append(OfficialClient(account).token())
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@pytest.mark.django_db(transaction=True)
def test_many_callers_after_expiry_fetch_one_token(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    sandbox.fault(match="/cgi-bin/stable_token", delay_ms=300, times=-1)
    got = race_for_the_token(brand)
    assert len(got) == 8
    assert len(set(got)) == 1
    assert sandbox.calls("/cgi-bin/stable_token") == 1
    sandbox.advance(7300)
    assert len(set(race_for_the_token(brand))) == 1
    assert sandbox.calls("/cgi-bin/stable_token") == 2


@pytest.mark.django_db(transaction=True)
def test_without_the_lease_the_race_is_lost(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race test would notice: what it proves is the lease."""
    brand = sandbox.account("brand")
    sandbox.fault(match="/cgi-bin/stable_token", delay_ms=300, times=-1)
    monkeypatch.setattr(tokens, "_take_lease", lambda row, moment: True)
    race_for_the_token(brand)
    assert sandbox.calls("/cgi-bin/stable_token") > 1


@pytest.mark.django_db(transaction=True)
def test_a_dead_leader_is_replaced_when_its_lease_ends(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    AccessToken.objects.create(account=brand, kind="access", lease_until=clock.now() + timedelta(seconds=0.4))
    assert OfficialClient(brand).token()
    assert sandbox.calls("/cgi-bin/stable_token") == 1


def test_a_wrong_secret_is_asked_about_once_not_by_every_caller(db: Any, sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    brand.secret = "0" * 32
    brand.save()
    for _ in range(5):
        with pytest.raises(errors.WrongCredentials) as caught:
            OfficialClient(brand).token()
    assert caught.value.code == "40125"
    assert sandbox.calls("/cgi-bin/stable_token") == 1


# Failures


def test_busy_and_limited_are_typed_and_say_when_to_come_back(db: Any, sandbox: Sandbox) -> None:
    client = OfficialClient(sandbox.account("brand"))
    client.token()
    for errcode, kind in (
        (-1, errors.PlatformBusy),
        (45009, errors.RateLimited),
        (45011, errors.RateLimited),
    ):
        sandbox.fault(match="/cgi-bin/user/info", errcode=errcode, times=1)
        with pytest.raises(kind) as caught:
            client.follower("o1")
        assert caught.value.retry_after
        assert caught.value.code == str(errcode)


def test_reads_are_repeated_when_the_line_drops_sends_are_not(db: Any, sandbox: Sandbox) -> None:
    client = OfficialClient(sandbox.account("brand"))
    her, openid = follow(sandbox)
    client.token()
    sandbox.fault(match="/cgi-bin/user/info", drop=True, effect="after", times=1)
    assert client.follower(openid).openid == openid
    sandbox.fault(match="/cgi-bin/message/custom/send", drop=True, effect="after", times=1)
    with pytest.raises(errors.OutcomeUnknown):
        client.send_custom({"touser": openid, "msgtype": "text", "text": {"content": "hi"}})
    assert len(sandbox.inbox(her, "custom")) == 1


def test_a_platform_that_is_not_there_surely_got_nothing(db: Any, sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    brand.api_base = "http://127.0.0.1:1"
    with pytest.raises(errors.NotReached):
        OfficialClient(brand).token()


def test_something_else_at_the_address_is_said_to_be_so(db: Any, sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    brand.api_base = sandbox.relay.base
    with pytest.raises(errors.OutcomeUnknown):
        OfficialClient(brand).token()


def test_production_refuses_a_local_or_open_address(db: Any, settings: Any) -> None:
    account = Account(kind="service", key="x", api_base="http://127.0.0.1:8100")
    assert addresses.base_of(account, addresses.OFFICIAL) == "http://127.0.0.1:8100"
    settings.PRODUCTION = True
    for base in (
        "http://127.0.0.1:8100",
        "https://localhost",
        "https://[::1]",
        "http://proxy.example",
        "ftp://x.y",
    ):
        account.api_base = base
        with pytest.raises(errors.UnsafeAddress):
            addresses.base_of(account, addresses.OFFICIAL)
    account.api_base = "https://proxy.example/"
    assert addresses.base_of(account, addresses.OFFICIAL) == "https://proxy.example"
    account.api_base = ""
    assert addresses.base_of(account, addresses.OFFICIAL) == "https://api.weixin.qq.com"


# Official accounts


@pytest.mark.parametrize("scope", ["snsapi_base", "snsapi_userinfo"])
def test_login(db: Any, sandbox: Sandbox, scope: str) -> None:
    brand = sandbox.account("brand")
    her, openid = follow(sandbox)
    url = services.oauth_login_url(
        account_id=brand.pk, redirect_uri="http://127.0.0.1/login/callback/", scope=scope, state="s1"
    )
    assert url.startswith(f"{sandbox.base}/connect/oauth2/authorize?")
    assert url.endswith("#wechat_redirect")
    code = _code_for(sandbox, url, her)
    person = services.oauth_person(account_id=brand.pk, code=code)
    assert (person.openid, person.is_snapshot) == (openid, False)
    assert bool(person.unionid) == (scope == "snsapi_userinfo")
    with pytest.raises(errors.CodeRejected) as caught:
        services.oauth_person(account_id=brand.pk, code=code)
    assert caught.value.code == "40163"


def _code_for(sandbox: Sandbox, url: str, her: dict[str, Any]) -> str:
    """What the browser inside the phone does: open the login page as her, agree, come back with a code."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    given = {**query, "sandbox_person": her["id"], "decision": "allow"}
    page = f"{sandbox.base}/connect/oauth2/authorize"
    answer = sandbox.session.post(page, data=given, allow_redirects=False, timeout=60)
    assert answer.status_code in (302, 303), answer.text[:300]
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert back["state"] == [query["state"]]
    return back["code"][0]


def test_followers_codes_menu_and_tags(db: Any, sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    code = services.create_qr_code(account_id=brand.pk, scene="store-7", expires_seconds=3600)
    assert code.ticket
    assert code.url
    assert code.image_url.startswith(f"{sandbox.base}/cgi-bin/showqrcode?ticket=")
    her, openid = follow(sandbox, ticket=code.ticket)
    follower = services.follower(account_id=brand.pk, openid=openid)
    assert follower.is_following
    assert follower.unionid == her["unionid"]
    assert follower.scene == "store-7"
    assert follower.subscribed_at
    assert list(services.follower_openids(account_id=brand.pk)) == [openid]
    services.set_menu(account_id=brand.pk, buttons=[{"type": "click", "name": "新品", "key": "new"}])
    assert OfficialClient(brand).menu()[0]["key"] == "new"
    tag_id = services.tag_followers(account_id=brand.pk, tag_name="沉睡", openids=[openid])
    assert (
        services.tag_followers(account_id=brand.pk, tag_name="沉睡", openids=[openid], remove=True) == tag_id
    )


def test_the_js_signature_is_one_that_the_platform_would_compute(db: Any, sandbox: Sandbox) -> None:
    from wechat.gateway.official import jssdk_signature

    brand = sandbox.account("brand")
    config = services.jssdk_config(account_id=brand.pk, url="http://127.0.0.1/p/1/?a=b#part")
    ticket = OfficialClient(brand).jsapi_ticket()
    assert config["signature"] == jssdk_signature(
        ticket, config["nonceStr"], config["timestamp"], "http://127.0.0.1/p/1/?a=b"
    )
    assert sandbox.calls("/cgi-bin/ticket/getticket") == 1
    assert services.jssdk_url(account_id=brand.pk).startswith(sandbox.base)


# WeCom


def test_wecom_contacts_tags_and_codes(db: Any, sandbox: Sandbox) -> None:
    corp = sandbox.account("corp")
    assert "lina" in services.work_follow_users(account_id=corp.pk)
    assert services.work_contacts(account_id=corp.pk, userid="lina") == []
    way = services.create_contact_way(account_id=corp.pk, userids=["lina"], state="store-7")
    assert way.qr_url
    her = sandbox.person("小满")
    sandbox.post(f"people/{her['id']}/add_contact", account="corp", config_id=way.config_id)
    [external_userid] = services.work_contacts(account_id=corp.pk, userid="lina")
    contact = services.work_contact(account_id=corp.pk, external_userid=external_userid)
    assert (contact.name, contact.unionid) == ("小满", her["unionid"])
    [tie] = contact.follows
    assert (tie.userid, tie.state) == ("lina", "store-7")
    group = WorkClient(corp).add_tags(group_name="阶段", names=["新客"])
    tag_id = group["tag"][0]["id"]
    services.mark_work_tags(account_id=corp.pk, userid="lina", external_userid=external_userid, add=[tag_id])
    contact = services.work_contact(account_id=corp.pk, external_userid=external_userid)
    assert contact.follows[0].tag_ids == [tag_id]


def test_wecom_groups(db: Any, sandbox: Sandbox) -> None:
    corp = sandbox.account("corp")
    chat_id = sandbox.post("groups", account="corp", name="福利群", owner="lina")["chat_id"]
    her = sandbox.person("小满")
    sandbox.post(f"people/{her['id']}/join_group", chat_id=chat_id)
    assert chat_id in [row.chat_id for row in services.work_groups(account_id=corp.pk)]
    group = services.work_group(account_id=corp.pk, chat_id=chat_id)
    assert (group.name, group.owner) == ("福利群", "lina")
    assert [member.kind for member in group.members] == ["staff", "customer"]
    assert group.members[1].name == "小满"


def test_a_welcome_works_once_and_for_twenty_seconds(db: Any, sandbox: Sandbox) -> None:
    corp = sandbox.account("corp")
    her = sandbox.person()

    def welcome_code() -> str:
        sandbox.post(f"people/{her['id']}/add_contact", account="corp", userid="lina")
        sandbox.deliver()
        from wechat.envelopes import parse_xml
        from wechat.models import Notice

        notice = Notice.objects.filter(topic__endswith="add_external_contact").latest("pk")
        return str(parse_xml(notice.content.encode())["WelcomeCode"])

    code = welcome_code()
    link = {"title": "新人礼", "url": "https://shop.example/"}
    services.send_work_welcome(account_id=corp.pk, welcome_code=code, text="你好", link=link)
    assert [message["channel"] for message in sandbox.inbox(her)] == ["welcome", "welcome"] or sandbox.inbox(
        her, "welcome"
    )
    with pytest.raises(errors.PlatformError) as caught:
        services.send_work_welcome(account_id=corp.pk, welcome_code=code, text="再次")
    assert caught.value.code in ("41050", "41051")


# Pay


def order(sandbox: Sandbox, number: str = "POND-1") -> tuple[Account, dict[str, Any], dict[str, str]]:
    merchant = sandbox.account("pay")
    her, openid = follow(sandbox)
    parameters = services.start_payment(
        account_id=merchant.pk,
        out_trade_no=number,
        amount_fen=12345,
        description="池塘香氛 桂花香水",
        openid=openid,
        expires_at=clock.now() + timedelta(minutes=30),
        notify_url=f"{sandbox.relay.base}/wechat/pay/pay/notify/",
    )
    return merchant, her, parameters


def test_pay_query_refund(db: Any, sandbox: Sandbox) -> None:
    merchant, her, parameters = order(sandbox)
    assert set(parameters) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    assert services.query_payment(account_id=merchant.pk, out_trade_no="POND-1").trade_state == "NOTPAY"
    sandbox.post(f"people/{her['id']}/pay", **parameters, outcome="success")
    state = services.query_payment(account_id=merchant.pk, out_trade_no="POND-1")
    assert (state.trade_state, state.paid_fen) == ("SUCCESS", 12345)
    assert state.transaction_id
    assert state.success_at
    with pytest.raises(errors.AlreadyPaid):
        services.close_payment(account_id=merchant.pk, out_trade_no="POND-1")
    given: dict[str, Any] = {
        "account_id": merchant.pk,
        "out_trade_no": "POND-1",
        "out_refund_no": "POND-1-R1",
        "refund_fen": 12345,
        "total_fen": 12345,
        "reason": "不喜欢",
        "notify_url": f"{sandbox.relay.base}/wechat/pay/pay/notify/",
    }
    refund = services.refund_payment(**given)
    assert refund.refund_fen == 12345
    assert services.refund_payment(**given).refund_id == refund.refund_id
    assert (
        services.query_refund(account_id=merchant.pk, out_refund_no="POND-1-R1").refund_id == refund.refund_id
    )


def test_the_payment_notice_arrives_through_our_own_door(db: Any, sandbox: Sandbox) -> None:
    from core.models import DomainEvent
    from wechat.services import notices

    _, her, parameters = order(sandbox)
    sandbox.post(f"people/{her['id']}/pay", **parameters, outcome="success")
    delivered = [one for one in sandbox.deliver(times=4) if "/pay/" in one.path]
    assert [one.status for one in delivered] == [204]
    notices.handle_due()
    notified = DomainEvent.objects.get(name="wechat.PaymentNotified")
    assert notified.payload["paid_fen"] == 12345


def test_bad_copies_of_a_payment_notice_do_no_harm(db: Any, sandbox: Sandbox) -> None:
    from wechat.models import Notice

    _, her, parameters = order(sandbox)
    bad = dict.fromkeys(("forge", "tamper", "stale", "signtest", "wrong_serial", "unknown_type"), True)
    sandbox.fault(callback=True, match="TRANSACTION.SUCCESS", duplicate=2, **bad)
    sandbox.post(f"people/{her['id']}/pay", **parameters, outcome="success")
    statuses = sorted(one.status for one in sandbox.deliver() if "/pay/" in one.path)
    assert statuses == [204, 204, 204, 204, 401, 401, 401, 401, 401]
    assert sorted(Notice.objects.filter(account__kind="pay").values_list("topic", "deliveries")) == [
        ("SANDBOX.UNKNOWN", 1),
        ("TRANSACTION.SUCCESS", 3),
    ]


def test_closing_is_idempotent(db: Any, sandbox: Sandbox) -> None:
    merchant, *_ = order(sandbox)
    services.close_payment(account_id=merchant.pk, out_trade_no="POND-1")
    services.close_payment(account_id=merchant.pk, out_trade_no="POND-1")
    services.close_payment(account_id=merchant.pk, out_trade_no="NEVER-SEEN")
    assert services.query_payment(account_id=merchant.pk, out_trade_no="POND-1").trade_state == "CLOSED"
    with pytest.raises(errors.NoSuchOrder):
        services.query_payment(account_id=merchant.pk, out_trade_no="NEVER-SEEN")


def test_pay_is_repeated_through_short_trouble_and_works_with_a_moved_clock(
    db: Any, sandbox: Sandbox
) -> None:
    sandbox.advance(86400 * 30)
    sandbox.fault(match="/v3/pay/", http_status=500, code="SYSTEM_ERROR", times=2)
    order(sandbox)
    assert sandbox.calls("/v3/pay/transactions/jsapi") == 3


def test_an_answer_that_is_not_signed_by_wechat_pay_is_not_believed(
    db: Any, sandbox: Sandbox, rsa_keys: dict[str, Any]
) -> None:
    merchant, *_ = order(sandbox)
    merchant.public_key = rsa_keys["platform_public_pem"]
    with pytest.raises(errors.OutcomeUnknown) as caught:
        PayClient(merchant).query("POND-1")
    assert caught.value.code == "bad_signature"
