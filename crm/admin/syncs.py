"""The sync doctor: what every reading of a platform expected, fetched and failed, why, and Retry."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display

from core.admin import ReadOnlyAdmin
from core.errors import Refusal
from crm import services
from crm.admin.lists import ago
from crm.models import OfficialTagMark, SyncRun, WorkTagConflict, WorkTagMark, WorkTagRename
from crm.queries.syncs import latest_syncs
from wechat import queries as wechat_queries

MOST_COUNTED = 100_000
COLOURS = {
    "running": "info",
    "done": "success",
    "partial": "warning",
    "failed": "danger",
    "held": "warning",
}
# Which accounts each kind reads.
READS = {
    SyncRun.FOLLOWERS: ("service", "subscription"),
    SyncRun.OFFICIAL_TAGS: ("service", "subscription"),
    SyncRun.CONTACTS: ("work",),
    SyncRun.TAGS: ("work",),
    SyncRun.GROUPS: ("work",),
}


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    list_display = ["what", "account", "state", "figures", "why", "started", "took", "created_by"]
    list_filter = ["kind", "status", "account"]
    list_select_related = ["account", "created_by", "job"]
    ordering = ["-pk"]
    actions = ["retry"]
    list_before_template = "crm/syncs.html"
    empty_hint = _("Nothing was read from a platform yet. Start with a button above.")
    fields = ["what", "account", "status", "figures", "cause", "failures_label", "started_at", "finished_at"]
    readonly_fields = fields

    class Media:
        css = {"all": ["crm/admin.css", "crm/picture.css"]}

    @display(description=_("what"), ordering="kind")
    def what(self, run: SyncRun) -> str:
        return str(run)

    @display(description=_("status"), ordering="status", label=COLOURS)
    def state(self, run: SyncRun) -> tuple[str, str]:
        return run.status, run.get_status_display()

    @display(description=_("expected / fetched / failed"))
    def figures(self, run: SyncRun) -> str:
        expected = "?" if run.expected is None else f"{run.expected:,}"
        return f"{expected} / {run.fetched:,} / {run.failed:,}"

    @display(description=_("cause"))
    def why(self, run: SyncRun) -> str:
        return (
            format_html('<span class="crm-why" title="{}">{}</span>', run.cause, run.cause[:60])
            if run.cause
            else "–"
        )

    @display(description=_("started at"), ordering="started_at")
    def started(self, run: SyncRun) -> str:
        return ago(run.started_at)

    @display(description=_("seconds"))
    def took(self, run: SyncRun) -> str:
        return f"{(run.finished_at - run.started_at).total_seconds():.0f}" if run.finished_at else "–"

    @display(description=_("what failed"))
    def failures_label(self, run: SyncRun) -> str:
        lines = [format_html("<li><b>{}</b> {}</li>", one["what"], one["cause"]) for one in run.failures]
        return (
            format_html('<ul class="crm-list">{}</ul>', format_html("".join(["{}"] * len(lines)), *lines))
            if lines
            else "–"
        )

    def has_start_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("crm.start_sync"))

    @admin.action(description=_("Retry"), permissions=["start"])
    def retry(self, request: HttpRequest, queryset: QuerySet[SyncRun]) -> None:
        for pk in queryset.order_by("pk").values_list("pk", flat=True)[:20]:
            self._start(request, lambda run_id=pk: services.retry_sync(run_id=run_id, by_id=request.user.pk))

    def _start(self, request: HttpRequest, start: Any) -> None:
        try:
            start()
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        else:
            self.message_user(request, _("It is being read; the row appears in a moment."), messages.SUCCESS)

    def get_urls(self) -> list[Any]:
        start = path("start/", self.admin_site.admin_view(self.start), name="crm_syncrun_start")
        return [start, *super().get_urls()]

    def start(self, request: HttpRequest) -> HttpResponse:
        """POST kind and account, or run to repeat it (with confirm: to let it end what it was held for), or tags to
        send again what WeCom or ("official") an account refused.
        """
        if not self.has_start_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            run, account = request.POST.get("run", ""), request.POST.get("account", "")
            if request.POST.get("tags"):
                official = request.POST.get("tags") == "official"
                count = services.retry_official_tags() if official else services.retry_work_tags()
                message = ngettext("%(count)d tag is sent again.", "%(count)d tags are sent again.", count)
                self.message_user(request, message % {"count": count}, messages.SUCCESS)
            elif run.isdecimal() and request.POST.get("confirm"):
                self._start(request, lambda: services.confirm_sync(run_id=int(run), by_id=request.user.pk))
            elif run.isdecimal():
                self._start(request, lambda: services.retry_sync(run_id=int(run), by_id=request.user.pk))
            elif account.isdecimal():
                kind = request.POST.get("kind", "")
                self._start(
                    request,
                    lambda: services.start_sync(kind=kind, account_id=int(account), by_id=request.user.pk),
                )
        return HttpResponseRedirect(reverse("admin:crm_syncrun_changelist"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        latest = latest_syncs()
        accounts = [
            one
            for kind in ("service", "subscription", "work")
            for one in wechat_queries.active_accounts(kind)
        ]
        doctor = [
            {"kind": kind, "label": label, "account": account, "run": latest.get((kind, account.pk))}
            for kind, label in SyncRun.KINDS
            for account in accounts
            if account.kind in READS[kind]
        ]
        context = {
            "doctor": doctor,
            "may_start": self.has_start_permission(request),
            "outgoing": [
                _outgoing(_("Tags on their way to WeCom"), "work", WorkTagMark.objects.all()),
                _outgoing(
                    _("Tags on their way to official accounts"), "official", OfficialTagMark.objects.all()
                ),
            ],
            "conflicts": reverse("admin:crm_worktagconflict_changelist"),
            "renames": reverse("admin:crm_worktagrename_changelist"),
        }
        return super().changelist_view(request, {**(extra_context or {}), **context})


def _outgoing(title: Any, which: str, marks: QuerySet[Any]) -> dict[str, Any]:
    """How many tags wait and were refused, and the latest refusal; counted up to a number that needs no more."""
    refused = marks.filter(~Q(error=""), due_at__isnull=True)
    return {
        "title": title,
        "which": which,
        "waiting": marks.filter(due_at__isnull=False)[:MOST_COUNTED].count(),
        "refused": (count := refused[:MOST_COUNTED].count()),
        "error": refused.values_list("error", flat=True).first() if count else "",
        "most": MOST_COUNTED,
    }


@admin.register(WorkTagConflict)
class WorkTagConflictAdmin(ReadOnlyAdmin):
    list_display = ["at", "member_link", "where", "tag", "ours", "ours_at", "theirs", "theirs_at", "winner"]
    list_filter = ["winner"]
    list_select_related = [
        "tag__group",
        "contact__identity__member",
        "identity__member",
        "identity__account",
    ]
    ordering = ["-pk"]
    fields = ["at", "member_link", "where", "tag", "ours", "ours_at", "theirs", "theirs_at", "winner"]
    readonly_fields = fields

    class Media:
        css = {"all": ["crm/admin.css"]}

    @display(description=_("member"))
    def member_link(self, conflict: WorkTagConflict) -> str:
        identity = conflict.contact.identity if conflict.contact else conflict.identity
        if identity is None:
            return "–"
        address = reverse("admin:crm_member_change", args=[identity.member.pk])
        return format_html('<a class="crm-link" href="{}">{}</a>', address, identity.member)

    @display(description=_("guide or account"))
    def where(self, conflict: WorkTagConflict) -> str:
        if conflict.contact is not None:
            return conflict.contact.userid
        return str(conflict.identity.account) if conflict.identity else "–"


@admin.register(WorkTagRename)
class WorkTagRenameAdmin(ReadOnlyAdmin):
    """Which name stands, and what WeCom did not take."""

    empty_hint = _("No tag was renamed on one side only yet.")
    list_display = ["at", "account", "is_group", "was", "ours", "theirs", "winner", "error"]
    list_display_links = None
    list_filter = ["winner", "is_group"]
    list_select_related = ["account"]
    ordering = ["-pk"]
