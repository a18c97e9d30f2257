"""What a cart costs: one statement reads all that pricing needs, then the pure steps of `shop.pricing` decide.

`quote` writes nothing and locks nothing: who orders takes coupons, quotas and points by guarded updates of their own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from core import clock, statements
from core.errors import NotFound
from shop import rules as shop_rules
from shop.pricing import (
    Buyer,
    Choices,
    CouponRule,
    Extra,
    Item,
    OfferRule,
    PointsRule,
    PromotionRule,
    Quote,
    Rules,
    Scope,
    ShippingRule,
    price,
)
from shop.pricing.rules import CouponKind
from shop.queries.pricing import words_in

NO_CHOICES = Choices()


def quote(
    *,
    member_id: int | None,
    lines: Iterable[tuple[int, int]],
    choices: Choices = NO_CHOICES,
    region: str = "",
    at: datetime | None = None,
    tier: str = "",
    drafts: Sequence[int] = (),
) -> Quote:
    """What (sku id, quantity) pairs cost a member at a moment (None: now), with every step's reasons.

    One statement, with her coupons and the offers of these SKUs. Unknown SKUs and quantities below 1 are left out:
    who orders refuses them by name. `region` is the province the parcel goes to, `tier` a word instead of her own.
    None for the member: somebody unknown. `drafts` are promotions to try as if they ran (one statement more).
    """
    moment = at or clock.now()
    wanted = [
        (sku_id, min(count, 10**6))
        for sku_id, count in shop_rules.merged_lines(line for line in lines if line[1] > 0)
    ]
    ground = read_ground(member_id, moment, wanted=wanted, tier=tier)
    buyer = Buyer(
        member_id=member_id, tier=ground.tier, is_new=ground.is_new, points=ground.points, region=region
    )
    promotions = ground.promotions
    if drafts:
        tried = tuple(replace(rule, starts_at=None, ends_at=None) for rule in promotion_rules(drafts))
        promotions = (*(rule for rule in promotions if rule.id not in drafts), *tried)
    rules = Rules(
        member_prices=ground.member_prices,
        offers=ground.offers,
        promotions=promotions,
        coupons=ground.coupons,
        points=ground.points_rule,
        shipping=ground.shipping,
    )
    return price(ground.items, buyer, choices, rules, moment)


@dataclass(frozen=True)
class Ground:
    """All that a price depends on."""

    items: list[Item]
    member_prices: dict[int, int]
    promotions: tuple[PromotionRule, ...]
    offers: tuple[OfferRule, ...]
    coupons: tuple[CouponRule, ...]
    shipping: tuple[ShippingRule, ...]
    points_rule: PointsRule | None
    points: int
    is_new: bool
    tier: str


_PROMOTIONS = """
SELECT jsonb_build_object(
    'id', p.id, 'title', p.title, 'kind', p.kind, 'threshold_fen', p.threshold_fen,
    'threshold_quantity', p.threshold_quantity, 'amount_fen', p.amount_fen, 'off_bps', p.off_bps,
    'cap_fen', p.cap_fen, 'nth', p.nth, 'repeats', p.repeats, 'max_times', p.max_times,
    'group', p.exclusion_group, 'priority', p.priority, 'tiers', p.tiers, 'only_new', p.only_new,
    'with_offers', p.with_offers, 'with_coupons', p.with_coupons,
    'starts_at', extract(epoch FROM p.starts_at), 'ends_at', extract(epoch FROM p.ends_at),
    'products', ARRAY(SELECT product_id FROM shop_promotion_products WHERE promotion_id = p.id),
    'categories', ARRAY(SELECT category_id FROM shop_promotion_categories WHERE promotion_id = p.id),
    'brands', ARRAY(SELECT brand_id FROM shop_promotion_brands WHERE promotion_id = p.id),
    'except', ARRAY(SELECT product_id FROM shop_promotion_except_products WHERE promotion_id = p.id),
    'extras', (
        SELECT jsonb_agg(jsonb_build_object(
            'sku_id', s.id, 'product_id', s.product_id, 'unit_price_fen', s.price_fen, 'weight', s.weight_grams,
            'name', concat_ws(' ', g.name, nullif(s.name, '')), 'quantity', e.quantity, 'price_fen', e.price_fen,
            'available', CASE WHEN NOT (s.is_active AND g.status <> 'off') THEN 0 ELSE coalesce((
                SELECT sum(greatest(t.on_hand - t.reserved, 0)) FROM shop_stock t
                JOIN crm_store w ON w.id = t.store_id AND w.is_active WHERE t.sku_id = s.id
            ), 0) END
        ) ORDER BY e.id)
        FROM shop_promotionextra e JOIN shop_sku s ON s.id = e.sku_id JOIN shop_product g ON g.id = s.product_id
        WHERE e.promotion_id = p.id
    )
)
FROM shop_promotion p
"""


# What a promotion's extra and a coupon's gift have in common: an SKU beside the cart.
_GIFT = """
jsonb_build_object(
    'sku_id', s.id, 'product_id', s.product_id, 'unit_price_fen', s.price_fen, 'weight', s.weight_grams,
    'name', concat_ws(' ', g.name, nullif(s.name, '')), 'quantity', 1, 'price_fen', 0,
    'available', CASE WHEN NOT (s.is_active AND g.status <> 'off') THEN 0 ELSE coalesce((
        SELECT sum(greatest(t.on_hand - t.reserved, 0)) FROM shop_stock t
        JOIN crm_store w ON w.id = t.store_id AND w.is_active WHERE t.sku_id = s.id
    ), 0) END
)
"""
_COUPONS = f"""
SELECT jsonb_build_object(
    'id', h.id, 'title', c.name, 'kind', c.kind, 'amount_fen', c.amount_fen, 'off_bps', c.rate_bps,
    'cap_fen', c.cap_fen, 'threshold_fen', c.threshold_fen, 'scope', c.scope, 'scope_ids', c.scope_ids,
    'stackable', c.is_stackable, 'starts_at', extract(epoch FROM h.valid_from),
    'ends_at', extract(epoch FROM h.expires_at),
    'gift', (SELECT {_GIFT} FROM shop_sku s JOIN shop_product g ON g.id = s.product_id WHERE s.id = c.gift_sku_id)
)
FROM shop_coupongrant h JOIN shop_coupon c ON c.id = h.coupon_id
WHERE h.member_id = %s AND h.state = 'held' AND h.expires_at > %s ORDER BY h.expires_at, h.id LIMIT 200
"""  # noqa: S608  our own words only
_GOODS = """
SELECT jsonb_build_array(
    s.id, s.product_id, s.price_fen, s.weight_grams, concat_ws(' ', p.name, nullif(s.name, '')),
    ARRAY(
        WITH RECURSIVE up AS (
            SELECT id, parent_id, 0 AS depth FROM shop_category WHERE id = p.category_id
            UNION ALL
            SELECT c.id, c.parent_id, up.depth + 1 FROM shop_category c JOIN up ON c.id = up.parent_id
            WHERE up.depth < 8
        ) SELECT id FROM up
    ),
    m.price_fen, p.brand_id,
    CASE s.supply WHEN 'parts' THEN NOT EXISTS (
        SELECT FROM shop_bundleitem i JOIN shop_sku c ON c.id = i.sku_id
        WHERE i.bundle_id = s.id AND c.supply = 'stock'
    ) ELSE s.supply = 'pieces' END
)
FROM shop_sku s
JOIN shop_product p ON p.id = s.product_id
LEFT JOIN shop_memberprice m ON m.sku_id = s.id AND m.tier = (SELECT word FROM tier)
WHERE s.id = ANY(%s)
"""
_OFFERS = """
SELECT jsonb_build_array(
    o.id, o.name, o.sku_id, o.price_fen - coalesce(z.worth_fen - z.deposit_fen, 0), o.quota - o.taken, o.kind,
    o.per_member_limit - coalesce((
        SELECT t.taken FROM shop_offertally t WHERE t.offer_id = o.id AND t.member_id = %s
    ), 0),
    o.kind = 'first_order' AND EXISTS (
        SELECT FROM shop_offertake k WHERE k.member_id = %s AND k.is_first_order AND k.released_at IS NULL
    ), coalesce(z.deposit_fen, 0)
)
FROM shop_offer o LEFT JOIN shop_presale z ON z.offer_id = o.id
WHERE o.sku_id = ANY(%s) AND o.is_active AND o.starts_at <= %s AND o.ends_at > %s AND o.kind <> 'group'
  AND (o.kind = 'presale') = (z.id IS NOT NULL)
"""


_PRICE_GROUND = f"""
WITH tier AS MATERIALIZED (SELECT coalesce(nullif(%s, ''), (SELECT tier FROM crm_member WHERE id = %s), '') AS word)
SELECT ARRAY({_GOODS}), ARRAY({_PROMOTIONS} WHERE p.is_active AND p.starts_at <= %s AND p.ends_at > %s),
       ARRAY({_OFFERS}), ARRAY({_COUPONS}),
       ARRAY(SELECT jsonb_build_array(province, base_fen, free_from_fen) FROM shop_shippingrate),
       (SELECT jsonb_build_array(fen_per_100, cap_bps, least) FROM shop_pointspolicy WHERE is_active),
       coalesce((SELECT balance - held FROM core_ledgeraccount WHERE kind = 'points' AND owner_id = %s), 0),
       NOT EXISTS (SELECT FROM shop_order WHERE member_id = %s AND paid_at IS NOT NULL), (SELECT word FROM tier)
"""  # noqa: S608  our own words only


def read_ground(
    member_id: int | None, at: datetime, *, wanted: Sequence[tuple[int, int]], tier: str = ""
) -> Ground:
    """The SKUs at the catalogue's prices of now with all categories above them, and what runs at a moment for a
    member: promotions, offers of these SKUs, her coupons, shipping rates, points, whether she ever paid, her tier
    (`tier`: another word in its place). One statement.
    """
    quantities = dict(wanted)
    sku_ids = list(quantities)
    ((goods, promotions, offers, coupons, rates, points_policy, points, is_new, word),) = statements.rows(
        _PRICE_GROUND,
        [
            *(tier, member_id, sku_ids, at, at),
            *(member_id, member_id, sku_ids, at, at),
            *(member_id, at, member_id, member_id),
        ],
    )
    rows = [_loaded(one) for one in goods]
    return Ground(
        items=[
            Item(
                sku_id=row[0],
                product_id=row[1],
                unit_price_fen=row[2],
                quantity=quantities[row[0]],
                weight_grams=row[3],
                name=row[4],
                category_ids=frozenset(row[5]),
                brand_id=row[7],
                is_virtual=row[8],
            )
            for row in rows
        ],
        member_prices={row[0]: row[6] for row in rows if row[6] is not None},
        promotions=tuple(_promotion_rule(_loaded(one)) for one in promotions),
        offers=tuple(_offer_rule(*_loaded(one)) for one in offers),
        coupons=tuple(_coupon_rule(_loaded(one)) for one in coupons),
        shipping=tuple(ShippingRule(*_loaded(one)) for one in rates),
        points_rule=PointsRule(*_loaded(points_policy)) if points_policy else None,
        points=max(points, 0),
        is_new=is_new,
        tier=word,
    )


def promotion_rules(promotion_ids: Iterable[int]) -> tuple[PromotionRule, ...]:
    """These promotions as rules, drafts too. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_PROMOTIONS} WHERE p.id = ANY(%s)", [list(promotion_ids)])
        return tuple(_promotion_rule(_loaded(row[0])) for row in cursor.fetchall())


def draft_rule(promotion_id: int) -> PromotionRule:
    """A promotion as if it ran at any time. Raises NotFound."""
    found = promotion_rules([promotion_id])
    if not found:
        raise NotFound("")
    return replace(found[0], starts_at=None, ends_at=None)


def _loaded(value: Any) -> Any:
    """jsonb inside an array arrives as text."""
    return json.loads(value) if isinstance(value, str) else value


def _promotion_rule(row: Mapping[str, Any]) -> PromotionRule:
    return PromotionRule(
        id=row["id"],
        title=row["title"],
        kind=row["kind"],
        scope=Scope(
            product_ids=frozenset(row["products"]),
            category_ids=frozenset(row["categories"]),
            brand_ids=frozenset(row["brands"]),
            except_product_ids=frozenset(row["except"]),
        ),
        extras=tuple(_extra(extra) for extra in row["extras"] or ()),
        tiers=words_in(row["tiers"]),
        starts_at=_moment(row["starts_at"]),
        ends_at=_moment(row["ends_at"]),
        **{
            name: row[name]
            for name in (
                "threshold_fen", "threshold_quantity", "amount_fen", "off_bps", "cap_fen", "nth", "repeats",
                "max_times", "group", "priority", "only_new", "with_offers", "with_coupons",
            )
        },
    )  # fmt: skip


def _offer_rule(
    pk: int,
    title: str,
    sku_id: int,
    fen: int,
    left: int,
    kind: str,
    member_left: int,
    had_first: bool,
    deposit_fen: int,
) -> OfferRule:
    is_first = kind == "first_order"
    return OfferRule(
        pk,
        title,
        sku_id,
        fen,
        left=max(left, 0),
        member_left=0 if had_first else max(member_left, 0),
        only_new=is_first,
        once=kind if is_first else "",
        deposit_fen=deposit_fen,
    )


_COUPON_KINDS: dict[str, CouponKind] = {"amount": "amount", "percentage": "percent", "shipping": "shipping"}
_COUPON_KINDS |= {"gift": "gift", "exchange": "exchange"}


def _coupon_rule(row: Mapping[str, Any]) -> CouponRule:
    ids = frozenset(row["scope_ids"] or ())
    scope = {
        "products": Scope(product_ids=ids),
        "categories": Scope(category_ids=ids),
        "brands": Scope(brand_ids=ids),
    }.get(row["scope"], Scope())
    kind, gift = _COUPON_KINDS[row["kind"]], row["gift"]
    return CouponRule(
        id=row["id"],
        title=row["title"],
        kind=kind,
        scope=scope,
        threshold_fen=row["threshold_fen"],
        amount_fen=row["amount_fen"],
        off_bps=row["off_bps"],
        cap_fen=row["cap_fen"],
        sku_id=gift["sku_id"] if gift and kind == "exchange" else None,
        extras=(_extra(gift),) if gift and kind == "gift" else (),
        stackable=row["stackable"],
        starts_at=_moment(row["starts_at"]),
        ends_at=_moment(row["ends_at"]),
    )


def _moment(seconds: float | str) -> datetime:
    return datetime.fromtimestamp(float(seconds), tz=clock.zone())


def _extra(row: Mapping[str, Any]) -> Extra:
    item = Item(
        sku_id=row["sku_id"],
        product_id=row["product_id"],
        unit_price_fen=row["unit_price_fen"],
        quantity=1,
        weight_grams=row["weight"],
        name=row["name"],
    )
    return Extra(item, price_fen=row["price_fen"], quantity=row["quantity"], available=row["available"])
