"""Counting a store in the admin: paste or scan the counts, look at the differences, book them once."""

import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextareaWidget

from shop import services
from shop.admin.documents import DocumentAdmin, GoodsInline
from shop.admin.fields import said, who
from shop.models import Sku, Stocktake, StocktakeLine
from shop.queries.rest import own_store_of

MOST_LINES = 2_000


class CodesField(forms.CharField):
    """Lines of "SKU code, number", as typed, scanned or pasted from a sheet; its value is [(sku id, number)]."""

    def __init__(self, **options: Any) -> None:
        options.setdefault(
            "widget", UnfoldAdminTextareaWidget(attrs={"rows": 8, "placeholder": "DRESS-BLUE-M 12"})
        )
        options.setdefault("max_length", 100_000)
        super().__init__(**options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value) or ""
        rows: list[tuple[str, int]] = []
        for place, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            found = re.fullmatch(r"\s*(\S+?)[\s,，;；]+([0-9]{1,8})\s*", line)
            if not found:
                raise forms.ValidationError(
                    _("Line %(place)d is not “SKU code, number”: %(line)s")
                    % {"place": place, "line": line[:60]}
                )
            rows.append((found[1], int(found[2])))
        if len(rows) > MOST_LINES:
            raise forms.ValidationError(_("At most %(most)d lines at once.") % {"most": MOST_LINES})
        known = dict(Sku.objects.filter(code__in={code for code, _n in rows}).values_list("code", "pk"))
        unknown = sorted({code for code, _n in rows} - known.keys())
        if unknown:
            raise forms.ValidationError(
                _("Unknown SKU codes: %(codes)s") % {"codes": "、".join(unknown[:10])}
            )
        return [(known[code], number) for code, number in rows]


class CountForm(BaseDialogForm):
    counts = CodesField(label=_("SKU code and count, one a line"))


class LineInline(GoodsInline):
    model = StocktakeLine
    fields = readonly_fields = ["goods", "on_hand", "counted", "difference_shown", "counted_by", "counted_at"]
    verbose_name_plural = _("counted SKUs")
    ordering = ["-counted_at", "pk"]
    per_page = 100


@admin.register(Stocktake)
class StocktakeAdmin(DocumentAdmin):
    list_display = [
        "label",
        "store",
        "status",
        "counted_skus",
        "differences",
        "opened_by",
        "opened_at",
        "closed_at",
    ]
    list_filter = ["state", "store"]
    search_fields = ["title"]
    list_select_related = ["store"]
    new_fields = ["store", "title"]
    shown_fields = [
        ("store", "title"),
        ("status_text", "differences"),
        ("opened_by", "opened_at"),
        ("closed_by", "closed_at"),
    ]
    goods_inline = LineInline
    actions_detail = ["count", "book", "give_up"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stocktake]:
        rows = Stocktake.objects.select_related("store").annotate(
            skus=Count("lines"), off=Count("lines", filter=~Q(lines__counted=F("lines__on_hand")))
        )
        store_id = own_store_of(request.user)
        return rows.filter(store_id=store_id) if store_id else rows

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        store_id = own_store_of(request.user)
        if db_field.name == "store" and store_id:
            kwargs["queryset"] = db_field.remote_field.model.objects.filter(pk=store_id)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def write(self, request: HttpRequest, obj: Stocktake, form: forms.ModelForm) -> Stocktake:
        return services.open_stocktake(store_id=obj.store_id, title=obj.title, by=who(request))

    @admin.display(description=_("stock-taking"))
    def label(self, stocktake: Stocktake) -> str:
        return str(stocktake)

    @display(description=_("status"), label={"open": "warning", "booked": "success", "cancelled": "default"})
    def status(self, stocktake: Stocktake) -> tuple[str, str]:
        return stocktake.state, stocktake.get_state_display()

    @admin.display(description=_("counted SKUs"))
    def counted_skus(self, stocktake: Any) -> int:
        return int(stocktake.skus)

    @admin.display(description=_("with a difference"))
    def differences(self, stocktake: Any) -> int:
        return int(getattr(stocktake, "off", 0))

    def has_open_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("shop.change_stock") or not str(object_id).isdecimal():
            return False
        known = request.__dict__.setdefault("_shop_stocktake", {})
        if object_id not in known:
            known[object_id] = self.get_queryset(request).filter(pk=object_id, state=Stocktake.OPEN).exists()
        return bool(known[object_id])

    @action(
        description=_("Enter counts"),
        url_path="count",
        icon="checklist",
        permissions=["open"],
        dialog={
            "title": _("Enter counts"),
            "description": _(
                "One SKU a line: its code and how many lie there. "
                "A later count of the same SKU replaces the earlier one."
            ),
            "form_class": CountForm,
            "form_submit_text": _("Note the counts"),
        },
    )
    def count(self, request: HttpRequest, form: CountForm, object_id: str) -> HttpResponse:
        with said(request):
            noted = services.count_skus(
                stocktake_id=int(object_id), counts=form.cleaned_data["counts"], by=who(request)
            )
            messages.success(
                request, _("%(count)d SKUs are noted. Nothing is booked yet.") % {"count": noted}
            )
        return self.to_page(object_id)

    @action(
        description=_("Book the differences"),
        url_path="book",
        icon="task_alt",
        permissions=["open"],
        dialog={
            "title": _("Book the differences?"),
            "description": _(
                "Every difference becomes a movement of stock with your name. This cannot be undone."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Book"),
        },
    )
    def book(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.book_stocktake(stocktake_id=int(object_id), by=who(request))
            messages.success(request, _("The differences are booked."))
        return self.to_page(object_id)

    @action(
        description=_("Give up"),
        url_path="give-up",
        icon="cancel",
        permissions=["open"],
        dialog={
            "title": _("Give this stock-taking up?"),
            "description": _("Nothing is booked."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Give up"),
        },
    )
    def give_up(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.cancel_stocktake(stocktake_id=int(object_id), by=who(request))
        return self.to_page(object_id)
