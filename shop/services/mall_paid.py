"""Exchanges that take money on top of points: the payment at WeChat, and what follows from it.

Points and goods are taken when she starts to pay, for both are scarce. When she does not pay in time they come back by
themselves, and money that arrives after that goes back. A coupon is hers when it is paid.
"""

from typing import Any

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.locks import lock_row
from shop.errors import PaymentNotPossible, PlatformBusy, WrongState
from shop.models import DirectPayment, DirectRefund, MallExchange, Payment, Refund
from shop.services.coupons import grant_coupon
from shop.services.direct import Goods, open_sheet, sell, settle_direct
from shop.services.mall import (
    coupon_key,
    exchange_points,
    give_back,
    locked_exchange,
    note_exchange,
    return_money,
)
from shop.services.payments import payer_of
from wechat import errors as wechat_errors

log = structlog.get_logger(__name__)


def start_exchange(
    *,
    item_id: int,
    member_id: int,
    key: str,
    address_id: int | None,
    shown: str = "",
    way: str = Payment.JSAPI,
    client_ip: str = "",
) -> dict[str, Any]:
    """Take points and goods, and start the payment at WeChat; answers as `start_payment` does for an order.

    The same form finds its exchange again. Raises as `exchange_points`; PaymentNotPossible, PlatformBusy.
    """
    payer = payer_of(member_id, way if way in Payment.WECHAT else Payment.JSAPI)
    made = exchange_points(
        item_id=item_id, member_id=member_id, key=key, address_id=address_id, payer=payer, shown=shown
    )
    payment = made.payment
    if payment is not None and made.state == MallExchange.UNPAID:
        same = (payment.way, payment.openid, payment.account_id) == (
            payer.kind,
            payer.openid,
            payer.account_id,
        )
        started = open_sheet(payment, client_ip=client_ip) if same else _settled(payment)
        if started is not None:
            return started
        made.refresh_from_db(fields=["state"])
    if made.state in (MallExchange.UNPAID, MallExchange.RETURNED):
        raise PaymentNotPossible(
            _("This was not paid in time, and your points are back. Open the page anew to try again.")
        )
    return {"paid": True}


def _settled(payment: DirectPayment) -> dict[str, Any] | None:
    """She pays in another way now: the first sheet is closed, unless it was paid meanwhile."""
    try:
        return {"paid": True} if settle_direct(payment) == DirectPayment.PAID else None
    except wechat_errors.PlatformError as error:
        log.warning("mall payment not settled", payment=payment.pk, code=error.code)
        raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again.")) from None


def _paid(payment: DirectPayment) -> None:
    """It is hers for good; money for what is no longer kept for her goes back. Under the payment's lock.

    Locks: item, exchange, coupon, member, ledger account.
    """
    row = locked_exchange(payment.mall_exchange)
    if row.state != MallExchange.UNPAID:
        return return_money(payment, reason=_("Paid after its time"))
    row.state = MallExchange.WAITING
    if row.coupon_id is not None:
        try:
            row.grant = grant_coupon(
                coupon_id=row.coupon_id, member_id=row.member_id, key=coupon_key(row.item_id, row.key)
            )
        except Refusal as refusal:  # the last one went while she paid
            row.state = MallExchange.UNPAID
            give_back(row, is_back=False, reason=refusal.message)
            return return_money(payment, reason=refusal.message)
        row.state, row.done_at = MallExchange.DONE, clock.now()
    row.save(update_fields=["state", "grant", "done_at"])
    return note_exchange(row)


def _close(payment: DirectPayment) -> None:
    row = locked_exchange(payment.mall_exchange)
    if row.state == MallExchange.UNPAID:
        give_back(row, is_back=True, reason=_("Not paid in time"))


@transaction.atomic
def return_exchange_money(*, exchange_id: int, by: str = "", user_id: int | None = None) -> None:
    """Ask WeChat again for the money of an exchange that was taken back, after it refused the first refund.

    Locks: direct payment. Idempotent: what is on its way back is not asked for twice. Raises WrongState.
    """
    row = MallExchange.objects.filter(pk=exchange_id, state=MallExchange.RETURNED).first()
    payment = lock_row(DirectPayment.objects.filter(pk=row.payment_id)) if row and row.payment_id else None
    if row is None or payment is None or payment.status != DirectPayment.PAID:
        raise WrongState(_("No money of this exchange is to be returned."))
    if not payment.refunds.exclude(status=Refund.CLOSED).exists():
        return_money(payment, reason=row.reason, by=by, user_id=user_id)


def _words(payment: DirectPayment) -> str:
    return str(payment.mall_exchange.name)


def _nothing(refund: DirectRefund) -> None:
    """Points and goods came back when the refund was asked for; its money can be asked for again."""


sell(
    DirectPayment.MALL,
    Goods(words=_words, paid=_paid, closed=_close, refund_refused=_nothing),
)
