"""Offers as the product page shows them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from core import clock, statements
from shop.queries.visitors import OfferMark


@dataclass(frozen=True, slots=True)
class LiveOffer:
    """An offer of one of a product's SKUs, running or about to start within a day.

    `price_fen` of a presale counts what the deposit is worth. `state`: soon, open, gone (sold out), mine (she has as
    many as one person may). `is_waiting`: she is on the list.
    """

    offer_id: int
    sku_id: int
    sku_name: str
    kind: str
    name: str
    price_fen: int
    usual_fen: int
    quota: int
    left: int
    per_member_limit: int
    starts_at: datetime
    ends_at: datetime
    mine: int
    is_waiting: bool
    state: str


class OfferRow(NamedTuple):
    """An offer as it is for everybody: what `LiveOffer` begins with."""

    offer_id: int
    sku_id: int
    sku_name: str
    kind: str
    name: str
    price_fen: int
    usual_fen: int
    quota: int
    left: int
    per_member_limit: int
    starts_at: datetime
    ends_at: datetime


def offers_of(product_id: int) -> list[OfferRow]:
    """Special prices of a product that run or start within a day, the cheapest of each SKU first. One statement.

    Group offers are taken through their team and not shown here.
    """
    moment = clock.now()
    found = statements.rows(
        """
        SELECT o.id, o.sku_id, s.name, o.kind, o.name,
               o.price_fen - coalesce(z.worth_fen - z.deposit_fen, 0), s.price_fen, o.quota,
               greatest(o.quota - o.taken, 0), o.per_member_limit, o.starts_at, o.ends_at
        FROM shop_offer o
        JOIN shop_sku s ON s.id = o.sku_id AND s.is_active
        LEFT JOIN shop_presale z ON z.offer_id = o.id
        WHERE s.product_id = %s AND o.is_active AND o.kind <> 'group'
          AND (o.kind = 'presale') = (z.id IS NOT NULL)
          AND o.ends_at > %s AND o.starts_at < %s
        ORDER BY o.sku_id, 6, o.id
        """,
        [product_id, moment, moment + timedelta(days=1)],
    )
    return [OfferRow(*row) for row in found]


@dataclass(frozen=True, slots=True)
class FlashRow:
    """A flash sale that leads to its product. The picture is a thumbnail's address in the storage, "" without one."""

    offer_id: int
    product_id: int
    product_name: str
    sku_name: str
    price_fen: int
    usual_fen: int
    quota: int
    left: int
    starts_at: datetime
    ends_at: datetime
    image: str
    image_width: int
    image_height: int


def flash_offers(*, limit: int = 8) -> list[FlashRow]:
    """Flash sales of products on sale that run or start within a day: those that end first, then those that come.

    What is sold out stands behind what can be had. One statement.
    """
    moment = clock.now()
    found = statements.rows(
        """
        SELECT o.id, p.id, p.name, s.name, o.price_fen, s.price_fen, o.quota, greatest(o.quota - o.taken, 0),
               o.starts_at, o.ends_at, coalesce(i.file, ''), coalesce(i.width, 0), coalesce(i.height, 0)
        FROM shop_offer o
        JOIN shop_sku s ON s.id = o.sku_id AND s.is_active
        JOIN shop_product p ON p.id = s.product_id AND p.status = 'on_sale'
        LEFT JOIN LATERAL (
            SELECT coalesce(nullif(i.thumbnail, ''), i.image) AS file, i.width, i.height
            FROM shop_productimage i WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
        ) i ON true
        WHERE o.kind = 'flash' AND o.is_active AND o.ends_at > %s AND o.starts_at < %s
        ORDER BY o.starts_at > %s, o.taken >= o.quota,
                 CASE WHEN o.starts_at > %s THEN o.starts_at ELSE o.ends_at END, o.id
        LIMIT %s
        """,
        [moment, moment + timedelta(days=1), moment, moment, limit],
    )
    return [FlashRow(*row) for row in found]


def live_offers(offers: Iterable[OfferRow], marks: Mapping[int, OfferMark]) -> list[LiveOffer]:
    """What the product page tells somebody about special prices: one of each SKU, what runs and is left first.

    A first-order price only to who has not bought yet. No statement.
    """
    moment = clock.now()
    best: dict[int, LiveOffer] = {}
    for one in sorted(offers, key=lambda row: (row.starts_at > moment, row.left == 0)):
        mark = marks.get(one.offer_id, OfferMark())
        if one.ends_at <= moment or (one.kind == "first_order" and mark.has_paid):
            continue
        state = _state(one, mark.taken, moment)
        shown = LiveOffer(*one, mine=mark.taken, is_waiting=mark.is_waiting, state=state)
        best.setdefault(one.sku_id, shown)
    return [best[sku_id] for sku_id in sorted(best)]


def _state(one: OfferRow, mine: int, at: datetime) -> str:
    if one.starts_at > at:
        return "soon"
    if mine >= one.per_member_limit:
        return "mine"
    return "open" if one.left else "gone"
