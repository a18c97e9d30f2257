"""Recipients of broadcasts: who, how, what became of it, and why not."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from campaigns.models import BroadcastRecipient
from campaigns.queries import reason_label
from core import clock
from core.admin import ReadOnlyAdmin
from wechat import queries as wechat_queries

STATUS_COLOURS = {"planned": "info", "skipped": "default", "released": "success", "cancelled": "danger"}
OUTCOME_COLOURS = {
    "pending": "info",
    "held": "warning",
    "sending": "info",
    "sent": "success",
    "failed": "danger",
    "unknown": "warning",
    "cancelled": "default",
    "": "default",
}


class ReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = BroadcastRecipient.objects.exclude(reason="")
        if broadcast := request.GET.get("broadcast__id__exact", ""):
            rows = rows.filter(broadcast_id=int(broadcast)) if broadcast.isdigit() else rows.none()
        codes = rows.order_by("reason").values_list("reason", flat=True).distinct()
        return [(code, reason_label(code)) for code in codes]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(BroadcastRecipient)
class BroadcastRecipientAdmin(ReadOnlyAdmin):
    list_display = ["member_link", "broadcast_link", "state", "channel", "why", "outcome", "times"]
    list_filter = ["status", ReasonFilter, "channel"]
    list_select_related = ["member", "broadcast"]
    search_fields = ["member__name"]
    search_help_text = _("Search by the member's name")
    ordering = ["-broadcast_id", "id"]
    list_per_page = 50
    fields = ["broadcast", "member", "status", "channel", "why", "not_before", "released_at", "opened_at"]
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in ("broadcast__id__exact", "member__id__exact") or super().lookup_allowed(
            lookup, value, request
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        by_origin: dict[str, list[int]] = {}
        for row in rows:
            row.message = None
            if row.status == BroadcastRecipient.RELEASED:
                by_origin.setdefault(row.broadcast.origin, []).append(row.pk)
        for origin, ids in list(by_origin.items())[:5]:
            messages = {message.origin_id: message for message in wechat_queries.outbound_for(origin, ids)}
            for row in rows:
                row.message = messages.get(row.pk, row.message)
        changelist.result_list = rows
        return changelist

    @display(description=_("member"))
    def member_link(self, row: BroadcastRecipient) -> str:
        return format_html(
            '<a class="pd-link" href="{}">{}</a>',
            reverse("admin:crm_member_change", args=[row.member_id]),
            row.member,
        )

    @display(description=_("broadcast"))
    def broadcast_link(self, row: BroadcastRecipient) -> str:
        return format_html(
            '<a class="pd-link" href="{}">{}</a>',
            reverse("admin:campaigns_broadcast_change", args=[row.broadcast_id]),
            row.broadcast,
        )

    @display(description=_("status"), label=STATUS_COLOURS)
    def state(self, row: BroadcastRecipient) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description=_("reason"))
    def why(self, row: BroadcastRecipient) -> str:
        if row.status == BroadcastRecipient.PLANNED and row.not_before:
            return f"{reason_label(row.reason)} → {clock.local(row.not_before):%m-%d %H:%M}"
        return reason_label(row.reason) or "–"

    @display(description=_("outcome"), label=OUTCOME_COLOURS)
    def outcome(self, row: Any) -> tuple[str, str]:
        message = getattr(row, "message", None)
        if message is None:
            return "", "–"
        label = str(message.get_state_display())
        if message.state in ("failed", "unknown") and (message.reason or message.reason_code):
            label = f"{label}：{message.reason or message.reason_code}"
        return message.state, label

    @display(description=_("handed over / opened"))
    def times(self, row: BroadcastRecipient) -> str:
        if row.released_at is None:
            return "–"
        opened = f" / {clock.local(row.opened_at):%m-%d %H:%M}" if row.opened_at else ""
        return f"{clock.local(row.released_at):%m-%d %H:%M}{opened}"
