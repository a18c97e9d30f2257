"""Segments: built by choosing, counted and sampled while one builds, saved only when they can be read."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import clock
from core.admin import BaseAdmin
from core.errors import Refusal
from crm import queries, segments, services
from crm.admin.lists import ago
from crm.models import ChannelCode, Segment, Tag
from crm.queries.accounts import official_accounts

OP_LABELS = {
    "any": _("has any of"),
    "all": _("has all of"),
    "none": _("has none of"),
    "between": _("between"),
    "at_least": _("at least"),
    "fewer": _("fewer than"),
    "in": _("is one of"),
    "not_in": _("is none of"),
    "yes": _("yes"),
    "no": _("no"),
    "is": _("is"),
}
UNITS = {
    "last_order_days": _("days ago"),
    "joined_days": _("days ago"),
    "silent_days": _("days"),
    "touched_days": _("days ago"),
    "untouched_days": _("days"),
    "net_fen": _("yuan"),
    "orders": _("orders"),
    "spend_fen": _("yuan"),
    "visits": _("visits"),
}
BUILT = {
    "tags",
    "codes",
    "range",
    "yuan",
    "number",
    "account",
    "nothing",
    "consent",
}  # what the builder can ask for
CONSENT_LABELS = {"given": _("agreed"), "withdrawn": _("withdrawn"), "unasked": _("never asked")}


def builder_words() -> dict[str, Any]:
    """Everything the builder's selects offer, in the operator's language."""
    tags = [[tag.pk, f"{tag.group.name} · {tag.name}"] for tag in Tag.objects.select_related("group")[:500]]
    codes = [[pk, name] for pk, name in ChannelCode.objects.order_by("-pk").values_list("pk", "name")[:300]]
    accounts = [["", str(_("any account"))], *[[pk, name] for pk, name in official_accounts()]]

    return {
        "fields": [
            {
                "field": field,
                "label": str(label),
                "kind": segments.BY_NAME[field].value,
                "unit": str(UNITS.get(field, "")),
                "ops": [[op, str(OP_LABELS[op])] for op in segments.OPS[field]],
            }
            for field, label in segments.FIELD_LABELS.items()
            if segments.BY_NAME[field].value in BUILT
        ],
        "choices": {
            "tags": tags,
            "codes": codes,
            "account": accounts,
            "consent": [[value, str(label)] for value, label in CONSENT_LABELS.items()],
        },
        "words": {
            "all": str(_("all of these")),
            "any": str(_("any of these")),
            "none": str(_("none of these")),
            "match": str(_("Members who match")),
            "add": str(_("Add a condition")),
            "add_group": str(_("Add a group")),
            "remove": str(_("Remove")),
            "from": str(_("no less than")),
            "to": str(_("no more than")),
            "everybody": str(_("No condition yet: every member is in this segment.")),
            "nothing_to_choose": str(_("Nothing to choose from yet")),
            "counting": str(_("Counting…")),
            "failed": str(_("The preview did not come. Please try again.")),
        },
    }


class SegmentForm(forms.ModelForm):
    rules = forms.CharField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Segment
        fields = ["name", "note", "rules"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["rules"] = json.dumps(self.instance.rules)

    def clean_rules(self) -> dict[str, Any]:
        try:
            return segments.check(json.loads(self.cleaned_data["rules"] or "{}"))
        except ValueError:
            raise forms.ValidationError(_("The rules could not be read.")) from None
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from refusal


@admin.register(Segment)
class SegmentAdmin(BaseAdmin):
    form = SegmentForm
    list_display = ["name", "note", "members_link", "counted", "summary"]
    search_fields = ["name", "note"]
    ordering = ["-pk"]
    fields = ["name", "note", "rules"]
    change_form_after_template = "crm/admin/segment.html"

    class Media:
        css = {"all": ["crm/admin.css"]}
        js = ["crm/segments.js"]

    @display(description=_("members"), ordering="members_count")
    def members_link(self, segment: Segment) -> str:
        address = reverse("admin:crm_member_changelist") + f"?segment={segment.pk}"
        count = "–" if segment.members_count is None else f"{segment.members_count:,}"
        return format_html('<a class="crm-link" href="{}">{}</a>', address, count)

    @display(description=_("counted at"), ordering="counted_at")
    def counted(self, segment: Segment) -> str:
        return ago(segment.counted_at)

    @display(description=_("conditions"))
    def summary(self, segment: Segment) -> str:
        labels = [str(segments.FIELD_LABELS[one["field"]]) for one in segments.conditions(segment.rules)]
        return "、".join(dict.fromkeys(labels)) or str(_("every member"))

    def save_model(self, request: HttpRequest, obj: Segment, form: Any, change: bool) -> None:
        saved = services.save_segment(
            name=obj.name,
            note=obj.note,
            rules=form.cleaned_data["rules"],
            segment_id=obj.pk,
            by_id=request.user.pk,
        )
        obj.pk, obj.created_at, obj.members_count = saved.pk, saved.created_at, saved.members_count

    def get_urls(self) -> list[Any]:
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="crm_segment_preview")
        return [preview, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """POST the rules as JSON: how many members they find, and a few of them. Saves nothing."""
        if not (self.has_view_permission(request) and request.user.has_perm("crm.view_member")):
            raise PermissionDenied
        try:
            rules = segments.check(json.loads(request.body or b"{}"))
            count, sample = queries.segment_count(rules), queries.segment_sample(rules)
        except ValueError:
            return JsonResponse({"message": str(_("The rules could not be read."))}, status=400)
        except Refusal as refusal:
            return JsonResponse({"message": refusal.message}, status=refusal.status)
        html = render_to_string("crm/admin/segment_sample.html", {"count": count, "sample": sample}, request)
        return JsonResponse({"count": count, "html": html})

    def _builder(self, segment: Segment | None) -> dict[str, Any]:
        return {
            "words": builder_words(),
            "saved_rules": segment.rules if segment else {},
            "preview_address": reverse("admin:crm_segment_preview"),
            "segment": segment,
            "today": clock.today(),
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), **self._builder(None)})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        segment = Segment.objects.filter(pk=object_id).first() if object_id.isdigit() else None
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **self._builder(segment)}
        )
