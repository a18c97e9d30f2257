"""Merges in the admin: proposals to decide, the preview before, the log after with its way back; the account matrix."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import clock
from core.admin.base import ReadOnlyAdmin
from core.errors import Refusal
from crm import services
from crm.admin.lists import CappedPaginator
from crm.models import AccountMatrix, Member, MemberMerge, MergeProposal
from crm.queries.merging import account_matrix, merge_preview
from crm.services.merging import UNDO_WITHIN


def member_link(member: Member) -> SafeString:
    address = reverse("admin:crm_member_change", args=[member.pk])
    name = member.name or _("no name yet")
    return format_html('<a class="crm-link" href="{}">{} <small>#{}</small></a>', address, name, member.pk)


def number(value: str | None) -> int:
    """A number of the address line; 0 when it is none."""
    return int(value) if value and value.isdecimal() and len(value) < 19 else 0


@admin.register(MemberMerge)
class MemberMergeAdmin(ReadOnlyAdmin):
    """The log of merges. A merge is made from the member list or a proposal, after its preview."""

    empty_hint = _("Two members become one when WeChat says so, or when you merge them in the member list.")
    list_display = ["pair", "reason", "merged_at", "by", "moved_rows", "state"]
    list_display_links = ["pair"]
    list_filter = ["reason", ("undone_at", admin.EmptyFieldListFilter)]
    search_fields = ["=kept__id", "=merged__id", "kept__name", "merged__name"]
    search_help_text = _("Name or number of one of both")
    list_select_related = ["kept", "merged", "merged_by"]
    ordering = ["-pk"]
    paginator = CappedPaginator
    fields = ["kept_link", "merged_link", "reason", "merged_at", "by", "state_words"]
    readonly_fields = fields
    change_form_outer_after_template = "crm/admin/merge.html"

    class Media:
        css = {"all": ["crm/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[MemberMerge]:
        return super().get_queryset(request).select_related("kept", "merged").prefetch_related("moves")

    @display(description=_("merge"))
    def pair(self, merge: MemberMerge) -> str:
        return f"{merge.merged.name or '–'} #{merge.merged_id} → {merge.kept.name or '–'} #{merge.kept_id}"

    @display(description=_("kept member"))
    def kept_link(self, merge: MemberMerge) -> SafeString:
        return member_link(merge.kept)

    @display(description=_("merged member"))
    def merged_link(self, merge: MemberMerge) -> SafeString:
        return member_link(merge.merged)

    @display(description=_("by"))
    def by(self, merge: MemberMerge) -> str:
        return str(merge.merged_by or _("the system"))

    @display(description=_("moved rows"))
    def moved_rows(self, merge: MemberMerge) -> int:
        return sum(move.count for move in merge.moves.all())

    @display(description=_("state"), label={"stands": "info", "undone": "warning", "sealed": "success"})
    def state(self, merge: MemberMerge) -> tuple[str, Any]:
        if merge.undone_at is not None:
            return "undone", _("undone")
        if not self._may_still_be_undone(merge):
            return "sealed", _("final")
        return "stands", _("can be undone until %(day)s") % {
            "day": f"{clock.local(merge.merged_at + UNDO_WITHIN):%Y-%m-%d}"
        }

    @display(description=_("state"))
    def state_words(self, merge: MemberMerge) -> str:
        return str(self.state(merge)[1])

    def _may_still_be_undone(self, merge: MemberMerge) -> bool:
        return (
            merge.undone_at is None and not merge.is_sealed and clock.now() <= merge.merged_at + UNDO_WITHIN
        )

    def get_urls(self) -> list[Any]:
        own = [
            path("preview/", self.admin_site.admin_view(self.preview), name="crm_membermerge_preview"),
            path("<int:merge_id>/undo/", self.admin_site.admin_view(self.undo), name="crm_membermerge_undo"),
        ]
        return [*own, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """GET ?one=&other= shows what a merge would do, POST does it. With `proposal`, that is decided by it."""
        if not request.user.has_perm("crm.add_membermerge"):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET
        one, other, proposal = (number(given.get(name)) for name in ("one", "other", "proposal"))
        back = reverse(f"admin:crm_{'mergeproposal' if proposal else 'member'}_changelist")
        try:
            shown = merge_preview(one, other, tables=services.member_tables)
            if request.method == "POST":
                kept = self._merge(request, one, other, proposal)
                self.message_user(request, _("They are one member now."), messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:crm_member_change", args=[kept.pk]))
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return HttpResponseRedirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Merge two members"),
            "opts": self.opts,
            "preview": shown,
            "proposal": proposal,
            "days": UNDO_WITHIN.days,
            "back": back,
        }
        return TemplateResponse(request, "crm/admin/merge_preview.html", context)

    def _merge(self, request: HttpRequest, one: int, other: int, proposal: int) -> Member:
        if proposal:
            return services.accept_proposal(proposal_id=proposal, seen=(one, other), by_id=request.user.pk)
        return services.merge_members(
            kept_id=one, merged_id=other, reason=MemberMerge.OPERATOR, by_id=request.user.pk
        )

    def undo(self, request: HttpRequest, merge_id: int) -> HttpResponse:
        """POST separates them again."""
        if not request.user.has_perm("crm.change_membermerge"):
            raise PermissionDenied
        if request.method == "POST":
            try:
                services.undo_merge(merge_id=merge_id, by_id=request.user.pk)
            except Refusal as refusal:
                self.message_user(request, refusal.message, messages.ERROR)
            else:
                words = _("They are two members again; what happened since stays with the kept one.")
                self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:crm_membermerge_change", args=[merge_id]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        merge = self.get_object(request, object_id)
        if merge is not None:
            labels = {
                table.path: table.label
                for room in ("crm", "shop", "campaigns", "community")
                for table in services.member_tables(room)
            }
            moved = [
                (labels.get(name, name), len(keys), move.returned_at)
                for move in merge.moves.all()
                for name, keys in move.moved.items()
            ]
            extra_context = {
                **(extra_context or {}),
                "merge": merge,
                "moved": moved,
                "rest": merge.rest.items(),
                "filled": [
                    (Member._meta.get_field(name.removesuffix("_id")).verbose_name, before, after)  # type: ignore[union-attr]
                    for name, (before, after) in merge.filled.items()
                ],
                "may_undo": self._may_still_be_undone(merge)
                and request.user.has_perm("crm.change_membermerge"),
                "until": clock.local(merge.merged_at + UNDO_WITHIN),
            }
        return super().change_view(request, object_id, form_url, extra_context)


@admin.register(MergeProposal)
class MergeProposalAdmin(ReadOnlyAdmin):
    """Pairs with weak evidence. The system never merges them by itself."""

    empty_hint = _("No two members look like one person.")
    list_display = ["pair", "kind", "confidence", "state_shown", "found_at", "decide"]
    list_display_links = None
    list_filter = ["state", "kind"]
    list_select_related = ["elder", "younger"]
    ordering = ["-confidence_bps", "pk"]
    paginator = CappedPaginator
    actions = ["dismiss"]

    class Media:
        css = {"all": ["crm/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[MergeProposal]:
        rows = super().get_queryset(request).select_related("elder", "younger")
        asked = any(name.startswith("state") for name in request.GET)
        return rows if asked or request.method == "POST" else rows.filter(state=MergeProposal.OPEN)

    @display(description=_("members"))
    def pair(self, proposal: MergeProposal) -> SafeString:
        return format_html("{} = {}", member_link(proposal.elder), member_link(proposal.younger))

    @display(description=_("confidence"), ordering="confidence_bps")
    def confidence(self, proposal: MergeProposal) -> str:
        return f"{proposal.confidence_bps // 100}%"

    @display(
        description=_("state"),
        label={
            MergeProposal.OPEN: "info",
            MergeProposal.MERGED: "success",
            MergeProposal.DISMISSED: "warning",
        },
    )
    def state_shown(self, proposal: MergeProposal) -> tuple[str, str]:
        return proposal.state, proposal.get_state_display()

    @display(description="")
    def decide(self, proposal: MergeProposal) -> SafeString | str:
        if proposal.state != MergeProposal.OPEN:
            return ""
        address = reverse("admin:crm_membermerge_preview")
        query = f"?one={proposal.elder_id}&other={proposal.younger_id}&proposal={proposal.pk}"
        return format_html('<a class="crm-link" href="{}{}">{}</a>', address, query, _("Look and decide"))

    @admin.action(description=_("They are two persons"), permissions=["decide"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[MergeProposal]) -> None:
        count = sum(
            services.dismiss_proposal(proposal_id=pk, by_id=request.user.pk)
            for pk in queryset.values_list("pk", flat=True)[:1000]
        )
        self.message_user(request, _("%(count)d proposals are dismissed.") % {"count": count})

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("crm.change_mergeproposal"))


@admin.register(AccountMatrix)
class AccountMatrixAdmin(ReadOnlyAdmin):
    """Who follows which account, and how many follow two of them."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("crm.view_member"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        matrix = account_matrix()
        list_address = reverse("admin:crm_member_changelist")
        pks = [one.pk for one in matrix.accounts]
        groups = [
            {
                "name": name,
                "accounts": [one for one in matrix.accounts if one.role == role],
                "rows": [
                    {
                        "name": one.name,
                        "address": f"{list_address}?following={one.pk}",
                        "cells": self._cells(one.pk, pks, matrix.followers, matrix.both),
                    }
                    for one in matrix.accounts
                    if one.role == role
                ],
                "cells": self._cells(
                    role, [key for key, _name in matrix.roles], matrix.role_followers, matrix.role_both
                ),
            }
            for role, name in matrix.roles
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Account matrix"),
            "opts": self.opts,
            "accounts": matrix.accounts,
            "groups": groups,
            "everybody": matrix.everybody,
        }
        return TemplateResponse(request, "crm/admin/account_matrix.html", context)

    def _cells(
        self, one: Any, others: list[Any], followers: dict[Any, int], both: dict[Any, int]
    ) -> list[dict[str, Any]]:
        """A row: of how many followers of `one` (an account, a role) follow each other one, and the share in %."""
        own = followers.get(one, 0)
        counts = [(other, own if other == one else both.get((one, other), 0)) for other in others]
        shares = [round(100 * count / own) if own else 0 for _other, count in counts]
        return [
            {"count": count, "share": share, "is_own": other == one, "band": min(share // 20, 4)}
            for (other, count), share in zip(counts, shares, strict=True)
        ]
