"""Recharging in the admin: the offers, how value is spent, and what members recharged."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core import money
from core.admin import BaseAdmin
from shop import services
from shop.admin.direct import DirectSaleAdmin
from shop.admin.fields import YuanField, said, who, yuan_column
from shop.models import DirectPayment, Recharge, RechargeOffer, RechargePolicy


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(label=_("reason"), max_length=80, widget=UnfoldAdminTextInputWidget())


class OfferForm(forms.ModelForm):
    pay_fen = YuanField(label=_("is paid (¥)"))
    bonus_fen = YuanField(label=_("bonus (¥)"), required=False)

    class Meta:
        model = RechargeOffer
        fields = [
            *("name", "pay_fen", "bonus_fen", "bonus_days", "per_member"),
            *("starts_at", "ends_at", "position", "is_active"),
        ]

    def clean_pay_fen(self) -> int:
        return self._within("pay_fen", 1)

    def clean_bonus_fen(self) -> int:
        return self._within("bonus_fen", 0)

    def _within(self, name: str, least: int) -> int:
        fen = self.cleaned_data[name] or 0
        if not least <= fen <= 10_000_000:
            raise forms.ValidationError(_("Enter an amount between ¥0.01 and ¥100,000."))
        return int(fen)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        starts_at, ends_at = values.get("starts_at"), values.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", _("It would end before it begins."))
        if (values.get("bonus_days") or 0) > 3_650:
            self.add_error("bonus_days", _("At most 3,650 days."))
        return values


@admin.register(RechargeOffer)
class RechargeOfferAdmin(BaseAdmin):
    empty_hint = _("Without an offer nobody can recharge: pay ¥500, get ¥50 on top, for example.")

    form = OfferForm
    list_display = ["title", "pay", "bonus", "per_member", "starts_at", "ends_at", "bought", "is_active"]
    list_filter = ["is_active", ("starts_at", RangeDateTimeFilter), ("ends_at", RangeDateTimeFilter)]
    list_filter_submit = True
    search_fields = ["name"]
    ordering = ["position", "pay_fen", "pk"]
    fields = [
        "name",
        ("pay_fen", "bonus_fen"),
        ("bonus_days", "per_member"),
        ("starts_at", "ends_at"),
        ("position", "is_active"),
    ]
    pay = yuan_column("pay_fen", _("is paid"))
    bonus = yuan_column("bonus_fen", _("bonus"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[RechargeOffer]:
        paid = Count("recharges", filter=Q(recharges__payment__status=DirectPayment.PAID))
        return super().get_queryset(request).annotate(bought_count=paid)

    @display(description=_("name"), ordering="name")
    def title(self, offer: RechargeOffer) -> str:
        return str(offer)

    @display(description=_("bought"), ordering="bought_count")
    def bought(self, offer: Any) -> int:
        return int(offer.bought_count)


@admin.register(RechargePolicy)
class RechargePolicyAdmin(BaseAdmin):
    fields = ["spending"]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row: the list is its page."""
        if RechargePolicy.objects.filter(pk=1).exists():
            return HttpResponseRedirect(reverse("admin:shop_rechargepolicy_change", args=[1]))
        return HttpResponseRedirect(reverse("admin:shop_rechargepolicy_add"))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Here and not as a permission, which every page of the admin asks for its menu."""
        if RechargePolicy.objects.filter(pk=1).exists():
            raise PermissionDenied
        return super().add_view(request, form_url, extra_context)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Recharge)
class RechargeAdmin(DirectSaleAdmin):
    """What members recharged."""

    empty_hint = _("What members recharge on their phones appears here.")
    list_display = ["payment", "member", "principal", "bonus", "offer", "state", "returned", "paid_at"]
    list_filter = ["payment__status", "offer", ("payment__paid_at", RangeDateTimeFilter)]
    list_select_related = ["payment__member", "offer"]
    fields = [
        ("payment", "member"),
        ("principal", "bonus"),
        ("bonus_days", "offer"),
        ("status", "returned"),
        "paid_at",
    ]
    readonly_fields = ["member", "principal", "bonus", "status", "returned", "paid_at"]
    principal = yuan_column("principal_fen", _("principal"))
    bonus = yuan_column("bonus_fen", _("bonus"))

    @action(
        description=_("Give back what is left"),
        url_path="give-back",
        icon="undo",
        permissions=["give_back"],
        dialog={
            "title": _("Give back what is left of this recharge?"),
            "description": _(
                "The principal that she has not spent goes back to her WeChat Pay, at most what this recharge paid in. "
                "The bonus that came with this part is taken back."
            ),
            "form_class": ReasonForm,
            "form_submit_text": _("Give back"),
        },
    )
    def give_back(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        with said(request):
            refund = services.refund_recharge(
                recharge_id=int(object_id),
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(
                request,
                _("¥%(amount)s is on its way back; a bonus of ¥%(bonus)s was taken back.")
                % {"amount": money.yuan(refund.amount_fen), "bonus": money.yuan(refund.bonus_fen)},
            )
        return self.to_page(object_id)
