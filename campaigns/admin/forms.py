"""Forms of the marketing pages: what is checked while writing, so that a plan cannot fail on words."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from campaigns import rules
from campaigns.models import CHANNELS, Broadcast, WinBackRule
from campaigns.queries.labels import fault_label
from core import clock

SMALL_AREAS = {
    "text": UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    "template_fields": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
}
LADDER_CHOICES = [(code, label) for code, label in CHANNELS if code in rules.LADDER]


def shown_when(field: str, value: str) -> str:
    """Condition for unfold's `conditional_fields`; always shown where the other field cannot be changed: a field that
    is only read is no variable of the page.
    """
    return f"typeof {field} == 'undefined' || {field} == '{value}'"


MESSAGE_CONDITIONS = {
    "text": shown_when("kind", "text"),
    "title": shown_when("kind", "link"),
    "description": shown_when("kind", "link"),
    "image_url": shown_when("kind", "link"),
}
"""Which fields of a message are shown for which kind of it."""

MESSAGE_FIELDSETS: list[Any] = [
    (_("Message"), {"fields": ["kind", "text", "title", "description", "url", "image_url"]}),
    (
        _("For subscribers"),
        {
            "classes": ["collapse"],
            "fields": ["template_id", "template_fields"],
            "description": _(
                "A subscription notice reaches those who accepted one, also outside the reply window. Leave this "
                "empty when you have no template."
            ),
        },
    ),
]
"""What is said, in all that says something to many."""


class BroadcastForm(forms.ModelForm):
    class Meta:
        model = Broadcast
        exclude = ()
        widgets = SMALL_AREAS

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("audience") == Broadcast.SEGMENT and not cleaned.get("segment"):
            self.add_error("segment", _("Choose the segment."))
        elif cleaned.get("audience") == Broadcast.EVERYONE:
            cleaned["segment"] = None
        if not self.errors:
            for field, code in _faults(cleaned, cleaned["channel"], cleaned["purpose"]).items():
                self.add_error(field, fault_label(code))
        return cleaned


class WinBackRuleForm(forms.ModelForm):
    channels = forms.MultipleChoiceField(
        label=_("channels in order"),
        choices=LADDER_CHOICES,
        initial=list(rules.LADDER),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_(
            "From top to bottom: the first one on which the platform lets her be reached carries the message."
        ),
    )

    class Meta:
        model = WinBackRule
        exclude = ("is_active",)
        widgets = SMALL_AREAS

    def clean_channels(self) -> list[str]:
        return [channel for channel in rules.LADDER if channel in self.cleaned_data["channels"]]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            for field, code in _faults(cleaned, rules.AUTO, rules.MARKETING).items():
                self.add_error(field, fault_label(code))
            carried = rules.rungs(
                rules.AUTO,
                has_template=bool(cleaned.get("template_id")),
                kind=cleaned["kind"],
                ladder=cleaned["channels"],
            )
            if not carried:
                self.add_error("channels", fault_label("channel_cannot_carry"))
        return cleaned


def _faults(cleaned: dict[str, Any], channel: str, purpose: str) -> dict[str, str]:
    return rules.content_faults(
        kind=cleaned["kind"],
        channel=channel,
        purpose=purpose,
        text=cleaned["text"],
        title=cleaned["title"],
        description=cleaned["description"],
        url=cleaned["url"],
        template_id=cleaned["template_id"],
        has_fields=bool(cleaned["template_fields"]),
    )


class ScheduleForm(forms.Form):
    """Now, or at a moment of the shop's clock."""

    when = forms.ChoiceField(choices=[("now", _("now")), ("later", _("later"))], initial="now")
    at = forms.DateTimeField(required=False, input_formats=["%Y-%m-%dT%H:%M"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("when") == "later" and not self.errors:
            if not cleaned.get("at"):
                self.add_error("at", _("Choose the moment."))
            elif cleaned["at"] <= clock.now():
                self.add_error("at", _("Choose a moment in the future, or start the broadcast now."))
        return cleaned


class PreviewForm(forms.Form):
    member = forms.IntegerField(min_value=1, label=_("member number"))
