"""What is asked about a parcel and what comes back. Knows no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True)
class Parcel:
    """`phone_end` is the last four digits of the receiver's phone: some carriers want them."""

    carrier_code: str
    number: str
    phone_end: str
    shipped_at: datetime


@dataclass(frozen=True)
class Step:
    """One thing that happened; `state` is a word of `shop.logistics.STATES`."""

    at: datetime
    state: str
    text: str


@dataclass(frozen=True)
class Report:
    """What the carrier says now: all steps it knows (in any order), and a word for the operator when there are none."""

    steps: Sequence[Step]
    remark: str = ""


class TrackingUnavailable(Exception):
    """The provider did not answer, or refuses us; `retry_after` is when asking again makes sense."""

    def __init__(self, message: str, *, retry_after: timedelta = timedelta(minutes=10)) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Provider(Protocol):
    source: str  # of TrackingEvent.SOURCES
    asks: bool  # False: nothing is ever asked, staff type what happens

    def report(self, parcel: Parcel) -> Report:
        """Ask once. Raises TrackingUnavailable."""
