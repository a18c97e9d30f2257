"""Handing an order over the counter, once, against its code."""

import re

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_row
from shop import aftersales_rules
from shop.errors import NoSuchOrder, PickupRefused
from shop.events import OrderReceived
from shop.models import Fulfilment, Order
from shop.services.fulfilment import take_from_shelf
from shop.services.order_log import write_log


def pickup_code(text: str) -> str:
    """The eight digits in what was typed or scanned ("1234 5678", or the address behind the QR code); "" if none."""
    text = text.strip()[:300]
    if "code=" in text:
        text = text.rsplit("code=", 1)[1].split("&", 1)[0]
    digits = re.sub(r"[\s\-]", "", text)
    return digits if re.fullmatch(r"[0-9]{8}", digits) else ""


@transaction.atomic
def redeem_pickup(*, code: str, store_id: int, by: str, user_id: int | None = None) -> Fulfilment:
    """Hand an order over in its store: the goods leave the shelf and the order is received.

    Locks: order, stock. Exactly once: a second call with the same code raises PickupRefused ("used"), as do a wrong
    store, a refund, and a code that is none. Publishes: OrderReceived.
    """
    row = find_pickup(code)
    order = lock_row(Order.objects.filter(pk=row.order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    row = Fulfilment.objects.select_related("store").get(pk=row.pk)  # as it is under the order's lock
    refuse_pickup(row, order, store_id)
    take_from_shelf(order, [row], cause="handover", by=by)
    moment = clock.now()
    row.state, row.done_at, row.actor = Fulfilment.HANDED_OVER, moment, by
    row.save(update_fields=["state", "done_at", "actor"])
    write_log(order, "handed_over", actor=by, user_id=user_id, note=row.store.name)
    if not order.fulfilments.filter(state__in=Fulfilment.OPEN).exists():
        order.status, order.received_at = Order.RECEIVED, moment
        order.due_at = moment + aftersales_rules.REVIEW_AFTER
        order.shipped_at = moment
        order.save(update_fields=["status", "received_at", "due_at", "shipped_at"])
        if order.member_id:
            publish(
                OrderReceived(order_id=order.pk, member_id=order.member_id, at=moment),
                key=f"order:{order.pk}",
            )
    row.order = order
    return row


def find_pickup(code: str) -> Fulfilment:
    """The fulfilment with this code: the open one, else the latest that had it. Raises PickupRefused."""
    rows = Fulfilment.objects.filter(code=code).select_related("order", "store") if code else None
    found = sorted(rows or [], key=lambda row: (row.is_open, row.pk))
    if not found:
        raise PickupRefused(_("No order has this code. Please check its eight digits."), code="unknown_code")
    return found[-1]


def refuse_pickup(row: Fulfilment, order: Order, store_id: int) -> None:
    """Raises PickupRefused, with what the colleague should say, unless this may be handed over here and now."""
    if row.store_id != store_id:
        raise PickupRefused(
            _("This order is to be collected in another store: %(store)s.") % {"store": row.store.name},
            code="wrong_store",
        )
    if row.state == Fulfilment.HANDED_OVER:
        raise PickupRefused(
            _("This code was used at %(time)s: the order is handed over already.")
            % {"time": f"{clock.local(row.done_at or clock.now()):%Y-%m-%d %H:%M}"},
            code="used",
        )
    if order.is_refunding or order.status in (Order.REFUNDED, Order.CANCELLED):
        raise PickupRefused(
            _("This order is being refunded or cancelled: do not hand it over."), code="refunded"
        )
    if not row.is_open or order.status != Order.PAID:
        raise PickupRefused(
            _("This order cannot be handed over: %(status)s.") % {"status": order.status_label},
            code="not_open",
        )
