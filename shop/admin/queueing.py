"""Queue numbers as facts; they are called on the clerks' phones."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from core.admin import ReadOnlyAdmin
from shop.admin.booking import LABELS
from shop.admin.fields import actor_label
from shop.models import QueueTicket


@admin.register(QueueTicket)
class QueueTicketAdmin(ReadOnlyAdmin):
    empty_hint = _("Numbers appear here when members check in or take one in a store.")
    list_display = [
        *("number_shown", "service", "store", "day", "guest_shown", "state_shown"),
        *("taken_at", "called_at", "waited", "done_by"),
    ]
    list_filter = ["state", "is_booked", "queue__service", "queue__store"]
    list_select_related = ["queue__service", "queue__store", "member"]
    search_fields = ["member__name", "guest"]
    search_help_text = _("Member's or guest's name")
    ordering = ["-taken_at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        ("number_shown", "state"),
        ("service", "store"),
        ("member", "guest"),
        "booking",
        ("taken_at", "notified_at"),
        ("called_at", "calls"),
        ("ended_at", "done_by"),
    ]
    readonly_fields = ["number_shown", "service", "store", "done_by"]
    done_by = actor_label

    def get_queryset(self, request: HttpRequest) -> QuerySet[QueueTicket]:
        rows = super().get_queryset(request)
        return rows.select_related("queue__service", "queue__store", "member", "booking")

    @admin.display(description=_("number"), ordering="number")
    def number_shown(self, ticket: QueueTicket) -> str:
        return ticket.label

    @admin.display(description=_("service"))
    def service(self, ticket: QueueTicket) -> str:
        return ticket.queue.service.name

    @admin.display(description=_("store"))
    def store(self, ticket: QueueTicket) -> str:
        return ticket.queue.store.name

    @admin.display(description=_("day"), ordering="queue__day")
    def day(self, ticket: QueueTicket) -> str:
        return f"{ticket.queue.day:%Y-%m-%d}"

    @admin.display(description=_("guest"))
    def guest_shown(self, ticket: QueueTicket) -> str:
        return str(ticket.member or ticket.guest)

    @display(description=_("state"), label=LABELS, ordering="state")
    def state_shown(self, ticket: QueueTicket) -> tuple[str, str]:
        return ticket.state, ticket.get_state_display()

    @admin.display(description=_("waited"))
    def waited(self, ticket: QueueTicket) -> str:
        if ticket.called_at is None:
            return "–"
        minutes = int((ticket.called_at - ticket.taken_at).total_seconds() // 60)
        return str(_("%(minutes)d min") % {"minutes": minutes})
