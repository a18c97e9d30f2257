"""The largest cart that the shop takes, with every kind of rule at work on it."""

from datetime import UTC, datetime, timedelta

from shop.pricing import (
    Buyer,
    Choices,
    CouponRule,
    Extra,
    Item,
    OfferRule,
    PointsRule,
    PromotionRule,
    Rules,
    Scope,
    ShippingRule,
)

NOW = datetime(2026, 11, 11, 12, tzinfo=UTC)


def large_cart(lines: int = 200) -> tuple[list[Item], Buyer, Choices, Rules, datetime]:
    """Arguments of `price`: 200 lines of 8 categories and 10 brands, 12 promotions, 40 coupons, 20 offers."""
    items = [
        Item(
            sku_id=number,
            product_id=number // 2,
            unit_price_fen=4_900 + number * 37 % 20_000,
            quantity=1 + number % 3,
            category_ids=frozenset({number % 8, 100 + number % 2}),
            brand_id=number % 10,
            name=f"真丝连衣裙 {number}",
        )
        for number in range(1, lines + 1)
    ]
    gift = Extra(Item(9_001, 9_001, 2_900, 1, name="小样"), available=50)
    scopes = [Scope(category_ids=frozenset({number})) for number in range(8)]
    promotions = [
        PromotionRule(1, "满 300 减 40", "amount_off", threshold_fen=30_000, amount_fen=4_000, repeats=True, group="A"),
        PromotionRule(2, "满 1000 减 160", "amount_off", threshold_fen=100_000, amount_fen=16_000, group="A"),
        PromotionRule(3, "满 5 件 9 折", "percent_off", scopes[1], threshold_quantity=5, off_bps=1_000, group="B"),
        PromotionRule(4, "第 2 件半价", "nth_piece", scopes[2], off_bps=5_000, repeats=True, group="B"),
        PromotionRule(5, "满赠", "gift", threshold_fen=20_000, extras=(gift,)),
        PromotionRule(6, "加价购", "add_on", threshold_fen=20_000, extras=(gift,)),
        PromotionRule(7, "套餐", "bundle", amount_fen=9_900, extras=(Extra(items[0]), Extra(items[1])), group="B"),
        *(
            PromotionRule(8 + at, f"品类 {at}", "percent_off", scopes[3 + at], off_bps=500, group="C", priority=-1)
            for at in range(5)
        ),
    ]  # fmt: skip
    coupons = [
        CouponRule(
            id=number,
            title=f"券 {number}",
            kind="percent" if number % 4 == 0 else "amount",
            scope=scopes[number % 8] if number % 2 else Scope(),
            threshold_fen=number * 1_000,
            amount_fen=500 + number * 100,
            off_bps=300 + number,
            cap_fen=6_000,
            stackable=number % 3 == 0,
            group=f"g{number % 5}",
            ends_at=NOW + timedelta(days=number),
        )
        for number in range(1, 41)
    ]
    offers = [OfferRule(number, "秒杀", number * 7, 3_900, left=9, member_left=2) for number in range(1, 21)]
    rules = Rules(
        member_prices={number: 4_500 + number for number in range(0, lines, 5)},
        offers=tuple(offers),
        promotions=tuple(promotions),
        coupons=tuple(coupons),
        points=PointsRule(100, 2_000, 100),
        shipping=(ShippingRule("", 800, 19_900), ShippingRule("新疆", 2_000, None)),
    )
    buyer = Buyer(member_id=1, tier="金卡", is_new=False, points=500_000, region="上海市")
    return items, buyer, Choices(points=100_000), rules, NOW
