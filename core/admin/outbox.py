"""Events and their deliveries: what was announced, who has not got it yet and why, and Retry."""

import json

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display

from core import events
from core.admin.base import ReadOnlyAdmin
from core.models import EventDelivery


@admin.register(EventDelivery)
class EventDeliveryAdmin(ReadOnlyAdmin):
    list_display = ["about", "listener", "state", "attempts", "next_attempt_at", "error_line"]
    list_filter = ["status", "queue"]
    list_select_related = ["event"]
    search_fields = ["event__key", "event__name", "handler"]
    search_help_text = _("What it is about (order:42), event or handler")
    ordering = ["-pk"]
    actions = ["retry"]
    fields = [
        "event",
        "content",
        "handler",
        "queue",
        "status",
        "attempts",
        "next_attempt_at",
        "done_at",
        "last_error",
    ]

    @display(description=_("event"))
    def about(self, delivery: EventDelivery) -> str:
        return str(delivery.event)

    @display(description=_("handler"), ordering="handler")
    def listener(self, delivery: EventDelivery) -> str:
        """ "crm.subscriptions.on_paid" → "crm · on_paid"."""
        return f"{delivery.handler.split('.')[0]} · {delivery.handler.rsplit('.', 1)[-1]}"

    @display(
        description=_("status"),
        ordering="status",
        label={EventDelivery.PENDING: "info", EventDelivery.DONE: "success", EventDelivery.DEAD: "danger"},
    )
    def state(self, delivery: EventDelivery) -> tuple[str, str]:
        return delivery.status, delivery.get_status_display()

    @display(description=_("last error"))
    def error_line(self, delivery: EventDelivery) -> str:
        return delivery.last_error[:80]

    @display(description=_("payload"))
    def content(self, delivery: EventDelivery) -> SafeString:
        text = json.dumps(delivery.event.payload, ensure_ascii=False, indent=2)
        return format_html("<pre>{}</pre>", text)

    @admin.action(description=_("Retry"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> None:
        count = events.retry(delivery_ids=list(queryset.values_list("pk", flat=True)))
        message = ngettext(
            "%(count)d delivery will be tried again.", "%(count)d deliveries will be tried again.", count
        )
        self.message_user(
            request, message % {"count": count}, messages.SUCCESS if count else messages.WARNING
        )

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("core.change_eventdelivery"))
