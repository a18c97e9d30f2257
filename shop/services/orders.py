"""From the placed order to the parcel's arrival. Stock is reserved when ordering and leaves the shelf when shipping."""

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_row
from shop import rules
from shop.errors import NoSuchOrder, WrongState
from shop.events import OrderCancelled, OrderReceived, OrderShipped
from shop.models import Order, OrderLine, OrderLog, Payment, Shipment, StockMovement
from shop.services.effects import has_effects, undo_effects
from shop.services.stock import Move, move_stock


@transaction.atomic
def release_order(*, order_id: int, reason: str, actor: str, user_id: int | None = None) -> Order:
    """Cancel an unpaid order and give back what it took; every payment of it must be closed at WeChat already.

    Locks: order, stock, coupons, offers, points. Idempotent: a cancelled order stays. Publishes: OrderCancelled.
    Raises WrongState when it is not waiting for payment any more, or when a payment is still open (one was started a
    moment ago).
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if order.status == Order.CANCELLED:
        return order
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order is paid and cannot be cancelled any more."))
    # Read after the lock: a payment started meanwhile must be seen, or its money would come for released goods.
    if Payment.objects.filter(order_id=order_id, status=Payment.OPEN).exists():
        raise WrongState(
            _("A payment of this order is under way. Please try again in a moment."), code="payment_open"
        )
    moment = clock.now()
    order.status, order.cancelled_at, order.cancel_reason, order.due_at = (
        Order.CANCELLED, moment, reason[:200], None
    )  # fmt: skip
    order.save(update_fields=["status", "cancelled_at", "cancel_reason", "due_at"])
    unreserve(order, cause="release", actor=actor)
    undo_effects(order, cause="release")
    write_log(order, "cancelled", actor=actor, user_id=user_id, note=reason)
    if order.member_id:
        publish(
            OrderCancelled(order_id=order.pk, member_id=order.member_id, reason=reason[:200], at=moment),
            key=f"order:{order.pk}",
        )
    return order


def reserve_again(order: Order, *, cause: str, actor: str) -> bool:
    """Reserve the lines of an order once more; False when something is sold out, then nothing is reserved.

    Also False when its price rested on a coupon, an offer or points: they went back and may be used elsewhere since.
    """
    if has_effects(order):
        return False
    return move_stock(
        [
            Move(line.sku_id, line.store_id, reserved=line.quantity)
            for line in _stock_lines(order)
            if line.store_id
        ],
        cause=f"order:{order.pk}:{cause}",
        reason=StockMovement.RESERVE,
        actor=actor,
        order_id=order.pk,
    )


def unreserve(order: Order, *, cause: str, actor: str) -> None:
    """Give back what the order has reserved. Call once per order, under its lock."""
    released = move_stock(
        [
            Move(line.sku_id, line.store_id, reserved=-line.quantity)
            for line in _stock_lines(order)
            if line.store_id
        ],
        cause=f"order:{order.pk}:{cause}",
        reason=StockMovement.RELEASE,
        actor=actor,
        order_id=order.pk,
    )
    if not released:
        raise RuntimeError(f"order {order.pk} had less reserved than its lines say")


def _stock_lines(order: Order) -> list[OrderLine]:
    return list(OrderLine.objects.filter(order_id=order.pk, store_id__isnull=False).order_by("sku_id"))


@transaction.atomic
def ship_order(
    *, order_id: int, carrier: str, tracking_number: str, by: str = "", user_id: int | None = None
) -> Shipment:
    """Note the parcel, take the goods from the shelf and mark the order shipped. A second parcel only adds its number.

    Locks: order, stock. Idempotent on: (order, carrier, tracking number). Publishes: OrderShipped.
    Raises WrongState, NoSuchOrder.
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    carrier, tracking_number = " ".join(carrier.split()), "".join(tracking_number.split())
    if not carrier or not tracking_number or len(carrier) > 40 or len(tracking_number) > 40:
        raise WrongState(_("Please enter the carrier and the tracking number."), code="bad_parcel")
    known = order.shipments.filter(carrier=carrier, tracking_number=tracking_number).first()
    if known is not None:
        return known
    if order.is_refunding:
        raise WrongState(_("A refund of this order is under way: do not ship it."))
    if order.status not in (Order.PAID, Order.SHIPPED):
        raise WrongState(
            _("Only paid orders can be shipped; this one is: %(status)s.") % {"status": order.status_label}
        )
    moment = clock.now()
    shipment = Shipment.objects.create(
        order=order, carrier=carrier, tracking_number=tracking_number, actor=by, shipped_at=moment
    )
    if order.status == Order.PAID:
        gone = move_stock(
            [
                Move(line.sku_id, line.store_id, on_hand=-line.quantity, reserved=-line.quantity)
                for line in _stock_lines(order)
                if line.store_id
            ],
            cause=f"order:{order.pk}:ship",
            reason=StockMovement.SHIP,
            actor=by,
            order_id=order.pk,
        )
        if not gone:
            raise RuntimeError(f"order {order.pk} had less reserved than its lines say")
        order.status, order.shipped_at, order.due_at = Order.SHIPPED, moment, moment + rules.RECEIPT_TIME
        order.save(update_fields=["status", "shipped_at", "due_at"])
        if order.member_id:
            publish(
                OrderShipped(order_id=order.pk, member_id=order.member_id, at=moment), key=f"order:{order.pk}"
            )
    write_log(order, "shipped", actor=by, user_id=user_id, note=f"{carrier} {tracking_number}")
    return shipment


@transaction.atomic
def receive_order(*, order_id: int, actor: str = "system", member_id: int | None = None) -> Order:
    """Mark a shipped order received; by the shopper (`member_id` must then be hers) or when its time has come.

    Locks: the order, by conditional update. Idempotent. Publishes: OrderReceived. Raises WrongState, NoSuchOrder.
    """
    moment = clock.now()
    orders = Order.objects.filter(pk=order_id)
    if member_id is not None:
        orders = orders.filter(member_id=member_id)
    received = orders.filter(status=Order.SHIPPED, refund_requested_at__isnull=True).update(
        status=Order.RECEIVED, received_at=moment, due_at=None
    )
    order = orders.first()
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if not received:
        if order.status == Order.RECEIVED:
            return order
        raise WrongState(
            _("Only shipped orders can be received; this one is: %(status)s.")
            % {"status": order.status_label}
        )
    write_log(order, "received", actor=actor)
    if order.member_id:
        publish(
            OrderReceived(order_id=order.pk, member_id=order.member_id, at=moment), key=f"order:{order.pk}"
        )
    return order


def confirm_receipt(*, order_id: int, member_id: int) -> Order:
    """The shopper says that her parcel came. See `receive_order`."""
    return receive_order(order_id=order_id, member_id=member_id, actor="member")


def receive_due_orders(*, limit: int = 200) -> int:
    """Mark received what was shipped ten days ago; returns how many. One transaction per order."""
    due = Order.objects.filter(
        status=Order.SHIPPED, due_at__lte=clock.now(), refund_requested_at__isnull=True
    )
    count = 0
    for order_id in list(due.order_by("due_at").values_list("pk", flat=True)[:limit]):
        try:
            receive_order(order_id=order_id, actor="system")
            count += 1
        except WrongState:  # the shopper or an operator was faster
            continue
    return count


def write_log(order: Order, action: str, *, actor: str, user_id: int | None = None, note: str = "") -> None:
    OrderLog.objects.create(
        order_id=order.pk, action=action, actor=actor, user_id=user_id, note=note[:300], at=clock.now()
    )
