"""The shop's admin pages, by noun."""

from shop.admin import catalogue, orders, payments, stock
from shop.imports import admin as imports

__all__ = ["catalogue", "imports", "orders", "payments", "stock"]
