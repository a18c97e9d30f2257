"""Money that goes back, and every effect of an order with it."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, money
from core.events import backoff, publish
from core.locks import lock_row
from crm import services as crm_services
from shop.errors import NoSuchOrder, WrongState
from shop.events import OrderRefunded
from shop.models import Order, Payment, Refund
from shop.services.messages import tell_buyer
from shop.services.orders import unreserve, write_log
from shop.services.payments import notify_url, request_refund
from wechat import errors as wechat_errors
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

# How often to ask about a refund that WeChat is working on; its notice usually comes within a minute.
ASK_AGAIN = timedelta(minutes=10)


@transaction.atomic
def refund_order(*, order_id: int, reason: str, by: str = "", user_id: int | None = None) -> Refund:
    """Give the whole order's money back. It may not be shipped from now on; its effects are reversed on success.

    Locks: order. Idempotent: the refund under way is returned. Raises NoSuchOrder, WrongState.
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    under_way = order.refunds.filter(kind=Refund.ORDER).exclude(status=Refund.CLOSED).first()
    if under_way is not None:
        return under_way
    paid = order.payments.filter(status=Payment.PAID, kind__in=Payment.WECHAT)
    payment = paid.exclude(refunds__in=_live_refunds(order)).first()
    if payment is not None and payment.paid_fen != order.paid_fen:
        payment = None  # paid from several sources
    if order.status not in (Order.PAID, Order.SHIPPED, Order.RECEIVED) or payment is None:
        raise WrongState(
            _("Only orders paid by WeChat Pay can be refunded; this one is: %(status)s.")
            % {"status": order.status_label}
        )
    order.refund_requested_at = clock.now()
    order.save(update_fields=["refund_requested_at"])
    write_log(order, "refund_requested", actor=by, user_id=user_id, note=reason)
    return request_refund(order, payment, kind=Refund.ORDER, reason=reason, actor=by, user_id=user_id)


@transaction.atomic
def refund_mismatch(*, payment_id: int, by: str = "", user_id: int | None = None) -> Refund:
    """Give back money that did not match its order, decided by an operator.

    Locks: order. Idempotent on: payment. Raises WrongState.
    """
    payment = Payment.objects.filter(pk=payment_id).first()
    order = lock_row(Order.objects.filter(pk=payment.order_id)) if payment is not None else None
    if payment is None or order is None or payment.status != Payment.MISMATCH or payment.paid_fen <= 0:
        raise WrongState(_("Only money that did not match its order can be returned here."))
    write_log(order, "refund_requested", actor=by, user_id=user_id, note=payment.out_trade_no)
    return request_refund(
        order, payment, kind=Refund.MISMATCH, reason=_("Amount did not match"), actor=by, user_id=user_id
    )


def _live_refunds(order: Order) -> list[Refund]:
    return list(order.refunds.exclude(status=Refund.CLOSED))


def send_refunds(*, limit: int = 50) -> int:
    """Send refunds that are due, or ask about those under way; returns how many got an answer.

    Network, outside transactions. Every attempt uses the refund's own number, so an unclear answer is asked again
    without risk. Claimed by a conditional update.
    """
    moment = clock.now()
    due = Refund.objects.filter(status__in=[Refund.PENDING, Refund.PROCESSING], next_attempt_at__lte=moment)
    answered = 0
    for refund in list(due.select_related("payment__account").order_by("next_attempt_at")[:limit]):
        claimed = Refund.objects.filter(
            pk=refund.pk, status=refund.status, attempts=refund.attempts, next_attempt_at__lte=moment
        ).update(
            attempts=refund.attempts + 1,
            next_attempt_at=clock.now() + max(backoff(min(refund.attempts + 1, 12)), timedelta(minutes=1)),
        )
        if claimed:
            answered += _send(refund)
    return answered


def _send(refund: Refund) -> bool:
    payment = refund.payment
    assert payment.account is not None, "only money at WeChat is sent back through it"
    try:
        if refund.status == Refund.PROCESSING:
            state = wechat_services.query_refund(
                account_id=payment.account.pk, out_refund_no=refund.out_refund_no
            )
        else:
            state = wechat_services.refund_payment(
                account_id=payment.account.pk,
                out_trade_no=payment.out_trade_no,
                out_refund_no=refund.out_refund_no,
                refund_fen=refund.amount_fen,
                total_fen=payment.paid_fen,
                reason=refund.reason,
                notify_url=notify_url(payment.account.key),
            )
    except wechat_errors.PlatformError as error:
        log.warning("refund not answered", refund=refund.pk, code=error.code, detail=error.detail)
        Refund.objects.filter(pk=refund.pk).update(last_error=f"{error.code}: {error.message}"[:300])
        return False
    confirm_refund(
        out_refund_no=refund.out_refund_no,
        refund_id=state.refund_id,
        status=state.status,
        refund_fen=state.refund_fen,
    )
    return True


@transaction.atomic
def confirm_refund(
    *,
    out_refund_no: str,
    refund_id: str,
    status: str,
    refund_fen: int,
    at: datetime | None = None,
    account_id: int | None = None,
) -> Refund:
    """Book what WeChat says about a refund: SUCCESS, PROCESSING, ABNORMAL or CLOSED.

    Locks: order, refund, then stock, memberstats. Idempotent; a late PROCESSING never undoes a SUCCESS.
    Publishes: OrderRefunded. Raises NoSuchOrder when the number is not ours.
    """
    order_id = Refund.objects.filter(out_refund_no=out_refund_no).values_list("order_id", flat=True).first()
    order = lock_row(Order.objects.filter(pk=order_id or 0))
    refund = lock_row(Refund.objects.filter(out_refund_no=out_refund_no))
    if order is None or refund is None:
        raise NoSuchOrder(_("No refund has the number %(number)s.") % {"number": out_refund_no})
    if refund.status in (Refund.SUCCESS, Refund.CLOSED):
        return refund
    if refund_fen != refund.amount_fen or account_id not in (None, refund.payment.account_id):
        refund.last_error = _("WeChat says ¥%(said)s, ours is ¥%(amount)s") % {
            "said": money.yuan(refund_fen),
            "amount": money.yuan(refund.amount_fen),
        }
        refund.save(update_fields=["last_error"])
        log.error("refund does not match", refund=refund.pk, order=order.pk)
        return refund
    refund.refund_id = refund_id or refund.refund_id
    moment = at or clock.now()
    if status == "SUCCESS":
        refund.status, refund.refunded_at, refund.next_attempt_at = Refund.SUCCESS, moment, None
        refund.last_error = ""
        if refund.kind == Refund.ORDER:
            _reverse(order, refund, moment)
        write_log(order, "refunded", actor=refund.actor or "system", note=money.yuan(refund.amount_fen))
    elif status == "PROCESSING":
        refund.status, refund.last_error = Refund.PROCESSING, ""
        refund.next_attempt_at = clock.now() + ASK_AGAIN
    elif refund.status != Refund.ABNORMAL or status == "CLOSED":
        _note_failure(order, refund, status)
    refund.save(update_fields=["status", "refund_id", "refunded_at", "next_attempt_at", "last_error"])
    return refund


def _reverse(order: Order, refund: Refund, at: datetime) -> None:
    """Undo what `paid` did. Goods that left come back through a stock count, not by themselves."""
    if order.status == Order.PAID:
        unreserve(order, cause="refund", actor=refund.actor or "system")
    order.status, order.refunded_at, order.refunded_fen, order.due_at = (
        Order.REFUNDED, at, refund.amount_fen, None
    )  # fmt: skip
    order.save(update_fields=["status", "refunded_at", "refunded_fen", "due_at"])
    tell_buyer(
        order,
        refund.payment,
        key="refunded",
        text=_("Order %(number)s: ¥%(amount)s was returned to you.")
        % {"number": order.number, "amount": money.yuan(refund.amount_fen)},
    )
    if order.member_id is None:
        return
    crm_services.book_refund(member_id=order.member_id, refunded_fen=refund.amount_fen, at=at)
    crm_services.record_activity(
        member_id=order.member_id,
        kind="refunded",
        at=at,
        subject=f"order:{order.pk}",
        amount_fen=refund.amount_fen,
    )
    publish(
        OrderRefunded(order_id=order.pk, member_id=order.member_id, refund_fen=refund.amount_fen, at=at),
        key=f"order:{order.pk}",
    )


def _note_failure(order: Order, refund: Refund, status: str) -> None:
    """CLOSED: refused, it may be asked for anew. ABNORMAL: money hangs at the bank, settle it at WeChat Pay."""
    refund.next_attempt_at = None
    if status == "CLOSED":
        refund.status, refund.last_error = Refund.CLOSED, _("WeChat Pay closed this refund.")
        if refund.kind == Refund.ORDER:
            order.refund_requested_at = None
            order.save(update_fields=["refund_requested_at"])
    else:
        refund.status = Refund.ABNORMAL
        refund.last_error = _(
            "The money cannot reach the buyer's account; settle it in WeChat Pay's merchant page."
        )
    write_log(order, "refund_failed", actor="system", note=refund.last_error)


def retry_refunds(*, refund_ids: list[int]) -> int:
    """Send again at once what waits or hangs, with the same number; returns how many. Idempotent."""
    moment = clock.now()
    waiting = Refund.objects.filter(pk__in=refund_ids, status__in=[Refund.PENDING, Refund.PROCESSING])
    hanging = Refund.objects.filter(pk__in=refund_ids, status=Refund.ABNORMAL)
    return waiting.update(next_attempt_at=moment) + hanging.update(
        status=Refund.PROCESSING, next_attempt_at=moment
    )
