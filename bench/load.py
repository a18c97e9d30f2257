"""A small HTTP/1.1 client for load: raw keep-alive connections on uvloop, so that the server is what is measured."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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
    """What came back: seconds of the whole run, status → count, each answer's latency in ms."""

    seconds: float = 0.0
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


def closed_loop(
    port: int, requests: Iterator[Request], *, connections: int, seconds: float | None = None
) -> Outcome:
    """As fast as answers come, until the requests run out or the seconds are over."""

    async def run() -> Outcome:
        outcome = Outcome()
        started = time.perf_counter()

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for message in requests:
                sent = time.perf_counter()
                if seconds is not None and sent - started > seconds:
                    break
                status = await _exchange(reader, writer, message)
                outcome.latencies.append((time.perf_counter() - sent) * 1000)
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
            writer.close()

        await asyncio.gather(*(one() for _ in range(connections)))
        outcome.seconds = time.perf_counter() - started
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
