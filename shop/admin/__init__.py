"""The shop's admin pages, by noun."""

from shop.admin import catalogue, funnel, logistics, orders, payments, recovery, stock, tracking
from shop.imports import admin as imports

__all__ = [
    "catalogue",
    "funnel",
    "imports",
    "logistics",
    "orders",
    "payments",
    "recovery",
    "stock",
    "tracking",
]
