"""What buyers get for virtual goods and services, and the pools of codes."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextareaWidget

from core.admin import BaseAdmin, ReadOnlyAdmin
from core.admin.asking import asks_first
from core.errors import Refusal
from shop import services
from shop.admin.fields import said
from shop.models import GoodsTerms, Sku, VirtualCode

TERMS = ("delivers", "text", "quota", "valid_from", "valid_until", "valid_days")


class TermsForm(forms.ModelForm):
    """What does not fit, `services.checked_terms` says in words."""

    class Meta:
        model = GoodsTerms
        fields = ["sku", "delivers", "text", "quota", "valid_from", "valid_until", "valid_days", "stores"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        sku = values.get("sku") or self.instance.sku
        wanted: dict[str, Any] = {name: values.get(name) for name in TERMS}
        try:
            return {
                **values,
                **services.checked_terms(sku_id=sku.pk, **wanted),
            }
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from refusal


class CodesForm(BaseDialogForm):
    codes = forms.CharField(
        label=_("codes"),
        max_length=1_000_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}),
        help_text=_("One a line. What is in the pool already stays as it is."),
    )


@admin.register(GoodsTerms)
class GoodsTermsAdmin(BaseAdmin):
    form = TermsForm
    list_display = ["shown", "delivery", "quota_shown", "taken", "validity", "codes_link"]
    list_filter = ["delivers"]
    list_select_related = ["sku__product"]
    search_fields = ["sku__code", "sku__product__name"]
    search_help_text = _("SKU code or product name")
    ordering = ["-pk"]
    autocomplete_fields = ["stores"]
    readonly_fields = ["taken"]
    fieldsets = [
        (None, {"fields": ["sku", "delivers", "text", ("quota", "taken")]}),
        (_("Vouchers"), {"fields": ["valid_days", "valid_until", "valid_from", "stores"]}),
    ]
    actions_detail = ["add_codes"]
    actions_row = ["add_codes"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[GoodsTerms]:
        return super().get_queryset(request).select_related("sku__product")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["taken"] if obj is None else ["taken", "sku"]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "sku":
            kwargs["queryset"] = Sku.objects.filter(supply=Sku.PIECES, terms=None).select_related("product")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @display(description=_("product"), header=True)
    def shown(self, terms: GoodsTerms) -> list[str]:
        return [terms.sku.product.name, f"{terms.sku.name} · {terms.sku.code}".strip(" ·")]

    @display(
        description=_("the buyer gets"),
        ordering="delivers",
        label={"text": "default", "code": "info", "voucher": "success"},
    )
    def delivery(self, terms: GoodsTerms) -> tuple[str, Any]:
        words = {"text": _("text or link"), "code": _("redemption code"), "voucher": _("voucher")}
        return terms.delivers, words[terms.delivers]

    @admin.display(description=_("pieces there are"), ordering="quota")
    def quota_shown(self, terms: GoodsTerms) -> Any:
        return _("without limit") if terms.quota is None else terms.quota

    @admin.display(description=_("valid"))
    def validity(self, terms: GoodsTerms) -> Any:
        if terms.delivers != GoodsTerms.VOUCHER:
            return "–"
        if terms.valid_until is not None:
            return terms.valid_until
        return ngettext("%(count)d day", "%(count)d days", terms.valid_days or 0) % {
            "count": terms.valid_days
        }

    @admin.display(description=_("given out"))
    def codes_link(self, terms: GoodsTerms) -> str:
        if terms.delivers == GoodsTerms.TEXT:
            return "–"
        page = "virtualcode" if terms.delivers == GoodsTerms.CODE else "voucher"
        address = reverse(f"admin:shop_{page}_changelist") + f"?q={terms.sku.code}"
        return format_html('<a href="{}">{}</a>', address, _("look"))

    def save_model(self, request: HttpRequest, obj: GoodsTerms, form: Any, change: bool) -> None:
        obj.pk = services.save_terms(sku_id=obj.sku_id, **{name: getattr(obj, name) for name in TERMS}).pk
        services.refresh_products(product_ids=[obj.sku.product_id])

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_codes_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.add_virtualcode"))

    @action(
        description=_("Add codes"),
        url_path="codes",
        icon="add",
        permissions=["codes"],
        dialog={
            "title": _("Add codes to the pool"),
            "description": _("Each is given to one buyer, when she has paid. They are kept encrypted."),
            "form_class": CodesForm,
            "form_submit_text": _("Add codes"),
        },
    )
    def add_codes(self, request: HttpRequest, form: CodesForm, object_id: str) -> HttpResponse:
        terms = GoodsTerms.objects.select_related("sku").get(pk=object_id)
        with said(request):
            added, known = services.add_codes(
                sku_id=terms.sku_id, codes=form.cleaned_data["codes"].splitlines()
            )
            services.refresh_products(product_ids=[terms.sku.product_id])
            messages.success(
                request,
                _("%(added)d codes were added, %(known)d were there already.")
                % {"added": added, "known": known},
            )
        return self.to_page(terms.pk)


@admin.register(VirtualCode)
class VirtualCodeAdmin(ReadOnlyAdmin):
    """Codes as facts: whole they are shown to their buyers only."""

    empty_hint = _("Upload codes on the page of virtual goods; each is handed out once.")

    list_display = ["ending", "sku", "condition", "order", "given_at", "added_at"]
    list_filter = ["state"]
    list_select_related = ["sku", "line__order"]
    search_fields = ["=sku__code", "=code_end", "=line__order__number"]
    search_help_text = _("SKU code, last four characters, or order number")
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = ["ending", "sku", "state", "order", ("given_at", "added_at")]
    readonly_fields = ["ending", "order"]
    actions = ["drop"]

    @admin.display(description=_("redemption code"))
    def ending(self, code: VirtualCode) -> str:
        return f"…{code.code_end}"

    @display(
        description=_("state"),
        ordering="state",
        label={"free": "info", "given": "success", "void": "default"},
    )
    def condition(self, code: VirtualCode) -> tuple[str, str]:
        return code.state, str(code.get_state_display())

    @admin.display(description=_("order"))
    def order(self, code: VirtualCode) -> str:
        if code.line is None:
            return "–"
        order = code.line.order
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:shop_order_change", args=[order.pk]), order.number
        )

    def has_drop_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.delete_virtualcode"))

    @admin.action(description=_("Take free codes out of the pool"), permissions=["drop"])
    @asks_first(_("They are no longer sold. Codes that were given stay. This cannot be undone."))
    def drop(self, request: HttpRequest, queryset: QuerySet[VirtualCode]) -> None:
        with said(request):
            count = services.drop_codes(code_ids=list(queryset.values_list("pk", flat=True)))
            messages.success(
                request,
                ngettext("%(count)d code was taken out.", "%(count)d codes were taken out.", count)
                % {"count": count},
            )
