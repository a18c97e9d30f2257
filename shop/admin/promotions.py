"""Promotions: a plain form per kind, what runs now, trying one on a cart and on last month's orders."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from core import clock, money
from core.admin import BaseAdmin
from shop import queries, services
from shop.admin.fields import YuanField, said
from shop.admin.pricing import CartForm, priced_cart
from shop.models import Promotion, PromotionExtra

STATE_COLOURS = {"draft": "default", "upcoming": "info", "running": "success", "over": "warning"}


class TenthsField(forms.CharField):
    """Shows and reads what remains to pay in tenths ("8.5" 折); its value is what is taken off, in bps."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "size": 6}))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        return f"{(10_000 - value) / 1_000:.2f}".rstrip("0").rstrip(".") if value else ""

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        if not text:
            return 0
        try:
            tenths = Decimal(text)
            if not 0 <= tenths < 10 or (tenths * 1_000) % 1:
                raise InvalidOperation
        except InvalidOperation:
            raise forms.ValidationError(
                _("Enter what remains to pay, such as 8.5 for 15 % off, or 0 for free.")
            )
        return 10_000 - int(tenths * 1_000)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class PromotionForm(forms.ModelForm):
    threshold_fen = YuanField(
        label=_("from an amount of (¥)"),
        required=False,
        help_text=_("What the goods above must cost; empty: any."),
    )
    amount_fen = YuanField(
        label=_("amount (¥)"),
        required=False,
        help_text=_("What is taken off; for a bundle, what one set costs."),
    )
    off_bps = TenthsField(
        label=_("to pay (tenths)"),
        required=False,
        help_text=_("8.5 takes 15 % off; 5 is half the price; 0 is free."),
    )
    cap_fen = YuanField(label=_("at most (¥)"), required=False, help_text=_("Empty: no limit."))

    class Meta:
        model = Promotion
        exclude = ()

    def clean_threshold_fen(self) -> int:
        return self.cleaned_data["threshold_fen"] or 0

    def clean_amount_fen(self) -> int:
        return self.cleaned_data["amount_fen"] or 0

    def clean(self) -> dict[str, Any]:
        """What the database would refuse is said here in words, at the field that it is about."""
        given: dict[str, Any] = super().clean() or {}
        kind = given.get("kind")
        if given.get("starts_at") and given.get("ends_at") and given["starts_at"] >= given["ends_at"]:
            self.add_error("ends_at", _("It must end after it starts."))
        if kind in ("amount_off", "bundle") and not given.get("amount_fen"):
            self.add_error("amount_fen", _("Enter an amount."))
        if kind in ("percent_off", "nth_piece") and not given.get("off_bps"):
            self.add_error("off_bps", _("Enter what remains to pay."))
        if kind == "nth_piece" and (given.get("nth") or 0) < 2:
            self.add_error("nth", _("The second piece or a later one."))
        needs_threshold = given.get("repeats") and kind not in ("nth_piece", "bundle")
        if needs_threshold and not given.get("threshold_fen") and not given.get("threshold_quantity"):
            self.add_error("repeats", _("What repeats needs an amount or a number of pieces."))
        return given


class ExtraForm(forms.ModelForm):
    price_fen = YuanField(label=_("price as an add-on (¥)"), required=False)

    class Meta:
        model = PromotionExtra
        fields = ["sku", "quantity", "price_fen"]

    def clean_price_fen(self) -> int:
        return self.cleaned_data["price_fen"] or 0


class ExtraInline(TabularInline):
    model = PromotionExtra
    form = ExtraForm
    fields = ["sku", "quantity", "price_fen"]
    raw_id_fields = ["sku"]
    extra = 0
    verbose_name_plural = _("Gifts, add-ons or parts of the bundle")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PromotionExtra]:
        return super().get_queryset(request).select_related("sku__product")


class StateFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Promotion.STATES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Promotion]) -> QuerySet[Promotion]:
        moment = clock.now()
        match self.value():
            case "over":
                return queryset.filter(ends_at__lte=moment)
            case "draft":
                return queryset.filter(is_active=False, ends_at__gt=moment)
            case "upcoming":
                return queryset.filter(is_active=True, starts_at__gt=moment)
            case "running":
                return queryset.filter(Q(is_active=True, starts_at__lte=moment, ends_at__gt=moment))
        return queryset


def _when(*kinds: str) -> str:
    return " || ".join(f"kind == '{kind}'" for kind in kinds)


@admin.register(Promotion)
class PromotionAdmin(BaseAdmin):
    form = PromotionForm
    list_display = ["title", "kind", "what", "state", "starts_at", "ends_at", "exclusion_group", "priority"]
    list_filter = [StateFilter, "kind"]
    search_fields = ["title"]
    ordering = ["-starts_at", "-pk"]
    inlines = [ExtraInline]
    autocomplete_fields = ["products", "categories", "brands", "except_products"]
    fieldsets = [
        (None, {"fields": ["title", ("kind", "is_active"), "starts_at", "ends_at"]}),
        (
            _("Which goods"),
            {
                "fields": ["products", "categories", "brands", "except_products"],
                "description": _("Without products, categories and brands: all goods."),
            },
        ),
        (
            _("From when, and how much"),
            {
                "fields": [
                    ("threshold_fen", "threshold_quantity"),
                    ("amount_fen", "off_bps"),
                    ("nth", "cap_fen"),
                    ("repeats", "max_times"),
                ]
            },
        ),
        (
            _("Together with others"),
            {
                "fields": [
                    ("exclusion_group", "priority"),
                    ("with_offers", "with_coupons"),
                    ("tiers", "only_new"),
                ]
            },
        ),
    ]
    conditional_fields = {
        "amount_fen": _when("amount_off", "bundle"),
        "off_bps": _when("percent_off", "nth_piece"),
        "nth": _when("nth_piece"),
        "cap_fen": _when("amount_off", "percent_off", "nth_piece"),
    }
    actions = ["switch_on", "switch_off"]
    actions_list = ["price_cart"]
    actions_detail = ["try_it", "rehearse"]

    def get_urls(self) -> list[Any]:
        page = path("price-cart/", self.admin_site.admin_view(self.cart_page), name="shop_promotion_cart")
        return [page, *super().get_urls()]

    @display(description=_("status"), label=STATE_COLOURS)
    def state(self, promotion: Promotion) -> tuple[str, Any]:
        state = promotion.state_at(clock.now())
        return state, Promotion.STATES[state]

    @admin.display(description=_("what it does"))
    def what(self, promotion: Promotion) -> str:
        """ "满 ¥200 减 ¥20 · 可叠加": the numbers at a glance."""
        parts: list[Any] = []
        if promotion.threshold_fen:
            parts.append(_("from ¥%(amount)s") % {"amount": _yuan(promotion.threshold_fen)})
        if promotion.threshold_quantity:
            parts.append(_("from %(count)d pieces") % {"count": promotion.threshold_quantity})
        if promotion.kind == Promotion.NTH_PIECE:
            parts.append(_("piece %(nth)d") % {"nth": promotion.nth})
        if promotion.kind == Promotion.AMOUNT_OFF:
            parts.append(f"−¥{_yuan(promotion.amount_fen)}")
        elif promotion.kind == Promotion.BUNDLE:
            parts.append(f"¥{_yuan(promotion.amount_fen)}")
        elif promotion.kind in (Promotion.PERCENT_OFF, Promotion.NTH_PIECE):
            parts.append(queries.paid_share(promotion.off_bps))
        if promotion.repeats:
            parts.append(_("repeats"))
        return " · ".join(str(part) for part in parts) or "–"

    @admin.action(description=_("Switch on"), permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Promotion]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description=_("Switch off"), permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Promotion]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Promotion], is_active: bool) -> None:
        count = services.switch_promotions(
            promotion_ids=list(queryset.values_list("pk", flat=True)), is_active=is_active
        )
        words = ngettext("%(count)d promotion changed.", "%(count)d promotions changed.", count)
        messages.success(request, words % {"count": count})

    @action(description=_("Price a cart"), url_path="price-a-cart", icon="shopping_cart")
    def price_cart(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:shop_promotion_cart"))

    @action(description=_("Try it on a cart"), url_path="try", icon="shopping_cart")
    def try_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(f"{reverse('admin:shop_promotion_cart')}?draft={int(object_id)}")

    @action(
        description=_("Rehearse with last month's orders"),
        url_path="rehearse",
        icon="theater_comedy",
        permissions=["rehearse"],
    )
    def rehearse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        with said(request):
            rehearsal = services.start_rehearsal(promotion_id=int(object_id), created_by_id=request.user.pk)
            return HttpResponseRedirect(reverse("admin:shop_rehearsal_change", args=[rehearsal.pk]))
        return HttpResponseRedirect(reverse("admin:shop_promotion_changelist"))

    def has_rehearse_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.add_rehearsal"))

    def cart_page(self, request: HttpRequest) -> HttpResponse:
        """Any cart, for any member, at any time: what it costs and why. It is a GET: the address can be passed on."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = "lines" in request.GET
        form = CartForm(request.GET if asked else None, initial={"draft": request.GET.get("draft")})
        context = {
            **self.admin_site.each_context(request),
            "title": _("Price a cart"),
            "opts": self.opts,
            "form": form,
            "priced": priced_cart(form.cleaned_data) if asked and form.is_valid() else None,
        }
        return TemplateResponse(request, "admin/shop/pricing_cart.html", context)


def _yuan(fen: int) -> str:
    return money.yuan(fen).removesuffix(".00")
