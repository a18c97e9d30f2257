"""Tiers in the admin: all levels on one page, tried on every member before they are saved; and who moved when."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from core import money
from core.admin import BaseAdmin, ReadOnlyAdmin
from core.errors import Refusal
from core.models import Job
from crm import queries, services
from crm.admin.lists import CappedPaginator
from crm.models import TierChange, TierPolicy, TierRule
from crm.queries.tiers import TierPlan
from crm.services.tiers_moves import KIND, check_levels
from crm.tiers_rules import Level

SPARE = 2


class PolicyForm(forms.Form):
    is_active = forms.BooleanField(label=_("switched on"), required=False, widget=UnfoldBooleanSwitchWidget())
    basis = forms.ChoiceField(
        label=_("tiers go by"), choices=TierPolicy.BASES, widget=UnfoldAdminSelectWidget()
    )
    window_days = forms.IntegerField(
        label=_("of the last (days)"),
        min_value=0,
        max_value=3_650,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("0: of all time."),
    )
    keep_days = forms.IntegerField(
        label=_("a tier is kept for (days)"),
        min_value=1,
        max_value=3_650,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_(
            "After that she keeps it when she still reaches it, else she goes to the tier she reaches."
        ),
    )


class LevelForm(forms.Form):
    """One row; without a name it is no level. `threshold` is growth value, or yuan when tiers go by spend."""

    name = forms.CharField(
        label=_("member tier"), max_length=40, required=False, widget=UnfoldAdminTextInputWidget()
    )
    threshold = forms.CharField(
        label=_("begins at"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )
    percent = forms.IntegerField(
        label=_("points (per cent)"),
        min_value=0,
        max_value=1_000,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    benefits = forms.CharField(
        label=_("benefits"),
        max_length=500,
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def level(self, basis: str) -> services.LevelInput | None:
        """None for an empty row; adds an error and raises ValueError when the threshold is no number."""
        given = self.cleaned_data
        name = " ".join(given.get("name", "").split())
        if not name:
            return None
        text = given.get("threshold", "").strip() or "0"
        try:
            threshold = money.fen_from_yuan(text) if basis == TierPolicy.SPEND else int(text.replace(",", ""))
        except ValueError:
            self.add_error("threshold", _("Enter a number."))
            raise
        percent = given.get("percent")
        return services.LevelInput(
            name=name,
            threshold=threshold,
            points_bps=10_000 if percent is None else percent * 100,
            benefits=given.get("benefits", "").replace("\x00", "").strip(),
        )


LevelFormSet = forms.formset_factory(LevelForm, extra=SPARE, max_num=20, absolute_max=20)


@admin.register(TierPolicy)
class TierPolicyAdmin(BaseAdmin):
    """The list is the page itself: levels belong together, so they are changed together."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        return [
            path("", self.admin_site.admin_view(self.tiers), name="crm_tierpolicy_changelist"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_tierpolicy_changelist"))

    def tiers(self, request: HttpRequest) -> HttpResponse:
        """GET shows the rules in force; POST tries others on all members, and with `save` keeps and applies them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        moves, members, refusal = None, 0, ""
        if request.method == "POST":
            if not self.has_change_permission(request):
                raise PermissionDenied
            policy, levels = PolicyForm(request.POST), LevelFormSet(request.POST)
            plan, refusal = self._read(policy, levels)
            if plan is not None and "save" in request.POST:
                try:
                    return self._save(request, policy, plan)
                except Refusal as told:
                    refusal = told.message
            elif plan is not None:
                members, moves = queries.preview_tiers(
                    TierPlan(
                        policy.cleaned_data["basis"],
                        policy.cleaned_data["window_days"],
                        policy.cleaned_data["keep_days"],
                        tuple(
                            Level(one.name, one.threshold)
                            for one in sorted(plan, key=lambda level: level.threshold)
                        ),
                    )
                )
        else:
            policy, levels = self._current()
        job = Job.objects.filter(kind=KIND).order_by("-pk").first()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Tiers"),
            "opts": self.opts,
            "policy": policy,
            "levels": levels,
            "moves": moves,
            "members": members,
            "moving": sum(move.count for move in moves or [] if not move.waits),
            "refusal": refusal,
            "job": job,
            "may_change": self.has_change_permission(request),
        }
        status = 422 if refusal or policy.errors or any(levels.errors) else 200
        return TemplateResponse(request, "crm/admin/tiers.html", context, status=status)

    def _current(self) -> tuple[PolicyForm, Any]:
        row = TierPolicy.objects.filter(pk=1).first() or TierPolicy()
        policy = PolicyForm(
            initial={name: getattr(row, name) for name in ("is_active", "basis", "window_days", "keep_days")}
        )
        by_spend = row.basis == TierPolicy.SPEND
        initial = [
            {
                "name": rule.name,
                "threshold": money.yuan(rule.threshold).replace(",", "") if by_spend else rule.threshold,
                "percent": rule.points_bps // 100,
                "benefits": rule.benefits,
            }
            for rule in TierRule.objects.order_by("threshold")
        ]
        return policy, LevelFormSet(initial=initial)

    def _read(self, policy: PolicyForm, levels: Any) -> tuple[list[services.LevelInput] | None, str]:
        """The levels as they were typed; None with what is wrong with them."""
        if not policy.is_valid() or not levels.is_valid():
            return None, str(_("Please look at the fields that are marked."))
        try:
            found = [form.level(policy.cleaned_data["basis"]) for form in levels]
        except ValueError:
            return None, str(_("Please look at the fields that are marked."))
        plan = [level for level in found if level is not None]
        try:
            check_levels(plan)
        except Refusal as refusal:
            return None, refusal.message
        return plan, ""

    def _save(
        self, request: HttpRequest, policy: PolicyForm, plan: list[services.LevelInput]
    ) -> HttpResponse:
        job = services.save_tiers(levels=plan, by_id=request.user.pk, **policy.cleaned_data)
        if job is None:
            messages.success(request, _("Saved. Tiers are switched off: nobody moves."))
        else:
            messages.success(
                request, _("Saved. All members are being looked at; the bar below says how far it is.")
            )
        return HttpResponseRedirect(reverse("admin:crm_tierpolicy_changelist"))


@admin.register(TierChange)
class TierChangeAdmin(ReadOnlyAdmin):
    empty_hint = _("Members who rise or fall by the rules appear here.")

    list_display = ["at", "member_link", "step", "reason", "reached"]
    list_filter = ["reason", "new", ("at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["=member__id", "member__name"]
    search_help_text = _("Member's name or number")
    ordering = ["-pk"]
    paginator = CappedPaginator

    class Media:
        css = {"all": ["crm/admin.css"]}

    @display(description=_("member"))
    def member_link(self, row: TierChange) -> str:
        address = reverse("admin:crm_member_change", args=[row.member_id])
        return format_html('<a class="crm-link" href="{}">{}</a>', address, row.member)

    @display(description=_("tier"))
    def step(self, row: TierChange) -> str:
        none = str(_("none"))
        return f"{row.old or none} → {row.new or none}"

    @display(description=_("value"), ordering="value")
    def reached(self, row: TierChange) -> str:
        return f"{row.value:,}"
