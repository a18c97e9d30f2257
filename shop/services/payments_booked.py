"""Money that came: an order is paid once, whatever is told, in whatever order and however often."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, money
from core.events import publish
from core.locks import lock_row
from crm import services as crm_services
from shop import rules
from shop.errors import (
    NoSuchOrder,
    WrongState,
)
from shop.events import DepositPaid, OrderPaid
from shop.models import Order, Payment, PresaleOrder, Refund
from shop.services import tenders
from shop.services.effects import settle_effects
from shop.services.fulfilment import complete_order, create_fulfilments
from shop.services.messages import tell_buyer
from shop.services.order_log import write_log
from shop.services.orders import reserve_again
from shop.services.refund_requests import request_refund
from shop.services.virtual import deliver_pieces

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Payer:
    """Where WeChat takes the money: a merchant, and inside WeChat (`jsapi`) whose."""

    account_id: int
    account_key: str
    openid: str
    kind: str = Payment.JSAPI


def new_payment(
    order: Order,
    *,
    kind: str,
    amount_fen: int,
    payer: Payer | None = None,
    gift_card_id: int | None = None,
) -> Payment:
    moment = clock.now()
    payment = Payment.objects.create(
        order=order,
        kind=kind,
        stage=order.payment_stage,
        account_id=payer.account_id if payer else None,
        gift_card_id=gift_card_id,
        out_trade_no=f"{order.number}-{Payment.objects.filter(order=order).count() + 1}",
        openid=payer.openid if payer else "",
        amount_fen=amount_fen,
        expires_at=_payment_ends(order, moment),
        created_at=moment,
        next_query_at=rules.next_query_at(moment, 0) if payer else None,
    )
    if payer:
        write_log(order, "payment_started", actor="member", note=payment.out_trade_no)
    return payment


def _payment_ends(order: Order, moment: datetime) -> datetime:
    """With the order; the sheet of a balance, for which there may be weeks, is opened anew after the usual time."""
    if order.expires_at is None:
        return moment
    return (
        min(order.expires_at, moment + timedelta(minutes=settings.ORDER_PAYMENT_MINUTES))
        if (order.awaits_balance)
        else order.expires_at
    )


@transaction.atomic
def settle_free_order(*, order_id: int) -> Order:
    """Mark an order of nothing paid. Locks: order, memberstats. Idempotent. Publishes: OrderPaid.

    Raises NoSuchOrder, WrongState (it costs something, or is cancelled).
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if order.total_fen or order.status == Order.CANCELLED:
        raise WrongState(_("This order cannot be paid; it is: %(status)s.") % {"status": order.status_label})
    return book_nothing(order) if order.status == Order.PENDING_PAYMENT else order


def book_nothing(order: Order) -> Order:
    moment = clock.now()
    payment = new_payment(order, kind=Payment.NONE, amount_fen=0)
    Payment.objects.filter(pk=payment.pk).update(status=Payment.PAID, paid_at=moment)
    _book(order, action="paid", at=moment, note=payment.out_trade_no)
    return order


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

    Locks: order, payment, then stock, memberstats, ledger. Idempotent on: transaction_id. Publishes: OrderPaid.
    An amount or merchant other than ours: not booked, the payment shows the difference. What is held from other
    sources is spent in the same transaction. A cancelled order is revived when its goods are still there and this
    money alone pays it, else the money goes back: what was held from her balance is free again since it was
    cancelled. A second payment of an order goes back, and so does one of a split that she has given up.
    Raises NoSuchOrder when the number is not ours.
    """
    ours = Payment.objects.filter(out_trade_no=out_trade_no, kind__in=Payment.WECHAT)
    order_id = ours.values_list("order_id", flat=True).first()
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
    held = tenders.open_tenders_of(order.pk)
    is_stage = payment.stage == order.payment_stage  # not a second deposit while the balance is due
    covers_with_held = is_stage and paid_fen + sum(tender.amount_fen for tender in held) == order.due_fen
    covers = covers_with_held or (is_stage and paid_fen == order.due_fen)
    if order.status == Order.PENDING_PAYMENT and covers:
        book_stage(
            order,
            at=moment,
            note=transaction_id,
            capture=held if covers_with_held else [],
            release=[] if covers_with_held else held,
            member_id=order.member_id,
        )
    elif order.status == Order.PENDING_PAYMENT and is_stage:
        write_log(order, "paid_late", actor="system", note=_("of a split given up, the money goes back"))
        _send_back(
            order,
            payment,
            kind=Refund.LATE,
            reason=_("Paid in another way"),
            key="split",
            text=_(
                "You chose another way to pay order %(number)s meanwhile. ¥%(amount)s is being returned to you."
            ),
        )
    elif order.status != Order.CANCELLED:
        write_log(order, "duplicate", actor="system", note=transaction_id)
        _send_back(
            order,
            payment,
            kind=Refund.DUPLICATE,
            reason=_("Paid twice"),
            key="duplicate",
            text=_(
                "Your order %(number)s was paid twice. The second payment of ¥%(amount)s is being returned to you."
            ),
        )
    elif covers and reserve_again(order, cause="reallocate", actor="system"):
        _book(order, action="paid_late", at=moment, note=transaction_id)
    else:
        why = _("what it took is not to be had any more, the money goes back")
        if not covers:
            why = _("the rest is not held any more, the money goes back")
        write_log(order, "paid_late", actor="system", note=why)
        _send_back(
            order,
            payment,
            kind=Refund.LATE,
            reason=_("Paid after cancellation"),
            key="late",
            text=_(
                "Your payment for order %(number)s came after the order was cancelled. "
                "¥%(amount)s is being returned to you."
            ),
        )
    return order


def _send_back(order: Order, payment: Payment, *, kind: str, reason: str, key: str, text: str) -> None:
    """Ask for the refund of money that the order does not need, and tell the buyer: `text` with number and amount."""
    request_refund(order, payment, kind=kind, reason=reason, actor="system")
    said = {"number": order.number, "amount": money.yuan(payment.paid_fen)}
    tell_buyer(order, payment, key=f"{key}-{payment.pk}", text=text % said)


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
    if payment.refunded_fen:  # it did not match, and an operator sent it back
        return _("its money was asked back before it matched")
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
        payment.status, payment.paid_fen, payment.next_query_at = Payment.MISMATCH, max(paid_fen, 0), None
        fields += ["status", "paid_fen", "next_query_at"]
        if not Payment.objects.filter(transaction_id=transaction_id).exists():
            payment.transaction_id = transaction_id
            fields.append("transaction_id")
    payment.save(update_fields=fields)
    write_log(order, "difference", actor="system", note=difference)
    log.error("payment does not match", payment=payment.pk, order=order.pk)


def book_stage(
    order: Order,
    *,
    at: datetime,
    note: str = "",
    capture: Sequence[Payment] = (),
    release: Sequence[Payment] = (),
    member_id: int | None = None,
) -> None:
    """What was due is paid: the deposit of a presale, which then waits for its balance, or the whole order."""
    if order.payment_stage != Payment.DEPOSIT:
        _book(
            order,
            action="paid",
            at=at,
            note=note,
            capture=capture,
            release=release,
            member_id=member_id,
        )
        return
    terms = PresaleOrder.objects.get(order_id=order.pk)
    PresaleOrder.objects.filter(pk=terms.pk).update(remind_at=terms.balance_starts_at)
    order.deposit_paid_at, order.expires_at, order.due_at = at, terms.balance_ends_at, terms.balance_ends_at
    order.save(update_fields=["deposit_paid_at", "expires_at", "due_at"])
    write_log(
        order, "deposit_paid", actor="system", note=note or (capture[0].out_trade_no if capture else "")
    )
    if order.member_id is not None:
        publish(
            DepositPaid(order_id=order.pk, member_id=order.member_id, deposit_fen=order.deposit_fen, at=at),
            key=f"order:{order.pk}",
        )
    _settle_tenders(capture, release, at, member_id)


def _book(
    order: Order,
    *,
    action: str,
    at: datetime,
    note: str = "",
    capture: Sequence[Payment] = (),
    release: Sequence[Payment] = (),
    member_id: int | None = None,
) -> None:
    """Pending or cancelled → paid, with everything that follows from it in the same transaction.

    `capture` are the tenders that pay it (held here when they are not yet), `release` those that do not any more.
    The ledger is last in the order of locks.
    """
    order.status, order.paid_at, order.paid_fen, order.due_at = Order.PAID, at, order.total_fen, None
    order.cancelled_at, order.cancel_reason = None, ""
    order.save(update_fields=["status", "paid_at", "paid_fen", "due_at", "cancelled_at", "cancel_reason"])
    write_log(order, action, actor="system", note=note or (capture[0].out_trade_no if capture else ""))
    has_parcels = bool(create_fulfilments(order_id=order.pk))
    has_pieces = deliver_pieces(order, at=at)
    if order.member_id is not None:
        crm_services.book_purchase(member_id=order.member_id, paid_fen=order.paid_fen, at=at)
        crm_services.record_activity(
            member_id=order.member_id,
            kind="paid",
            at=at,
            subject=f"order:{order.pk}",
            amount_fen=order.paid_fen,
        )
        publish(
            OrderPaid(order_id=order.pk, member_id=order.member_id, paid_fen=order.paid_fen, at=at),
            key=f"order:{order.pk}",
        )
    if has_pieces and not has_parcels:
        complete_order(order, at=at)
    settle_effects(order)
    _settle_tenders(capture, release, at, member_id)


def _settle_tenders(
    capture: Sequence[Payment], release: Sequence[Payment], at: datetime, member_id: int | None
) -> None:
    for tender in release:
        tenders.release_tender(tender, member_id=member_id)
    for tender in capture:
        if member_id is not None:
            tenders.hold_tender(tender, member_id=member_id)
        tenders.capture_tender(tender, at=at)
