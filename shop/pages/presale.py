"""Presale in a shopper's words: on the product, at the checkout, at the till and on her order."""

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from core import clock
from core.money import yuan
from shop import queries
from shop.models import Order, Presale, PresaleOrder
from shop.pages import words
from shop.pricing.types import Quote


def _moment(at: datetime) -> str:
    return f"{clock.local(at):%m-%d %H:%M}"


def _shown(
    terms: Presale | PresaleOrder, *, deposit_fen: int, worth_fen: int, balance_fen: int
) -> dict[str, Any]:
    """Values of `presale_terms.html`."""
    return {
        "deposit_fen": deposit_fen,
        "worth_fen": worth_fen if worth_fen > deposit_fen else None,
        "balance_fen": balance_fen,
        "balance_from": _moment(terms.balance_starts_at),
        "balance_until": _moment(terms.balance_ends_at),
        "ships_by": f"{terms.ships_by:%m-%d}" if terms.ships_by else "",
        "keeps_deposit": terms.keeps_deposit,
    }


def shown_offer_terms(terms: Presale, price_fen: int) -> dict[str, Any]:
    """One piece at a price that already counts what the deposit is worth."""
    return _shown(
        terms,
        deposit_fen=terms.deposit_fen,
        worth_fen=terms.worth_fen or terms.deposit_fen,
        balance_fen=price_fen - terms.deposit_fen,
    )


def shown_quote_terms(quote: Quote) -> dict[str, Any] | None:
    """What the checkout says of a presale, None for other orders; `problem`: why it cannot be ordered so."""
    terms = queries.presale_quoted(quote)
    if terms is None:
        return None
    pieces = sum(count for _offer, _sku, count in quote.offer_takes)
    is_alone = len(quote.offer_takes) == 1 and [line.quantity for line in quote.lines] == [pieces]
    problem = _(
        "Goods on presale are ordered by themselves, and only as many as the presale gives. Please change it."
    )
    return _shown(
        terms,
        deposit_fen=quote.deposit_fen,
        worth_fen=(terms.worth_fen or terms.deposit_fen) * pieces,
        balance_fen=quote.total_fen - quote.deposit_fen,
    ) | {"problem": "" if is_alone else problem}


def shown_order_terms(order: Order) -> dict[str, Any] | None:
    """What the order's page and the till say of a presale, None for other orders.

    `stage`: deposit (to be paid), early (the balance cannot be paid yet), balance (can be paid), sending (paid, sent by
    the promised day), paid, kept, returned, closed.
    """
    terms = queries.presale_of_order(order)
    if terms is None:
        return None
    stage = terms.outcome or "closed"
    if order.paid_at is not None:
        stage = (
            "sending" if order.status == Order.PAID and terms.ships_by and not order.is_refunding else "paid"
        )
    elif order.status == Order.PENDING_PAYMENT:
        stage = "deposit"
        if order.deposit_paid_at is not None:
            stage = "early" if clock.now() < terms.balance_starts_at else "balance"
    shown = _shown(
        terms,
        deposit_fen=order.deposit_fen,
        worth_fen=terms.worth_fen,
        balance_fen=order.total_fen - order.deposit_fen,
    )
    return shown | {
        "stage": stage,
        "words": _("The deposit is back with you, the way you paid.")
        if stage == "returned" and queries.is_deposit_back(order)
        else _words(stage, shown),
        "seconds_left": words.seconds_left(terms.balance_starts_at) if stage == "early" else 0,
        "cancel_words": _cancel_words(order, terms),
    }


def _words(stage: str, shown: dict[str, Any]) -> str:
    times = {"from": shown["balance_from"], "until": shown["balance_until"]}
    return {
        "deposit": _("Pay the deposit now. The balance follows from %(from)s to %(until)s.") % times,
        "early": _("Your deposit is paid. The balance can be paid from %(from)s to %(until)s.") % times,
        "balance": _("Pay the balance until %(until)s.") % times,
        "sending": _("Paid in full. It is sent by %(day)s at the latest.") % {"day": shown["ships_by"]},
        "kept": _("The balance was not paid. The deposit was kept, as agreed."),
        "returned": _("The deposit goes back the way you paid."),
    }.get(stage, "")


def _cancel_words(order: Order, terms: PresaleOrder) -> str:
    if order.deposit_paid_at is None:
        return ""
    if terms.keeps_deposit:
        return _("Your deposit of ¥%(amount)s is not returned, as you agreed. This cannot be taken back.") % {
            "amount": yuan(order.deposit_fen)
        }
    return _("Your deposit of ¥%(amount)s goes back the way you paid.") % {"amount": yuan(order.deposit_fen)}
