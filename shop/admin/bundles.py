"""Bundles with their parts, and the list of SKUs that other pages choose from."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import money
from core.admin import BaseAdmin, ReadOnlyAdmin, TabularInline
from shop import services
from shop.admin.fields import yuan_column
from shop.models import Bundle, BundleItem, Sku
from shop.queries.routing import AVAILABLE


@admin.register(Sku)
class SkuAdmin(ReadOnlyAdmin):
    """Not in the sidebar: where a form asks for a SKU, this is what it searches."""

    list_display = ["code", "product", "name", "price", "supply", "is_active"]
    list_select_related = ["product"]
    search_fields = ["code", "product__name"]
    search_help_text = _("SKU code or product name")
    ordering = ["product_id", "position", "pk"]
    fields = [("code", "product"), "name", "price", ("supply", "is_active")]
    readonly_fields = ["price"]
    price = yuan_column("price_fen", _("price"))


class BundleItemForm(forms.ModelForm):
    class Meta:
        model = BundleItem
        fields = ["sku", "quantity"]

    def clean_sku(self) -> Sku:
        sku: Sku = self.cleaned_data["sku"]
        if sku.supply == Sku.PARTS:
            raise forms.ValidationError(_("A bundle cannot be a part of a bundle."))
        return sku


class BundleItemInline(TabularInline):
    model = BundleItem
    form = BundleItemForm
    fk_name = "bundle"
    fields = ["sku", "goods", "quantity", "alone"]
    readonly_fields = ["goods", "alone"]
    autocomplete_fields = ["sku"]
    extra = 0
    min_num = 1
    max_num = 20
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[BundleItem]:
        return super().get_queryset(request).select_related("sku__product")

    @admin.display(description=_("product"))
    def goods(self, item: BundleItem) -> str:
        return f"{item.sku.product.name} {item.sku.name}".strip() if item.pk else "–"

    @admin.display(description=_("price alone"))
    def alone(self, item: BundleItem) -> str:
        return f"¥{money.yuan(item.sku.price_fen * item.quantity)}" if item.pk else "–"


@admin.register(Bundle)
class BundleAdmin(BaseAdmin):
    """A bundle is made as a product of that kind; here are its parts. Orders keep what they had."""

    list_display = ["shown", "code", "price", "alone", "parts_count", "available"]
    list_select_related = ["product"]
    search_fields = ["code", "product__name"]
    ordering = ["-pk"]
    fields = ["product_link", ("code", "price"), ("alone", "available")]
    readonly_fields = ["product_link", "code", "price", "alone", "available"]
    inlines = [BundleItemInline]
    price = yuan_column("price_fen", _("price"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bundle]:
        left = f"""(
            SELECT st.available FROM shop_sku s {AVAILABLE} WHERE s.id = shop_sku.id
        )"""  # noqa: S608  the join is ours
        return (
            super()
            .get_queryset(request)
            .filter(supply=Sku.PARTS)
            .select_related("product")
            .annotate(
                alone_fen=Sum(F("items__sku__price_fen") * F("items__quantity")),
                parts_sum=Sum("items__quantity"),
                left=RawSQL(left, []),  # noqa: S611  the statement above
            )
        )

    @display(description=_("bundle"), header=True)
    def shown(self, bundle: Bundle) -> list[str]:
        return [bundle.product.name, bundle.name]

    @admin.display(description=_("product"))
    def product_link(self, bundle: Bundle) -> str:
        address = reverse("admin:shop_product_change", args=[bundle.product_id])
        return format_html('<a href="{}">{}</a>', address, f"{bundle.product.name} {bundle.name}".strip())

    @admin.display(description=_("parts alone"))
    def alone(self, bundle: Any) -> str:
        return "–" if bundle.alone_fen is None else f"¥{money.yuan(bundle.alone_fen)}"

    @display(description=_("parts"), label={"none": "danger", "some": "default"})
    def parts_count(self, bundle: Any) -> tuple[str, str]:
        return ("some", f"×{bundle.parts_sum}") if bundle.parts_sum else ("none", str(_("no parts yet")))

    @admin.display(description=_("available"))
    def available(self, bundle: Any) -> int:
        return int(bundle.left)

    def save_model(self, request: HttpRequest, obj: Bundle, form: Any, change: bool) -> None:
        """The SKU itself is edited with its product."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        services.refresh_products(product_ids=[form.instance.product_id])

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
