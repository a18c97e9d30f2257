"""Where a page of a long list ended, as the address of the next one says it: whole numbers, `25_1003`.

The next page begins behind these values instead of counting rows from the start, so the hundredth page costs what the
first does, and nothing is shown twice when something new comes in at the top.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)

_CURSOR = re.compile(r"-?[0-9]{1,18}(?:_-?[0-9]{1,18}){0,3}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cursor(*values: int | bool | datetime) -> str:
    """The values of a page's last row, moments to the microsecond."""
    numbers = [
        (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else int(value)
        for value in values
    ]
    return "_".join(str(number) for number in numbers)


def asked(text: str | None) -> str:
    """A cursor from an address line; empty (the first page) for what is none."""
    return text if text and _CURSOR.fullmatch(text) else ""


def values(text: str, count: int) -> tuple[int, ...] | None:
    """Exactly so many numbers, each fit for a bigint; None otherwise."""
    numbers = tuple(int(part) for part in text.split("_")) if asked(text) else ()
    return numbers if len(numbers) == count else None


def moment(number: int) -> datetime | None:
    """The moment that `cursor` wrote; None beyond the years that there are."""
    try:
        return _EPOCH + timedelta(microseconds=number)
    except OverflowError:
        return None


def behind(rows: "QuerySet[Row]", column: str, after: str) -> "QuerySet[Row]":
    """What follows a cursor of a moment and an id, the newest first; everything for no cursor, or one that is none."""
    rows = rows.order_by(f"-{column}", "-pk")
    place = values(after, 2)
    at = moment(place[0]) if place else None
    if place is None or at is None:
        return rows
    return rows.filter(**{f"{column}__lte": at}).filter(Q(**{f"{column}__lt": at}) | Q(pk__lt=place[1]))
