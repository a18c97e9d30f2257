"""Offers with the use of their quota, who took pieces, and who waits."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from core import clock, money
from core.admin import BaseAdmin, ReadOnlyAdmin, TabularInline
from shop.admin.fields import YuanField
from shop.admin.presale import PresaleInline
from shop.models import Offer, OfferTake, OfferWaiting


class OfferForm(forms.ModelForm):
    price_fen = YuanField(label=_("price (¥)"))

    class Meta:
        model = Offer
        fields = [
            *("name", "sku", "kind", "price_fen", "quota", "per_member_limit"),
            *("starts_at", "ends_at", "is_active"),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kind = self.fields.get("kind")
        if isinstance(kind, forms.ChoiceField) and self.instance.kind != Offer.GROUP:
            # Nobody can take one without a team.
            kind.choices = [one for one in Offer.KINDS if one[0] != Offer.GROUP]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        starts_at, ends_at = values.get("starts_at"), values.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", _("It must end after it starts."))
        if values.get("kind") == Offer.FIRST_ORDER and values.get("per_member_limit") != 1:
            self.add_error("per_member_limit", _("The first-order price is for one piece per person."))
        if (values.get("quota") or 0) < (self.instance.taken or 0):
            self.add_error("quota", _("More than that have been taken already."))
        return values


class RunningFilter(admin.SimpleListFilter):
    title = _("phase of the offer")
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("now", _("running")), ("soon", _("to come")), ("over", _("over")), ("gone", _("sold out"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Offer]) -> QuerySet[Offer]:
        moment = clock.now()
        running = Q(starts_at__lte=moment, ends_at__gt=moment, is_active=True)
        match self.value():
            case "now":
                return queryset.filter(running)
            case "soon":
                return queryset.filter(starts_at__gt=moment)
            case "over":
                return queryset.filter(ends_at__lte=moment)
            case "gone":
                return queryset.filter(running, taken__gte=F("quota"))
        return queryset


class LatestTakes(TabularInline):
    model = OfferTake
    fields = readonly_fields = ["order", "member", "taken_quantity", "quantity", "taken_at", "released_at"]
    verbose_name_plural = _("latest takes")
    extra = 0
    can_delete = False
    tab = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[OfferTake]:
        own = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        latest = OfferTake.objects.filter(offer_id=own or 0).order_by("-pk").values("pk")[:30]
        return (
            super()
            .get_queryset(request)
            .filter(pk__in=latest)
            .select_related("order", "member")
            .order_by("-pk")
        )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Offer)
class OfferAdmin(BaseAdmin):
    form = OfferForm
    list_display = [
        "name",
        "goods",
        "kind",
        "prices",
        "use",
        "waiting_count",
        "times",
        "state",
    ]
    list_filter = [RunningFilter, "kind", "is_active"]
    list_select_related = ["sku__product"]
    search_fields = ["name", "sku__code", "sku__product__name"]
    ordering = ["-starts_at", "-pk"]
    raw_id_fields = ["sku"]
    readonly_fields = ["use", "waiting_count"]
    fieldsets = [
        (None, {"fields": ["name", "sku", ("kind", "price_fen"), ("quota", "per_member_limit"),
                           ("starts_at", "ends_at"), "is_active"]}),
        (_("Figures"), {"fields": [("use", "waiting_count")]}),
    ]  # fmt: skip
    inlines = [PresaleInline, LatestTakes]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Offer]:
        untold = Q(waiting__told_at__isnull=True)
        waits, held = (
            Count("waiting", filter=untold),
            Count("waiting", filter=untold & ~Q(waiting__outcome="")),
        )
        return (
            super()
            .get_queryset(request)
            .select_related("sku__product")
            .annotate(waits=waits, waits_held=held)
        )

    @display(description=_("product"), header=True)
    def goods(self, offer: Offer) -> list[str]:
        return [offer.sku.product.name, f"{offer.sku.code} {offer.sku.name}".strip()]

    @display(description=_("price"), header=True, ordering="price_fen")
    def prices(self, offer: Offer) -> list[str]:
        usual = _("usually ¥%(price)s") % {"price": money.yuan(offer.sku.price_fen)}
        return [f"¥{money.yuan(offer.price_fen)}", str(usual)]

    @display(description=_("from and until"), header=True, ordering="starts_at")
    def times(self, offer: Offer) -> list[str]:
        return [f"{clock.local(at):%Y-%m-%d %H:%M}" for at in (offer.starts_at, offer.ends_at)]

    @admin.display(description=_("taken / quota"), ordering="taken")
    def use(self, offer: Offer) -> str:
        share = 100 * offer.taken // offer.quota if offer.quota else 100
        return f"{offer.taken} / {offer.quota} ({share}%)"

    @admin.display(description=_("waiting"), ordering="waits")
    def waiting_count(self, offer: Any) -> str:
        waits, held = getattr(offer, "waits", 0), getattr(offer, "waits_held", 0)
        if not held:
            return str(waits)
        return str(_("%(waits)d, of whom %(held)d cannot be told now") % {"waits": waits, "held": held})

    @display(
        description=_("state"),
        label={"running": "success", "gone": "warning", "soon": "info", "over": "default", "off": "danger"},
    )
    def state(self, offer: Offer) -> tuple[str, str]:
        moment = clock.now()
        if not offer.is_active:
            return "off", str(_("switched off"))
        if offer.ends_at <= moment:
            return "over", str(_("over"))
        if offer.starts_at > moment:
            return "soon", str(_("to come"))
        return ("running", str(_("running"))) if offer.left else ("gone", str(_("sold out")))

    def save_model(self, request: HttpRequest, obj: Offer, form: Any, change: bool) -> None:
        if not change:
            obj.created_at = clock.now()
            super().save_model(request, obj, form, change)
            return
        obj.save(update_fields=OfferForm.Meta.fields)  # `taken` may have grown since the page was opened

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Offers are switched off, not deleted: orders took pieces of them."""
        return False


class ToldFilter(admin.SimpleListFilter):
    title, parameter_name = _("state"), "told"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("waiting")), ("held", _("waiting, cannot be told now")), ("yes", _("she was told"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OfferWaiting]) -> QuerySet[OfferWaiting]:
        waiting = queryset.filter(told_at__isnull=True)
        match self.value():
            case "no":
                return waiting
            case "held":
                return waiting.exclude(outcome="")
            case "yes":
                return queryset.filter(told_at__isnull=False)
        return queryset


@admin.register(OfferWaiting)
class OfferWaitingAdmin(ReadOnlyAdmin):
    empty_hint = _("Shoppers who join the waiting list of a sold-out offer appear here.")
    list_display = ["offer", "member", "joined_at", "told_at", "outcome_words"]
    list_filter = [ToldFilter, ("offer", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["offer", "member"]
    ordering = ["-joined_at", "-pk"]
    paginator = InfinitePaginator
    fields = [("offer", "member"), ("joined_at", "told_at"), "outcome_words"]
    readonly_fields = ["outcome_words"]

    @admin.display(description=_("outcome"))
    def outcome_words(self, waiting: OfferWaiting) -> str:
        words = {
            "sent": _("she was told"),
            "no_window": _("a place came free, but she cannot be written to now; she keeps her place"),
            "touch_policy": _(
                "a place came free, but the touch policy holds messages back; she keeps her place"
            ),
        }
        return str(words.get(waiting.outcome, waiting.outcome or "–"))
