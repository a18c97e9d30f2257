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
from shop.queries.fulfilment import fulfilments_for, fulfilments_of, lines_of, open_pickups, pickup_stores
from shop.queries.orders import OrderPage, find_order, order_counts, order_for, orders_of

__all__ = [
    "CartPage",
    "CartRow",
    "CategoryRow",
    "CheckoutPage",
    "ImageRow",
    "OrderPage",
    "ProductPage",
    "ProductPageData",
    "ProductRow",
    "SkuRow",
    "address_for",
    "addresses_of",
    "cart_count",
    "cart_of",
    "categories",
    "checkout_of",
    "default_address",
    "find_order",
    "fulfilments_for",
    "fulfilments_of",
    "lines_of",
    "open_pickups",
    "order_counts",
    "order_for",
    "orders_of",
    "pickup_stores",
    "product_list",
    "product_page",
]
