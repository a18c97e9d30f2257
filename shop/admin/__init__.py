"""The shop's admin pages, by noun."""

from shop.admin import catalogue, orders, payments, stock

__all__ = ["catalogue", "orders", "payments", "stock"]
