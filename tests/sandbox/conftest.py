"""A running sandbox, a shop that notes its callbacks, and unmodified clients pointed at the sandbox."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from wechat.sandbox import crypto

ROOT = Path(__file__).resolve().parents[2]
numbers = itertools.count(1)


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Delivery:
    """One request that the shop received."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Shop:
    """Receives callbacks. `answers` are given in turn, then `answer` for ever."""

    base: str
    received: list[Delivery] = field(default_factory=list)
    answers: list[tuple[int, bytes] | Callable[[Delivery], tuple[int, bytes]]] = field(default_factory=list)
    answer: tuple[int, bytes] | Callable[[Delivery], tuple[int, bytes]] = (200, b"success")
    pages: dict[str, str] = field(default_factory=dict)  # HTML by path

    def take(self, delivery: Delivery) -> tuple[int, bytes]:
        self.received.append(delivery)
        chosen = self.answers.pop(0) if self.answers else self.answer
        return chosen(delivery) if callable(chosen) else chosen

    def at(self, key: str) -> list[Delivery]:
        """What arrived for the account of this key."""
        return [one for one in self.received if f"/{key}/" in one.path]


@pytest.fixture(scope="session")
def shop_server() -> Iterator[Shop]:
    shop = Shop(base="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            delivery = Delivery(parts.path, query, dict(self.headers.items()), self.rfile.read(length))
            page = shop.pages.get(parts.path)
            status, body = (200, page.encode()) if page is not None else shop.take(delivery)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if page is not None:
                self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

        do_POST = do_GET = _answer

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shop.base = f"http://127.0.0.1:{server.server_port}"
    yield shop
    server.shutdown()
    server.server_close()


@pytest.fixture
def shop(shop_server: Shop) -> Shop:
    """The shop, with nothing received and every callback answered well."""
    shop_server.received.clear()
    shop_server.answers.clear()
    shop_server.pages.clear()
    shop_server.answer = (200, b"success")
    return shop_server


class Sandbox:
    """The sandbox's own interface, as the tests use it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.http = requests.Session()
        self.http.trust_env = False

    def get(self, address: str, /, **query: Any) -> Any:
        answer = self.http.get(f"{self.base}/sandbox/api/{address}", params=query, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, address: str, /, expect: int = 200, **body: Any) -> Any:
        answer = self.http.post(f"{self.base}/sandbox/api/{address}", json=body, timeout=60)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def delete(self, path: str) -> Any:
        return self.http.delete(f"{self.base}/sandbox/api/{path}", timeout=60).json()

    def account(self, kind: str = "service", **more: Any) -> dict[str, Any]:
        return self.post("accounts", kind=kind, key=f"{kind}{next(numbers)}", **more)

    def person(self, **more: Any) -> dict[str, Any]:
        return self.post("people", **{"name": "小雨", **more})

    def act(self, person: dict[str, Any], what: str, **more: Any) -> Any:
        return self.post(f"people/{person['id']}/{what}", **more)

    def inbox(self, person: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        return self.get(f"people/{person['id']}/inbox", **query)

    def advance(self, seconds: float) -> None:
        self.post("clock", advance_seconds=seconds)

    def flush(self) -> dict[str, int]:
        return self.post("callbacks/flush")

    def follower(self, account: dict[str, Any], **more: Any) -> tuple[dict[str, Any], str]:
        """A person who follows the account without callbacks, and her openid."""
        made = self.person(follow=[account["key"]], **more)
        return made, made["openids"][account["appid"]]


def start_sandbox(port: int, *more: str, state: str = ":memory:", shop_base: str) -> subprocess.Popen[bytes]:
    """Start the real process and wait until it answers."""
    command = [sys.executable, "-m", "wechat.sandbox", "--port", str(port), "--state-dir", state]
    process = subprocess.Popen(
        [*command, "--shop-base", shop_base, *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            if requests.get(f"http://127.0.0.1:{port}/sandbox/api/clock", timeout=5).ok:
                return process
        except requests.RequestException:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the sandbox did not start")


@pytest.fixture(scope="session")
def sandbox_server(shop_server: Shop) -> Iterator[Sandbox]:
    port = free_port()
    process = start_sandbox(port, "--no-demo-accounts", shop_base=shop_server.base)
    yield Sandbox(f"http://127.0.0.1:{port}")
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="session")
def pay_keys() -> dict[str, str]:
    """A merchant's and a platform's key for all tests: making keys takes longer than most of them."""
    merchant, platform = crypto.new_rsa_key(), crypto.new_rsa_key()
    return {
        "merchant_key": crypto.private_pem(merchant),
        "platform_key": crypto.private_pem(platform),
        "public_key": crypto.public_pem(platform),
    }


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Sandbox:
    """The sandbox without accounts, people and faults, at the machine's time."""
    sandbox_server.post("reset", accounts=True)
    return sandbox_server


class ToSandbox(HTTPAdapter):
    """Sends what was meant for the vendor to the sandbox; nothing else of the client changes."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def send(self, request: Any, **how: Any) -> Any:
        parts = urlsplit(request.url)
        request.url = f"{self.base}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, **how)


@pytest.fixture
def oa_client(sandbox: Sandbox) -> Callable[[dict[str, Any]], Any]:
    """wechatpy's own client for an Official Account."""
    from wechatpy import WeChatClient

    def make(account: dict[str, Any]) -> Any:
        client = WeChatClient(account["appid"], account["secret"], auto_retry=False)
        client._http.trust_env = False
        client._http.mount("https://", ToSandbox(sandbox.base))
        return client

    return make


@pytest.fixture
def work_client(sandbox: Sandbox) -> Callable[[dict[str, Any]], Any]:
    """wechatpy's own client for WeCom."""
    from wechatpy.work import WeChatClient

    def make(account: dict[str, Any]) -> Any:
        client = WeChatClient(account["corpid"], account["secret"], auto_retry=False)
        client._http.trust_env = False
        client._http.mount("https://", ToSandbox(sandbox.base))
        return client

    return make


@pytest.fixture(scope="session")
def keys_read_once() -> None:
    """wechatpayv3 reads the merchant's key for each client and proves its primes: longer than most tests take."""
    from wechatpayv3 import core

    core.load_private_key = cache(core.load_private_key)


@pytest.fixture
def pay_client(sandbox: Sandbox, keys_read_once: None) -> Callable[..., Any]:
    """wechatpayv3's own client in public-key mode."""
    from wechatpayv3 import WeChatPay, WeChatPayType

    def make(account: dict[str, Any], **more: Any) -> Any:
        client = WeChatPay(
            **{
                "wechatpay_type": WeChatPayType.JSAPI,
                "mchid": account["mchid"],
                "private_key": account["merchant_key"],
                "cert_serial_no": account["merchant_serial"],
                "apiv3_key": account["apiv3_key"],
                "appid": account["appid"],
                "notify_url": account["webhook_url"],
                "public_key": account["public_key"],
                "public_key_id": account["public_key_id"],
                "timeout": (5, 10),
                **more,
            }
        )
        client._core._gate_way = sandbox.base
        return client

    return make
