"""What an order is made of, read in one statement: prices, names, stock and stores, and if it was placed before."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from core import statements
from shop.services import routing
from shop.services.pricing import Beside, Ground, read_ground


class Goods(NamedTuple):
    """One SKU as the database sells it at this moment."""

    sku_id: int
    product_name: str
    sku_name: str
    supply: str
    is_sold: bool
    image: str

    @property
    def name(self) -> str:
        return f"{self.product_name} {self.sku_name}".strip()


class OrderGround(NamedTuple):
    """`is_placed`: there is an order of this member under this key. `store_id` is the warehouse, `stores` and the
    stock in them are those that could serve the SKUs that were asked for.
    """

    order_id: int
    is_placed: bool
    store_id: int | None
    goods: dict[int, Goods]
    prices: Ground
    stores: routing.Stores


_SOLD = """
s.is_active AND p.status = 'on_sale', coalesce((
    SELECT coalesce(nullif(i.thumbnail, ''), i.image) FROM shop_productimage i
    WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
), '')
"""
_BESIDE = Beside(
    goods=_SOLD,
    values=f"""
    nextval('shop_order_id_seq'),
    EXISTS (SELECT FROM shop_order WHERE member_id = %(member)s AND idempotency_key = %(key)s),
    ({routing.STOCKS})
    """,
)
_GOODS = f"""
SELECT s.id, p.name, s.name, s.supply, {_SOLD}
FROM shop_sku s JOIN shop_product p ON p.id = s.product_id WHERE s.id = ANY(%s)
"""  # noqa: S608  our own words only


def read_order_ground(
    *,
    member_id: int,
    wanted: Mapping[int, int],
    more_skus: Iterable[int],
    idempotency_key: str,
    pickup_store_id: int | None,
    at: datetime,
) -> OrderGround:
    """For SKUs (id → pieces) and those that may come with them. Locks nothing; statements as `read_ground`."""
    found = read_ground(
        member_id, at, wanted=wanted, more_skus=more_skus, beside=_BESIDE, params={"key": idempotency_key}
    )
    order_id, is_placed, stocks = found.values
    goods = {row[0]: Goods(row[0], row[4], row[5], row[8], row[9], row[10]) for row in found.rows}
    return OrderGround(
        order_id,
        is_placed,
        found.rules.warehouse_id,
        goods,
        found.ground,
        routing.stores_for(found.rules.stores, stocks, {*wanted, *more_skus}, pickup_store_id),
    )


def read_goods(sku_ids: Sequence[int]) -> dict[int, Goods]:
    """Further SKUs, that came with the price. One statement."""
    return {row[0]: Goods(*row) for row in statements.rows(_GOODS, [list(sku_ids)])}
