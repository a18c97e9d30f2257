"""What the shop announces. All amounts in fen; `at` is the moment of the change."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class OrderPlaced:
    order_id: int
    member_id: int
    total_fen: int
    at: datetime


@dataclass(frozen=True)
class OrderPaid:
    order_id: int
    member_id: int
    paid_fen: int
    at: datetime


@dataclass(frozen=True)
class DepositPaid:
    """The first of the two payments of a presale order; OrderPaid follows with the balance."""

    order_id: int
    member_id: int
    deposit_fen: int
    at: datetime


@dataclass(frozen=True)
class OrderCancelled:
    order_id: int
    member_id: int
    reason: str
    at: datetime


@dataclass(frozen=True)
class OrderShipped:
    order_id: int
    member_id: int
    at: datetime


@dataclass(frozen=True)
class PickupReady:
    """The goods lie at the counter of their store; the code stands in the fulfilment."""

    order_id: int
    member_id: int
    fulfilment_id: int
    at: datetime


@dataclass(frozen=True)
class ParcelSigned:
    """The carrier or the staff say that a parcel was handed over; the order may have others."""

    order_id: int
    member_id: int
    shipment_id: int
    at: datetime


@dataclass(frozen=True)
class OrderReceived:
    order_id: int
    member_id: int
    at: datetime


@dataclass(frozen=True)
class OrderRefunded:
    """Money of an order went back: once per refund. `refunded_fen` is the sum so far, `is_whole` that nothing is left.

    What went back piece by piece: `RefundLine` rows of `refund_id`.
    """

    order_id: int
    member_id: int
    refund_fen: int
    at: datetime
    refund_id: int = 0
    refunded_fen: int = 0
    is_whole: bool = True


@dataclass(frozen=True)
class AfterSaleMoved:
    """An after-sale got a new `status` (a word of `aftersales_rules.STATUSES`)."""

    aftersale_id: int
    order_id: int
    member_id: int
    kind: str
    status: str
    at: datetime


@dataclass(frozen=True)
class OrderReviewDue:
    """Some days after it was received: the moment to ask for a review. Nobody writes one for her."""

    order_id: int
    member_id: int
    at: datetime


@dataclass(frozen=True)
class OrderPriceChanged:
    """Staff changed what an unpaid order costs."""

    order_id: int
    member_id: int
    old_total_fen: int
    total_fen: int
    at: datetime


@dataclass(frozen=True)
class OfferFreed:
    """Pieces of an offer came back to its quota: somebody on its waiting list may be told."""

    offer_id: int
    places: int
    at: datetime


@dataclass(frozen=True)
class BookingMade:
    booking_id: int
    member_id: int
    starts_at: datetime
    at: datetime


@dataclass(frozen=True)
class BookingCancelled:
    booking_id: int
    member_id: int
    at: datetime


@dataclass(frozen=True)
class VoucherRedeemed:
    """A paid piece of a service was redeemed in a store."""

    voucher_id: int
    order_id: int
    member_id: int
    store_id: int
    at: datetime


@dataclass(frozen=True)
class VoucherExpired:
    """A paid piece of a service was not redeemed in its time; staff may give it more."""

    voucher_id: int
    order_id: int
    member_id: int
    at: datetime
