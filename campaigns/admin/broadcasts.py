"""Broadcasts in the admin: write, plan, look, confirm, watch. Every button asks one service."""

import csv
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from campaigns import queries, services
from campaigns.admin.forms import (
    MESSAGE_CONDITIONS,
    MESSAGE_FIELDSETS,
    BroadcastForm,
    PreviewForm,
    ScheduleForm,
    shown_when,
)
from campaigns.errors import NotNow
from campaigns.models import Broadcast
from campaigns.queries import preview as preview_queries
from core import clock
from core.admin import BaseAdmin
from core.errors import Refusal
from core.money import yuan
from wechat import queries as wechat_queries

COLOURS = {
    Broadcast.DRAFT: "default",
    Broadcast.PLANNED: "info",
    Broadcast.SCHEDULED: "info",
    Broadcast.SENDING: "warning",
    Broadcast.PAUSED: "warning",
    Broadcast.DONE: "success",
    Broadcast.CANCELLED: "danger",
}
OFFICIAL = ("service", "subscription")


@admin.register(Broadcast)
class BroadcastAdmin(BaseAdmin):
    form = BroadcastForm
    list_display = ["headline", "state", "audience_label", "reach_label", "opened_label", "when_label"]
    list_filter = ["status", "purpose", "channel"]
    list_select_related = ["segment", "account"]
    search_fields = ["name", "title", "text"]
    search_help_text = gettext_lazy("Search by name, title or text")
    ordering = ["-pk"]
    change_form_outer_before_template = "campaigns/broadcast_outer.html"
    conditional_fields = {
        "segment": shown_when("audience", "segment"),
        **MESSAGE_CONDITIONS,
    }
    fieldsets = [
        (None, {"fields": ["name", ("audience", "segment")]}),
        *MESSAGE_FIELDSETS,
        (
            gettext_lazy("Sending"),
            {"fields": [("account", "channel"), ("purpose", "patience_hours")]},
        ),
    ]

    class Media:
        css = {"all": ["campaigns/desk.css"]}

    # --- list -----------------------------------------------------------------------------------------------------

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        figures = queries.reach_by_broadcast([row.pk for row in rows]) if rows else {}
        for row in rows:
            row.figures = figures.get(row.pk)
        changelist.result_list = rows
        return changelist

    @display(description=gettext_lazy("broadcast"), header=True, ordering="name")
    def headline(self, row: Broadcast) -> list[str]:
        return [row.name, row.title or row.text[:40] or row.template_id]

    @display(description=gettext_lazy("status"), label=COLOURS, ordering="status")
    def state(self, row: Broadcast) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description=gettext_lazy("audience"))
    def audience_label(self, row: Broadcast) -> str:
        return str(row.segment) if row.segment else row.get_audience_display()

    @display(description=gettext_lazy("handed over / audience"))
    def reach_label(self, row: Any) -> str:
        if not row.figures:
            return "–"
        if row.status in (Broadcast.PLANNED, Broadcast.SCHEDULED):
            return _("%(planned)s planned, %(skipped)s skipped") % {
                "planned": f"{row.figures['planned']:,}",
                "skipped": f"{row.figures['skipped']:,}",
            }
        return f"{row.figures['released']:,} / {row.figures['audience']:,}"

    @display(description=gettext_lazy("opened"))
    def opened_label(self, row: Any) -> str:
        if not row.figures or not row.figures["released"]:
            return "–"
        opened, released = row.figures["opened"], row.figures["released"]
        return f"{opened:,} ({round(100 * opened / released)}%)"

    @display(description=gettext_lazy("time"), ordering="started_at")
    def when_label(self, row: Broadcast) -> str:
        moment = row.started_at or row.scheduled_at or row.created_at
        return f"{clock.local(moment):%Y-%m-%d %H:%M}"

    # --- form -----------------------------------------------------------------------------------------------------

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account":
            kwargs["queryset"] = db_field.remote_field.model.objects.filter(is_active=True, kind__in=OFFICIAL)
            account = wechat_queries.find_account("service")
            kwargs["initial"] = account.pk if account else None
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Broadcast | None = None) -> Any:
        """Of what has begun, the board shows the words; the form keeps the settings."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        return fieldsets if obj is None or obj.is_editable else [fieldsets[0], fieldsets[-1]]

    def get_readonly_fields(self, request: HttpRequest, obj: Broadcast | None = None) -> list[str]:
        return [] if obj is None or obj.is_editable else list(services.WRITTEN)

    def has_delete_permission(self, request: HttpRequest, obj: Broadcast | None = None) -> bool:
        """What has begun is a fact; only what never went may be deleted."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.started_at is None)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: Broadcast, form: Any, change: bool) -> None:
        try:
            services.save_broadcast(broadcast=obj, by_id=request.user.pk, is_new=not change)
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)

    def response_add(
        self, request: HttpRequest, obj: Broadcast, post_url_continue: str | None = None
    ) -> HttpResponse:
        """After writing comes the plan: stay on the broadcast."""
        if "_addanother" in request.POST or "_popup" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.message_user(request, _("Saved. Next: make the plan and see who gets it."), messages.SUCCESS)
        return HttpResponseRedirect(_page(obj.pk))

    def response_change(self, request: HttpRequest, obj: Broadcast) -> HttpResponse:
        if "_save" in request.POST:
            self.message_user(request, _("Saved. Next: make the plan and see who gets it."), messages.SUCCESS)
            return HttpResponseRedirect(_page(obj.pk))
        return super().response_change(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        context = {
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
            **(extra_context or {}),
        }
        if object_id and object_id.isdigit():
            broadcast = Broadcast.objects.select_related("account", "segment").filter(pk=object_id).first()
            if broadcast is not None and self.has_view_permission(request, broadcast):
                context.update(self.board_context(request, broadcast))
                if not broadcast.is_editable:
                    context["show_save"] = False
                    if request.method == "POST":  # the page was open while somebody else started it
                        self.message_user(
                            request, NotNow(broadcast.get_status_display()).message, messages.ERROR
                        )
                        return HttpResponseRedirect(_page(broadcast.pk))
        return super().changeform_view(request, object_id, form_url, context)

    # --- pages beside the form --------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        def page(route: str, view: Callable[..., Any], name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=f"campaigns_broadcast_{name}")

        return [
            page("<int:pk>/board/", self.board, "board"),
            page("<int:pk>/do/<str:step>/", self.do_step, "do"),
            page("<int:pk>/start/", self.confirm_start, "start"),
            page("<int:pk>/cancel/", self.confirm_cancel, "cancel"),
            page("<int:pk>/preview/", self.preview, "preview"),
            page("<int:pk>/export/", self.export, "export"),
            *super().get_urls(),
        ]

    def board_context(self, request: HttpRequest, broadcast: Broadcast) -> dict[str, Any]:
        figures = queries.broadcast_figures(broadcast)
        return {
            "broadcast": broadcast,
            "figures": figures,
            "paid_text": yuan(figures.paid_fen),
            "state_colour": COLOURS[broadcast.status],
            "may_send": request.user.has_perm("campaigns.send_broadcast"),
            "may_export": request.user.has_perm("campaigns.export_broadcast"),
            "example": preview_queries.example_of(broadcast),
            "recipients_url": reverse("admin:campaigns_broadcastrecipient_changelist")
            + f"?broadcast__id__exact={broadcast.pk}",
            "work_tasks": wechat_queries.work_tasks(broadcast.origin)
            if "work_mass" in broadcast.bodies
            else [],
        }

    def board(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of the page that renews itself while sending."""
        broadcast = self._broadcast(request, pk)
        response = render(request, "campaigns/broadcast_board.html", self.board_context(request, broadcast))
        if broadcast.status != request.GET.get("was"):
            response.headers["HX-Refresh"] = "true"  # other buttons fit now: load the whole page
        return response

    def do_step(self, request: HttpRequest, pk: int, step: str) -> HttpResponse:
        """The steps that need no second look: plan, pause, resume, unschedule, copy."""
        self._broadcast(request, pk)
        if request.method != "POST":
            return HttpResponseRedirect(_page(pk))
        if step == "copy":
            if not self.has_add_permission(request):
                raise PermissionDenied
            copy = services.copy_broadcast(broadcast_id=pk, by_id=request.user.pk)
            self.message_user(request, _("Copied. Change what you like, then plan it."), messages.SUCCESS)
            return HttpResponseRedirect(_page(copy.pk))
        steps: dict[str, tuple[Callable[[], Any], str]] = {
            "plan": (
                lambda: services.plan_broadcast(broadcast_id=pk),
                _("The plan stands. Look at it, then start."),
            ),
            "pause": (
                lambda: services.pause_broadcast(broadcast_id=pk),
                _("Paused. Nobody else gets it until you go on."),
            ),
            "resume": (lambda: services.resume_broadcast(broadcast_id=pk), _("It goes on.")),
            "unschedule": (
                lambda: services.unschedule_broadcast(broadcast_id=pk),
                _("No longer scheduled; the plan stays."),
            ),
        }
        if step not in steps:
            raise Http404
        self._may_send(request)
        command, done = steps[step]
        self._run(request, command, done)
        return HttpResponseRedirect(_page(pk))

    def confirm_start(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The last look before it goes: how many get it, who does not and why, now or when."""
        broadcast = self._broadcast(request, pk)
        self._may_send(request)
        form = ScheduleForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            if form.cleaned_data["when"] == "later":
                at = form.cleaned_data["at"]
                done = _("Scheduled for %(moment)s.") % {"moment": f"{clock.local(at):%Y-%m-%d %H:%M}"}
                self._run(request, lambda: services.schedule_broadcast(broadcast_id=pk, at=at), done)
            else:
                self._run(request, lambda: services.start_broadcast(broadcast_id=pk), _("On its way."))
            return HttpResponseRedirect(_page(pk))
        if broadcast.status != Broadcast.PLANNED:
            self.message_user(
                request, _("Make the plan first: it shows who gets the message."), messages.WARNING
            )
            return HttpResponseRedirect(_page(pk))
        context = {
            **self._page_context(request, broadcast, _("Start the broadcast?")),
            "schedule_form": form,
            "earliest": f"{clock.local(clock.now()):%Y-%m-%dT%H:%M}",
            "plan_is_old": broadcast.planned_at
            and (clock.now() - broadcast.planned_at).total_seconds() > 3600,
        }
        return render(request, "campaigns/broadcast_start.html", context)

    def confirm_cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        broadcast = self._broadcast(request, pk)
        self._may_send(request)
        if request.method == "POST":
            self._run(
                request,
                lambda: services.cancel_broadcast(broadcast_id=pk),
                _("Cancelled. Whoever was still waiting gets nothing."),
            )
            return HttpResponseRedirect(_page(pk))
        return render(
            request,
            "campaigns/broadcast_cancel.html",
            self._page_context(request, broadcast, _("Cancel the broadcast?")),
        )

    def preview(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send it to one test member."""
        broadcast = self._broadcast(request, pk)
        self._may_send(request)
        form = PreviewForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            member_id = form.cleaned_data["member"]
            self._run(
                request,
                lambda: services.send_preview(broadcast_id=pk, member_id=member_id, by_id=request.user.pk),
                _("The preview is on its way to the test member."),
            )
            return HttpResponseRedirect(reverse("admin:campaigns_broadcast_preview", args=[pk]))
        context = {
            **self._page_context(request, broadcast, _("Preview on a test member")),
            "preview_form": form,
            "candidates": preview_queries.preview_members(broadcast.account_id),
        }
        return render(request, "campaigns/broadcast_preview.html", context)

    def export(self, request: HttpRequest, pk: int) -> HttpResponse | StreamingHttpResponse:
        """Every recipient with her outcome, as CSV that spreadsheets open in Chinese."""
        broadcast = self._broadcast(request, pk)
        if not request.user.has_perm("campaigns.export_broadcast"):
            raise PermissionDenied
        response = StreamingHttpResponse(csv_lines(broadcast), content_type="text/csv; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="broadcast-{pk}.csv"'
        return response

    # --- shared -----------------------------------------------------------------------------------------------------

    def _broadcast(self, request: HttpRequest, pk: int) -> Broadcast:
        broadcast = Broadcast.objects.select_related("account", "segment").filter(pk=pk).first()
        if broadcast is None:
            raise Http404
        if not self.has_view_permission(request, broadcast):
            raise PermissionDenied
        return broadcast

    def _may_send(self, request: HttpRequest) -> None:
        if not request.user.has_perm("campaigns.send_broadcast"):
            raise PermissionDenied

    def _run(self, request: HttpRequest, command: Callable[[], Any], done: str) -> None:
        try:
            command()
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        else:
            self.message_user(request, done, messages.SUCCESS)

    def _page_context(self, request: HttpRequest, broadcast: Broadcast, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            **self.board_context(request, broadcast),
            "title": title,
            "opts": self.model._meta,
            "original": broadcast,
            "back_url": _page(broadcast.pk),
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Broadcast]:
        return super().get_queryset(request).select_related("segment", "account")


def _page(pk: int) -> str:
    return reverse("admin:campaigns_broadcast_change", args=[pk])


class _Echo:
    """csv writes lines to it, it hands them back."""

    def write(self, line: str) -> str:
        return line


def csv_lines(broadcast: Broadcast) -> Iterator[str]:
    """Lines of the export; a cell that a spreadsheet would take for a formula is quoted."""
    writer: Any = csv.writer(_Echo())
    yield "\ufeff"
    yield writer.writerow(
        [
            _("member number"),
            _("member"),
            _("status"),
            _("channel"),
            _("reason"),
            _("outcome"),
            _("why it failed"),
            _("handed over at"),
            _("sent at"),
            _("opened at"),
        ]
    )
    for row in queries.export_rows(broadcast):
        yield writer.writerow([cell(value) for value in row.values()])


def cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return f"{clock.local(value):%Y-%m-%d %H:%M:%S}"
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def badge(colour: str, text: str) -> str:
    return format_html('<span class="pd-badge pd-badge-{}">{}</span>', colour, text)
