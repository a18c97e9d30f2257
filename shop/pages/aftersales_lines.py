"""The lines of an order as the form of an application offers them."""

from typing import Any

from django.utils.translation import gettext as _

from core import money
from shop import aftersales_rules as rules
from shop import queries, services
from shop.models import Sku
from shop.pages.pictures import of_name

WITH_MONEY = (rules.REFUND_ONLY, rules.RETURN_REFUND)


def offered(row: queries.ApplicableLine, kind: str) -> dict[str, Any]:
    """A line of the form, whatever was typed beside it."""
    is_price = kind == rules.PRICE_PROTECTION
    follows = row.line.kind == row.line.GIFT and kind in WITH_MONEY  # by itself, with the goods
    may_be_chosen = row.left > 0 and not row.is_taken and not follows
    return {
        "pk": row.line.pk,
        "name": row.line.product_name,
        "variant": row.line.sku_name if row.is_as_sold else " / ".join(_counted(row)),
        "image": of_name(row.line.image),
        "left": row.left,
        "free": may_be_chosen and (not is_price or row.fallen_fen > 0),
        "is_taken": row.is_taken,
        "is_gift": row.line.kind == row.line.GIFT,
        "piece_fen": row.piece_fen,
        "kept": row.line.quantity - row.line.refunded_quantity,
        "kept_fen": row.kept_fen,
        "now_fen": row.now_fen,
        "fallen_fen": row.fallen_fen,
        "is_compared": is_price and may_be_chosen and row.kept_fen > 0,
        "held": [(sku.pk, words) for (sku, _count), words in zip(row.held, _counted(row), strict=True)],
        "variants": [(sku.pk, _variant_words(sku, row)) for sku in row.variants],
    }


def gift_words(row: queries.ApplicableLine, kind: str, terms: dict[int, services.GiftTerms]) -> str:
    """What becomes of a gift when goods go; "" for what is no gift, or when nothing is sent back."""
    if row.line.kind != row.line.GIFT or kind not in WITH_MONEY or row.left <= 0:
        return ""
    term = terms.get(row.line.pk)
    if term is None:
        return _("Goes back with the last of the goods that you bought.")
    values = {"yuan": money.yuan(term.threshold_fen).removesuffix(".00"), "count": term.threshold_quantity}
    if term.threshold_fen and term.threshold_quantity:
        return _("Given from ¥%(yuan)s and %(count)d pieces. If you keep less, it goes back too.") % values
    if term.threshold_fen:
        return _("Given from ¥%(yuan)s. If you keep less, it goes back too.") % values
    return _("Given from %(count)d pieces. If you keep fewer, it goes back too.") % values


def likely(row: queries.ApplicableLine, kind: str) -> int:
    """How many pieces are chosen for her: money is asked for all, another size mostly for one. One variant comes back
    at a time, and which one she says in the form: one piece is right whichever it is.
    """
    return 1 if kind == rules.EXCHANGE or (kind in rules.WITH_RETURN and len(row.held) > 1) else row.left


def _variant_words(sku: Sku, row: queries.ApplicableLine) -> str:
    name = sku.name or _("the same again")
    return name if sku.pk in row.in_stock else _("%(variant)s (sold out at the moment)") % {"variant": name}


def _counted(row: queries.ApplicableLine) -> list[str]:
    """The variants that she has of a line by now; with their pieces when there are several."""
    names = [(sku.name or _("the same again"), count) for sku, count in row.held]
    return (
        [name for name, _count in names] if len(names) == 1 else [f"{name} ×{count}" for name, count in names]
    )
