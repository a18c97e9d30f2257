"""Win-back rules in the admin: who would be reached now, what came of it, why somebody waits."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from campaigns import queries, services
from campaigns.admin.broadcasts import OFFICIAL
from campaigns.admin.forms import MESSAGE_CONDITIONS, MESSAGE_FIELDSETS, WinBackRuleForm
from campaigns.models import WinBackDecision, WinBackRule, WinBackSpell
from campaigns.queries import preview as preview_queries
from campaigns.queries import reason_label
from core import clock
from core.admin import BaseAdmin, ReadOnlyAdmin, TabularInline
from core.errors import Refusal
from core.money import yuan
from wechat import queries as wechat_queries

SPELL_COLOURS = {"waiting": "info", "sent": "success", "ended": "default", "gave_up": "danger"}


@admin.register(WinBackRule)
class WinBackRuleAdmin(BaseAdmin):
    form = WinBackRuleForm
    list_display = [
        "headline",
        "switch_label",
        "silent_days",
        "sent_label",
        "returned_label",
        "last_run_label",
    ]
    list_filter = ["is_active"]
    search_fields = ["name", "title", "text"]
    change_form_outer_before_template = "campaigns/win_back_outer.html"
    conditional_fields = MESSAGE_CONDITIONS
    fieldsets = [
        (
            None,
            {"fields": ["name", ("silent_days", "return_days"), ("account", "daily_limit"), "channels"]},
        ),
        *MESSAGE_FIELDSETS,
    ]

    class Media:
        css = {"all": ["campaigns/desk.css"]}

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        counts = queries.spells_by_rule([row.pk for row in rows]) if rows else {}
        returned = queries.returns_by_rule([row.pk for row in rows]) if rows else {}
        for row in rows:
            row.counts = counts.get(row.pk, {"sent": 0, "opened": 0, "waiting": 0})
            row.returned = returned.get(row.pk, (0, 0))
        changelist.result_list = rows
        return changelist

    @display(description=gettext_lazy("win-back rule"), header=True)
    def headline(self, row: WinBackRule) -> list[str]:
        return [row.name, row.title or row.text[:40]]

    @display(description=gettext_lazy("status"), label={"on": "success", "off": "default"})
    def switch_label(self, row: WinBackRule) -> tuple[str, str]:
        return ("on", _("running")) if row.is_active else ("off", _("switched off"))

    @display(description=gettext_lazy("sent / opened / waiting"))
    def sent_label(self, row: Any) -> str:
        return f"{row.counts['sent']:,} / {row.counts['opened']:,} / {row.counts['waiting']:,}"

    @display(description=gettext_lazy("came back"))
    def returned_label(self, row: Any) -> str:
        members, _paid_fen = row.returned
        return f"{members:,} ({round(100 * members / row.counts['sent'])}%)" if row.counts["sent"] else "–"

    @display(description=gettext_lazy("last run"))
    def last_run_label(self, row: WinBackRule) -> str:
        return f"{clock.local(row.last_run_at):%Y-%m-%d %H:%M}" if row.last_run_at else "–"

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account":
            kwargs["queryset"] = db_field.remote_field.model.objects.filter(is_active=True, kind__in=OFFICIAL)
            account = wechat_queries.find_account("service")
            kwargs["initial"] = account.pk if account else None
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: WinBackRule | None = None) -> bool:
        """A rule under which something was sent is history: switch it off instead."""
        if not super().has_delete_permission(request, obj):
            return False
        return obj is None or not obj.spells.filter(status=WinBackSpell.SENT).exists()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: WinBackRule, form: Any, change: bool) -> None:
        if not change:
            obj.created_at = clock.now()
            obj.save()
            return
        # Only what the form shows: the beat writes the other columns meanwhile.
        if changed := [name for name in form.changed_data if name in form.cleaned_data]:
            obj.save(update_fields=changed)

    def response_add(
        self, request: HttpRequest, obj: WinBackRule, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.message_user(
            request,
            _("Saved, still switched off. See whom it would reach, then switch it on."),
            messages.SUCCESS,
        )
        return HttpResponseRedirect(reverse("admin:campaigns_winbackrule_change", args=[obj.pk]))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        context = {"show_save_and_add_another": False, **(extra_context or {})}
        if object_id and object_id.isdigit():
            rule = WinBackRule.objects.filter(pk=object_id).first()
            if rule is not None and self.has_view_permission(request, rule):
                context.update(self.board_context(request, rule))
        return super().changeform_view(request, object_id, form_url, context)

    def board_context(self, request: HttpRequest, rule: WinBackRule) -> dict[str, Any]:
        days = queries.days_of_rule(rule)
        figures = queries.win_back_figures(rule)
        return {
            "rule": rule,
            "figures": figures,
            "paid_text": yuan(figures.paid_fen),
            "now": services.preview(rule),
            "may_switch": self.has_change_permission(request, rule)
            and request.user.has_perm("campaigns.send_broadcast"),
            "example": preview_queries.example_of(rule),
            "channel_names": queries.channel_names(rule.channels),
            "spells_url": reverse("admin:campaigns_winbackspell_changelist") + f"?rule__id__exact={rule.pk}",
            "has_days": any(day["sent"] for day in days),
            "days_chart": json.dumps(
                {
                    "labels": [f"{day['day'].month}/{day['day'].day}" for day in days],
                    "datasets": [
                        {
                            "label": _("sent"),
                            "data": [day["sent"] for day in days],
                            "backgroundColor": "#10b981",
                            "borderRadius": 3,
                        },
                        {
                            "label": _("opened"),
                            "data": [day["opened"] for day in days],
                            "backgroundColor": "#6366f1",
                            "borderRadius": 3,
                        },
                    ],
                }
            ),
            "chart_options": CHART_OPTIONS,
        }

    def get_urls(self) -> list[Any]:
        def page(route: str, view: Callable[..., HttpResponse], name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=f"campaigns_winbackrule_{name}")

        return [page("<int:pk>/switch/<str:way>/", self.switch, "switch"), *super().get_urls()]

    def switch(self, request: HttpRequest, pk: int, way: str) -> HttpResponse:
        rule = WinBackRule.objects.filter(pk=pk).first()
        if rule is None or way not in ("on", "off"):
            raise Http404
        if not (
            self.has_change_permission(request, rule) and request.user.has_perm("campaigns.send_broadcast")
        ):
            raise PermissionDenied
        if request.method == "POST":
            try:
                services.switch_rule(rule_id=pk, is_active=way == "on")
            except Refusal as refusal:
                self.message_user(request, refusal.message, messages.ERROR)
            else:
                done = (
                    _("Switched on: the next round begins within a minute.")
                    if way == "on"
                    else _("Switched off.")
                )
                self.message_user(request, done, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:campaigns_winbackrule_change", args=[pk]))


CHART_OPTIONS = json.dumps(
    {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "plugins": {
            "legend": {"display": True, "align": "end", "labels": {"boxWidth": 10, "color": "#9ca3af"}}
        },
        "scales": {
            "x": {
                "grid": {"display": False},
                "ticks": {"maxRotation": 0, "autoSkipPadding": 16, "color": "#9ca3af"},
            },
            "y": {"beginAtZero": True, "ticks": {"precision": 0, "color": "#9ca3af"}, "grid": {}},
        },
    }
)


class DecisionInline(TabularInline):
    model = WinBackDecision
    extra = 0
    fields = ["at", "answer", "channel", "reason_text", "until"]
    readonly_fields = fields
    ordering = ["-at", "-pk"]
    can_delete = False
    hide_title = True

    @display(description=gettext_lazy("reason"))
    def reason_text(self, row: WinBackDecision) -> str:
        return reason_label(row.reason) or "–"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(WinBackSpell)
class WinBackSpellAdmin(ReadOnlyAdmin):
    list_display = ["member_link", "rule", "silent_label", "state", "channel", "why", "times"]
    list_filter = ["status", "channel", "rule"]
    list_select_related = ["member", "rule"]
    search_fields = ["member__name"]
    ordering = ["-pk"]
    inlines = [DecisionInline]
    fields = [
        "rule", "member", "spell_started_at", "found_at", "status", "channel", "why", "tries", "next_try_at",
        "released_at", "opened_at",
    ]  # fmt: skip
    readonly_fields = fields

    @display(description=gettext_lazy("member"))
    def member_link(self, row: WinBackSpell) -> str:
        return format_html(
            '<a class="pd-link" href="{}">{}</a>',
            reverse("admin:campaigns_winbackspell_change", args=[row.pk]),
            row.member,
        )

    @display(description=gettext_lazy("silent since"), ordering="spell_started_at")
    def silent_label(self, row: WinBackSpell) -> str:
        return f"{clock.local(row.spell_started_at):%Y-%m-%d}"

    @display(description=gettext_lazy("status"), label=SPELL_COLOURS)
    def state(self, row: WinBackSpell) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description=gettext_lazy("reason"))
    def why(self, row: WinBackSpell) -> str:
        text = reason_label(row.reason) or "–"
        if row.status == WinBackSpell.WAITING and row.next_try_at:
            return f"{text} → {clock.local(row.next_try_at):%m-%d %H:%M}"
        return text

    @display(description=gettext_lazy("handed over / opened"))
    def times(self, row: WinBackSpell) -> str:
        if row.released_at is None:
            return "–"
        opened = f" / {clock.local(row.opened_at):%m-%d %H:%M}" if row.opened_at else ""
        return f"{clock.local(row.released_at):%m-%d %H:%M}{opened}"
