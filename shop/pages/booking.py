"""Booking a service in a store: which, where, when; then her bookings with the code that the counter asks for."""

from datetime import date
from typing import Any
from urllib.parse import urlencode

import segno
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from core import clock
from core.errors import Refusal
from shop import booking_rules, queries, services
from shop.errors import NoSuchBooking, NoSuchService
from shop.forms import whole_number
from shop.models import BookableService, Booking, BookingSlot, ServiceOpening
from shop.pages.frame import greeted, members_only, note_once, problem, show
from shop.services.booking import may_cancel

TONES = {
    Booking.BOOKED: "fine",
    Booking.CHECKED_IN: "fine",
    Booking.SERVED: "soft",
    Booking.NO_SHOW: "soft",
    Booking.CANCELLED: "soft",
}


@require_GET
@greeted
def booking(request: HttpRequest) -> HttpResponse:
    """All services that can be booked."""
    found = queries.services_shown()
    response = show(
        request,
        "shop/booking.html",
        tab="me",
        services=[
            {
                "name": service.name,
                "description": service.description,
                "minutes": service.minutes,
                "stores": [store.name for store in service.stores.all() if store.is_active],
                "address": reverse("shop:booking_service", args=[service.pk]),
            }
            for service in found
        ],
    )
    note_once(request, "visited")
    return response


@require_GET
@greeted
def booking_service(request: HttpRequest, pk: int) -> HttpResponse:
    """One service: its stores, days and times; what is full is shown as full."""
    return _times(request, pk)


def _times(request: HttpRequest, pk: int, *, refusal: str = "", status: int = 200) -> HttpResponse:
    try:
        service, stores = queries.service_page(pk)
    except NoSuchService as missing:
        return problem(
            request, missing, symbol="calendar-x", link=reverse("shop:booking"), label=_("All services")
        )
    here = reverse("shop:booking_service", args=[pk])
    wanted = whole_number(request.GET.get("store"))
    store = next((one for one in stores if one.pk == wanted), stores[0] if stores else None)
    days = queries.days_of(service, store.pk) if store else []
    day = _asked_day(request.GET.get("day", ""), days)
    slots = queries.slots_on(pk, store.pk, day) if store and day else []

    def to(**changes: Any) -> str:
        return f"{here}?{urlencode({'store': store.pk if store else '', **changes})}"

    return show(
        request,
        "shop/booking_service.html",
        status=status,
        tab="me",
        refusal=refusal,
        service=service,
        store=store,
        stores=[
            {"name": one.name, "address": to(store=one.pk), "is_current": one == store} for one in stores
        ],
        days=[
            {
                "weekday": _weekday(row.day),
                "day": f"{row.day:%m-%d}",
                "is_open": bool(row.slots),
                "is_full": bool(row.slots) and row.left <= 0,
                "address": to(day=row.day.isoformat()),
                "is_current": row.day == day,
            }
            for row in days
        ],
        slots=[
            {
                "hour": f"{clock.local(slot.starts_at):%H:%M}",
                "left": slot.left,
                "address": reverse("shop:booking_confirm", args=[slot.pk]),
            }
            for slot in slots
        ],
    )


def _asked_day(text: str, days: list[queries.DayRow]) -> date | None:
    """The day in the address, or the first one with a place; the first open one when everything is full."""
    asked = next((row.day for row in days if row.day.isoformat() == text), None)
    with_room = next((row.day for row in days if row.left > 0), None)
    return asked or with_room or next((row.day for row in days if row.slots), None)


def _weekday(day: date) -> str:
    today = clock.today()
    if day == today:
        return _("Today")
    if (day - today).days == 1:
        return _("Tomorrow")
    return str(dict(ServiceOpening.WEEKDAYS)[day.weekday()])


@require_http_methods(["GET", "POST"])
@members_only
def booking_confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """The slot once more in full; posting books it."""
    slot = queries.find_slot(pk)
    if slot is None:
        return problem(
            request,
            NoSuchService(_("This time is not offered any more. Please choose another.")),
            symbol="calendar-x",
            link=reverse("shop:booking"),
            label=_("All services"),
        )
    if request.method == "POST":
        try:
            made = services.book_slot(
                member_id=request.member.pk,  # type: ignore[attr-defined]
                slot_id=pk,
                note=request.POST.get("note", "")[:400].replace("\x00", ""),
            )
        except Refusal as refusal:
            return _confirm(request, slot, refusal=refusal.message, status=refusal.status)
        return HttpResponseRedirect(reverse("shop:booking_card", args=[made.code]))
    return _confirm(request, slot)


def _confirm(
    request: HttpRequest, slot: BookingSlot, *, refusal: str = "", status: int = 200
) -> HttpResponse:
    return show(
        request,
        "shop/booking_confirm.html",
        status=status,
        tab="me",
        refusal=refusal,
        when=_when(slot),
        service=slot.service,
        store=slot.store,
        cancel_words=_cancel_words(slot.service),
        is_bookable=slot.left > 0 and slot.starts_at > clock.now(),
        action=reverse("shop:booking_confirm", args=[slot.pk]),
        back=f"{reverse('shop:booking_service', args=[slot.service_id])}?"
        + urlencode({"store": slot.store_id, "day": clock.local(slot.starts_at).date().isoformat()}),
    )


def _when(slot: BookingSlot) -> str:
    start, end = clock.local(slot.starts_at), clock.local(slot.ends_at)
    return f"{start:%Y-%m-%d} {_weekday(start.date())} {start:%H:%M}–{end:%H:%M}"


def _cancel_words(service: BookableService) -> str:
    if not service.cancel_hours:
        return _("You can cancel until it begins.")
    return _("You can cancel until %(hours)d hours before.") % {"hours": service.cancel_hours}


@require_GET
@members_only
def bookings(request: HttpRequest) -> HttpResponse:
    """Her bookings, those to come first."""
    rows = queries.bookings_of(request.member.pk)  # type: ignore[attr-defined]
    moment = clock.now()
    shown = [
        {
            "service": row.slot.service.name,
            "store": row.slot.store.name,
            "when": _when(row.slot),
            "state": row.get_state_display(),
            "tone": TONES[row.state],
            "is_coming": row.state in (Booking.BOOKED, Booking.CHECKED_IN) and row.slot.ends_at > moment,
            "address": reverse("shop:booking_card", args=[row.code]),
        }
        for row in rows
    ]
    return show(
        request,
        "shop/bookings.html",
        tab="me",
        coming=[row for row in shown if row["is_coming"]],
        past=[row for row in shown if not row["is_coming"]],
    )


@require_GET
@members_only
def booking_card(request: HttpRequest, code: str) -> HttpResponse:
    return _card(request, code)


def _was_cancelled_by_store(booking: Booking) -> bool:
    return booking.state == Booking.CANCELLED and booking.actor not in ("", "member", "system")


def _card(request: HttpRequest, code: str, *, refusal: str = "", status: int = 200) -> HttpResponse:
    """One booking: code and QR for the counter, check-in when she is there, cancelling while it is possible."""
    try:
        found = queries.booking_for(code, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchBooking as missing:
        return problem(
            request, missing, symbol="calendar-x", link=reverse("shop:bookings"), label=_("My bookings")
        )
    moment, is_open = clock.now(), found.state == Booking.BOOKED
    ticket = queries.ticket_of_booking(found.pk)
    counter = f"{settings.PUBLIC_URL}{reverse('shop:queueing_staff')}?code={found.code}"
    return show(
        request,
        "shop/booking_card.html",
        status=status,
        tab="me",
        refusal=refusal,
        booking=found,
        state=_("Cancelled by the store") if _was_cancelled_by_store(found) else found.get_state_display(),
        when=_when(found.slot),
        service=found.slot.service,
        store=found.slot.store,
        code_shown=f"{found.code[:4]} {found.code[4:]}",
        picture=segno.make(counter, error="m").svg_data_uri(scale=5, border=0) if is_open else "",
        cancellable=(cancellable := may_cancel(found, moment)),
        cancel_words=_cancel_words(found.slot.service)
        if cancellable
        else _("It is too late to cancel here. If you cannot come, please tell the store."),
        can_check_in=is_open
        and found.slot.starts_at - booking_rules.CHECK_IN_BEFORE <= moment <= found.slot.ends_at,
        ticket_address=reverse("shop:queueing_ticket", args=[ticket.pk]) if ticket else "",
        ticket_label=ticket.label if ticket else "",
    )


@require_POST
@members_only
def booking_cancel(request: HttpRequest, code: str) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        found = queries.booking_for(code, member_id=member_id)
        services.cancel_booking(booking_id=found.pk, member_id=member_id)
    except Refusal as refusal:
        return _card(request, code, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:booking_card", args=[code]))


@require_POST
@members_only
def booking_check_in(request: HttpRequest, code: str) -> HttpResponse:
    try:
        ticket = services.check_in(code=code, member_id=request.member.pk)  # type: ignore[attr-defined]
    except Refusal as refusal:
        return _card(request, code, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:queueing_ticket", args=[ticket.pk]))
