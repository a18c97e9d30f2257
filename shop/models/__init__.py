"""The shop's tables, by noun: catalogue, stock, cart and addresses, orders, payments, imports."""

from shop.models.cart import Address, CartLine
from shop.models.catalogue import Category, Product, ProductImage, Sku
from shop.models.coupons import Coupon, CouponGrant
from shop.models.fulfilment import Fulfilment
from shop.models.funnel import FunnelStep
from shop.models.imports import ImportLine, ImportRun
from shop.models.logistics import Carrier, OrderMessage, TrackingEvent
from shop.models.offers import Offer, OfferTake, OfferTally, OfferWaiting
from shop.models.orders import EffectReversal, Order, OrderDiscount, OrderLine, OrderLog
from shop.models.payments import Payment, Refund, Shipment
from shop.models.recovery import PaymentReminder, ServiceRules
from shop.models.stock import LowStock, Stock, StockMovement
from shop.models.stocktaking import Stocktake, StocktakeLine
from shop.models.transfers import Transfer, TransferLine

__all__ = [
    "Address",
    "Carrier",
    "CartLine",
    "Category",
    "Coupon",
    "CouponGrant",
    "EffectReversal",
    "Fulfilment",
    "FunnelStep",
    "ImportLine",
    "ImportRun",
    "LowStock",
    "Offer",
    "OfferTake",
    "OfferTally",
    "OfferWaiting",
    "Order",
    "OrderDiscount",
    "OrderLine",
    "OrderLog",
    "OrderMessage",
    "Payment",
    "PaymentReminder",
    "Product",
    "ProductImage",
    "Refund",
    "ServiceRules",
    "Shipment",
    "Sku",
    "Stock",
    "StockMovement",
    "Stocktake",
    "StocktakeLine",
    "TrackingEvent",
    "Transfer",
    "TransferLine",
]
