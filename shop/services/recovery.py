"""One reminder for an order that is about to run out of its time, and one question to who received hers."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from core import clock
from core.locks import lock_row
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from shop import logistics
from shop.models import Order, OrderLine, PaymentReminder
from shop.queries.recovery import current_rules
from shop.services.logistics import send_order_message

PAYING_TAKES = timedelta(minutes=1)  # WeChat wants at least a minute for a payment


def remind_unpaid(*, limit: int = 200) -> int:
    """Remind the buyers whose time to pay ends soon, each order once; returns how many were written to.

    One transaction per order. An order placed so late that less than its reminder time was left at all (the payment
    time is shorter than the rule's minutes) is reminded when half of its time is over.
    """
    rules = current_rules()
    if not rules.reminds:
        return 0
    moment = clock.now()
    ends = moment + timedelta(minutes=rules.remind_minutes)
    waiting = Order.objects.filter(
        status=Order.PENDING_PAYMENT, due_at__lte=ends, expires_at__gt=moment + PAYING_TAKES
    ).filter(reminder__isnull=True, member__isnull=False)
    asked = waiting.only("pk", "placed_at", "expires_at").order_by("due_at")[:limit]
    return sweep(
        [order.pk for order in asked if _is_half_over(order, moment)],
        lambda order_id: remind_of_payment(order_id=order_id),
        fault="reminder of a payment failed",
        put_off=lambda order_id: None,  # asked about again until its time is over
    )


def _is_half_over(order: Order, moment: datetime) -> bool:
    return order.expires_at is None or moment - order.placed_at >= (order.expires_at - order.placed_at) / 2


@transaction.atomic
def remind_of_payment(*, order_id: int) -> bool:
    """Write the one reminder of an unpaid order, or why there is none; True when a message was queued.

    Locks: order; memberstats by the touch. Idempotent on: the order (unique key). The touch policy is asked with the
    purpose service, and the touch is booked under "unpaid:ORDER".
    """
    order = lock_row(Order.objects.filter(pk=order_id, status=Order.PENDING_PAYMENT))
    moment = clock.now()
    if order is None or order.member_id is None or not order.can_pay(moment):
        return False
    if PaymentReminder.objects.filter(order_id=order_id).exists():
        return False
    verdict = crm_queries.touch_verdict(order.member_id, "service", moment)
    if verdict.answer != "send":
        _note(order, reason=verdict.reason or "another")
        return False
    channel = send_order_message(order=order, kind=logistics.UNPAID)
    if not channel:
        _note(order, reason="no_way")
        return False
    crm_services.book_touches(
        origin=f"unpaid:{order.pk}",
        member_ids=[order.member_id],
        purpose="service",
        channel=channel,
        at=moment,
    )
    _note(order, channel=channel)
    return True


def _note(order: Order, *, channel: str = "", reason: str = "") -> None:
    PaymentReminder.objects.create(
        order=order,
        state=PaymentReminder.SENT if channel else PaymentReminder.SKIPPED,
        channel=channel,
        reason=reason,
        at=clock.now(),
    )


@transaction.atomic
def ask_for_review(*, order_id: int) -> str:
    """Ask the buyer of a received order for her word on it, within the touch policy; the channel, "" when not asked.

    Nothing is asked of what went back or was reviewed already. She did not order this message: it counts as marketing.
    Locks: memberstats by the touch. Idempotent on: the order.
    """
    order = Order.objects.filter(pk=order_id, status=Order.RECEIVED, member__isnull=False).first()
    open_lines = OrderLine.objects.filter(
        order_id=order_id, review__isnull=True, refunded_quantity__lt=F("quantity")
    )
    if order is None or order.member_id is None or not open_lines.exists():
        return ""
    moment = clock.now()
    if crm_queries.touch_verdict(order.member_id, "marketing", moment).answer != "send":
        return ""
    channel = send_order_message(order=order, kind=logistics.REVIEW)
    if channel:
        crm_services.book_touches(
            origin=f"review:{order.pk}",
            member_ids=[order.member_id],
            purpose="marketing",
            channel=channel,
            at=moment,
        )
    return channel
