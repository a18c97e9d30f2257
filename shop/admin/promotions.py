"""Promotions: a plain form per kind, what runs now, trying one on a cart and on last month's orders."""

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
from unfold.decorators import action, display

from core import clock, money
from core.admin import BaseAdmin, TabularInline
from shop import queries, services
from shop.admin.fields import TenthsField, YuanField, new_tiers_said, said, tiers_named
from shop.admin.pricing import CartForm, priced_cart
from shop.models import Promotion, PromotionExtra, PromotionLevel
from shop.queries.pricing import words_in

STATE_COLOURS = {"draft": "default", "upcoming": "info", "running": "success", "over": "warning"}


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tiers" in self.fields:  # a colleague who may only look has no fields
            tiers_named(self.fields["tiers"])

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


class ExtraFormSet(forms.BaseInlineFormSet):
    def clean(self) -> None:
        """What is switched on has what it gives, sells or needs (see `shop.pricing_audits`)."""
        super().clean()
        if any(self.errors) or not self.instance.is_active:
            return
        rows = [form.cleaned_data for form in self.forms if form.cleaned_data]
        pieces = sum(row.get("quantity") or 0 for row in rows if not row.get("DELETE"))
        if pieces < NEEDED.get(self.instance.kind, 0):
            raise forms.ValidationError(
                _("Add what is given, sold or belongs to the bundle (of a bundle at least two pieces).")
            )


NEEDED = {Promotion.GIFT: 1, Promotion.ADD_ON: 1, Promotion.BUNDLE: 2}


class ExtraInline(TabularInline):
    model = PromotionExtra
    form = ExtraForm
    formset = ExtraFormSet
    fields = ["sku", "quantity", "price_fen"]
    raw_id_fields = ["sku"]
    extra = 0
    verbose_name_plural = _("Gifts, add-ons or parts of the bundle")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PromotionExtra]:
        return super().get_queryset(request).select_related("sku__product")


class LevelForm(forms.ModelForm):
    threshold_fen = YuanField(label=_("from an amount of (¥)"), required=False)
    amount_fen = YuanField(label=_("amount (¥)"), required=False)
    off_bps = TenthsField(label=_("to pay (tenths)"), required=False)

    class Meta:
        model = PromotionLevel
        fields = ["threshold_fen", "threshold_quantity", "amount_fen", "off_bps"]

    def clean_threshold_fen(self) -> int:
        return self.cleaned_data["threshold_fen"] or 0

    def clean_amount_fen(self) -> int:
        return self.cleaned_data["amount_fen"] or 0


class LevelFormSet(forms.BaseInlineFormSet):
    def clean(self) -> None:
        """Each level asks for more than the one below and takes more off."""
        super().clean()
        rows = [
            form.cleaned_data
            for form in self.forms
            if form.is_valid() and form.cleaned_data and not form.cleaned_data.get("DELETE")
        ]
        if not rows or any(self.errors):
            return
        first = self.instance
        if first.kind not in (Promotion.AMOUNT_OFF, Promotion.PERCENT_OFF):
            raise forms.ValidationError(
                _("Only an amount or a percentage from a threshold has further levels.")
            )
        if first.repeats:
            raise forms.ValidationError(_("With further levels nothing repeats: take one of the two out."))
        worth = "amount_fen" if first.kind == Promotion.AMOUNT_OFF else "off_bps"
        below = {name: getattr(first, name) or 0 for name in ("threshold_fen", "threshold_quantity", worth)}
        for row in sorted(rows, key=lambda one: (one["threshold_fen"], one["threshold_quantity"] or 0)):
            row["threshold_quantity"] = row["threshold_quantity"] or 0
            steps = [row[name] - below[name] for name in ("threshold_fen", "threshold_quantity")]
            if min(steps) < 0 or max(steps) == 0 or row[worth] <= below[worth]:
                raise forms.ValidationError(
                    _("Each level has to ask for more than the one before it, and to take more off.")
                )
            below = row


class LevelInline(TabularInline):
    model = PromotionLevel
    form = LevelForm
    formset = LevelFormSet
    extra = 0
    hide_title = True
    verbose_name_plural = _("Further levels: the highest that a cart reaches counts")


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
    inlines = [LevelInline, ExtraInline]
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
                ],
                "description": _(
                    "Gifts: when what the shopper keeps after a return does not reach this any more, the gift goes "
                    "back with it. Measured at prices before promotions, coupons and points."
                ),
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Promotion]:
        return super().get_queryset(request).prefetch_related("levels")

    def get_urls(self) -> list[Any]:
        page = path("price-cart/", self.admin_site.admin_view(self.cart_page), name="shop_promotion_cart")
        return [page, *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Promotion, form: Any, change: bool) -> None:
        new_tiers_said(request, words_in(obj.tiers))
        super().save_model(request, obj, form, change)

    @display(description=_("status"), label=STATE_COLOURS)
    def state(self, promotion: Promotion) -> tuple[str, Any]:
        state = promotion.state_at(clock.now())
        return state, Promotion.STATES[state]

    @admin.display(description=_("what it does"))
    def what(self, promotion: Promotion) -> str:
        """ "满 ¥200 · −¥20 · 满 ¥500 · −¥80 · 可叠加": the numbers at a glance."""
        parts: list[Any] = []
        steps: list[Any] = [promotion, *promotion.levels.all()]
        for step in steps:
            if step.threshold_fen:
                parts.append(_("from ¥%(amount)s") % {"amount": _yuan(step.threshold_fen)})
            if step.threshold_quantity:
                parts.append(_("from %(count)d pieces") % {"count": step.threshold_quantity})
            if promotion.kind == Promotion.NTH_PIECE:
                parts.append(_("piece %(nth)d") % {"nth": promotion.nth})
            if promotion.kind == Promotion.AMOUNT_OFF:
                parts.append(f"−¥{_yuan(step.amount_fen)}")
            elif promotion.kind == Promotion.BUNDLE:
                parts.append(f"¥{_yuan(promotion.amount_fen)}")
            elif promotion.kind in (Promotion.PERCENT_OFF, Promotion.NTH_PIECE):
                parts.append(queries.paid_share(step.off_bps))
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
        count, unfinished = services.switch_promotions(
            promotion_ids=list(queryset.values_list("pk", flat=True)), is_active=is_active
        )
        if unfinished:
            names = "、".join(unfinished[:10])
            messages.warning(
                request,
                _("Not switched on, gifts, add-ons or parts are missing: %(names)s") % {"names": names},
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
