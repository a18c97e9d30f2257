"""The phone in a real browser: chats, menus, scanning, the payment sheet, the JS-SDK, a guide's task."""

import json
from typing import Any

import pytest

from tests.sandbox.conftest import Sandbox, Shop
from tests.sandbox.test_pay import place, sheet

pytestmark = pytest.mark.browser
pytest.importorskip("pytest_playwright")


def open_phone(page: Any, sandbox: Sandbox, person: dict[str, Any]) -> list[str]:
    """The person's phone; answers the list in which the page's problems are noted."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request", lambda one: None if "//127.0.0.1" in one.url else problems.append(f"outside: {one.url}")
    )
    page.goto(f"{sandbox.base}/?person={person['id']}")
    page.wait_for_selector('[data-test="chat-list"]')
    return problems


def test_she_scans_follows_chats_and_taps(page: Any, sandbox: Sandbox, oa_client: Any, shop: Shop) -> None:
    account = sandbox.account(mode="plain", name="池塘香氛服务号")
    client = oa_client(account)
    shop.pages["/shop"] = "<!doctype html><title>商城</title><h1>池塘商城</h1><a href='/goods'>商品</a>"
    shop.pages["/goods"] = "<!doctype html><h1>白茶香水</h1>"
    client.menu.create(
        {
            "button": [
                {"type": "view", "name": "商城", "url": f"{shop.base}/shop"},
                {"name": "会员", "sub_button": [{"type": "click", "name": "优惠", "key": "OFFERS"}]},
            ]
        }
    )
    scene = {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "store-1"}}}
    client.qrcode.create(scene)
    person = sandbox.person()
    openid = person["openids"][account["appid"]]
    problems = open_phone(page, sandbox, person)
    page.click('[data-test="scan-open"]')
    page.click('[data-test="code"][data-note="store-1"]')
    page.wait_for_selector('[data-test="menu-item"]')
    page.click('[data-test="menu-item"] >> nth=1')
    page.click(".sub-menu [data-test='menu-item']")
    client.message.send_text(openid, "欢迎光临")
    page.wait_for_selector('[data-test="message"]:has-text("欢迎光临")')
    page.click('[data-test="menu-keyboard"]')
    page.fill('[data-test="chat-input"]', "有货吗？")
    page.click('[data-test="chat-send"]')
    page.wait_for_selector(".mine >> text=有货吗？")
    page.click('[data-test="menu-show"]')
    page.click('[data-test="menu-item"] >> nth=0')
    inside = page.frame_locator("iframe[name=phone-browser]")
    inside.locator("text=池塘商城").wait_for()
    inside.locator("text=商品").click()
    inside.locator("text=白茶香水").wait_for()
    page.click('[data-test="browser-back"]')
    inside.locator("text=池塘商城").wait_for()
    page.click('[data-test="browser-back"]')
    page.wait_for_selector("iframe[name=phone-browser]", state="detached")
    page.click('[data-test="back"]')
    client.message.send_text(openid, "有的")
    page.wait_for_selector(f'[data-test="chat-{account["key"]}"] [data-test="unread"]:has-text("1")')
    sandbox.flush()
    events = [one.body.decode() for one in shop.at(account["key"])]
    assert [
        name
        for name in ("qrscene_store-1", "CLICK", "有货吗？", "VIEW")
        if not any(name in one for one in events)
    ] == []
    assert problems == []


SHOP_PAGE = """<!doctype html><meta charset="utf-8"><title>订单</title>
<script src="%(sdk)s"></script>
<button id="pay">付款</button><button id="address">地址</button><button id="notice">订阅</button>
<button id="bridge">桥</button><button id="close">关闭</button><pre id="out"></pre>
<script>
const say = (text) => { document.getElementById("out").textContent += text + "\\n"; };
const note = (name, outcome) => (r) => say(name + " " + outcome + " " + JSON.stringify(r));
const tell = (name) => ({success: note(name, "success"), fail: note(name, "fail"), cancel: note(name, "cancel")});
wx.config(Object.assign(%(config)s, {jsApiList: ["chooseWXPay", "openAddress", "closeWindow"]}));
wx.ready(() => say("ready"));
wx.error((r) => say("error " + r.errMsg));
const on = (id, work) => document.getElementById(id).addEventListener("click", work);
on("pay", () => wx.chooseWXPay(Object.assign(%(sheet)s, tell("pay"))));
on("bridge", () => WeixinJSBridge.invoke("getBrandWCPayRequest", %(sheet)s, (r) => say("bridge " + r.err_msg)));
on("address", () => wx.openAddress(tell("address")));
on("notice", () => wx.requestSubscribeMessage(Object.assign({tmplIds: ["notice-1"]}, tell("notice"))));
on("close", () => wx.closeWindow());
</script>"""


def shop_page(
    sandbox: Sandbox, shop: Shop, brand: dict[str, Any], client: Any, parameters: dict[str, str], url: str
) -> str:
    signature = client.jsapi.get_jsapi_signature(
        "n", client.jsapi.get_jsapi_ticket(), "1414587457", f"{shop.base}{url}"
    )
    config = {"appId": brand["appid"], "timestamp": 1414587457, "nonceStr": "n", "signature": signature}
    return SHOP_PAGE % {
        "sdk": brand["jssdk_url"],
        "config": json.dumps(config),
        "sheet": json.dumps({**parameters, "timestamp": parameters["timeStamp"]}),
    }


def test_a_page_pays_asks_for_an_address_and_closes(
    page: Any, sandbox: Sandbox, oa_client: Any, pay_client: Any, shop: Shop, pay_keys: dict[str, str]
) -> None:
    brand = sandbox.account(mode="plain")
    merchant = sandbox.account("pay", appid=brand["appid"], name="池塘香氛", **pay_keys)
    person, _ = sandbox.follower(brand)
    payer = pay_client(merchant)
    placed = place(payer, brand, person, "order-0001")[1]
    client = oa_client(brand)
    shop.pages["/cart"] = shop_page(
        sandbox, shop, brand, client, sheet(payer, brand, placed["prepay_id"]), "/cart"
    )
    wrong = sheet(payer, brand, placed["prepay_id"], paySign="AAAA")
    shop.pages["/wrong"] = shop_page(sandbox, shop, brand, client, wrong, "/elsewhere")

    # Outside of the phone everything fails cleanly.
    page.goto(f"{shop.base}/cart")
    page.wait_for_selector("text=error config:fail, not inside of the phone")
    page.click("#pay")
    page.wait_for_selector("text=pay fail")

    problems = open_phone(page, sandbox, person)
    inside = page.frame_locator("iframe[name=phone-browser]")

    def visit(path: str) -> None:
        page.click('[data-test="tab-find"]')
        page.click('[data-test="find-address"]')
        page.fill('[data-test="address-input"]', f"{shop.base}{path}")
        page.click('[data-test="address-open"]')

    visit("/wrong")
    inside.locator("text=error config:fail,Error: invalid signature").wait_for()
    inside.locator("#pay").click()
    page.wait_for_selector('[data-test="pay-problem"]:has-text("支付验证签名失败")')
    page.click('[data-test="pay-problem-close"]')
    inside.locator("text=pay fail").wait_for()
    page.click('[data-test="browser-close"]')

    visit("/cart")
    inside.locator("text=ready").wait_for()
    inside.locator("#address").click()
    page.click('[data-test="address-pick"]')
    inside.locator("text=address success").wait_for()
    assert "上海市" in inside.locator("#out").inner_text()
    inside.locator("#notice").click()
    page.click('[data-test="subscribe-accept"]')
    inside.locator("#out", has_text='"notice-1":"accept"').wait_for()
    inside.locator("#pay").click()
    page.wait_for_selector('[data-test="pay-amount"]:has-text("¥129.00")')
    page.click('[data-test="pay-cancel"]')
    inside.locator("text=pay cancel").wait_for()
    inside.locator("#pay").click()
    page.click('[data-test="pay-confirm"]')
    inside.locator("text=pay success").wait_for()
    assert sandbox.get("orders")[0]["state"] == "SUCCESS"
    inside.locator("#bridge").click()
    page.wait_for_selector('[data-test="pay-problem"]:has-text("该订单已支付")')
    page.click('[data-test="pay-cancel"]')
    inside.locator("text=bridge get_brand_wcpay_request:fail").wait_for()
    inside.locator("#close").click()
    page.wait_for_selector("iframe[name=phone-browser]", state="detached")
    assert problems == []


def test_a_page_logs_her_in_inside_of_the_phone(page: Any, sandbox: Sandbox, shop: Shop) -> None:
    account, person = sandbox.account(), sandbox.person(name="思思")
    shop.pages["/back"] = "<!doctype html><h1>已登录</h1>"
    open_phone(page, sandbox, person)
    page.click('[data-test="tab-find"]')
    page.click('[data-test="find-address"]')
    asked = f"appid={account['appid']}&redirect_uri={shop.base}/back&response_type=code&scope=snsapi_userinfo&state=s"
    page.fill(
        '[data-test="address-input"]', f"{sandbox.base}/connect/oauth2/authorize?{asked}#wechat_redirect"
    )
    page.click('[data-test="address-open"]')
    inside = page.frame_locator("iframe[name=phone-browser]")
    assert "思思" in inside.locator(".consent").inner_text()
    inside.locator('[data-test="consent-allow"]').click()
    inside.locator("text=已登录").wait_for()


def test_a_code_by_sms_comes_onto_the_phone_that_has_the_number(page: Any, sandbox: Sandbox) -> None:
    person, other = sandbox.person(phone="13800000009"), sandbox.person()
    open_phone(page, sandbox, person)
    assert sandbox.post("sms", phone="13800000009", text="验证码 246810")["delivered"] == 1
    page.click('[data-test="chat-sms"]')
    page.wait_for_selector('[data-test="message"]:has-text("验证码 246810")')
    sandbox.post("sms", phone="13900000000", text="验证码 135790")  # nobody's number: to the open phone
    page.wait_for_selector('[data-test="message"]:has-text("验证码 135790")')
    assert sandbox.get(f"people/{other['id']}/inbox") == []
    assert [row["text"] for row in sandbox.get("sms", phone="13900000000")] == ["验证码 135790"]


def test_a_guide_confirms_a_task_and_sees_her_customers(
    page: Any, sandbox: Sandbox, work_client: Any
) -> None:
    corp = sandbox.account("work")
    person = sandbox.person(name="思思")
    sandbox.act(person, "add_contact", account=corp["key"], userid="lina", state="静安店")
    work_client(corp).external_contact.add_msg_template(
        {"external_userid": [person["external_userid"]], "text": {"content": "周末闻香会"}}
    )
    page.goto(f"{sandbox.base}/?guide=lina")
    page.click('[data-test="task-confirm"]')
    page.wait_for_selector("text=已发送")
    page.click('[data-test="guide-tab-customers"]')
    page.wait_for_selector('[data-test="customer"]:has-text("静安店")')
    assert sandbox.inbox(person)[0]["text"] == "周末闻香会"


def test_the_control_page_moves_the_clock_and_sets_faults(page: Any, sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    sandbox.act(sandbox.person(), "follow", account=account["key"])
    sandbox.flush()
    page.goto(f"{sandbox.base}/control")
    page.click('[data-test="advance-day"]')
    page.wait_for_selector("text=1 天")
    assert sandbox.get("clock")["offset_seconds"] == 86_400
    page.click('[data-test="preset"] >> nth=0')
    page.wait_for_selector('[data-test="fault"]')
    assert sandbox.get("faults")[0]["errcode"] == -1
    page.click('[data-test="fault-remove"]')
    page.wait_for_selector('[data-test="fault"]', state="detached")
    page.click('[data-test="replay"]')
    page.wait_for_selector("text=重放")
    sandbox.flush()
    assert len(shop.at(account["key"])) == 2


def test_nothing_is_wider_than_the_screen(page: Any, sandbox: Sandbox) -> None:
    sandbox.account(name="池塘香氛服务号")
    person = sandbox.person()
    open_phone(page, sandbox, person)
    for path in (f"/?person={person['id']}", "/control"):
        page.goto(f"{sandbox.base}{path}")
        for width in (320, 375, 1280):
            page.set_viewport_size({"width": width, "height": 760})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
