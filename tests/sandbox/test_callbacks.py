"""Callbacks of Official Accounts and WeCom: three modes, replies, repeats, faults, order."""

import time
from typing import Any
from xml.etree import ElementTree

import pytest
from wechatpy import parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.replies import TextReply
from wechatpy.utils import check_signature
from wechatpy.work.crypto import WeChatCrypto as WorkCrypto

from tests.sandbox.conftest import Delivery, Sandbox, Shop


def opened(account: dict[str, Any], delivery: Delivery) -> Any:
    """The message, checked, decrypted and parsed by wechatpy."""
    query = delivery.query
    check_signature(account["token"], query["signature"], query["timestamp"], query["nonce"])
    if account["mode"] == "plain":
        return parse_message(delivery.body)
    crypto = WeChatCrypto(account["token"], account["aes_key"], account["appid"])
    assert query["encrypt_type"] == "aes"
    text = crypto.decrypt_message(delivery.body, query["msg_signature"], query["timestamp"], query["nonce"])
    return parse_message(text)


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_each_mode_is_read_by_wechatpy(sandbox: Sandbox, shop: Shop, mode: str) -> None:
    account = sandbox.account(mode=mode)
    person = sandbox.person()
    sandbox.act(person, "follow", account=account["key"], scene="store-1")
    sandbox.act(person, "message", account=account["key"], text="你好")
    sandbox.flush()
    first, second = shop.at(account["key"])
    event, message = opened(account, first), opened(account, second)
    assert (event.event, event.scene_id) == ("subscribe_scan", "store-1")
    assert (message.type, message.content) == ("text", "你好")
    assert message.source == person["openids"][account["appid"]] == second.query["openid"]
    assert message.target == account["gh_id"]
    clear = b"<Content>" in second.body or b"<Content" in second.body
    assert clear is (mode != "safe")
    assert (b"<Encrypt>" in second.body) is (mode != "plain")


def reply(account: dict[str, Any], delivery: Delivery, text: str, *, encrypted: bool) -> bytes:
    message = opened(account, delivery)
    xml = TextReply(content=text, message=message).render()
    if encrypted:
        crypto = WeChatCrypto(account["token"], account["aes_key"], account["appid"])
        xml = crypto.encrypt_message(xml, "nonce", str(int(time.time())))
    return xml.encode()


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_a_passive_reply_reaches_her(sandbox: Sandbox, shop: Shop, mode: str) -> None:
    account = sandbox.account(mode=mode)
    person, _ = sandbox.follower(account)
    shop.answers = [lambda one: (200, reply(account, one, "欢迎光临", encrypted=mode == "safe"))]
    sandbox.act(person, "message", account=account["key"], text="你好")
    sandbox.flush()
    (message,) = sandbox.inbox(person)
    assert (message["channel"], message["text"]) == ("reply", "欢迎光临")


@pytest.mark.parametrize("bad", ["unencrypted", "nonsense"])
def test_a_reply_that_does_not_fit_shows_the_platforms_notice(sandbox: Sandbox, shop: Shop, bad: str) -> None:
    account = sandbox.account(mode="safe")
    person, _ = sandbox.follower(account)
    answers = {
        "unencrypted": lambda one: (200, reply(account, one, "x", encrypted=False)),
        "nonsense": lambda one: (200, b"<html>oops</html>"),
    }
    shop.answers = [answers[bad]]
    sandbox.act(person, "message", account=account["key"], text="你好")
    sandbox.flush()
    assert [one["channel"] for one in sandbox.inbox(person)] == ["notice"]


def test_three_repeats_five_seconds_apart_then_the_notice(sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    person, _ = sandbox.follower(account)
    shop.answer = (500, b"")
    sandbox.act(person, "message", account=account["key"], text="你好")
    sandbox.flush()
    assert len(shop.at(account["key"])) == 1
    sandbox.advance(4)
    sandbox.flush()
    assert len(shop.at(account["key"])) == 1, "not before five seconds"
    for _ in range(6):
        sandbox.advance(5)
        sandbox.flush()
    received = shop.at(account["key"])
    assert len(received) == 4
    assert len({opened(account, one).id for one in received}) == 1
    assert [one["channel"] for one in sandbox.inbox(person)] == ["notice"]
    (row,) = sandbox.get("callbacks", account=account["key"])
    assert row["status"] == "failed"


def test_an_answer_that_comes_too_late_is_none(sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    person, _ = sandbox.follower(account)

    def slow(delivery: Delivery) -> tuple[int, bytes]:
        time.sleep(5.2)
        return 200, b"success"

    shop.answers = [slow]
    sandbox.act(person, "message", account=account["key"], text="你好")
    sandbox.flush()
    sandbox.advance(5)
    sandbox.flush()
    (row,) = sandbox.get("callbacks", account=account["key"])
    assert [one["error"] for one in row["attempts"]] == ["no answer within 5 seconds", ""]
    assert row["status"] == "delivered"


def test_the_address_is_verified_as_the_platforms_do(sandbox: Sandbox, shop: Shop) -> None:
    account, corp = sandbox.account(), sandbox.account("work")
    shop.answers = [lambda one: (200, one.query["echostr"].encode())]
    assert sandbox.post(f"accounts/{account['key']}/verify")["ok"]

    def echo(delivery: Delivery) -> tuple[int, bytes]:
        crypto = WorkCrypto(corp["token"], corp["aes_key"], corp["corpid"])
        query = delivery.query
        text = crypto.check_signature(
            query["msg_signature"], query["timestamp"], query["nonce"], query["echostr"]
        )
        return 200, text if isinstance(text, bytes) else text.encode()

    shop.answers = [echo]
    assert sandbox.post(f"accounts/{corp['key']}/verify")["ok"]
    shop.answer = (403, b"no")
    assert not sandbox.post(f"accounts/{corp['key']}/verify")["ok"]


def texts(account: dict[str, Any], shop: Shop) -> list[str]:
    return [opened(account, one).content for one in shop.at(account["key"])]


def test_notices_can_be_duplicated_delayed_reordered_and_lost(sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    person, _ = sandbox.follower(account)

    def write(text: str, **fault: Any) -> None:
        if fault:
            sandbox.post("faults", callback=True, match="text", account=account["key"], **fault)
        sandbox.act(person, "message", account=account["key"], text=text)

    write("twice", duplicate=2)
    sandbox.advance(1)
    sandbox.flush()
    assert texts(account, shop) == ["twice"] * 3
    assert len({opened(account, one).id for one in shop.at(account["key"])}) == 1
    shop.received.clear()
    write("lost", lose=True)
    write("late", delay_ms=60_000)
    write("now")
    sandbox.flush()
    assert texts(account, shop) == ["now"]
    sandbox.advance(60)
    sandbox.flush()
    assert texts(account, shop) == ["now", "late"]
    shop.received.clear()
    write("second", reorder=True)
    write("first")
    sandbox.advance(1)
    sandbox.flush()
    assert texts(account, shop) == ["first", "second"]
    statuses = {row["content"]["Content"]: row["status"] for row in sandbox.get("callbacks")}
    assert statuses["lost"] == "lost"


def test_bad_copies_come_first_and_do_not_fit(sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(mode="safe")
    person, _ = sandbox.follower(account)
    sandbox.post("faults", callback=True, match="*", forge=True, tamper=True, unknown_type=True)
    sandbox.act(person, "message", account=account["key"], text="你好")
    sandbox.flush()
    outcomes = []
    for one in shop.at(account["key"]):
        try:
            outcomes.append(opened(account, one).type)
        except Exception as error:
            outcomes.append(type(error).__name__)
    assert outcomes == ["InvalidSignatureException", "InvalidSignatureException", "unknown", "text"]


def test_a_notice_can_be_replayed(sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(mode="plain")
    person = sandbox.person()
    sandbox.act(person, "follow", account=account["key"])
    sandbox.flush()
    (row,) = sandbox.get("callbacks", account=account["key"])
    sandbox.post(f"callbacks/{row['id']}/replay")
    sandbox.flush()
    first, second = (ElementTree.fromstring(one.body) for one in shop.at(account["key"]))
    assert first.findtext("CreateTime") == second.findtext("CreateTime")


def test_a_muted_account_sends_nothing(sandbox: Sandbox, shop: Shop) -> None:
    account = sandbox.account(events=False)
    sandbox.act(sandbox.person(), "follow", account=account["key"])
    sandbox.flush()
    assert shop.received == []


def test_flushing_does_what_the_platform_does_soon_but_no_early_repeats(
    sandbox: Sandbox, shop: Shop, oa_client: Any
) -> None:
    account = sandbox.account(mode="plain")
    _, openid = sandbox.follower(account)
    client = oa_client(account)
    client.message.send_template(openid, "template-1", {})
    client.message.send_mass_text("x", is_to_all=True)
    sandbox.flush()
    assert len(shop.at(account["key"])) == 2
    shop.answer = (500, b"")
    client.message.send_template(openid, "template-1", {})
    sandbox.flush()
    sandbox.advance(4)
    sandbox.flush()
    assert len(shop.at(account["key"])) == 3
    sandbox.post("reset")
    assert sandbox.get("callbacks") == []
