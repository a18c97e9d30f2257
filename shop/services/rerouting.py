"""A store cannot serve its part of an order after all: other stores do, and the log says who said so and why."""

from collections.abc import Iterable

from django.db import transaction
from django.utils.translation import gettext as _

from core.locks import lock_row
from crm import queries as crm_queries
from shop.errors import NoSuchOrder, SoldOut, StockRefused, WrongState
from shop.models import Fulfilment, Order, OrderLine, StockMovement
from shop.services.fulfilment import new_fulfilment
from shop.services.order_log import write_log
from shop.services.orders import held_lines
from shop.services.routing import plan_instead
from shop.services.stock import Move, move_stock

REROUTED = "rerouted"


@transaction.atomic
def reroute_fulfilment(
    *, fulfilment_id: int, reason: str, store_id: int | None = None, by: str = "", user_id: int | None = None
) -> list[Fulfilment]:
    """Let other stores send what this one cannot; returns their parts. `store_id`: all of it from that store.

    Routing decides as for a new order, without the stores that sent their part already or said no before. All pieces
    of a SKU come from one store, so that an order's lines stay what they are. Locks: order, stock. Idempotent: a part
    that was given up stays, and nothing moves again. Raises NoSuchOrder, WrongState, StockRefused (nobody else has it:
    the part stays where it is).
    """
    order_id = Fulfilment.objects.filter(pk=fulfilment_id).values_list("order_id", flat=True).first()
    order = lock_row(Order.objects.filter(pk=order_id)) if order_id else None
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    parts = {part.pk: part for part in order.fulfilments.select_related("store")}
    part = parts[fulfilment_id]
    has_lines = OrderLine.objects.filter(order=order, store_id=part.store_id).exists()
    if part.state == Fulfilment.CANCELLED and not has_lines:
        return [one for one in parts.values() if one.is_open]
    reason = " ".join(reason.replace("\x00", "").split())[:200]
    _refuse_unless_open(order, part, reason)
    lines = [line for line in held_lines(order) if line.store_id == part.store_id]
    places = _other_places(order, part, parts.values(), lines, store_id)
    moves = []
    for line in lines:
        pieces = line.quantity - line.refunded_quantity
        moves += [
            Move(line.sku_id, part.store_id, reserved=-pieces),
            Move(line.sku_id, places[line.sku_id], reserved=pieces),
        ]
    moved = move_stock(
        [move for move in moves if move.reserved],
        cause=f"order:{order.pk}:reroute:{part.pk}",
        reason=StockMovement.RESERVE,
        actor=by,
        note=reason,
        order_id=order.pk,
    )
    if not moved:
        raise WrongState(_("Somebody else was faster. Please look again."))
    for line in lines:
        OrderLine.objects.filter(pk=line.pk).update(store_id=places[line.sku_id], routing_reason=REROUTED)
    Fulfilment.objects.filter(pk=part.pk).update(state=Fulfilment.CANCELLED, actor=by)
    known = {one.store_id: one for one in parts.values()}
    serving = [
        known.get(place) or new_fulfilment(order, place, REROUTED) for place in sorted(set(places.values()))
    ]
    names = dict(crm_queries.stores(only_active=False).values_list("pk", "name"))
    there = "、".join(names[one.store_id] for one in serving)
    write_log(order, REROUTED, actor=by, user_id=user_id, note=f"{part.store.name} → {there}: {reason}")
    return serving


def _refuse_unless_open(order: Order, part: Fulfilment, reason: str) -> None:
    if not reason:
        raise WrongState(_("Please say why: it stays in the order's log."), code="no_reason")
    if part.kind == Fulfilment.PICKUP:
        raise WrongState(
            _("The shopper collects this order in the store: refund it, or agree with her on another one."),
            code="collected",
        )
    if order.is_refunding:
        raise WrongState(_("The money for this order is already on its way back."))
    if order.status != Order.PAID or not part.is_open:
        raise WrongState(
            _("Only what has not left yet can come from another store; this is: %(state)s.")
            % {"state": part.get_state_display()}
        )


def _other_places(
    order: Order,
    part: Fulfilment,
    parts: Iterable[Fulfilment],
    lines: list[OrderLine],
    store_id: int | None,
) -> dict[int, int]:
    """SKU → the store that sends all of it. Raises WrongState, StockRefused (naming what no other store has)."""
    out = {one.store_id for one in parts if not one.is_open} | {part.store_id}
    if store_id in out:
        raise WrongState(_("Choose a store that has not sent or refused its part."), code="same_store")
    pieces = [(line.sku_id, line.quantity - line.refunded_quantity) for line in lines]
    try:
        places = plan_instead(
            lines=[one for one in pieces if one[1]], region=order.region, without=out, only=store_id
        )
    except SoldOut as short:
        names = "、".join(f"{one.name} ({one.available})" for one in short.shortages)
        raise StockRefused(
            _("No other store can send all of it: %(names)s. Agree with the shopper, or refund it.")
            % {"names": names}
        ) from None
    # What went back altogether has nothing to be sent, and still belongs to a store that serves the order.
    anywhere = next(iter(places.values()))
    return {sku_id: places.get(sku_id, anywhere) for sku_id, _count in pieces}
