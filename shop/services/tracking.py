"""The way of parcels: asked of the provider or typed by staff, kept once, and what follows when one is signed for."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_rows
from shop import logistics, tracking
from shop.errors import BadTracking, NoSuchOrder
from shop.events import ParcelSigned
from shop.models import Carrier, Order, Shipment, TrackingEvent
from shop.queries.recovery import current_rules
from shop.services.fulfilment import receive_order

log = structlog.get_logger(__name__)
MOST_EVENTS = 200
MOST_SILENCES = 3  # failures in a row after which a round ends


def ask_carriers(*, limit: int = 100) -> int:
    """Ask about the parcels that are due; returns how many said something new.

    Each is claimed by a conditional update before the network is asked, so several workers share the work and a dead
    one costs an hour. No call happens inside a transaction.
    """
    moment = clock.now()
    due = Shipment.objects.filter(next_ask_at__lte=moment)
    # What nobody waits for any more, nor for an order that travels along: received, given back.
    due.exclude(_waited()).update(next_ask_at=None)
    provider = tracking.provider()
    if not provider.asks:
        return 0
    codes: dict[int | str, str] = {}
    for pk, name, code in Carrier.objects.values_list("pk", "name", "code"):
        codes[pk] = codes[name] = code
    found = silent = 0
    for shipment in list(due.select_related("order").order_by("next_ask_at")[:limit]):
        claimed = Shipment.objects.filter(pk=shipment.pk, next_ask_at=shipment.next_ask_at).update(
            next_ask_at=moment + timedelta(hours=1)
        )
        if not claimed:
            continue
        try:
            found += _ask(shipment, provider, codes.get(shipment.company_id or shipment.carrier, ""))
            silent = 0
        except tracking.TrackingUnavailable:
            silent += 1
            if silent >= MOST_SILENCES:  # the provider is away: the others' turn comes with the next rounds
                break
    return found


def _waited() -> Q:
    """Parcels of orders that are under way, their own or one that travels along."""
    states = [Order.SHIPPED, Order.PAID]
    along = Shipment.objects.filter(leader=OuterRef("pk"), order__status__in=states)
    return Q(order__status__in=states) | Q(Exists(along))


def _ask(shipment: Shipment, provider: tracking.Provider, carrier_code: str) -> bool:
    """Ask about one parcel and keep what was said. Raises TrackingUnavailable, with the next turn noted."""
    parcel = tracking.Parcel(
        carrier_code=carrier_code,
        number=shipment.tracking_number,
        phone_end=shipment.order.phone[-4:],
        shipped_at=shipment.shipped_at,
    )
    try:
        report = provider.report(parcel)
    except tracking.TrackingUnavailable as error:
        log.warning("tracking unavailable", shipment=shipment.pk, said=str(error))
        Shipment.objects.filter(pk=shipment.pk, next_ask_at__isnull=False).update(
            next_ask_at=clock.now() + error.retry_after, last_answer=str(error)[:200]
        )
        raise
    new = note_steps(shipment_id=shipment.pk, steps=report.steps, source=provider.source)
    moment, in_vain = clock.now(), 0 if new else min(shipment.asked_in_vain + 1, 100)
    current = Shipment.objects.get(pk=shipment.pk)
    next_ask = logistics.next_ask(moment, current.shipped_at, in_vain=in_vain, state=current.state)
    Shipment.objects.filter(pk=shipment.pk).update(
        next_ask_at=next_ask, asked_in_vain=in_vain, last_answer=report.remark[:200]
    )
    return bool(new)


@transaction.atomic
def note_steps(*, shipment_id: int, steps: Iterable[tracking.Step], source: str, actor: str = "") -> int:
    """Keep what is new of a parcel's steps, move its state, and let follow what follows; returns how many were new.
    What orders travel in one parcel, each hears it.

    Locks: orders. Idempotent on: (parcel, moment, text). Publishes: ParcelSigned, once per order of it. Raises
    NoSuchOrder.
    """
    asked = Shipment.objects.filter(pk=shipment_id).values_list("leader_id", flat=True).first()
    every = Shipment.objects.filter(Q(pk=asked or shipment_id) | Q(leader=asked or shipment_id))
    (orders,) = lock_rows(Order.objects.filter(pk__in=every.values("order_id")))
    if not orders:
        raise NoSuchOrder(_("This parcel does not exist."))
    parcels = dict(every.values_list("order_id", "pk"))
    new = {parcels[order.pk]: _note(order, parcels[order.pk], list(steps), source, actor) for order in orders}
    return new[shipment_id]


def _note(order: Order, shipment_id: int, steps: list[tracking.Step], source: str, actor: str) -> int:
    """The same for one order's row of the parcel, under the order's lock."""
    moment = clock.now()
    rows = [
        TrackingEvent(
            shipment_id=shipment_id,
            at=step.at,
            state=step.state,
            text=step.text[:300],
            source=source,
            actor=actor,
            noted_at=moment,
        )
        for step in steps[:MOST_EVENTS]
    ]
    known = set(TrackingEvent.objects.filter(shipment_id=shipment_id).values_list("at", "text"))
    fresh = {(row.at, row.text): row for row in rows if (row.at, row.text) not in known}
    if not fresh:
        return 0
    TrackingEvent.objects.bulk_create(fresh.values(), ignore_conflicts=True)
    _settle_state(order, shipment_id)
    return len(fresh)


def _settle_state(order: Order, shipment_id: int) -> None:
    """The parcel's state is that of its latest event. The first signing is announced. Call under the order's lock."""
    shipment = Shipment.objects.get(pk=shipment_id)
    events = list(TrackingEvent.objects.filter(shipment_id=shipment_id).values_list("at", "state"))
    state = logistics.state_of(events)
    was_signed = shipment.signed_at
    signed_at = was_signed or max((at for at, said in events if said == logistics.PICKED), default=None)
    if state != shipment.state or signed_at != was_signed:
        shipment.state, shipment.signed_at = state, signed_at
        shipment.save(update_fields=["state", "signed_at"])
    if state != logistics.PICKED or signed_at is None:
        return
    if was_signed is None and order.member_id:
        publish(
            ParcelSigned(order_id=order.pk, member_id=order.member_id, shipment_id=shipment_id, at=signed_at),
            key=f"order:{order.pk}",
        )
    if order.status == Order.SHIPPED and not order.shipments.exclude(state=logistics.PICKED).exists():
        _receive_as_ruled(order, signed_at)


def _receive_as_ruled(order: Order, signed_at: datetime) -> None:
    """Every parcel of the order is signed for: received now, in some days, or left to the usual ten days."""
    rules = current_rules()
    if order.is_refunding or rules.when_signed == rules.WAIT:
        return
    if rules.when_signed == rules.AT_ONCE:
        receive_order(order_id=order.pk, actor="system")
        return
    due_at = signed_at + timedelta(days=rules.received_days)
    Order.objects.filter(
        Q(due_at__isnull=True) | Q(due_at__gt=due_at), pk=order.pk, status=Order.SHIPPED
    ).update(due_at=due_at)


def type_step(*, shipment_id: int, state: str, text: str, by: str, at: datetime | None = None) -> Shipment:
    """A member of the staff notes what happened to a parcel. Raises BadTracking, NoSuchOrder. See `note_steps`."""
    labels = {word: str(label) for word, label in logistics.STATES}
    if state not in labels:
        raise BadTracking(_("Choose what happened to the parcel."))
    said = " ".join(text.split())
    if len(said) > 300:
        raise BadTracking(_("At most 300 characters, please."))
    moment = clock.now()
    if at is not None and at > moment + timedelta(minutes=5):
        raise BadTracking(_("This has not happened yet."))
    step = tracking.Step(at=at or moment, state=state, text=said or labels[state])
    note_steps(shipment_id=shipment_id, steps=[step], source=TrackingEvent.STAFF, actor=by)
    return Shipment.objects.get(pk=shipment_id)


def ask_again(*, shipment_ids: Iterable[int]) -> int:
    """Ask about these parcels with the next round, whatever their turn; returns how many."""
    chosen = Shipment.objects.filter(pk__in=list(shipment_ids))
    leaders = chosen.annotate(first=Coalesce("leader_id", "pk")).values("first")
    return Shipment.objects.filter(_waited(), pk__in=leaders).update(next_ask_at=clock.now(), asked_in_vain=0)


def add_usual_carriers() -> int:
    """Make the usual carriers that are missing; what an operator changed stays. Idempotent. Returns how many."""
    have = set(Carrier.objects.values_list("code", flat=True))
    names = set(Carrier.objects.values_list("name", flat=True))
    missing = [
        Carrier(code=code, name=name, phone=phone, tracking_url=address, position=position)
        for position, (code, name, phone, address) in enumerate(logistics.CARRIERS)
        if code not in have and name not in names
    ]
    Carrier.objects.bulk_create(missing, ignore_conflicts=True)
    return len(missing)
