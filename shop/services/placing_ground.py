"""What an order is made of, read in one statement: prices, names, stock and stores, and if it was placed before."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from core import clock, statements
from shop import rules
from shop.pricing.types import Choices
from shop.services import routing
from shop.services.pricing import Beside, Found, Ground, GroundWords, ground_in, ground_words, read_ground


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
    stock in them are those that could serve the SKUs that were asked for. `asked`: see `AskedOrder`; `at`: when.
    """

    asked: "AskedOrder"
    at: datetime
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


class AskedOrder(NamedTuple):
    """All that an order's ground depends on beside the member: SKUs and pieces in order, and what the form said."""

    lines: tuple[tuple[int, int], ...]
    more_skus: tuple[int, ...]
    idempotency_key: str
    pickup_store_id: int | None

    @classmethod
    def of(cls, lines: Iterable[tuple[int, int]], choices: Choices, idempotency_key: str) -> "AskedOrder":
        """`lines`: each SKU once, see `rules.merged_lines`."""
        pickup = choices.pickup_store_id if choices.delivery == "pickup" else None
        return cls(tuple(lines), choices.add_on_sku_ids, idempotency_key, pickup)


def read_order_ground(*, member_id: int, asked: AskedOrder, at: datetime) -> OrderGround:
    """For the SKUs and those that may come with them. Locks nothing; statements as `read_ground`."""
    found = read_ground(
        member_id,
        at,
        wanted=dict(asked.lines),
        more_skus=asked.more_skus,
        beside=_BESIDE,
        params={"key": asked.idempotency_key},
    )
    return _order_ground(found, asked, at)


class OrderWords(NamedTuple):
    """What an order needs to know, as an expression for the statement that finds out who the member is."""

    asked: AskedOrder
    ground: GroundWords

    def found(self, text: str) -> OrderGround | None:
        """What the expression answered for her; None when it has to be asked again."""
        found = ground_in(self.ground, text)
        return _order_ground(found, self.asked, self.ground.at) if found is not None else None


def order_words(
    *, lines: Iterable[tuple[int, int]], choices: Choices, idempotency_key: str
) -> OrderWords | None:
    """None when it cannot be asked beside: no lines, or rules that this process has yet to read. No statement."""
    merged = rules.merged_lines(lines)
    if not merged:
        return None
    asked = AskedOrder.of(merged, choices, idempotency_key)
    ground = ground_words(
        clock.now(),
        wanted=dict(merged),
        more_skus=asked.more_skus,
        beside=_BESIDE,
        params={"key": idempotency_key},
    )
    return OrderWords(asked, ground) if ground is not None else None


def _order_ground(found: Found, asked: AskedOrder, at: datetime) -> OrderGround:
    order_id, is_placed, stocks = found.values
    goods = {row[0]: Goods(row[0], row[4], row[5], row[8], row[9], row[10]) for row in found.rows}
    sku_ids = {sku_id for sku_id, _quantity in asked.lines}.union(asked.more_skus)
    return OrderGround(
        asked,
        at,
        order_id,
        is_placed,
        found.rules.warehouse_id,
        goods,
        found.ground,
        routing.stores_for(found.rules.stores, stocks, sku_ids, asked.pickup_store_id),
    )


def read_goods(sku_ids: Sequence[int]) -> dict[int, Goods]:
    """Further SKUs, that came with the price. One statement."""
    return {row[0]: Goods(*row) for row in statements.rows(_GOODS, [list(sku_ids)])}
