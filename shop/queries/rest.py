"""What the REST interface may list, seen by its viewer: a key sees all, a colleague of one store sees that store."""

from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from shop.models import Order, OrderLine, Product, Sku, Stock


def products_for(viewer: Any) -> QuerySet[Product]:
    """Products with category, SKUs and pictures; three statements whatever their number."""
    return (
        Product.objects.select_related("category")
        .defer("search")
        .prefetch_related(Prefetch("skus", Sku.objects.order_by("position", "pk")), "images")
    )


def stocks_for(viewer: Any) -> QuerySet[Stock]:
    stocks = Stock.objects.select_related("sku", "store")
    store_id = own_store_of(viewer)
    return stocks.filter(store_id=store_id) if store_id else stocks


def orders_for(viewer: Any) -> QuerySet[Order]:
    """Orders with lines and parcels; three statements whatever their number."""
    orders = Order.objects.select_related("store", "presale").prefetch_related(
        Prefetch("lines", OrderLine.objects.select_related("sku").order_by("pk")), "shipments"
    )
    store_id = own_store_of(viewer)
    if not store_id:
        return orders
    return orders.filter(served_by(store_id))


def served_by(store_id: int) -> Q:
    """Orders of which a store serves at least one line."""
    lines = OrderLine.objects.filter(order=OuterRef("pk"), store_id=store_id)
    return Q(store_id=store_id) | Q(Exists(lines))


def own_store_of(viewer: Any) -> int | None:
    """The only store whose rows this viewer sees; None: no such limit."""
    if viewer.is_superuser or not viewer.is_staff:
        return None
    return getattr(getattr(viewer, "staff", None), "store_id", None)
