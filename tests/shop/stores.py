"""Stores with shelves, and orders that they serve, for tests."""

import itertools
from typing import Any

from crm.models import Store
from shop import services
from shop.models import Order, Sku, Stock
from shop.pricing.types import Choices
from tests.shop import builders

_numbers = itertools.count(1)

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


def placed(buyer: Any, *lines: tuple[Sku, int], pickup: Store | None = None) -> Order:
    """An unpaid order as routing serves it; with `pickup`, to be collected in that store."""
    choices = Choices(delivery="pickup", pickup_store_id=pickup.pk) if pickup else Choices()
    return services.place_order(
        member_id=buyer.pk,
        lines=[(sku.pk, pieces) for sku, pieces in lines],
        address=builders.ADDRESS,
        idempotency_key=f"stores-key-{next(_numbers)}",
        choices=choices,
    )
