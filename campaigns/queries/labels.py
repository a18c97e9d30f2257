"""Reasons in the person's language: why not (yet), and what is wrong with a message."""

from django.utils.translation import gettext_lazy as _

from campaigns.models import Broadcast, WinBackRule
from crm import queries as crm_queries

# What one may say to a planner who asks: why did she not get it?
OWN_REASONS = {
    "no_channel": _("does not follow the account"),
    "window_closed": _("no open reply window"),
    "no_subscription": _("no subscription left for this notice"),
    "mass_quota_used": _("this month's mass messages are used up"),
    "mass_needs_two": _("a mass message needs at least two receivers"),
    "not_a_contact": _("no contact in WeCom"),
    "too_late": _("could not be reached in time"),
    "frequency_cap": _("has had enough messages"),
    "cancelled": _("broadcast was cancelled"),
    "gone": _("no longer a member"),
    "merged": _("is the same person as another recipient"),
    "active_again": _("came back by herself"),
    "daily_limit": _("today's limit of the rule is reached"),
}

FAULTS = {
    "empty": _("Fill this in."),
    "too_long": _("This is longer than the platform allows."),
    "channel_cannot_carry": _("This channel cannot carry this form of message."),
    "template_is_service_only": _(
        "Template messages are for service notices only: marketing in them costs the account its right to send."
    ),
}


def reason_label(code: str) -> str:
    """The reason as text; a code that has no name is never shown as it is."""
    if not code:
        return ""
    return str(OWN_REASONS.get(code) or crm_queries.reasons_labels().get(code) or _("another reason"))


def fault_label(code: str) -> str:
    return str(FAULTS.get(code, code))


def link_senders() -> list[tuple[str, str]]:
    """(origin, name) of what has sent links, the newest first: what a tag rule can be about."""
    rows: list[tuple[str, str]] = []
    for table, prefix in ((Broadcast, "broadcast"), (WinBackRule, "winback")):
        named = table.objects.exclude(url="").order_by("-pk").values_list("pk", "name")[:200]
        rows += [(f"{prefix}:{pk}", name) for pk, name in named]
    return rows
