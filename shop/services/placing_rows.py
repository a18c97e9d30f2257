"""A priced and routed cart as the rows of an order, in the words of `shop_place_orders`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shop import rules
from shop.pricing.types import Discount, Quote, QuotedLine
from shop.services.placing_ground import Goods
from shop.services.routing import Serving


def order_rows(
    order_id: int, quote: Quote, goods: Mapping[int, Goods], servings: Sequence[Serving]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines and their discounts; `order_id` and `place` join the two."""
    lines: list[dict[str, Any]] = []
    discounts: list[dict[str, Any]] = []
    reasons = {(one.sku_id, one.store_id): one.reason for one in servings}
    for line, store_id in _by_store(quote.lines, servings):
        place, sold = len(lines), goods[line.sku_id]
        lines.append(
            {
                "order_id": order_id,
                "place": place,
                "sku_id": line.sku_id,
                "store_id": store_id,
                "product_name": sold.product_name,
                "sku_name": sold.sku_name,
                "image": sold.image,
                "price": line.unit_price_fen,
                "quantity": line.quantity,
                "discount": line.discount_fen,
                "kind": line.kind,
                "bundle": line.bundle,
                "reason": reasons.get((line.sku_id, store_id or 0), ""),
            }
        )
        discounts += [_discount(order_id, one, place) for one in line.discounts if one.amount_fen]
    discounts += [_discount(order_id, one, None) for one in quote.shipping_discounts if one.amount_fen]
    return lines, discounts


def _by_store(
    lines: Iterable[QuotedLine], servings: Sequence[Serving]
) -> Iterator[tuple[QuotedLine, int | None]]:
    """The lines, those that several stores serve taken apart; without a store what needs no stock."""
    left: dict[int, list[list[int]]] = {}
    for one in servings:
        left.setdefault(one.sku_id, []).append([one.store_id, one.quantity])
    for line in lines:
        parts: list[tuple[int | None, int]] = []
        missing = line.quantity
        for chunk in left.get(line.sku_id, []):
            here = min(chunk[1], missing)
            if here:
                parts.append((chunk[0], here))
                chunk[1] -= here
                missing -= here
        if missing:
            parts.append((None, missing))
        yield from zip(
            rules.split_line(line, [pieces for _s, pieces in parts]), [s for s, _p in parts], strict=True
        )


def _discount(order_id: int, one: Discount, place: int | None) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "place": place,
        "step": one.step,
        "source": one.source,
        "title": one.title[:80],
        "amount": one.amount_fen,
    }
