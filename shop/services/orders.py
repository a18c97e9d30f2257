"""From checkout to the parcel's arrival. Stock is reserved when ordering and leaves the shelf when shipping."""

import json
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, money
from core.events import publish
from core.locks import lock_row
from shop import rules
from shop.errors import (
    BadQuantity,
    EmptyOrder,
    NoSuchOrder,
    NotForSale,
    PriceChanged,
    Shortage,
    SoldOut,
    WrongState,
)
from shop.events import OrderCancelled, OrderPlaced, OrderReceived, OrderShipped
from shop.models import Order, OrderLine, OrderLog, Payment, Shipment, StockMovement
from shop.services.addresses import AddressInput
from shop.services.stock import WAREHOUSE, Move, move_stock


class _Offer(NamedTuple):
    """One SKU as the database sells it at this moment."""

    sku_id: int
    price_fen: int
    sku_name: str
    product_name: str
    is_sold: bool
    image: str
    available: int


class _PlacedBefore(Exception):
    """Another request with the same key was first."""


class _OutOfStep(Exception):
    """The stock changed between two looks at it."""


def place_order(
    *,
    member_id: int,
    lines: Iterable[tuple[int, int]],
    address: AddressInput,
    idempotency_key: str,
    note: str = "",
    from_cart: bool = False,
    expected_total_fen: int | None = None,
) -> Order:
    """Order SKUs, (sku id, quantity) each, at the database's prices of this moment; all of them or nothing.

    Locks: stock, last and by SKU. Idempotent on: (member, idempotency_key): the earlier order is returned.
    Publishes: OrderPlaced. Two reads and writes and one function call; the stock rows stay locked for that call and
    the commit only. `expected_total_fen` is what the shopper was shown; None: no matter. Raises SoldOut (naming what
    and how many are left), PriceChanged, NotForSale, BadQuantity, BadAddress, EmptyOrder.
    """
    wanted = rules.merged_lines(lines)
    _check(wanted, idempotency_key)
    receiver = address.checked()
    note = " ".join(note.split())[:200]
    while True:
        try:
            with transaction.atomic():
                return _place(
                    member_id, wanted, receiver, note, idempotency_key, from_cart, expected_total_fen
                )
        except _PlacedBefore:
            return Order.objects.get(member_id=member_id, idempotency_key=idempotency_key)
        except (
            _OutOfStep
        ):  # somebody was faster: look again, which names what is left, or finds it given back
            continue


def _check(wanted: Sequence[tuple[int, int]], idempotency_key: str) -> None:
    if not wanted:
        raise EmptyOrder(_("There is nothing to order. Please choose something first."))
    if len(wanted) > rules.MAX_LINES:
        raise BadQuantity(_("At most %(count)d different items in one order.") % {"count": rules.MAX_LINES})
    if any(not 1 <= quantity <= rules.MAX_QUANTITY for _sku, quantity in wanted):
        raise BadQuantity(_("Choose between 1 and %(most)d pieces.") % {"most": rules.MAX_QUANTITY})
    if not 8 <= len(idempotency_key) <= 64:
        raise ValueError("an idempotency key has 8 to 64 characters")


def _place(
    member_id: int,
    wanted: Sequence[tuple[int, int]],
    receiver: AddressInput,
    note: str,
    idempotency_key: str,
    from_cart: bool,
    expected_total_fen: int | None,
) -> Order:
    moment = clock.now()
    order_id, store_id, offers = _read_offers(member_id, wanted, idempotency_key)
    _refuse_what_cannot_be_had(wanted, offers)
    sums = rules.totals(rules.PricedLine(offers[sku].price_fen, quantity) for sku, quantity in wanted)
    if sums.total_fen == 0:
        raise EmptyOrder(_("There is nothing to pay for in this order."))
    if expected_total_fen is not None and sums.total_fen != expected_total_fen:
        raise PriceChanged(
            _("The price has changed: this order is now ¥%(total)s.") % {"total": money.yuan(sums.total_fen)}
        )
    expires_at = moment + payment_time()
    values: dict[str, Any] = {
        "id": order_id,
        "number": rules.order_number(clock.local(moment), secrets.randbelow(10**12)),
        "member_id": member_id,
        "items_fen": sums.items_fen,
        "shipping_fen": sums.shipping_fen,
        "discount_fen": sums.discount_fen,
        "total_fen": sums.total_fen,
        "receiver": receiver.receiver,
        "phone": receiver.phone,
        "region": receiver.region,
        "street": receiver.street,
        "postal_code": receiver.postal_code,
        "note": note,
        "idempotency_key": idempotency_key,
    }
    # Before the stock is taken: its rows are what other buyers wait for.
    publish(
        OrderPlaced(order_id=order_id, member_id=member_id, total_fen=sums.total_fen, at=moment),
        key=f"order:{order_id}",
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_take_order(%s, %s::bigint[], %s, %s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[],"
            " %s, %s)",
            [
                json.dumps({**values, "expires_at": expires_at.isoformat()}),
                [sku for sku, _quantity in wanted],
                store_id,
                [quantity for _sku, quantity in wanted],
                [offers[sku].price_fen for sku, _quantity in wanted],
                [offers[sku].product_name for sku, _quantity in wanted],
                [offers[sku].sku_name for sku, _quantity in wanted],
                [offers[sku].image for sku, _quantity in wanted],
                from_cart,
                moment,
            ],
        )
        taken = cursor.fetchone()[0]
    if taken == -1:
        raise _PlacedBefore
    if taken < len(wanted):
        raise _OutOfStep
    order = Order(
        **values, status=Order.PENDING_PAYMENT, placed_at=moment, expires_at=expires_at, due_at=expires_at,
        store_id=store_id,
    )  # fmt: skip
    order._state.adding = False
    order._state.db = "default"
    return order


def _read_offers(
    member_id: int, wanted: Sequence[tuple[int, int]], idempotency_key: str
) -> tuple[int, int | None, dict[int, _Offer]]:
    """A fresh order id, the warehouse and what is offered, in one statement. Raises _PlacedBefore."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ground AS MATERIALIZED (
                SELECT nextval('shop_order_id_seq') AS order_id,
                       (SELECT id FROM crm_store WHERE code = %s) AS store_id,
                       (SELECT id FROM shop_order WHERE member_id = %s AND idempotency_key = %s) AS earlier_id
            )
            SELECT g.order_id, g.store_id, g.earlier_id, s.id, s.price_fen, s.name, p.name,
                   s.is_active AND p.status = 'on_sale',
                   coalesce((
                       SELECT coalesce(nullif(i.thumbnail, ''), i.image) FROM shop_productimage i
                       WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
                   ), ''),
                   coalesce(st.on_hand - st.reserved, 0)
            FROM ground g
            LEFT JOIN shop_sku s ON s.id = ANY(%s)
            LEFT JOIN shop_product p ON p.id = s.product_id
            LEFT JOIN shop_stock st ON st.sku_id = s.id AND st.store_id = g.store_id
            """,
            [WAREHOUSE, member_id, idempotency_key, [sku for sku, _quantity in wanted]],
        )
        rows = cursor.fetchall()
    if rows[0][2] is not None:
        raise _PlacedBefore
    return rows[0][0], rows[0][1], {row[3]: _Offer(*row[3:]) for row in rows if row[3] is not None}


def _refuse_what_cannot_be_had(wanted: Sequence[tuple[int, int]], offers: dict[int, _Offer]) -> None:
    gone = [sku for sku, _quantity in wanted if sku not in offers or not offers[sku].is_sold]
    if gone:
        names = [
            f"{offers[sku].product_name} {offers[sku].sku_name}".strip() if sku in offers else _("An item")
            for sku in gone
        ]
        raise NotForSale(_("No longer sold: %(names)s. Please take it out.") % {"names": "、".join(names)})
    shortages = [
        Shortage(
            sku_id=sku,
            name=f"{offers[sku].product_name} {offers[sku].sku_name}".strip(),
            wanted=quantity,
            available=max(offers[sku].available, 0),
        )
        for sku, quantity in wanted
        if offers[sku].available < quantity
    ]
    if shortages:
        raise SoldOut(shortages)


def payment_time() -> timedelta:
    """How long an unpaid order keeps its stock."""
    return timedelta(minutes=settings.ORDER_PAYMENT_MINUTES)


@transaction.atomic
def release_order(*, order_id: int, reason: str, actor: str, user_id: int | None = None) -> Order:
    """Cancel an unpaid order and give its stock back; every payment of it must be closed at WeChat already.

    Locks: order, stock. Idempotent: a cancelled order stays. Publishes: OrderCancelled. Raises WrongState when it is
    not waiting for payment any more, or when a payment is still open (one was started a moment ago).
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
    write_log(order, "cancelled", actor=actor, user_id=user_id, note=reason)
    if order.member_id:
        publish(
            OrderCancelled(order_id=order.pk, member_id=order.member_id, reason=reason[:200], at=moment),
            key=f"order:{order.pk}",
        )
    return order


def reserve_again(order: Order, *, cause: str, actor: str) -> bool:
    """Reserve the lines of an order once more; False when something is sold out, then nothing is reserved."""
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
