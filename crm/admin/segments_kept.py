"""Frozen lists of members, and who took lists out of the house."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import clock
from core.admin import ReadOnlyAdmin
from core.admin.downloads import csv_download
from crm import services
from crm.models import SegmentExport, SegmentSnapshot
from crm.queries import segments_shown, segments_told


@admin.register(SegmentSnapshot)
class SegmentSnapshotAdmin(ReadOnlyAdmin):
    """Made on the page of a segment or by set operations; deleting asks first."""

    empty_hint = _("Look inside a segment and press “Take a snapshot”; the frozen list appears here.")
    list_display = ["name", "count", "made_at", "made_by", "of_segment", "note"]
    list_select_related = ["segment", "made_by"]
    search_fields = ["name", "note"]
    ordering = ["-pk"]
    fields = ["name", "note", "count", "made_at", "made_by", "of_segment", "conditions"]
    readonly_fields = ["count", "of_segment", "conditions"]
    change_form_outer_before_template = "crm/admin/segments_snapshot.html"

    class Media:
        css = {"all": ["crm/admin.css", "crm/segments.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[SegmentSnapshot]:
        return super().get_queryset(request).defer("members")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("crm.delete_segmentsnapshot"))

    @display(description=_("members"), ordering="members_count")
    def count(self, snapshot: SegmentSnapshot) -> str:
        return f"{snapshot.members_count:,}"

    @display(description=_("segment"))
    def of_segment(self, snapshot: SegmentSnapshot) -> str:
        if snapshot.segment is None:
            return "–"
        address = reverse("admin:crm_segment_board", args=[snapshot.segment.pk])
        return format_html('<a class="crm-link" href="{}">{}</a>', address, snapshot.segment)

    @display(description=_("conditions"))
    def conditions(self, snapshot: SegmentSnapshot) -> str:
        """The rules as they were when it was taken."""
        return "–" if snapshot.rules is None else segments_told.sentence(snapshot.rules)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        doors = {"may_export": self.has_export_permission(request), "snapshot_id": object_id}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **doors})

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.export)
        return [path("<int:pk>/export/", page, name="crm_segmentsnapshot_export"), *super().get_urls()]

    def has_export_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("crm.export_segment") and request.user.has_perm("crm.view_member"))

    def export(self, request: HttpRequest, pk: int) -> HttpResponse | StreamingHttpResponse:
        """POST: the members as CSV; who took how many is noted first."""
        if not (self.has_view_permission(request) and self.has_export_permission(request)):
            raise PermissionDenied
        snapshot = SegmentSnapshot.objects.filter(pk=pk).first()
        if snapshot is None:
            raise Http404
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:crm_segmentsnapshot_change", args=[pk]))
        whole = request.user.has_perm("crm.view_phone")
        ids = segments_shown.snapshot_ids(snapshot)
        services.log_export(
            name=snapshot.name,
            snapshot_id=pk,
            segment_id=snapshot.segment_id,
            members_count=len(ids),
            has_whole_phones=whole,
            by_id=request.user.pk or 0,
        )
        name = f"snapshot-{pk}-{clock.local(clock.now()):%Y%m%d-%H%M}.csv"
        return csv_download(segments_shown.export_rows(ids, whole_phones=whole), name)


@admin.register(SegmentExport)
class SegmentExportAdmin(ReadOnlyAdmin):
    empty_hint = _("Every list of members that somebody takes out of the house is noted here.")
    list_display = ["at", "name", "members_count", "has_whole_phones", "by"]
    list_filter = ["has_whole_phones", "by"]
    list_select_related = ["by"]
    search_fields = ["name"]
    ordering = ["-pk"]
