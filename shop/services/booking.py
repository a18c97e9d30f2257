"""Slots made from a service's rules, and members' places in them. A slot is never overbooked: the database holds it."""

import secrets
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core import clock
from core.events import publish
from core.locks import advisory_lock
from core.sweeps import sweep
from shop import booking_rules as rules
from shop.errors import NoSuchBooking, NoSuchService, NotBookable, SlotFull, TooLate
from shop.events import BookingCancelled, BookingMade
from shop.models import BookableService, Booking, BookingReminder, BookingSlot
from shop.services.booking_messages import tell_member

REMIND_AGAIN = timedelta(minutes=10)  # when it failed

PLAN = """
WITH plan AS (
    SELECT * FROM unnest(%(stores)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS plan(store_id, starts_at, ends_at)
), dropped AS (
    UPDATE shop_bookingslot s SET is_planned = false
    WHERE s.service_id = %(service)s AND s.starts_at > %(now)s AND s.is_planned
      AND NOT EXISTS (SELECT 1 FROM plan p WHERE p.store_id = s.store_id AND p.starts_at = s.starts_at)
), kept AS (
    INSERT INTO shop_bookingslot AS s
        (service_id, store_id, starts_at, ends_at, capacity, taken, is_planned, is_closed, is_capacity_own)
    SELECT %(service)s, store_id, starts_at, ends_at, %(capacity)s, 0, true, false, false
    FROM plan ORDER BY store_id, starts_at
    ON CONFLICT (service_id, store_id, starts_at) DO UPDATE SET
        is_planned = true,
        ends_at = CASE WHEN s.taken > 0 THEN s.ends_at ELSE excluded.ends_at END,
        capacity = CASE WHEN s.is_capacity_own THEN s.capacity
                        WHEN s.taken > 0 AND s.ends_at <> excluded.ends_at THEN s.taken
                        ELSE greatest(s.taken, excluded.capacity) END
)
SELECT count(*) FROM plan
"""


# What was booked under other hours or another length keeps its time, and whoever serves it is not free for others then.
OVERLAPS = """
UPDATE shop_bookingslot s SET capacity = greatest(s.taken, s.capacity - held.places)
FROM (
    SELECT s.id, sum(o.taken) AS places
    FROM shop_bookingslot s JOIN shop_bookingslot o ON o.service_id = s.service_id AND o.store_id = s.store_id
        AND o.id <> s.id AND o.starts_at < s.ends_at AND o.ends_at > s.starts_at
    WHERE s.service_id = %(service)s AND s.starts_at > %(now)s AND s.is_planned AND NOT s.is_capacity_own
      AND o.ends_at > %(now)s AND o.taken > 0
      AND (NOT o.is_planned OR o.ends_at <> o.starts_at + make_interval(mins => %(minutes)s))
    GROUP BY s.id
) held
WHERE held.id = s.id
"""


@transaction.atomic
def plan_slots(*, service_id: int) -> int:
    """Make the service's slots of the days ahead what its hours say; returns how many there are to be.

    Slots that the hours no longer contain cannot be booked any more; those nobody ever booked vanish. Bookings stay.
    Capacity follows the service unless it was set by hand, less what is booked in slots of earlier plans at the same
    time, and never falls below what is taken. A booked slot keeps its length, and takes no more bookings with an old
    one.
    Locks: advisory on the service, slots. Idempotent.
    """
    advisory_lock("shop.slots", service_id)
    service = BookableService.objects.filter(pk=service_id).first()
    if service is None:
        raise NoSuchService(_("This service does not exist."))
    moment = clock.now()
    plan = _planned(service, moment) if service.is_active else []
    with connection.cursor() as cursor:
        cursor.execute(
            PLAN,
            {
                "stores": [store for store, _start, _end in plan],
                "starts": [start for _store, start, _end in plan],
                "ends": [end for _store, _start, end in plan],
                "service": service_id,
                "capacity": service.capacity,
                "now": moment,
            },
        )
        cursor.execute(OVERLAPS, {"service": service_id, "now": moment, "minutes": service.minutes})
        cursor.execute(
            """
            DELETE FROM shop_bookingslot s WHERE service_id = %s AND starts_at > %s AND NOT is_planned AND taken = 0
            AND NOT EXISTS (SELECT 1 FROM shop_booking b WHERE b.slot_id = s.id)
            """,
            [service_id, moment],
        )
    return len(plan)


def _planned(service: BookableService, moment: datetime) -> list[tuple[int, datetime, datetime]]:
    """(store, start, end) of every slot between now and the last bookable day."""
    openings = [rules.Opening(one.weekday, one.opens, one.closes) for one in service.openings.all()]
    days = [rules.DayRule(one.day, one.store_id, one.opens, one.closes) for one in service.days.all()]
    length, today = timedelta(minutes=service.minutes), clock.local(moment).date()
    found = []
    for store_id in service.stores.filter(is_active=True).values_list("pk", flat=True):
        for number in range(service.days_ahead + 1):
            day = today + timedelta(days=number)
            spans = rules.open_spans(day, store_id, openings, days)
            for start in rules.slot_starts(spans, service.minutes):
                begins_at = datetime.combine(day, start, tzinfo=clock.zone())
                if begins_at > moment:
                    found.append((store_id, begins_at, begins_at + length))
    return found


def plan_all_slots() -> int:
    """Every service's slots, as days pass; returns how many there are to be. One transaction per service."""
    ids = list(BookableService.objects.order_by("pk").values_list("pk", flat=True))
    return sweep(
        ids,
        lambda service_id: plan_slots(service_id=service_id),
        fault="slots not planned",
        put_off=lambda _pk: None,  # planned in the next round, after the others as well
    )


@transaction.atomic
def change_slot(*, slot_id: int, capacity: int | None = None, is_closed: bool | None = None) -> BookingSlot:
    """An operator's word on one slot: other places, closed, open again. Bookings that exist stay.

    Locks: the slot, by guarded update. Idempotent. Raises NotBookable when more places are taken than that.
    """
    slots = BookingSlot.objects.filter(pk=slot_id)
    if is_closed is not None:
        slots.update(is_closed=is_closed)
    if capacity is not None and not (
        0 <= capacity <= 500
        and slots.filter(taken__lte=capacity).update(capacity=capacity, is_capacity_own=True)
    ):
        raise NotBookable(_("More places than that are booked already."))
    slot = slots.first()
    if slot is None:
        raise NoSuchService(_("This slot does not exist."))
    return slot


@transaction.atomic
def book_slot(*, member_id: int, slot_id: int, note: str = "") -> Booking:
    """A place in a slot for the member; her earlier booking of the same slot when she has one.

    Locks: advisory on the member, then the slot by guarded update. Idempotent on: (member, slot).
    Publishes: BookingMade. Raises SlotFull, NotBookable, NoSuchService.
    """
    advisory_lock("shop.bookings", member_id)
    slot = BookingSlot.objects.select_related("service", "store").filter(pk=slot_id).first()
    if slot is None:
        raise NoSuchService(_("This time is not offered any more. Please choose another."))
    earlier = Booking.objects.filter(member_id=member_id, slot_id=slot_id).exclude(state=Booking.CANCELLED)
    if (mine := earlier.first()) is not None:
        return mine
    moment = clock.now()
    if not slot.service.is_active or not slot.store.is_active:
        raise NotBookable(_("This service cannot be booked at the moment."))
    open_count = Booking.objects.filter(
        member_id=member_id, state=Booking.BOOKED, slot__service=slot.service, slot__starts_at__gt=moment
    ).count()
    if open_count >= slot.service.max_open:
        raise NotBookable(
            ngettext(
                "You already have %(count)d booking of this service. Please use or cancel it first.",
                "You already have %(count)d bookings of this service. Please use or cancel one first.",
                open_count,
            )
            % {"count": open_count},
            code="enough_bookings",
        )
    free = BookingSlot.objects.filter(
        pk=slot_id, taken__lt=F("capacity"), is_planned=True, is_closed=False, starts_at__gt=moment
    )
    if not free.update(taken=F("taken") + 1):
        if slot.starts_at <= moment:
            raise NotBookable(_("This time is over. Please choose another."))
        raise SlotFull(_("This time has just been booked up. Please choose another."))
    booking = Booking.objects.create(
        slot=slot, member_id=member_id, code=_new_code(), note=" ".join(note.split())[:200], booked_at=moment
    )
    due = {kind: rules.reminder_due(kind, clock.local(slot.starts_at), moment) for kind in rules.REMINDERS}
    BookingReminder.objects.bulk_create(
        BookingReminder(booking=booking, kind=kind, due_at=at) for kind, at in due.items() if at is not None
    )
    publish(
        BookingMade(booking_id=booking.pk, member_id=member_id, starts_at=slot.starts_at, at=moment),
        key=f"booking:{booking.pk}",
    )
    return booking


def _new_code() -> str:
    return "".join(secrets.choice(rules.CODE_LETTERS) for _number in range(rules.CODE_LENGTH))


@transaction.atomic
def cancel_booking(
    *, booking_id: int, member_id: int | None = None, by: str = "member", reason: str = ""
) -> Booking:
    """Give the place back: the member herself until the service's deadline, the staff (`member_id` None) at any time.

    Locks: slot, booking. Idempotent: a cancelled booking stays. Publishes: BookingCancelled.
    Raises NoSuchBooking, TooLate.
    """
    bookings = Booking.objects.filter(pk=booking_id)
    if member_id is not None:
        bookings = bookings.filter(member_id=member_id)
    booking = bookings.select_related("slot__service").first()
    if booking is None:
        raise NoSuchBooking(_("This booking does not exist."))
    moment = clock.now()
    if member_id is not None and booking.state == Booking.BOOKED and not may_cancel(booking, moment):
        raise TooLate(_("It is too late to cancel here. Please call the store."))
    # The slot first, as when booking: two commands never wait for each other in a circle.
    BookingSlot.objects.select_for_update().get(pk=booking.slot_id)
    cancelled = bookings.filter(state=Booking.BOOKED).update(
        state=Booking.CANCELLED, ended_at=moment, actor=by[:80], reason=reason[:200]
    )
    if not cancelled:
        booking.refresh_from_db()
        if booking.state == Booking.CANCELLED:
            return booking
        raise TooLate(_("This booking cannot be cancelled any more."))
    BookingSlot.objects.filter(pk=booking.slot_id).update(taken=F("taken") - 1)
    BookingReminder.objects.filter(booking_id=booking_id, done_at__isnull=True).update(
        done_at=moment, outcome=BookingReminder.VOID
    )
    publish(
        BookingCancelled(booking_id=booking.pk, member_id=booking.member_id, at=moment),
        key=f"booking:{booking.pk}",
    )
    booking.refresh_from_db()
    return booking


def may_cancel(booking: Booking, moment: datetime) -> bool:
    """Whether the member may still cancel by herself. `booking.slot.service` should be loaded."""
    deadline = booking.slot.starts_at - timedelta(hours=booking.slot.service.cancel_hours)
    return booking.state == Booking.BOOKED and moment <= deadline


@transaction.atomic
def mark_no_show(*, booking_id: int, by: str = "system") -> bool:
    """Nobody came for this booking; False when it is not open any more. The place stays taken: its time is over."""
    return bool(
        Booking.objects.filter(pk=booking_id, state=Booking.BOOKED).update(
            state=Booking.NO_SHOW, ended_at=clock.now(), actor=by[:80]
        )
    )


def mark_no_shows(*, limit: int = 500) -> int:
    """Bookings whose slot ended half an hour ago without anybody checking in; returns how many."""
    over = Booking.objects.filter(
        state=Booking.BOOKED, slot__ends_at__lt=clock.now() - rules.NO_SHOW_AFTER
    ).order_by("pk")
    return sum(mark_no_show(booking_id=pk) for pk in list(over.values_list("pk", flat=True)[:limit]))


def send_booking_reminders(*, limit: int = 200) -> int:
    """Tell members of bookings that are near; returns how many reminders were settled. One transaction each."""
    due = BookingReminder.objects.filter(done_at__isnull=True, due_at__lte=clock.now()).order_by("due_at")
    return sweep(
        list(due.values_list("pk", flat=True)[:limit]),
        _settle_reminder,
        fault="reminder of a booking failed",
        put_off=lambda pk: BookingReminder.objects.filter(pk=pk).update(due_at=clock.now() + REMIND_AGAIN),
    )


@transaction.atomic
def _settle_reminder(reminder_id: int) -> int:
    """Locks: the reminder. Idempotent: a settled one stays settled; another worker's is left to it."""
    reminder = (
        BookingReminder.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("booking__slot__service", "booking__slot__store")
        .filter(pk=reminder_id, done_at__isnull=True)
        .first()
    )
    if reminder is None:
        return 0
    booking, slot = reminder.booking, reminder.booking.slot
    moment = clock.now()
    outcome = BookingReminder.VOID
    if booking.state == Booking.BOOKED and slot.starts_at > moment:
        at = clock.local(slot.starts_at)
        outcome = tell_member(
            member_id=booking.member_id,
            origin=f"booking-{reminder.kind}",
            origin_id=booking.pk,
            title=_("Your booking: %(service)s") % {"service": slot.service.name},
            text=_("%(day)s at %(hour)s, %(store)s. Your code: %(code)s")
            % {
                "day": f"{at:%Y-%m-%d}",
                "hour": f"{at:%H:%M}",
                "store": f"{slot.store.name} {slot.store.address}".strip(),
                "code": booking.code,
            },
            path=f"/bookings/{booking.code}/",
            touch=f"booking:{booking.pk}:{reminder.kind}",
        )
    reminder.done_at, reminder.outcome = moment, outcome
    reminder.save(update_fields=["done_at", "outcome"])
    return 1


@transaction.atomic
def move_bookings(*, kept_id: int, merged_id: int) -> int:
    """Bookings of a member who turned out to be another; where both have the same slot, one place goes back.

    Locks: advisory on both members, slots, bookings. Idempotent. Returns how many moved.
    """
    advisory_lock("shop.bookings", min(kept_id, merged_id))
    advisory_lock("shop.bookings", max(kept_id, merged_id))
    held = Booking.objects.filter(member_id=kept_id).exclude(state=Booking.CANCELLED).values("slot_id")
    twice = Booking.objects.filter(member_id=merged_id, slot_id__in=held).exclude(state=Booking.CANCELLED)
    for booking in twice.order_by("slot_id"):
        BookingSlot.objects.filter(pk=booking.slot_id).update(taken=F("taken") - 1)
        Booking.objects.filter(pk=booking.pk).update(
            state=Booking.CANCELLED, ended_at=clock.now(), actor="system", reason=_("The same person twice")
        )
    return Booking.objects.filter(member_id=merged_id).update(member_id=kept_id)
