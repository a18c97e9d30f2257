"""Brands: their names are words of the search, so a changed one is looked up again."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from core.admin import BaseAdmin
from shop import services
from shop.models import Brand, Product


@admin.register(Brand)
class BrandAdmin(BaseAdmin):
    list_display = ["name", "aliases", "position", "is_active", "products_count"]
    list_editable = ["position", "is_active"]
    list_filter = ["is_active"]
    search_fields = ["name", "aliases"]
    search_help_text = _("Name or another spelling")
    fields = [("name", "aliases"), "logo", "story", ("position", "is_active")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Brand]:
        on_sale = Count("products", filter=Q(products__status=Product.ON_SALE))
        return super().get_queryset(request).annotate(on_sale=on_sale)

    @admin.display(description=_("products on sale"), ordering="on_sale")
    def products_count(self, brand: Brand) -> int:
        return getattr(brand, "on_sale", 0)

    def save_model(self, request: HttpRequest, obj: Brand, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and {"name", "aliases"} & set(form.changed_data):
            services.refresh_products(product_ids=list(obj.products.values_list("pk", flat=True)))

    def has_delete_permission(self, request: HttpRequest, obj: Brand | None = None) -> bool:
        """A brand with products is hidden, not deleted."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.products.exists())
