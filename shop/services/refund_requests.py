"""Asking for money of a payment to go back; `services.refunds` sends it and books what becomes of it."""

from django.db.models import F
from django.utils.translation import gettext as _

from core import clock
from core.wakeups import wake
from shop.errors import WrongState
from shop.models import Order, Payment, Refund


def request_refund(
    order: Order,
    payment: Payment,
    *,
    kind: str,
    reason: str,
    actor: str,
    user_id: int | None = None,
    amount_fen: int | None = None,
    cause: str = "",
    aftersale_id: int | None = None,
) -> Refund:
    """Write down that money of a payment goes back; a worker sends it after commit. Call under the order's lock.

    `amount_fen` None: all that was paid. The amount is claimed on the payment by a guarded update, so that refunds
    never sum to more than it took. Idempotent on: (payment, cause); `cause` "": the kind, once. Raises WrongState.
    """
    cause = cause or kind
    known = Refund.objects.filter(payment=payment, cause=cause).exclude(status=Refund.CLOSED).first()
    if known is not None:
        return known
    moment = clock.now()
    amount = payment.paid_fen if amount_fen is None else amount_fen
    claimed = Payment.objects.filter(pk=payment.pk, refunded_fen__lte=F("paid_fen") - amount).update(
        refunded_fen=F("refunded_fen") + amount
    )
    if not claimed:
        raise WrongState(_("This money is already on its way back."), code="nothing_left")
    refund = Refund.objects.create(
        order=order,
        payment=payment,
        aftersale_id=aftersale_id,
        kind=kind,
        cause=cause,
        out_refund_no=f"{payment.out_trade_no}-R{Refund.objects.filter(payment=payment).count() + 1}",
        amount_fen=amount,
        reason=reason[:80],
        actor=actor,
        user_id=user_id,
        requested_at=moment,
        next_attempt_at=moment,
    )
    wake("shop.tasks.send_refunds", queue="fast")
    return refund
