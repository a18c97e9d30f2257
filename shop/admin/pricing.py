"""Prices beside the catalogue's, the parcel's fee, points as money; and the desk that prices any cart."""

import re
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import clock, money
from core.admin import BaseAdmin
from shop import queries, services
from shop import rules as shop_rules
from shop.admin.fields import YuanField, new_tiers_said, tiers_named, yuan_column
from shop.models import CostPrice, MemberPrice, Order, PointsPolicy, Promotion, ShippingRate
from shop.pricing import Choices

_LINE = re.compile(r"^\s*(\S+)(?:\s*[×xX*,，\s]\s*(\d{1,4}))?\s*$")


class CartForm(forms.Form):
    """A cart as an operator types it: one SKU code a line, with a number."""

    lines = forms.CharField(
        label=_("goods"),
        max_length=10_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5, "placeholder": "SKU-1001 × 2"}),
        help_text=_("One SKU code a line, with the number of pieces: SKU-1001 × 2"),
    )
    member = forms.IntegerField(
        label=_("member number"),
        required=False,
        min_value=1,
        max_value=2**62,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("Empty: somebody unknown."),
    )
    tier = forms.CharField(
        label=_("member tier"),
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("Empty: her own."),
    )
    at = forms.DateTimeField(
        label=_("at the time"),
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text=_("Empty: now."),
    )
    region = forms.CharField(
        label=_("province"), required=False, max_length=40, widget=UnfoldAdminTextInputWidget()
    )
    points = forms.IntegerField(
        label=_("points to use"),
        required=False,
        min_value=0,
        max_value=10**9,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    draft = forms.ModelChoiceField(
        label=_("try this promotion"),
        required=False,
        queryset=Promotion.objects.order_by("-pk"),
        widget=UnfoldAdminSelectWidget(),
        help_text=_("As if it ran, also when it is a draft."),
    )

    def clean_lines(self) -> list[tuple[int, int]]:
        wanted: dict[str, int] = {}
        for text in self.cleaned_data["lines"].splitlines():
            if not text.strip():
                continue
            found = _LINE.match(text)
            if found is None or not 1 <= int(found[2] or 1) <= shop_rules.MAX_QUANTITY:
                raise ValidationError(
                    _("This is no SKU code with a number: %(line)s"), params={"line": text[:60]}
                )
            wanted[found[1]] = wanted.get(found[1], 0) + int(found[2] or 1)
        if len(wanted) > 200:
            raise ValidationError(_("At most 200 different goods."))
        known = queries.skus_by_code(wanted)
        missing = [code for code in wanted if code not in known]
        if missing:
            raise ValidationError(
                _("No such SKU: %(codes)s"), params={"codes": "、".join(missing[:10])[:200]}
            )
        return [(known[code], count) for code, count in wanted.items()]

    def clean_member(self) -> int | None:
        pk: int | None = self.cleaned_data["member"]
        people = Order._meta.get_field("member").related_model
        if pk is not None and not people._default_manager.filter(pk=pk).exists():
            raise ValidationError(_("There is no member with this number."))
        return pk


def priced_cart(asked: dict[str, Any]) -> dict[str, Any]:
    """The quote and all that the page says about it."""
    moment = asked["at"] or clock.now()
    quote = services.quote(
        member_id=asked["member"],
        lines=asked["lines"],
        choices=Choices(points=asked["points"] or 0),
        region=asked["region"],
        at=moment,
        tier=asked["tier"],
        drafts=[asked["draft"].pk] if asked["draft"] else (),
    )
    names = queries.skus_in_words({line.sku_id for line in quote.lines})
    return {
        "at": moment,
        "lines": [
            {
                "name": names.get(line.sku_id, ""),
                "is_gift": line.kind == "gift",
                "unit_price": money.yuan(line.unit_price_fen),
                "quantity": line.quantity,
                "discounts": [
                    {"title": one.title or queries.step_label(one.step), "amount": money.yuan(one.amount_fen)}
                    for one in line.discounts
                ],
                "total": money.yuan(line.total_fen),
            }
            for line in quote.lines
        ],
        "notes": [
            {
                "step": queries.step_label(note.step),
                "title": note.title,
                "words": note.text,
                "applied": note.applied,
                "amount": money.yuan(note.amount_fen) if note.amount_fen else "",
            }
            for note in queries.notes_of(quote)
        ],
        "sums": [
            (_("goods"), f"¥{money.yuan(quote.items_fen)}"),
            (_("discount"), f"−¥{money.yuan(quote.discount_fen)}"),
            (_("shipping"), f"¥{money.yuan(quote.shipping_fen)}"),
            (_("total"), f"¥{money.yuan(quote.total_fen)}"),
        ],
    }


class MemberPriceForm(forms.ModelForm):
    price_fen = YuanField(label=_("price (¥)"))

    class Meta:
        model = MemberPrice
        fields = ["tier", "sku", "price_fen"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tier" in self.fields:  # a colleague who may only look has no fields
            tiers_named(self.fields["tier"])


@admin.register(MemberPrice)
class MemberPriceAdmin(BaseAdmin):
    form = MemberPriceForm
    list_display = ["sku_shown", "tier", "price", "usual"]
    list_filter = ["tier"]
    list_select_related = ["sku__product"]
    search_fields = ["sku__code", "sku__product__name"]
    search_help_text = _("Product or SKU code")
    raw_id_fields = ["sku"]
    ordering = ["-pk"]
    price = yuan_column("price_fen", _("price"))

    def save_model(self, request: HttpRequest, obj: MemberPrice, form: Any, change: bool) -> None:
        new_tiers_said(request, [obj.tier])
        super().save_model(request, obj, form, change)

    @admin.display(description=_("product"))
    def sku_shown(self, row: MemberPrice) -> str:
        return f"{row.sku.product.name} {row.sku.name} · {row.sku.code}"

    @admin.display(description=_("usual price"))
    def usual(self, row: MemberPrice) -> str:
        return yuan_column("price_fen", "")(self, row.sku)


class CostPriceForm(forms.ModelForm):
    cost_fen = YuanField(label=_("cost price (¥)"))

    class Meta:
        model = CostPrice
        fields = ["sku", "cost_fen"]


@admin.register(CostPrice)
class CostPriceAdmin(BaseAdmin):
    form = CostPriceForm
    list_display = ["sku_shown", "cost", "usual"]
    list_select_related = ["sku__product"]
    search_fields = ["sku__code", "sku__product__name"]
    search_help_text = _("Product or SKU code")
    raw_id_fields = ["sku"]
    ordering = ["-pk"]
    cost = yuan_column("cost_fen", _("cost price"))

    @admin.display(description=_("product"))
    def sku_shown(self, row: CostPrice) -> str:
        return f"{row.sku.product.name} {row.sku.name} · {row.sku.code}"

    @admin.display(description=_("price"))
    def usual(self, row: CostPrice) -> str:
        return yuan_column("price_fen", "")(self, row.sku)


class ShippingRateForm(forms.ModelForm):
    base_fen = YuanField(label=_("fee (¥)"))
    free_from_fen = YuanField(
        label=_("free from (¥)"),
        required=False,
        help_text=_("What the goods cost after promotions; empty: never."),
    )

    class Meta:
        model = ShippingRate
        fields = ["province", "base_fen", "free_from_fen"]


@admin.register(ShippingRate)
class ShippingRateAdmin(BaseAdmin):
    form = ShippingRateForm
    list_display = ["__str__", "fee", "free_from"]
    search_fields = ["province"]
    fee = yuan_column("base_fen", _("fee"))
    free_from = yuan_column("free_from_fen", _("free from"))


class PointsPolicyForm(forms.ModelForm):
    fen_per_100 = YuanField(label=_("100 points are worth (¥)"))

    class Meta:
        model = PointsPolicy
        fields = ["is_active", "fen_per_100", "cap_bps", "least"]

    def clean_fen_per_100(self) -> int:
        fen: int = self.cleaned_data["fen_per_100"]
        if not 1 <= fen <= 100_000:
            raise ValidationError(_("Between ¥0.01 and ¥1,000."))
        return fen


@admin.register(PointsPolicy)
class PointsPolicyAdmin(BaseAdmin):
    """One row at most: without it, or switched off, the shop takes no points."""

    form = PointsPolicyForm
    list_display = ["__str__", "worth", "cap", "least", "is_active"]
    worth = yuan_column("fen_per_100", _("100 points are worth"))

    @admin.display(description=_("at most of the goods"))
    def cap(self, row: PointsPolicy) -> str:
        return f"{row.cap_bps / 100:g} %"

    def save_model(self, request: HttpRequest, obj: PointsPolicy, form: Any, change: bool) -> None:
        obj.pk = 1
        super().save_model(request, obj, form, change)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return super().has_add_permission(request) and not self._rows().exists()

    def _rows(self) -> QuerySet[PointsPolicy]:
        return PointsPolicy.objects.all()
