"""Pure rules of points: how much an order gives and keeps, when points expire, what a day in a row brings.

No Django, no clock, no database.
"""

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

WHOLE = 10_000  # basis points


@dataclass(frozen=True)
class Rate:
    """What one order earns by; frozen with its earning, so that refunds count by the rates of then."""

    per_100_yuan: int
    tier_bps: int = WHOLE
    birthday_bps: int = WHOLE

    def of(self, parts: Iterable[tuple[int, int]]) -> int:
        """Points for `parts` of (fen, the category's multiplier in bps), rounded down once, at the end."""
        weighed = sum(fen * bps for fen, bps in parts)
        # fen → 100 yuan, and three multipliers per ten thousand
        return weighed * self.per_100_yuan * self.tier_bps * self.birthday_bps // (WHOLE * WHOLE**3)


def is_birthday(born: date | None, today: date, *, whole_month: bool) -> bool:
    """Who was born on 29 February has her birthday on the 28th in other years."""
    if born is None or born.month != today.month:
        return False
    last = calendar.monthrange(today.year, today.month)[1]
    return whole_month or min(born.day, last) == today.day


def expires_after(day: date, months: int, zone: tzinfo) -> datetime | None:
    """The midnight that ends the last day of points which can be spent since `day`; None: they never expire.

    31 August + 6 months is the last day of February.
    """
    if not months:
        return None
    count = day.month - 1 + months
    year, month = day.year + count // 12, count % 12 + 1
    last = date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
    return datetime.combine(last + timedelta(days=1), datetime.min.time(), tzinfo=zone)


def streak_of(today: date, last: tuple[date, int] | None) -> int:
    """Days in a row, today included; `last` is her last sign-in before today and its streak."""
    return last[1] + 1 if last and last[0] == today - timedelta(days=1) else 1


def has_bonus(streak: int, streak_days: int) -> bool:
    """Every so many days in a row."""
    return streak_days > 0 and streak % streak_days == 0


def period_of(period: str, day: date) -> str:
    """The name of the period that a day lies in: "" (once), "2026-03-04", "2026-W10" (ISO 8601), "2026-03"."""
    if period == "day":
        return f"{day:%Y-%m-%d}"
    if period == "week":
        year, week, _weekday = day.isocalendar()
        return f"{year}-W{week:02d}"
    return f"{day:%Y-%m}" if period == "month" else ""
