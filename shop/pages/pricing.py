"""A quote as cart and checkout show it: what each rule took off, what would take off more, gifts, the parcel's fee."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.template.loader import render_to_string
from markupsafe import Markup

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


def at_member_prices(skus: Iterable[dict[str, Any]], prices: Mapping[int, int]) -> list[dict[str, Any]]:
    """The SKUs of a product page at what her tier pays for them; the usual price stands beside it."""
    return [
        {**sku, "price_fen": prices[sku["pk"]], "was_fen": sku["price_fen"]} if sku["pk"] in prices else sku
        for sku in skus
    ]


def tier_values(
    goods: queries.ProductPageData, skus: Iterable[dict[str, Any]], badges: Iterable[queries.Badge], tier: str
) -> dict[str, Any]:
    """What the page shows to a tier alone: the promotions that run for it and for everybody, and, when `skus` are
    cheaper for it, whose price that is, from and to, and from where everybody else begins.
    """
    titles = [badge.title for badge in badges if not badge.tiers or tier in badge.tiers]
    text = render_to_string("shop/pricing_badges.html", {"promotions": titles}, using="jinja2")
    prices = [sku["price_fen"] for sku in skus]
    cost: dict[str, Any] | None = None
    if prices != [sku.price_fen for sku in goods.skus]:
        usual = goods.min_price_fen if goods.min_price_fen > min(prices) else None
        cost = {"tier": tier, "min_fen": min(prices), "max_fen": max(prices), "usual_fen": usual}
    return {"promotions": Markup(text), "member_cost": cost}  # noqa: S704  escaped by Jinja


def line_savings(quote: Quote) -> dict[int, int]:
    """SKU → what was taken off its goods, in fen, where something was."""
    sums: dict[int, int] = {}
    for line in quote.lines:
        if line.kind == "goods" and line.discount_fen:
            sums[line.sku_id] = sums.get(line.sku_id, 0) + line.discount_fen
    return sums
