"""Where a member's parcels are. Access is decided here: every query takes whose parcels they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Prefetch, Q, QuerySet
from django.db.models.functions import Coalesce

from shop import logistics
from shop.models import Carrier, Order, Shipment, TrackingEvent

MOST_TOGETHER = 20  # orders in one parcel, see `services.fulfilment_together`


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """A parcel with its events, newest first. `carrier_url` leads to the carrier's own page of it, "" when unknown.

    `others` are the numbers of the orders that travel in it beside `order_number`.
    """

    pk: int
    order_number: str
    carrier: str
    carrier_phone: str
    carrier_url: str
    number: str
    state: str
    shipped_at: datetime
    signed_at: datetime | None
    events: list[TrackingEvent]
    others: list[str]

    @property
    def state_label(self) -> str:
        return str(dict(logistics.STATES)[self.state])

    @property
    def latest(self) -> TrackingEvent | None:
        return self.events[0] if self.events else None


def parcels_of(order: Order) -> list[ParcelRow]:
    """The parcels of an order that was found for its member, first sent first: three statements."""
    events = Prefetch("events", TrackingEvent.objects.order_by("-at", "-pk"))
    shipments = _with_others(order.shipments.all()).order_by("pk").prefetch_related(events)
    return _rows([(order.number, shipment) for shipment in shipments])


def _with_others(shipments: QuerySet[Shipment]) -> QuerySet[Shipment]:
    """Each with `others`: the numbers of the orders that travel in the same parcel."""
    beside = Shipment.objects.filter(Q(pk=OuterRef("first")) | Q(leader=OuterRef("first")))
    numbers = beside.exclude(pk=OuterRef("pk")).order_by("pk").values("order__number")
    return shipments.annotate(first=Coalesce("leader_id", "pk")).annotate(others=ArraySubquery(numbers))


def latest_parcels(
    member_id: int, *, tracking_numbers: Iterable[str] = (), order_numbers: Iterable[str] = (), limit: int = 3
) -> list[ParcelRow]:
    """A member's newest parcels: those of these numbers, or, without any, those not yet received; each once, however
    many of her orders travel in it.
    """
    shipments = _with_others(Shipment.objects.filter(order__member_id=member_id)).select_related("order")
    if numbers := list(tracking_numbers):
        shipments = shipments.filter(tracking_number__in=numbers)
    elif orders := list(order_numbers):
        shipments = shipments.filter(order__number__in=orders)
    else:
        shipments = shipments.filter(order__status=Order.SHIPPED)
    events = Prefetch("events", TrackingEvent.objects.order_by("-at", "-pk"))
    once: dict[int, Any] = {}
    for shipment in shipments.order_by("-shipped_at", "-pk").prefetch_related(events)[
        : limit * MOST_TOGETHER
    ]:
        once.setdefault(shipment.leader_id or shipment.pk, shipment)
    return _rows([(shipment.order.number, shipment) for shipment in list(once.values())[:limit]])


def orders_in(leader: Shipment) -> list[str]:
    """The numbers of the orders that travel in a parcel, the leader's first."""
    rows = Shipment.objects.filter(Q(pk=leader.pk) | Q(leader=leader.pk)).order_by("pk")
    return list(rows.values_list("order__number", flat=True))


def orders_beside(shipment: Shipment) -> list[tuple[int, str]]:
    """(id, number) of the other orders in the same parcel. One statement."""
    lead = shipment.leader_id or shipment.pk
    rows = Shipment.objects.filter(Q(pk=lead) | Q(leader=lead)).exclude(pk=shipment.pk).order_by("pk")
    return list(rows.values_list("order_id", "order__number"))


def carrier_choices() -> list[tuple[str, str]]:
    """The carriers in use as (name, name), for a form; the usual ones when nobody keeps a list."""
    names = list(Carrier.objects.filter(is_active=True).values_list("name", flat=True))
    return [(name, name) for name in names or [name for _code, name, *_rest in logistics.CARRIERS]]


def _rows(pairs: list[tuple[str, Any]]) -> list[ParcelRow]:
    if not pairs:
        return []
    known = Carrier.objects.filter(
        Q(pk__in={shipment.company_id for _number, shipment in pairs})
        | Q(name__in={shipment.carrier for _number, shipment in pairs})
    )
    carriers: dict[int | str, Carrier] = {}
    for carrier in known:
        carriers[carrier.pk] = carriers[carrier.name] = carrier
    rows = []
    for order_number, shipment in pairs:
        found = carriers.get(shipment.company_id or shipment.carrier)
        address = found.tracking_url if found else ""
        rows.append(
            ParcelRow(
                pk=shipment.pk,
                order_number=order_number,
                carrier=shipment.carrier,
                carrier_phone=found.phone if found else "",
                carrier_url=address.replace("{number}", shipment.tracking_number)
                if address.startswith("https://")
                else "",
                number=shipment.tracking_number,
                state=shipment.state,
                shipped_at=shipment.shipped_at,
                signed_at=shipment.signed_at,
                events=list(shipment.events.all()),
                others=shipment.others,
            )
        )
    return rows
