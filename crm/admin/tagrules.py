"""Tag rules: written with a count of whom they would tag, run now or by themselves."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core import clock, money
from core.admin import BaseAdmin
from core.errors import Refusal
from crm import services, tagrules
from crm.admin.lists import ago
from crm.models import MemberTag, TagRule

# Where the refusal of a rule is shown.
FIELD_OF = {
    TagRule.SCAN: "code",
    TagRule.SPEND: "amount",
    TagRule.PURCHASE: "category",
    TagRule.LINK: "sender",
    TagRule.KEYWORD: "words",
    TagRule.TIME: "days",
}


# Where what an app offers is chosen.
CHOSEN_IN = {TagRule.SCAN: "code", TagRule.PURCHASE: "category", TagRule.LINK: "sender"}


class TagRuleForm(forms.ModelForm):
    amount = forms.CharField(
        label=_("at least (yuan)"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )
    category = forms.ChoiceField(label=_("category"), required=False, widget=UnfoldAdminSelectWidget())
    sender = forms.ChoiceField(label=_("links of"), required=False, widget=UnfoldAdminSelectWidget())
    code = forms.ChoiceField(label=_("channel code"), required=False, widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rule: TagRule = self.instance
        offers = (
            ("category", TagRule.PURCHASE, _("choose one")),
            ("sender", TagRule.LINK, _("every link")),
            ("code", TagRule.SCAN, _("any code")),
        )
        for name, kind, nothing in offers:
            cast(forms.ChoiceField, self.fields[name]).choices = [("", nothing), *tagrules.choices_of(kind)]
            if rule.kind == kind:
                self.initial[name] = rule.choice
        if rule.amount_fen:
            self.initial["amount"] = money.yuan(rule.amount_fen).replace(",", "")

    def clean_amount(self) -> str:
        text = str(self.cleaned_data["amount"] or "").strip()
        try:
            fen = money.fen_from_yuan(text or "0")
        except ValueError:
            raise forms.ValidationError(_("Enter an amount in yuan, such as 500 or 129.50.")) from None
        if fen < 0:
            raise forms.ValidationError(_("An amount cannot be negative."))
        self.instance.amount_fen = fen
        return text

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        rule: TagRule = self.instance
        kind = values.get("kind", rule.kind)
        rule.choice = str(values.get(CHOSEN_IN.get(kind, ""), "") or "")
        if kind not in (TagRule.SPEND, TagRule.PURCHASE):
            rule.amount_fen = 0
        if kind in (TagRule.SPEND, TagRule.TIME):
            values["times"] = 1
        if self.errors:
            return values
        asked = TagRule(
            kind=kind,
            amount_fen=rule.amount_fen,
            choice=rule.choice,
            words=values.get("words") or "",
            days=values.get("days"),
            times=values.get("times") or 0,
        )
        try:
            tagrules.check(asked)
        except Refusal as refusal:
            self.add_error(
                "days" if (values.get("days") or 0) > tagrules.MOST_DAYS else FIELD_OF[kind], refusal.message
            )
        return values


@admin.register(TagRule)
class TagRuleAdmin(BaseAdmin):
    form = TagRuleForm
    list_display = ["name", "tag_name", "when", "removes", "members_link", "ran", "state"]
    list_filter = ["kind", "is_active"]
    list_select_related = ["tag__group"]
    search_fields = ["name", "tag__name"]
    autocomplete_fields = ["tag"]
    ordering = ["-pk"]
    actions = ["run_now"]
    change_form_after_template = "crm/tagrules_preview.html"
    empty_hint = _("A rule tags members by what they do: scan, spend, buy, open, write, stay away.")
    fieldsets = [
        (None, {"fields": [("name", "tag"), "kind"]}),
        (
            _("Condition"),
            {"fields": ["code", "amount", "category", "sender", "words", "moment", ("days", "times")]},
        ),
        (_("Keeping it true"), {"fields": ["removes", "is_active"]}),
    ]
    conditional_fields = {
        "code": "kind == 'scan'",
        "amount": "kind == 'spend'",
        "category": "kind == 'purchase'",
        "sender": "kind == 'link'",
        "words": "kind == 'keyword'",
        "moment": "kind == 'time'",
        "times": "kind != 'spend' && kind != 'time'",
    }

    class Media:
        css = {"all": ["crm/admin.css", "crm/picture.css"]}

    # --- Columns ---------------------------------------------------------------------------------------------------
    @display(description=_("tag"), ordering="tag__name")
    def tag_name(self, rule: TagRule) -> str:
        return f"{rule.tag.group.name} · {rule.tag.name}"

    @display(description=_("condition"))
    def when(self, rule: TagRule) -> str:
        return tagrules.in_words(rule)

    @display(description=_("members"), ordering="members_count")
    def members_link(self, rule: TagRule) -> str:
        if rule.members_count is None:
            return "–"
        address = reverse("admin:crm_member_changelist") + f"?tag={rule.tag_id}"
        return format_html('<a class="crm-link" href="{}">{}</a>', address, f"{rule.members_count:,}")

    @display(description=_("last run"), ordering="ran_at")
    def ran(self, rule: TagRule) -> str:
        return ago(rule.ran_at)

    @display(
        description=_("status"),
        label={"on": "success", "off": "default", "error": "danger", "waiting": "info"},
    )
    def state(self, rule: TagRule) -> tuple[str, Any]:
        if rule.error:
            return "error", rule.error
        if not rule.is_active:
            return "off", _("switched off")
        if rule.running_until and rule.running_until > clock.now():
            return "waiting", _("runs now")
        return ("on", _("at work")) if rule.ran_at else ("waiting", _("runs in a moment"))

    # --- Writing ---------------------------------------------------------------------------------------------------
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A rule whose tags somebody carries stays, so that they can say why; switch it off instead."""
        if obj is not None and MemberTag.objects.filter(tag=obj.tag_id, origin=obj.origin).exists():
            return False
        return super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: TagRule, form: Any, change: bool) -> None:
        services.save_tag_rule(rule=obj, by_id=request.user.pk)

    @admin.action(description=_("Run over everybody now"), permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[TagRule]) -> None:
        count = services.want_tag_rules(rule_ids=queryset.values_list("pk", flat=True))
        message = ngettext("%(count)d rule runs in a moment.", "%(count)d rules run in a moment.", count)
        self.message_user(request, message % {"count": count}, messages.SUCCESS)

    def get_urls(self) -> list[Any]:
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="crm_tagrule_preview")
        return [preview, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """POST the form: for how many members it is true now, how many get the tag and lose it. Saves nothing."""
        if not self.has_view_permission(request) or request.method != "POST":
            raise PermissionDenied
        number = request.GET.get("rule", "")
        saved = TagRule.objects.filter(pk=number).first() if number.isdecimal() and len(number) < 19 else None
        given = request.POST.copy()
        given["name"] = given.get("name") or "–"
        form = self.get_form(request, saved, change=saved is not None)(given, instance=saved)
        context: dict[str, Any] = {}
        if form.is_valid():
            rule = form.save(commit=False)
            members, new, lost = services.tag_rule_preview(rule)
            context = {"members": members, "new": new, "lost": lost, "words": tagrules.in_words(rule)}
        else:
            context = {"error": next(iter(form.errors.values()))[0]}
        return TemplateResponse(request, "crm/tagrules_outcome.html", context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        address = reverse("admin:crm_tagrule_preview") + (f"?rule={object_id}" if object_id else "")
        return super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), "preview_address": address}
        )
