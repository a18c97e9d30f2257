"""Stock per SKU and store; changed only through the service, each time with a reason."""

import uuid
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django_htmx.http import HttpResponseClientRedirect
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import ReadOnlyAdmin, TabularInline
from crm import queries as crm_queries
from shop import services
from shop.admin.fields import actor_label, said, who
from shop.models import Sku, Stock, StockMovement
from shop.queries.rest import own_store_of

MOVEMENT_FIELDS = [
    *("moved_at", "reason", "on_hand_change", "reserved_change"),
    *("on_hand_after", "reserved_after", "done_by", "note"),
]


class AdjustForm(BaseDialogForm):
    """What was done with the goods, how many, and why. The token makes a double click one change."""

    KINDS = [
        ("receive", _("goods received: add")),
        ("return", _("returned by a customer: add")),
        ("remove", _("broken, lost or given away: take off")),
        ("count", _("counted: this many lie there")),
    ]
    kind = forms.ChoiceField(label=_("what"), choices=KINDS, widget=UnfoldAdminSelectWidget())
    quantity = forms.IntegerField(
        label=_("pieces"), min_value=0, max_value=1_000_000, widget=UnfoldAdminIntegerFieldWidget()
    )
    note = forms.CharField(label=_("why"), max_length=200, widget=UnfoldAdminTextInputWidget())
    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)


class FirstForm(BaseDialogForm):
    """Goods that come to a store for the first time. The token makes a double click one change."""

    sku = forms.CharField(label=_("SKU code"), max_length=64, widget=UnfoldAdminTextInputWidget())
    store: Any = forms.ModelChoiceField(
        label=_("store"), queryset=Stock.objects.none(), widget=UnfoldAdminSelectWidget()
    )
    quantity = forms.IntegerField(
        label=_("pieces"), min_value=1, max_value=1_000_000, widget=UnfoldAdminIntegerFieldWidget()
    )
    note = forms.CharField(label=_("why"), max_length=200, widget=UnfoldAdminTextInputWidget())
    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        services.warehouse_id()  # made when it is missing
        own = own_store_of(self.request.user)
        stores = crm_queries.stores().order_by("pk")
        cast(forms.ModelChoiceField, self.fields["store"]).queryset = stores.filter(pk=own) if own else stores
        self.fields["sku"].initial = self.request.GET.get("sku", "")[:64]

    def clean_sku(self) -> int:
        code = self.cleaned_data["sku"].strip()
        found = Sku.objects.filter(code=code).values_list("pk", flat=True).first()
        if found is None:
            raise forms.ValidationError(_("No such SKU: %(codes)s") % {"codes": code})
        return found


class RecentMovements(TabularInline):
    """The last twenty; all of them are one click away."""

    model = StockMovement
    fields = readonly_fields = MOVEMENT_FIELDS
    done_by = actor_label
    verbose_name_plural = _("latest movements")
    extra = 0
    can_delete = False
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockMovement]:
        stock_id = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        latest = StockMovement.objects.filter(stock_id=stock_id or 0).order_by("-pk").values("pk")[:20]
        return super().get_queryset(request).filter(pk__in=latest).order_by("-pk")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LowFilter(admin.SimpleListFilter):
    title = _("available")
    parameter_name = "left"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("none", _("sold out")), ("few", _("fewer than 10"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stock]) -> QuerySet[Stock]:
        match self.value():
            case "none":
                return queryset.filter(on_hand=F("reserved"))
            case "few":
                return queryset.filter(on_hand__gt=F("reserved"), on_hand__lt=F("reserved") + 10)
        return queryset


@admin.register(Stock)
class StockAdmin(ReadOnlyAdmin):
    list_display = ["goods", "code", "store", "on_hand", "reserved", "available_count"]
    list_filter = [LowFilter, "store"]
    list_select_related = ["sku__product", "store"]
    search_fields = ["sku__code", "sku__product__name"]
    search_help_text = _("SKU code or product name")
    ordering = ["sku__product_id", "sku__position", "pk"]
    fields = [("goods_text", "code"), "store", ("on_hand", "reserved"), "available_count"]
    readonly_fields = ["goods_text", "code", "available_count"]
    inlines = [RecentMovements]
    actions_list = ["first"]
    actions_detail = ["adjust"]
    actions_row = ["adjust"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stock]:
        """A store's own people see and change its shelves alone."""
        rows = super().get_queryset(request).select_related("sku__product", "store")
        store_id = own_store_of(request.user)
        return rows.filter(store_id=store_id) if store_id else rows

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [LowFilter] if own_store_of(request.user) else [*super().get_list_filter(request)]

    @display(description=_("product"), header=True)
    def goods(self, stock: Stock) -> list[str]:
        return [stock.sku.product.name, stock.sku.name]

    @admin.display(description=_("product"))
    def goods_text(self, stock: Stock) -> str:
        return f"{stock.sku.product.name} {stock.sku.name}".strip()

    @admin.display(description=_("SKU code"), ordering="sku__code")
    def code(self, stock: Stock) -> str:
        return stock.sku.code

    @admin.display(description=_("available"))
    def available_count(self, stock: Stock) -> int:
        return stock.available

    def has_adjust_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_stock"))

    @action(
        description=_("Goods received"),
        url_path="first",
        icon="add_box",
        permissions=["adjust"],
        dialog={
            "title": _("Goods received"),
            "description": _("Also for a SKU that this store never had: it appears in the list."),
            "form_class": FirstForm,
            "form_submit_text": _("Add to the stock"),
        },
    )
    def first(self, request: HttpRequest, form: FirstForm) -> HttpResponse:
        values = form.cleaned_data
        with said(request):
            stock = services.adjust_stock(
                sku_id=values["sku"],
                store_id=values["store"].pk,
                change=values["quantity"],
                reason=StockMovement.RECEIVE,
                note=values["note"],
                by=who(request),
                cause=f"admin:{values['token']}",
            )
            messages.success(
                request,
                _("Now %(on_hand)d on hand, %(reserved)d of them reserved.")
                % {"on_hand": stock.on_hand, "reserved": stock.reserved},
            )
            return self.to_page(stock.pk)
        return HttpResponseClientRedirect(reverse("admin:shop_stock_changelist"))

    @action(
        description=_("Change stock"),
        url_path="adjust",
        icon="edit",
        permissions=["adjust"],
        dialog={
            "title": _("Change stock"),
            "description": _("Each change is kept with your name and the reason."),
            "form_class": AdjustForm,
            "form_submit_text": _("Change stock"),
        },
    )
    def adjust(self, request: HttpRequest, form: AdjustForm, object_id: str) -> HttpResponse:
        stock = get_object_or_404(self.get_queryset(request), pk=object_id)
        values = form.cleaned_data
        common: dict[str, Any] = {
            "sku_id": stock.sku_id,
            "store_id": stock.store_id,
            "note": values["note"],
            "by": who(request),
            "cause": f"admin:{values['token']}",
        }
        with said(request):
            if values["kind"] == "count":
                changed = services.set_stock(on_hand=values["quantity"], **common)
            elif values["kind"] == "remove":
                changed = services.adjust_stock(change=-values["quantity"], **common)
            else:
                changed = services.adjust_stock(change=values["quantity"], reason=values["kind"], **common)
            messages.success(
                request,
                _("Now %(on_hand)d on hand, %(reserved)d of them reserved.")
                % {"on_hand": changed.on_hand, "reserved": changed.reserved},
            )
        return self.to_page(stock.pk)


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin):
    list_display = [
        *("moved_at", "goods", "store", "reason", "on_hand_change", "reserved_change"),
        *("on_hand_after", "reserved_after", "order", "done_by"),
    ]
    list_filter = ["reason", "stock__store"]
    list_select_related = ["stock__sku__product", "stock__store", "order"]
    search_fields = ["stock__sku__code", "order__number"]
    search_help_text = _("SKU code or order number")
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = ["moved_at", "goods_text", "store", *MOVEMENT_FIELDS[1:], "order"]
    readonly_fields = ["goods_text", "store", "done_by"]
    done_by = actor_label

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockMovement]:
        store_id = own_store_of(request.user)
        rows = super().get_queryset(request)
        return rows.filter(stock__store_id=store_id) if store_id else rows

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return ["reason"] if own_store_of(request.user) else [*super().get_list_filter(request)]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockMovement], search_term: str
    ) -> tuple[QuerySet[StockMovement], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(stock__sku__code=term) | Q(order__number=term)), False

    @admin.display(description=_("product"))
    def goods_text(self, movement: StockMovement) -> str:
        return f"{movement.stock.sku.product.name} {movement.stock.sku.name}".strip()

    @display(description=_("product"), header=True)
    def goods(self, movement: StockMovement) -> list[str]:
        return [movement.stock.sku.product.name, movement.stock.sku.code]

    @admin.display(description=_("store"))
    def store(self, movement: StockMovement) -> str:
        return movement.stock.store.name
