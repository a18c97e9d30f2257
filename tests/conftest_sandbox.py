"""The real sandbox as a fixture: one process for the session, reset for every test that asks for it.

    def test_follow(db, sandbox):
        brand = sandbox.account("brand")            # a wechat.Account wired to the sandbox
        her = sandbox.person("小满")                  # {"id", "openids": {appid: openid}, "unionid", …}
        sandbox.post(f"people/{her['id']}/follow", account="brand")
        sandbox.deliver()                            # its callbacks, through Django's test client, in this thread
        sandbox.advance(3600)                        # its clock and core.clock together

`deliver` works inside the test's own transaction. For a live server: `sandbox.forward_to(live_server.url)`.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Delivered:
    """One callback as the sandbox sent it, and what Pond answered when it was delivered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer: bytes = b""


@dataclass
class Relay:
    """Where the sandbox's callbacks arrive: kept for `deliver`, or passed on to a live server."""

    base: str = ""
    target: str = ""
    waiting: list[Delivered] = field(default_factory=list)


def _relay_handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            delivered = Delivered(self.path, dict(self.headers.items()), body)
            status, answer = 200, b"success"
            if relay.target:
                headers = {name: value for name, value in delivered.headers.items() if name.lower() != "host"}
                response = requests.request(
                    self.command, relay.target + self.path, data=body, headers=headers, timeout=60
                )
                status, answer = response.status_code, response.content
            else:
                relay.waiting.append(delivered)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class Sandbox:
    """The handles of a running sandbox."""

    def __init__(self, base: str, relay: Relay, clock_file: Path) -> None:
        self.base, self.relay, self.clock_file = base, relay, clock_file
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, place: str, /, **query: Any) -> Any:
        return self._answer(self.session.get(f"{self.base}/sandbox/api/{place}", params=query, timeout=60))

    def post(self, place: str, /, **body: Any) -> Any:
        return self._answer(self.session.post(f"{self.base}/sandbox/api/{place}", json=body, timeout=60))

    def delete(self, path: str) -> Any:
        return self._answer(self.session.delete(f"{self.base}/sandbox/api/{path}", timeout=60))

    @staticmethod
    def _answer(response: requests.Response) -> Any:
        assert response.status_code < 300, f"{response.status_code} {response.text[:500]}"
        return response.json()

    def credentials(self, key: str) -> dict[str, Any]:
        """The account as the sandbox knows it, secrets included."""
        return next(one for one in self.get("accounts") if one["key"] == key)

    def account(self, key: str) -> Any:
        """The sandbox's account ("brand", "event", "news", "corp", "pay") as a wechat.Account."""
        from wechat.services import set_account

        given = self.credentials(key)
        names = (
            *(
                "name",
                "appid",
                "corpid",
                "agentid",
                "secret",
                "token",
                "aes_key",
                "mode",
                "jssdk_url",
                "api_base",
            ),
            *("mchid", "apiv3_key", "merchant_key", "merchant_serial", "public_key", "public_key_id"),
        )
        fields = {name: given[name] for name in names if given.get(name)}
        if given["kind"] in ("work", "pay"):
            fields.pop("mode", None)
        return set_account(kind=given["kind"], key=key, fields=fields)[0]

    def person(self, name: str = "小满") -> dict[str, Any]:
        return self.post("people", name=name)

    def fault(self, **fault: Any) -> Any:
        return self.post("faults", **fault)

    def calls(self, path: str) -> int:
        """How often this path was called since the reset."""
        return int(self.get("calls", path=path)["total"])

    def inbox(self, person: dict[str, Any], channel: str = "") -> list[dict[str, Any]]:
        query = {"channel": channel} if channel else {}
        return self.get(f"people/{person['id']}/inbox", **query)

    def advance(self, seconds: float) -> None:
        """Move the clock of the sandbox, and with it `core.clock`."""
        self.post("clock", advance_seconds=seconds)

    def forward_to(self, url: str) -> None:
        """Pass callbacks on to a live server at once."""
        self.relay.target = url.rstrip("/")

    def deliver(self, *, times: int = 1) -> list[Delivered]:
        """Let due callbacks out and post each to Pond `times` times; what was delivered, with Pond's answers."""
        self.post("callbacks/flush")
        waiting, self.relay.waiting[:] = list(self.relay.waiting), []
        client = Client(raise_request_exception=False)
        for delivered in waiting:
            for _ in range(times):
                self.redeliver(delivered, client)
        return waiting

    def redeliver(self, delivered: Delivered, client: Client | None = None) -> Delivered:
        headers = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in delivered.headers.items()
            if name.lower() not in ("content-type", "content-length", "host")
        }
        response = (client or Client()).generic(
            "POST",
            delivered.path,
            delivered.body,
            content_type=delivered.headers.get("Content-Type", ""),
            **headers,
        )
        delivered.status, delivered.answer = response.status_code, response.content
        return delivered


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    relay = Relay()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _relay_handler(relay))
    relay.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    folder = tmp_path_factory.mktemp("sandbox")
    port, clock_file = _free_port(), folder / "clock.json"
    with open(folder / "sandbox.log", "wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "wechat.sandbox", "--port", str(port), "--state-dir", ":memory:"),
                *("--clock-file", str(clock_file), "--shop-base", relay.base, "--answer-seconds", "60"),
            ],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Sandbox(f"http://127.0.0.1:{port}", relay, clock_file)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                running.get("clock")
                break
            except requests.RequestException:
                log = (folder / "sandbox.log").read_text(errors="replace")
                assert process.poll() is None, f"the sandbox ended:\n{log[-3000:]}"
                assert time.monotonic() < deadline, f"no sandbox:\n{log[-3000:]}"
                time.sleep(0.1)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
        server.shutdown()


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Any) -> Iterator[Sandbox]:
    """A sandbox without people, messages and faults, its clock at the present; Pond's clock follows it."""
    from wechat.gateway import tokens

    sandbox_process.post("reset")
    sandbox_process.delete("calls")
    sandbox_process.relay.waiting.clear()
    sandbox_process.relay.target = ""
    if not sandbox_process.clock_file.exists():
        sandbox_process.clock_file.write_text(json.dumps({"offset_seconds": 0}))
    settings.CLOCK_FILE = str(sandbox_process.clock_file)
    tokens.forget_remembered()
    yield sandbox_process
    sandbox_process.relay.target = ""
    tokens.forget_remembered()
