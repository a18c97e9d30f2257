"""What staff (and, for the address, the shopper) change in an order after it was placed. Each change is in its log."""

import structlog
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock, money
from core.events import publish
from core.locks import lock_row
from core.secrets import masked_phone
from crm import queries as crm_queries
from shop import desk_rules
from shop.errors import NoSuchOrder, PlatformBusy, WrongState
from shop.events import OrderPriceChanged, OrderReviewDue
from shop.models import Order, OrderDiscount, OrderLine, Payment
from shop.services.addresses import AddressInput
from shop.services.order_log import write_log
from shop.services.payments_ended import settle_payments
from shop.services.tenders import release_tenders_of
from wechat import errors as wechat_errors

log = structlog.get_logger(__name__)

STEP = "staff"  # of OrderDiscount: taken off by a person, not by a rule


@transaction.atomic
def note_order(*, order_id: int, note: str, by: str, user_id: int | None = None) -> Order:
    """Keep a note that shoppers never see. Locks: the order. Idempotent. Raises NoSuchOrder."""
    order = _locked(order_id)
    note = note.strip()[:500]
    if note != order.merchant_note:
        order.merchant_note = note
        order.save(update_fields=["merchant_note"])
        write_log(order, "noted", actor=by, user_id=user_id, note=note)
    return order


def change_price(
    *,
    order_id: int,
    goods_fen: int,
    shipping_fen: int,
    reason: str,
    by: str,
    user_id: int | None = None,
) -> Order:
    """Make an unpaid order cost `goods_fen` for its goods (never more than now) and `shipping_fen` for the parcel.

    Open payments are closed at WeChat first, so that nobody can pay the old amount; the shopper pays anew. What comes
    off is allocated to the lines to the fen, one OrderDiscount each. Locks: order. Idempotent: the same amounts change
    nothing. Publishes: OrderPriceChanged. Raises NoSuchOrder, WrongState (paid meanwhile; not lower), PlatformBusy.
    """
    try:
        settle_payments(order_id=order_id)
    except wechat_errors.PlatformError as error:
        log.warning("close failed", order=order_id, code=error.code)
        raise PlatformBusy(
            _("WeChat Pay cannot say at the moment whether this order is paid. Please try again in a minute.")
        )
    return _reprice(order_id, goods_fen, shipping_fen, reason, by, user_id)


@transaction.atomic
def _reprice(
    order_id: int, goods_fen: int, shipping_fen: int, reason: str, by: str, user_id: int | None
) -> Order:
    order = _locked(order_id)
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(
            _("Only the price of an unpaid order can change; this one is: %(status)s.")
            % {"status": order.status_label}
        )
    if Payment.objects.filter(order_id=order_id, status=Payment.OPEN, kind__in=Payment.WECHAT).exists():
        raise WrongState(
            _("A payment of this order is under way. Please try again in a moment."), code="payment_open"
        )
    if order.deposit_fen:
        raise WrongState(
            _("The price of a presale is agreed with its deposit and does not change any more."),
            code="presale",
        )
    reason = " ".join(reason.split())
    if not reason:
        raise WrongState(_("Please say why: it stays in the order's log."), code="no_reason")
    lines = list(OrderLine.objects.filter(order_id=order_id).order_by("pk"))
    goods_now = sum(line.total_fen for line in lines)
    if not 0 <= goods_fen <= goods_now:
        raise WrongState(
            _("The goods can cost at most what they cost now: ¥%(goods)s.")
            % {"goods": money.yuan(goods_now)},
            code="not_lower",
        )
    if not 0 <= shipping_fen <= desk_rules.MAX_SHIPPING_FEN or goods_fen + shipping_fen < 1:
        raise WrongState(_("The order has to cost at least ¥0.01."), code="too_low")
    before = order.total_fen
    if (goods_now, order.shipping_fen) == (goods_fen, shipping_fen):
        return order
    for line, off in zip(
        lines, desk_rules.lowered([line.total_fen for line in lines], goods_fen), strict=True
    ):
        if off:
            OrderLine.objects.filter(pk=line.pk).update(
                discount_fen=F("discount_fen") + off, total_fen=F("total_fen") - off
            )
            OrderDiscount.objects.create(
                order=order,
                line=line,
                step=STEP,
                source=f"staff:{user_id or 0}",
                title=reason[:80],
                amount_fen=off,
            )
    order.discount_fen += goods_now - goods_fen
    order.total_fen = before - (goods_now - goods_fen) + shipping_fen - order.shipping_fen
    order.shipping_fen = shipping_fen
    order.save(update_fields=["discount_fen", "shipping_fen", "total_fen"])
    release_tenders_of(order.pk, member_id=order.member_id)  # she chooses anew how to pay the new amount
    write_log(
        order,
        "price_changed",
        actor=by,
        user_id=user_id,
        note=f"¥{money.yuan(before)} → ¥{money.yuan(order.total_fen)} {reason}",
    )
    if order.member_id:
        publish(
            OrderPriceChanged(
                order_id=order.pk,
                member_id=order.member_id,
                old_total_fen=before,
                total_fen=order.total_fen,
                at=clock.now(),
            ),
            key=f"order:{order.pk}",
        )
    return order


@transaction.atomic
def change_address(
    *,
    order_id: int,
    address: AddressInput,
    member_id: int | None = None,
    by: str = "member",
    user_id: int | None = None,
) -> Order:
    """Send the parcel somewhere else, before it is shipped: by the shopper (`member_id`) or by staff (None).

    A shopper stays within her province, on which store and shipping cost depend; staff may send anywhere.
    Locks: order. Idempotent. Raises NoSuchOrder, WrongState, BadAddress.
    """
    receiver = address.checked()
    order = _locked(order_id, member_id)
    if not may_change_address(order) or order.shipments.exists():
        raise WrongState(
            _("The address can be changed until the order is shipped; this one is: %(status)s.")
            % {"status": order.status_label}
        )
    here, there = desk_rules.province_of(order.region), desk_rules.province_of(receiver.region)
    if member_id is not None and here != there:
        raise WrongState(
            _("This order is packed for %(province)s. For an address elsewhere, please write to us.")
            % {"province": here},
            code="other_province",
        )
    values = {
        "receiver": receiver.receiver,
        "phone": receiver.phone,
        "region": receiver.region,
        "street": receiver.street,
        "postal_code": receiver.postal_code,
    }
    if all(getattr(order, name) == value for name, value in values.items()):
        return order
    old = f"{order.receiver} {masked_phone(order.phone)} {order.region} {order.street}"
    for name, value in values.items():
        setattr(order, name, value)
    order.save(update_fields=list(values))
    write_log(order, "address_changed", actor=by, user_id=user_id, note=_("Before: %(old)s") % {"old": old})
    return order


def may_change_address(order: Order) -> bool:
    return (
        order.status in (Order.PENDING_PAYMENT, Order.PAID)
        and not order.is_refunding
        and order.delivery == Order.SHIP
        and order.receiver != ""  # without a parcel there is no address
        and order.channel == "mall"
    )


def ask_for_reviews(*, limit: int = 200) -> int:
    """Announce orders whose time for a review has come, once each; returns how many.

    While the touch policy says "later" the due row waits with it. Publishes: OrderReviewDue. Guarded by a conditional
    update of the due row.
    """
    moment = clock.now()
    due = Order.objects.filter(status=Order.RECEIVED, due_at__lte=moment).order_by("due_at")
    count = 0
    for order_id, member_id in list(due.values_list("pk", "member_id")[:limit]):
        verdict = crm_queries.touch_verdict(member_id, "marketing", moment) if member_id else None
        later = verdict.until if verdict is not None and verdict.answer == "defer" else None
        with transaction.atomic():
            asked = Order.objects.filter(pk=order_id, status=Order.RECEIVED, due_at__lte=moment).update(
                due_at=later
            )
            if asked and member_id and later is None:
                publish(
                    OrderReviewDue(order_id=order_id, member_id=member_id, at=moment), key=f"order:{order_id}"
                )
                count += 1
    return count


def _locked(order_id: int, member_id: int | None = None) -> Order:
    orders = Order.objects.filter(pk=order_id)
    order = lock_row(orders if member_id is None else orders.filter(member_id=member_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    return order
