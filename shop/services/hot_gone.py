"""Which offers are sold out, remembered for a moment: a crowd is answered without asking Postgres, which is the truth.

Each process remembers for a second and shares what it knows through the cache for two; a piece that comes back
forgets both. Who has pieces of the offer passes: she may be asking for an order that is placed already.
"""

import time
from collections.abc import Iterable
from typing import NamedTuple

import structlog
from django.conf import settings
from django.core.cache import cache

log = structlog.get_logger(__name__)

PROCESS_SECONDS, SHARED_SECONDS = 1.0, 2
MOST_TAKERS = 20_000
MOST_OFFERS = 1_000


class Gone(NamedTuple):
    """A sold-out offer: whose goods it sells, and which members have pieces."""

    product_id: int
    takers: frozenset[int]


class _Known(NamedTuple):
    until: float
    gone: Gone | None  # None: there are pieces, as far as anybody knows


_known: dict[int, _Known] = {}


def find_gone(offer_id: int, member_id: int) -> Gone | None:
    """The offer, when it was sold out a moment ago and the member has none of it."""
    known = _known.get(offer_id)
    if known is None or known.until < time.monotonic():
        # One asks the cache, the others go by what was known meanwhile.
        _keep(offer_id, known.gone if known else None)
        known = _keep(offer_id, _shared(offer_id))
    return known.gone if known.gone is not None and member_id not in known.gone.takers else None


def note_gone(offer_id: int, product_id: int, takers: Iterable[int]) -> None:
    """Postgres said that nothing is left; `takers` have pieces."""
    known = Gone(product_id, frozenset(takers))
    if len(known.takers) > MOST_TAKERS:
        return
    _keep(offer_id, known)
    try:
        cache.set(_name(offer_id), tuple(known), SHARED_SECONDS)
    except Exception as error:  # the cache is away: this process's own memory has to do
        log.info("sold_out_memory_away", error=type(error).__name__)


def forget_gone(offer_id: int) -> None:
    """Pieces came back, or more are for sale. Call after the commit."""
    _known.pop(offer_id, None)
    try:
        cache.delete(_name(offer_id))
    except Exception as error:
        log.info("sold_out_memory_away", error=type(error).__name__)


def _keep(offer_id: int, gone: Gone | None) -> _Known:
    if len(_known) >= MOST_OFFERS:
        _known.clear()
    lifetime: float = getattr(settings, "HOT_SECONDS", 0.0 if settings.TESTING else PROCESS_SECONDS)
    known = _known[offer_id] = _Known(time.monotonic() + lifetime, gone)
    return known


def _shared(offer_id: int) -> Gone | None:
    try:
        kept = cache.get(_name(offer_id))
    except Exception as error:
        log.info("sold_out_memory_away", error=type(error).__name__)
        return None
    return None if kept is None else Gone(*kept)


def _name(offer_id: int) -> str:
    return f"offer-gone:{offer_id}"
