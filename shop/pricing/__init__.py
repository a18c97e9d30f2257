"""The price of a cart, as ordered pure steps: no Django, no clock, no database. Start at `shop.pricing.types`."""

from shop.pricing.pipeline import price
from shop.pricing.refunds import returned_fen
from shop.pricing.rules import (
    CouponRule,
    Extra,
    Level,
    OfferRule,
    PointsRule,
    PromotionRule,
    Rules,
    Scope,
    ShippingRule,
)
from shop.pricing.types import Buyer, Choices, Discount, Item, Note, Quote, QuotedLine

__all__ = [
    "Buyer",
    "Choices",
    "CouponRule",
    "Discount",
    "Extra",
    "Item",
    "Level",
    "Note",
    "OfferRule",
    "PointsRule",
    "PromotionRule",
    "Quote",
    "QuotedLine",
    "Rules",
    "Scope",
    "ShippingRule",
    "price",
    "returned_fen",
]
