"""Parcels with what is known of their way; the staff add what happened, or have the carrier asked again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import ReadOnlyAdmin
from shop import logistics, queries, services
from shop.admin.fields import actor_label, said, who
from shop.admin.orders import FactInline
from shop.models import Shipment, TrackingEvent

LABELS = {
    logistics.SENT: "default",
    logistics.COLLECTED: "info",
    logistics.TRANSIT: "info",
    logistics.DELIVERING: "primary",
    logistics.PICKED: "success",
    logistics.PROBLEM: "danger",
    logistics.RETURNED: "warning",
}


class StepForm(BaseDialogForm):
    state = forms.ChoiceField(
        label=_("what happened"), choices=logistics.STATES, widget=UnfoldAdminSelectWidget()
    )
    text = forms.CharField(
        label=_("in words (optional)"), max_length=300, required=False, widget=UnfoldAdminTextInputWidget()
    )


class EventInline(FactInline):
    model = TrackingEvent
    tab = False
    fields = readonly_fields = ["at", "state", "text", "source", "done_by"]
    done_by = actor_label


@admin.register(Shipment)
class ShipmentAdmin(ReadOnlyAdmin):
    empty_hint = _("Parcels appear here when orders are sent from the fulfilments.")
    list_display = ["tracking_number", "carrier", "order", "where", "shipped_at", "signed_at", "done_by"]
    list_filter = ["state", "carrier"]
    list_select_related = ["order"]
    search_fields = ["tracking_number", "order__number"]
    ordering = ["-shipped_at", "-pk"]
    paginator = InfinitePaginator
    inlines = [EventInline]
    readonly_fields = ["done_by", "together"]
    done_by = actor_label
    fields = [
        ("tracking_number", "carrier"),
        ("order", "done_by"),
        "together",
        ("state", "shipped_at"),
        ("signed_at", "next_ask_at"),
        "last_answer",
    ]
    actions = ["ask_again"]
    actions_detail = ["type_step"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Shipment], search_term: str
    ) -> tuple[QuerySet[Shipment], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(tracking_number=term) | Q(order__number=term)), False

    @display(description=_("state"), label=LABELS, ordering="state")
    def where(self, shipment: Shipment) -> tuple[str, str]:
        return shipment.state, shipment.get_state_display()

    @admin.display(description=_("also in this parcel"))
    def together(self, shipment: Shipment) -> str:
        """The other orders that travel in it."""
        rows = (
            (reverse("admin:shop_order_change", args=[pk]), number)
            for pk, number in queries.orders_beside(shipment)
        )
        return format_html_join("、", '<a href="{}">{}</a>', rows) or "–"

    def has_note_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_shipment"))

    @action(
        description=_("Note what happened"),
        url_path="step",
        icon="edit_location_alt",
        permissions=["note"],
        dialog={
            "title": _("What happened to this parcel?"),
            "description": _("The shopper sees it on her tracking page."),
            "form_class": StepForm,
            "form_submit_text": _("Note it"),
        },
    )
    def type_step(self, request: HttpRequest, form: StepForm, object_id: str) -> HttpResponse:
        with said(request):
            services.type_step(
                shipment_id=int(object_id),
                state=form.cleaned_data["state"],
                text=form.cleaned_data["text"],
                by=who(request),
            )
            messages.success(request, _("Noted."))
        return self.to_page(object_id)

    @admin.action(description=_("Ask the carrier again now"), permissions=["note"])
    def ask_again(self, request: HttpRequest, queryset: QuerySet[Shipment]) -> None:
        count = services.ask_again(shipment_ids=list(queryset.values_list("pk", flat=True)))
        messages.success(
            request,
            ngettext("%(count)d parcel is asked about.", "%(count)d parcels are asked about.", count)
            % {"count": count},
        )
