"""The rules of prices and routing, kept in this process as long as their version in the database stays the same.

Every quote reads the version in the statement that it makes anyway (`VERSION`); a change by whatever way is therefore
seen by the next quote of every process. See `shop.models.PricingVersion`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import connection

from core import statements
from core.errors import NotFound
from shop import routing
from shop.pricing import Extra, Item, Level, PointsRule, PromotionRule, Scope, ShippingRule
from shop.pricing.rules import is_open
from shop.queries.pricing import words_in
from shop.services.stock import WAREHOUSE

Version = frozenset[str]
VERSION = "SELECT json_agg(v.id) FROM shop_pricingversion v"
# What a promotion's extra and a coupon's gift have in common: an SKU beside the cart.
GIFT = """
s.id, s.product_id, s.price_fen, s.weight_grams, concat_ws(' ', g.name, nullif(s.name, '')),
CASE WHEN NOT (s.is_active AND g.status <> 'off') THEN 0 ELSE coalesce((
    SELECT sum(greatest(t.on_hand - t.reserved, 0)) FROM shop_stock t
    JOIN crm_store w ON w.id = t.store_id AND w.is_active WHERE t.sku_id = s.id
), 0) END
"""
EXTRAS = f"""
SELECT json_agg(json_build_array(e.promotion_id, {GIFT}, e.quantity, e.price_fen) ORDER BY e.id)
FROM shop_promotionextra e JOIN shop_sku s ON s.id = e.sku_id JOIN shop_product g ON g.id = s.product_id
"""  # noqa: S608  our own words only
# A store `p` as routing sees it.
STORE = """
p.id, CASE WHEN p.code = %(warehouse)s THEN 0 ELSE p.online_rank END, p.code = %(warehouse)s,
p.ships_online OR p.code = %(warehouse)s, p.allows_pickup, p.province, p.city, p.latitude, p.longitude,
p.safety_stock, p.is_active
"""

_COLUMNS = (
    "id", "title", "kind", "threshold_fen", "threshold_quantity", "amount_fen", "off_bps", "cap_fen", "nth", "repeats",
    "max_times", "exclusion_group", "priority", "only_new", "with_offers", "with_coupons",
)  # fmt: skip
_PROMOTIONS = f"""
SELECT json_agg(json_build_array(
    {", ".join(f"p.{name}" for name in _COLUMNS)}, p.tiers, p.starts_at, p.ends_at,
    ARRAY(SELECT product_id FROM shop_promotion_products WHERE promotion_id = p.id),
    ARRAY(SELECT category_id FROM shop_promotion_categories WHERE promotion_id = p.id),
    ARRAY(SELECT brand_id FROM shop_promotion_brands WHERE promotion_id = p.id),
    ARRAY(SELECT product_id FROM shop_promotion_except_products WHERE promotion_id = p.id),
    ARRAY(SELECT json_build_array(l.threshold_fen, l.threshold_quantity, l.amount_fen, l.off_bps)
          FROM shop_promotionlevel l WHERE l.promotion_id = p.id)
))
FROM shop_promotion p
"""  # noqa: S608  our own words only
_RULES = f"""
SELECT json_build_array(
    ({VERSION}),
    ({_PROMOTIONS} WHERE p.is_active AND p.ends_at > %(at)s),
    ARRAY(
        SELECT DISTINCT e.promotion_id FROM shop_promotionextra e JOIN shop_promotion p ON p.id = e.promotion_id
        WHERE p.is_active AND p.ends_at > %(at)s
    ),
    EXISTS (SELECT FROM shop_memberprice),
    ARRAY(SELECT DISTINCT o.sku_id FROM shop_offer o WHERE o.is_active AND o.ends_at > %(at)s),
    (SELECT json_agg(json_build_array(province, base_fen, free_from_fen)) FROM shop_shippingrate),
    (SELECT json_build_array(fen_per_100, cap_bps, least) FROM shop_pointspolicy WHERE is_active),
    (SELECT json_agg(json_build_array(id, parent_id)) FROM shop_category),
    (SELECT json_agg(json_build_array({STORE})) FROM crm_store p WHERE p.is_active OR p.code = %(warehouse)s)
)::text
"""  # noqa: S608  our own words only
_COUPONS = f"""
SELECT json_build_array(({VERSION}), (
    SELECT json_agg(json_build_array(
        c.id, c.name, c.kind, c.amount_fen, c.rate_bps, c.cap_fen, c.threshold_fen, c.scope, c.scope_ids,
        c.is_stackable, c.gift_sku_id
    )) FROM shop_coupon c WHERE c.id = ANY(%s)
))::text
"""  # noqa: S608  our own words only

DEEPEST = 8
Extras = Mapping[int, tuple[Extra, ...]]


class CouponFacts(NamedTuple):
    """What a coupon is, whoever holds it."""

    id: int
    name: str
    kind: str
    amount_fen: int
    rate_bps: int
    cap_fen: int | None
    threshold_fen: int
    scope: str
    scope_ids: list[int] | None
    is_stackable: bool
    gift_sku_id: int | None


@dataclass(frozen=True, slots=True)
class KeptRules:
    """What one version of the rules says; an empty version holds for nobody but who has just read it.

    `since`: promotions and offers that ended before this moment are not among them. `with_extras` are the promotions
    that give, sell or need other goods, whose prices and stock every quote looks at; `offered` the SKUs that have an
    offer now or later.
    """

    version: Version
    since: datetime
    promotions: tuple[PromotionRule, ...]
    with_extras: frozenset[int]
    has_tier_prices: bool
    offered: frozenset[int]
    shipping: tuple[ShippingRule, ...]
    points: PointsRule | None
    parents: Mapping[int, int | None]
    stores: tuple[routing.Store, ...]
    _above: dict[int | None, frozenset[int]] = field(default_factory=dict)
    _coupons: dict[int, CouponFacts] = field(default_factory=dict)

    def holds(self, version: Version, at: datetime) -> bool:
        return bool(version) and self.version == version and self.since <= at

    @property
    def warehouse_id(self) -> int | None:
        return next((one.place.store_id for one in self.stores if one.place.is_warehouse), None)

    def running(self, at: datetime, extras: Extras) -> tuple[PromotionRule, ...]:
        """The promotions of a moment, with what they give or need as it is now."""
        return tuple(
            replace(rule, extras=extras.get(rule.id, ())) if rule.id in self.with_extras else rule
            for rule in self.promotions
            if is_open(rule, at)
        )

    def categories(self, category_id: int | None) -> frozenset[int]:
        """A category with those above it."""
        found = self._above.get(category_id)
        if found is None:
            path: list[int] = []
            here = category_id
            while here is not None and len(path) <= DEEPEST:
                path.append(here)
                here = self.parents.get(here)
            found = self._above[category_id] = frozenset(path)
        return found

    def coupons(self, coupon_ids: Iterable[int]) -> Mapping[int, CouponFacts]:
        """Coupons by id; one statement when there are some that nobody asked for before."""
        missing = set(coupon_ids) - self._coupons.keys()
        if not missing:
            return self._coupons
        ((text,),) = statements.rows(_COUPONS, [list(missing)])
        version, rows = orjson.loads(text)
        found = {row[0]: CouponFacts(*row) for row in rows or ()}
        if frozenset(version or ()) == self.version:
            self._coupons.update(found)
        return {**self._coupons, **found}


class _Kept(NamedTuple):
    database: str
    rules: KeptRules


_kept: _Kept | None = None


def known_rules(at: datetime) -> KeptRules | None:
    """What this process read last, if it can be of use at a moment; whether it holds, only the version of now says."""
    kept = _kept
    if kept is None or kept.database != connection.settings_dict["NAME"]:
        return None
    return kept.rules if kept.rules.holds(kept.rules.version, at) else None


def read_rules(at: datetime) -> KeptRules:
    """The rules as they are now, kept for the next who asks. One statement."""
    global _kept
    ((text,),) = statements.named(_RULES, {"at": at, "warehouse": WAREHOUSE})
    version, promotions, with_extras, has_tier_prices, offered, rates, policy, tree, stores = orjson.loads(
        text
    )
    rules = KeptRules(
        version=frozenset(version or ()),
        since=at,
        promotions=tuple(_promotion(row) for row in promotions or ()),
        with_extras=frozenset(with_extras),
        has_tier_prices=has_tier_prices,
        offered=frozenset(offered),
        shipping=tuple(ShippingRule(*row) for row in rates or ()),
        points=PointsRule(*policy) if policy else None,
        parents=dict(tree or ()),
        stores=tuple(store_of(row) for row in stores or ()),
    )
    _kept = _Kept(connection.settings_dict["NAME"], rules)
    return rules


def store_of(row: Sequence[Any]) -> routing.Store:
    """The columns of `STORE`."""
    return routing.Store(routing.Place(*row[:9]), safety_stock=row[9], is_active=row[10])


def promotion_rules(promotion_ids: Iterable[int]) -> tuple[PromotionRule, ...]:
    """These promotions as rules, drafts too. One statement."""
    ((text,),) = statements.named(
        f"""
        SELECT json_build_array(
            ({_PROMOTIONS} WHERE p.id = ANY(%(ids)s)), ({EXTRAS} WHERE e.promotion_id = ANY(%(ids)s))
        )::text
        """,
        {"ids": list(promotion_ids)},
    )
    rows, found = orjson.loads(text)
    extras = extras_of(found)
    return tuple(replace(rule, extras=extras.get(rule.id, ())) for rule in map(_promotion, rows or ()))


def draft_rule(promotion_id: int) -> PromotionRule:
    """A promotion as if it ran at any time. Raises NotFound."""
    found = promotion_rules([promotion_id])
    if not found:
        raise NotFound("")
    return replace(found[0], starts_at=None, ends_at=None)


def extras_of(rows: Sequence[Sequence[Any]] | None) -> Extras:
    """The rows of `EXTRAS`, by promotion."""
    extras: dict[int, tuple[Extra, ...]] = {}
    for promotion_id, *facts, quantity, price_fen in rows or ():
        one = gift_of(facts, quantity=quantity, price_fen=price_fen)
        extras[promotion_id] = (*extras.get(promotion_id, ()), one)
    return extras


def gift_of(facts: Sequence[Any], *, quantity: int = 1, price_fen: int = 0) -> Extra:
    """The columns of `GIFT` as what a rule adds."""
    sku_id, product_id, unit_price_fen, weight_grams, name, available = facts
    item = Item(
        sku_id=sku_id,
        product_id=product_id,
        unit_price_fen=unit_price_fen,
        quantity=1,
        weight_grams=weight_grams,
        name=name,
    )
    return Extra(item, price_fen=price_fen, quantity=quantity, available=available)


def _promotion(row: Sequence[Any]) -> PromotionRule:
    columns = dict(zip(_COLUMNS, row, strict=False))
    tiers, starts_at, ends_at, products, categories, brands, left_out, levels = row[len(_COLUMNS) :]
    return PromotionRule(
        group=columns.pop("exclusion_group"),
        tiers=words_in(tiers),
        levels=tuple(Level(*level) for level in levels),
        starts_at=datetime.fromisoformat(starts_at),
        ends_at=datetime.fromisoformat(ends_at),
        scope=Scope(
            product_ids=frozenset(products),
            category_ids=frozenset(categories),
            brand_ids=frozenset(brands),
            except_product_ids=frozenset(left_out),
        ),
        **columns,
    )
