"""The sandbox's own interface: clock, faults, counters, state that survives, speed."""

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from wechatpy.exceptions import WeChatClientException

from tests.sandbox.conftest import Sandbox, Shop, free_port, start_sandbox
from tests.sandbox.test_accounts import refusal


def test_the_clock_moves_and_comes_back(sandbox: Sandbox) -> None:
    before = sandbox.get("clock")["now"]
    moved = sandbox.post("clock", advance_seconds=86_400)
    assert moved["offset_seconds"] == 86_400
    assert 86_400 <= moved["now"] - before < 86_410
    assert sandbox.post("clock", offset_seconds=0)["offset_seconds"] == 0
    sandbox.post("clock", expect=400, advance_seconds="soon")
    sandbox.post("clock", expect=400, advance_seconds=1e12)


def test_call_faults_show_codes_statuses_and_lost_connections(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    person, openid = sandbox.follower(account, message=[account["key"]])
    client.message.send_text(openid, "0")
    for code in (-1, 40001, 45011):
        sandbox.post("faults", match="/cgi-bin/message/custom/send", errcode=code)
        assert refusal(client.message.send_text, openid, "x") == code
    sandbox.post("faults", match="/cgi-bin/message/", drop=True, effect="before")
    with pytest.raises((requests.ConnectionError, WeChatClientException)):
        client.message.send_text(openid, "lost before")
    sandbox.post("faults", match="/cgi-bin/message/", drop=True, effect="after")
    with pytest.raises((requests.ConnectionError, WeChatClientException)):
        client.message.send_text(openid, "lost after")
    sandbox.post("faults", match="/cgi-bin/message/", http_status=502)
    with pytest.raises((requests.HTTPError, WeChatClientException)):
        client.message.send_text(openid, "gateway")
    assert [one["text"] for one in sandbox.inbox(person)] == ["0", "lost after"]
    fault = sandbox.post("faults", match="/cgi-bin/tags/", errcode=45009, times=-1, account=account["key"])
    assert refusal(client.tag.get) == refusal(client.tag.get) == 45009
    oa_client(sandbox.account()).tag.get()
    sandbox.delete(f"faults/{fault['id']}")
    client.tag.get()
    sandbox.post("faults", match="/cgi-bin/tags/", delay_ms=300)
    started = time.monotonic()
    client.tag.get()
    assert time.monotonic() - started >= 0.3
    sandbox.post("faults", expect=400, oops=1)


def test_calls_are_counted(sandbox: Sandbox, oa_client: Any) -> None:
    account = sandbox.account()
    client = oa_client(account)
    client.tag.get()
    client.tag.get()
    assert refusal(client.tag.update, 1, "x") == 45058
    calls = sandbox.get("calls", path="/cgi-bin/tags", account=account["key"])
    assert calls["by_path"] == {"/cgi-bin/tags/get": 2, "/cgi-bin/tags/update": 1}
    assert (calls["total"], calls["errors"]) == (3, 1)
    assert calls["recent"][0]["errcode"] == 45058


def test_everything_survives_a_restart_and_almost_everything_a_kill(shop: Shop, tmp_path: Path) -> None:
    port, state, clock = free_port(), tmp_path / "state", tmp_path / "clock.json"
    more = ("--clock-file", str(clock))
    process = start_sandbox(port, *more, state=str(state), shop_base=shop.base)
    sandbox = Sandbox(f"http://127.0.0.1:{port}")
    try:
        credentials = json.loads((state / "credentials.json").read_text())
        assert stat.S_IMODE(os.stat(state / "credentials.json").st_mode) == 0o600
        assert [one["key"] for one in credentials] == ["brand", "event", "news", "corp", "pay"]
        assert [one["mode"] for one in credentials[:3]] == ["safe", "compatible", "plain"]
        assert set(credentials[4]) >= {
            "appid",
            "mchid",
            "apiv3_key",
            "merchant_key",
            "public_key_id",
            "api_base",
        }
        assert {one["name"] for one in sandbox.get("members")} == {"李娜", "王伟", "赵敏"}
        person = sandbox.get("people")[0]
        sandbox.act(person, "follow", account="brand")
        sandbox.advance(3600)
        assert json.loads(clock.read_text()) == {"offset_seconds": 3600}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process = start_sandbox(port, *more, state=str(state), shop_base=shop.base)
        assert sandbox.get(f"people/{person['id']}") == {**person, "follows": ["brand"]}
        assert sandbox.get("clock")["offset_seconds"] == 3600
        assert json.loads((state / "credentials.json").read_text()) == credentials
        shop.received.clear()
        shop.answer = (500, b"")
        sandbox.act(person, "follow", account="event")
        sandbox.flush()
        sandbox.post("flush_state")
        process.kill()
        process.wait(60)
        sent = len(shop.at("event"))  # a slow machine has had a repetition before the kill
        process = start_sandbox(port, *more, state=str(state), shop_base=shop.base)
        assert sandbox.get(f"people/{person['id']}")["follows"] == ["brand", "event"]
        shop.answer = (200, b"")
        sandbox.advance(5)
        sandbox.flush()
        assert len(shop.at("event")) > sent > 0, "what waited is still repeated after the kill"
        new = sandbox.person()
        assert new["id"] not in {one["id"] for one in sandbox.get("people") if one["name"] != "小雨"}
    finally:
        process.kill()
        process.wait(60)


def test_people_can_be_brought_in_with_the_identities_they_have(sandbox: Sandbox) -> None:
    account, corp = sandbox.account(), sandbox.account("work")
    given = {
        "name": "老客",
        "openids": {account["appid"]: "oKnown1"},
        "unionid": "o6Known",
        "external_userid": "wmKnown",
    }
    made = sandbox.post("people", people=[given], follow=[account["key"]])["people"][0]
    assert made["openids"][account["appid"]] == "oKnown1"
    assert (made["unionid"], made["external_userid"]) == ("o6Known", "wmKnown")
    assert made["follows"] == [account["key"]]
    sandbox.act(made, "add_contact", account=corp["key"], userid="lina")
    assert sandbox.get("guides/lina/customers", account=corp["key"])[0]["external_userid"] == "wmKnown"


def test_wrong_calls_of_the_interface_are_told(sandbox: Sandbox) -> None:
    sandbox.post("accounts", expect=400, kind="game", key="x")
    sandbox.post("accounts", expect=400, kind="service", key="../x")
    sandbox.post("people/nobody/follow", expect=404, account="x")
    assert requests.get(f"{sandbox.base}/sandbox/api/nothing", timeout=10).status_code == 404
    assert requests.delete(f"{sandbox.base}/sandbox/api/clock", timeout=10).status_code == 405
    assert requests.post(f"{sandbox.base}/sandbox/api/clock", data=b"{", timeout=10).status_code == 400
    assert requests.get(f"{sandbox.base}/sandbox/static/../server.py", timeout=10).status_code == 404


def test_the_phone_shows_what_it_needs(sandbox: Sandbox, oa_client: Any) -> None:
    account, corp = sandbox.account(name="池塘"), sandbox.account("work")
    oa_client(account).menu.create({"button": [{"type": "click", "name": "客服", "key": "help"}]})
    person, _ = sandbox.follower(account)
    sandbox.act(person, "add_contact", account=corp["key"], userid="lina")
    phone = sandbox.get(f"people/{person['id']}/phone")
    assert phone["accounts"][0]["following"]
    assert phone["accounts"][0]["menu"][0]["name"] == "客服"
    assert phone["contacts"][0]["name"] == "李娜"
    page = requests.get(f"{sandbox.base}/?person={person['id']}", timeout=10)
    assert page.cookies["sandbox_person"] == person["id"]
    assert requests.get(f"{sandbox.base}/control", timeout=10).status_code == 200
    assert "javascript" in requests.get(f"{sandbox.base}/jweixin.js", timeout=10).headers["Content-Type"]
