"""Money for orders. The row is committed before WeChat is called, and no call happens inside a transaction.

Whatever comes, in whatever order and however often, ends in the same state: an order is paid once, money without an
order goes back, money that does not match waits for an operator. An order may be paid from several sources: what the
shop itself keeps for the member (stored value, a gift card) is held while the rest is at WeChat, and spent in the
transaction that marks the order paid.
"""

from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_row
from crm import queries as crm_queries
from shop.errors import (
    BadAmount,
    GiftCardRefused,
    NoSuchOrder,
    PaymentNotPossible,
    PlatformBusy,
    WrongState,
)
from shop.models import Order, Payment
from shop.queries.stored_value import gift_cards_of
from shop.services import tenders
from shop.services.gift_cards import bind_gift_card
from shop.services.payments_booked import Payer, book_nothing, book_stage, new_payment
from shop.services.payments_ended import settle_payment
from shop.services.presale import refuse_early_balance
from wechat import errors as wechat_errors
from wechat import queries as wechat_queries
from wechat import services as wechat_services

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Wish:
    """How she wants to pay: so much stored value at most (fen), this card of hers, the rest at WeChat in this way."""

    stored_value_fen: int = 0
    gift_card_id: int | None = None
    way: str = Payment.JSAPI


@dataclass(frozen=True)
class Arranged:
    """What WeChat shall take (`payment`, None: nothing); `fits` False: this older one must end first."""

    order: Order
    payment: Payment | None
    fits: bool = True


def start_payment(
    *,
    order_id: int,
    member_id: int,
    stored_value_fen: int = 0,
    gift_card_code: str = "",
    gift_card_id: int | None = None,
    way: str = Payment.JSAPI,
    client_ip: str = "",
) -> dict[str, Any]:
    """Hold stored value (at most so many fen of it) and a gift card, and start the rest at WeChat.

    Returns {"paid": True} when nothing was left to pay, else by `way`: the parameters of WeChat's payment sheet
    (jsapi), {"code_url": …} to draw as a QR code (native), {"h5_url": …} to open in a phone's browser (h5).
    The same wish gets the same payment number and amount again, so that two open sheets cannot both take money; another
    wish first ends the payment that is open at WeChat. A code binds its card to the member.
    Locks: order, memberstats, ledger (briefly, before the network call). Idempotent on: the order's open payments.
    Raises NoSuchOrder, WrongState (paid or cancelled), PaymentNotPossible, BalanceTooLow, GiftCardRefused,
    TooManyGuesses, PlatformBusy.
    """
    if gift_card_code.strip():
        gift_card_id = bind_gift_card(member_id=member_id, code=gift_card_code).pk
    wish = Wish(stored_value_fen=stored_value_fen, gift_card_id=gift_card_id, way=way)
    parameters: dict[str, Any] | None = None
    payment: Payment | None = None
    for _attempt in range(3):
        arranged = arrange_payment(order_id=order_id, member_id=member_id, wish=wish)
        payment = arranged.payment
        if payment is None:
            return {"paid": True}
        if arranged.fits:
            parameters = _prepay(payment, client_ip)
        if parameters is not None:
            break
        # WeChat has closed this number, or another wish or account of the member froze it: end it, take a new one.
        if _settled(payment) == Payment.PAID:
            if payment.stage == Payment.DEPOSIT:
                return {"paid": True}
            break
    order = Order.objects.get(pk=order_id)
    if order.status == Order.PENDING_PAYMENT and parameters is not None:
        return parameters
    if order.status == Order.CANCELLED and payment is not None:
        _settled(payment)  # cancelled while WeChat was being asked: nobody may pay it now
        raise WrongState(_("This order is cancelled. Please order again."))
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order is already paid."))
    raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again."))


def payer_of(member_id: int, way: str) -> Payer:
    """The merchant; inside WeChat also the member's openid at the official account that it is bound to."""
    account = wechat_queries.find_account("pay")
    if account is None:
        raise PaymentNotPossible(_("This shop cannot take payments yet. Please contact customer service."))
    if way != Payment.JSAPI:
        return Payer(account_id=account.pk, account_key=account.key, openid="", kind=way)
    for identity in crm_queries.identities_of(member_id):
        if (
            identity.kind == "openid"
            and identity.account_id
            and wechat_queries.account(identity.account_id).appid == account.appid
        ):
            return Payer(account_id=account.pk, account_key=account.key, openid=identity.value)
    raise PaymentNotPossible(_("Please open the shop inside WeChat to pay."))


@transaction.atomic
def arrange_payment(*, order_id: int, member_id: int, wish: Wish, payer: Payer | None = None) -> Arranged:
    """Split what is due of an order (its total; deposit or balance of a presale) as wished: hold the member's own
    value, and make WeChat's payment of the rest.

    What is held otherwise for this order is released. Without a rest the order is paid at once. Amount, payer and time
    of each payment are frozen. A WeChat payment that does not fit the wish is returned with `fits` False, and nothing
    is changed: its money may be on the way.
    Locks: order, then memberstats, ledger accounts. Idempotent. Publishes: OrderPaid.
    Raises NoSuchOrder, WrongState, PaymentNotPossible (its time is up, or not there yet), BadAmount, GiftCardRefused,
    BalanceTooLow.
    """
    if wish.stored_value_fen < 0 or wish.way not in Payment.WECHAT:
        raise BadAmount(_("Choose how to pay once more, please."))
    order = lock_row(Order.objects.filter(pk=order_id, member_id=member_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order cannot be paid; it is: %(status)s.") % {"status": order.status_label})
    if order.total_fen == 0:
        return Arranged(book_nothing(order), None)
    if not order.can_pay(clock.now()) or order.expires_at is None:
        raise PaymentNotPossible(_("The time for paying this order is over. Please order again."))
    if order.awaits_balance:
        refuse_early_balance(order)
    opened = {payment.kind: payment for payment in order.payments.filter(status=Payment.OPEN)}
    at_wechat = next((payment for payment in opened.values() if payment.is_wechat), None)
    card_fen = _card_part(order, member_id, wish, opened.get(Payment.GIFT_CARD))
    stored_fen = min(wish.stored_value_fen, order.due_fen - card_fen)
    rest = order.due_fen - card_fen - stored_fen
    if rest and payer is None:
        payer = payer_of(member_id, wish.way)
    if at_wechat is not None and (payer is None or not rest or not _fits(at_wechat, payer, rest)):
        return Arranged(order, at_wechat, fits=False)
    kept, gone = [], []
    for kind, amount in ((Payment.GIFT_CARD, card_fen), (Payment.STORED_VALUE, stored_fen)):
        tender = opened.get(kind)
        card_id = wish.gift_card_id if kind == Payment.GIFT_CARD else None
        if tender is not None and (tender.amount_fen, tender.gift_card_id) != (amount, card_id):
            tenders.close_tender(tender)
            gone.append(tender)
            tender = None
        if amount:
            kept.append(tender or new_payment(order, kind=kind, amount_fen=amount, gift_card_id=card_id))
    if rest and at_wechat is None and payer is not None:
        at_wechat = new_payment(order, kind=payer.kind, amount_fen=rest, payer=payer)
    if not rest:
        book_stage(order, at=clock.now(), capture=kept, release=gone, member_id=member_id)
        return Arranged(order, None)
    for tender in gone:  # the ledger comes last in the order of locks
        tenders.release_tender(tender, member_id=member_id)
    for tender in kept:
        tenders.hold_tender(tender, member_id=member_id)
    return Arranged(order, at_wechat)


def _fits(payment: Payment, payer: Payer, amount_fen: int) -> bool:
    mine = (payment.kind, payment.account_id, payment.openid, payment.amount_fen, payment.stage)
    return mine == (payer.kind, payer.account_id, payer.openid, amount_fen, payment.order.payment_stage)


def _card_part(order: Order, member_id: int, wish: Wish, held: Payment | None) -> int:
    """How much of what is due her chosen card covers. Raises GiftCardRefused when it is not hers or empty."""
    if wish.gift_card_id is None:
        return 0
    own = held.amount_fen if held is not None and held.gift_card_id == wish.gift_card_id else 0
    card = next((one for one in gift_cards_of(member_id) if one.pk == wish.gift_card_id), None)
    spendable = own + (card.spendable if card is not None else 0)
    if not spendable:
        raise GiftCardRefused(_("This gift card cannot be used: it is empty, expired or not yours."))
    return min(order.due_fen, spendable)


@transaction.atomic
def open_payment(*, order_id: int, member_id: int, payer: Payer) -> Payment:
    """The order's open WeChat payment of all that is due, made when there is none. See `arrange_payment`."""
    wish = Wish(way=payer.kind)
    payment = arrange_payment(order_id=order_id, member_id=member_id, wish=wish, payer=payer).payment
    if payment is None:
        raise WrongState(_("This order is already paid."))
    return payment


def _prepay(payment: Payment, client_ip: str) -> dict[str, Any] | None:
    """None when this number cannot be paid any more. Raises PlatformBusy."""
    assert payment.account is not None
    try:
        return wechat_services.start_payment(
            account_id=payment.account.pk,
            way=payment.kind,
            out_trade_no=payment.out_trade_no,
            amount_fen=payment.amount_fen,
            description=_("Order %(number)s") % {"number": payment.order.number},
            openid=payment.openid,
            client_ip=client_ip,
            expires_at=payment.expires_at,
            notify_url=notify_url(payment.account.key),
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
        return settle_payment(payment)
    except wechat_errors.PlatformError as error:
        log.warning("payment not settled", payment=payment.pk, code=error.code, detail=error.detail)
        raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again."))


def notify_url(account_key: str) -> str:
    """Where WeChat Pay sends its notices for this merchant; without a query, as it demands."""
    return settings.PUBLIC_URL + reverse("wechat:pay_notify", kwargs={"key": account_key})
