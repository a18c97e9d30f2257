"""Money for orders. The row is committed before WeChat is called, and no call happens inside a transaction.

Whatever comes, in whatever order and however often, ends in the same state: an order is paid once, money without an
order goes back, money that does not match waits for an operator. An order may be paid from several sources: what the
shop itself keeps for the member (stored value, a gift card) is held while the rest is at WeChat, and spent in the
transaction that marks the order paid.
"""

from collections.abc import Sequence
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
from crm import queries as crm_queries
from crm import services as crm_services
from shop import rules
from shop.errors import (
    BadAmount,
    GiftCardRefused,
    NoSuchOrder,
    PaymentNotPossible,
    PlatformBusy,
    WrongState,
)
from shop.events import DepositPaid, OrderPaid
from shop.models import Order, Payment, PresaleOrder, Refund
from shop.queries.stored_value import gift_cards_of
from shop.services import tenders
from shop.services.effects import settle_effects
from shop.services.fulfilment import complete_order, create_fulfilments
from shop.services.gift_cards import bind_gift_card
from shop.services.messages import tell_buyer
from shop.services.order_log import write_log
from shop.services.orders import release_order, reserve_again
from shop.services.presale import refuse_early_balance
from shop.services.refund_requests import request_refund
from shop.services.virtual import deliver_pieces
from wechat import errors as wechat_errors
from wechat import queries as wechat_queries
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

PAID_STATES = ("SUCCESS", "REFUND")  # REFUND: paid, and money went back since
DEAD_STATES = ("CLOSED", "REVOKED", "PAYERROR")


@dataclass(frozen=True)
class Payer:
    """Where WeChat takes the money: a merchant, and inside WeChat (`jsapi`) whose."""

    account_id: int
    account_key: str
    openid: str
    kind: str = Payment.JSAPI


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


def _payer_of(member_id: int, way: str) -> Payer:
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
        return Arranged(_book_nothing(order), None)
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
        payer = _payer_of(member_id, wish.way)
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
            kept.append(tender or _new_payment(order, kind=kind, amount_fen=amount, gift_card_id=card_id))
    if rest and at_wechat is None and payer is not None:
        at_wechat = _new_payment(order, kind=payer.kind, amount_fen=rest, payer=payer)
    if not rest:
        _book_stage(order, at=clock.now(), capture=kept, release=gone, member_id=member_id)
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


def _new_payment(
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
def open_payment(*, order_id: int, member_id: int, payer: Payer) -> Payment:
    """The order's open WeChat payment of all that is due, made when there is none. See `arrange_payment`."""
    wish = Wish(way=payer.kind)
    payment = arrange_payment(order_id=order_id, member_id=member_id, wish=wish, payer=payer).payment
    if payment is None:
        raise WrongState(_("This order is already paid."))
    return payment


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
    return _book_nothing(order) if order.status == Order.PENDING_PAYMENT else order


def _book_nothing(order: Order) -> Order:
    moment = clock.now()
    payment = _new_payment(order, kind=Payment.NONE, amount_fen=0)
    Payment.objects.filter(pk=payment.pk).update(status=Payment.PAID, paid_at=moment)
    _book(order, action="paid", at=moment, note=payment.out_trade_no)
    return order


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
        return _settle(payment)
    except wechat_errors.PlatformError as error:
        log.warning("payment not settled", payment=payment.pk, code=error.code, detail=error.detail)
        raise PlatformBusy(_("WeChat Pay could not start the payment. Please try again."))


def notify_url(account_key: str) -> str:
    """Where WeChat Pay sends its notices for this merchant; without a query, as it demands."""
    return settings.PUBLIC_URL + reverse("wechat:pay_notify", kwargs={"key": account_key})


def check_payment(*, order_id: int) -> Order:
    """Ask WeChat about the order's latest payment, when the shopper returns from the sheet. Silent when WeChat is."""
    payment = Payment.objects.filter(order_id=order_id, kind__in=Payment.WECHAT).order_by("-pk").first()
    if payment is not None and payment.status == Payment.OPEN:
        try:
            learn_payment(payment)
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
        _book_stage(
            order,
            at=moment,
            note=transaction_id,
            capture=held if covers_with_held else [],
            release=[] if covers_with_held else held,
            member_id=order.member_id,
        )
    elif order.status == Order.PENDING_PAYMENT and is_stage:
        write_log(order, "paid_late", actor="system", note=_("of a split given up, the money goes back"))
        request_refund(order, payment, kind=Refund.LATE, reason=_("Paid in another way"), actor="system")
        tell_buyer(
            order,
            payment,
            key=f"split-{payment.pk}",
            text=_(
                "You chose another way to pay order %(number)s meanwhile. ¥%(amount)s is being returned to you."
            )
            % {"number": order.number, "amount": money.yuan(paid_fen)},
        )
    elif order.status != Order.CANCELLED:
        write_log(order, "duplicate", actor="system", note=transaction_id)
        request_refund(order, payment, kind=Refund.DUPLICATE, reason=_("Paid twice"), actor="system")
        tell_buyer(
            order,
            payment,
            key=f"duplicate-{payment.pk}",
            text=_(
                "Your order %(number)s was paid twice. The second payment of ¥%(amount)s is being returned to you."
            )
            % {"number": order.number, "amount": money.yuan(paid_fen)},
        )
    elif covers and reserve_again(order, cause="reallocate", actor="system"):
        _book(order, action="paid_late", at=moment, note=transaction_id)
    elif not covers:
        write_log(
            order, "paid_late", actor="system", note=_("the rest is not held any more, the money goes back")
        )
        request_refund(order, payment, kind=Refund.LATE, reason=_("Paid after cancellation"), actor="system")
        tell_buyer(
            order,
            payment,
            key=f"late-{payment.pk}",
            text=_(
                "Your payment for order %(number)s came after the order was cancelled. "
                "¥%(amount)s is being returned to you."
            )
            % {"number": order.number, "amount": money.yuan(paid_fen)},
        )
    else:
        write_log(order, "paid_late", actor="system", note=_("sold out meanwhile, the money goes back"))
        request_refund(order, payment, kind=Refund.LATE, reason=_("Sold out meanwhile"), actor="system")
        tell_buyer(
            order,
            payment,
            key=f"late-{payment.pk}",
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
        payment.status, payment.paid_fen, payment.next_query_at = Payment.MISMATCH, max(paid_fen, 0), None
        fields += ["status", "paid_fen", "next_query_at"]
        if not Payment.objects.filter(transaction_id=transaction_id).exists():
            payment.transaction_id = transaction_id
            fields.append("transaction_id")
    payment.save(update_fields=fields)
    write_log(order, "difference", actor="system", note=difference)
    log.error("payment does not match", payment=payment.pk, order=order.pk)


def _book_stage(
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
        _settle(payment)


def _settle(payment: Payment) -> str:
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
                found += _settle(payment) == Payment.PAID
        except wechat_errors.PlatformError as error:
            log.warning("payment query failed", payment=payment.pk, code=error.code)
    return found
