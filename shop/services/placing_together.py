"""Writing orders: who comes while another writes is written with her, by one statement and one commit for all.

What an order costs the database is mostly what every statement, every check of a key and every commit costs, for one
order as for ten. Each order is written as if it were alone: when one cannot be, or somebody holds a row that one of
them needs, nothing is written, and each is written by itself.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import Error

from core import statements
from core.batching import Batcher
from core.events import listeners, payload_of, wake_listeners
from shop.events import OrderPlaced

PLACED = "placed"
BUSY = "busy"
MOST = 32
LINGER_SECONDS = 0.005
PATIENCE = "100ms"
"""For how long a batch waits for somebody's lock: a single slow row may not hold up everybody's orders."""


class WrittenOrder(NamedTuple):
    """An order in the words of `shop_place_orders`; `order` is a JSON object, `lines` and `discounts` are several.

    `offers`: offer id and pieces; `cart_sku_ids`: what goes out of her cart.
    """

    order_id: int
    member_id: int
    order: bytes
    lines: bytes
    discounts: bytes
    grant_ids: Sequence[int]
    offers: Sequence[tuple[int, int]]
    cart_sku_ids: Sequence[int]
    at: datetime


def worded(
    values: dict[str, Any],
    lines: list[dict[str, Any]],
    discounts: list[dict[str, Any]],
    *,
    grant_ids: Sequence[int],
    offers: Sequence[tuple[int, int]],
    cart_sku_ids: Sequence[int],
    at: datetime,
) -> WrittenOrder:
    """Columns of an order, its lines and discounts as they are written, with the event that announces it."""
    order_id, member_id = values["id"], values["member_id"]
    placed = OrderPlaced(order_id=order_id, member_id=member_id, total_fen=values["total_fen"], at=at)
    return WrittenOrder(
        order_id,
        member_id,
        orjson.dumps({**values, "placed_at": at, "event": payload_of(placed)}),
        orjson.dumps(lines)[1:-1],
        orjson.dumps(discounts)[1:-1],
        grant_ids,
        offers,
        cart_sku_ids,
        at,
    )


def write_order(order: WrittenOrder, *, is_alone: bool) -> str:
    """What the database answers; nothing is written unless that is "placed". `is_alone`: no transaction is around it.

    Locks: stock, coupons, offers, the member's points and tallies. Publishes: OrderPlaced.
    """
    if is_alone and not order.offers:
        answer = _together.submit(order)
        if answer != BUSY:
            return answer
    return _call([order])


def _write_together(orders: Sequence[WrittenOrder]) -> list[str]:
    """A member's second order, and all of them when something is in the way, are for their callers to write."""
    firsts = {one.member_id: one for one in reversed(orders)}
    try:
        answer = _call(list(firsts.values()), patience=PATIENCE)
    except Error:  # a connection that is gone, a deadlock: each caller has a connection of her own
        answer = BUSY
    if answer != PLACED and len(firsts) > 1:
        answer = BUSY
    return [answer if firsts[one.member_id] is one else BUSY for one in orders]


_together: Batcher[WrittenOrder, str] = Batcher(_write_together, most=MOST, linger=LINGER_SECONDS)


def _call(orders: Sequence[WrittenOrder], *, patience: str = "") -> str:
    event, handlers, queues = listeners(OrderPlaced)
    grants = [(grant_id, one) for one in orders for grant_id in one.grant_ids]
    offers = [offer for one in orders for offer in one.offers]
    carts = [(one.member_id, sku_id) for one in orders for sku_id in one.cart_sku_ids]
    ((answer,),) = statements.rows(
        "SELECT shop_place_orders(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            _json(one.order for one in orders),
            _json(one.lines for one in orders),
            _json(one.discounts for one in orders if one.discounts),
            _ids(grant_id for grant_id, _one in grants),
            _ids(one.member_id for _grant_id, one in grants),
            _ids(one.order_id for _grant_id, one in grants),
            _ids(offer_id for offer_id, _quantity in offers),
            _ids(quantity for _offer_id, quantity in offers),
            _ids(member_id for member_id, _sku in carts),
            _ids(sku_id for _member, sku_id in carts),
            event,
            handlers,
            queues,
            max(one.at for one in orders),
            patience,
        ],
    )
    if answer == PLACED:
        wake_listeners(OrderPlaced)
    return str(answer)


def _json(objects: Iterable[bytes]) -> str:
    return f"[{b','.join(objects).decode()}]"


def _ids(numbers: Iterable[int]) -> str:
    """As Postgres reads an array: a text, which it parses faster than an expression."""
    return f"{{{','.join(map(str, numbers))}}}"
