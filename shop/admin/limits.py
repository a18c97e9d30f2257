"""Who has how many pieces of products with a limit per member."""

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from core.admin import ReadOnlyAdmin
from shop.models import ProductTally


class ReachedFilter(admin.SimpleListFilter):
    title = _("limit")
    parameter_name = "reached"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("reached")), ("no", _("may buy more"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ProductTally]) -> QuerySet[ProductTally]:
        match self.value():
            case "yes":
                return queryset.filter(taken__gte=F("product__limit_per_member"))
            case "no":
                return queryset.filter(taken__lt=F("product__limit_per_member"))
        return queryset


@admin.register(ProductTally)
class ProductTallyAdmin(ReadOnlyAdmin):
    empty_hint = _("What members have bought of goods with a limit per member is counted here.")
    list_display = ["product", "member", "taken", "limit", "state"]
    list_filter = [ReachedFilter, ("product", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["product", "member"]
    search_fields = ["product__name", "member__name"]
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = [("product", "member"), ("taken", "limit")]
    readonly_fields = ["limit"]

    @admin.display(description=_("most per member"))
    def limit(self, tally: ProductTally) -> str:
        return str(tally.product.limit_per_member or "–")

    @display(description=_("limit"), label={"reached": "warning", "free": "success"})
    def state(self, tally: ProductTally) -> tuple[str, str]:
        limit = tally.product.limit_per_member
        if limit is not None and tally.taken >= limit:
            return "reached", str(_("reached"))
        return "free", str(_("may buy more"))
