"""What others may ask about the shop: shelves, carts, orders. Light rows, a fixed number of statements each."""

from shop.queries.carts import (
    CartPage,
    CartRow,
    CheckoutPage,
    address_for,
    addresses_of,
    cart_count,
    cart_of,
    checkout_of,
    default_address,
)
from shop.queries.catalogue import (
    CategoryRow,
    ImageRow,
    ProductPage,
    ProductPageData,
    ProductRow,
    SkuRow,
    categories,
    product_list,
    product_page,
)
from shop.queries.fulfilment import (
    fulfilments_for,
    fulfilments_of,
    lines_of,
    low_stocks,
    open_pickups,
    pickup_stores,
)
from shop.queries.funnel import Reminded, Why, funnel_counts, funnel_reasons, reminders_between
from shop.queries.logistics import asked_templates, order_message
from shop.queries.orders import OrderPage, find_order, order_counts, order_for, orders_of
from shop.queries.recovery import current_rules, guarantees
from shop.queries.tracking import ParcelRow, carrier_choices, latest_parcels, parcels_of

__all__ = [
    "CartPage",
    "CartRow",
    "CategoryRow",
    "CheckoutPage",
    "ImageRow",
    "OrderPage",
    "ParcelRow",
    "ProductPage",
    "ProductPageData",
    "ProductRow",
    "Reminded",
    "SkuRow",
    "Why",
    "address_for",
    "addresses_of",
    "asked_templates",
    "carrier_choices",
    "cart_count",
    "cart_of",
    "categories",
    "checkout_of",
    "current_rules",
    "default_address",
    "find_order",
    "fulfilments_for",
    "fulfilments_of",
    "funnel_counts",
    "funnel_reasons",
    "guarantees",
    "latest_parcels",
    "lines_of",
    "low_stocks",
    "open_pickups",
    "order_counts",
    "order_for",
    "order_message",
    "orders_of",
    "parcels_of",
    "pickup_stores",
    "product_list",
    "product_page",
    "reminders_between",
]
