"""What operators set up, as plain values: rules of promotions, coupons, offers, points and shipping.

Amounts are fen. Every rate says what is taken off: `off_bps` 2,000 is 20 % off, in Chinese 8 折. A window is open at
`starts_at` and closed at `ends_at`; None is unbounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shop.pricing.types import Buyer, Item

PromotionKind = Literal["amount_off", "percent_off", "nth_piece", "add_on", "gift", "bundle"]
CouponKind = Literal["amount", "percent", "shipping", "gift", "exchange"]


@dataclass(frozen=True)
class Scope:
    """Which goods a rule looks at: those named by any of the sets; with all empty, every one. `except_` wins."""

    product_ids: frozenset[int] = frozenset()
    category_ids: frozenset[int] = frozenset()
    brand_ids: frozenset[int] = frozenset()
    sku_ids: frozenset[int] = frozenset()
    except_product_ids: frozenset[int] = frozenset()

    def covers(self, item: Item) -> bool:
        if item.product_id in self.except_product_ids:
            return False
        if not (self.product_ids or self.category_ids or self.brand_ids or self.sku_ids):
            return True
        return (
            item.product_id in self.product_ids
            or item.sku_id in self.sku_ids
            or not self.category_ids.isdisjoint(item.category_ids)
            or (item.brand_id is not None and item.brand_id in self.brand_ids)
        )


EVERYTHING = Scope()


@dataclass(frozen=True)
class Extra:
    """An SKU that a rule adds or names. `price_fen`: what it costs under the rule; `quantity`: pieces of it;
    `available`: pieces that can be had, None when nobody counts them.
    """

    item: Item
    price_fen: int = 0
    quantity: int = 1
    available: int | None = None

    def had(self, wanted: int) -> int:
        """How many of so many pieces can be had."""
        return wanted if self.available is None else min(wanted, self.available)


@dataclass(frozen=True)
class Level:
    """A higher step of a promotion: from its thresholds on, its discount takes the place of the lower ones."""

    threshold_fen: int = 0
    threshold_quantity: int = 0
    amount_fen: int = 0
    off_bps: int = 0


@dataclass(frozen=True)
class PromotionRule:
    """满减, 满折, 第 N 件, 加价购, 满赠 or a bundle price.

    The conditions: goods of `scope` worth `threshold_fen` and counting `threshold_quantity` pieces. The effect by kind:
    amount_off takes `amount_fen`, once or for every full threshold (`repeats`); percent_off `off_bps`; nth_piece
    `off_bps` of every `nth` piece, the dearest counted first; add_on sells an SKU of `extras` at its `price_fen`;
    gift adds `extras`; bundle sells one of each of `extras` together for `amount_fen`. `max_times` bounds repetition
    (0: no bound), `cap_fen` the amount. `levels`, of amount_off and percent_off, go on from the rule's own threshold
    and discount: the highest that is reached counts, and nothing repeats. Rules of one `group` never share a line
    (empty: shares with all); higher `priority` goes first, among equals of a group the one that is worth more.
    """

    id: int
    title: str
    kind: PromotionKind
    scope: Scope = EVERYTHING
    threshold_fen: int = 0
    threshold_quantity: int = 0
    amount_fen: int = 0
    off_bps: int = 0
    cap_fen: int | None = None
    nth: int = 2
    repeats: bool = False
    max_times: int = 0
    extras: tuple[Extra, ...] = ()
    levels: tuple[Level, ...] = ()
    group: str = ""
    priority: int = 0
    tiers: frozenset[str] = frozenset()
    only_new: bool = False
    with_offers: bool = False
    with_coupons: bool = True
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def source(self) -> str:
        return f"promotion:{self.id}"

    def is_for(self, buyer: Buyer) -> bool:
        return (not self.tiers or buyer.tier in self.tiers) and (not self.only_new or buyer.is_new)


@dataclass(frozen=True)
class CouponRule:
    """A coupon that the buyer holds; `id` is the grant's.

    amount takes `amount_fen`, percent `off_bps` up to `cap_fen`, shipping the fee (up to `amount_fen`, when given),
    gift adds `extras`, exchange makes `quantity` pieces of the scope (of `sku_id`, when given) free. `threshold_fen` is
    measured on the goods of `scope` after promotions and before coupons: coupons never spoil each other's condition.
    """

    id: int
    title: str
    kind: CouponKind
    scope: Scope = EVERYTHING
    threshold_fen: int = 0
    amount_fen: int = 0
    off_bps: int = 0
    cap_fen: int | None = None
    quantity: int = 1
    sku_id: int | None = None
    extras: tuple[Extra, ...] = ()
    stackable: bool = False
    group: str = ""
    priority: int = 0
    with_offers: bool = False
    with_promotions: bool = True
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def source(self) -> str:
        return f"coupon:{self.id}"


@dataclass(frozen=True)
class OfferRule:
    """A special price of one SKU with a quota. `left` is what the quota still has, `member_left` what this buyer may
    still take; None: no bound. `is_exclusive`: what is bought so takes part in no promotion and no coupon, unless the
    rule of these says otherwise (`with_offers`). `deposit_fen`: what of a presale's price is paid first. Of the offers
    that share a word in `once` a cart takes the one that saves most, and of that one piece.
    """

    id: int
    title: str
    sku_id: int
    price_fen: int
    left: int | None = None
    member_left: int | None = None
    tiers: frozenset[str] = frozenset()
    only_new: bool = False
    is_exclusive: bool = True
    once: str = ""
    deposit_fen: int = 0
    priority: int = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def source(self) -> str:
        return f"offer:{self.id}"

    def is_for(self, buyer: Buyer) -> bool:
        return (not self.tiers or buyer.tier in self.tiers) and (not self.only_new or buyer.is_new)


@dataclass(frozen=True)
class PointsRule:
    """100 points are worth `fen_per_100`; they pay at most `cap_bps` of the goods; fewer than `least` are not taken."""

    fen_per_100: int
    cap_bps: int = 10_000
    least: int = 1


@dataclass(frozen=True)
class ShippingRule:
    """The fee of a parcel to a province (empty: to everywhere else), none from `free_from_fen` of goods on."""

    province: str = ""
    base_fen: int = 0
    free_from_fen: int | None = None


@dataclass(frozen=True)
class Rules:
    """Everything that may touch a price. `member_prices`: SKU → the price for this buyer's tier."""

    member_prices: Mapping[int, int] = field(default_factory=dict)
    offers: tuple[OfferRule, ...] = ()
    promotions: tuple[PromotionRule, ...] = ()
    coupons: tuple[CouponRule, ...] = ()
    points: PointsRule | None = None
    shipping: tuple[ShippingRule, ...] = ()


def is_open(rule: PromotionRule | CouponRule | OfferRule, at: datetime) -> bool:
    return (rule.starts_at is None or rule.starts_at <= at) and (rule.ends_at is None or at < rule.ends_at)
