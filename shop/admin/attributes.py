"""Attributes and their values: what products are described, filtered and varied by."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from core.admin import BaseAdmin, TabularInline
from shop import services
from shop.models import Attribute, AttributeValue


class ValueInline(TabularInline):
    model = AttributeValue
    fields = ["name", "position"]
    ordering_field = "position"
    extra = 0
    hide_title = True


@admin.register(Attribute)
class AttributeAdmin(BaseAdmin):
    list_display = ["name", "some_values", "position", "is_filter"]
    list_editable = ["position", "is_filter"]
    search_fields = ["name", "values__name"]
    search_help_text = _("Attribute or value")
    fields = [("name", "position"), "is_filter"]
    inlines = [ValueInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attribute]:
        values = Prefetch("values", AttributeValue.objects.order_by("position", "pk"))
        return super().get_queryset(request).annotate(kinds=Count("values")).prefetch_related(values)

    @admin.display(description=_("values"))
    def some_values(self, attribute: Attribute) -> str:
        names = [value.name for value in attribute.values.all()]
        return "、".join(names[:8]) + ("…" if len(names) > 8 else "")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Products that carry a renamed value, or whose SKUs carry a new one, are described anew."""
        before = list(form.instance.values.values_list("pk", flat=True)) if change else []
        super().save_related(request, form, formsets, change)
        if form.has_changed() or any(formset.has_changed() for formset in formsets):
            services.refresh_described(attribute_id=form.instance.pk, value_ids=before)

    def delete_model(self, request: HttpRequest, obj: Attribute) -> None:
        """Products lose the mark of what is gone."""
        before = list(obj.values.values_list("pk", flat=True))
        super().delete_model(request, obj)
        services.refresh_described(attribute_id=0, value_ids=before)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Attribute]) -> None:
        before = list(AttributeValue.objects.filter(attribute__in=queryset).values_list("pk", flat=True))
        super().delete_queryset(request, queryset)
        services.refresh_described(attribute_id=0, value_ids=before)
