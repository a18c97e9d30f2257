"""Pages of segments beside the form: inside of one, why somebody is in, overlap and set operations, files."""

import json
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core import clock
from core.admin.downloads import csv_download
from core.errors import Refusal
from core.secrets import masked_phone
from crm import queries, services
from crm.models import Identity, Member, Segment, SegmentExport, SegmentSnapshot
from crm.picture import Cell, Panel
from crm.queries import segments_files, segments_shown, segments_told, segments_why
from crm.services.segments import DIFFERENCE, INTERSECTION, UNION, default_name

MOST_FOUND = 10
MOST_LISTED = 200
MOST_JUDGED = 40
CHART_WIDTH, CHART_HEIGHT = 600, 120
LETTERS = "ABCDE"


def _number(text: str | None) -> int | None:
    """An id of an address line or a form; None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


class SegmentPages:
    """Mixed into the admin of segments."""

    admin_site: Any
    opts: Any

    def page_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"crm_segment_{name}")

        return [
            page("overlap/", self.overlap, "overlap"),
            page("why/", self.why, "why"),
            page("bring/", self.bring, "bring"),
            page("<int:pk>/board/", self.board, "board"),
            page("<int:pk>/snapshot/", self.snapshot, "snapshot"),
            page("<int:pk>/export/", self.export, "export"),
            page("<int:pk>/rules.json", self.rules_file, "rules_file"),
        ]

    # --- Inside of one segment -------------------------------------------------------------------------------------
    def board(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Count by day, who came and went, snapshots, exports, and the doors to the rest."""
        segment = self._found(request, pk)
        days = segments_shown.days_of(pk)
        context = {
            **self._context(request, segment.name),
            "segment": segment,
            "told": segments_told.sentence(segment.rules),
            "chart": _chart(days),
            "days": days[::-1],
            "changes": segments_shown.last_changes(pk) if segment.is_live else [],
            "snapshots": SegmentSnapshot.objects.filter(segment=pk).defer("members").order_by("-pk")[:10],
            "exports": SegmentExport.objects.filter(segment=pk).select_related("by").order_by("-pk")[:5],
            "snapshot_name": default_name(segment.name),
            "may_snapshot": request.user.has_perm("crm.add_segmentsnapshot"),
            "may_export": self._may_export(request),
            "whole_phones": request.user.has_perm("crm.view_phone"),
        }
        return TemplateResponse(request, "crm/admin/segments_board.html", context)

    def snapshot(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST name: freeze who is in now."""
        self._found(request, pk)
        if not request.user.has_perm("crm.add_segmentsnapshot"):
            raise PermissionDenied
        if request.method == "POST":
            try:
                made = services.take_snapshot(
                    segment_id=pk, name=_typed(request, "name"), by_id=request.user.pk
                )
            except Refusal as refusal:
                messages.error(request, refusal.message)
            else:
                messages.success(request, _kept_words(made))
        return HttpResponseRedirect(reverse("admin:crm_segment_board", args=[pk]))

    def export(self, request: HttpRequest, pk: int) -> HttpResponse | StreamingHttpResponse:
        """POST: the members as CSV; who took how many is noted first."""
        segment = self._found(request, pk)
        if not self._may_export(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:crm_segment_board", args=[pk]))
        try:
            ids = segments_shown.members_now(segment)
        except Refusal as refusal:  # its rules name what is gone
            messages.error(request, refusal.message)
            return HttpResponseRedirect(reverse("admin:crm_segment_board", args=[pk]))
        whole = request.user.has_perm("crm.view_phone")
        services.log_export(
            name=segment.name,
            segment_id=pk,
            members_count=len(ids),
            has_whole_phones=whole,
            by_id=request.user.pk or 0,
        )
        moment = f"{clock.local(clock.now()):%Y%m%d-%H%M}"
        rows = segments_shown.export_rows(ids, whole_phones=whole)
        return csv_download(rows, f"segment-{pk}-{moment}.csv")

    def rules_file(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The rules as a file that another shop can bring in."""
        segment = self._found(request, pk)
        text = json.dumps(segments_files.segment_file(segment), ensure_ascii=False, indent=1)
        return HttpResponse(
            text,
            content_type="application/json; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="segment-{pk}.json"'},
        )

    def bring(self, request: HttpRequest) -> HttpResponse:
        """GET shows the form; POST file: a new segment of it, or in clear words why not."""
        if not request.user.has_perm("crm.add_segment"):
            raise PermissionDenied
        refused = ""
        if request.method == "POST":
            upload = request.FILES.get("file")
            try:
                if upload is None:
                    refused = _("Choose a file first.")
                else:
                    data = upload.read(segments_files.LARGEST + 1)
                    brought = segments_files.read_segment_file(data)
                    name = _typed(request, "name").strip() or brought.name
                    made = services.save_segment(
                        name=name, note=brought.note, rules=brought.rules, by_id=request.user.pk
                    )
                    messages.success(request, _("“%(name)s” was brought in.") % {"name": made.name})
                    return HttpResponseRedirect(reverse("admin:crm_segment_change", args=[made.pk]))
            except Refusal as refusal:
                refused = refusal.message
        context = {**self._context(request, _("Bring in a segment")), "refused": refused}
        return TemplateResponse(
            request, "crm/admin/segments_bring.html", context, status=400 if refused else 200
        )

    # --- Why is she in, or not? ------------------------------------------------------------------------------------
    def why(self, request: HttpRequest) -> HttpResponse:
        """GET segment, member (an id) or q (a name, number or phone): every condition with her value and verdict.

        Without a segment: in which of them she is.
        """
        self._may_see_members(request)
        segment_id, member_id = _number(request.GET.get("segment")), _number(request.GET.get("member"))
        segment = Segment.objects.filter(pk=segment_id).first() if segment_id else None
        member = queries.find_member(member_id) if member_id else None
        term = request.GET.get("q", "").strip()[:80]
        candidates: list[Member] = []
        if member is None and term:
            candidates = find_candidates(term)
            if len(candidates) == 1:
                member = candidates[0]
        context: dict[str, Any] = {
            **self._context(request, _("Why is she in, or not?")),
            "segment": segment,
            "member": member,
            "term": term,
            "candidates": candidates if member is None else [],
            "nobody": bool(term or member_id) and member is None and not candidates,
            "choices": Segment.objects.order_by("name").values_list("pk", "name")[:MOST_LISTED],
        }
        if member is not None and segment is not None:
            try:
                told = segments_why.explain(segment, member.pk)
                context |= {"tree": told.tree, "is_in": told.is_in}
            except Refusal as refusal:  # its rules name what is gone
                context |= {"tree": None, "refused": refusal.message}
        elif member is not None:
            rows = Segment.objects.order_by("name")[:MOST_JUDGED]
            context["memberships"] = segments_shown.memberships(member.pk, rows)
        return TemplateResponse(request, "crm/admin/segments_why.html", context)

    # --- Several segments ------------------------------------------------------------------------------------------
    def overlap(self, request: HttpRequest) -> HttpResponse:
        """GET segment=… (two to five): how they overlap. POST with operation, first, result, name: a new one."""
        self._may_see_members(request)
        given = request.POST if request.method == "POST" else request.GET
        wanted = [pk for pk in map(_number, given.getlist("segment")) if pk][:MOST_LISTED]
        by_id = {row.pk: row for row in Segment.objects.filter(pk__in=wanted)}
        chosen = [by_id[pk] for pk in dict.fromkeys(wanted) if pk in by_id]
        refused = ""
        if len(chosen) > segments_shown.MOST_COMPARED:
            refused = _("At most %(most)d segments can be compared.") % {"most": segments_shown.MOST_COMPARED}
            chosen = chosen[: segments_shown.MOST_COMPARED]
        elif len(chosen) < 2 and (wanted or request.method == "POST"):
            refused = _("Choose at least two segments.")
        if request.method == "POST" and not refused:
            try:
                return HttpResponseRedirect(self._combine(request, chosen))
            except Refusal as refusal:
                refused = refusal.message
        context: dict[str, Any] = {
            **self._context(request, _("Overlap and set operations")),
            "choices": Segment.objects.order_by("name")[:MOST_LISTED],
            "chosen_ids": {row.pk for row in chosen},
            "refused": refused,
            "given": given,
            "may_add": request.user.has_perm("crm.add_segment"),
            "may_snapshot": request.user.has_perm("crm.add_segmentsnapshot"),
        }
        if len(chosen) >= 2:
            try:
                context |= _overlap_context(chosen)
            except Refusal as refusal:  # the rules of one name what is gone
                context["refused"] = refused = refusal.message
        status = 400 if refused and request.method == "POST" else 200
        return TemplateResponse(request, "crm/admin/segments_overlap.html", context, status=status)

    def _combine(self, request: HttpRequest, chosen: list[Segment]) -> str:
        """The address of what was made."""
        operation, name = request.POST.get("operation", ""), _typed(request, "name")
        first = _number(request.POST.get("first"))
        if operation == DIFFERENCE:
            chosen = sorted(chosen, key=lambda row: row.pk != first)
        if request.POST.get("result") != "snapshot":
            if not request.user.has_perm("crm.add_segment"):
                raise PermissionDenied
            rules = services.combined_rules(operation=operation, chosen=chosen)
            made = services.save_segment(name=name, rules=rules, by_id=request.user.pk)
            messages.success(request, _("“%(name)s” was made.") % {"name": made.name})
            return reverse("admin:crm_segment_change", args=[made.pk])
        if not request.user.has_perm("crm.add_segmentsnapshot"):
            raise PermissionDenied
        kept = services.keep_combination(
            operation=operation, segments=chosen, name=name, by_id=request.user.pk
        )
        messages.success(request, _kept_words(kept))
        return reverse("admin:crm_segmentsnapshot_changelist")

    # --- Shared ----------------------------------------------------------------------------------------------------
    def _found(self, request: HttpRequest, pk: int) -> Segment:
        self._may_see_members(request)
        segment = Segment.objects.filter(pk=pk).first() if pk < 2**63 else None
        if segment is None:
            raise Http404
        return segment

    def _may_see_members(self, request: HttpRequest) -> None:
        if not (request.user.has_perm("crm.view_segment") and request.user.has_perm("crm.view_member")):
            raise PermissionDenied

    def _may_export(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("crm.export_segment"))

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts}


def _typed(request: HttpRequest, name: str) -> str:
    """A text of a form; a NUL, which no database keeps, is taken out."""
    return request.POST.get(name, "").replace("\x00", "")


def _kept_words(made: SegmentSnapshot) -> str:
    return ngettext(
        "“%(name)s” keeps %(count)d member.", "“%(name)s” keeps %(count)d members.", made.members_count
    ) % {"name": made.name, "count": made.members_count}


def find_candidates(term: str) -> list[Member]:
    """Living members by number, whole phone or other identity, else by a part of the name; at most ten."""
    phone = services.cleaned_phone(term)
    values = [term, *([phone] if phone else [])]
    owners = Identity.objects.filter(value__in=values).values_list("member_id", flat=True)[:50]
    exact = Q(pk__in=list(owners))
    if (number := _number(term.removeprefix("#"))) is not None:
        exact |= Q(pk=number)
    found = Member.objects.known().select_related("stats", "source").prefetch_related("identities")
    rows = list(found.filter(exact).order_by("pk")[:MOST_FOUND])
    rows = rows or list(found.filter(name__icontains=term.replace("\x00", "")).order_by("-pk")[:MOST_FOUND])
    for row in rows:
        known = [one.value for one in row.identities.all() if one.kind == Identity.PHONE][:1]
        row.shown_phone = masked_phone(known[0]) if known else ""  # type: ignore[attr-defined]
    return rows


def _chart(days: list[Any]) -> dict[str, Any] | None:
    """Bars of the counts by day, in units of the drawing; None when there is nothing to draw."""
    if not days:
        return None
    most = max(day.members_count for day in days) or 1
    step = CHART_WIDTH / max(len(days), 10)
    return {
        "width": CHART_WIDTH,
        "height": CHART_HEIGHT,
        "most": most,
        "bars": [
            {
                "x": round(place * step, 1),
                "y": CHART_HEIGHT - max(2, round((CHART_HEIGHT - 8) * day.members_count / most)),
                "width": round(step * 0.72, 1),
                "height": max(2, round((CHART_HEIGHT - 8) * day.members_count / most)),
                "day": day,
            }
            for place, day in enumerate(days)
        ],
    }


def _overlap_context(chosen: list[Segment]) -> dict[str, Any]:
    compared = segments_shown.overlap([segments_shown.members_now(row) for row in chosen])
    letters = LETTERS[: len(chosen)]
    most = max((count for _inside, count in compared.parts), default=1)
    return {
        "chosen": list(zip(letters, chosen, compared.counts, strict=True)),
        "letters": letters,
        "matrix": [
            {
                "letter": letters[row],
                "name": chosen[row].name,
                "cells": [
                    {"count": count, "share": share, "own": row == column, "step": min(9, share // 10)}
                    for column, (count, share) in enumerate(
                        zip(compared.pairs[row], compared.shares[row], strict=True)
                    )
                ],
            }
            for row in range(len(chosen))
        ],
        "parts": [
            {
                "marks": [place in inside for place in range(len(chosen))],
                "words": " + ".join(chosen[place].name for place in inside),
                "count": count,
                "width": max(1, round(100 * count / most)),
            }
            for inside, count in compared.parts
        ],
        "union": compared.union,
        "intersection": compared.intersection,
        "operations": [
            (UNION, _("Union: who is in any of them")),
            (INTERSECTION, _("Intersection: who is in all of them")),
            (DIFFERENCE, _("Difference: who is in one and in none of the others")),
        ],
    }


def segments_panel(member_id: int, viewer: Any) -> Panel:
    """On a member's page: the door to "why is she in, or not?". Asks no statement: that page judges every segment."""
    return Panel(
        title=_("Her segments"),
        empty=_("In which segments she is, and why, condition by condition."),
        more=Cell(_("Show"), address=f"{reverse('admin:crm_segment_why')}?member={member_id}"),
    )


services.register_panel("crm.segments", segments_panel, permission="crm.view_segment", position=60)
