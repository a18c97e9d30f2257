"""Goods that are no parcel, and bundles, for tests."""

import itertools
from typing import Any

from core import clock
from shop import services
from shop.models import Order, Product, Sku
from tests.shop import builders

_numbers = itertools.count(1)


def product(kind: str, **extra: Any) -> Product:
    moment = clock.now()
    return Product.objects.create(
        name=f"{kind} {next(_numbers)}",
        kind=kind,
        status=Product.ON_SALE,
        created_at=moment,
        updated_at=moment,
        **extra,
    )


def service(
    *, price_fen: int = 9_800, quota: int | None = None, stores: tuple[Any, ...] = (), **terms: Any
) -> Sku:
    """A service SKU whose vouchers are valid for thirty days."""
    sku = builders.sku(product=product("service"), stock=0, price_fen=price_fen, name="")
    sku.refresh_from_db()
    terms = {"valid_days": 30} | terms
    services.save_terms(sku_id=sku.pk, delivers="voucher", quota=quota, **terms).stores.set(stores)
    return sku


def codes(*texts: str, price_fen: int = 5_000) -> Sku:
    """A virtual SKU with these codes in its pool."""
    sku = builders.sku(product=product("virtual"), stock=0, price_fen=price_fen, name="")
    services.save_terms(sku_id=sku.pk, delivers="code", text="在设置里输入兑换码")
    services.add_codes(sku_id=sku.pk, codes=texts)
    return sku


def bundle(*parts: tuple[Sku, int], price_fen: int = 30_000) -> Sku:
    sku = builders.sku(product=product("bundle"), stock=0, price_fen=price_fen, name="")
    services.set_bundle(bundle_id=sku.pk, parts=[(part.pk, count) for part, count in parts])
    return sku


def ordered(buyer: Any, *lines: tuple[Sku, int], key: str = "") -> Order:
    """An order without an address."""
    return services.place_order(
        member_id=buyer.pk,
        lines=[(sku.pk, count) for sku, count in lines],
        address=None,
        idempotency_key=key or f"goods-key-{next(_numbers)}",
    )
