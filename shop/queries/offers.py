"""Offers as the product page shows them."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from core import clock


@dataclass(frozen=True, slots=True)
class LiveOffer:
    """An offer of one of a product's SKUs, running or about to start within a day.

    `state`: soon, open, gone (sold out), mine (she has as many as one person may). `is_waiting`: she is on the list.
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


def live_offers(product_id: int, member_id: int | None) -> list[LiveOffer]:
    """What the product page tells about special prices, the cheapest of each SKU first. One statement.

    Group offers are taken through their team and not shown here; a first-order price only to who has not bought yet.
    """
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT ON (o.sku_id) o.id, o.sku_id, s.name, o.kind, o.name, o.price_fen, s.price_fen, o.quota,
                   greatest(o.quota - o.taken, 0), o.per_member_limit, o.starts_at, o.ends_at,
                   coalesce(t.taken, 0), w.id IS NOT NULL
            FROM shop_offer o
            JOIN shop_sku s ON s.id = o.sku_id AND s.is_active
            LEFT JOIN shop_offertally t ON t.offer_id = o.id AND t.member_id = %(member)s
            LEFT JOIN shop_offerwaiting w ON w.offer_id = o.id AND w.member_id = %(member)s AND w.told_at IS NULL
            WHERE s.product_id = %(product)s AND o.is_active AND o.kind <> 'group'
              AND o.ends_at > %(now)s AND o.starts_at < %(now)s + interval '1 day'
              AND (o.kind <> 'first_order' OR NOT EXISTS (
                  SELECT FROM shop_order b WHERE b.member_id = %(member)s AND b.paid_at IS NOT NULL
              ))
            ORDER BY o.sku_id, o.starts_at > %(now)s, o.taken >= o.quota, o.price_fen, o.id
            """,
            {"product": product_id, "member": member_id or 0, "now": moment},
        )
        rows = cursor.fetchall()
    return [LiveOffer(*(*row, _state(row, moment))) for row in rows]


def _state(row: tuple[object, ...], at: datetime) -> str:
    left, limit, starts_at, mine = row[8], row[9], row[10], row[12]
    if starts_at > at:  # type: ignore[operator]
        return "soon"
    if mine >= limit:  # type: ignore[operator]
        return "mine"
    return "open" if left else "gone"
