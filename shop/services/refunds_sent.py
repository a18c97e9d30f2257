"""Refunds on their way, of orders and of direct payments alike: sent, asked about, and what WeChat says of them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from core import clock, money
from core.events import backoff
from shop.models import DirectRefund, Refund
from shop.services.payments import notify_url
from wechat import errors as wechat_errors
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

ASK_AGAIN = timedelta(minutes=10)
"""How often to ask about a refund that WeChat is working on; its notice usually comes within a minute."""


def send_due(rows: QuerySet[Any], confirm: Callable[..., Any], *, limit: int) -> int:
    """Send what is due of these refunds, or ask about what is under way; returns how many got an answer.

    Network, outside transactions. Every attempt uses the refund's own number, so an unclear answer is asked again
    without risk. Claimed by a conditional update. `confirm` books what WeChat says.
    """
    moment = clock.now()
    due = rows.filter(status__in=[Refund.PENDING, Refund.PROCESSING], next_attempt_at__lte=moment)
    answered = 0
    for refund in list(due.select_related("payment__account").order_by("next_attempt_at")[:limit]):
        claimed = rows.filter(
            pk=refund.pk, status=refund.status, attempts=refund.attempts, next_attempt_at__lte=moment
        ).update(
            attempts=refund.attempts + 1,
            next_attempt_at=clock.now() + max(backoff(min(refund.attempts + 1, 12)), timedelta(minutes=1)),
        )
        if claimed:
            answered += _send(refund, rows, confirm)
    return answered


def _send(refund: Refund | DirectRefund, rows: QuerySet[Any], confirm: Callable[..., Any]) -> bool:
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
        log.warning("refund not answered", refund=refund.out_refund_no, code=error.code, detail=error.detail)
        rows.filter(pk=refund.pk).update(last_error=f"{error.code}: {error.message}"[:300])
        return False
    confirm(
        out_refund_no=refund.out_refund_no,
        refund_id=state.refund_id,
        status=state.status,
        refund_fen=state.refund_fen,
    )
    return True


def note_answer(
    refund: Refund | DirectRefund,
    *,
    refund_id: str,
    status: str,
    refund_fen: int,
    at: datetime | None,
    account_id: int | None,
) -> str:
    """Write down what WeChat says of a refund (SUCCESS, PROCESSING, ABNORMAL or CLOSED); returns its new status, ""
    when there is nothing to book: it is over, it stands where it stood, or another amount or merchant is named.

    Call under the refund's lock. A late PROCESSING never undoes a SUCCESS.
    """
    if (
        refund.status == DirectRefund.OUTSIDE and status == "SUCCESS"
    ):  # the audit and WeChat's bill say it too
        refund.refund_id = refund_id or refund.refund_id
        refund.last_error = _("WeChat Pay has returned this money as well: it went back twice.")
        refund.save(update_fields=["refund_id", "last_error"])
        log.error("refund settled outside was returned too", refund=refund.out_refund_no)
    if refund.status in (Refund.SUCCESS, Refund.CLOSED, DirectRefund.OUTSIDE):
        return ""
    if refund_fen != refund.amount_fen or account_id not in (None, refund.payment.account_id):
        refund.last_error = _("WeChat says ¥%(said)s, ours is ¥%(amount)s") % {
            "said": money.yuan(refund_fen),
            "amount": money.yuan(refund.amount_fen),
        }
        refund.save(update_fields=["last_error"])
        log.error("refund does not match", refund=refund.out_refund_no)
        return ""
    before, refund.refund_id = refund.status, refund_id or refund.refund_id
    refund.next_attempt_at, refund.last_error = None, ""
    if status == "SUCCESS":
        refund.status, refund.refunded_at = Refund.SUCCESS, at or clock.now()
    elif status == "PROCESSING":
        refund.status, refund.next_attempt_at = Refund.PROCESSING, clock.now() + ASK_AGAIN
    elif status == "CLOSED":  # refused, it may be asked for anew
        refund.status, refund.last_error = Refund.CLOSED, _("WeChat Pay closed this refund.")
    else:  # the money hangs at the bank
        refund.status = Refund.ABNORMAL
        refund.last_error = _(
            "The money cannot reach the buyer's account; settle it in WeChat Pay's merchant page."
        )
    refund.save(update_fields=["status", "refund_id", "refunded_at", "next_attempt_at", "last_error"])
    return refund.status if refund.status != before else ""
