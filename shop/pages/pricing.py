"""A quote as cart and checkout show it: what each rule took off, what would take off more, gifts, the parcel's fee."""

from typing import Any

from shop import queries
from shop.pricing.types import Quote


def shown_quote(quote: Quote, *, hints: int = 3) -> dict[str, Any]:
    """Values of `pricing_totals.html` and `pricing_hints.html`. One statement more when gifts come along."""
    gifts = queries.gifts_of(quote)
    names = queries.skus_in_words(line.sku_id for line in gifts)
    savings = queries.savings_of(quote)
    return {
        "items_fen": queries.goods_fen(quote),
        "savings": [
            {"title": one.title, "amount_fen": one.amount_fen, "step_label": queries.step_label(one.step)}
            for one in savings
        ],
        "saved_fen": sum(one.amount_fen for one in savings),
        "shipping_fen": queries.shipping_before_fen(quote),
        "total_fen": quote.total_fen,
        "goods_total_fen": quote.total_fen - quote.shipping_fen,
        "hints": [{"title": one.title, "words": one.text} for one in queries.hints_of(quote, most=hints)],
        "gifts": [{"name": names.get(line.sku_id, ""), "quantity": line.quantity} for line in gifts],
    }


def line_savings(quote: Quote) -> dict[int, int]:
    """SKU → what was taken off its goods, in fen, where something was."""
    sums: dict[int, int] = {}
    for line in quote.lines:
        if line.kind == "goods" and line.discount_fen:
            sums[line.sku_id] = sums.get(line.sku_id, 0) + line.discount_fen
    return sums
