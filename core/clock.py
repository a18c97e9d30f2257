"""The only source of time. In the sandbox a shared file moves it; in tests `travel` does."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

_travelled: datetime | timedelta | None = None
_file_state: tuple[int, timedelta] = (-1, timedelta())


def now() -> datetime:
    """The present moment, aware, in UTC."""
    if isinstance(_travelled, datetime):
        return _travelled
    moment = datetime.now(UTC)
    if isinstance(_travelled, timedelta):
        return moment + _travelled
    if settings.CLOCK_FILE:
        return moment + _file_offset(settings.CLOCK_FILE)
    return moment


def _file_offset(path: str) -> timedelta:
    """The sandbox's offset, re-read only when the file changed; no file means no offset."""
    global _file_state
    try:
        changed = os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return timedelta()
    if changed != _file_state[0]:
        try:
            with open(path, encoding="utf-8") as file:
                offset = timedelta(seconds=json.load(file)["offset_seconds"])
        except (ValueError, KeyError):
            return _file_state[1]
        _file_state = (changed, offset)
    return _file_state[1]


def zone() -> ZoneInfo:
    """The shop's time zone: its calendar days are what operators mean by a day."""
    return ZoneInfo(settings.TIME_ZONE)


def local(moment: datetime) -> datetime:
    return moment.astimezone(zone())


def today() -> date:
    return local(now()).date()


def day_start(day: date) -> datetime:
    """Midnight at which the shop's `day` begins, aware."""
    return datetime.combine(day, time(), tzinfo=zone())


@contextmanager
def travel(to: datetime | timedelta) -> Iterator[None]:
    """For tests: stand still at a moment, or run shifted by a delta."""
    global _travelled
    before, _travelled = _travelled, to
    try:
        yield
    finally:
        _travelled = before
