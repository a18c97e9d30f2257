"""Money of direct payments that goes back: asked for, sent, booked; freed again when WeChat refuses, or settled
in another way.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.events import FIRST_BACKOFF, LONGEST_BACKOFF
from core.locks import lock_row
from core.wakeups import wake
from shop.errors import NoSuchOrder, PlatformBusy, WrongState
from shop.models import DirectPayment, DirectRefund, Refund
from shop.services.direct import goods_of
from shop.services.refunds_sent import note_answer, send_due
from wechat import errors as wechat_errors
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

WECHAT_RETURNS_FOR = timedelta(days=365)
"""WeChat Pay, "申请退款": money of an order older than a year is not returned."""
HELD, ANSWERED_WITHIN = timedelta(minutes=5), timedelta(minutes=1)


def request_direct_refund(
    payment: DirectPayment,
    *,
    amount_fen: int,
    bonus_fen: int = 0,
    reason: str,
    by: str = "",
    user_id: int | None = None,
) -> DirectRefund:
    """Write down that money goes back; a worker sends it after commit. Call under the payment's lock.

    The amount is claimed by a guarded update. Raises WrongState.
    """
    moment = clock.now()
    if payment.paid_at is not None and payment.paid_at < moment - WECHAT_RETURNS_FOR:
        raise WrongState(
            _("WeChat Pay returns money for one year only. Please settle it with the member in another way.")
        )
    claimed = DirectPayment.objects.filter(
        pk=payment.pk, refunded_fen__lte=F("paid_fen") - amount_fen
    ).update(refunded_fen=F("refunded_fen") + amount_fen)
    if not claimed:
        raise WrongState(_("This money is already on its way back."), code="nothing_left")
    refund = DirectRefund.objects.create(
        payment=payment,
        out_refund_no=f"{payment.out_trade_no}-R{DirectRefund.objects.filter(payment=payment).count() + 1}",
        amount_fen=amount_fen,
        bonus_fen=bonus_fen,
        reason=" ".join(reason.replace("\x00", "").split())[:80],
        actor=by[:80],
        user_id=user_id,
        requested_at=moment,
        next_attempt_at=moment,
    )
    wake("shop.tasks.send_refunds", queue="fast")
    return refund


@transaction.atomic
def return_direct_mismatch(*, payment_id: int, by: str = "", user_id: int | None = None) -> DirectRefund:
    """Give back money that did not match its payment. Locks: payment. Idempotent. Raises WrongState."""
    payment = lock_row(DirectPayment.objects.filter(pk=payment_id))
    if payment is None or payment.status != DirectPayment.MISMATCH or payment.paid_fen <= 0:
        raise WrongState(_("Only money that did not match can be returned here."))
    under_way = payment.refunds.exclude(status=Refund.CLOSED).first()
    if under_way is not None:
        return under_way
    return request_direct_refund(
        payment, amount_fen=payment.paid_fen, reason=_("Amount did not match"), by=by, user_id=user_id
    )


@transaction.atomic
def retry_direct_refunds(*, refund_ids: list[int]) -> int:
    """Send again at once what waits or hangs, with the same number; returns how many. Idempotent."""
    moment = clock.now()
    rows = DirectRefund.objects.filter(pk__in=refund_ids)
    waiting = rows.filter(status__in=[Refund.PENDING, Refund.PROCESSING]).update(next_attempt_at=moment)
    hanging = rows.filter(status=Refund.ABNORMAL)
    return waiting + hanging.update(status=Refund.PROCESSING, next_attempt_at=moment)


def settle_outside(*, refund_id: int, how: str, by: str, user_id: int | None = None) -> DirectRefund:
    """An operator has given the member her money in another way, because WeChat keeps refusing: the refund is over, is
    never sent again, and what it took stays taken. `how` says what was done; it is kept with who said so.

    WeChat is asked first: what it knows of the refund is booked, and money that it returns is not given twice.
    Network, outside of a transaction. Locks: payment. Idempotent. Raises WrongState (no words; WeChat returns it or has
    returned it; it was never tried; what it took is hers again), NoSuchOrder, PlatformBusy (WeChat does not say).
    """
    words, actor = " ".join(how.replace("\x00", "").split())[:200], by.strip()[:80]
    if not words or not actor:
        raise WrongState(_("Say how it was settled: by bank transfer of such a day, for example."))
    refund = DirectRefund.objects.select_related("payment__account").filter(pk=refund_id).first()
    if refund is None:
        raise NoSuchOrder(_("No refund has the number %(number)s.") % {"number": refund_id})
    if refund.status == DirectRefund.OUTSIDE:
        return refund
    _refuse_settling(refund)
    if refund.status != Refund.CLOSED:
        before, held_until = refund.next_attempt_at, _hold(refund)
        try:
            _learn(refund)
        except Refusal:
            held = DirectRefund.objects.filter(pk=refund.pk, next_attempt_at=held_until)
            held.update(next_attempt_at=before)
            raise
    return _settle(refund.pk, words, actor, user_id)


def _hold(refund: DirectRefund) -> datetime:
    """From here on nobody sends it for as long as asking takes, and who did so last has had his answer. Until when."""
    moment = clock.now()
    if refund.status == Refund.PENDING and refund.attempts and refund.next_attempt_at is not None:
        pause = min(FIRST_BACKOFF * 2 ** (min(refund.attempts, 12) - 1), LONGEST_BACKOFF)
        is_in_flight = moment < refund.next_attempt_at - max(pause, ANSWERED_WITHIN) + ANSWERED_WITHIN
    else:
        is_in_flight = False
    held = DirectRefund.objects.filter(pk=refund.pk, status=refund.status, attempts=refund.attempts)
    if is_in_flight or not held.update(next_attempt_at=moment + HELD):
        raise WrongState(_("It is being sent just now. Please look again in a minute."))
    return moment + HELD


def _refuse_settling(refund: DirectRefund) -> None:
    if refund.status == Refund.SUCCESS:
        raise WrongState(_("WeChat Pay has returned this money."))
    if refund.status == Refund.PENDING and not refund.last_error:
        raise WrongState(_("WeChat Pay has not refused it yet."))
    if refund.status == Refund.CLOSED and not _is_owed(refund):
        raise WrongState(_("What it took is the member's again. Nothing is owed."))


def _is_owed(refund: DirectRefund) -> bool:
    """A closed one of money for which she has nothing: an exchange that was taken back, a sum that did not match."""
    payment = refund.payment
    return payment.kind == DirectPayment.MALL or payment.status == DirectPayment.MISMATCH


def _learn(refund: DirectRefund) -> None:
    """Book what WeChat knows of it; raises when the money is on its way, or WeChat does not say."""
    try:
        state = wechat_services.query_refund(
            account_id=refund.payment.account_id, out_refund_no=refund.out_refund_no
        )
    except wechat_errors.NoSuchOrder:
        return  # it never took it
    except wechat_errors.PlatformError as error:
        raise PlatformBusy(
            _("WeChat Pay does not say whether it returns this money. Please try again later.")
        ) from error
    booked = confirm_direct_refund(
        out_refund_no=refund.out_refund_no,
        refund_id=state.refund_id,
        status=state.status,
        refund_fen=state.refund_fen,
    )
    _refuse_settling(booked)
    if state.status in ("SUCCESS", "PROCESSING"):
        raise WrongState(_("WeChat Pay is returning this money."))


@transaction.atomic
def _settle(refund_id: int, words: str, by: str, user_id: int | None) -> DirectRefund:
    payment = lock_row(DirectPayment.objects.filter(refunds=refund_id))
    assert payment is not None
    refund = DirectRefund.objects.get(pk=refund_id)
    refund.payment = payment
    if refund.status == DirectRefund.OUTSIDE:
        return refund
    _refuse_settling(refund)
    if refund.status == Refund.PROCESSING:
        raise WrongState(_("WeChat Pay is returning this money."))
    if refund.status == Refund.CLOSED and not DirectPayment.objects.filter(
        pk=payment.pk, refunded_fen__lte=F("paid_fen") - refund.amount_fen
    ).update(refunded_fen=F("refunded_fen") + refund.amount_fen):
        raise WrongState(_("This money is already on its way back."), code="nothing_left")
    refund.status, refund.refunded_at, refund.next_attempt_at = DirectRefund.OUTSIDE, clock.now(), None
    refund.settlement, refund.settled_by, refund.last_error = words, by, ""
    refund.save(
        update_fields=["status", "refunded_at", "next_attempt_at", "settlement", "settled_by", "last_error"]
    )
    log.info("refund settled outside", refund=refund.out_refund_no, user=user_id)
    return refund


def send_direct_refunds(*, limit: int = 50) -> int:
    """Send refunds that are due, or ask about those under way; returns how many got an answer. Network."""
    return send_due(DirectRefund.objects.all(), confirm_direct_refund, limit=limit)


@transaction.atomic
def confirm_direct_refund(
    *,
    out_refund_no: str,
    refund_id: str,
    status: str,
    refund_fen: int,
    at: datetime | None = None,
    account_id: int | None = None,
) -> DirectRefund:
    """Book what WeChat says about a refund: SUCCESS, PROCESSING, ABNORMAL or CLOSED (then what it took comes back).

    Locks: payment, then what its kind needs. Idempotent; a late PROCESSING never undoes a SUCCESS. Raises NoSuchOrder.
    """
    payment = lock_row(DirectPayment.objects.filter(refunds__out_refund_no=out_refund_no))
    if payment is None:
        raise NoSuchOrder(_("No refund has the number %(number)s.") % {"number": out_refund_no})
    refund = DirectRefund.objects.get(out_refund_no=out_refund_no)
    refund.payment = payment
    now = note_answer(
        refund, refund_id=refund_id, status=status, refund_fen=refund_fen, at=at, account_id=account_id
    )
    if now == Refund.CLOSED:
        DirectPayment.objects.filter(pk=payment.pk).update(refunded_fen=F("refunded_fen") - refund.amount_fen)
    if now == Refund.CLOSED and payment.status == DirectPayment.PAID:
        goods_of(payment.kind).refund_refused(refund)
    return refund
