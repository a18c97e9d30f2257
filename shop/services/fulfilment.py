"""From the paid order to the shopper's hands: what each store ships or hands over, parcels, receipt."""

import secrets
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_row
from core.sweeps import sweep
from shop import aftersales_rules, rules
from shop.errors import NoSuchOrder, WrongState
from shop.events import OrderReceived, OrderShipped, PickupReady
from shop.models import Carrier, Fulfilment, Order, OrderLine, Shipment, StockMovement
from shop.queries.recovery import current_rules
from shop.services.order_log import write_log
from shop.services.orders import held_lines, moves_of
from shop.services.stock import move_stock

CODE_TRIES = 20
LOOK_AGAIN = timedelta(hours=1)  # at what could not be received


@transaction.atomic
def create_fulfilments(*, order_id: int) -> list[Fulfilment]:
    """What each store has to hand over of a paid order. Called in the transaction that marks it paid.

    Locks: none, the caller holds the order. Idempotent on: (order, store).
    """
    order = Order.objects.only("pk", "delivery").get(pk=order_id)
    lines = OrderLine.objects.filter(order_id=order_id, store_id__isnull=False)
    reasons: dict[int, str] = {}
    for store_id, reason in lines.order_by("store_id", "pk").values_list("store_id", "routing_reason"):
        reasons[store_id] = reasons.get(store_id) or reason
    if not reasons:
        return []
    known = {row.store_id: row for row in Fulfilment.objects.filter(order_id=order_id)}
    for store_id, reason in reasons.items():
        if store_id in known:
            _reopen(known[store_id])
        else:
            known[store_id] = new_fulfilment(order, store_id, reason)
    return list(known.values())


def new_fulfilment(order: Order, store_id: int, reason: str) -> Fulfilment:
    """What a store has to hand over from now on; a pickup with its code. Call under the order's lock."""
    values = {"order": order, "store_id": store_id, "reason": reason, "created_at": clock.now()}
    if order.delivery != Order.PICKUP:
        return Fulfilment.objects.create(kind=Fulfilment.SHIP, **values)
    for _try in range(CODE_TRIES):  # a hundred million codes, and only open ones must differ
        try:
            with transaction.atomic():
                code = f"{secrets.randbelow(10**8):08d}"
                return Fulfilment.objects.create(kind=Fulfilment.PICKUP, code=code, **values)
        except IntegrityError:
            continue
    raise RuntimeError("no free pickup code was found")


def _reopen(row: Fulfilment) -> None:
    """An order that was cancelled and then paid after all is served after all."""
    if row.state == Fulfilment.CANCELLED:
        row.state = Fulfilment.WAITING
        row.save(update_fields=["state"])


def complete_order(order: Order, *, at: datetime) -> None:
    """A paid order that has no parcel (any more) is done: what it has was delivered with the payment.

    Call under the order's lock. Publishes: OrderReceived.
    """
    order.status, order.shipped_at, order.received_at = Order.RECEIVED, at, at
    order.due_at = at + aftersales_rules.REVIEW_AFTER
    order.save(update_fields=["status", "shipped_at", "received_at", "due_at"])
    write_log(order, "delivered", actor="system")
    if order.member_id:
        publish(OrderReceived(order_id=order.pk, member_id=order.member_id, at=at), key=f"order:{order.pk}")


@transaction.atomic
def ship_order(
    *,
    order_id: int,
    carrier: str,
    tracking_number: str,
    store_id: int | None = None,
    by: str = "",
    user_id: int | None = None,
) -> Shipment:
    """Note the parcel and take its goods from the shelf: those of one store, or (None) all that have not left yet.
    `carrier` is the name or the code of one that the shop knows, or the name of any other.

    The order is shipped when everything has left; a further parcel of what has left only adds its number.
    Locks: order, stock. Idempotent on: (order, carrier, tracking number). Publishes: OrderShipped, once.
    Raises WrongState (also for a parcel that another store's goods left in), NoSuchOrder.
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    company, carrier, tracking_number = known_parcel(carrier, tracking_number)
    known = order.shipments.filter(carrier=carrier, tracking_number=tracking_number).first()
    if known is not None:
        waiting = order.fulfilments.filter(kind=Fulfilment.SHIP, state__in=Fulfilment.OPEN)
        if waiting.filter(Q() if store_id is None else Q(store_id=store_id)).exists():
            raise WrongState(
                _("Order %(number)s has this parcel already.") % {"number": order.number}, code="has_parcel"
            )
        return known
    parts = _parts_to_ship(order, store_id)
    moment = clock.now()
    leaving = [part for part in parts if part.is_open]
    shipment = Shipment.objects.create(
        order=order,
        company=company,
        carrier=carrier,
        tracking_number=tracking_number,
        actor=by,
        shipped_at=moment,
        fulfilment=parts[0] if len(parts) == 1 else None,
    )
    send_off(order, leaving, by=by, user_id=user_id, at=moment, note=f"{carrier} {tracking_number}")
    return shipment


def known_parcel(carrier: str, tracking_number: str) -> tuple[Carrier | None, str, str]:
    """The carrier when the shop knows it, its name and the number, cleaned. Raises WrongState."""
    carrier, tracking_number = " ".join(carrier.split()), "".join(tracking_number.split())
    if not carrier or not tracking_number or len(carrier) > 40 or len(tracking_number) > 40:
        raise WrongState(_("Please enter the carrier and the tracking number."), code="bad_parcel")
    company = Carrier.objects.filter(Q(name=carrier) | Q(code=carrier)).first()
    return company, company.name if company is not None else carrier, tracking_number


def send_off(
    order: Order, leaving: list[Fulfilment], *, by: str, user_id: int | None, at: datetime, note: str
) -> None:
    """These open parts leave their shelves in a parcel that is noted already; the order is shipped with its last part.

    Call under the order's lock. Publishes: OrderShipped, once.
    """
    if leaving:
        take_from_shelf(order, leaving, cause="ship", by=by)
        Fulfilment.objects.filter(pk__in=[part.pk for part in leaving]).update(
            state=Fulfilment.SHIPPED, done_at=at, actor=by
        )
    if order.status == Order.PAID and not order.fulfilments.filter(state__in=Fulfilment.OPEN).exists():
        order.status, order.shipped_at, order.due_at = Order.SHIPPED, at, at + rules.RECEIPT_TIME
        order.save(update_fields=["status", "shipped_at", "due_at"])
        if order.member_id:
            publish(
                OrderShipped(order_id=order.pk, member_id=order.member_id, at=at), key=f"order:{order.pk}"
            )
    write_log(order, "shipped", actor=by, user_id=user_id, note=note)


def _parts_to_ship(order: Order, store_id: int | None) -> list[Fulfilment]:
    """The fulfilments that this parcel belongs to: the open ones, or those that left when none is open."""
    if order.is_refunding:
        raise WrongState(_("A refund of this order is under way: do not ship it."))
    if order.status not in (Order.PAID, Order.SHIPPED):
        raise WrongState(
            _("Only paid orders can be shipped; this one is: %(status)s.") % {"status": order.status_label}
        )
    every = list(order.fulfilments.exclude(state=Fulfilment.CANCELLED).order_by("pk"))
    parts = [part for part in every if store_id in (None, part.store_id)]
    if every and not parts:
        raise WrongState(_("Nothing of this order comes from this store."), code="not_from_here")
    if any(part.kind == Fulfilment.PICKUP for part in parts):
        raise WrongState(
            _("The shopper collects this order in the store: it is handed over against its code."),
            code="collected",
        )
    return [part for part in parts if part.is_open] or parts


def take_from_shelf(order: Order, parts: list[Fulfilment], *, cause: str, by: str) -> None:
    stores = {part.store_id for part in parts}
    lines = [line for line in held_lines(order) if line.store_id in stores]
    gone = move_stock(
        moves_of(lines, on_hand=-1, reserved=-1),
        cause=f"order:{order.pk}:{cause}",
        reason=StockMovement.SHIP,
        actor=by,
        order_id=order.pk,
    )
    if not gone:
        raise RuntimeError(f"order {order.pk} had less reserved than its lines say")


@transaction.atomic
def mark_ready(
    *, fulfilment_id: int, store_id: int | None = None, by: str = "", user_id: int | None = None
) -> Fulfilment:
    """The goods lie at the counter (of `store_id`, unless None): the shopper may come.

    A conditional update; idempotent. Publishes: PickupReady, once. Raises NoSuchOrder, WrongState.
    """
    moment = clock.now()
    waiting = Fulfilment.objects.filter(
        pk=fulfilment_id,
        kind=Fulfilment.PICKUP,
        state=Fulfilment.WAITING,
        order__refund_requested_at__isnull=True,
    )
    if store_id is not None:
        waiting = waiting.filter(store_id=store_id)
    days = current_rules().pickup_days
    due_at = moment + timedelta(days=days) if days else None
    done = waiting.update(state=Fulfilment.READY, ready_at=moment, due_at=due_at, actor=by)
    row = Fulfilment.objects.select_related("order", "store").filter(pk=fulfilment_id).first()
    if row is None or store_id not in (None, row.store_id):
        raise NoSuchOrder(_("This order does not exist."))
    if not done:
        if row.state == Fulfilment.READY:
            return row
        raise WrongState(_("This cannot be made ready: %(state)s.") % {"state": row.get_state_display()})
    write_log(row.order, "ready", actor=by, user_id=user_id, note=row.store.name)
    if row.order.member_id:
        publish(
            PickupReady(
                order_id=row.order_id, member_id=row.order.member_id, fulfilment_id=row.pk, at=moment
            ),
            key=f"order:{row.order_id}",
        )
    return row


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
        status=Order.RECEIVED, received_at=moment, due_at=moment + aftersales_rules.REVIEW_AFTER
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
    return sweep(
        list(due.order_by("due_at").values_list("pk", flat=True)[:limit]),
        _receive_due,
        fault="order not received",
        put_off=lambda pk: Order.objects.filter(pk=pk).update(due_at=clock.now() + LOOK_AGAIN),
    )


def _receive_due(order_id: int) -> bool:
    try:
        receive_order(order_id=order_id, actor="system")
    except WrongState:  # the shopper or an operator was faster
        return False
    return True
