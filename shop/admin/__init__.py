"""The shop's admin pages, by noun."""

from shop.admin import (
    attributes,
    brands,
    catalogue,
    fulfilment,
    funnel,
    logistics,
    orders,
    payments,
    pricing,
    promotions,
    recovery,
    rehearsals,
    stock,
    stocktaking,
    tracking,
    transfers,
)
from shop.imports import admin as imports

__all__ = [
    "attributes",
    "brands",
    "catalogue",
    "fulfilment",
    "funnel",
    "imports",
    "logistics",
    "orders",
    "payments",
    "pricing",
    "promotions",
    "recovery",
    "rehearsals",
    "stock",
    "stocktaking",
    "tracking",
    "transfers",
]
