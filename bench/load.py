"""A small HTTP/1.1 client for load: raw keep-alive connections on uvloop, so that the server is what is measured."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import uvloop

Request = bytes
"""A whole HTTP request, ready to be written."""


def request(
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    host: str = "127.0.0.1",
) -> Request:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Outcome:
    """What came back: seconds of the whole run, status → count, each answer's latency in ms; how much of a processor
    the client itself took meanwhile.
    """

    seconds: float = 0.0
    client_cores: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: Request) -> int:
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    if at >= 0:
        length = int(lowered[at + 15 : lowered.index(b"\r\n", at)])
        if length:
            await reader.readexactly(length)
    elif b"transfer-encoding: chunked" in lowered:
        while (size := int(await reader.readline(), 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    return status


class _Caller(asyncio.Protocol):
    """One connection of `closed_loop`: the next request goes out when the answer is there. No task, no stream, so that
    the client leaves the cores to what is measured.
    """

    def __init__(self, requests: Iterator[Request], outcome: Outcome, until: float) -> None:
        self._requests, self._outcome, self._until = requests, outcome, until
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._got, self._waits = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._ask()

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        message = next(self._requests, None) if self._sent < self._until else None
        self._waits = message is not None
        if message is None:
            self._transport.close()
        else:
            self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        self._got = got = self._got + data if self._got else data
        if not _is_whole(got):
            return
        self._got = b""
        self._outcome.latencies.append((time.perf_counter() - self._sent) * 1000)
        status = int(got[9:12])
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            self.ended.set_exception(exc or ConnectionError("the server hung up without an answer"))
        else:
            self.ended.set_result(None)


def _is_whole(got: bytes) -> bool:
    """Whether head and body of an answer are there."""
    end = got.find(b"\r\n\r\n") + 4
    if end < 4:
        return False
    head = got[:end].lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(got) >= end + int(head[at + 15 : head.index(b"\r\n", at)])
    return b"transfer-encoding: chunked" not in head or got.endswith(b"\r\n0\r\n\r\n", end - 2)


def closed_loop(
    port: int, requests: Iterator[Request], *, connections: int, seconds: float | None = None
) -> Outcome:
    """As fast as answers come, until the requests run out or the seconds are over."""

    async def run() -> Outcome:
        outcome = Outcome()
        started, burnt = time.perf_counter(), time.process_time()
        until = started + seconds if seconds is not None else float("inf")
        loop = asyncio.get_running_loop()
        callers = [
            (await loop.create_connection(lambda: _Caller(requests, outcome, until), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(caller.ended for caller in callers))
        outcome.seconds = time.perf_counter() - started
        outcome.client_cores = (time.process_time() - burnt) / outcome.seconds
        return outcome

    return uvloop.run(run())


def open_loop(
    port: int, make: Callable[[int], Request], *, rate: int, seconds: float, connections: int
) -> Outcome:
    """Requests at a fixed rate whatever the answers do; latency counts from the moment a request was due."""

    async def run() -> Outcome:
        outcome = Outcome()
        due: asyncio.Queue[tuple[float, int]] = asyncio.Queue()
        started = time.perf_counter()
        count = int(rate * seconds)

        async def clock() -> None:
            for number in range(count):
                moment = started + number / rate
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                due.put_nowait((moment, number))

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    moment, number = await due.get()
                    status = await _exchange(reader, writer, make(number))
                    outcome.latencies.append((time.perf_counter() - moment) * 1000)
                    outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                    if len(outcome.latencies) == count:
                        finished.set()
            finally:
                writer.close()

        finished = asyncio.Event()
        workers = [asyncio.create_task(one()) for _ in range(connections)]
        await clock()
        await asyncio.wait_for(finished.wait(), 30)
        outcome.seconds = time.perf_counter() - started
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return outcome

    return uvloop.run(run())
