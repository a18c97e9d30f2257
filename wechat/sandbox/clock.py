"""The sandbox's own time: the system's clock plus an offset that other programs may read from a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

BEIJING = timezone(timedelta(hours=8))


class Clock:
    """Seconds since 1970, movable. The platforms count days and months in Beijing time."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.offset_seconds = 0.0
        self.moved: list[Callable[[], None]] = []
        self._known: tuple[int, tuple[str, str]] = (-1, ("", ""))
        if path and path.exists():
            try:
                self.offset_seconds = float(json.loads(path.read_text())["offset_seconds"])
            except (ValueError, KeyError, TypeError):
                self.offset_seconds = 0.0

    def now(self) -> float:
        """Seconds since 1970 by the sandbox's clock."""
        return time.time() + self.offset_seconds

    def beijing(self, at: float | None = None) -> datetime:
        """The Beijing wall clock."""
        return datetime.fromtimestamp(self.now() if at is None else at, BEIJING)

    def day(self) -> str:
        """The natural day in which quotas are counted, such as 2026-11-21."""
        return self._day_and_month()[0]

    def month(self) -> str:
        """The natural month in which caps are counted, such as 2026-11."""
        return self._day_and_month()[1]

    def _day_and_month(self) -> tuple[str, str]:
        # Asked for with every call, so it is worked out once a second.
        second = int(self.now())
        if self._known[0] != second:
            wall = self.beijing(second)
            self._known = (second, (wall.strftime("%Y-%m-%d"), wall.strftime("%Y-%m")))
        return self._known[1]

    def rfc3339(self, at: float | None = None) -> str:
        """A moment as WeChat Pay writes it, such as 2026-11-21T20:00:00+08:00."""
        return self.beijing(at).replace(microsecond=0).isoformat()

    def move_to(self, offset_seconds: float) -> None:
        """Set the offset, write it for other programs, and wake whoever waits for a moment."""
        self.offset_seconds = float(offset_seconds)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            shown = (
                int(self.offset_seconds)
                if self.offset_seconds == int(self.offset_seconds)
                else self.offset_seconds
            )
            scratch = self.path.with_suffix(f".{os.getpid()}.tmp")
            scratch.write_text(json.dumps({"offset_seconds": shown}))
            os.replace(scratch, self.path)
        for wake in self.moved:
            wake()
