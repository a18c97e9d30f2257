"""What is due at a moment of the sandbox's clock, which may jump."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from wechat.sandbox.clock import Clock


class Agenda:
    """Keys with their moments; `run` calls the handler when a moment has come, in order."""

    def __init__(self, clock: Clock, handler: Callable[[str], None]) -> None:
        self.clock = clock
        self.handler = handler
        self._heap: list[tuple[float, int, str]] = []
        self._count = 0
        self._wake = asyncio.Event()
        clock.moved.append(self._wake.set)

    def add(self, due: float, key: str) -> None:
        """Call the handler with this key at that moment."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        if self._heap[0][2] == key:
            self._wake.set()

    def clear(self) -> None:
        """Forget everything that was due."""
        self._heap.clear()

    def something_due(self) -> bool:
        """Whether a moment has come that was not handled yet."""
        return bool(self._heap) and self._heap[0][0] <= self.clock.now()

    def run_due(self) -> None:
        """Handle all whose moment has come."""
        while self.something_due():
            self.handler(heapq.heappop(self._heap)[2])

    def take_until(self, moment: float) -> list[str]:
        """The keys whose moment comes before this one; they are no longer on the agenda."""
        taken = []
        while self._heap and self._heap[0][0] <= moment:
            taken.append(heapq.heappop(self._heap)[2])
        return taken

    async def run(self) -> None:
        """Watch the clock for ever."""
        while True:
            self._wake.clear()
            self.run_due()
            wait = max(0.0, self._heap[0][0] - self.clock.now()) if self._heap else None
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue
