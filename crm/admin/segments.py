"""Segments: built by choosing, counted and sampled while one builds, saved only when they can be read."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.request import RawPostDataException
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.widgets import UnfoldBooleanSwitchWidget

from core import clock
from core.admin import BaseAdmin
from core.errors import Refusal
from crm import segments, segments_values, services
from crm.admin.lists import ago
from crm.admin.segments_pages import SegmentPages
from crm.models import ChannelCode, MemberField, Segment, Staff, Store, Tag
from crm.queries import segments_shown, segments_told
from crm.queries.accounts import official_accounts
from crm.queries.segments import price
from crm.subjects import group_choices, subject_choices

MOST_TAGS, MOST_CODES = 500, 300
WORDS = {
    "all": _("all of these"),
    "any": _("at least one of these"),
    "none": _("none of these"),
    "notall": _("not all of these"),
    "match": _("Members who match"),
    "condition": _("Condition"),
    "field": _("What"),
    "comparison": _("How"),
    "add": _("Add a condition"),
    "add_group": _("Add a group"),
    "remove": _("Remove"),
    "remove_group": _("Remove this group"),
    "from": _("no less than"),
    "to": _("no more than"),
    "choose": _("Choose…"),
    "close": _("Close the list"),
    "search": _("Search"),
    "nothing_found": _("Nothing found"),
    "everybody": _("No condition yet: every member is in this segment."),
    "nothing_to_choose": _("Nothing to choose from yet"),
    "counting": _("Counting…"),
    "failed": _("The preview did not come. Please try again."),
    "again": _("Count again"),
    "old": _("The numbers below are of the rules before."),
    "incomplete": _("Not finished yet:"),
    "times": _("times"),
    "days": _("days"),
    "within": _("within"),
    "about": _("about (may stay empty): product:12"),
    "about_some": _("about anything"),
    "own_values": _("one or more, separated by spaces"),
    "own_nothing": _("say what its value shall be."),
    "give_times": _("say how many times, and in how many days; 1 or more."),
    "choose_one": _("choose at least one."),
    "give_end": _("give at least one end of the range."),
    "give_number": _("give a whole number, 1 or more."),
    "whole": _("give whole numbers, 0 or more."),
    "amount": _("give amounts of yuan with at most two decimals."),
    "order": _("the first number must not be larger than the second."),
}


def builder_words() -> dict[str, Any]:
    """Everything the builder's inputs offer, in the operator's language: a few statements."""
    fields = segments_told.fields()
    kinds = {field.kind for field in fields}
    return {
        "fields": [
            {
                "field": field.name,
                "label": field.label,
                "group": field.group,
                "kind": field.kind,
                "unit": field.unit,
                "ops": field.ops,
            }
            for field in fields
        ],
        "choices": {
            **{kind: offered() for kind, offered in CHOICES.items() if kind in kinds},
            **_own_fields(),
            "subjects": subject_choices(),
        },
        "words": {key: str(word) for key, word in WORDS.items()},
        "deepest": segments.DEEPEST,
    }


def _tags() -> list[list[Any]]:
    tags = Tag.objects.select_related("group")[:MOST_TAGS]
    return [[tag.pk, tag.name, tag.group.name] for tag in tags]


def _codes() -> list[list[Any]]:
    codes = ChannelCode.objects.order_by("-pk").values_list("pk", "name")[:MOST_CODES]
    return [[pk, name, ""] for pk, name in codes]


def _others() -> list[list[Any]]:
    rows = Segment.objects.order_by("name").values_list("pk", "name")[:MOST_CODES]
    return [[pk, name, ""] for pk, name in rows]


def _words(kind: str) -> list[list[Any]]:
    return [[value, str(word), ""] for value, word in segments_told.WORDS[kind].items()]


def _named(rows: QuerySet[Any]) -> list[list[Any]]:
    return [[pk, name, ""] for pk, name in rows.order_by("name").values_list("pk", "name")[:MOST_CODES]]


def _own_fields() -> dict[str, list[list[Any]]]:
    """What can be asked of fields of our own; those that are dates are anniversaries besides the usual ones."""
    own = list(MemberField.objects.filter(is_active=True))
    heading = str(_("fields of our own"))
    dates = [[f"field:{one.pk}", one.name, heading] for one in own if one.kind == MemberField.DATE]
    usual = [[of, str(label), ""] for of, label in segments_told.ANNIVERSARIES.items()]
    return {
        "custom": [[one.pk, one.name, one.kind, one.choices] for one in own],
        "anniversary": [*usual, *dates],
    }


# kind of a field → what its input offers: [value, label] or [value, label, heading]
CHOICES: dict[str, Callable[[], list[list[Any]]]] = {
    "tags": _tags,
    "codes": _codes,
    "segments": _others,
    "tiers": lambda: [["", str(_("none")), ""], *[[word, word, ""] for word in services.tier_words()]],
    "account": lambda: [["", str(_("any account"))], *[[pk, name] for pk, name in official_accounts()]],
    **{kind: partial(_words, kind) for kind in segments_values.CHOSEN},
    "guides": lambda: _named(Staff.objects.filter(is_active=True, work_userid__isnull=False)),
    "stores": lambda: _named(Store.objects.all()),
    "groups": lambda: [[pk, name, ""] for pk, name in group_choices()[:MOST_CODES]],
    "consent": lambda: [[value, str(label)] for value, label in segments_told.CONSENT_LABELS.items()],
    "fact": lambda: [[kind, str(label)] for kind, label in segments_told.KIND_LABELS.items()],
}


class SegmentForm(forms.ModelForm):
    rules = forms.CharField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Segment
        fields = ["name", "note", "is_live", "is_shown_to_guides", "rules"]
        widgets = {
            "is_live": UnfoldBooleanSwitchWidget,
            "is_shown_to_guides": UnfoldBooleanSwitchWidget,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["rules"] = json.dumps(self.instance.rules)

    def clean_rules(self) -> dict[str, Any]:
        try:
            return segments.check(json.loads(self.cleaned_data["rules"] or "{}"), self.instance.pk)
        except (ValueError, RecursionError):
            raise forms.ValidationError(_("The rules could not be read.")) from None
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from refusal


@admin.register(Segment)
class SegmentAdmin(SegmentPages, BaseAdmin):
    form = SegmentForm
    list_display = ["name", "kind", "members_link", "counted", "summary", "note", "board_link"]
    list_filter = ["is_live"]
    search_fields = ["name", "note"]
    ordering = ["-pk"]
    fields = ["name", "note", "is_live", "is_shown_to_guides", "rules"]
    change_form_after_template = "crm/admin/segment.html"
    actions_list = ["compare_them", "bring_in", "ask_why"]
    actions_detail = ["look_at_it"]
    empty_hint = _("Describe a group of members once, and send to them, give them coupons, watch them.")

    class Media:
        css = {"all": ["crm/admin.css", "crm/segments.css"]}
        js = ["crm/segments.js"]

    # --- The list --------------------------------------------------------------------------------------------------
    @display(description=_("kind"), label={"live": "success", "asked": "info"})
    def kind(self, segment: Segment) -> tuple[str, Any]:
        return ("live", _("live")) if segment.is_live else ("asked", _("computed when asked"))

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

    @display(description="")
    def board_link(self, segment: Segment) -> str:
        address = reverse("admin:crm_segment_board", args=[segment.pk])
        return format_html('<a class="crm-link" href="{}">{}</a>', address, _("Look inside"))

    @action(description=_("Overlap and set operations"), url_path="compare", icon="join_inner")
    def compare_them(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_segment_overlap"))

    @action(description=_("Bring in a file"), url_path="bring-in", icon="upload", permissions=["add"])
    def bring_in(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_segment_bring"))

    @action(description=_("Why is she in, or not?"), url_path="ask-why", icon="help")
    def ask_why(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_segment_why"))

    @action(description=_("Look inside"), url_path="look", icon="visibility")
    def look_at_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_segment_board", args=[int(object_id)]))

    # --- Saving and deleting ---------------------------------------------------------------------------------------
    def save_model(self, request: HttpRequest, obj: Segment, form: Any, change: bool) -> None:
        saved = services.save_segment(
            name=obj.name,
            note=obj.note,
            rules=form.cleaned_data["rules"],
            segment_id=obj.pk,
            by_id=request.user.pk,
            is_live=obj.is_live,
            is_shown_to_guides=obj.is_shown_to_guides,
        )
        obj.pk, obj.created_at, obj.members_count = saved.pk, saved.created_at, saved.members_count

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What deleting takes along; a segment that others name stands among the obstacles."""
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        chosen = {one.pk for one in objs}
        holders = {row.pk: row for pk in chosen for row in segments.naming(pk) if row.pk not in chosen}
        return deleted, counts, missing, [*protected, *(str(row) for row in holders.values())]

    def delete_model(self, request: HttpRequest, obj: Segment) -> None:
        services.delete_segment(segment_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Segment]) -> None:
        """The outer ones first: none is named any more when its turn comes."""
        waiting = list(queryset.order_by("pk").values_list("pk", flat=True))
        for pk in sorted(waiting, key=lambda pk: len(segments.containing(pk))):
            services.delete_segment(segment_id=pk)

    # --- While one builds ------------------------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="crm_segment_preview")
        return [preview, *self.page_urls(), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """POST the rules as JSON: how many members they find, a few of them, the rules in words. Saves nothing.

        What cannot be read is answered by 400 with `message` and `number`, the condition to blame (from 1) or null.
        """
        if not (self.has_view_permission(request) and request.user.has_perm("crm.view_member")):
            raise PermissionDenied
        if request.method != "POST":
            return JsonResponse({"message": str(_("The rules could not be read."))}, status=405)
        rules: Any = None
        try:
            rules = json.loads(request.body or b"{}")
            checked = segments.check(rules)
            count, sample = segments_shown.counted_sample(checked)
            told = segments_told.sentence(checked)
            level, rows = price(checked)
        except (ValueError, RecursionError, RawPostDataException):  # the last: they came as a form
            return JsonResponse({"message": str(_("The rules could not be read."))}, status=400)
        except Refusal as refusal:
            number = segments_shown.wrong_condition(rules)
            return JsonResponse({"message": refusal.message, "number": number}, status=refusal.status)
        context = {
            "count": count,
            "sample": sample,
            "told": told,
            "level": level,
            "rows": rows,
            "asks_timeline": any(one["field"] == "fact" for one in segments.conditions(checked)),
            "moment": f"{clock.local(clock.now()):%H:%M:%S}",
            "most": segments_shown.MOST_SAMPLED,
            "member_address": reverse("admin:crm_member_changelist"),
        }
        html = render_to_string("crm/admin/segment_sample.html", context, using="jinja2")
        return JsonResponse({"count": count, "html": html, "told": told})

    def _builder(self, segment: Segment | None) -> dict[str, Any]:
        return {
            "words": builder_words(),
            "saved_rules": segment.rules if segment else {},
            "preview_address": reverse("admin:crm_segment_preview"),
            "segment": segment,
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), **self._builder(None)})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        segment = Segment.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **self._builder(segment)}
        )
