"""The words of pricing: what goes in, what each step says, what comes out.

All amounts are integer fen, ratios integer basis points (10,000 bps = 100 %), points integers. A quote's lines sum to
its total to the fen: `sum(line.total_fen for lines) + shipping_fen == total_fen`, and every discount is allocated to
lines (or to the shipping), so that a partial refund is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

STEPS = ("member", "offer", "promotion", "coupon", "points", "shipping")
"""The order in which they are taken; a step sees the prices that the earlier ones left."""

Step = Literal["member", "offer", "promotion", "coupon", "points", "shipping", "bundle"]
"""`bundle` is no step of its own: what the parts of a bundle cost less together than alone, when it is taken apart."""


@dataclass(frozen=True)
class Item:
    """One SKU in the cart, at the catalogue's price of this moment. `category_ids`: its own and all above."""

    sku_id: int
    product_id: int
    unit_price_fen: int
    quantity: int
    category_ids: frozenset[int] = frozenset()
    brand_id: int | None = None
    weight_grams: int = 0
    is_virtual: bool = False
    name: str = ""


@dataclass(frozen=True)
class Buyer:
    """What prices depend on. `tier` is a word set by the member centre, empty for none; `region` a province."""

    member_id: int | None = None
    tier: str = ""
    is_new: bool = False
    points: int = 0
    region: str = ""


@dataclass(frozen=True)
class Choices:
    """What the shopper chose. `coupon_ids`: grants; None means "the best for me", () means none."""

    coupon_ids: tuple[int, ...] | None = None
    points: int = 0
    delivery: Literal["ship", "pickup"] = "ship"
    pickup_store_id: int | None = None
    add_on_sku_ids: tuple[int, ...] = ()
    stored_value_fen: int = 0
    """How much of the total is to be paid from stored value; not a discount, so pricing leaves it alone."""
    agrees_to_deposit: bool = False
    """She has read that the deposit of a presale is kept when the balance is not paid."""


@dataclass(frozen=True)
class Discount:
    """A part of a step's effect on one line."""

    step: Step
    source: str
    title: str
    amount_fen: int


@dataclass(frozen=True)
class QuotedLine:
    """A line of the cart with everything that was taken off; gifts are lines of their own at their full discount.

    `part`: a line that a bundle was taken apart into (`shop.bundles_rules`); `bundle` is the place of that bundle.
    """

    sku_id: int
    unit_price_fen: int
    quantity: int
    kind: Literal["goods", "gift", "part"] = "goods"
    discounts: tuple[Discount, ...] = ()
    bundle: int | None = None

    @property
    def discount_fen(self) -> int:
        return sum(one.amount_fen for one in self.discounts)

    @property
    def total_fen(self) -> int:
        return self.unit_price_fen * self.quantity - self.discount_fen


@dataclass(frozen=True)
class Note:
    """What a rule did or why it did not apply, in the shopper's words ("差 12 元可用").

    `message` is a key of `shop.pricing.words` with its `values`; doors translate it, rules stay without Django.
    """

    step: Step
    source: str
    title: str
    applied: bool
    amount_fen: int = 0
    message: str = ""
    values: dict[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quote:
    """The whole answer. `offer_takes` are (offer id, sku id, quantity) that the order must take from quotas."""

    lines: tuple[QuotedLine, ...]
    shipping_fen: int = 0
    shipping_discounts: tuple[Discount, ...] = ()
    notes: tuple[Note, ...] = ()
    coupon_ids: tuple[int, ...] = ()
    points_used: int = 0
    offer_takes: tuple[tuple[int, int, int], ...] = ()
    deposit_fen: int = 0
    """What of the total is paid first, as the deposit of presale offers; 0: all of it at once."""

    @property
    def items_fen(self) -> int:
        return sum(line.unit_price_fen * line.quantity for line in self.lines)

    @property
    def discount_fen(self) -> int:
        return sum(line.discount_fen for line in self.lines)

    @property
    def total_fen(self) -> int:
        return self.items_fen - self.discount_fen + self.shipping_fen
