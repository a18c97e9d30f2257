"""The rules of segments in words: fields with their inputs, conditions as sentences, a member's own values."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.money import yuan
from crm import segments
from crm.models import Activity, ChannelCode, Identity, Member, Segment, Tag
from crm.queries.accounts import followed_accounts

MOST_NAMED = 8

OP_LABELS = {
    "any": gettext_lazy("has any of"),
    "all": gettext_lazy("has all of"),
    "none": gettext_lazy("has none of"),
    "between": gettext_lazy("between"),
    "at_least": gettext_lazy("at least"),
    "fewer": gettext_lazy("fewer than"),
    "in": gettext_lazy("is one of"),
    "not_in": gettext_lazy("is none of"),
    "yes": gettext_lazy("yes"),
    "no": gettext_lazy("no"),
    "is": gettext_lazy("is"),
}
UNITS = {
    "last_order_days": gettext_lazy("days ago"),
    "joined_days": gettext_lazy("days ago"),
    "silent_days": gettext_lazy("days"),
    "orders": gettext_lazy("orders"),
    "spend_fen": gettext_lazy("yuan"),
    "visits": gettext_lazy("visits"),
    "touched_days": gettext_lazy("days ago"),
    "untouched_days": gettext_lazy("days"),
    "net_fen": gettext_lazy("yuan"),
}
CONSENT_LABELS = {
    "given": gettext_lazy("agreed"),
    "withdrawn": gettext_lazy("withdrawn"),
    "unasked": gettext_lazy("never asked"),
}
KIND_LABELS = dict(Activity.KINDS)
JOIN_LABELS = {
    "all": gettext_lazy("all of these"),
    "any": gettext_lazy("any of these"),
    "not": gettext_lazy("not this"),
}
GROUPS: list[tuple[Any, tuple[str, ...]]] = [
    (gettext_lazy("Who she is"), ("tags", "tier", "joined_days", "source", "segment")),
    (gettext_lazy("What she bought"), ("last_order_days", "orders", "spend_fen", "net_fen")),
    (gettext_lazy("What she does"), ("fact", "silent_days", "visits")),
    (
        gettext_lazy("How she can be reached"),
        ("following", "contact", "consent", "touched_days", "untouched_days"),
    ),
]


@dataclass(frozen=True)
class Field:
    """A field of the rules as the builder offers it. `kind` names its input, as `crm.segments.VALUES` does."""

    name: str
    label: str
    group: str
    kind: str
    unit: str
    ops: list[tuple[str, str]]


def fields() -> list[Field]:
    """Every field that conditions may name, by groups, in the operator's language."""
    place = {name: group for group, names in GROUPS for name in names}
    order = [name for _group, names in GROUPS for name in names]
    listed = [name for name in order if name in segments.OPS]
    listed += [name for name in segments.OPS if name not in place]
    return [
        Field(
            name,
            str(segments.FIELD_LABELS.get(name, name)),
            str(place.get(name, _("More"))),
            kind_of(name),
            str(UNITS.get(name, "")),
            [(op, str(OP_LABELS.get(op, op))) for op in segments.OPS[name]],
        )
        for name in listed
    ]


def kind_of(field: str) -> str:
    """range, yuan, number, tags, codes, tiers, segments, account, consent, fact or nothing."""
    return segments.BY_NAME[field].value


def join_label(join: str) -> str:
    return str(JOIN_LABELS.get(join, ""))


# --- Rules as sentences --------------------------------------------------------------------------------------------
Names = dict[str, dict[int, str]]


def names_in(leaves: Iterable[dict[str, Any]]) -> Names:
    """Names of the tags, codes, accounts and segments that conditions mention, by field. At most four statements."""
    wanted: dict[str, set[int]] = {}
    for leaf in leaves:
        ids = leaf["value"] if isinstance(leaf["value"], list) else [leaf["value"]]
        wanted.setdefault(leaf["field"], set()).update(one for one in ids if isinstance(one, int))
    names: Names = {}
    if wanted.get("tags"):
        tags = Tag.objects.filter(pk__in=wanted["tags"])
        names["tags"] = dict(tags.values_list("pk", "name"))
    if wanted.get("source"):
        codes = ChannelCode.objects.filter(pk__in=wanted["source"])
        names["source"] = dict(codes.values_list("pk", "name"))
    if wanted.get("following"):
        names["following"] = dict(followed_accounts())
    if wanted.get("segment"):
        others = Segment.objects.filter(pk__in=wanted["segment"])
        names["segment"] = dict(others.values_list("pk", "name"))
    return names


def in_words(leaf: dict[str, Any], names: Names) -> str:
    """A checked condition: "tags has any of 玫瑰、麝香"."""
    field, op, value = leaf["field"], leaf["op"], leaf["value"]
    label = str(segments.FIELD_LABELS.get(field, field))
    unit = str(UNITS.get(field, ""))
    kind = kind_of(field)
    if kind in ("range", "yuan"):
        low, high = (yuan(end) if kind == "yuan" and end is not None else end for end in value)
        if low is None:
            return f"{label} ≤ {high} {unit}"
        if high is None:
            return f"{label} ≥ {low} {unit}"
        return f"{label} {low} – {high} {unit}" if low != high else f"{label} = {low} {unit}"
    if kind == "number":
        return f"{label} ≥ {value} {unit}"
    word = str(OP_LABELS.get(op, op))
    if kind == "tiers":
        return f"{label} {word} {_joined([one or _('none') for one in value])}"
    if kind in ("tags", "codes", "segments"):
        known = names.get(field, {})
        named = [known.get(one, _("#%(id)d (deleted)") % {"id": one}) for one in value]
        return f"{label} {word} {_joined(named)}"
    if kind == "fact":
        about = f" ({_joined(value['subjects'])})" if value.get("subjects") else ""
        return _("%(what)s%(about)s: %(word)s %(times)d times in %(days)d days") % {
            "what": KIND_LABELS.get(value["kind"], value["kind"]),
            "about": about,
            "word": word,
            "times": value["times"],
            "days": value["days"],
        }
    if field == "following":
        account = _("any account") if value is None else names.get(field, {}).get(value, f"#{value}")
        return _("%(label)s (%(account)s): %(value)s") % {"label": label, "account": account, "value": word}
    if field == "consent":
        word = str(CONSENT_LABELS[value])
    return _("%(label)s: %(value)s") % {"label": label, "value": word}


def sentence(rules: dict[str, Any]) -> str:
    """Checked rules on one line: "A and (B or not C)"."""
    names = names_in(segments.conditions(rules))

    def told(node: dict[str, Any], inside: bool) -> str:
        if "field" in node:
            return in_words(node, names)
        if "not" in node:
            return _("not (%(condition)s)") % {"condition": told(node["not"], False)}
        join, word = ("any", _(" or ")) if "any" in node else ("all", _(" and "))
        parts = [told(child, True) for child in node.get(join, [])]
        if not parts:
            return _("every member")
        text = word.join(parts)
        return _("(%(conditions)s)") % {"conditions": text} if inside and len(parts) > 1 else text

    return told(rules, False)


def _joined(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    text = "、".join(names[:MOST_NAMED])
    return f"{text} +{more}" if more > 0 else text


# --- Her own values ------------------------------------------------------------------------------------------------
class HerFacts:
    """A member's values of the fields, in words; each is read once, when it is first asked for."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def told(self, condition: dict[str, Any]) -> str:
        """Her value of what a checked condition asks; "" where there is no word for it."""
        stats = self._member.stats
        match condition["field"]:
            case "tier":
                return self._member.tier or _("none")
            case "fact":
                return self._times(condition["value"])
            case "net_fen":
                return f"¥{yuan(stats.paid_fen - stats.refunded_fen)}"
            case "touched_days" | "untouched_days":
                return days_since(stats.last_touch_at) or _("never touched")
            case "tags":
                return _joined(self._tags) or _("no tags")
            case "last_order_days":
                return days_since(stats.last_paid_at) or _("never ordered")
            case "joined_days":
                return days_since(self._member.created_at)
            case "silent_days":
                return days_since(stats.last_active_at) or _("never did anything")
            case "orders":
                return str(stats.orders_count)
            case "spend_fen":
                return f"¥{yuan(stats.paid_fen)}"
            case "visits":
                return str(stats.visits_count)
            case "source":
                return self._member.source.name if self._member.source else _("no channel code")
            case "following":
                return _joined(self._followed["openid"]) or _("follows none")
            case "contact":
                return _("yes") if self._followed["external_userid"] else _("no")
            case "consent":
                word = {True: "given", False: "withdrawn", None: "unasked"}[stats.marketing_consent]
                return str(CONSENT_LABELS[word])
        return ""

    def _times(self, fact: dict[str, Any]) -> str:
        since = clock.day_start(clock.today() - dt.timedelta(days=fact["days"] - 1))
        facts = Activity.objects.filter(member=self._member, kind=fact["kind"], at__gte=since)
        if fact.get("subjects"):
            facts = facts.filter(subject__in=fact["subjects"])
        return _("%(times)d times") % {"times": facts.count()}

    @cached_property
    def _tags(self) -> list[str]:
        return list(
            self._member.member_tags.order_by("tag__group__sort", "tag__sort", "tag_id").values_list(
                "tag__name", flat=True
            )
        )

    @cached_property
    def _followed(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"openid": [], "external_userid": []}
        for one in Identity.objects.filter(member=self._member, is_following=True).select_related("account"):
            if one.kind in found:
                found[one.kind].append(str(one.account))
        return found


def days_since(moment: datetime | None) -> str:
    """ "40 days ago (2026-01-23)", in days of the shop; "" for never."""
    if moment is None:
        return ""
    day = clock.local(moment).date()
    return _("%(days)d days ago (%(day)s)") % {"days": (clock.today() - day).days, "day": day.isoformat()}


def day_of(moment: datetime | None) -> str:
    return clock.local(moment).date().isoformat() if moment else ""


def plain_yuan(fen: int) -> str:
    return yuan(fen).replace(",", "")
