"""Why the shop says no. Each message tells the person what she can do."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from core.errors import Conflict, NotFound, Refusal


@dataclass(frozen=True)
class Shortage:
    """One line that cannot be had: how many are left, 0 when sold out or no longer sold."""

    sku_id: int
    name: str
    wanted: int
    available: int

    @property
    def message(self) -> str:
        if self.available > 0:
            return _("%(name)s: only %(count)d left") % {"name": self.name, "count": self.available}
        return _("%(name)s: sold out") % {"name": self.name}


class SoldOut(Conflict):
    """Nothing was ordered, because `shortages` could not be had."""

    code = "sold_out"

    def __init__(self, shortages: Sequence[Shortage]) -> None:
        self.shortages = list(shortages)
        super().__init__("；".join(shortage.message for shortage in shortages))


class NotForSale(Conflict):
    code = "not_for_sale"


class UnknownGuest(NotFound):
    """A colleague named a member whom nobody knows."""

    code = "unknown_guest"


class PriceChanged(Conflict):
    """The order costs something else than what the shopper was shown; nothing was ordered."""

    code = "price_changed"


class LimitReached(Conflict):
    """More pieces than the product's limit allows; nothing was ordered. `left`: what her next order may have."""

    code = "limit_reached"

    def __init__(self, message: str, *, product_id: int, left: int = 0) -> None:
        self.product_id, self.left = product_id, left
        super().__init__(message)


class BadQuantity(Refusal):
    code = "bad_quantity"


class BadFields(Refusal):
    """`fields`: name of the field → what is wrong with it."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__("；".join(fields.values()))


class BadAddress(BadFields):
    code = "bad_address"


class EmptyOrder(Refusal):
    code = "empty_order"


class NoSuchProduct(NotFound):
    code = "no_such_product"


class NoSuchOrder(NotFound):
    code = "no_such_order"


class WrongState(Conflict):
    """The order is not in a state in which this can be done."""

    code = "wrong_state"


class PaymentNotPossible(Conflict):
    """No payment can be started: the order is over its time, or the shop is not connected to WeChat Pay."""

    code = "payment_not_possible"


class PlatformBusy(Refusal):
    """WeChat did not answer clearly; nothing was decided, and trying again is safe."""

    code, status = "platform_busy", 503


class StockRefused(Conflict):
    """The change would leave less on hand than is reserved, or less than nothing."""

    code = "stock_refused"


class CouponRefused(Conflict):
    """The coupon cannot be given, or not be used here and now."""

    code = "coupon_refused"


class NoSuchCoupon(NotFound):
    code = "no_such_coupon"


class NoSuchOffer(NotFound):
    code = "no_such_offer"


class PointsRefused(Conflict):
    """Not as many points are free as the order wants to use."""

    code = "points_refused"


class PresaleRefused(Conflict):
    """What is on presale cannot be ordered so: beside other goods, too late, or without her consent."""

    code = "presale_refused"


class OfferGone(Conflict):
    """The special price cannot be had; nothing was ordered.

    `reason`: gone, limit, first_order, group; free: there is nothing to wait for.
    """

    code = "offer_gone"

    def __init__(self, reason: str, *, offer_id: int, name: str = "") -> None:
        self.reason, self.offer_id = reason, offer_id
        words = {
            "limit": _("You have already taken as many pieces of “%(name)s” as one person may."),
            "free": _("“%(name)s” can be ordered right now: there is no need to wait."),
            "first_order": _("“%(name)s” is for a first order, once per person."),
            "group": _("“%(name)s” is for teams: it cannot be bought alone. Nothing was ordered."),
        }
        sold_out = _("“%(name)s” is taken to the last piece. Nothing was ordered.")
        super().__init__(words.get(reason, sold_out) % {"name": name or _("The special price")})


class BadSale(Refusal):
    """A sale over the counter that cannot be so: a wrong moment, number, line or member."""

    code, status = "bad_sale", 422


class PickupRefused(Conflict):
    """This code may not be redeemed here and now; the message says what to tell the shopper."""

    code = "pickup_refused"


class BadTracking(Refusal):
    """What was typed about a parcel cannot be kept."""

    code = "bad_tracking"


class MallRefused(Conflict):
    code = "mall_refused"


class RechargeRefused(Conflict):
    code = "recharge_refused"


class NoSuchService(NotFound):
    code = "no_such_service"


class NoSuchBooking(NotFound):
    code = "no_such_booking"


class NotBookable(Conflict):
    """The slot is full, over, closed, or the member has enough bookings already."""

    code = "not_bookable"


class SlotFull(NotBookable):
    code = "slot_full"


class TooLate(Conflict):
    """What was asked was possible until a moment that has passed, or is not possible yet."""

    code = "too_late"


class QueueRefused(Conflict):
    """No number can be given or called now."""

    code = "queue_refused"


class NoSuchTicket(NotFound):
    code = "no_such_ticket"


class Enough(Conflict):
    """She has as many of these as one person may."""

    code = "enough"


class NotReviewable(Conflict):
    code = "not_reviewable"


class BadReview(Refusal):
    code = "bad_review"


class NoSuchReview(NotFound):
    code = "no_such_review"


class BadQuestion(Refusal):
    code = "bad_question"


class NoSuchQuestion(NotFound):
    code = "no_such_question"


class BadAmount(Refusal):
    """An amount or a word that cannot be; nothing was written."""

    code, status = "bad_amount", 422


class GiftCardRefused(Refusal):
    """The card does not exist, is not hers, is used up, void or expired."""

    code, status = "gift_card_refused", 422


class TooManyGuesses(Refusal):
    """Too many wrong gift card codes within the hour."""

    code, status = "too_many_guesses", 429


class NothingToRefund(WrongState):
    """The pieces or the money asked for are already back, or on their way."""

    code = "nothing_left"


class NoSuchAfterSale(NotFound):
    code = "no_such_aftersale"


class AfterSaleRefused(Conflict):
    """This cannot be applied for: too late, too many, or already applied for."""

    code = "aftersale_refused"


class BadPhoto(Refusal):
    code, status = "bad_photo", 422


class BadInvoice(BadFields):
    code, status = "bad_invoice", 422


class BadMatrix(Refusal):
    """The table of SKUs cannot be written as it was sent; nothing was changed."""

    code = "bad_matrix"


class TermsRefused(Conflict):
    """A virtual or service SKU cannot be delivered like this, or its pool of codes not be changed like this."""

    code = "terms_refused"


class VoucherRefused(Conflict):
    """This voucher is not redeemed here and now; `code` says why."""

    code = "voucher_refused"


class BundleRefused(Conflict):
    """These parts make no bundle."""

    code = "bundle_refused"
