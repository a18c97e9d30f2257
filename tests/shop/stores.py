"""Stores with shelves, and orders that certain stores serve, for tests."""

from typing import Any

from crm.models import Store
from shop import services
from shop.models import Order, OrderLine, Sku, Stock
from shop.services import Move
from tests.shop import builders

HUBIN = {"code": "hubin", "name": "湖滨店", "province": "浙江省", "city": "杭州市"}
XINTIANDI = {"code": "xintiandi", "name": "新天地店", "province": "上海市", "city": "上海市"}


def store(values: dict[str, Any]) -> Store:
    made, _created = Store.objects.get_or_create(
        code=values["code"], defaults={**values, "ships_online": True, "allows_pickup": True}
    )
    return made


def lay(sku: Sku, where: Store, pieces: int) -> None:
    services.adjust_stock(
        sku_id=sku.pk,
        store_id=where.pk,
        change=pieces,
        cause=f"laid:{sku.pk}:{where.pk}:{pieces}",
        reason="receive",
    )


def level(sku: Sku, where: Store | int) -> tuple[int, int]:
    """On hand, reserved."""
    row = Stock.objects.get(sku=sku, store_id=where if isinstance(where, int) else where.pk)
    return row.on_hand, row.reserved


def served_by(buyer: Any, parts: dict[int, list[tuple[Sku, int]]], *, delivery: str = "ship") -> Order:
    """An unpaid order that these stores serve, as placing it with routing leaves it: store id → [(SKU, pieces)]."""
    lines = [(store_id, sku, pieces) for store_id, some in parts.items() for sku, pieces in some]
    seed = builders.sku(stock=1)
    order = builders.order(buyer, (seed, 1))
    services.move_stock(
        [Move(seed.pk, services.warehouse_id(), reserved=-1)], cause=f"test:{order.pk}", reason="release"
    )
    OrderLine.objects.filter(order=order).delete()
    for store_id, sku, pieces in lines:
        OrderLine.objects.create(
            order=order,
            sku=sku,
            store_id=store_id,
            product_name=sku.product.name,
            sku_name=sku.name,
            unit_price_fen=sku.price_fen,
            quantity=pieces,
            total_fen=sku.price_fen * pieces,
            routing_reason="pickup" if delivery == "pickup" else "split",
        )
    assert services.move_stock(
        [Move(sku.pk, store_id, reserved=pieces) for store_id, sku, pieces in lines],
        cause=f"order:{order.pk}:reserve",
        reason="reserve",
        order_id=order.pk,
    )
    total = sum(sku.price_fen * pieces for _store, sku, pieces in lines)
    Order.objects.filter(pk=order.pk).update(items_fen=total, total_fen=total, delivery=delivery)
    return Order.objects.get(pk=order.pk)
