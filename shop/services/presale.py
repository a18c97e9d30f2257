"""Presale: an order of two stages. Deposit and balance are paid through `services.payments` like any other money."""

from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, money
from core.locks import lock_row
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from shop import logistics
from shop.errors import PaymentNotPossible, PresaleRefused
from shop.models import Order, Payment, Presale, PresaleOrder, Refund
from shop.pricing.types import Choices, Quote
from shop.services.logistics import send_order_message
from shop.services.messages import tell_buyer
from shop.services.order_log import write_log
from shop.services.refund_requests import request_refund
from shop.services.tenders import give_back

ASK_AGAIN = timedelta(hours=2)  # when a reminder may not go out now


def presale_choices(choices: Choices) -> Choices:
    """Her choices without what a presale does not take: its price is complete."""
    return replace(choices, coupon_ids=(), points=0, add_on_sku_ids=())


def presale_terms(quote: Quote, choices: Choices) -> Presale:
    """The terms of what is quoted, when it may be ordered so. One statement.

    Raises PresaleRefused: it stands beside other goods, is over, or she did not agree to what becomes of the deposit.
    """
    if len(quote.offer_takes) != 1 or [line.quantity for line in quote.lines] != [quote.offer_takes[0][2]]:
        raise PresaleRefused(
            _(
                "Goods on presale are ordered by themselves, and only as many as the presale gives. Please change it."
            ),
            code="presale_alone",
        )
    terms = Presale.objects.filter(offer_id=quote.offer_takes[0][0]).first()
    if terms is None or not 0 < quote.deposit_fen < quote.total_fen or terms.balance_ends_at <= clock.now():
        raise PresaleRefused(_("This presale cannot be ordered any more."))
    if terms.keeps_deposit and not choices.agrees_to_deposit:
        raise PresaleRefused(
            _("Please agree first: the deposit is not returned when the balance is not paid in time."),
            code="not_agreed",
        )
    return terms


def open_presale(*, order: Order, terms: Presale, quote: Quote) -> None:
    """Freeze the terms with an order that was just placed. Call in its transaction."""
    pieces = quote.offer_takes[0][2]
    order.deposit_fen = quote.deposit_fen
    Order.objects.filter(pk=order.pk).update(deposit_fen=quote.deposit_fen)
    PresaleOrder.objects.create(
        order=order,
        offer_id=terms.offer_id,
        worth_fen=(terms.worth_fen or terms.deposit_fen) * pieces,
        balance_starts_at=terms.balance_starts_at,
        balance_ends_at=terms.balance_ends_at,
        ships_by=terms.ships_by,
        keeps_deposit=terms.keeps_deposit,
        agreed_at=order.placed_at if terms.keeps_deposit else None,
    )


def refuse_early_balance(order: Order) -> None:
    """Raises PaymentNotPossible before the balance may be paid. One statement."""
    presale = PresaleOrder.objects.get(order_id=order.pk)
    if clock.now() < presale.balance_starts_at:
        raise PaymentNotPossible(
            _("Your deposit is paid. The balance can be paid from %(from)s on.")
            % {"from": f"{clock.local(presale.balance_starts_at):%Y-%m-%d %H:%M}"}
        )


def settle_deposit(order: Order, *, actor: str, user_id: int | None, returns: bool) -> None:
    """A presale is closed after its deposit was paid: it is kept, when that was agreed to and the shop is not the
    cause (`returns`), or goes back. Call once, under the order's lock, where it is cancelled, at the end.

    Locks: payments, ledger accounts.
    """
    presale = PresaleOrder.objects.filter(order_id=order.pk).first()
    if presale is None or order.deposit_paid_at is None:
        return
    is_kept = presale.keeps_deposit and not returns
    presale.outcome = PresaleOrder.KEPT if is_kept else PresaleOrder.RETURNED
    presale.remind_at = None
    presale.save(update_fields=["outcome", "remind_at"])
    amount = money.yuan(order.deposit_fen)
    if is_kept:
        write_log(order, "deposit_kept", actor=actor, user_id=user_id, note=f"¥{amount}")
        return
    gone = Refund.objects.filter(order_id=order.pk).exclude(kind=Refund.ORDER).exclude(status=Refund.CLOSED)
    paid = order.payments.filter(status=Payment.PAID, stage=Payment.DEPOSIT)
    for payment in paid.exclude(pk__in=gone.values("payment_id")).order_by("pk"):
        refund = request_refund(
            order,
            payment,
            kind=Refund.DEPOSIT,
            reason=_("Deposit returned"),
            actor=actor,
            user_id=user_id,
        )
        write_log(
            order,
            "refund_requested",
            actor=actor,
            user_id=user_id,
            note=f"¥{money.yuan(payment.paid_fen)} {refund.reason}",
        )
        if not payment.is_wechat:
            _settle_inside(order, refund)
        tell_buyer(
            order,
            payment,
            key=f"deposit-{payment.pk}",
            text=_(
                "Your presale order %(number)s is closed. The deposit of ¥%(amount)s is being returned to you."
            )
            % {"number": order.number, "amount": money.yuan(payment.paid_fen)},
        )


def _settle_inside(order: Order, refund: Refund) -> None:
    """What the shop itself keeps for the member is back at once."""
    moment = clock.now()
    Refund.objects.filter(pk=refund.pk).update(
        status=Refund.SUCCESS, refunded_at=moment, next_attempt_at=None
    )
    give_back(payment_id=refund.payment_id, amount_fen=refund.amount_fen, cause=f"refund:{refund.pk}")
    write_log(order, "refunded", actor=refund.actor or "system", note=money.yuan(refund.amount_fen))


def remind_of_balances(*, limit: int = 200) -> int:
    """Tell members whose balance can be paid now, each order once; returns how many were written to.

    One transaction per order; one that fails stands in nobody's way. It, and who may not be touched now, is asked
    about again two hours later, while there is time.
    """
    due = PresaleOrder.objects.filter(remind_at__lte=clock.now()).order_by("remind_at")
    return sweep(
        list(due.values_list("order_id", flat=True)[:limit]),
        lambda order_id: remind_of_balance(order_id=order_id),
        fault="reminder of a balance failed",
        put_off=lambda order_id: PresaleOrder.objects.filter(order_id=order_id).update(
            remind_at=clock.now() + ASK_AGAIN
        ),
    )


@transaction.atomic
def remind_of_balance(*, order_id: int) -> bool:
    """The one reminder that the balance of an order can be paid; True when a message was queued.

    Locks: order; memberstats by the touch. Idempotent: what was reminded of has no `remind_at`. The touch policy is
    asked with the purpose service, and the touch is booked under "balance:ORDER".
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    moment = clock.now()
    presale = PresaleOrder.objects.filter(order_id=order_id, remind_at__lte=moment).first()
    if order is None or presale is None:
        return False
    presale.remind_at = None
    if order.member_id is None or not order.awaits_balance or not order.can_pay(moment):
        presale.save(update_fields=["remind_at"])
        return False
    verdict = crm_queries.touch_verdict(order.member_id, "service", moment)
    channel = send_order_message(order=order, kind=logistics.BALANCE) if verdict.answer == "send" else ""
    if channel:
        crm_services.book_touches(
            origin=f"balance:{order.pk}",
            member_ids=[order.member_id],
            purpose="service",
            channel=channel,
            at=moment,
        )
        presale.reminder = channel
    else:
        presale.reminder = "no_way" if verdict.answer == "send" else verdict.reason or "another"
        if moment + ASK_AGAIN < presale.balance_ends_at:
            presale.remind_at = moment + ASK_AGAIN
    presale.save(update_fields=["remind_at", "reminder"])
    return bool(channel)
