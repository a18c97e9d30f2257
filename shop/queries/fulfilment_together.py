"""Which parts of orders may travel in one parcel: one member, one address, one store, waiting to be sent."""

from typing import Any

from django.db.models import Case, Count, IntegerField, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from shop.models import Fulfilment, Order, OrderLine

SAME = ("member", "receiver", "phone", "region", "street", "postal_code")
MOST = 19  # beside the one that is looked at
_WAITS = Q(
    kind=Fulfilment.SHIP,
    state=Fulfilment.WAITING,
    order__status=Order.PAID,
    order__refund_requested_at__isnull=True,
    order__member__isnull=False,
)


def with_companions(parts: QuerySet[Fulfilment]) -> QuerySet[Fulfilment]:
    """Each with `companions_count`: how many other parts could be sent in the same parcel."""
    others = (
        Fulfilment.objects.filter(
            _WAITS,
            store=OuterRef("store"),
            **{f"order__{name}": OuterRef(f"order__{name}") for name in SAME},
        )
        .exclude(pk=OuterRef("pk"))
        .values("store")
        .annotate(count=Count("pk"))
        .values("count")
    )
    count: Any = Case(
        When(_WAITS, then=Coalesce(Subquery(others), 0)), default=Value(0), output_field=IntegerField()
    )
    return parts.annotate(companions_count=count)


def companions_of(part: Fulfilment) -> list[Fulfilment]:
    """The other parts that could leave with this one, with their orders and goods, eldest first. Three statements."""
    order = part.order
    same = {f"order__{name}": getattr(order, f"{name}_id" if name == "member" else name) for name in SAME}
    if order.member_id is None or not Fulfilment.objects.filter(_WAITS, pk=part.pk).exists():
        return []
    lines = OrderLine.objects.select_related("sku").order_by("pk")
    rows = Fulfilment.objects.filter(_WAITS, store=part.store_id, **same).exclude(pk=part.pk)
    rows = rows.select_related("order").prefetch_related(Prefetch("order__lines", lines))
    return list(rows.order_by("order_id")[:MOST])
