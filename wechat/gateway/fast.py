"""Many small POSTs to one platform at once: aiohttp on uvloop in a thread of its own, 64 in flight.

It only exchanges bytes; what an answer means for a message is the sender's business. Nothing is repeated here.
"""

import asyncio
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from wechat.gateway.addresses import is_local

try:
    from uvloop import new_event_loop
except ImportError:  # where uvloop does not exist the standard loop does
    from asyncio import new_event_loop  # type: ignore[assignment]

IN_FLIGHT = 64
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=8)


class Exchange(NamedTuple):
    """What came of one POST. `failure` is "" for an answer, "not_reached" (surely not sent) or "no_answer"."""

    message_id: int
    failure: str
    answer: dict[str, object]


class FastSender:
    """Use as a context manager; `submit` and `take` from one thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._loop = new_event_loop()
        self._waiting: deque[tuple[int, URL, bytes]] = deque()
        self._more = asyncio.Event()
        self._done: list[Exchange] = []
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fast-sender", daemon=True)
        self._closing = False
        self.dropped: list[int] = []  # surely not sent: an error ended the sending before their turn

    def __enter__(self) -> "FastSender":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for what is in flight; what has not begun is dropped when an error ends the sending."""
        while kind is not None and self._waiting:
            with suppress(IndexError):  # the other thread took the last one
                self.dropped.append(self._waiting.popleft()[0])
        self._closing = True
        self._loop.call_soon_threadsafe(self._more.set)
        self._thread.join()

    def submit(self, token: str, documents: list[tuple[int, bytes]]) -> None:
        address = URL(f"{self.url}?access_token={token}", encoded=True)
        self._waiting.extend((message_id, address, body) for message_id, body in documents)
        self._loop.call_soon_threadsafe(self._more.set)

    def take(self, at_least: int, timeout: float) -> list[Exchange]:
        """Exchanges that have ended; waits for `at_least` of them, at most `timeout` seconds."""
        with self._ready:
            self._ready.wait_for(lambda: len(self._done) >= at_least, timeout)
            done, self._done = self._done, []
        return done

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._exchange_all())
        finally:
            self._loop.close()

    async def _exchange_all(self) -> None:
        local = is_local(urlsplit(self.url).hostname or "")
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ttl_dns_cache=60)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=TIMEOUT,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json; charset=utf-8"},
            trust_env=not local,
        ) as session:
            await asyncio.gather(*(self._work(session) for _ in range(IN_FLIGHT)))

    async def _work(self, session: aiohttp.ClientSession) -> None:
        waiting = self._waiting
        while True:
            if not waiting:
                if self._closing:
                    self._more.set()
                    return
                self._more.clear()
                if not waiting and not self._closing:
                    await self._more.wait()
                continue
            message_id, url, body = waiting.popleft()
            exchange = await self._exchange(session, message_id, url, body)
            with self._ready:
                self._done.append(exchange)
                self._ready.notify()

    async def _exchange(
        self, session: aiohttp.ClientSession, message_id: int, url: URL, body: bytes
    ) -> Exchange:
        try:
            async with session.post(url, data=body, allow_redirects=False) as response:
                answered = await response.read()
                if response.status >= 500:
                    return Exchange(message_id, "no_answer", {"errmsg": f"http {response.status}"})
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Exchange(message_id, "not_reached", {})
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Exchange(message_id, "no_answer", {})
        try:
            answer = orjson.loads(answered)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            return Exchange(message_id, "no_answer", {"errmsg": "not the platform's protocol"})
        return Exchange(message_id, "", answer)
