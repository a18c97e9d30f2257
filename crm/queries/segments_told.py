"""The rules of segments in words: fields with their inputs, conditions as sentences, a member's own values."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.money import yuan
from crm import segments
from crm.days import PROVINCES
from crm.models import (
    Activity,
    ChannelCode,
    Member,
    MemberDay,
    MemberField,
    MemberTraits,
    Segment,
    Staff,
    Store,
    Tag,
)
from crm.models.aipl import STEPS
from crm.models.lifecycle import CELLS, STAGES
from crm.queries.accounts import followed_accounts
from crm.segments_values import ID_KINDS
from crm.subjects import group_choices, subject_choices

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
    "known": gettext_lazy("is known"),
    "unknown": gettext_lazy("is not known"),
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
    "points": gettext_lazy("points"),
    "growth": gettext_lazy("growth"),
    "stored_fen": gettext_lazy("yuan"),
    "chance_percent": "%",
    "birthday_days": gettext_lazy("days"),
    "anniversary": gettext_lazy("days"),
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
    (
        gettext_lazy("Who she is"),
        (
            *("tags", "tier", "birthday_month", "birthday_days", "birthday_calendar", "anniversary"),
            *("region", "device", "custom", "segment"),
        ),
    ),
    (gettext_lazy("What she bought"), ("last_order_days", "orders", "spend_fen", "net_fen")),
    (gettext_lazy("What she does"), ("fact", "silent_days", "visits")),
    (gettext_lazy("What she holds"), ("points", "growth", "stored_fen")),
    (gettext_lazy("Lifecycle and value"), ("stage", "aipl", "rfm", "chance_percent")),
    (
        gettext_lazy("Where she comes from"),
        ("joined_days", "joined_via", "source", "store", "guide", "group"),
    ),
    (
        gettext_lazy("How she can be reached"),
        ("following", "contact", "consent", "touched_days", "untouched_days", "touches"),
    ),
]
# The names of values that are some of a fixed list.
WORDS: dict[str, dict[Any, Any]] = {
    "stages": {**dict(STAGES), "": gettext_lazy("never bought")},
    "cells": {word: label for word, (_highs, label) in CELLS.items()},
    "steps": dict(STEPS),
    "ways": dict(Member.WAYS),
    "months": {month: gettext_lazy("month %d") % month for month in range(1, 13)},
    "regions": {name: name for name in PROVINCES},
    "devices": dict(MemberTraits.DEVICES),
    "calendars": {**dict(MemberDay.CALENDARS), "": gettext_lazy("birthday unknown")},
    "tiers": {"": gettext_lazy("none")},
}


ANNIVERSARIES: dict[str, Any] = {
    "joined": gettext_lazy("day of joining"),
    **{kind: label for kind, label in MemberDay.KINDS if kind != MemberDay.BIRTHDAY},
}
"""What anniversaries are of, besides dates among the house's fields."""


@dataclass(frozen=True)
class Field:
    """A field of the rules as the builder offers it. `kind` names its input, as VALUES does."""

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
    """A kind of `crm.segments_values.VALUES`, or "custom"."""
    return segments.BY_NAME[field].value


def join_label(join: str) -> str:
    return str(JOIN_LABELS.get(join, ""))


# --- Rules as sentences --------------------------------------------------------------------------------------------
Names = dict[str, dict[int, str]]


def names_in(leaves: Iterable[dict[str, Any]], values: Sequence[Any] = ()) -> Names:
    """Names of the tags, codes, accounts, segments … that conditions mention, and of those in a member's `values` (one
    for each condition), by field. At most one statement a field.
    """
    wanted: dict[str, set[int]] = {}
    for leaf, hers in zip_longest(leaves, values):
        for ids in (leaf["value"], hers):
            several = ids if isinstance(ids, list) else [ids.get("field")] if isinstance(ids, dict) else [ids]
            named = "custom" if leaf["field"] == "anniversary" else leaf["field"]
            wanted.setdefault(named, set()).update(one for one in several if isinstance(one, int))
    names: Names = {}
    if wanted.get("tags"):
        tags = Tag.objects.filter(pk__in=wanted["tags"]).order_by()
        names["tags"] = dict(tags.values_list("pk", "name"))
    if wanted.get("source"):
        codes = ChannelCode.objects.filter(pk__in=wanted["source"])
        names["source"] = dict(codes.values_list("pk", "name"))
    if wanted.get("following"):
        names["following"] = dict(followed_accounts())
    if wanted.get("segment"):
        others = Segment.objects.filter(pk__in=wanted["segment"])
        names["segment"] = dict(others.values_list("pk", "name"))
    if wanted.get("guide"):
        names["guide"] = dict(Staff.objects.filter(pk__in=wanted["guide"]).values_list("pk", "name"))
    if wanted.get("store"):
        names["store"] = dict(Store.objects.filter(pk__in=wanted["store"]).values_list("pk", "name"))
    if wanted.get("group"):
        names["group"] = dict(group_choices())
    if wanted.get("custom"):
        own = MemberField.objects.filter(pk__in=wanted["custom"])
        names["custom"] = dict(own.values_list("pk", "name"))
    return names


def _ends(low: Any, high: Any) -> str:
    if low is None:
        return f"≤ {high}"
    return f"≥ {low}" if high is None else f"{low} – {high}" if low != high else f"= {low}"


def about_in_words(subjects: list[str]) -> str:
    """What facts are about: shelves by their names, anything else as it is written."""
    kinds = {subject.partition(":")[0] for subject in subjects}
    names = {subject: name for subject, name, _heading in subject_choices(kinds)}
    return _joined([names.get(subject, subject) for subject in subjects])


def in_words(leaf: dict[str, Any], names: Names) -> str:
    """A checked condition: "tags has any of 玫瑰、麝香"."""
    field, op, value = leaf["field"], leaf["op"], leaf["value"]
    label = str(segments.FIELD_LABELS.get(field, field))
    unit = str(UNITS.get(field, ""))
    kind = kind_of(field)
    if kind in ("range", "yuan"):
        low, high = (yuan(end) if kind == "yuan" and end is not None else end for end in value)
        return f"{label} {_ends(low, high)} {unit}"
    if kind == "number":
        return f"{label} ≥ {value} {unit}"
    word = str(OP_LABELS.get(op, op))
    if kind in WORDS:
        return f"{label} {word} {_joined([str(WORDS[kind].get(one, one)) for one in value])}"
    if kind in ID_KINDS:
        known = names.get(field, {})
        named = [known.get(one, _("#%(id)d (deleted)") % {"id": one}) for one in value]
        return f"{label} {word} {_joined(named)}"
    if kind == "fact":
        about = f" ({about_in_words(value['subjects'])})" if value.get("subjects") else ""
        return _("%(what)s%(about)s: %(word)s %(times)d times in %(days)d days") % {
            "what": KIND_LABELS.get(value["kind"], value["kind"]),
            "about": about,
            "word": word,
            "times": value["times"],
            "days": value["days"],
        }
    if kind == "times":
        return _("%(label)s: %(word)s %(times)d times in %(days)d days") % {
            "label": label,
            "word": word,
            "times": value["times"],
            "days": value["days"],
        }
    if kind == "anniversary":
        own = names.get("custom", {}).get(value.get("field"), f"#{value.get('field')}")
        ends = (value["from"], value["to"])
        return f"{label} ({ANNIVERSARIES.get(value['of'], own)}) {_ends(*ends)} {unit}"
    if kind == "custom":
        own = names.get(field, {}).get(value["field"], _("#%(id)d (deleted)") % {"id": value["field"]})
        if op == "between":
            ends = (value["from"], value["to"])
            return f"{own} {word} {' – '.join('…' if end is None else str(end) for end in ends)}"
        return f"{own} {word} {_joined(value.get('values', []))}".strip()
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
NOTHING = {
    "tier": gettext_lazy("none"),
    "tags": gettext_lazy("no tags"),
    "last_order_days": gettext_lazy("never ordered"),
    "touched_days": gettext_lazy("never touched"),
    "untouched_days": gettext_lazy("never touched"),
    "source": gettext_lazy("no channel code"),
    "following": gettext_lazy("follows none"),
    "stage": gettext_lazy("never bought"),
    "guide": gettext_lazy("no guide"),
    "store": gettext_lazy("no store"),
    "group": gettext_lazy("in no group"),
    "birthday_month": gettext_lazy("birthday unknown"),
    "birthday_days": gettext_lazy("birthday unknown"),
    "birthday_calendar": gettext_lazy("birthday unknown"),
    "anniversary": gettext_lazy("no such day"),
    "device": gettext_lazy("device unknown"),
    "chance_percent": gettext_lazy("never bought"),
    "rfm": gettext_lazy("never bought"),
}


def hers_in_words(condition: dict[str, Any], value: Any, names: Names) -> str:
    """What is so of a member about a checked condition, as `queries.segments_why` found it; never ""."""
    field = condition["field"]
    if field == "contact":
        return _("yes") if value else _("no")
    if value is None or value == [] or value == "":
        return str(NOTHING.get(field, _("none")))
    if field == "consent":
        return str(CONSENT_LABELS[value])
    if field in ("fact", "touches"):
        return _("%(times)d times") % {"times": value}
    if kind_of(field) in WORDS:
        several = value if isinstance(value, list) else [value]
        return _joined([str(WORDS[kind_of(field)].get(one, one)) for one in several])
    if field.endswith("_days") and field != "birthday_days":
        return days_since(clock.day_start(clock.today() - dt.timedelta(days=value)))
    if field == "custom":
        return str(value["value"])
    if isinstance(value, list):
        known = names.get(field, {})
        return _joined([known.get(one, f"#{one}") for one in value])
    if kind_of(field) == "yuan":
        return f"¥{yuan(value)}"
    return f"{value} {UNITS[field]}" if field in UNITS else str(value)


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
