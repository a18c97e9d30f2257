"""A member's orders. Access is decided here: every query takes whose orders they are."""

from dataclasses import dataclass

from django.db.models import Count, Prefetch
from django.utils.translation import gettext as _

from core import keyset
from shop.errors import NoSuchOrder
from shop.models import Order, OrderLine


@dataclass(frozen=True, slots=True)
class OrderPage:
    orders: list[Order]  # with lines
    after: str  # the cursor of the next page; "" when this is the last


def orders_of(
    member_id: int, status: str | None = None, *, after: str = "", page_size: int = 10
) -> OrderPage:
    """Newest first, with their lines and the terms of a presale: two statements. An unknown status finds nothing."""
    orders = Order.objects.filter(member_id=member_id)
    if status:
        orders = orders.filter(status=status)
    behind = keyset.behind(orders, "placed_at", after)
    rows = list(behind.select_related("presale").prefetch_related(_lines())[: page_size + 1])
    last = rows[page_size - 1] if len(rows) > page_size else None
    return OrderPage(orders=rows[:page_size], after=keyset.cursor(last.placed_at, last.pk) if last else "")


def order_counts(member_id: int) -> dict[str, int]:
    """How many of the member's orders are in which state, for the numbers on her page."""
    counts = Order.objects.filter(member_id=member_id).values_list("status").annotate(count=Count("pk"))
    return dict(counts.order_by())


def order_for(number: str, *, member_id: int) -> Order:
    """A member's own order with lines, parcels and log. Raises NoSuchOrder, also for another member's."""
    order = (
        Order.objects.filter(number=number, member_id=member_id)
        .prefetch_related(_lines(), "shipments", "log")
        .first()
    )
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    return order


def find_order(order_id: int) -> Order | None:
    return Order.objects.filter(pk=order_id).first()


def _lines() -> Prefetch:
    return Prefetch("lines", OrderLine.objects.select_related("sku", "bundle__sku").order_by("pk"))
