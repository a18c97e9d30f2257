"""Paid membership in the admin: the plans, and the terms that members bought."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core import clock, money
from core.admin import BaseAdmin, ReadOnlyAdmin
from crm.admin.lists import CappedPaginator
from crm.models import Membership, MembershipPlan, TierRule


def _levels() -> list[tuple[str, str]]:
    return [(name, name) for name in TierRule.objects.order_by("threshold").values_list("name", flat=True)]


class PlanForm(forms.ModelForm):
    tier = forms.ChoiceField(
        label=_("member tier"),
        choices=_levels,
        widget=UnfoldAdminSelectWidget(),
        help_text=_("One of the levels on the page “Tiers”. It must be switched on there."),
    )
    price_yuan = forms.CharField(
        label=_("price (¥)"), widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})
    )

    class Meta:
        model = MembershipPlan
        fields = ["name", "tier", "days", "benefits", "position", "is_active"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["price_yuan"] = money.yuan(self.instance.price_fen).replace(",", "")

    def clean_price_yuan(self) -> int:
        try:
            fen = money.fen_from_yuan(self.cleaned_data["price_yuan"])
        except ValueError:
            fen = 0
        if not 1 <= fen <= 10_000_000:
            raise forms.ValidationError(_("Enter an amount between ¥0.01 and ¥100,000."))
        return fen

    def clean_days(self) -> int:
        days = self.cleaned_data["days"]
        if not 1 <= days <= 3_650:
            raise forms.ValidationError(_("Between 1 and 3,650 days."))
        return int(days)

    def save(self, commit: bool = True) -> Any:
        self.instance.price_fen = self.cleaned_data["price_yuan"]
        return super().save(commit)


@admin.register(MembershipPlan)
class MembershipPlanAdmin(BaseAdmin):
    empty_hint = _("A plan sells a tier for some days: ¥199 for a year of gold, for example.")

    form = PlanForm
    list_display = ["name", "tier", "price", "days", "is_active"]
    list_filter = ["is_active", "tier"]
    search_fields = ["name"]
    ordering = ["position", "price_fen", "pk"]
    fields = ["name", ("tier", "price_yuan"), "days", "benefits", ("position", "is_active")]

    @display(description=_("price"), ordering="price_fen")
    def price(self, plan: MembershipPlan) -> str:
        return f"¥{money.yuan(plan.price_fen)}"


class RunningFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("running", _("running")), ("over", _("over")), ("back", _("given back"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "running":
            return queryset.filter(ended_at=None, ends_at__gt=clock.now())
        if self.value() == "over":
            return queryset.filter(ended_at=None, ends_at__lte=clock.now())
        return queryset.filter(ended_at__isnull=False) if self.value() == "back" else queryset


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    empty_hint = _("Memberships that members buy on their phones appear here.")
    list_display = ["member_link", "name", "tier", "begins_at", "ends_at", "ended_at"]
    list_display_links = ["name"]
    list_filter = [RunningFilter, "tier", ("ends_at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["name", "member__name", "=member__id"]
    search_help_text = _("Name, member's name or number")
    ordering = ["-pk"]
    paginator = CappedPaginator
    fields = [("member", "plan"), ("name", "tier"), ("begins_at", "ends_at"), ("ended_at", "cause")]

    class Media:
        css = {"all": ["crm/admin.css"]}

    @display(description=_("member"))
    def member_link(self, row: Membership) -> str:
        address = reverse("admin:crm_member_change", args=[row.member_id])
        return format_html('<a class="crm-link" href="{}">{}</a>', address, row.member)
