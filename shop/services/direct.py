"""Money at WeChat that pays no order. Whatever is told, in whatever order and however often, it is booked once.

What it buys registers here (`sell`): what to do when it is paid, when its sheet was closed, and when WeChat refuses a
refund.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from core import clock, money
from core.locks import lock_row
from shop import rules
from shop.errors import NoSuchOffer, NoSuchOrder, PaymentNotPossible, PlatformBusy
from shop.models import DirectPayment, DirectRefund, Payment
from shop.services.payments import notify_url, payer_of
from shop.services.payments_booked import Payer
from shop.services.payments_ended import DEAD_STATES, PAID_STATES
from wechat import errors as wechat_errors
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

STILL_OPEN = timedelta(minutes=5)


@dataclass(frozen=True)
class Goods:
    """What one kind of direct payment brings; each is called under the payment's lock.

    `closed`: what the open sheet took is free again; it may be called twice.
    """

    words: Callable[[DirectPayment], str]
    paid: Callable[[DirectPayment], None]
    closed: Callable[[DirectPayment], None]
    refund_refused: Callable[[DirectRefund], None]


_goods: dict[str, Goods] = {}


def sell(kind: str, goods: Goods) -> None:
    """Register a kind; called once when its module is imported."""
    _goods[kind] = goods


def goods_of(kind: str) -> Goods:
    return _goods[kind]


def is_direct(out_trade_no: str) -> bool:
    return out_trade_no.startswith(DirectPayment.PREFIX)


def new_direct_payment(*, kind: str, member_id: int, amount_fen: int, payer: Payer) -> DirectPayment:
    """The row of a payment that WeChat will be asked for. Call inside a transaction, with what it buys."""
    moment = clock.now()
    return DirectPayment.objects.create(
        kind=kind,
        member_id=member_id,
        account_id=payer.account_id,
        way=payer.kind,
        out_trade_no=f"{DirectPayment.PREFIX}{clock.local(moment):%Y%m%d%H%M%S}{token_hex(4)}",
        openid=payer.openid,
        amount_fen=amount_fen,
        expires_at=moment + timedelta(minutes=settings.ORDER_PAYMENT_MINUTES),
        created_at=moment,
        next_query_at=rules.next_query_at(moment, 0),
    )


def open_sheet(payment: DirectPayment, *, client_ip: str) -> dict[str, Any] | None:
    """What the phone needs to pay, {"paid": True} when it was paid meanwhile, None when WeChat closed this number.

    Network; not inside a transaction. Raises PlatformBusy.
    """
    try:
        return dict(
            wechat_services.start_payment(
                account_id=payment.account_id,
                way=payment.way,
                out_trade_no=payment.out_trade_no,
                amount_fen=payment.amount_fen,
                description=goods_of(payment.kind).words(payment),
                openid=payment.openid,
                client_ip=client_ip,
                expires_at=payment.expires_at,
                notify_url=notify_url(payment.account.key),
            )
        )
    except (wechat_errors.AlreadyPaid, wechat_errors.InvalidRequest) as error:
        log.warning("direct prepay refused", payment=payment.pk, code=error.code, detail=error.detail)
        return {"paid": True} if _settled(payment) == DirectPayment.PAID else None
    except wechat_errors.PlatformError as error:
        log.warning("direct prepay failed", payment=payment.pk, code=error.code, detail=error.detail)
        raise PlatformBusy(
            _("WeChat Pay does not answer at the moment. Please try again; you have not paid yet.")
        )


def fits(payer: Payer) -> Q:
    """Of direct payments: open, at this merchant, by this payer in this way, with time enough to pay."""
    return Q(
        status=DirectPayment.OPEN,
        account_id=payer.account_id,
        openid=payer.openid,
        way=payer.kind,
        expires_at__gt=clock.now() + STILL_OPEN,
    )


def refuse_other_terms(shown: str, terms: str) -> None:
    """Nobody buys other terms than the page showed her; "" when she was shown none. Raises NoSuchOffer."""
    if shown and shown != terms:
        raise NoSuchOffer(_("This has just changed. Please look at it again."))


def start_sheet(
    arrange: Callable[[Payer], DirectPayment],
    *,
    member_id: int,
    wish: Q,
    as_offered: Q,
    way: str,
    client_ip: str,
) -> dict[str, Any]:
    """Start the payment of what she chose at WeChat; answers as `start_payment` does for an order.

    `arrange` writes its payment by a payer or finds the open one again; once more when WeChat has closed that number.
    Her other sheets of the same `wish` (in another way, with little time left, no more `as_offered` now) end first, so
    that she neither pays twice nor is refused for what she has not paid; one that is paid by now is the answer.
    Raises PaymentNotPossible, PlatformBusy.
    """
    payer = payer_of(member_id, way if way in Payment.WECHAT else Payment.JSAPI)
    others = DirectPayment.objects.filter(wish, member_id=member_id, status=DirectPayment.OPEN)
    for other in list(others.exclude(fits(payer) & as_offered).select_related("account")):
        if _settled(other) == DirectPayment.PAID:
            return {"paid": True}
    for _attempt in range(2):
        started = open_sheet(arrange(payer), client_ip=client_ip)
        if started is not None:
            return started
    raise PaymentNotPossible(_("WeChat Pay could not start the payment. Please try again."))


@transaction.atomic
def confirm_direct(
    *,
    out_trade_no: str,
    transaction_id: str,
    paid_fen: int,
    paid_at: datetime | None = None,
    account_id: int | None = None,
) -> DirectPayment:
    """Book money that WeChat says was paid, with what it buys, once.

    Locks: payment, then what its kind needs (member, ledger). Idempotent on: transaction_id. An amount or merchant
    other than ours is not booked; the payment shows the difference. Raises NoSuchOrder.
    """
    payment = lock_row(DirectPayment.objects.filter(out_trade_no=out_trade_no))
    if payment is None:
        raise NoSuchOrder(_("No payment has the number %(number)s.") % {"number": out_trade_no})
    if payment.status == DirectPayment.PAID and payment.transaction_id == transaction_id:
        return payment
    if difference := _difference(payment, transaction_id, paid_fen, account_id):
        _note_difference(payment, transaction_id, paid_fen, difference)
        return payment
    payment.status, payment.transaction_id, payment.paid_fen = DirectPayment.PAID, transaction_id, paid_fen
    payment.paid_at, payment.next_query_at, payment.difference = paid_at or clock.now(), None, ""
    payment.save(
        update_fields=["status", "transaction_id", "paid_fen", "paid_at", "next_query_at", "difference"]
    )
    goods_of(payment.kind).paid(payment)
    return payment


def _difference(payment: DirectPayment, transaction_id: str, paid_fen: int, account_id: int | None) -> str:
    if account_id not in (None, payment.account_id):
        return _("told by another merchant account")
    if paid_fen != payment.amount_fen:
        return _("paid ¥%(paid)s, expected ¥%(amount)s") % {
            "paid": money.yuan(paid_fen),
            "amount": money.yuan(payment.amount_fen),
        }
    if payment.status in (DirectPayment.PAID, DirectPayment.MISMATCH):
        return _("a second transaction under the same number: %(transaction)s") % {
            "transaction": transaction_id
        }
    if DirectPayment.objects.filter(transaction_id=transaction_id).exclude(pk=payment.pk).exists():
        return _("transaction %(transaction)s belongs to another payment") % {"transaction": transaction_id}
    return ""


def _note_difference(payment: DirectPayment, transaction_id: str, paid_fen: int, difference: str) -> None:
    payment.difference = difference[:300]
    fields = ["difference"]
    has_moved = paid_fen != payment.amount_fen
    if has_moved and payment.status in (DirectPayment.OPEN, DirectPayment.CLOSED):
        payment.status, payment.paid_fen, payment.next_query_at = (
            DirectPayment.MISMATCH,
            max(paid_fen, 0),
            None,
        )
        fields += ["status", "paid_fen", "next_query_at"]
        if not DirectPayment.objects.filter(transaction_id=transaction_id).exists():
            payment.transaction_id = transaction_id
            fields.append("transaction_id")
        goods_of(payment.kind).closed(payment)
    payment.save(update_fields=fields)
    log.error("direct payment does not match", payment=payment.pk)


def check_direct(*, member_id: int, kind: str) -> DirectPayment | None:
    """Ask WeChat about her latest payment of a kind when she returns from the sheet. Silent when WeChat is."""
    payment = latest_direct(member_id=member_id, kind=kind)
    if payment is not None and payment.status == DirectPayment.OPEN:
        try:
            learn_direct(payment)
        except wechat_errors.PlatformError as error:
            log.warning("direct payment query failed", payment=payment.pk, code=error.code)
        payment.refresh_from_db()
    return payment


def latest_direct(*, member_id: int, kind: str) -> DirectPayment | None:
    return DirectPayment.objects.filter(member_id=member_id, kind=kind).order_by("-created_at", "-pk").first()


def learn_direct(payment: DirectPayment) -> str:
    """Ask WeChat once and write down what it says; returns the payment's status. Raises PlatformError."""
    try:
        state = wechat_services.query_payment(
            account_id=payment.account_id, out_trade_no=payment.out_trade_no
        )
    except wechat_errors.NoSuchOrder:
        return payment.status  # the prepay call never arrived there
    if state.trade_state in PAID_STATES:
        confirm_direct(
            out_trade_no=payment.out_trade_no,
            transaction_id=state.transaction_id,
            paid_fen=state.paid_fen,
            paid_at=state.success_at,
        )
    elif state.trade_state in DEAD_STATES:
        _close(payment.pk)
    return DirectPayment.objects.values_list("status", flat=True).get(pk=payment.pk)


def settle_direct(payment: DirectPayment) -> str:
    """Query, then close at WeChat; returns the status, no longer open. Raises PlatformError."""
    if learn_direct(payment) == DirectPayment.OPEN:
        try:
            wechat_services.close_payment(account_id=payment.account_id, out_trade_no=payment.out_trade_no)
        except wechat_errors.AlreadyPaid:  # paid between the question and the closing
            if learn_direct(payment) == DirectPayment.OPEN:
                raise
        else:
            _close(payment.pk)
    return DirectPayment.objects.values_list("status", flat=True).get(pk=payment.pk)


def _settled(payment: DirectPayment) -> str:
    try:
        return settle_direct(payment)
    except wechat_errors.PlatformError as error:
        log.warning("direct payment not settled", payment=payment.pk, code=error.code, detail=error.detail)
        raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again."))


@transaction.atomic
def _close(payment_id: int) -> None:
    payment = lock_row(DirectPayment.objects.filter(pk=payment_id, status=DirectPayment.OPEN))
    if payment is not None:
        payment.status, payment.closed_at, payment.next_query_at = DirectPayment.CLOSED, clock.now(), None
        payment.save(update_fields=["status", "closed_at", "next_query_at"])
        goods_of(payment.kind).closed(payment)


def query_lost_direct(*, limit: int = 100) -> int:
    """Ask WeChat about direct payments whose notice has not come, and close those whose time is over; returns how many
    were found paid. Claimed by a conditional update.
    """
    found = 0
    due = DirectPayment.objects.filter(status=DirectPayment.OPEN, next_query_at__lte=clock.now())
    for payment in list(due.select_related("account").order_by("next_query_at")[:limit]):
        claimed = DirectPayment.objects.filter(
            pk=payment.pk, status=DirectPayment.OPEN, queries=payment.queries
        ).update(
            queries=min(payment.queries + 1, 30_000),
            next_query_at=_asked_again_at(payment),
        )
        if not claimed:
            continue
        try:
            is_over = payment.expires_at <= clock.now()
            found += (settle_direct if is_over else learn_direct)(payment) == DirectPayment.PAID
        except wechat_errors.PlatformError as error:
            log.warning("direct payment query failed", payment=payment.pk, code=error.code)
    return found


def _asked_again_at(payment: DirectPayment) -> datetime:
    """As for orders until its time is over; then every few minutes, until WeChat has closed it."""
    moment = clock.now()
    wanted = rules.next_query_at(payment.created_at, payment.queries + 1) or payment.expires_at
    return (
        min(wanted, payment.expires_at) if moment < min(wanted, payment.expires_at) else moment + STILL_OPEN
    )
