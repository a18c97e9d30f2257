"""`price`: the steps in their order, from a cart and rules to a quote. The same input gives the same quote, always."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from core.money import share_bps
from shop.pricing.basket import Basket
from shop.pricing.coupons import take_coupons
from shop.pricing.offers import take_member_prices, take_offers
from shop.pricing.promotions import take_promotions
from shop.pricing.rules import PointsRule, Rules, ShippingRule
from shop.pricing.types import Buyer, Choices, Item, Quote

POINTS = "points"
SHIPPING = "shipping"


def price(items: Iterable[Item], buyer: Buyer, choices: Choices, rules: Rules, at: datetime) -> Quote:
    """What the items cost this buyer at this moment, step by step.

    The parcel's fee is decided after the promotions, on what the goods cost then: a coupon for the shipping knows what
    it is worth, and no coupon makes a free parcel cost something. ValueError for items without pieces or with two
    prices for one SKU.
    """
    basket = Basket.of(items, buyer, choices)
    take_member_prices(basket, rules.member_prices)
    take_offers(basket, rules.offers, at)
    take_promotions(basket, rules.promotions, at)
    _set_shipping(basket, rules.shipping)
    take_coupons(basket, rules.coupons, at)
    _take_points(basket, rules.points)
    return Quote(
        lines=basket.lines(),
        shipping_fen=basket.shipping_fen,
        shipping_discounts=tuple(basket.shipping_discounts),
        notes=tuple(basket.notes),
        coupon_ids=tuple(basket.coupon_ids),
        points_used=basket.points_used,
        offer_takes=tuple(sorted(basket.offer_takes)),
        deposit_fen=basket.deposit_fen,
    )


def _set_shipping(basket: Basket, rates: Iterable[ShippingRule]) -> None:
    """The fee of the province's own rate, or of the one for everywhere else; nothing to send costs nothing."""
    if basket.choices.delivery == "pickup":
        basket.note("shipping", SHIPPING, "", "shipping_pickup", applied=True)
        return
    if all(part.item.is_virtual for part in basket.parts):
        return
    rate = shipping_rate(rates, basket.buyer.region)
    if rate is None or not rate.base_fen:
        return
    goods_fen = sum(part.net_fen for part in basket.parts if not part.item.is_virtual)
    if rate.free_from_fen is not None and goods_fen >= rate.free_from_fen:
        basket.note(
            "shipping",
            SHIPPING,
            rate.province,
            "shipping_free_from",
            applied=True,
            from_fen=rate.free_from_fen,
        )
        return
    basket.shipping_fen = rate.base_fen
    if rate.free_from_fen is None:
        basket.note("shipping", SHIPPING, rate.province, "shipping_fee", fee_fen=rate.base_fen)
    else:
        basket.note(
            "shipping",
            SHIPPING,
            rate.province,
            "short_of_free_shipping",
            short_fen=rate.free_from_fen - goods_fen,
        )


def shipping_rate(rates: Iterable[ShippingRule], region: str) -> ShippingRule | None:
    """The rate whose province the region begins with ("新疆" serves "新疆维吾尔自治区"), the longest name first."""
    fitting = [rate for rate in rates if region.startswith(rate.province)]
    return max(fitting, key=lambda rate: len(rate.province), default=None)


def _take_points(basket: Basket, rule: PointsRule | None) -> None:
    """Points as money: as many as she chose, has, and the cap allows, and never one more than the amount needs."""
    wanted, goods_fen = basket.choices.points, basket.goods_fen
    if rule is None or rule.fen_per_100 <= 0:
        if wanted > 0:
            basket.note("points", POINTS, "", "points_not_taken")
        return
    cap_fen = min(share_bps(goods_fen, rule.cap_bps), goods_fen)
    most = min(basket.buyer.points, _points_for(cap_fen, rule))
    if most < rule.least or most * rule.fen_per_100 // 100 == 0:
        if wanted > 0:
            basket.note("points", POINTS, "", "points_too_few", least=rule.least, points=basket.buyer.points)
        return
    most_fen = min(most * rule.fen_per_100 // 100, cap_fen)
    if wanted <= 0:
        basket.note(
            "points", POINTS, "", "points_possible", points=_points_for(most_fen, rule), off_fen=most_fen
        )
        return
    if wanted < rule.least:
        basket.note("points", POINTS, "", "points_too_few", least=rule.least, points=basket.buyer.points)
        return
    off = min(min(wanted, most) * rule.fen_per_100 // 100, cap_fen)
    if not off:
        basket.note("points", POINTS, "", "points_too_few", least=rule.least, points=basket.buyer.points)
        return
    basket.points_used = _points_for(off, rule)
    basket.take(basket.parts, off, "points", POINTS, "")
    basket.note(
        "points",
        POINTS,
        "",
        "points_taken" if wanted <= most else "points_taken_up_to_cap",
        off=off,
        applied=True,
        points=basket.points_used,
        off_fen=off,
    )


def _points_for(amount_fen: int, rule: PointsRule) -> int:
    """The fewest points that are worth an amount."""
    return -(-amount_fen * 100 // rule.fen_per_100)
