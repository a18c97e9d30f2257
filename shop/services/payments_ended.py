"""What becomes of a payment at WeChat when nobody told: it is asked about, booked, or closed with its order."""

from datetime import timedelta

import structlog
from django.utils.translation import gettext as _

from core import clock
from shop import rules
from shop.errors import (
    NoSuchOrder,
    PlatformBusy,
    WrongState,
)
from shop.models import Order, Payment
from shop.services.orders import release_order
from shop.services.payments_booked import confirm_payment
from wechat import errors as wechat_errors
from wechat import services as wechat_services

log = structlog.get_logger(__name__)


PAID_STATES = ("SUCCESS", "REFUND")  # REFUND: paid, and money went back since


DEAD_STATES = ("CLOSED", "REVOKED", "PAYERROR")


def check_payment(*, order_id: int) -> Order:
    """Ask WeChat about the order's latest payment, when the shopper returns from the sheet. Silent when WeChat is."""
    payment = Payment.objects.filter(order_id=order_id, kind__in=Payment.WECHAT).order_by("-pk").first()
    if payment is not None and payment.status == Payment.OPEN:
        try:
            learn_payment(payment)
        except wechat_errors.PlatformError as error:
            log.warning("payment query failed", payment=payment.pk, code=error.code)
    return Order.objects.get(pk=order_id)


def cancel_order(
    *, order_id: int, reason: str, member_id: int | None = None, actor: str = "", user_id: int | None = None
) -> Order:
    """Cancel an unpaid order: by its shopper (`member_id`), or by an operator (None, with `actor`), who gives back the
    deposit of a presale.

    Closes the payment at WeChat first and only then gives the stock back. Idempotent. Publishes: OrderCancelled.
    Raises NoSuchOrder, WrongState (paid meanwhile), PlatformBusy (WeChat could not say whether it is paid).
    """
    orders = Order.objects.filter(pk=order_id)
    order = (orders if member_id is None else orders.filter(member_id=member_id)).first()
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if order.status == Order.CANCELLED:
        return order
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order is paid and cannot be cancelled any more."))
    try:
        settle_payments(order_id=order_id)
    except wechat_errors.PlatformError as error:
        log.warning("close failed", order=order_id, code=error.code)
        raise PlatformBusy(
            _("WeChat Pay cannot say at the moment whether this order is paid. Please try again in a minute.")
        )
    return release_order(
        order_id=order_id,
        reason=reason,
        actor=actor or ("member" if member_id else "system"),
        user_id=user_id,
        returns_deposit=member_id is None,
    )


def expire_orders(*, limit: int = 100) -> int:
    """Cancel orders whose time for payment is over: ask WeChat, close there, then release. Returns how many.

    When WeChat does not answer, the order keeps its stock and is looked at again two minutes later. Each order is
    claimed by a conditional update, so several workers share the work.
    """
    count = 0
    due = Order.objects.filter(status=Order.PENDING_PAYMENT, due_at__lte=clock.now()).order_by("due_at")
    for order_id, due_at in list(due.values_list("pk", "due_at")[:limit]):
        claimed = Order.objects.filter(pk=order_id, status=Order.PENDING_PAYMENT, due_at=due_at).update(
            due_at=clock.now() + timedelta(minutes=2)
        )
        if not claimed:
            continue
        try:
            settle_payments(order_id=order_id)
            order = release_order(order_id=order_id, reason=_("Not paid in time"), actor="system")
        except (wechat_errors.PlatformError, WrongState) as refusal:
            log.info("order not released", order=order_id, reason=refusal.code)
            continue
        count += order.status == Order.CANCELLED
    return count


def settle_payments(*, order_id: int) -> None:
    """End every open payment of an order at WeChat: what is paid gets booked, what is not gets closed.

    Network, outside transactions. Raises wechat's PlatformError when WeChat does not say.
    """
    for payment in Payment.objects.filter(order_id=order_id, status=Payment.OPEN, kind__in=Payment.WECHAT):
        settle_payment(payment)


def settle_payment(payment: Payment) -> str:
    """Query, then close: WeChat demands this order. Returns the payment's status, no longer open."""
    if learn_payment(payment) == Payment.OPEN:
        try:
            wechat_services.close_payment(account_id=_account_id(payment), out_trade_no=payment.out_trade_no)
        except wechat_errors.AlreadyPaid:  # paid between the question and the closing
            if learn_payment(payment) == Payment.OPEN:
                raise
        else:
            _mark_closed(payment)
    return Payment.objects.values_list("status", flat=True).get(pk=payment.pk)


def learn_payment(payment: Payment) -> str:
    """Ask WeChat once and write down what it says; returns the payment's status. Raises PlatformError."""
    try:
        state = wechat_services.query_payment(
            account_id=_account_id(payment), out_trade_no=payment.out_trade_no
        )
    except wechat_errors.NoSuchOrder:
        return payment.status  # the prepay call never arrived there
    if state.trade_state in PAID_STATES:
        confirm_payment(
            out_trade_no=payment.out_trade_no,
            transaction_id=state.transaction_id,
            paid_fen=state.paid_fen,
            paid_at=state.success_at,
        )
    elif state.trade_state in DEAD_STATES:
        _mark_closed(payment)
    return Payment.objects.values_list("status", flat=True).get(pk=payment.pk)


def _account_id(payment: Payment) -> int:
    assert payment.account_id is not None, "only payments at WeChat are asked about"
    return payment.account_id


def _mark_closed(payment: Payment) -> None:
    Payment.objects.filter(pk=payment.pk, status=Payment.OPEN).update(
        status=Payment.CLOSED, closed_at=clock.now(), next_query_at=None
    )


def query_lost_payments(*, limit: int = 100) -> int:
    """Ask WeChat about payments whose notice has not come, 1, 5, 15 … minutes after they were started.

    Returns how many were found paid. Claimed by a conditional update. A payment of an order that needs no money any
    more is closed.
    """
    found = 0
    due = Payment.objects.filter(status=Payment.OPEN, next_query_at__lte=clock.now()).order_by(
        "next_query_at"
    )
    for payment in list(due.select_related("order")[:limit]):
        claimed = Payment.objects.filter(pk=payment.pk, status=Payment.OPEN, queries=payment.queries).update(
            queries=payment.queries + 1,
            next_query_at=rules.next_query_at(payment.created_at, payment.queries + 1),
        )
        if not claimed:
            continue
        try:
            if payment.order.status == Order.PENDING_PAYMENT:
                found += learn_payment(payment) == Payment.PAID
            else:
                found += settle_payment(payment) == Payment.PAID
        except wechat_errors.PlatformError as error:
            log.warning("payment query failed", payment=payment.pk, code=error.code)
    return found
