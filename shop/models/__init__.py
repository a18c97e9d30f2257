"""The shop's tables, by noun."""

from shop.models.aftersales import (
    AfterSale,
    AfterSaleLine,
    AfterSaleLog,
    AfterSalePhoto,
)
from shop.models.attributes import Attribute, AttributeValue
from shop.models.booking import (
    BookableService,
    Booking,
    BookingReminder,
    BookingSlot,
    ServiceDay,
    ServiceOpening,
)
from shop.models.brands import Brand
from shop.models.bundles import Bundle, BundleItem, OrderBundle
from shop.models.cart import Address, CartLine
from shop.models.catalogue import Category, Product, ProductImage, Sku
from shop.models.catalogue_files import CatalogueFile
from shop.models.coupons import Coupon, CouponGrant
from shop.models.direct import DirectPayment, DirectRefund
from shop.models.favourites import Favourite, StockNotice
from shop.models.fulfilment import Fulfilment
from shop.models.funnel import FunnelStep
from shop.models.gift_cards import GiftCard, GiftCardBatch, GiftCardGuess
from shop.models.imports import ImportLine, ImportRun
from shop.models.invoices import (
    Invoice,
)
from shop.models.limits import ProductTally
from shop.models.logistics import Carrier, OrderMessage, TrackingEvent
from shop.models.mall import MallExchange, MallItem
from shop.models.memberships import MembershipSale
from shop.models.offers import Offer, OfferTake, OfferTally, OfferWaiting
from shop.models.orders import EffectReversal, Order, OrderDiscount, OrderLine, OrderLog
from shop.models.payments import (
    Payment,
    Refund,
    RefundLine,
    Shipment,
)
from shop.models.points import CategoryPoints
from shop.models.presale import Presale, PresaleOrder
from shop.models.pricing import CostPrice, MemberPrice, PointsPolicy, PricingVersion
from shop.models.promotions import Promotion, PromotionExtra, PromotionLevel
from shop.models.questions import Question
from shop.models.queueing import QueueDay, QueueTicket
from shop.models.recharge import Recharge, RechargeOffer, RechargePolicy
from shop.models.reconciliation import Bill, BillDifference, BillLine
from shop.models.recovery import PaymentReminder, ServiceRules
from shop.models.rehearsals import Rehearsal
from shop.models.reviews import ProductRating, Review, ReviewPhoto
from shop.models.shipping_rates import ShippingRate
from shop.models.stock import LowStock, Stock, StockMovement
from shop.models.stocktaking import Stocktake, StocktakeLine
from shop.models.stored_value import StoredValueCredit
from shop.models.stored_value_requests import StoredValueRequest
from shop.models.tallies import Tally
from shop.models.transfers import Transfer, TransferLine
from shop.models.virtual import GoodsTerms, VirtualCode
from shop.models.vouchers import Voucher

__all__ = [
    "Address",
    "AfterSale",
    "AfterSaleLine",
    "AfterSaleLog",
    "AfterSalePhoto",
    "Attribute",
    "AttributeValue",
    "Bill",
    "BillDifference",
    "BillLine",
    "BookableService",
    "Booking",
    "BookingReminder",
    "BookingSlot",
    "Brand",
    "Bundle",
    "BundleItem",
    "Carrier",
    "CartLine",
    "CatalogueFile",
    "Category",
    "CategoryPoints",
    "CostPrice",
    "Coupon",
    "CouponGrant",
    "DirectPayment",
    "DirectRefund",
    "EffectReversal",
    "Favourite",
    "Fulfilment",
    "FunnelStep",
    "GiftCard",
    "GiftCardBatch",
    "GiftCardGuess",
    "GoodsTerms",
    "ImportLine",
    "ImportRun",
    "Invoice",
    "LowStock",
    "MallExchange",
    "MallItem",
    "MemberPrice",
    "MembershipSale",
    "Offer",
    "OfferTake",
    "OfferTally",
    "OfferWaiting",
    "Order",
    "OrderBundle",
    "OrderDiscount",
    "OrderLine",
    "OrderLog",
    "OrderMessage",
    "Payment",
    "PaymentReminder",
    "PointsPolicy",
    "Presale",
    "PresaleOrder",
    "PricingVersion",
    "Product",
    "ProductImage",
    "ProductRating",
    "ProductTally",
    "Promotion",
    "PromotionExtra",
    "PromotionLevel",
    "Question",
    "QueueDay",
    "QueueTicket",
    "Recharge",
    "RechargeOffer",
    "RechargePolicy",
    "Refund",
    "RefundLine",
    "Rehearsal",
    "Review",
    "ReviewPhoto",
    "ServiceDay",
    "ServiceOpening",
    "ServiceRules",
    "Shipment",
    "ShippingRate",
    "Sku",
    "Stock",
    "StockMovement",
    "StockNotice",
    "Stocktake",
    "StocktakeLine",
    "StoredValueCredit",
    "StoredValueRequest",
    "Tally",
    "TrackingEvent",
    "Transfer",
    "TransferLine",
    "VirtualCode",
    "Voucher",
]
