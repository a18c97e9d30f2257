"""The shop's admin pages, by noun."""

from shop.admin import (
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
