"""RFM by month as sentences: which named group a score belongs to, and which months are to be counted."""

import datetime as dt

from crm.models.lifecycle import CELLS, HIGH

MONTHS_BEHIND = 12
"""So far back the first count goes."""

MONTHS_KEPT = 24
"""So long each member's own score is kept; the counts of the groups stay."""


def cell_sql(score: str) -> str:
    """The named group of a score; `score` is a column or an expression. '' for NULL."""
    digits = (f"{score} / 100", f"{score} / 10 %% 10", f"{score} %% 10")
    cases = " ".join(
        "WHEN "
        + " AND ".join(
            f"{digit} {'>=' if high else '<'} {HIGH}" for digit, high in zip(digits, highs, strict=True)
        )
        + f" THEN '{word}'"
        for word, (highs, _label) in CELLS.items()
    )
    return f"CASE WHEN {score} IS NULL THEN '' {cases} END"


def month_of(day: dt.date) -> dt.date:
    return day.replace(day=1)


def months_later(month: dt.date, count: int) -> dt.date:
    """The first day of the month so many months after (before, when negative)."""
    number = month.year * 12 + month.month - 1 + count
    return dt.date(number // 12, number % 12 + 1, 1)


def months_due(*, today: dt.date, first_purchase: dt.date, newest: dt.date | None) -> list[dt.date]:
    """Months that have ended and are not counted, the eldest first; at most MONTHS_BEHIND of them."""
    this = month_of(today)
    month = max(
        months_later(this, -MONTHS_BEHIND),
        months_later(newest, 1) if newest else month_of(first_purchase),
    )
    due = []
    while month < this:
        due.append(month)
        month = months_later(month, 1)
    return due
