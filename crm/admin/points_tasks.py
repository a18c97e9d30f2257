"""Tasks for points in the admin: what members may do, and who has fulfilled what."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from core.admin import BaseAdmin, ReadOnlyAdmin
from crm.admin.lists import CappedPaginator
from crm.admin.points import statement_link
from crm.models import PointsTask, PointsTaskRun


class TaskForm(forms.ModelForm):
    points = forms.IntegerField(
        label=_("points"), min_value=1, max_value=1_000_000, widget=UnfoldAdminIntegerFieldWidget()
    )
    times = forms.IntegerField(
        label=_("how many times"),
        min_value=1,
        max_value=100,
        initial=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("So many of them are one fulfilment."),
    )

    class Meta:
        model = PointsTask
        fields = [
            *("name", "detail", "kind", "times", "period", "points", "link"),
            *("starts_at", "ends_at", "position", "is_active"),
        ]

    def clean_link(self) -> str:
        link = str(self.cleaned_data["link"]).strip()
        if link and not link.startswith("https://") and (not link.startswith("/") or link.startswith("//")):
            raise forms.ValidationError(
                _("Enter a page of this shop (/…) or an address that begins with https://.")
            )
        return link

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("kind") in PointsTask.LASTING:
            if values.get("period") not in (None, PointsTask.ONCE):
                self.add_error("period", _("Who is it, stays it: this can be rewarded once only."))
            if values.get("times") not in (None, 1):
                self.add_error("times", _("This happens once to a member."))
        starts_at, ends_at = values.get("starts_at"), values.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", _("It would end before it begins."))
        return values


@admin.register(PointsTask)
class PointsTaskAdmin(BaseAdmin):
    empty_hint = _(
        "Give points for following the account, adding a guide, a birthday, a review or a friend who looks in: "
        "members see their tasks in “Me”."
    )

    form = TaskForm
    list_display = ["name", "kind", "goal", "points", "fulfilled", "starts_at", "ends_at", "is_active"]
    list_filter = ["kind", "period", "is_active", ("ends_at", RangeDateTimeFilter)]
    list_filter_submit = True
    search_fields = ["name", "detail"]
    search_help_text = _("Name or description")
    ordering = ["position", "pk"]
    fields = [
        "name",
        "detail",
        ("kind", "points"),
        ("times", "period"),
        "link",
        ("starts_at", "ends_at"),
        ("position", "is_active"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PointsTask]:
        done = Count("runs", filter=Q(runs__done_at__isnull=False))
        return super().get_queryset(request).annotate(done_count=done)

    @display(description=_("rewarded"), ordering="times")
    def goal(self, task: PointsTask) -> str:
        period = str(task.get_period_display())
        return period if task.times == 1 else f"{period} × {task.times}"

    @display(description=_("times fulfilled"), ordering="done_count")
    def fulfilled(self, task: Any) -> str:
        return f"{task.done_count:,}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What it gave names it: it is switched off instead."""
        return False


class DoneFilter(admin.SimpleListFilter):
    title, parameter_name = _("state"), "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("done", _("fulfilled")), ("open", _("under way"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PointsTaskRun]) -> QuerySet[PointsTaskRun]:
        return queryset.filter(done_at__isnull=self.value() == "open") if self.value() else queryset


@admin.register(PointsTaskRun)
class PointsTaskRunAdmin(ReadOnlyAdmin):
    empty_hint = _("What members do for a task appears here.")
    list_display = ["member_link", "task", "period", "points", "done_at"]
    list_display_links = ["task"]
    list_filter = [DoneFilter, "task", ("done_at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member", "task"]
    search_fields = ["=member__id", "member__name", "task__name"]
    search_help_text = _("Member's name or number, or the task's name")
    ordering = ["-pk"]
    paginator = CappedPaginator
    fields = [("member_link", "task"), ("period", "points"), "done_at"]
    readonly_fields = ["member_link"]

    class Media:
        css = {"all": ["crm/admin.css"]}

    @display(description=_("member"))
    def member_link(self, row: PointsTaskRun) -> str:
        return statement_link(row.member)
