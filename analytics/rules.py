"""Comparisons and shares as people read them. Pure functions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """How a figure moved against the time before. `percent` is None when there was nothing to compare with."""

    percent: int | None
    direction: str  # "up" | "down" | "same"
    is_good: bool | None  # None: neither

    @property
    def percent_text(self) -> str:
        """Without the sign: an arrow says it."""
        return "" if self.percent is None else str(abs(self.percent))


def change(now: int, before: int, *, more_is_good: bool = True) -> Change:
    """The change in whole percent, capped at ±999 so that a first busy day does not shout."""
    if now == before:
        return Change(0 if before else None, "same", None)
    direction = "up" if now > before else "down"
    percent = None if before == 0 else max(-999, min(999, round(100 * (now - before) / before)))
    return Change(percent, direction, (direction == "up") == more_is_good)


def share(part: int, whole: int) -> float:
    """Percent with one decimal; 0 of nothing."""
    return round(100 * part / whole, 1) if whole else 0.0
