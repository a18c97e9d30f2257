"""The queue on two phones: the member's number that moves by itself, and the clerk's page that calls the next."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core import clock
from core.errors import Refusal
from shop import queries, services
from shop.errors import NoSuchService, NoSuchTicket
from shop.forms import whole_number
from shop.models import QueueTicket
from shop.pages.frame import Page, go, members_only, problem, show, show_part


@require_GET
@members_only
def queueing_store(request: HttpRequest, code: str) -> HttpResponse:
    """What the code on the store's counter opens: take a number, or check in."""
    return _store(request, code)


def _store(request: HttpRequest, code: str, *, refusal: str = "", status: int = 200) -> HttpResponse:
    store = queries.find_store(code)
    if store is None:
        return problem(request, NoSuchService(_("This store does not exist.")), symbol="store")
    member_id = request.member.pk  # type: ignore[attr-defined]
    mine = {ticket.queue.service_id: ticket for ticket in queries.live_tickets_of(member_id, store.pk)}
    return show(
        request,
        "shop/queueing_store.html",
        status=status,
        tab="me",
        refusal=refusal,
        store=store,
        bookings=[
            {
                "service": booking.slot.service.name,
                "hour": f"{clock.local(booking.slot.starts_at):%H:%M}",
                "action": reverse("shop:booking_check_in", args=[booking.code]),
                "address": reverse("shop:booking_card", args=[booking.code]),
            }
            for booking in queries.open_booking_today(member_id, store.pk, clock.now())
        ],
        queues=[
            {
                "pk": row.service.pk,
                "service": row.service.name,
                "waiting": len(row.waiting),
                "walk_in": row.service.takes_walk_ins,
                "ticket": _ticket_link(mine[row.service.pk]) if row.service.pk in mine else None,
            }
            for row in queries.queues_at(store.pk)
        ],
        action=reverse("shop:queueing_take", args=[code]),
    )


def _ticket_link(ticket: QueueTicket) -> dict[str, str]:
    return {"label": ticket.label, "address": reverse("shop:queueing_ticket", args=[ticket.pk])}


@require_POST
@members_only
def queueing_take(request: HttpRequest, code: str) -> HttpResponse:
    store = queries.find_store(code)
    if store is None:
        return problem(request, NoSuchService(_("This store does not exist.")), symbol="store")
    try:
        ticket = services.take_number(
            store_id=store.pk,
            service_id=whole_number(request.POST.get("service")),
            member_id=request.member.pk,  # type: ignore[attr-defined]
        )
    except Refusal as refusal:
        return _store(request, code, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:queueing_ticket", args=[ticket.pk]))


@never_cache
@require_GET
@members_only
def queueing_ticket(request: HttpRequest, pk: int) -> HttpResponse:
    """Her number; htmx asks every few seconds for the part that changes."""
    return _ticket(request, pk)


def _ticket(request: HttpRequest, pk: int, *, refusal: str = "", status: int = 200) -> HttpResponse:
    try:
        ticket = queries.ticket_for(pk, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchTicket as missing:
        return problem(request, missing, symbol="ticket-x")
    is_today = ticket.queue.day == clock.today()
    stands = ticket.state in (QueueTicket.WAITING, QueueTicket.CALLED)
    live = is_today and (stands or ticket.state == QueueTicket.SKIPPED)  # what was passed may be called again
    context: dict[str, Any] = {
        "ticket": ticket,
        "state": ticket.get_state_display(),
        "place": queries.place_of(ticket),
        "live": live,
        "may_leave": is_today and stands,
        "take_anew": reverse("shop:queueing_store", args=[ticket.queue.store.code]),
        "here": reverse("shop:queueing_ticket", args=[pk]),
        "refusal": refusal,
    }
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/queueing_place.html", **context)
    return show(request, "shop/queueing_ticket.html", status=status, tab="me", **context)


@require_POST
@members_only
def queueing_leave(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        services.leave_queue(ticket_id=pk, member_id=request.member.pk)  # type: ignore[attr-defined]
    except Refusal as refusal:
        return _ticket(request, pk, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:queueing_ticket", args=[pk]))


# --- The clerk's phone ---------------------------------------------------------------------------------------------
def clerks_only(page: Page) -> Page:
    """Pages of a store's staff: a login that is linked to an active colleague with a store, as `request.clerk`."""

    @wraps(page)
    def ask(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            back = request.get_full_path() if request.method == "GET" else reverse("shop:queueing_staff")
            login = redirect_to_login(back)
            return go(request, login.url) if request.headers.get("HX-Request") else login
        clerk = getattr(request.user, "staff", None)
        if clerk is None or not clerk.is_active or clerk.store_id is None:
            return problem(
                request,
                Refusal(_("Your login belongs to no store yet. Ask for it in the admin, under guides.")),
                symbol="store",
                link=reverse("admin:index"),
                label=_("To the admin"),
            )
        request.clerk = clerk  # type: ignore[attr-defined]
        return page(request, *args, **kwargs)

    return ask


@never_cache
@require_GET
@clerks_only
def queueing_staff(request: HttpRequest) -> HttpResponse:
    """The queues of the clerk's store. `code` comes from a booking's QR and fills the check-in field."""
    return _desk(request)


def _desk(request: HttpRequest, *, said: str = "", refusal: str = "", status: int = 200) -> HttpResponse:
    clerk = request.clerk  # type: ignore[attr-defined]
    context = {
        "clerk": clerk,
        "queues": queries.queues_at(clerk.store_id),
        "bookings": [
            {
                "code": booking.code,
                "hour": f"{clock.local(booking.slot.starts_at):%H:%M}",
                "service": booking.slot.service.name,
                "member": str(booking.member),
                "note": booking.note,
            }
            for booking in queries.bookings_today(clerk.store_id)
        ],
        "code": "".join(one for one in request.GET.get("code", "")[:12] if one.isalnum()),
        "said": said,
        "refusal": refusal,
    }
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/queueing_desk.html", **context)
    return show(request, "shop/queueing_staff.html", status=status, cart_count=0, **context)


def _act(request: HttpRequest, command: Callable[[int, str], QueueTicket], words: str) -> HttpResponse:
    """Carry out a clerk's command on her own store, and show the desk as it is then."""
    clerk = request.clerk  # type: ignore[attr-defined]
    try:
        ticket = command(clerk.store_id, clerk.name)
    except Refusal as refusal:
        return _desk(request, refusal=refusal.message, status=refusal.status)
    if request.headers.get("HX-Request"):
        done = _desk(request, said=words % {"number": ticket.label})
        done["HX-Trigger"] = "form:done"  # what was typed for it is used up
        return done
    return HttpResponseRedirect(reverse("shop:queueing_staff"))


@require_POST
@clerks_only
def queueing_call(request: HttpRequest) -> HttpResponse:
    service_id = whole_number(request.POST.get("service"))
    return _act(
        request,
        lambda store_id, name: services.call_next(store_id=store_id, service_id=service_id, by=name),
        _("Called: %(number)s"),
    )


@require_POST
@clerks_only
def queueing_number(request: HttpRequest, pk: int) -> HttpResponse:
    """One called or skipped number: `do` is again, skip or done."""
    match request.POST.get("do"):
        case "skip":
            command, words = services.skip_number, _("Skipped: %(number)s")
        case "done":
            command, words = services.finish_number, _("Done: %(number)s")
        case _:
            command, words = services.call_again, _("Called again: %(number)s")
    return _act(request, lambda store_id, name: command(ticket_id=pk, store_id=store_id, by=name), words)


@require_POST
@clerks_only
def queueing_arrive(request: HttpRequest) -> HttpResponse:
    """A booking's code is checked in, or a guest without a phone gets a number by name."""
    code, guest = request.POST.get("code", ""), request.POST.get("guest", "").replace("\x00", "")
    if guest:
        service_id = whole_number(request.POST.get("service"))
        return _act(
            request,
            lambda store_id, name: services.take_number(
                store_id=store_id, service_id=service_id, guest=guest, by=name
            ),
            _("Number given: %(number)s"),
        )
    cleaned = "".join(code.replace("\x00", "").split())
    return _act(
        request,
        lambda store_id, name: services.check_in(code=cleaned, store_id=store_id, by=name),
        _("Checked in: %(number)s"),
    )
