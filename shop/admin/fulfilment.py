"""What the stores have to hand over, and what runs low: looked at by operators and by each store's own people."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from core.admin import ReadOnlyAdmin
from core.secrets import masked_phone
from crm import queries as crm_queries
from shop import queries, services
from shop.admin.fields import actor_label, said, who
from shop.admin.fulfilment_together import TogetherActions, TogetherFilter
from shop.admin.orders import ShipForm
from shop.admin.stock import StockAdmin
from shop.errors import UnknownGuest
from shop.models import Fulfilment, LowStock, Stock
from shop.queries.rest import own_store_of
from shop.services.stock import WAREHOUSE

LABELS = {
    "waiting": "warning",
    "ready": "primary",
    "shipped": "info",
    "handed_over": "success",
    "cancelled": "default",
}


def store_choices() -> list[tuple[str, str]]:
    """The stores that send online orders, after "as routing decides"."""
    senders = crm_queries.stores().filter(Q(ships_online=True) | Q(code=WAREHOUSE)).order_by("name")
    return [("", str(_("as routing decides"))), *((str(store.pk), store.name) for store in senders)]


class RerouteForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("reason"),
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("For colleagues: missing on the shelf, damaged, closed today."),
    )
    store = forms.ChoiceField(
        label=_("from which store"), choices=store_choices, required=False, widget=UnfoldAdminSelectWidget()
    )


@admin.register(Fulfilment)
class FulfilmentAdmin(TogetherActions):
    empty_hint = _("Paid orders appear here, each at the store that hands its goods over.")
    list_display = ["number", "store", "kind", "status", "buyer", "goods", "together", "created_at"]
    list_filter = ["state", "kind", TogetherFilter, "store"]
    search_fields = ["order__number"]
    search_help_text = _("Order number, pickup code, or the last four digits of the phone")
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = [
        ("order_link", "store"),
        ("kind", "status_text"),
        ("buyer", "reason"),
        "goods_list",
        "together_list",
        ("created_at", "ready_at", "due_at"),
        ("done_at", "done_by"),
    ]
    readonly_fields = ["order_link", "status_text", "buyer", "goods_list", "together_list", "done_by"]
    actions_detail = ["ship", "ship_with", "ready", "reroute"]
    done_by = actor_label

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fulfilment]:
        return queries.with_companions(queries.fulfilments_for(request.user))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Fulfilment], search_term: str
    ) -> tuple[QuerySet[Fulfilment], bool]:
        term = "".join(search_term.split())
        if not term:
            return queryset, False
        if term.isdecimal() and len(term) == 4:
            return queryset.filter(order__phone__endswith=term), False
        if term.isdecimal() and len(term) == 8:
            return queryset.filter(code=term), False
        return queryset.filter(order__number=term), False

    @admin.display(description=_("order number"), ordering="order_id")
    def number(self, part: Fulfilment) -> str:
        return part.order.number

    @admin.display(description=_("order"))
    def order_link(self, part: Fulfilment) -> str:
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:shop_order_change", args=[part.order_id]), part.order.number
        )

    @display(description=_("status"), label=LABELS, ordering="state")
    def status(self, part: Fulfilment) -> tuple[str, str]:
        return part.state, part.get_state_display()

    @admin.display(description=_("status"))
    def status_text(self, row: Fulfilment) -> str:
        return row.get_state_display()

    @admin.display(description=_("buyer"))
    def buyer(self, part: Fulfilment) -> str:
        return f"{part.order.receiver} {masked_phone(part.order.phone) if part.order.phone else ''}".strip()

    @admin.display(description=_("goods"))
    def goods(self, part: Fulfilment) -> str:
        lines = queries.lines_of(part)
        if not lines:
            return "–"
        pieces = sum(line.quantity - line.refunded_quantity for line in lines)
        return _("%(name)s, %(count)d pieces") % {
            "name": lines[0].product_name,
            "count": pieces,
        }

    @admin.display(description=_("goods"))
    def goods_list(self, part: Fulfilment) -> str:
        return format_html_join(
            "",
            "<div>{} {} <code>{}</code> × {}</div>",
            (
                (line.product_name, line.sku_name, line.sku.code, line.quantity - line.refunded_quantity)
                for line in queries.lines_of(part)
            ),
        )

    def has_ship_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is_open(request, object_id, Fulfilment.SHIP, Fulfilment.WAITING)

    def has_ready_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is_open(request, object_id, Fulfilment.PICKUP, Fulfilment.WAITING)

    def _is_open(self, request: HttpRequest, object_id: Any, kind: str, state: str) -> bool:
        if not request.user.has_perm("shop.change_order") or not str(object_id).isdecimal():
            return False
        known = request.__dict__.setdefault("_shop_part", {})
        if object_id not in known:
            known[object_id] = (
                self.get_queryset(request).filter(pk=object_id).values_list("kind", "state").first()
            )
        return bool(known[object_id] == (kind, state))

    @action(
        description=_("Ship from this store"),
        url_path="ship",
        icon="local_shipping",
        permissions=["ship"],
        dialog={
            "title": _("Ship this store's part"),
            "description": _(
                "The goods leave this store's shelf. The order is shipped when every store has sent its part."
            ),
            "form_class": ShipForm,
            "form_submit_text": _("Ship"),
        },
    )
    def ship(self, request: HttpRequest, form: ShipForm, object_id: str) -> HttpResponse:
        part = self.get_queryset(request).get(pk=object_id)
        with said(request):
            shipment = services.ship_order(
                order_id=part.order_id,
                store_id=part.store_id,
                carrier=form.cleaned_data["carrier"],
                tracking_number=form.cleaned_data["tracking_number"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("Shipped with %(parcel)s.") % {"parcel": shipment})
        return self.to_page(object_id)

    @action(
        description=_("Lies ready"),
        url_path="ready",
        icon="inventory",
        permissions=["ready"],
        dialog={
            "title": _("Is everything at the counter?"),
            "description": _("The shopper is told that she may come."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Lies ready"),
        },
    )
    def ready(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        part = self.get_queryset(request).get(pk=object_id)
        with said(request):
            services.mark_ready(fulfilment_id=part.pk, by=who(request), user_id=request.user.pk)
            messages.success(request, _("It lies ready."))
        return self.to_page(object_id)

    def has_reroute_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is_open(request, object_id, Fulfilment.SHIP, Fulfilment.WAITING)

    @action(
        description=_("Cannot serve it"),
        url_path="reroute",
        icon="alt_route",
        permissions=["reroute"],
        dialog={
            "title": _("Let another store serve it"),
            "description": _(
                "The pieces are kept for the shopper in the store that has them; this store's are free again. What no "
                "other store has stays here: then agree with the shopper, or refund it."
            ),
            "form_class": RerouteForm,
            "form_submit_text": _("Hand it on"),
        },
    )
    def reroute(self, request: HttpRequest, form: RerouteForm, object_id: str) -> HttpResponse:
        part = self.get_queryset(request).get(pk=object_id)
        with said(request):
            served = services.reroute_fulfilment(
                fulfilment_id=part.pk,
                reason=form.cleaned_data["reason"],
                store_id=int(form.cleaned_data["store"] or 0) or None,
                by=who(request),
                user_id=request.user.pk,
            )
            stores = "、".join(one.store.name for one in served)
            messages.success(request, _("It comes from: %(stores)s.") % {"stores": stores})
        return self.to_page(object_id)


class SafetyForm(BaseDialogForm):
    safety = forms.IntegerField(
        label=_("safety stock"),
        min_value=0,
        max_value=1_000_000,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("Empty: as the store says."),
    )


class GuestForm(BaseDialogForm):
    """For whom, and how many. A member is named by her confirmed phone, or by her number (#42)."""

    guest = forms.CharField(
        label=_("member: phone or number"), max_length=20, widget=UnfoldAdminTextInputWidget()
    )
    quantity = forms.IntegerField(
        label=_("pieces"), min_value=1, max_value=99, initial=1, widget=UnfoldAdminIntegerFieldWidget()
    )

    def clean_guest(self) -> int:
        try:
            return services.guest_named(self.cleaned_data["guest"])
        except UnknownGuest as unknown:
            raise forms.ValidationError(unknown.message) from unknown


class StockActions(StockAdmin):
    """What a store's people do with one SKU beside counting it."""

    list_display = [*StockAdmin.list_display, "kept_back"]
    actions_detail = ["adjust", "safety", "elsewhere"]
    fields = [("goods_text", "code"), "store", ("on_hand", "reserved"), ("available_count", "kept_back")]
    readonly_fields = [*StockAdmin.readonly_fields, "kept_back"]

    @admin.display(description=_("safety stock"))
    def kept_back(self, stock: Stock) -> int:
        return stock.store.safety_stock if stock.safety is None else stock.safety

    def has_safety_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_stock"))

    def has_elsewhere_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_order"))

    @action(
        description=_("Safety stock"),
        url_path="safety",
        icon="shield",
        permissions=["safety"],
        dialog={
            "title": _("Safety stock"),
            "description": _(
                "So many pieces are not sold online, and the list of low stock names it when no more is available."
            ),
            "form_class": SafetyForm,
            "form_submit_text": _("Save"),
        },
    )
    def safety(self, request: HttpRequest, form: SafetyForm, object_id: str) -> HttpResponse:
        stock = get_object_or_404(self.get_queryset(request), pk=object_id)
        with said(request):
            services.set_safety_stock(stock_id=stock.pk, safety=form.cleaned_data["safety"])
            messages.success(request, _("The safety stock is noted."))
        return self.to_page(object_id)

    @action(
        description=_("Order for a member"),
        url_path="elsewhere",
        icon="person_add",
        permissions=["elsewhere"],
        dialog={
            "title": _("Order this for a member"),
            "description": _(
                "Whatever store has it sends it. It lies in her cart, so that she only confirms and pays."
            ),
            "form_class": GuestForm,
            "form_submit_text": _("Put it into her cart"),
        },
    )
    def elsewhere(self, request: HttpRequest, form: GuestForm, object_id: str) -> HttpResponse:
        stock = get_object_or_404(self.get_queryset(request), pk=object_id)
        with said(request):
            served = services.order_elsewhere(
                member_id=form.cleaned_data["guest"],
                sku_id=stock.sku_id,
                quantity=form.cleaned_data["quantity"],
                by=who(request),
            )
            stores = dict(crm_queries.stores().values_list("pk", "name"))
            names = "、".join(f"{stores.get(part.store_id, '?')} ×{part.quantity}" for part in served)
            messages.success(
                request, _("It lies in her cart; it will come from: %(stores)s.") % {"stores": names}
            )
        return self.to_page(object_id)


admin.site.unregister(Stock)
admin.site.register(Stock, StockActions)


@admin.register(LowStock)
class LowStockAdmin(ReadOnlyAdmin):
    """What should be ordered or brought from another store: no more available than the safety stock."""

    empty_hint = _("No SKU is below its safety stock.")

    list_display = ["goods", "code", "store", "available_count", "kept_back", "in_other_stores"]
    list_filter = ["store"]
    search_fields = ["sku__code", "sku__product__name"]
    ordering = ["store_id", "sku__product_id", "pk"]
    list_display_links = ["goods"]
    paginator = InfinitePaginator

    def get_queryset(self, request: HttpRequest) -> QuerySet[LowStock]:
        rows = queries.low_stocks(own_store_of(request.user))
        return rows

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("shop.view_stock"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("admin:shop_stock_change", object_id)

    @display(description=_("product"), header=True)
    def goods(self, stock: Stock) -> list[str]:
        return [stock.sku.product.name, stock.sku.name]

    @admin.display(description=_("SKU code"), ordering="sku__code")
    def code(self, stock: Stock) -> str:
        return stock.sku.code

    @admin.display(description=_("available"))
    def available_count(self, stock: Stock) -> int:
        return stock.available

    @admin.display(description=_("safety stock"))
    def kept_back(self, stock: Any) -> int:
        return int(stock.kept_back)

    @admin.display(description=_("available in other stores"))
    def in_other_stores(self, stock: Any) -> int:
        return int(stock.in_other_stores)
