"""Where a member's parcels are. Access is decided here: every query takes whose parcels they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Prefetch, Q

from shop import logistics
from shop.models import Carrier, Order, Shipment, TrackingEvent


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """A parcel with its events, newest first. `carrier_url` leads to the carrier's own page of it, "" when unknown."""

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

    @property
    def state_label(self) -> str:
        return str(dict(logistics.STATES)[self.state])

    @property
    def latest(self) -> TrackingEvent | None:
        return self.events[0] if self.events else None


def parcels_of(order: Order) -> list[ParcelRow]:
    """The parcels of an order that was found for its member, first sent first: three statements."""
    events = Prefetch("events", TrackingEvent.objects.order_by("-at", "-pk"))
    shipments = order.shipments.order_by("pk").prefetch_related(events)
    return _rows([(order.number, shipment) for shipment in shipments])


def latest_parcels(
    member_id: int, *, tracking_numbers: Iterable[str] = (), order_numbers: Iterable[str] = (), limit: int = 3
) -> list[ParcelRow]:
    """A member's newest parcels: those of these numbers, or, without any, those not yet received."""
    shipments = Shipment.objects.filter(order__member_id=member_id).select_related("order")
    if numbers := list(tracking_numbers):
        shipments = shipments.filter(tracking_number__in=numbers)
    elif orders := list(order_numbers):
        shipments = shipments.filter(order__number__in=orders)
    else:
        shipments = shipments.filter(order__status=Order.SHIPPED)
    events = Prefetch("events", TrackingEvent.objects.order_by("-at", "-pk"))
    found = shipments.order_by("-shipped_at", "-pk").prefetch_related(events)[:limit]
    return _rows([(shipment.order.number, shipment) for shipment in found])


def carrier_choices() -> list[tuple[str, str]]:
    """The carriers in use as (name, name), for a form; the usual ones when nobody keeps a list."""
    names = list(Carrier.objects.filter(is_active=True).values_list("name", flat=True))
    return [(name, name) for name in names or [name for _code, name, *_rest in logistics.CARRIERS]]


def _rows(pairs: list[tuple[str, Shipment]]) -> list[ParcelRow]:
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
            )
        )
    return rows
