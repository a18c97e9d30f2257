"""Vouchers as facts: which piece, which state, who redeemed it where; staff may give more time."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from core.admin import ReadOnlyAdmin
from crm import queries as crm_queries
from shop import services
from shop.admin.fields import said
from shop.models import Voucher
from wechat import queries as wechat_queries


class ExtendForm(BaseDialogForm):
    days = forms.IntegerField(
        label=_("more days"),
        min_value=1,
        max_value=3_650,
        initial=30,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


@admin.register(Voucher)
class VoucherAdmin(ReadOnlyAdmin):
    empty_hint = _("Vouchers appear here when service goods are paid; staff redeem them in the store.")
    list_display = ["code_end", "goods", "condition", "order", "expires_at", "redeemed_at", "store", "actor"]
    list_filter = ["state", "store", ("expires_at", admin.DateFieldListFilter)]
    list_select_related = ["line__order__member", "line__sku", "store"]
    search_fields = ["=code", "=line__order__number", "=line__sku__code"]
    search_help_text = _("Whole voucher code, order number or SKU code")
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = [
        ("code_end", "goods_text"), ("state", "order"), ("valid_from", "expires_at"),
        ("redeemed_at", "store", "actor"), ("created_at", "voided_at"), ("remind_at", "reminded"),
    ]  # fmt: skip
    readonly_fields = ["code_end", "goods_text", "order", "reminded"]
    actions_detail = ["extend"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Voucher], search_term: str
    ) -> tuple[QuerySet[Voucher], bool]:
        code = services.voucher_code(search_term)
        return super().get_search_results(request, queryset, code or search_term)

    @admin.display(description=_("voucher code"))
    def code_end(self, voucher: Voucher) -> str:
        """Whole it is shown to its buyer only."""
        return str(voucher)

    @admin.display(description=_("product"))
    def goods_text(self, voucher: Voucher) -> str:
        return f"{voucher.line.product_name} {voucher.line.sku_name}".strip()

    @display(description=_("product"), header=True)
    def goods(self, voucher: Voucher) -> list[str]:
        return [voucher.line.product_name, voucher.line.sku_name]

    @display(
        description=_("state"),
        ordering="state",
        label={"unused": "info", "redeemed": "success", "void": "default", "expired": "warning"},
    )
    def condition(self, voucher: Voucher) -> tuple[str, str]:
        return voucher.state, str(voucher.get_state_display())

    @admin.display(description=_("order"))
    def order(self, voucher: Voucher) -> str:
        order = voucher.line.order
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:shop_order_change", args=[order.pk]), order.number
        )

    @admin.display(description=_("reminder"))
    def reminded(self, voucher: Voucher) -> str:
        if voucher.reminder in ("", "no_way"):
            return str(_("no template accepted and no open chat")) if voucher.reminder else "–"
        if voucher.reminder in ("subscribe", "template", "custom"):
            return wechat_queries.channel_label(voucher.reminder)
        return crm_queries.reason_label(voucher.reminder)

    def has_extend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_voucher"))

    @action(
        description=_("Give more time"),
        url_path="extend",
        icon="more_time",
        permissions=["extend"],
        dialog={
            "title": _("Give this voucher more time?"),
            "description": _("An expired voucher can be used again, counted from today."),
            "form_class": ExtendForm,
            "form_submit_text": _("Give more time"),
        },
    )
    def extend(self, request: HttpRequest, form: ExtendForm, object_id: str) -> HttpResponse:
        with said(request):
            done = services.extend_vouchers(voucher_ids=[int(object_id)], days=form.cleaned_data["days"])
            if done:
                messages.success(request, _("The voucher is valid longer now."))
            else:
                messages.warning(request, _("It was redeemed or given back: nothing was changed."))
        return self.to_page(object_id)
