"""Pure rules of bookings and queues: which slots a day has, when to remind of them. No database, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

MAX_DAYS_AHEAD = 60
CHECK_IN_BEFORE = timedelta(hours=2)
# After the end of her slot a booking that nobody checked in counts as not come.
NO_SHOW_AFTER = timedelta(minutes=30)
DAY, HOURS = "day", "hours"
REMINDERS = {DAY: timedelta(days=1), HOURS: timedelta(hours=2)}
# The reminder of the day before comes at a civil hour, whatever hour the slot has.
EARLIEST_REMINDER, LATEST_REMINDER = time(9), time(20)
NOTIFY_AT_AHEAD = 2
# No 0, O, 1, I, L: a code is read out over a counter.
CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 8

Span = tuple[time, time]


@dataclass(frozen=True)
class Opening:
    """A weekly opening: `weekday` 0 is Monday."""

    weekday: int
    opens: time
    closes: time


@dataclass(frozen=True)
class DayRule:
    """What one day is instead of its weekday. `store_id` None: in every store; `opens` None: closed."""

    day: date
    store_id: int | None
    opens: time | None
    closes: time | None


def open_spans(day: date, store_id: int, openings: Iterable[Opening], rules: Iterable[DayRule]) -> list[Span]:
    """When a store is open that day. A rule of the store wins over one for all stores, any rule over the week."""
    todays = [rule for rule in rules if rule.day == day and rule.store_id in (None, store_id)]
    own = [rule for rule in todays if rule.store_id is not None]
    if chosen := own or todays:
        spans = [(rule.opens, rule.closes) for rule in chosen if rule.opens and rule.closes]
    else:
        spans = [(one.opens, one.closes) for one in openings if one.weekday == day.weekday()]
    return sorted(spans)


def slot_starts(spans: Iterable[Span], minutes: int) -> list[time]:
    """When slots of that length begin; each ends before its span does. Overlapping spans give no slot twice."""
    starts: set[time] = set()
    for opens, closes in spans:
        begin, end = _minute(opens), _minute(closes)
        while begin + minutes <= end:
            starts.add(time(begin // 60, begin % 60))
            begin += minutes
    return sorted(starts)


def _minute(at: time) -> int:
    return at.hour * 60 + at.minute


def reminder_due(kind: str, starts_at: datetime, made_at: datetime) -> datetime | None:
    """When to remind of a slot (local, aware); None when that moment is over, or too near to the booking itself."""
    due = starts_at - REMINDERS[kind]
    if kind == DAY:
        if due.time() < EARLIEST_REMINDER:
            due = due.replace(hour=EARLIEST_REMINDER.hour, minute=0)
        elif due.time() > LATEST_REMINDER:
            due = due.replace(hour=LATEST_REMINDER.hour, minute=0)
    return due if due > made_at + timedelta(minutes=30) else None
