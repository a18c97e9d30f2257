"""What can be booked, when there is room, and a member's bookings. Access is decided here."""

import datetime as dt
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet
from django.utils.translation import gettext as _

from core import clock
from crm import queries as crm_queries
from shop.errors import NoSuchBooking, NoSuchService
from shop.models import BookableService, Booking, BookingSlot


@dataclass(frozen=True, slots=True)
class DayRow:
    """One calendar day of a service in a store: `slots` 0 is a day of rest, `left` 0 is booked up."""

    day: date
    slots: int
    left: int


def services_shown() -> list[BookableService]:
    """What members may book now, with its stores: two statements."""
    active = BookableService.objects.filter(is_active=True).prefetch_related("stores")
    return [service for service in active if any(store.is_active for store in service.stores.all())]


def service_page(pk: int) -> tuple[BookableService, list[Any]]:
    """A service and the stores that give it, by name. Raises NoSuchService."""
    service = BookableService.objects.filter(pk=pk, is_active=True).first()
    if service is None:
        raise NoSuchService(_("This service is not offered any more."))
    return service, list(service.stores.filter(is_active=True).order_by("name"))


def days_of(service: BookableService, store_id: int) -> list[DayRow]:
    """Today and the bookable days ahead, with the places that are left. One statement."""
    today, moment = clock.today(), clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (starts_at AT TIME ZONE %s)::date, count(*),
                   sum(CASE WHEN is_closed THEN 0 ELSE capacity - taken END)
            FROM shop_bookingslot
            WHERE service_id = %s AND store_id = %s AND is_planned AND starts_at > %s AND starts_at < %s
            GROUP BY 1
            """,
            [
                str(clock.zone()),
                service.pk,
                store_id,
                moment,
                clock.day_start(today + timedelta(days=service.days_ahead + 1)),
            ],
        )
        found: dict[date, tuple[int, int]] = {day: (slots, left) for day, slots, left in cursor.fetchall()}
    days = [today + timedelta(days=number) for number in range(service.days_ahead + 1)]
    return [DayRow(day, *found.get(day, (0, 0))) for day in days]


def slots_on(service_id: int, store_id: int, day: date) -> list[BookingSlot]:
    """The slots of a day that are still to come, full ones too."""
    return list(
        BookingSlot.objects.filter(
            service_id=service_id,
            store_id=store_id,
            is_planned=True,
            is_closed=False,
            starts_at__gt=max(clock.now(), clock.day_start(day) - dt.timedelta(microseconds=1)),
            starts_at__lt=clock.day_start(day + timedelta(days=1)),
        ).order_by("starts_at")
    )


def find_slot(slot_id: int) -> BookingSlot | None:
    """A slot with its service and store, of what is offered."""
    return (
        BookingSlot.objects.filter(pk=slot_id, service__is_active=True, is_planned=True)
        .select_related("service", "store")
        .first()
    )


def bookings_of(member_id: int, *, limit: int = 50) -> list[Booking]:
    """Her bookings: those to come first, the next one on top; then the past ones, the latest on top."""
    rows = Booking.objects.filter(member_id=member_id).select_related("slot__service", "slot__store")
    moment = clock.now()
    is_open = Q(state__in=[Booking.BOOKED, Booking.CHECKED_IN], slot__ends_at__gt=moment)
    coming = list(rows.filter(is_open).order_by("slot__starts_at")[:limit])
    return coming + list(rows.exclude(is_open).order_by("-slot__starts_at")[:limit])


def booking_for(code: str, *, member_id: int) -> Booking:
    """A member's own booking with slot, service, store. Raises NoSuchBooking, also for another member's."""
    booking = (
        Booking.objects.filter(code=code[:12].upper(), member_id=member_id)
        .select_related("slot__service", "slot__store")
        .first()
    )
    if booking is None:
        raise NoSuchBooking(_("This booking does not exist."))
    return booking


def find_store(code: str) -> Any | None:
    """The open store of that code."""
    return crm_queries.stores().filter(code=code).first()


def bookings_today(store_id: int) -> list[Booking]:
    """Today's bookings of a store that nobody checked in yet, by time. For its staff."""
    start = clock.day_start(clock.today())
    return list(
        Booking.objects.filter(
            slot__store_id=store_id,
            slot__starts_at__gte=start,
            slot__starts_at__lt=start + timedelta(days=1),
            state=Booking.BOOKED,
        )
        .select_related("slot__service", "member")
        .order_by("slot__starts_at", "pk")[:100]
    )


def slots_with_bookings() -> QuerySet[BookingSlot]:
    """Slots with what the admin's calendar shows, in one statement."""
    return BookingSlot.objects.select_related("service", "store").annotate(
        arrived=Count(
            "bookings", filter=Q(bookings__state__in=[Booking.CHECKED_IN, Booking.SERVED]), distinct=True
        ),
        places_left=F("capacity") - F("taken"),
    )


def open_booking_today(member_id: int, store_id: int, moment: datetime) -> list[Booking]:
    """Her bookings in this store today that wait for check-in."""
    start = clock.day_start(clock.local(moment).date())
    return list(
        Booking.objects.filter(
            member_id=member_id,
            state=Booking.BOOKED,
            slot__store_id=store_id,
            slot__starts_at__gte=start,
            slot__starts_at__lt=start + timedelta(days=1),
            slot__ends_at__gt=moment,
        )
        .select_related("slot__service", "slot__store")
        .order_by("slot__starts_at")
    )
