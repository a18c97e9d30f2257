"""Papers of the stock room: written once by a service, their goods listed below, changed by their buttons alone."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from core.admin import BaseAdmin, TabularInline


class GoodsInline(TabularInline):
    """The lines of a paper: SKU, numbers and how far they are apart (`difference`, None while not known)."""

    extra = 0
    can_delete = False
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("sku__product")

    @admin.display(description=_("product"))
    def goods(self, line: Any) -> str:
        return f"{line.sku.product.name} {line.sku.name} · {line.sku.code}"

    @admin.display(description=_("difference"))
    def difference_shown(self, line: Any) -> str:
        return "–" if line.difference is None else f"{line.difference:+d}" if line.difference else "0"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DocumentAdmin(BaseAdmin):
    """`new_fields` are filled in once, `shown_fields` are read afterwards; `write` calls the service that makes it."""

    new_fields: list[Any] = []
    shown_fields: list[tuple[str, ...]] = []
    goods_inline: type[GoodsInline]
    ordering = ["-pk"]

    def write(self, request: HttpRequest, obj: Any, form: forms.ModelForm) -> Model:
        raise NotImplementedError

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown_fields if obj else self.new_fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for row in self.shown_fields for name in row] if obj else []

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return [self.goods_inline] if obj else []

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.pk = self.write(request, obj, form).pk
        obj._state.adding = False

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(page, args=[obj.pk]))

    @admin.display(description=_("status"))
    def status_text(self, row: Any) -> str:
        return str(row.get_state_display())
