"""What stores have to hand over: for the shopper's order page, the colleague's phone, and other systems."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, F, OuterRef, Prefetch, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from crm import queries as crm_queries
from shop import rules
from shop.models import Fulfilment, LowStock, Order, OrderLine, Product, Stock
from shop.queries.rest import own_store_of

MOST_SHOWN = 50


def fulfilments_of(order: Order) -> list[Fulfilment]:
    """An order's parts with their stores and parcels, in the order of their making. Two statements."""
    return list(
        order.fulfilments.exclude(state=Fulfilment.CANCELLED)
        .select_related("store")
        .prefetch_related("shipments")
        .order_by("pk")
    )


def open_pickups(store_id: int) -> list[Fulfilment]:
    """What shoppers may come for in a store, longest waiting first, with buyers and goods. Two statements."""
    rows = Fulfilment.objects.filter(store_id=store_id, kind=Fulfilment.PICKUP, state__in=Fulfilment.OPEN)
    return list(_with_goods(rows.order_by("pk"))[:MOST_SHOWN])


def fulfilments_for(viewer: Any) -> QuerySet[Fulfilment]:
    """What a viewer may see: a key all, a colleague of one store that store's."""
    rows = _with_goods(Fulfilment.objects.all()).select_related("store").prefetch_related("shipments")
    store_id = own_store_of(viewer)
    return rows.filter(store_id=store_id) if store_id else rows


def _with_goods(rows: QuerySet[Fulfilment]) -> QuerySet[Fulfilment]:
    lines = OrderLine.objects.select_related("sku").order_by("pk")
    return rows.select_related("order").prefetch_related(Prefetch("order__lines", lines))


def lines_of(part: Fulfilment) -> list[OrderLine]:
    """The lines that this store hands over, without what went back altogether."""
    return [
        line
        for line in part.order.lines.all()
        if line.store_id == part.store_id and line.quantity > line.refunded_quantity
    ]


def low_stocks(store_id: int | None = None) -> QuerySet[LowStock]:
    """Stocks of SKUs on sale with no more available than their safety stock, of one store or (None) all.

    Each row has `kept_back`, and `in_other_stores`: how many could be brought from elsewhere.
    """
    kept_back = Coalesce("safety", "store__safety_stock")
    others = (
        Stock.objects.filter(sku=OuterRef("sku"))
        .exclude(store=OuterRef("store"))
        .values("sku")
        .annotate(free=Sum(F("on_hand") - F("reserved")))
        .values("free")
    )
    rows = (
        LowStock.objects.filter(
            sku__is_active=True, sku__product__status=Product.ON_SALE, store__is_active=True
        )
        .annotate(kept_back=kept_back, in_other_stores=Coalesce(Subquery(others), 0))
        .filter(on_hand__lte=F("reserved") + F("kept_back"))
        .select_related("sku__product", "store")
    )
    return rows.filter(store_id=store_id) if store_id else rows


def pickup_choices(lines: Sequence[tuple[int, int]]) -> list[Any]:
    """Stores where shoppers may collect, each with `has_all`: everything of (sku id, quantity) is free there.

    Those that have it come first. One statement.
    """
    wanted = rules.merged_lines(lines)
    enough = Q(pk__in=[])
    for sku_id, quantity in wanted:
        enough |= Q(sku_id=sku_id, on_hand__gte=F("reserved") + quantity)
    having = (
        Stock.objects.filter(enough, store=OuterRef("pk"))
        .values("store")
        .annotate(count=Count("pk"))
        .values("count")
    )
    rows = crm_queries.stores().filter(allows_pickup=True).annotate(found=Coalesce(Subquery(having), 0))
    stores: list[Any] = list(rows.order_by("city", "name"))
    for store in stores:
        store.has_all = store.found == len(wanted)
    return sorted(stores, key=lambda store: not store.has_all)
