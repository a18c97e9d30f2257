"""Long work: how far it is, what it brought, Retry and Cancel."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display

from core import jobs
from core.admin.base import ReadOnlyAdmin
from core.models import Job

STATE_COLOURS = {
    Job.QUEUED: "info",
    Job.RUNNING: "warning",
    Job.DONE: "success",
    Job.FAILED: "danger",
    Job.CANCELLED: "default",
}


def progress_bar(job: Job | None) -> SafeString | str:
    """A bar with its percentage, for any page that shows a job."""
    if job is None:
        return "–"
    return format_html(
        '<span class="pond-nowrap"><span class="pond-progress" role="progressbar" aria-valuemin="0" '
        'aria-valuemax="100" '
        'aria-valuenow="{percent}"><span class="pond-progress-fill pond-progress-{status}" '
        'style="width:{percent}%"></span></span> <span>{percent}%</span></span>',
        percent=job.percent,
        status=job.status,
    )


def progress_context(job: Job | None) -> dict[str, Any]:
    """What `core/admin/progress.html` shows of a job; the page loads itself again while the job is open.

    The page adds its `figures`, (label, value) each, and may say another `state`.
    """
    return {
        "job": job,
        "bar": progress_bar(job),
        "state": job.get_status_display() if job else "",
        "is_open": job is not None and job.status in (Job.QUEUED, Job.RUNNING),
    }


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["title", "state", "bar", "created_at", "finished_at", "created_by"]
    list_filter = ["status", "kind"]
    list_select_related = ["created_by"]
    ordering = ["-pk"]
    actions = ["retry", "cancel"]
    fields = [
        "title",
        "status",
        "bar",
        "created_by",
        "created_at",
        "started_at",
        "finished_at",
        "attempts",
        "outcome",
        "error",
    ]

    @display(description=_("job"), ordering="kind")
    def title(self, job: Job) -> str:
        return f"{jobs.label_of(job.kind)} #{job.pk}"

    @display(description=_("status"), ordering="status", label=STATE_COLOURS)
    def state(self, job: Job) -> tuple[str, str]:
        return job.status, job.get_status_display()

    @display(description=_("progress"))
    def bar(self, job: Job) -> SafeString | str:
        return progress_bar(job)

    @display(description=_("result"))
    def outcome(self, job: Job) -> SafeString | str:
        if not job.result:
            return "–"
        return format_html("<pre>{}</pre>", json.dumps(job.result, ensure_ascii=False, indent=2))

    @admin.action(description=_("Go on from the last checkpoint"), permissions=["steer"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        count = sum(jobs.retry(job_id=pk) for pk in queryset.values_list("pk", flat=True))
        message = ngettext("%(count)d job goes on.", "%(count)d jobs go on.", count) % {"count": count}
        self.message_user(request, message, messages.SUCCESS if count else messages.WARNING)

    @admin.action(description=_("Cancel the job"), permissions=["steer"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        count = sum(jobs.cancel(job_id=pk) for pk in queryset.values_list("pk", flat=True))
        message = ngettext("%(count)d job was cancelled.", "%(count)d jobs were cancelled.", count)
        self.message_user(
            request, message % {"count": count}, messages.SUCCESS if count else messages.WARNING
        )

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("core.change_job"))
