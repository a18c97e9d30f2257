"""Money for orders. The row is committed before WeChat is called, and no call happens inside a transaction.

Whatever comes, in whatever order and however often, ends in the same state: an order is paid once, money without an
order goes back, money that does not match waits for an operator.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock, money
from core.events import publish
from core.locks import lock_row
from core.wakeups import wake
from crm import queries as crm_queries
from crm import services as crm_services
from shop import rules
from shop.errors import NoSuchOrder, PaymentNotPossible, PlatformBusy, WrongState
from shop.events import OrderPaid
from shop.models import Order, Payment, Refund
from shop.services.effects import settle_effects
from shop.services.fulfilment import create_fulfilments
from shop.services.messages import tell_buyer
from shop.services.orders import release_order, reserve_again, write_log
from wechat import errors as wechat_errors
from wechat import queries as wechat_queries
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

PAID_STATES = ("SUCCESS", "REFUND")  # REFUND: paid, and money went back since
DEAD_STATES = ("CLOSED", "REVOKED", "PAYERROR")


@dataclass(frozen=True)
class Payer:
    account_id: int
    account_key: str
    openid: str


def start_payment(*, order_id: int, member_id: int) -> dict[str, Any]:
    """The parameters with which the page opens WeChat's payment sheet.

    The same order gets the same payment number and amount again, so that two open sheets cannot both take money.
    Locks: order (briefly, before the network call). Idempotent on: the order's open payment.
    Raises NoSuchOrder, WrongState (paid or cancelled), PaymentNotPossible, PlatformBusy.
    """
    payer = _payer_of(member_id)
    parameters = None
    for _attempt in range(2):
        payment = open_payment(order_id=order_id, member_id=member_id, payer=payer)
        if (payment.account_id, payment.openid) == (payer.account_id, payer.openid):
            parameters = _prepay(payment, payer)
        if parameters is not None:
            break
        # WeChat has closed this number, or another account of the member froze it: end it, and take a new one.
        if _settled(payment) == Payment.PAID:
            break
    order = Order.objects.get(pk=order_id)
    if order.status == Order.PENDING_PAYMENT and parameters is not None:
        return parameters
    if order.status == Order.CANCELLED:
        _settled(payment)  # cancelled while WeChat was being asked: nobody may pay it now
        raise WrongState(_("This order is cancelled. Please order again."))
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order is already paid."))
    raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again."))


def _payer_of(member_id: int) -> Payer:
    """The member's openid at the official account that the merchant is bound to."""
    account = wechat_queries.find_account("pay")
    if account is None:
        raise PaymentNotPossible(_("This shop cannot take payments yet. Please contact customer service."))
    for identity in crm_queries.identities_of(member_id):
        if (
            identity.kind == "openid"
            and identity.account_id
            and wechat_queries.account(identity.account_id).appid == account.appid
        ):
            return Payer(account_id=account.pk, account_key=account.key, openid=identity.value)
    raise PaymentNotPossible(_("Please open the shop inside WeChat to pay."))


@transaction.atomic
def open_payment(*, order_id: int, member_id: int, payer: Payer) -> Payment:
    """The order's open payment, made when there is none; amount, payer and time are frozen from then on.

    Locks: order. Idempotent. Raises NoSuchOrder, WrongState, PaymentNotPossible (its time is up).
    """
    order = lock_row(Order.objects.filter(pk=order_id, member_id=member_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order cannot be paid; it is: %(status)s.") % {"status": order.status_label})
    moment = clock.now()
    if not order.can_pay(moment) or order.expires_at is None:
        raise PaymentNotPossible(_("The time for paying this order is over. Please order again."))
    payment = Payment.objects.filter(order=order, status=Payment.OPEN).first()
    if payment is None:
        payment = Payment.objects.create(
            order=order,
            account_id=payer.account_id,
            out_trade_no=f"{order.number}-{Payment.objects.filter(order=order).count() + 1}",
            openid=payer.openid,
            amount_fen=order.total_fen,
            expires_at=order.expires_at,
            created_at=moment,
            next_query_at=rules.next_query_at(moment, 0),
        )
        write_log(order, "payment_started", actor="member", note=payment.out_trade_no)
    return payment


def _prepay(payment: Payment, payer: Payer) -> dict[str, Any] | None:
    """None when this number cannot be paid any more. Raises PlatformBusy."""
    try:
        return wechat_services.start_payment(
            account_id=payment.account_id,
            out_trade_no=payment.out_trade_no,
            amount_fen=payment.amount_fen,
            description=_("Order %(number)s") % {"number": payment.order.number},
            openid=payment.openid,
            expires_at=payment.expires_at,
            notify_url=notify_url(payer.account_key),
        )
    except (wechat_errors.AlreadyPaid, wechat_errors.InvalidRequest) as error:
        log.warning("prepay refused", payment=payment.pk, code=error.code, detail=error.detail)
        return None
    except wechat_errors.PlatformError as error:
        log.warning("prepay failed", payment=payment.pk, code=error.code, detail=error.detail)
        raise PlatformBusy(
            _("WeChat Pay does not answer at the moment. Please try again; you have not paid yet.")
        )


def _settled(payment: Payment) -> str:
    try:
        return _settle(payment)
    except wechat_errors.PlatformError as error:
        log.warning("payment not settled", payment=payment.pk, code=error.code, detail=error.detail)
        raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again."))


def notify_url(account_key: str) -> str:
    """Where WeChat Pay sends its notices for this merchant; without a query, as it demands."""
    return settings.PUBLIC_URL + reverse("wechat:pay_notify", kwargs={"key": account_key})


def check_payment(*, order_id: int) -> Order:
    """Ask WeChat about the order's latest payment, when the shopper returns from the sheet. Silent when WeChat is."""
    payment = Payment.objects.filter(order_id=order_id).order_by("-pk").first()
    if payment is not None and payment.status == Payment.OPEN:
        try:
            _learn(payment)
        except wechat_errors.PlatformError as error:
            log.warning("payment query failed", payment=payment.pk, code=error.code)
    return Order.objects.get(pk=order_id)


@transaction.atomic
def confirm_payment(
    *,
    out_trade_no: str,
    transaction_id: str,
    paid_fen: int,
    paid_at: datetime | None = None,
    account_id: int | None = None,
) -> Order:
    """Book money that WeChat says was paid, once.

    Locks: order, payment, then stock or memberstats. Idempotent on: transaction_id. Publishes: OrderPaid.
    An amount or merchant other than ours: not booked, the payment shows the difference. A cancelled order is
    revived when its goods are still there, else the money goes back; a second payment of an order goes back.
    Raises NoSuchOrder when the number is not ours.
    """
    order_id = Payment.objects.filter(out_trade_no=out_trade_no).values_list("order_id", flat=True).first()
    if order_id is None:
        raise NoSuchOrder(_("No payment has the number %(number)s.") % {"number": out_trade_no})
    order = lock_row(Order.objects.filter(pk=order_id))
    payment = lock_row(Payment.objects.filter(out_trade_no=out_trade_no))
    if order is None or payment is None:
        raise NoSuchOrder(_("No payment has the number %(number)s.") % {"number": out_trade_no})
    if payment.status == Payment.PAID and payment.transaction_id == transaction_id:
        return order
    difference = _difference(payment, transaction_id, paid_fen, account_id)
    if difference:
        _note_difference(order, payment, transaction_id, paid_fen, difference)
        return order
    moment = paid_at or clock.now()
    payment.status, payment.transaction_id, payment.paid_fen = Payment.PAID, transaction_id, paid_fen
    payment.paid_at, payment.next_query_at, payment.difference = moment, None, ""
    payment.save(
        update_fields=["status", "transaction_id", "paid_fen", "paid_at", "next_query_at", "difference"]
    )
    if order.status == Order.PENDING_PAYMENT:
        _book(order, payment, "paid")
    elif order.status != Order.CANCELLED:
        write_log(order, "duplicate", actor="system", note=transaction_id)
        request_refund(order, payment, kind=Refund.DUPLICATE, reason=_("Paid twice"), actor="system")
        tell_buyer(
            order,
            payment,
            key="duplicate",
            text=_(
                "Your order %(number)s was paid twice. The second payment of ¥%(amount)s is being returned to you."
            )
            % {"number": order.number, "amount": money.yuan(paid_fen)},
        )
    elif reserve_again(order, cause="reallocate", actor="system"):
        _book(order, payment, "paid_late")
    else:
        write_log(order, "paid_late", actor="system", note=_("sold out meanwhile, the money goes back"))
        request_refund(order, payment, kind=Refund.LATE, reason=_("Sold out meanwhile"), actor="system")
        tell_buyer(
            order,
            payment,
            key="late",
            text=_(
                "Your payment for order %(number)s came after its time and the goods are sold out meanwhile. "
                "¥%(amount)s is being returned to you."
            )
            % {"number": order.number, "amount": money.yuan(paid_fen)},
        )
    return order


def _difference(payment: Payment, transaction_id: str, paid_fen: int, account_id: int | None) -> str:
    if account_id is not None and account_id != payment.account_id:
        return _("told by another merchant account")
    if paid_fen != payment.amount_fen:
        return _("paid ¥%(paid)s, expected ¥%(amount)s") % {
            "paid": money.yuan(paid_fen),
            "amount": money.yuan(payment.amount_fen),
        }
    if payment.status == Payment.PAID:
        return _("a second transaction under the same number: %(transaction)s") % {
            "transaction": transaction_id
        }
    if Payment.objects.filter(transaction_id=transaction_id).exclude(pk=payment.pk).exists():
        return _("transaction %(transaction)s belongs to another payment") % {"transaction": transaction_id}
    return ""


def _note_difference(
    order: Order, payment: Payment, transaction_id: str, paid_fen: int, difference: str
) -> None:
    if payment.difference == difference[:300]:
        return
    payment.difference = difference[:300]
    fields = ["difference"]
    if payment.status != Payment.PAID and paid_fen != payment.amount_fen:
        # Money lies at WeChat under this number, so it can be neither paid nor closed: an operator decides.
        payment.status, payment.paid_fen, payment.next_query_at = Payment.MISMATCH, paid_fen, None
        fields += ["status", "paid_fen", "next_query_at"]
        if not Payment.objects.filter(transaction_id=transaction_id).exists():
            payment.transaction_id = transaction_id
            fields.append("transaction_id")
    payment.save(update_fields=fields)
    write_log(order, "difference", actor="system", note=difference)
    log.error("payment does not match", payment=payment.pk, order=order.pk)


def _book(order: Order, payment: Payment, action: str) -> None:
    """Pending or cancelled → paid, with everything that follows from it in the same transaction."""
    at = payment.paid_at or clock.now()
    order.status, order.paid_at, order.paid_fen, order.due_at = Order.PAID, at, payment.paid_fen, None
    order.cancelled_at, order.cancel_reason = None, ""
    order.save(update_fields=["status", "paid_at", "paid_fen", "due_at", "cancelled_at", "cancel_reason"])
    write_log(order, action, actor="system", note=payment.transaction_id or "")
    settle_effects(order)
    create_fulfilments(order_id=order.pk)
    if order.member_id is None:
        return
    crm_services.book_purchase(member_id=order.member_id, paid_fen=payment.paid_fen, at=at)
    crm_services.record_activity(
        member_id=order.member_id,
        kind="paid",
        at=at,
        subject=f"order:{order.pk}",
        amount_fen=payment.paid_fen,
    )
    publish(
        OrderPaid(order_id=order.pk, member_id=order.member_id, paid_fen=payment.paid_fen, at=at),
        key=f"order:{order.pk}",
    )


def request_refund(
    order: Order,
    payment: Payment,
    *,
    kind: str,
    reason: str,
    actor: str,
    user_id: int | None = None,
) -> Refund:
    """Write down that a payment's money goes back; a worker sends it after commit. Call under the order's lock."""
    moment = clock.now()
    refund, created = Refund.objects.exclude(status=Refund.CLOSED).get_or_create(
        payment=payment,
        defaults={
            "order": order,
            "kind": kind,
            "out_refund_no": f"{payment.out_trade_no}-R{Refund.objects.filter(payment=payment).count() + 1}",
            "amount_fen": payment.paid_fen,
            "reason": reason[:80],
            "actor": actor,
            "user_id": user_id,
            "requested_at": moment,
            "next_attempt_at": moment,
        },
    )
    if created:
        wake("shop.tasks.send_refunds", queue="fast")
    return refund


def cancel_order(
    *, order_id: int, reason: str, member_id: int | None = None, actor: str = "", user_id: int | None = None
) -> Order:
    """Cancel an unpaid order: by its shopper (`member_id`), or by an operator (None, with `actor`).

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
    for payment in Payment.objects.filter(order_id=order_id, status=Payment.OPEN):
        _settle(payment)


def _settle(payment: Payment) -> str:
    """Query, then close: WeChat demands this order. Returns the payment's status, no longer open."""
    if _learn(payment) == Payment.OPEN:
        try:
            wechat_services.close_payment(account_id=payment.account_id, out_trade_no=payment.out_trade_no)
        except wechat_errors.AlreadyPaid:  # paid between the question and the closing
            if _learn(payment) == Payment.OPEN:
                raise
        else:
            _mark_closed(payment)
    return Payment.objects.values_list("status", flat=True).get(pk=payment.pk)


def _learn(payment: Payment) -> str:
    """Ask WeChat once and write down what it says; returns the payment's status. Raises PlatformError."""
    try:
        state = wechat_services.query_payment(
            account_id=payment.account_id, out_trade_no=payment.out_trade_no
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
                found += _learn(payment) == Payment.PAID
            else:
                found += _settle(payment) == Payment.PAID
        except wechat_errors.PlatformError as error:
            log.warning("payment query failed", payment=payment.pk, code=error.code)
    return found
