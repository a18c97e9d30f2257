"""How the shop speaks to a shopper about states: friendlier than the operator's words, always with what comes next."""

from datetime import datetime

from django.utils.translation import gettext as _

from core import clock
from shop import rules
from shop.models import Order


def place(region: str, street: str) -> str:
    """An address as it is written in China: without gaps, a municipality named once. `region`: words by spaces."""
    parts = dict.fromkeys(region.split())
    return ("".join(parts) + street).strip()


def has_no_parcel(order: Order) -> bool:
    """Only virtual goods and services: delivered with the payment."""
    return order.channel == "mall" and not order.receiver


def status_label(order: Order) -> str:
    if order.is_refunding:
        return _("Being refunded")
    if order.awaits_balance:
        return _("Deposit paid, balance to come")
    if order.delivery == Order.PICKUP and order.status in (rules.PAID, rules.RECEIVED):
        return _("Your store has it for you") if order.status == rules.PAID else _("You have collected it")
    if has_no_parcel(order) and order.status == rules.RECEIVED:
        return _("It is yours")
    return {
        rules.PENDING_PAYMENT: _("Waiting for your payment"),
        rules.PAID: _("Being packed for you"),
        rules.SHIPPED: _("On its way to you"),
        rules.RECEIVED: _("It has arrived"),
        rules.CANCELLED: _("This order is cancelled"),
        rules.REFUNDED: _("The money is back with you"),
    }[order.status]


def status_advice(order: Order) -> str:
    if order.is_refunding:
        return _("The money goes back the way it came, usually within minutes.")
    if order.status == rules.CANCELLED:
        return order.cancel_reason or _("Nothing was charged.")
    if order.delivery == Order.PICKUP and order.status == rules.PAID:
        return _("Show the code below at the counter.")
    if has_no_parcel(order) and order.status == rules.RECEIVED:
        return _("Delivered with your payment: you find it below.")
    return {
        rules.PENDING_PAYMENT: _("We keep the goods for you. Time left:"),
        rules.PAID: _("Sent within 48 hours, with the number here."),
        rules.SHIPPED: _("Please look into the parcel before you confirm."),
        rules.RECEIVED: _("Enjoy it. If anything is wrong, write to us."),
        rules.REFUNDED: _("It went back the way you paid."),
    }[order.status]


def steps(order: Order) -> list[str]:
    if order.delivery == Order.PICKUP:
        return [_("Ordered"), _("Payment"), _("Collected")]
    if has_no_parcel(order):
        return [_("Ordered"), _("Payment"), _("Delivered")]
    return [_("Ordered"), _("Payment"), _("Sent off"), _("Arrived")]


def reached(order: Order) -> int:
    """How many of the steps are done; 0 hides them (cancelled, refunded)."""
    if order.is_refunding:
        return 0
    if order.delivery == Order.PICKUP or has_no_parcel(order):
        return {rules.PENDING_PAYMENT: 1, rules.PAID: 2, rules.RECEIVED: 3}.get(order.status, 0)
    return {rules.PENDING_PAYMENT: 1, rules.PAID: 2, rules.SHIPPED: 3, rules.RECEIVED: 4}.get(order.status, 0)


def cancel_reasons() -> list[str]:
    return [
        _("I want to change something"),
        _("I ordered by mistake"),
        _("The address is wrong"),
        _("I do not need it any more"),
    ]


LOG_SHOWN = (
    "placed",
    "paid",
    "paid_late",
    "cancelled",
    "shipped",
    "ready",
    "handed_over",
    "received",
    "delivered",
    "redeemed",
    "refund_requested",
    "refunded",
)


def log_words(action: str) -> str:
    """What an entry of the order's log is to the shopper; empty for what is only the operator's business."""
    return {
        "placed": _("You placed the order"),
        "paid": _("The order was paid"),
        "deposit_paid": _("You paid the deposit"),
        "deposit_kept": _("The deposit was kept, as agreed"),
        "paid_late": _("Your payment arrived, the order goes on"),
        "cancelled": _("The order was cancelled"),
        "shipped": _("The parcel was handed to the courier"),
        "ready": _("It lies ready in the store"),
        "handed_over": _("Collected in the store"),
        "received": _("The parcel has arrived"),
        "delivered": _("Delivered with the payment"),
        "redeemed": _("A voucher was redeemed"),
        "refund_requested": _("A refund was started"),
        "refunded": _("The money was returned"),
        "price_changed": _("The shop changed the price"),
        "address_changed": _("The address was changed"),
        "aftersale": _("You applied for after-sales"),
    }.get(action, "")


def seconds_left(until: datetime | None) -> int:
    return max(0, int((until - clock.now()).total_seconds())) if until else 0


def clock_time(until: datetime | None) -> str:
    """For pages without script: until when, as a time of the shop's day."""
    return f"{clock.local(until):%H:%M}" if until else ""


def stock_words(available: int) -> str:
    if available <= 0:
        return _("Sold out")
    if available <= 5:
        return _("Only %(count)d left") % {"count": available}
    return _("In stock")
