"""What a cart costs: one statement reads all that pricing needs, then the pure steps of `shop.pricing` decide.

`quote` writes nothing and locks nothing: who orders takes coupons, quotas and points by guarded updates of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from core import clock, statements
from shop import rules as shop_rules
from shop.models import Sku
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
from shop.services.pricing_rules import (
    EXTRAS,
    GIFT,
    VERSION,
    CouponFacts,
    KeptRules,
    extras_of,
    gift_of,
    known_rules,
    promotion_rules,
    read_rules,
)

NO_CHOICES = Choices()


@dataclass(frozen=True, slots=True)
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


def quote(
    *,
    member_id: int | None,
    lines: Iterable[tuple[int, int]],
    choices: Choices = NO_CHOICES,
    region: str = "",
    at: datetime | None = None,
    tier: str = "",
    drafts: Sequence[int] = (),
    ground: Ground | None = None,
) -> Quote:
    """What (sku id, quantity) pairs cost a member at a moment (None: now), with every step's reasons.

    One statement, with her coupons and the offers of these SKUs; `read_ground` says when there are more. Unknown SKUs
    and quantities below 1 are left out: who orders refuses them by name. `region` is the province the parcel goes to,
    `tier` a word instead of her own. None for the member: somebody unknown. `drafts` are promotions to try as if they
    ran (one statement more). `ground`: what was read for just this (no statement).
    """
    moment = at or clock.now()
    if ground is None:
        merged = shop_rules.merged_lines(line for line in lines if line[1] > 0)
        wanted = {sku_id: min(count, 10**6) for sku_id, count in merged}
        ground = read_ground(member_id, moment, wanted=wanted, tier=tier).ground
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


# --- What is read --------------------------------------------------------------------------------------------------
_GOODS = """
SELECT json_agg(json_build_array(
    s.id, s.product_id, s.price_fen, s.weight_grams, p.name, s.name, p.category_id, p.brand_id, s.supply{more}
))
FROM shop_sku s JOIN shop_product p ON p.id = s.product_id WHERE s.id = ANY(%(skus)s)
"""
_HELD = """
SELECT json_agg(json_build_array(h.id, h.coupon_id, h.valid_from, h.expires_at)) FROM (
    SELECT id, coupon_id, valid_from, expires_at FROM shop_coupongrant
    WHERE member_id = %(member)s AND state = 'held' AND expires_at > %(at)s ORDER BY expires_at, id LIMIT 200
) h
"""
# As `core_ledger_hold` counts them: what ended is not hers any more, also before it is moved out.
_POINTS = """
SELECT a.balance - greatest(a.held, coalesce((
    SELECT sum(t.remaining) FROM core_ledgerlot t
    WHERE t.account_id = a.id AND t.remaining > 0 AND t.expires_at <= %(at)s
), 0)) FROM core_ledgeraccount a WHERE a.kind = 'points' AND a.owner_id = %(member)s
"""
# In none of these may a table be called `m`: that is the member, where they stand in a statement about her.
_TIER = "coalesce(nullif(%(tier)s, ''), (SELECT tier FROM crm_member WHERE id = %(member)s), '')"
_TIER_PRICES = f"""
SELECT json_agg(json_build_array(r.sku_id, r.price_fen)) FROM shop_memberprice r
WHERE r.tier = {_TIER} AND r.sku_id = ANY(%(skus)s)
"""  # noqa: S608  our own words only
_OFFERS = """
SELECT json_agg(json_build_array(
    o.id, o.name, o.sku_id, o.price_fen - coalesce(z.worth_fen - z.deposit_fen, 0), o.quota - o.taken, o.kind,
    o.per_member_limit - coalesce((
        SELECT t.taken FROM shop_offertally t WHERE t.offer_id = o.id AND t.member_id = %(member)s
    ), 0),
    o.kind = 'first_order' AND EXISTS (
        SELECT FROM shop_offertake k WHERE k.member_id = %(member)s AND k.is_first_order AND k.released_at IS NULL
    ), coalesce(z.deposit_fen, 0)
))
FROM shop_offer o LEFT JOIN shop_presale z ON z.offer_id = o.id
WHERE o.sku_id = ANY(%(skus)s) AND o.is_active AND o.starts_at <= %(at)s AND o.ends_at > %(at)s AND o.kind <> 'group'
  AND (o.kind = 'presale') = (z.id IS NOT NULL)
"""
_EXTRAS = f"{EXTRAS} WHERE e.promotion_id = ANY(%(promotions)s)"
_HAS_PAID = "EXISTS (SELECT FROM shop_order WHERE member_id = %(member)s AND paid_at IS NOT NULL)"
_GIFTS = f"""
SELECT {GIFT} FROM shop_sku s JOIN shop_product g ON g.id = s.product_id WHERE s.id = ANY(%s)
"""  # noqa: S608  our own words only
# Of services and virtual goods alone, and of bundles of such; bundles are few, so they are asked for by themselves.
_PARCEL_BUNDLES = """
SELECT DISTINCT i.bundle_id FROM shop_bundleitem i JOIN shop_sku c ON c.id = i.sku_id
WHERE i.bundle_id = ANY(%s) AND c.supply = 'stock'
"""


class Beside(NamedTuple):
    """What else to read in that statement: `goods`, SQL of facts of an SKU `s` of a product `p`; `values`, others."""

    goods: str = ""
    values: str = ""


class Found(NamedTuple):
    """`rows`: the SKUs as they were read, with the facts asked for beside from the tenth column on; `values` those."""

    ground: Ground
    rules: KeptRules
    rows: list[Any]
    values: list[Any]


def read_ground(
    member_id: int | None,
    at: datetime,
    *,
    wanted: Mapping[int, int],
    tier: str = "",
    beside: Beside = Beside(),  # noqa: B008  frozen
    more_skus: Iterable[int] = (),
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Found:
    """The SKUs (id → pieces) at the catalogue's prices of now with all categories above them, and what runs at a moment
    for a member: promotions, offers of these SKUs, her coupons, shipping rates, points, whether she ever paid, her tier
    (`tier`: another word in its place).

    One statement, for the rules of this process and what changes by itself; three when rules were changed since they
    were read. One more for bundles, and for a coupon that gives something or that nobody held before.
    """
    sku_ids = sorted({*wanted, *more_skus})
    values = {**params, "member": member_id, "skus": sku_ids, "at": at, "tier": tier}
    rules = known_rules(at)
    if rules is not None:
        found = _read(rules, values, beside)
        if rules.holds(frozenset(found[0] or ()), at):
            return _found(found, rules, wanted, at)
    rules = read_rules(at)
    return _found(_read(rules, values, beside), rules, wanted, at)


class GroundWords(NamedTuple):
    """The same as an expression, for who asks for a member's row `m` anyway: `sql` takes `params` by name."""

    sql: str
    params: dict[str, Any]
    rules: KeptRules
    wanted: Mapping[int, int]
    at: datetime


def ground_words(
    at: datetime,
    *,
    wanted: Mapping[int, int],
    beside: Beside,
    more_skus: Iterable[int] = (),
    params: Mapping[str, Any] = MappingProxyType({}),
) -> GroundWords | None:
    """What `read_ground` would ask for the member `m.living`; None when this process knows no rules of that moment."""
    rules = known_rules(at)
    if rules is None:
        return None
    values = {**params, "skus": sorted({*wanted, *more_skus}), "at": at, "tier": ""}
    values["promotions"] = list(rules.with_extras)
    return GroundWords(
        _ground_words(beside, *_parts_asked(rules, values), who="m.living"), values, rules, wanted, at
    )


def ground_in(asked: GroundWords, text: str) -> Found | None:
    """What the words answered; None when the rules were changed since this process read them."""
    found = orjson.loads(text)
    if not asked.rules.holds(frozenset(found[0] or ()), asked.at):
        return None
    return _found(found, asked.rules, asked.wanted, asked.at)


def _found(found: list[Any], rules: KeptRules, wanted: Mapping[int, int], at: datetime) -> Found:
    _version, word, rows, held, points, tier_prices, offers, extras, has_paid, *others = found
    rows = rows or []
    return Found(
        Ground(
            items=_items(rows, wanted, rules),
            member_prices=dict(tier_prices or ()),
            promotions=rules.running(at, extras_of(extras)),
            offers=tuple(_offer_rule(*row) for row in offers or ()),
            coupons=_coupons(held or (), rules),
            shipping=rules.shipping,
            points_rule=rules.points,
            points=max(points or 0, 0),
            is_new=not has_paid,
            tier=word,
        ),
        rules,
        rows,
        others,
    )


def _read(rules: KeptRules, values: dict[str, Any], beside: Beside) -> list[Any]:
    # Through a subquery: of each execution of a prepared statement Postgres copies the list of what it answers, and
    # with it what stands there.
    words = _ground_words(beside, *_parts_asked(rules, values))
    ((text,),) = statements.named(
        f"SELECT found.row FROM (SELECT {words} AS row OFFSET 0) found",  # noqa: S608  our own words only
        {**values, "promotions": list(rules.with_extras)},
    )
    found: list[Any] = orjson.loads(text)
    return found


def _parts_asked(rules: KeptRules, values: Mapping[str, Any]) -> tuple[bool, bool, bool, bool]:
    """What the rules know that there is none of is not looked for: tiers, offers, extras, whether she is new."""
    is_offered = not rules.offered.isdisjoint(values["skus"])
    return (
        rules.has_tier_prices,
        is_offered,
        bool(rules.with_extras),
        is_offered or any(rule.only_new for rule in rules.promotions),
    )


@cache
def _ground_words(
    beside: Beside,
    has_tiers: bool,
    has_offers: bool,
    has_extras: bool,
    asks_for_new: bool,
    *,
    who: str = "%(member)s",
) -> str:
    goods = _GOODS.replace("{more}", beside.goods and f", {beside.goods}")
    parts = [
        f"({VERSION}), {_TIER}, ({goods}), ({_HELD}), ({_POINTS})",
        *(
            f"({sql})" if is_asked else "NULL"
            for is_asked, sql in ((has_tiers, _TIER_PRICES), (has_offers, _OFFERS), (has_extras, _EXTRAS))
        ),
        _HAS_PAID if asks_for_new else "NULL",
        *([beside.values] if beside.values else []),
    ]
    return f"json_build_array({', '.join(parts)})::text".replace("%(member)s", who)


def _items(rows: Sequence[Sequence[Any]], wanted: Mapping[int, int], rules: KeptRules) -> list[Item]:
    bundles = [row[0] for row in rows if row[8] == Sku.PARTS]
    parcels = {row[0] for row in statements.rows(_PARCEL_BUNDLES, [bundles])} if bundles else ()
    return [
        Item(
            row[0],
            row[1],
            row[2],
            wanted[row[0]],
            rules.categories(row[6]),
            row[7],
            row[3],
            row[8] == Sku.PIECES or (row[8] == Sku.PARTS and row[0] not in parcels),
            f"{row[4]} {row[5]}" if row[5] else row[4],
        )
        for row in rows
        if row[0] in wanted
    ]


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
_SCOPES = {"products": "product_ids", "categories": "category_ids", "brands": "brand_ids"}
_EVERYTHING = Scope()


def _coupons(held: Iterable[Sequence[Any]], rules: KeptRules) -> tuple[CouponRule, ...]:
    """(grant, coupon, from, until) as rules."""
    facts = rules.coupons({row[1] for row in held})
    mine = [(row, facts[row[1]]) for row in held if row[1] in facts]
    gift_ids = [one.gift_sku_id for _row, one in mine if one.gift_sku_id is not None]
    gifts = {row[0]: gift_of(row) for row in statements.rows(_GIFTS, [gift_ids])} if gift_ids else {}
    return tuple(_coupon_rule(row[0], one, row[2], row[3], gifts) for row, one in mine)


def coupon_rules(grant_ids: Iterable[int], at: datetime) -> dict[int, CouponRule]:
    """Coupons in members' hands as rules, also those that were used long ago. At most four statements."""
    wanted = list(grant_ids)
    if not wanted:
        return {}
    rows = statements.rows(
        "SELECT json_build_array(id, coupon_id, valid_from, expires_at)::text FROM shop_coupongrant WHERE id = ANY(%s)",
        [wanted],
    )
    held = [orjson.loads(text) for (text,) in rows]
    return {rule.id: rule for rule in _coupons(held, known_rules(at) or read_rules(at))}


def _coupon_rule(
    grant_id: int, one: CouponFacts, starts_at: str, ends_at: str, gifts: Mapping[int, Extra]
) -> CouponRule:
    kind = _COUPON_KINDS[one.kind]
    gift = gifts.get(one.gift_sku_id) if one.gift_sku_id is not None else None
    return CouponRule(
        grant_id,
        one.name,
        kind,
        Scope(**{_SCOPES[one.scope]: frozenset(one.scope_ids or ())})
        if one.scope in _SCOPES
        else _EVERYTHING,
        one.threshold_fen,
        one.amount_fen,
        one.rate_bps,
        one.cap_fen,
        sku_id=gift.item.sku_id if gift and kind == "exchange" else None,
        extras=(gift,) if gift and kind == "gift" else (),
        stackable=one.is_stackable,
        starts_at=datetime.fromisoformat(starts_at),
        ends_at=datetime.fromisoformat(ends_at),
    )
