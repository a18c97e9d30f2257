"""Bookable services with their hours, the calendar of slots, and bookings."""

from datetime import timedelta
from typing import Any

import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from core import clock
from core.admin import BaseAdmin, ReadOnlyAdmin, TabularInline
from core.admin.asking import asks_first
from shop import queries, services
from shop.admin.fields import actor_label, said, who
from shop.models import (
    BookableService,
    Booking,
    BookingReminder,
    BookingSlot,
    QueueTicket,
    ServiceDay,
    ServiceOpening,
)

LABELS = {
    Booking.BOOKED: "info",
    Booking.CHECKED_IN: "warning",
    Booking.SERVED: "success",
    Booking.NO_SHOW: "danger",
    Booking.CANCELLED: "default",
    QueueTicket.WAITING: "info",
    QueueTicket.CALLED: "warning",
    QueueTicket.SKIPPED: "danger",
    QueueTicket.LEFT: "default",
}


class OpeningInline(TabularInline):
    model = ServiceOpening
    fields = ["weekday", "opens", "closes"]
    extra = 0
    hide_title = True


class DayInline(TabularInline):
    model = ServiceDay
    fields = ["day", "store", "opens", "closes", "note"]
    extra = 0
    hide_title = True
    verbose_name_plural = _("holidays and other exceptional days")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceDay]:
        return super().get_queryset(request).filter(day__gte=clock.today() - timedelta(days=30))


@admin.register(BookableService)
class BookableServiceAdmin(BaseAdmin):
    list_display = ["name", "store_names", "minutes", "capacity", "days_ahead", "is_active", "calendar"]
    list_filter = ["is_active", "stores"]
    search_fields = ["name"]
    autocomplete_fields = ["stores"]
    inlines = [OpeningInline, DayInline]
    readonly_fields = ["counter_codes"]
    fieldsets = [
        (None, {"fields": ["name", "description", "stores", ("is_active", "position")]}),
        (
            _("Times and rules"),
            {
                "fields": [
                    ("minutes", "capacity"),
                    ("days_ahead", "cancel_hours"),
                    ("max_open", "takes_walk_ins"),
                ]
            },
        ),
        (_("Codes for the counter"), {"fields": ["counter_codes"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BookableService]:
        return super().get_queryset(request).prefetch_related("stores")

    @admin.display(description=_("stores"))
    def store_names(self, service: BookableService) -> str:
        return "、".join(store.name for store in service.stores.all()) or "–"

    @admin.display(description=_("calendar"))
    def calendar(self, service: BookableService) -> SafeString:
        address = reverse("admin:shop_bookingslot_changelist")
        return format_html(
            '<a href="{}?service__id__exact={}&days=7">{}</a>', address, service.pk, _("Calendar")
        )

    @admin.display(description=_("take a number"))
    def counter_codes(self, service: BookableService) -> SafeString:
        """The QR code that stands on each store's counter; scanned, it opens the store's queue."""
        if service.pk is None:
            return SafeString("–")
        rows = []
        for store in service.stores.all():
            address = f"{settings.PUBLIC_URL}{reverse('shop:queueing_store', args=[store.code])}"
            picture = segno.make(address, error="m").svg_data_uri(scale=4, border=2)
            rows.append((picture, store.name, address, store.name))
        return format_html(
            '<div style="display:flex;flex-wrap:wrap;gap:16px">{}</div>',
            format_html_join(
                "",
                '<figure style="margin:0;text-align:center"><img src="{}" alt="{}" width="140" height="140" '
                'style="background:#fff"><figcaption><a href="{}">{}</a></figcaption></figure>',
                rows,
            ),
        )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        count = services.plan_slots(service_id=form.instance.pk)
        messages.info(request, _("%(count)d slots are offered from now on.") % {"count": count})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its bookings are history; switch it off instead


class DaysFilter(admin.SimpleListFilter):
    """Which days of the calendar."""

    title = _("days")
    parameter_name = "days"
    column = "starts_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("today", _("today")),
            ("tomorrow", _("tomorrow")),
            ("7", _("the next 7 days")),
            ("past", _("before today")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start = clock.day_start(clock.today())
        spans = {
            "today": (start, start + timedelta(days=1)),
            "tomorrow": (start + timedelta(days=1), start + timedelta(days=2)),
            "7": (start, start + timedelta(days=7)),
        }
        if self.value() == "past":
            return queryset.filter(**{f"{self.column}__lt": start})
        if self.value() not in spans:
            return queryset
        begin, end = spans[str(self.value())]
        return queryset.filter(**{f"{self.column}__gte": begin, f"{self.column}__lt": end})


class SlotDaysFilter(DaysFilter):
    column = "slot__starts_at"


class RoomFilter(admin.SimpleListFilter):
    title = _("places")
    parameter_name = "room"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("free", _("places left")), ("full", _("full")), ("booked", _("with bookings"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[BookingSlot]) -> QuerySet[BookingSlot]:
        match self.value():
            case "free":
                return queryset.filter(taken__lt=F("capacity"), is_planned=True, is_closed=False)
            case "full":
                return queryset.filter(taken__gte=F("capacity"))
            case "booked":
                return queryset.filter(taken__gt=0)
        return queryset


class PlacesForm(BaseDialogForm):
    capacity = forms.IntegerField(
        label=_("places"), min_value=0, max_value=500, widget=UnfoldAdminIntegerFieldWidget()
    )
    is_closed = forms.BooleanField(
        label=_("closed for new bookings"), required=False, widget=UnfoldBooleanSwitchWidget()
    )


class SlotBookings(TabularInline):
    model = Booking
    fields = readonly_fields = ["code", "member", "state", "note", "booked_at"]
    extra = 0
    can_delete = False
    show_change_link = True
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Booking]:
        return super().get_queryset(request).select_related("member").order_by("pk")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(BookingSlot)
class BookingSlotAdmin(ReadOnlyAdmin):
    """The calendar: one line per slot, in the order of time."""

    list_display = ["when", "service", "store", "filling", "arrived_count", "state"]
    list_filter = [DaysFilter, RoomFilter, "service", "store"]
    ordering = ["starts_at", "service_id", "store_id"]
    paginator = InfinitePaginator
    inlines = [SlotBookings]
    fields = [("service", "store"), ("starts_at", "ends_at"), ("capacity", "taken"), "state_words"]
    readonly_fields = ["state_words"]
    actions_detail = ["places"]
    actions_row = ["places"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BookingSlot]:
        return queries.slots_with_bookings()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The calendar opens at today; old days are one filter away."""
        if not request.GET:
            return HttpResponseRedirect(f"{request.path}?days=7")
        return super().changelist_view(request, extra_context)

    @display(description=_("time"), header=True, ordering="starts_at")
    def when(self, slot: BookingSlot) -> list[str]:
        start, end = clock.local(slot.starts_at), clock.local(slot.ends_at)
        weekday = ServiceOpening.WEEKDAYS[start.weekday()][1]
        return [f"{start:%m-%d} {weekday}", f"{start:%H:%M}–{end:%H:%M}"]

    @admin.display(description=_("taken"), ordering="taken")
    def filling(self, slot: BookingSlot) -> SafeString:
        share = round(100 * slot.taken / slot.capacity) if slot.capacity else 100
        return format_html(
            '<span class="pond-nowrap"><span class="pond-progress" role="progressbar" aria-valuemin="0" '
            'aria-valuemax="100" aria-valuenow="{share}"><span class="pond-progress-fill" '
            'style="width:{share}%"></span></span> {taken}/{capacity}</span>',
            share=min(share, 100),
            taken=slot.taken,
            capacity=slot.capacity,
        )

    @admin.display(description=_("guests arrived"))
    def arrived_count(self, slot: Any) -> int:
        return int(slot.arrived)

    @display(
        description=_("state"),
        label={"free": "success", "full": "warning", "closed": "danger", "over": "default"},
    )
    def state(self, slot: BookingSlot) -> tuple[str, str]:
        if slot.starts_at <= clock.now():
            return "over", str(_("over"))
        if slot.is_closed or not slot.is_planned:
            return "closed", str(_("closed"))
        return ("free", str(_("free"))) if slot.left > 0 else ("full", str(_("full")))

    @admin.display(description=_("state"))
    def state_words(self, slot: BookingSlot) -> str:
        return self.state(slot)[1]

    def has_places_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_bookingslot"))

    @action(
        description=_("Change places"),
        url_path="places",
        icon="edit_calendar",
        permissions=["places"],
        dialog={
            "title": _("Change the places of this slot"),
            "description": _("Bookings that exist stay; fewer places than they take are refused."),
            "form_class": PlacesForm,
            "form_submit_text": _("Change places"),
        },
    )
    def places(self, request: HttpRequest, form: PlacesForm, object_id: str) -> HttpResponse:
        with said(request):
            slot = services.change_slot(
                slot_id=int(object_id),
                capacity=form.cleaned_data["capacity"],
                is_closed=form.cleaned_data["is_closed"],
            )
            messages.success(
                request,
                _("%(taken)d of %(capacity)d places are taken.")
                % {"taken": slot.taken, "capacity": slot.capacity},
            )
        return self.to_page(object_id)


class ReminderInline(TabularInline):
    model = BookingReminder
    fields = readonly_fields = ["kind", "due_at", "done_at", "outcome"]
    extra = 0
    can_delete = False
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CancelForm(BaseDialogForm):
    reason = forms.CharField(label=_("reason"), max_length=200, widget=UnfoldAdminTextInputWidget())


@admin.register(Booking)
class BookingAdmin(ReadOnlyAdmin):
    empty_hint = _("Bookings appear here when members choose a time of a bookable service.")
    list_display = ["code", "member", "service", "store", "when", "state_shown", "booked_at"]
    list_filter = ["state", SlotDaysFilter, "slot__service", "slot__store"]
    list_select_related = ["member", "slot__service", "slot__store"]
    search_fields = ["code", "member__name"]
    search_help_text = _("Booking code or member's name")
    ordering = ["-slot__starts_at", "-pk"]
    paginator = InfinitePaginator
    inlines = [ReminderInline]
    fields = [
        ("code", "state"),
        ("member", "service"),
        ("store", "when"),
        "note",
        ("booked_at", "checked_in_at"),
        ("ended_at", "done_by"),
        "reason",
    ]
    readonly_fields = ["service", "store", "when", "done_by"]
    actions = ["mark_not_come"]
    actions_detail = ["arrive", "cancel"]
    done_by = actor_label

    def get_queryset(self, request: HttpRequest) -> QuerySet[Booking]:
        return super().get_queryset(request).select_related("member", "slot__service", "slot__store")

    @admin.display(description=_("service"))
    def service(self, booking: Booking) -> str:
        return booking.slot.service.name

    @admin.display(description=_("store"))
    def store(self, booking: Booking) -> str:
        return booking.slot.store.name

    @admin.display(description=_("time"), ordering="slot__starts_at")
    def when(self, booking: Booking) -> str:
        return f"{clock.local(booking.slot.starts_at):%Y-%m-%d %H:%M}"

    @display(description=_("state"), label=LABELS, ordering="state")
    def state_shown(self, booking: Booking) -> tuple[str, str]:
        return booking.state, booking.get_state_display()

    def _is_open(self, request: HttpRequest, object_id: Any) -> bool:
        return bool(
            request.user.has_perm("shop.change_booking")
            and str(object_id).isdecimal()
            and Booking.objects.filter(pk=object_id, state=Booking.BOOKED).exists()
        )

    def has_cancel_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is_open(request, object_id)

    def has_arrive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is_open(request, object_id)

    def has_settle_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.change_booking"))

    @action(
        description=_("Check in"),
        url_path="arrive",
        icon="how_to_reg",
        permissions=["arrive"],
        dialog={
            "title": _("Check this booking in?"),
            "description": _("The member gets a number in today's queue."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Check in"),
        },
    )
    def arrive(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        booking = Booking.objects.select_related("slot").get(pk=object_id)
        with said(request):
            ticket = services.check_in(code=booking.code, store_id=booking.slot.store_id, by=who(request))
            messages.success(request, _("Checked in with number %(number)s.") % {"number": ticket.label})
        return self.to_page(object_id)

    @action(
        description=_("Cancel booking"),
        url_path="cancel",
        icon="event_busy",
        permissions=["cancel"],
        dialog={
            "title": _("Cancel this booking?"),
            "description": _("The place is free again at once. Please tell the member why."),
            "form_class": CancelForm,
            "form_submit_text": _("Cancel booking"),
        },
    )
    def cancel(self, request: HttpRequest, form: CancelForm, object_id: str) -> HttpResponse:
        with said(request):
            services.cancel_booking(
                booking_id=int(object_id), by=who(request), reason=form.cleaned_data["reason"]
            )
            messages.success(request, _("The booking is cancelled."))
        return self.to_page(object_id)

    @admin.action(description=_("Mark as did not come"), permissions=["settle"])
    @asks_first(_("They count as not come, and their members see it. This cannot be undone."))
    def mark_not_come(self, request: HttpRequest, queryset: QuerySet[Booking]) -> None:
        over = queryset.filter(slot__starts_at__lt=clock.now(), state=Booking.BOOKED)
        count = sum(
            services.mark_no_show(booking_id=pk, by=who(request))
            for pk in list(over.values_list("pk", flat=True))
        )
        messages.success(request, _("%(count)d bookings marked.") % {"count": count})
