"""Customer-service, template, subscription and mass messages: their windows, quotas and caps."""

from datetime import datetime, timedelta
from typing import Any

from tests.sandbox.conftest import Sandbox, Shop
from tests.sandbox.test_accounts import refusal


def test_a_message_of_hers_allows_five_in_48_hours(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    person, openid = sandbox.follower(account)
    sandbox.advance(61)
    assert refusal(client.message.send_text, openid, "hi") == 45015
    sandbox.act(person, "message", account=account["key"], text="在吗")
    for number in range(5):
        client.message.send_text(openid, f"第 {number} 条")
    assert refusal(client.message.send_text, openid, "hi") == 45047
    assert [one["text"] for one in sandbox.inbox(person)] == [f"第 {number} 条" for number in range(5)]
    sandbox.act(person, "message", account=account["key"], text="还在吗")
    sandbox.advance(48 * 3600 - 5)
    oa_client(account).message.send_text(openid, "just in time")
    sandbox.advance(10)
    assert refusal(oa_client(account).message.send_text, openid, "late") == 45015


def test_following_scanning_and_menus_allow_three_in_a_minute(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    client.menu.create({"button": [{"type": "click", "name": "客服", "key": "help"}]})
    person = sandbox.person()
    openid = person["openids"][account["appid"]]
    acts = (("follow", {}), ("menu", {"key": "help"}), ("scan", {"scene": "s"}))
    for what, more in acts:
        sandbox.advance(120)
        sandbox.act(person, what, account=account["key"], **more)
        for _ in range(3):
            client.message.send_text(openid, "hi")
        assert refusal(client.message.send_text, openid, "hi") == 45047
        sandbox.act(person, what, account=account["key"], **(more or {"scene": "again"}))
        sandbox.advance(61)
        assert refusal(client.message.send_text, openid, "hi") == 45015


def test_a_view_button_and_an_unfollow_give_no_allowance(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    client.menu.create({"button": [{"type": "view", "name": "商城", "url": "http://127.0.0.1/"}]})
    person, openid = sandbox.follower(account)
    sandbox.advance(61)
    sandbox.act(person, "menu", account=account["key"], url="http://127.0.0.1/")
    assert refusal(client.message.send_text, openid, "hi") == 45015
    sandbox.act(person, "message", account=account["key"], text="hi")
    sandbox.act(person, "unfollow", account=account["key"])
    assert refusal(client.message.send_text, openid, "hi") == 45015
    assert client.user.get(openid)["subscribe"] == 0


def test_kinds_of_customer_service_messages(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    person, openid = sandbox.follower(account)
    article = {"title": "新香上市", "description": "白茶", "url": "http://127.0.0.1/p/1", "image": ""}
    client.message.send_articles(openid, [article])
    client.message.send_msg_menu(openid, {"head_content": "满意吗", "list": [{"id": "1", "content": "满意"}]})
    assert refusal(client.message.send_image, openid, "no-such-media") == 40007
    media = client.media.upload("image", ("x.png", b"\x89PNG", "image/png"))
    client.message.send_image(openid, media["media_id"])
    assert [one["kind"] for one in sandbox.inbox(person)] == ["news", "msgmenu", "image"]
    assert refusal(client.message._send_custom_message, {"touser": openid, "msgtype": "dance"}) == 40008
    assert refusal(client.message.send_text, openid, "长" * 1000) == 45002
    assert refusal(client.message.send_text, "nobody", "hi") == 40003


def test_a_follower_who_blocks_gets_nothing(sandbox: Sandbox, oa_client: Any, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    client = oa_client(account)
    person, openid = sandbox.follower(account)
    sandbox.act(person, "block", account=account["key"])
    assert refusal(client.message.send_text, openid, "hi") == 48002
    client.message.send_template(openid, "template-1", {"first": {"value": "x"}})
    sandbox.advance(1)
    sandbox.flush()
    assert b"failed:user block" in shop.at(account["key"])[0].body
    assert sandbox.inbox(person) == []


def test_a_template_message_reports_its_end(sandbox: Sandbox, oa_client: Any, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    client = oa_client(account)
    person, openid = sandbox.follower(account)
    sent = client.message.send_template(
        openid, "template-1", {"thing1": {"value": "发货"}}, url="http://127.0.0.1/o/1"
    )
    (message,) = sandbox.inbox(person)
    assert message["channel"] == "template"
    assert message["data"] == {"thing1": "发货"}
    sandbox.advance(1)
    sandbox.flush()
    event = shop.at(account["key"])[0].body.decode()
    assert f"<MsgID>{sent['msgid']}</MsgID>" in event
    assert "<Status><![CDATA[success]]></Status>" in event
    stranger = sandbox.person()
    assert (
        refusal(client.message.send_template, stranger["openids"][account["appid"]], "template-1", {})
        == 43004
    )
    assert refusal(client.message.send_template, openid, "missing-template", {}) == 40037
    again = {"touser": openid, "template_id": "template-1", "data": {}, "client_msg_id": "once"}
    first, second = (client.post("message/template/send", data=again) for _ in range(2))
    assert first["msgid"] == second["msgid"]
    assert len(sandbox.inbox(person)) == 2


def test_a_strict_account_knows_only_its_templates(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account(accept_any_template=False)
    client = oa_client(account)
    _, openid = sandbox.follower(account)
    assert refusal(client.message.send_template, openid, "template-1", {}) == 40037
    template = client.template.get("TM00015")
    template_id = template["template_id"] if isinstance(template, dict) else template
    client.message.send_template(openid, template_id, {})
    client.template.del_private_template(template_id)
    assert refusal(client.message.send_template, openid, template_id, {}) == 40037


def test_one_accept_is_one_subscription_notification(sandbox: Sandbox, oa_client: Any, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    client = oa_client(account)
    person = sandbox.person()
    openid = person["openids"][account["appid"]]
    fields = {"thing1": {"value": "拼团成功"}}
    assert refusal(client.message.send_subscribe_message, openid, "notice-1", fields) == 43101
    sandbox.act(person, "subscribe", account=account["key"], template_id="notice-1", accept=False)
    assert refusal(client.message.send_subscribe_message, openid, "notice-1", fields) == 43101
    for _ in range(2):
        sandbox.act(person, "subscribe", account=account["key"], template_id="notice-1", accept=True)
    for bad in (
        {"thing1": {"value": "长" * 21}},
        {"number2": {"value": "many"}},
        {"phrase3": {"value": "x"}},
    ):
        assert refusal(client.message.send_subscribe_message, openid, "notice-1", bad) == 47003
    client.message.send_subscribe_message(openid, "notice-1", fields)
    client.message.send_subscribe_message(openid, "notice-1", fields)
    assert refusal(client.message.send_subscribe_message, openid, "notice-1", fields) == 43101
    assert [one["channel"] for one in sandbox.inbox(person)] == ["subscribe", "subscribe"]
    sandbox.advance(1)
    sandbox.flush()
    events = [one.body.decode() for one in shop.at(account["key"])]
    assert "subscribe_msg_popup_event" in events[0]
    assert "<SubscribeStatusString><![CDATA[reject]]>" in events[0]
    assert sum("subscribe_msg_sent_event" in one for one in events) == 2


def next_month(sandbox: Sandbox) -> None:
    now = datetime.fromisoformat(sandbox.get("clock")["beijing"])
    first = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=10)
    sandbox.advance((first - now).total_seconds())


def test_mass_sending_keeps_four_a_month_for_each_follower(
    sandbox: Sandbox, oa_client: Any, shop: Shop
) -> None:
    account = sandbox.account(mode="plain")
    client = oa_client(account)
    next_month(sandbox)
    anna, first = sandbox.follower(account)
    _, second = sandbox.follower(account)
    _, third = sandbox.follower(account)
    for number in range(4):
        client.message.send_mass_text(f"第 {number} 次", [first, second])
        sandbox.advance(2)
        sandbox.flush()
    client.message.send_mass_text("第五次", [first, third])
    sandbox.advance(2)
    sandbox.flush()
    assert len(sandbox.inbox(anna, channel="mass")) == 4
    events = [one.body.decode() for one in shop.at(account["key"])]
    assert len(events) == 5
    assert "<TotalCount>2</TotalCount><FilterCount>2</FilterCount><SentCount>2</SentCount>" in events[0]
    assert "<TotalCount>2</TotalCount><FilterCount>1</FilterCount><SentCount>1</SentCount>" in events[4]
    next_month(sandbox)
    oa_client(account).message.send_mass_text("下个月", [first, second])
    sandbox.advance(2)
    sandbox.flush()
    assert len(sandbox.inbox(anna, channel="mass")) == 5


def test_mass_lists_have_two_to_ten_thousand(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    _, openid = sandbox.follower(account)
    for size in (1, 10_001):
        body = {"touser": [openid] * size, "msgtype": "text", "text": {"content": "x"}}
        assert refusal(client.post, "message/mass/send", data=body) == 40032


def test_to_all_is_once_a_day_and_four_times_a_month(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    sandbox.follower(account)
    next_month(sandbox)
    for _ in range(4):
        client = oa_client(account)
        client.message.send_mass_text("大家好", is_to_all=True)
        assert refusal(client.message.send_mass_text, "大家好", is_to_all=True) == 45028
        sandbox.advance(86_400)
    assert refusal(oa_client(account).message.send_mass_text, "大家好", is_to_all=True) == 45028


def test_a_subscription_account_sends_once_a_day(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account("subscription")
    person, _ = sandbox.follower(account)
    client = oa_client(account)
    draft = client.draft.add([{"title": "周二上新", "content": "<p>白茶</p>", "thumb_media_id": ""}])
    client.message.send_mass_article(draft["media_id"], is_to_all=True)
    assert refusal(client.message.send_mass_article, draft["media_id"], is_to_all=True) == 45028
    sandbox.advance(2)
    sandbox.flush()
    (message,) = sandbox.inbox(person)
    assert message["articles"][0]["title"] == "周二上新"


def test_a_clientmsgid_sends_once(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    person, openid = sandbox.follower(account)
    _, other = sandbox.follower(account)
    client = oa_client(account)
    body = {"touser": [openid, other], "msgtype": "text", "text": {"content": "x"}, "clientmsgid": "send-1"}
    client.post("message/mass/send", data=body)
    assert refusal(client.post, "message/mass/send", data=body) == 45065
    sandbox.advance(2)
    sandbox.flush()
    assert len(sandbox.inbox(person)) == 1
    assert refusal(client.post, "message/mass/send", data={**body, "clientmsgid": "x" * 65}) == 45067


def test_sixty_mass_calls_a_minute_and_a_hundred_a_day(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    _, openid = sandbox.follower(account)
    client = oa_client(account)
    body = {"touser": openid, "msgtype": "text", "text": {"content": "x"}}
    wrong = {**body, "touser": [openid]}
    codes = [refusal(client.post, "message/mass/send", data=wrong) for _ in range(61)]
    assert codes.count(45011) >= 1
    sandbox.advance(61)
    codes = [refusal(client.post, "message/mass/send", data=wrong) for _ in range(41)]
    assert codes[-1] == 45009
