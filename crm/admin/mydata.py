"""Data requests with their deadline, how long things are kept, and who looked at whose phone."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import clock
from core.admin.base import BaseAdmin, ReadOnlyAdmin
from core.errors import Refusal
from crm import services
from crm.admin.lists import CappedPaginator
from crm.admin.merging import member_link
from crm.admin.subjects import subject_link
from crm.models import DataRequest, PhoneLook, RetentionRule
from crm.services.mydata import consequences_for, obstacles_for
from crm.services.retention import clocks


@admin.register(DataRequest)
class DataRequestAdmin(ReadOnlyAdmin):
    """What members asked for; erasures wait for their day or for the button."""

    empty_hint = _("Nobody asked for anything yet. Members do it under “My data”.")
    list_display = ["member_shown", "kind", "state_shown", "asked_at", "acts_at", "deadline", "obstacle"]
    list_display_links = ["kind"]
    list_filter = ["kind", "state"]
    search_fields = ["=member__id", "member__name"]
    list_select_related = ["member"]
    ordering = ["due_at", "pk"]
    paginator = CappedPaginator
    fields = ["member_shown", "kind", "state", "asked_at", "acts_at", "deadline", "done_at", "done_by"]
    readonly_fields = fields
    change_form_outer_after_template = "crm/admin/data_request.html"

    class Media:
        css = {"all": ["crm/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[DataRequest]:
        return super().get_queryset(request).select_related("member", "done_by")

    @display(description=_("member"))
    def member_shown(self, row: DataRequest) -> SafeString:
        return member_link(row.member)

    @display(
        description=_("state"),
        label={DataRequest.OPEN: "warning", DataRequest.DONE: "success", DataRequest.TAKEN_BACK: "info"},
    )
    def state_shown(self, row: DataRequest) -> tuple[str, str]:
        return row.state, row.get_state_display()

    @display(description=_("to be answered until"), ordering="due_at")
    def deadline(self, row: DataRequest) -> SafeString | str:
        day = f"{clock.local(row.due_at):%Y-%m-%d}"
        if row.state != DataRequest.OPEN:
            return day
        left = (clock.local(row.due_at).date() - clock.today()).days
        tone = "crm-bad" if left < 3 else "crm-good"
        return format_html(
            '{} <span class="crm-state {}">{}</span>', day, tone, _("%(days)d days left") % {"days": left}
        )

    def get_urls(self) -> list[Any]:
        own = path(
            "<int:request_id>/erase/", self.admin_site.admin_view(self.erase), name="crm_datarequest_erase"
        )
        return [own, *super().get_urls()]

    def erase(self, request: HttpRequest, request_id: int) -> HttpResponse:
        """POST carries an erasure out now."""
        if not request.user.has_perm("crm.change_datarequest"):
            raise PermissionDenied
        if request.method == "POST":
            try:
                done = services.erase_member(request_id=request_id, by_id=request.user.pk)
            except Refusal as refusal:
                self.message_user(request, refusal.message, messages.ERROR)
            else:
                words = _("Her data is erased.") if done else _("This was answered before.")
                self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:crm_datarequest_change", args=[request_id]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is not None:
            waits = row.kind == DataRequest.ERASE and row.state == DataRequest.OPEN
            extra_context = {
                **(extra_context or {}),
                "row": row,
                "waits": waits and request.user.has_perm("crm.change_datarequest"),
                "obstacles": obstacles_for(row.member_id) if waits else [],
                "consequences": consequences_for(row.member_id) if waits else [],
                "result": row.result.items(),
            }
        return super().change_view(request, object_id, form_url, extra_context)


class RetentionForm(forms.ModelForm):
    def clean_months(self) -> int | None:
        months = self.cleaned_data["months"]
        if months is not None and not 1 <= months <= 600:
            raise forms.ValidationError(_("Between 1 and 600 months."))
        return int(months) if months is not None else None


@admin.register(RetentionRule)
class RetentionRuleAdmin(BaseAdmin):
    """How long each kind of data is kept, and how much the next night would take."""

    form = RetentionForm
    list_display = ["label", "means", "months", "overdue", "removed", "ran_at"]
    list_display_links = ["label"]
    ordering = ["name"]
    fields = ["label", "means", "months", "overdue", "removed", "ran_at"]
    readonly_fields = ["label", "means", "overdue", "removed", "ran_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[RetentionRule]:
        services.rules_for_all()
        self.counts = services.overdue_counts()
        return super().get_queryset(request).filter(name__in=clocks())

    @display(description=_("data"))
    def label(self, rule: RetentionRule) -> str:
        return str(clocks()[rule.name].label)

    @display(description=_("what happens"))
    def means(self, rule: RetentionRule) -> str:
        return str(clocks()[rule.name].means)

    @display(description=_("older than that now"))
    def overdue(self, rule: RetentionRule) -> str:
        return f"{self.counts[rule.name]:,}" if rule.name in self.counts else "–"


@admin.register(PhoneLook)
class PhoneLookAdmin(ReadOnlyAdmin):
    """Every look at a whole phone number."""

    empty_hint = _("Nobody has looked at a whole phone number yet.")
    list_display = ["at", "who", "whom", "about", "count", "page"]
    list_display_links = None
    list_filter = [("user", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["who", "=member__id", "subject"]
    list_select_related = ["member"]
    ordering = ["-pk"]
    paginator = CappedPaginator

    class Media:
        css = {"all": ["crm/admin.css"]}

    @display(description=_("member"))
    def whom(self, look: PhoneLook) -> SafeString | str:
        return member_link(look.member) if look.member else "–"

    @display(description=_("about"))
    def about(self, look: PhoneLook) -> SafeString | str:
        link = subject_link(look.subject)
        if not link.address:
            return link.label
        return format_html('<a class="crm-link" href="{}">{}</a>', link.address, link.label)
