"""The touch policy with its days of rest, and the touches that were booked or refused."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display

from core.admin import BaseAdmin, ReadOnlyAdmin, TabularInline
from crm.admin.lists import CappedPaginator
from crm.admin.subjects import subject_link
from crm.models import Holiday, Touch, TouchPolicy
from crm.queries.touch import reason_label
from wechat import queries as wechat_queries


class PolicyForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        caps = [values.get(name) for name in ("max_per_day", "max_per_week", "max_per_month")]
        if None not in caps and not caps[0] <= caps[1] <= caps[2]:  # type: ignore[operator]
            raise forms.ValidationError(
                _("A longer time must allow at least as many touches as a shorter one.")
            )
        if 0 in caps:
            raise forms.ValidationError(
                _("At least one touch must be allowed. To send nothing, pause the broadcasts.")
            )
        return values


class HolidayInline(TabularInline):
    model = Holiday
    fields = ["day", "name"]
    extra = 1


@admin.register(TouchPolicy)
class TouchPolicyAdmin(BaseAdmin):
    form = PolicyForm
    inlines = [HolidayInline]
    fieldsets = [
        (_("When"), {"fields": [("quiet_from", "quiet_until"), "rests_on_holidays"]}),
        (_("How often"), {"fields": [("max_per_day", "max_per_week", "max_per_month")]}),
        (_("To whom"), {"fields": ["consent_rule"]}),
    ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one policy: the list is its page."""
        TouchPolicy.objects.get_or_create(pk=1)
        return HttpResponseRedirect(reverse("admin:crm_touchpolicy_change", args=[1]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ChannelFilter(admin.SimpleListFilter):
    title = _("channel")
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return wechat_queries.channel_labels()

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(channel=self.value()) if self.value() else queryset


@admin.register(Touch)
class TouchAdmin(ReadOnlyAdmin):
    list_display = ["at", "member_link", "origin_link", "channel_label", "purpose", "verdict", "why"]
    list_filter = ["answer", "purpose", ChannelFilter, ("at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["=origin", "=member__id"]
    search_help_text = _("Origin (broadcast:3) or member number")
    ordering = ["-pk"]
    paginator = CappedPaginator
    fields = ["at", "member_link", "origin_link", "channel_label", "purpose", "answer", "why"]
    readonly_fields = ["member_link", "origin_link", "channel_label", "why"]

    class Media:
        css = {"all": ["crm/admin.css"]}

    @display(description=_("channel"), ordering="channel")
    def channel_label(self, touch: Touch) -> str:
        return str(wechat_queries.channel_label(touch.channel)) if touch.channel else "–"

    @display(description=_("member"))
    def member_link(self, touch: Touch) -> str:
        address = reverse("admin:crm_member_change", args=[touch.member_id])
        return format_html('<a class="crm-link" href="{}">{}</a>', address, touch.member)

    @display(description=_("origin"))
    def origin_link(self, touch: Touch) -> str:
        link = subject_link(touch.origin)
        if not link.address:
            return link.label
        return format_html('<a class="crm-link" href="{}">{}</a>', link.address, link.label)

    @display(description=_("verdict"), label={"send": "success", "skip": "warning", "defer": "info"})
    def verdict(self, touch: Touch) -> tuple[str, str]:
        return touch.answer, touch.get_answer_display()

    @display(description=_("reason"))
    def why(self, touch: Touch) -> str:
        return reason_label(touch.reason) if touch.reason else "–"
