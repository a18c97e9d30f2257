"""The shop's tables, by noun: catalogue, stock, cart and addresses, orders, payments, imports."""

from shop.models.cart import Address, CartLine
from shop.models.catalogue import Category, Product, ProductImage, Sku
from shop.models.imports import ImportLine, ImportRun
from shop.models.orders import Order, OrderDiscount, OrderLine, OrderLog
from shop.models.payments import Payment, Refund, Shipment
from shop.models.stock import Stock, StockMovement

__all__ = [
    "Address",
    "CartLine",
    "Category",
    "ImportLine",
    "ImportRun",
    "Order",
    "OrderDiscount",
    "OrderLine",
    "OrderLog",
    "Payment",
    "Product",
    "ProductImage",
    "Refund",
    "Shipment",
    "Sku",
    "Stock",
    "StockMovement",
]
