"""Official Accounts: tokens, users, tags, menus, codes, login, through wechatpy's own client."""

import time
from typing import Any

import pytest
import requests
from wechatpy.exceptions import APILimitedException, WeChatClientException
from wechatpy.oauth import WeChatOAuth, WeChatOAuthException

from tests.sandbox.conftest import Sandbox, Shop, ToSandbox


def refusal(call: Any, *arguments: Any, **more: Any) -> int:
    """The errcode with which a call is refused."""
    with pytest.raises((WeChatClientException, APILimitedException)) as refused:
        call(*arguments, **more)
    return int(refused.value.errcode)


def token(sandbox: Sandbox, account: dict[str, Any], **change: Any) -> dict[str, Any]:
    asked = {
        "grant_type": "client_credential",
        "appid": account["appid"],
        "secret": account["secret"],
        **change,
    }
    return requests.get(f"{sandbox.base}/cgi-bin/token", params=asked, timeout=60).json()


def stable(sandbox: Sandbox, account: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = {
        "grant_type": "client_credential",
        "appid": account["appid"],
        "secret": account["secret"],
        **more,
    }
    return requests.post(f"{sandbox.base}/cgi-bin/stable_token", json=asked, timeout=60).json()


def user_list(sandbox: Sandbox, access_token: str) -> int:
    url = f"{sandbox.base}/cgi-bin/tags/get"
    return int(requests.get(url, params={"access_token": access_token}, timeout=60).json().get("errcode", 0))


def test_a_token_ends_after_two_hours_and_wrong_secrets_are_told(sandbox: Sandbox) -> None:
    account = sandbox.account()
    first = token(sandbox, account)
    assert first["expires_in"] == 7200
    assert token(sandbox, account, secret="wrong")["errcode"] == 40125
    assert token(sandbox, account, appid="wxunknown")["errcode"] == 40013
    assert token(sandbox, account, grant_type="x")["errcode"] == 40002
    assert user_list(sandbox, first["access_token"]) == 0
    assert user_list(sandbox, "") == 41001
    assert user_list(sandbox, "short") == 40014
    assert user_list(sandbox, "x" * 100) == 40001
    sandbox.advance(7201)
    assert user_list(sandbox, first["access_token"]) == 42001


def test_a_new_token_ends_the_old_one_after_five_minutes(sandbox: Sandbox) -> None:
    account = sandbox.account()
    first, second = token(sandbox, account)["access_token"], token(sandbox, account)["access_token"]
    assert first != second
    assert user_list(sandbox, first) == user_list(sandbox, second) == 0
    sandbox.advance(301)
    assert user_list(sandbox, first) == 40001
    assert user_list(sandbox, second) == 0


def test_the_stable_token_stays_until_it_is_forced(sandbox: Sandbox) -> None:
    # The day's quota begins anew at midnight in Beijing: the test begins an hour after one.
    sandbox.advance(90_000 - (time.time() + 8 * 3_600) % 86_400)
    account = sandbox.account()
    first = stable(sandbox, account)["access_token"]
    assert stable(sandbox, account)["access_token"] == first
    sandbox.advance(6950)
    assert stable(sandbox, account)["access_token"] != first
    assert user_list(sandbox, first) == 0, "old and new overlap"
    forced = stable(sandbox, account, force_refresh=True)["access_token"]
    assert stable(sandbox, account, force_refresh=True)["errcode"] == 45011
    assert user_list(sandbox, forced) == 0
    for _ in range(19):
        sandbox.advance(31)
        assert "access_token" in stable(sandbox, account, force_refresh=True)
    sandbox.advance(31)
    assert stable(sandbox, account, force_refresh=True)["errcode"] == 45009


def test_tokens_can_be_spoiled_from_outside(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    client.tag.get()
    sandbox.post("tokens", account=account["key"], state="replaced")
    assert refusal(client.tag.get) == 40001
    fresh = oa_client(account)
    fresh.tag.get()
    sandbox.post("tokens", account=account["key"], state="expired")
    assert refusal(fresh.tag.get) == 42001


def test_the_shape_of_answers(sandbox: Sandbox) -> None:
    account = sandbox.account()
    answer = requests.get(f"{sandbox.base}/cgi-bin/tags/get?access_token=nothing-that-is-known", timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json; encoding=utf-8"
    assert " rid: " in answer.json()["errmsg"]
    access_token = token(sandbox, account)["access_token"]
    url = f"{sandbox.base}/cgi-bin/tags/create?access_token={access_token}"
    assert requests.post(url, data=b"{bad", timeout=60).json()["errcode"] == 47001
    assert requests.post(url, timeout=60).json()["errcode"] == 44002


def test_users_and_unionid(sandbox: Sandbox, oa_client: Any) -> None:
    brand, event = sandbox.account(), sandbox.account()
    alone = sandbox.account(open_platform="")
    person, openid = sandbox.follower(brand)
    info = oa_client(brand).user.get(openid)
    assert info["subscribe"] == 1
    assert info["unionid"] == person["unionid"]
    assert "nickname" not in info
    other = oa_client(event).user.get(person["openids"][event["appid"]])
    assert other == {
        "subscribe": 0,
        "openid": person["openids"][event["appid"]],
        "unionid": person["unionid"],
    }
    assert "unionid" not in oa_client(alone).user.get(person["openids"][alone["appid"]])
    assert oa_client(brand).user.get_followers()["data"]["openid"] == [openid]
    assert [one["openid"] for one in oa_client(brand).user.get_batch([openid])] == [openid]
    assert refusal(oa_client(brand).user.get, "nobody") == 40003
    assert refusal(oa_client(brand).user.get_batch, [openid] * 101) == 40032
    oa_client(brand).user.update_remark(openid, "老朋友")
    assert oa_client(brand).user.get(openid)["remark"] == "老朋友"


def test_followers_come_in_pages_of_ten_thousand(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    sandbox.post("people", count=10_003, follow=[account["key"]])
    client = oa_client(account)
    page = client.user.get_followers()
    assert (page["total"], page["count"]) == (10_003, 10_000)
    rest = client.user.get_followers(page["next_openid"])
    assert rest["count"] == 3
    assert client.user.get_followers(rest["next_openid"]) == {"total": 10_003, "count": 0, "next_openid": ""}


def test_tags(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    _, openid = sandbox.follower(account)
    client = oa_client(account)
    tag = client.tag.create("香水")["id"]
    assert refusal(client.tag.create, "香水") == 45157
    assert refusal(client.tag.create, "很长很长很长很长很长很长") == 45158
    client.tag.tag_user(tag, openid)
    assert client.tag.get_user_tag(openid) == [tag]
    assert client.tag.get()[0]["count"] == 1
    assert client.tag.get_tag_users(tag)["data"]["openid"] == [openid]
    assert refusal(client.tag.tag_user, 9999, openid) == 45159
    assert refusal(client.tag.update, 2, "x") == 45058
    client.tag.untag_user(tag, openid)
    client.tag.update(tag, "香氛")
    client.tag.delete(tag)
    assert client.tag.get() == []
    for number in range(100):
        client.tag.create(f"t{number}")
    assert refusal(client.tag.create, "one too many") == 45056


def test_menus(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    assert refusal(client.get, "menu/get") == 46003
    menu = {"button": [{"type": "view", "name": "商城", "url": "http://127.0.0.1/"}]}
    assert refusal(client.menu.add_conditional, {**menu, "matchrule": {"tag_id": "100"}}) == 65303
    client.menu.create(menu)
    assert client.menu.get()["menu"]["button"] == menu["button"]
    assert refusal(client.menu.create, {"button": menu["button"] * 4}) == 40035
    assert (
        refusal(client.menu.create, {"button": [{"type": "click", "name": "x", "key": "k" * 129}]}) == 40035
    )
    assert refusal(client.menu.add_conditional, {**menu, "matchrule": {"sex": "1"}}) == 65320
    made = client.menu.add_conditional({**menu, "matchrule": {"tag_id": "100"}})
    client.menu.del_conditional(made["menuid"])
    client.menu.delete()
    assert refusal(client.get, "menu/get") == 46003


def test_codes_with_scenes(sandbox: Sandbox, oa_client: Any, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    client = oa_client(account)
    scene = {
        "action_name": "QR_STR_SCENE",
        "action_info": {"scene": {"scene_str": "store-1"}},
        "expire_seconds": 600,
    }
    made = client.qrcode.create(scene)
    assert made["expire_seconds"] == 600
    picture = requests.get(
        f"{sandbox.base}/cgi-bin/showqrcode", params={"ticket": made["ticket"]}, timeout=60
    )
    assert picture.content.startswith(b"\x89PNG")
    assert requests.get(f"{sandbox.base}/cgi-bin/showqrcode?ticket=x", timeout=60).status_code == 404
    person = sandbox.person()
    sandbox.act(person, "scan", account=account["key"], ticket=made["ticket"])
    sandbox.act(person, "scan", account=account["key"], ticket=made["ticket"])
    sandbox.flush()
    first, second = (one.body.decode() for one in shop.at(account["key"]))
    assert "<Event><![CDATA[subscribe]]>" in first
    assert "qrscene_store-1" in first
    assert "<Event><![CDATA[SCAN]]>" in second
    assert "<EventKey><![CDATA[store-1]]>" in second
    assert client.user.get(person["openids"][account["appid"]])["qr_scene_str"] == "store-1"
    sandbox.advance(601)
    sandbox.post(f"people/{person['id']}/scan", expect=410, account=account["key"], ticket=made["ticket"])
    too_long = {**scene, "expire_seconds": 2_592_001}
    assert refusal(client.qrcode.create, too_long) == 40035
    number = {"action_name": "QR_LIMIT_SCENE", "action_info": {"scene": {"scene_id": 100_001}}}
    assert refusal(client.qrcode.create, number) == 40035


def test_daily_quotas_and_clearing_them(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account(quotas={"/cgi-bin/user/get": 3})
    client = oa_client(account)
    for _ in range(3):
        client.user.get_followers()
    assert refusal(client.user.get_followers) == 45009
    quota = client.post("openapi/quota/get", data={"cgi_path": "/cgi-bin/user/get"})["quota"]
    assert (quota["daily_limit"], quota["remain"]) == (3, 0)
    client.post("clear_quota", data={"appid": account["appid"]})
    client.user.get_followers()
    for _ in range(9):
        client.post("clear_quota", data={"appid": account["appid"]})
    assert refusal(client.post, "clear_quota", data={"appid": account["appid"]}) == 48006
    sandbox.advance(86_400)
    oa_client(account).user.get_followers()


def test_a_subscription_account_may_not_what_service_accounts_may(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account("subscription")
    _, openid = sandbox.follower(account)
    client = oa_client(account)
    assert refusal(client.message.send_template, openid, "template-1", {}) == 48001
    assert refusal(client.qrcode.create, {}) == 48001


def login(
    sandbox: Sandbox, account: dict[str, Any], person: dict[str, Any], **change: str
) -> requests.Response:
    asked = {
        "appid": account["appid"],
        "redirect_uri": "http://127.0.0.1:1/back?to=cart",
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "s1",
        **change,
    }
    cookies = {"sandbox_person": person["id"]} if person else {}
    url = f"{sandbox.base}/connect/oauth2/authorize"
    return requests.get(url, params=asked, cookies=cookies, allow_redirects=False, timeout=60)


def oauth(sandbox: Sandbox, account: dict[str, Any]) -> WeChatOAuth:
    client = WeChatOAuth(account["appid"], account["secret"], "http://127.0.0.1:1/back")
    client._http = requests.Session()
    client._http.mount("https://", ToSandbox(sandbox.base))
    return client


def code_of(answer: requests.Response) -> str:
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith("http://127.0.0.1:1/back?to=cart&code=")
    assert answer.headers["Location"].endswith("&state=s1")
    return answer.headers["Location"].split("code=")[1].split("&")[0]


def test_a_silent_login_gives_the_openid_once(sandbox: Sandbox) -> None:
    account, person = sandbox.account(), sandbox.person()
    code = code_of(login(sandbox, account, person))
    client = oauth(sandbox, account)
    answer = client.fetch_access_token(code)
    assert answer["openid"] == person["openids"][account["appid"]]
    assert "unionid" not in answer
    with pytest.raises(WeChatOAuthException) as refused:
        client.fetch_access_token(code)
    assert refused.value.errcode == 40163
    late = code_of(login(sandbox, account, person))
    sandbox.advance(301)
    with pytest.raises(WeChatOAuthException) as refused:
        client.fetch_access_token(late)
    assert refused.value.errcode == 40029


def test_a_login_with_consent_gives_nickname_and_unionid(sandbox: Sandbox) -> None:
    account, person = sandbox.account(), sandbox.person(name="思思")
    sheet = login(sandbox, account, person, scope="snsapi_userinfo")
    assert sheet.status_code == 200
    assert "允许" in sheet.text
    allowed = {
        "appid": account["appid"],
        "redirect_uri": "http://127.0.0.1:1/back?to=cart",
        "response_type": "code",
        "scope": "snsapi_userinfo",
        "state": "s1",
        "sandbox_person": person["id"],
    }
    url = f"{sandbox.base}/connect/oauth2/authorize"
    denied = requests.post(url, data={**allowed, "decision": "deny"}, allow_redirects=False, timeout=60)
    assert denied.status_code == 200
    answer = requests.post(url, data={**allowed, "decision": "allow"}, allow_redirects=False, timeout=60)
    client = oauth(sandbox, account)
    given = client.fetch_access_token(code_of(answer))
    assert given["unionid"] == person["unionid"]
    assert client.get_user_info()["nickname"] == "思思"
    assert client.check_access_token()
    client.refresh_access_token(given["refresh_token"])
    code_of(login(sandbox, account, person, scope="snsapi_userinfo"))


def test_a_snapshot_user_is_marked_and_has_another_openid(sandbox: Sandbox) -> None:
    account, person = sandbox.account(), sandbox.person(snapshot=True)
    answer = oauth(sandbox, account).fetch_access_token(code_of(login(sandbox, account, person)))
    assert answer["is_snapshotuser"] == 1
    assert answer["openid"] != person["openids"][account["appid"]]


def test_a_bad_login_address_is_refused_on_the_page(sandbox: Sandbox) -> None:
    account, person = sandbox.account(), sandbox.person()
    assert login(sandbox, account, person, appid="wx0").status_code == 400
    assert login(sandbox, account, person, redirect_uri="javascript:alert(1)").status_code == 400
    assert login(sandbox, account, person, scope="snsapi_login").status_code == 400
    assert "用谁的微信登录" in login(sandbox, account, {}).text


def test_page_signatures_are_checked(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    ticket = client.jsapi.get_jsapi_ticket()
    url = "http://127.0.0.1:1/cart?x=1"
    signature = client.jsapi.get_jsapi_signature("n1", ticket, "1414587457", url)
    given = {"appId": account["appid"], "timestamp": 1414587457, "nonceStr": "n1", "signature": signature}
    assert sandbox.post("jsapi/config", **given, url=url + "#top")["errMsg"] == "config:ok"
    wrong = sandbox.post("jsapi/config", **given, url="http://127.0.0.1:1/other")["errMsg"]
    assert wrong == "config:fail,Error: invalid signature"
