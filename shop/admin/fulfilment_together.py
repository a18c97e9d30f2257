"""Merged shipping in the admin: which parts could leave in one parcel, and the button that sends them so."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from core.admin import ReadOnlyAdmin
from shop import queries, services
from shop.admin.fields import said, who
from shop.admin.orders import ShipForm
from shop.models import Fulfilment


class TogetherForm(ShipForm):
    """Carrier and number as for one order, and which others go along."""

    others = forms.TypedMultipleChoiceField(
        label=_("in the same parcel"), coerce=int, widget=UnfoldAdminCheckboxSelectMultipleWidget()
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        part = queries.fulfilments_for(self.request.user).filter(pk=self.object_id or 0).first()
        found = queries.companions_of(part) if part else []
        field: Any = self.fields["others"]
        field.choices = [(one.pk, f"{one.order.number} · {goods_in_words(one)}") for one in found]
        self.initial |= {"others": [one.pk for one in found]}
        own = {"others": field, **self.fields}
        self.fields.clear()
        self.fields.update(own)


def goods_in_words(part: Fulfilment) -> str:
    """ "羊绒围巾 ×1、护手霜 ×2" """
    lines = queries.lines_of(part)
    return "、".join(f"{line.product_name} ×{line.quantity - line.refunded_quantity}" for line in lines[:4])


class TogetherFilter(admin.SimpleListFilter):
    title = _("merged shipping")
    parameter_name = "together"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("can be sent together"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=Fulfilment.WAITING, companions_count__gt=0) if self.value() else queryset


class TogetherActions(ReadOnlyAdmin):
    """For `FulfilmentAdmin`: its queryset has `companions_count`; the service judges again under lock."""

    @display(description=_("merged shipping"), label="primary")
    def together(self, part: Any) -> str | None:
        count = part.companions_count
        return (
            ngettext("with %(count)d more", "with %(count)d more", count) % {"count": count}
            if count
            else None
        )

    @admin.display(description=_("can be sent together with"))
    def together_list(self, part: Fulfilment) -> str:
        """Other parts for the same address that wait in this store as well."""
        rows = (
            (reverse("admin:shop_fulfilment_change", args=[one.pk]), one.order.number, goods_in_words(one))
            for one in queries.companions_of(part)
        )
        return format_html_join("", '<div><a href="{}">{}</a> {}</div>', rows) or "–"

    def has_ship_with_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("shop.change_order") or not str(object_id).isdecimal():
            return False
        known = request.__dict__.setdefault("_shop_companions", {})
        if object_id not in known:
            part = self.get_queryset(request).filter(pk=object_id).first()
            known[object_id] = bool(part and part.companions_count)
        return bool(known[object_id])

    @action(
        description=_("Ship together"),
        url_path="together",
        icon="merge",
        permissions=["ship_with"],
        dialog={
            "title": _("Send several orders in one parcel"),
            "description": _(
                "They go to the same address. All of them are shipped with this one number, and the buyer is told "
                "once. After-sales stay with each order."
            ),
            "form_class": TogetherForm,
            "form_submit_text": _("Ship together"),
        },
    )
    def ship_with(self, request: HttpRequest, form: TogetherForm, object_id: str) -> HttpResponse:
        mine = self.get_queryset(request)
        chosen = mine.filter(pk__in=[int(object_id), *form.cleaned_data["others"]])
        with said(request):
            shipment = services.ship_together(
                fulfilment_ids=list(chosen.values_list("pk", flat=True)),
                carrier=form.cleaned_data["carrier"],
                tracking_number=form.cleaned_data["tracking_number"],
                by=who(request),
                user_id=request.user.pk,
            )
            count = 1 + shipment.companions.count()
            messages.success(
                request,
                _("%(count)d orders left with %(parcel)s.") % {"count": count, "parcel": shipment},
            )
        return self.to_page(object_id)
