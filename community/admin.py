"""Groups in the admin: who owns them, how they grow, who is in them, and reading them from WeCom now."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from community import queries, services
from community.models import Group, GroupMember
from core import clock
from core.admin import ReadOnlyAdmin, TabularInline
from core.errors import Refusal
from core.models import Job
from crm.services import Cell, Panel, register_panel

JOB_COLOURS = {
    Job.QUEUED: "info",
    Job.RUNNING: "warning",
    Job.DONE: "success",
    Job.FAILED: "danger",
    Job.CANCELLED: "default",
}


class StayInline(TabularInline):
    """Who is in the group now; who has left is on the list of group members."""

    model = GroupMember
    extra = 0
    per_page = 30
    can_delete = False
    hide_title = True
    fields = ["person", "kind", "joined_by", "joined_at"]
    readonly_fields = fields
    ordering = ["kind", "-joined_at"]
    verbose_name_plural = gettext_lazy("In the group now")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(left_at__isnull=True).select_related("member")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description=gettext_lazy("name"))
    def person(self, row: GroupMember) -> str:
        return _person(row)

    @display(description=gettext_lazy("joined by"))
    def joined_by(self, row: GroupMember) -> str:
        scene = row.get_join_scene_display()
        return f"{scene} · {row.state}" if row.state else str(scene)


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    list_display = [
        "headline",
        "owner_label",
        "customers_count",
        "spark",
        "joined_label",
        "state",
        "read_label",
    ]
    list_filter = ["status", "owner"]
    list_select_related = ["owner", "account"]
    search_fields = ["name", "owner_userid", "chat_id"]
    search_help_text = gettext_lazy("Search by name, owner or chat id")
    ordering = ["-customers_count", "pk"]
    inlines = [StayInline]
    fields = ["name", "owner_label", "notice", "status", "created_at", "read_at", "last_error"]
    readonly_fields = fields
    change_form_outer_before_template = "community/group_outer.html"
    list_before_template = "community/groups_before.html"

    class Media:
        css = {"all": ["campaigns/desk.css"]}

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        grown = queries.growth([row.pk for row in rows]) if rows else {}
        for row in rows:
            row.grown = grown.get(row.pk, [])
        changelist.result_list = rows
        return changelist

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), **self.sync_context(request)})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        context = dict(extra_context or {})
        group = Group.objects.filter(pk=object_id).first() if object_id and object_id.isdigit() else None
        if group is not None:
            days = queries.growth([group.pk], days=30)[group.pk]
            context.update(
                {
                    "group": group,
                    "joined": sum(day.joined for day in days),
                    "left": sum(day.left for day in days),
                    "growth_chart": growth_chart(days),
                    "growth_options": GROWTH_OPTIONS,
                    "stays_url": reverse("admin:community_groupmember_changelist")
                    + f"?group__id__exact={group.pk}",
                }
            )
        return super().changeform_view(request, object_id, form_url, context)

    def get_urls(self) -> list[Any]:
        def page(route: str, view: Callable[..., HttpResponse], name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=f"community_group_{name}")

        return [
            page("sync/", self.sync, "sync"),
            page("sync/board/", self.sync_board, "sync_board"),
            *super().get_urls(),
        ]

    def sync_context(self, request: HttpRequest) -> dict[str, Any]:
        job = queries.last_sync()
        days = queries.growth_of_all()
        return {
            "sync_job": job,
            "sync_report": queries.sync_report(job) if job else None,
            "sync_colour": JOB_COLOURS.get(job.status, "default") if job else "default",
            "sync_runs": bool(job and job.status in (Job.QUEUED, Job.RUNNING)),
            "may_sync": request.user.has_perm("community.sync_group"),
            "growth_chart": growth_chart(days) if days else "",
            "growth_options": GROWTH_OPTIONS,
            "customers": days[-1].customers if days else 0,
            "joined": sum(day.joined for day in days),
            "left": sum(day.left for day in days),
        }

    def sync(self, request: HttpRequest) -> HttpResponse:
        """Queue a read of all groups; the list shows its progress."""
        if not request.user.has_perm("community.sync_group"):
            raise PermissionDenied
        if request.method == "POST":
            try:
                services.start_sync(created_by_id=request.user.pk)
            except Refusal as refusal:
                self.message_user(request, refusal.message, messages.ERROR)
            else:
                self.message_user(
                    request, _("Reading all groups from WeCom. The progress is below."), messages.SUCCESS
                )
        return HttpResponseRedirect(reverse("admin:community_group_changelist"))

    def sync_board(self, request: HttpRequest) -> HttpResponse:
        """The part of the list that renews itself while a sync runs."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self.sync_context(request)
        if context["sync_job"] is None:
            raise Http404
        response = render(request, "community/sync_board.html", context)
        if not context["sync_runs"]:
            response.headers["HX-Refresh"] = "true"  # the list itself is out of date now
        return response

    @display(description=gettext_lazy("customer group"), header=True, ordering="name")
    def headline(self, row: Group) -> list[str]:
        return [row.name or row.chat_id, row.notice[:40]]

    @display(description=gettext_lazy("group owner"), ordering="owner_userid")
    def owner_label(self, row: Group) -> str:
        return str(row.owner) if row.owner else row.owner_userid or "–"

    @display(description=gettext_lazy("30 days"))
    def spark(self, row: Any) -> SafeString:
        values = [day.customers for day in row.grown]
        return format_html(
            '<svg class="pd-spark" style="width:110px;margin:0" viewBox="0 0 120 32" preserveAspectRatio="none" '
            'role="img" aria-label="{}"><polyline points="{}"/></svg>',
            _("from %(first)d to %(last)d customers") % {"first": values[0], "last": values[-1]}
            if values
            else "",
            spark_points(values),
        )

    @display(description=gettext_lazy("joined / left in 30 days"))
    def joined_label(self, row: Any) -> str:
        return f"+{sum(day.joined for day in row.grown)} / −{sum(day.left for day in row.grown)}"

    @display(
        description=gettext_lazy("status"),
        label={"active": "success", "dismissed": "danger", "error": "warning"},
    )
    def state(self, row: Group) -> tuple[str, str]:
        if row.last_error and row.status == Group.ACTIVE:
            return "error", _("read failed")
        return row.status, row.get_status_display()

    @display(description=gettext_lazy("last read"), ordering="read_at")
    def read_label(self, row: Group) -> str:
        return f"{clock.local(row.read_at):%m-%d %H:%M}" if row.read_at else "–"


@admin.register(GroupMember)
class GroupMemberAdmin(ReadOnlyAdmin):
    list_display = ["person", "group", "kind", "state_label", "join_scene", "joined_at", "left_at"]
    list_filter = ["kind", ("left_at", admin.EmptyFieldListFilter), "join_scene"]
    list_select_related = ["group", "member"]
    search_fields = ["name", "member__name"]
    ordering = ["-joined_at"]
    fields = ["person", "group", "kind", "state", "join_scene", "joined_at", "left_at"]
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "group__id__exact" or super().lookup_allowed(lookup, value, request)

    @display(description=gettext_lazy("name"))
    def person(self, row: GroupMember) -> str:
        return _person(row)

    @display(description=gettext_lazy("status"), label={"in": "success", "left": "default"})
    def state_label(self, row: GroupMember) -> tuple[str, str]:
        return ("left", _("left")) if row.left_at else ("in", _("in the group"))


def _person(row: GroupMember) -> str:
    name = row.name or (str(row.member) if row.member else row.platform_id)
    if row.member_id is None:
        return name
    return format_html(
        '<a class="pd-link" href="{}">{}</a>', reverse("admin:crm_member_change", args=[row.member_id]), name
    )


def groups_panel(member_id: int, viewer: Any) -> Panel:
    """Her groups on the page of a member."""
    return Panel(
        title=_("Customer groups"),
        rows=[
            [
                Cell(str(stay.group), address=reverse("admin:community_group_change", args=[stay.group_id])),
                Cell(
                    _("left") if stay.left_at else _("in the group"),
                    state="plain" if stay.left_at else "good",
                    note=f"{clock.local(stay.left_at or stay.joined_at):%Y-%m-%d}",
                ),
            ]
            for stay in queries.stays_of(member_id)
        ],
        empty=_("She is in no customer group."),
    )


register_panel("community.groups", groups_panel, permission="community.view_group", position=30)


def spark_points(values: list[int], *, width: int = 120, height: int = 32) -> str:
    """Points of an SVG polyline from the smallest to the biggest value; a flat line when nothing moves."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step, reach = width / (len(values) - 1), (high - low) or 1
    return " ".join(
        f"{number * step:.1f},{height - 3 - (height - 6) * (value - low) / reach:.1f}"
        for number, value in enumerate(values)
    )


def growth_chart(days: list[queries.GrowthDay]) -> str:
    return json.dumps(
        {
            "labels": [f"{day.day.month}/{day.day.day}" for day in days],
            "datasets": [
                {
                    "type": "line",
                    "label": _("customers"),
                    "data": [day.customers for day in days],
                    "borderColor": "#059669",
                    "backgroundColor": "rgba(16,185,129,0.12)",
                    "fill": True,
                    "tension": 0.3,
                    "pointRadius": 0,
                    "pointHitRadius": 12,
                    "borderWidth": 2,
                    "yAxisID": "y",
                },
                {
                    "type": "bar",
                    "label": _("joined"),
                    "data": [day.joined for day in days],
                    "backgroundColor": "#6366f1",
                    "borderRadius": 3,
                    "yAxisID": "moves",
                },
                {
                    "type": "bar",
                    "label": _("left"),
                    "data": [-day.left for day in days],
                    "backgroundColor": "#f59e0b",
                    "borderRadius": 3,
                    "yAxisID": "moves",
                },
            ],
        }
    )


_TICKS = {"precision": 0, "color": "#9ca3af"}
GROWTH_OPTIONS = json.dumps(
    {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {"align": "end", "labels": {"boxWidth": 10, "boxHeight": 10, "color": "#9ca3af"}}
        },
        "scales": {
            "x": {
                "stacked": True,
                "grid": {"display": False},
                "ticks": {"maxRotation": 0, "autoSkipPadding": 16, "color": "#9ca3af"},
            },
            "y": {"ticks": _TICKS, "grid": {}, "beginAtZero": True},
            "moves": {"position": "right", "grid": {"display": False}, "ticks": _TICKS, "stacked": True},
        },
    }
)
