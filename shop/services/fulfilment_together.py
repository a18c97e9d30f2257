"""Merged shipping (合并发货): what a store has to send to one address, of several orders, leaves in one parcel."""

from collections.abc import Iterable, Sequence

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_rows
from shop.errors import NoSuchOrder, WrongState
from shop.models import Fulfilment, Order, OrderLine, Shipment, Stock
from shop.services.fulfilment import known_parcel, send_off

MOST_TOGETHER = 20
SAME = ("member_id", "receiver", "phone", "region", "street", "postal_code")


@transaction.atomic
def ship_together(
    *,
    fulfilment_ids: Iterable[int],
    carrier: str,
    tracking_number: str,
    by: str = "",
    user_id: int | None = None,
) -> Shipment:
    """Send these parts of different orders of one member, from one store to one address, as one parcel.

    Each order keeps a row of the parcel, the eldest order's leads; returns that one. All of them or nothing.
    Locks: orders, stock. Idempotent on: (orders, carrier, tracking number). Publishes: OrderShipped, once per order.
    Raises NoSuchOrder, WrongState.
    """
    wanted = sorted(set(fulfilment_ids))
    if not 2 <= len(wanted) <= MOST_TOGETHER:
        raise WrongState(
            _("Choose between 2 and %(most)d orders.") % {"most": MOST_TOGETHER}, code="bad_count"
        )
    asked = Fulfilment.objects.filter(pk__in=wanted)
    (orders,) = lock_rows(Order.objects.filter(pk__in=asked.values("order_id")))
    parts = {part.order_id: part for part in asked}  # as they are under the locks
    if len(parts) != len(wanted) or len(orders) != len(wanted):
        raise NoSuchOrder(_("This order does not exist."))
    company, carrier, tracking_number = known_parcel(carrier, tracking_number)
    sent = _sent_before(orders, carrier, tracking_number)
    if sent is not None:
        return sent
    _refuse_strangers(orders, list(parts.values()))
    _lock_stock(list(parts.values()))
    moment, leader = clock.now(), None
    for order in orders:
        part = parts[order.pk]
        shipment = Shipment.objects.create(
            order=order,
            fulfilment=part,
            leader=leader,
            company=company,
            carrier=carrier,
            tracking_number=tracking_number,
            actor=by,
            shipped_at=moment,
            next_ask_at=None if leader else moment,
        )
        leader = leader or shipment
        others = "、".join(other.number for other in orders if other is not order)
        note = _("%(parcel)s, together with %(orders)s") % {"parcel": shipment, "orders": others}
        send_off(order, [part], by=by, user_id=user_id, at=moment, note=note[:300])
    assert leader is not None
    return leader


def _sent_before(orders: Sequence[Order], carrier: str, tracking_number: str) -> Shipment | None:
    """The leader, when exactly these orders left in this parcel before. Raises WrongState when some of them did."""
    rows = Shipment.objects.filter(order__in=orders, carrier=carrier, tracking_number=tracking_number)
    known = list(rows.order_by("pk").select_related("order"))
    if not known:
        return None
    leads = {row.leader_id or row.pk for row in known}
    if len(known) == len(orders) and len(leads) == 1:
        return next((row for row in known if row.pk in leads), known[0])
    raise WrongState(
        _("Order %(number)s has this parcel already.") % {"number": known[0].order.number}, code="has_parcel"
    )


def _refuse_strangers(orders: Sequence[Order], parts: Sequence[Fulfilment]) -> None:
    """Raises WrongState unless all of it waits in one store to be sent to one member at one address."""
    for order in orders:
        if order.is_refunding or order.status != Order.PAID or order.delivery != Order.SHIP:
            raise WrongState(
                _("Order %(number)s cannot be shipped now; it is: %(status)s.")
                % {"number": order.number, "status": order.status_label}
            )
    if any(part.kind != Fulfilment.SHIP or part.state != Fulfilment.WAITING for part in parts):
        raise WrongState(_("One of them has left already. Please look again."), code="gone")
    addressed = {tuple(getattr(order, name) for name in SAME) for order in orders}
    if len(addressed) > 1 or len({part.store_id for part in parts}) > 1 or orders[0].member_id is None:
        raise WrongState(
            _("Only orders of one member to one address from one store travel in one parcel."),
            code="strangers",
        )


def _lock_stock(parts: Sequence[Fulfilment]) -> None:
    """All of it at once and in the order of `shop_move_stock`, which is called once per order."""
    skus = OrderLine.objects.filter(order__in=[part.order_id for part in parts], store=parts[0].store_id)
    stocks = Stock.objects.filter(store=parts[0].store_id, sku__in=skus.values("sku_id"))
    list(stocks.select_for_update(of=("self",)).order_by("sku_id", "store_id").values_list("pk", flat=True))
