"""Handing an order over the counter, once, against its code; and what becomes of what nobody collects."""

import re
from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_row
from core.sweeps import sweep
from shop import aftersales_rules
from shop.errors import NoSuchOrder, PickupRefused
from shop.events import OrderReceived
from shop.models import Fulfilment, Order, Payment, ServiceRules
from shop.queries.recovery import current_rules
from shop.services.fulfilment import take_from_shelf
from shop.services.messages import tell_buyer
from shop.services.order_log import write_log
from shop.services.refunds import refund_order

LOOK_AGAIN = timedelta(hours=1)  # at what could not be settled


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
    row.state, row.done_at, row.actor, row.due_at = Fulfilment.HANDED_OVER, moment, by, None
    row.save(update_fields=["state", "done_at", "actor", "due_at"])
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


def settle_uncollected(*, limit: int = 100) -> int:
    """Settle the pickups whose time is over, as the house's rules say; returns how many. One transaction each."""
    due = Fulfilment.objects.filter(due_at__lte=clock.now()).order_by("due_at").values_list("pk", flat=True)
    return sweep(
        list(due[:limit]),
        _settle_uncollected,
        fault="uncollected order not settled",
        put_off=lambda pk: Fulfilment.objects.filter(pk=pk).update(due_at=clock.now() + LOOK_AGAIN),
    )


@transaction.atomic
def _settle_uncollected(fulfilment_id: int) -> bool:
    """Pay back what nobody collected, or put it back on the shelf; the shopper is told either way.

    Locks: order, payment. Idempotent: the due row is cleared with it.
    """
    order_id = Fulfilment.objects.values_list("order_id", flat=True).get(pk=fulfilment_id)
    order = lock_row(Order.objects.filter(pk=order_id))
    late = Fulfilment.objects.filter(pk=fulfilment_id, state=Fulfilment.READY, due_at__lte=clock.now())
    row = late.select_related("store").first()
    if order is None or row is None:
        return False  # she came, or somebody else settled it
    if order.status != Order.PAID or order.is_refunding:
        late.update(due_at=None)
        return False
    write_log(order, "uncollected", actor="system", note=row.store.name)
    if current_rules().when_uncollected == ServiceRules.SHELVE:
        late.update(state=Fulfilment.WAITING, ready_at=None, due_at=None)
        text = _(
            "Your order %(number)s still waits for you at %(store)s. Please come soon, or write to us if you cannot."
        )
    else:
        late.update(due_at=None)
        refund_order(order_id=order.pk, reason=_("Not collected in time"), by="system")
        text = _("Nobody collected your order %(number)s at %(store)s in time: you get your money back.")
    payment = order.payments.filter(status=Payment.PAID).order_by("pk").first()
    if payment is not None:
        tell_buyer(
            order,
            payment,
            key=f"uncollected-{row.pk}",
            text=text % {"number": order.number, "store": row.store.name},
        )
    return True
