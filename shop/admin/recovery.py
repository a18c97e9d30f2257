"""The rules of service, and the reminders that were sent or not."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from core.admin import BaseAdmin, ReadOnlyAdmin
from crm import queries as crm_queries
from shop.models import PaymentReminder, ServiceRules
from wechat import queries as wechat_queries


@admin.register(ServiceRules)
class ServiceRulesAdmin(BaseAdmin):
    fieldsets = [
        (_("Unpaid orders"), {"fields": [("reminds", "remind_minutes")]}),
        (_("Promises at checkout"), {"fields": ["guarantees"]}),
        (_("After the parcel was signed for"), {"fields": [("when_signed", "received_days")]}),
        (_("Pickups"), {"fields": [("pickup_days", "when_uncollected")]}),
        (_("Vouchers"), {"fields": ["voucher_days"]}),
    ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row: the list is its page."""
        ServiceRules.objects.get_or_create(pk=1)
        return HttpResponseRedirect(reverse("admin:shop_servicerules_change", args=[1]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(PaymentReminder)
class PaymentReminderAdmin(ReadOnlyAdmin):
    empty_hint = _("Who orders and does not pay is reminded once, within the touch policy.")
    list_display = ["at", "order", "outcome", "way", "why", "paid_after"]
    list_filter = ["state", ("at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["order"]
    search_fields = ["=order__number"]
    ordering = ["-at", "-pk"]
    paginator = InfinitePaginator
    fields = ["order", "at", "state", "way", "why", "paid_after"]
    readonly_fields = ["way", "why", "paid_after"]

    @display(description=_("state"), label={"sent": "success", "skipped": "warning"})
    def outcome(self, row: PaymentReminder) -> tuple[str, str]:
        return row.state, row.get_state_display()

    @display(description=_("channel"))
    def way(self, row: PaymentReminder) -> str:
        return wechat_queries.channel_label(row.channel) if row.channel else "–"

    @display(description=_("why not"))
    def why(self, row: PaymentReminder) -> str:
        if row.reason == "no_way":
            return str(_("no template accepted and no open chat"))
        return crm_queries.reason_label(row.reason) if row.reason else "–"

    @display(description=_("paid afterwards"), boolean=True)
    def paid_after(self, row: PaymentReminder) -> bool:
        return row.order.paid_at is not None and row.order.paid_at > row.at
