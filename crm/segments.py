"""The language of segments: a tree of conditions, checked with clear words.

    node      = {"all": [node, …]} | {"any": [node, …]} | {"not": node} | condition
    condition = {"field": NAME, "op": OP, "value": …}

    tags              any | all | none     [tag id, …]
    tier              in | not_in          [tier, …], "" for members without one
    last_order_days   between              [from, to]: days since the last order, an open end is null
    joined_days       between              [from, to]
    touched_days      between              [from, to]: days since the last touch
    untouched_days    at_least             days without a touch; who never got one is meant too
    silent_days       at_least             days without any doing of hers
    orders            between              [from, to]
    spend_fen         between              [from, to], paid in all
    net_fen           between              [from, to], paid less what was refunded
    visits            between              [from, to]
    points            between              [from, to], what she may spend
    growth            between              [from, to]
    stored_fen        between              [from, to], stored value with its bonus
    stage             in | not_in          [stage, …] of the lifecycle, "" for members who never bought
    aipl              in | not_in          [step, …]
    rfm               in | not_in          [cell, …]
    chance_percent    between              [from, to], the chance that she is still a customer
    birthday_month    in | not_in          [1 to 12, …]
    birthday_days     between              [from, to]: days until her next birthday; the lunar one, where she keeps it
    birthday_calendar in | not_in          ["solar", "lunar", ""]: by which she keeps it, "" while it is unknown
    anniversary       between              {"of": DAY, "from": …, "to": …}: days until it returns; DAY is "joined" (not
                                           for who joined today), a kind of her days ("wedding", "child", "other"), or
                                           "field" with "field": id, a date of the house's own fields
    region            in | not_in          [province, …] that her newest order went to
    device            in | not_in          [device, …] that she visited with last
    joined_via        in | not_in          [way, …]
    guide             in | not_in          [staff id, …] who have her in WeCom
    store             in | not_in          [store id, …] of these guides, or of the code she came through
    group             in | not_in          [customer group id, …] that she is in
    touches           at_least | fewer     {"times": 3, "days": 14}
    custom            in | not_in          {"field": id, "values": [text, …]}: the house's own fields
                      between              {"field": id, "from": …, "to": …}: whole numbers, or days "2026-01-31"
                      known | unknown      {"field": id}
    fact              at_least | fewer     {"kind": …, "times": 3, "days": 14, "subjects": [about, …]}
    source            in | not_in          [channel code id, …]
    following         yes | no             account id, null for any account
    contact           yes | no             null (has a guide in WeCom)
    consent           is                   "given" | "withdrawn" | "unasked"
    segment           in | not_in          [segment id, …]: members of at least one of them

Subjects are what facts are about ("product:12"), or a word that stands for several ("category:3", see `crm.subjects`).
Days are calendar days of the shop: "0" is today; the 14 days of a fact are today and the 13 before. `{}`, `{"all": []}`
and `{"any": []}` mean every member. `schema()` says the same as a JSON schema. How members are found stands in
`crm.bitmaps`, and slowly in `crm.segments_by_orm`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from crm import segments_values
from crm.errors import WrongRules
from crm.models import Segment
from crm.subjects import spelled_out

DEEPEST = 5
DEEPEST_SEGMENTS = 5
MOST_CONDITIONS = 40
MOST_GROUPS = 200
MOST_CONDITIONS_IN_ALL = 400


@dataclass(frozen=True)
class Field:
    """What conditions can be about: `value` is a kind of VALUES."""

    name: str
    label: Promise
    ops: tuple[str, ...]
    value: str


BETWEEN = ("between",)
IN = ("in", "not_in")
FIELDS = (
    Field("tags", gettext_lazy("tags"), ("any", "all", "none"), "tags"),
    Field("tier", gettext_lazy("member tier"), IN, "tiers"),
    Field("last_order_days", gettext_lazy("days since the last order"), BETWEEN, "range"),
    Field("orders", gettext_lazy("number of orders"), BETWEEN, "range"),
    Field("spend_fen", gettext_lazy("amount paid in all"), BETWEEN, "yuan"),
    Field("net_fen", gettext_lazy("amount paid less refunds"), BETWEEN, "yuan"),
    Field("fact", gettext_lazy("what she did"), ("at_least", "fewer"), "fact"),
    Field("silent_days", gettext_lazy("days of silence"), ("at_least",), "number"),
    Field("touched_days", gettext_lazy("days since the last touch"), BETWEEN, "range"),
    Field("untouched_days", gettext_lazy("days without a touch"), ("at_least",), "number"),
    Field("joined_days", gettext_lazy("days since joining"), BETWEEN, "range"),
    Field("visits", gettext_lazy("number of visits"), BETWEEN, "range"),
    Field("source", gettext_lazy("source"), IN, "codes"),
    Field("following", gettext_lazy("follows an account"), ("yes", "no"), "account"),
    Field("contact", gettext_lazy("has a guide in WeCom"), ("yes", "no"), "nothing"),
    Field("consent", gettext_lazy("consent to marketing"), ("is",), "consent"),
    Field("segment", gettext_lazy("segment"), IN, "segments"),
    Field("points", gettext_lazy("points she has"), BETWEEN, "range"),
    Field("growth", gettext_lazy("growth value"), BETWEEN, "range"),
    Field("stored_fen", gettext_lazy("stored value"), BETWEEN, "yuan"),
    Field("stage", gettext_lazy("lifecycle stage"), IN, "stages"),
    Field("aipl", gettext_lazy("AIPL step"), IN, "steps"),
    Field("rfm", gettext_lazy("RFM cell"), IN, "cells"),
    Field("chance_percent", gettext_lazy("chance that she is still a customer"), BETWEEN, "range"),
    Field("birthday_month", gettext_lazy("month of birth"), IN, "months"),
    Field("birthday_days", gettext_lazy("days until her birthday"), BETWEEN, "range"),
    Field("birthday_calendar", gettext_lazy("calendar of her birthday"), IN, "calendars"),
    Field("anniversary", gettext_lazy("days until an anniversary"), BETWEEN, "anniversary"),
    Field("region", gettext_lazy("region"), IN, "regions"),
    Field("device", gettext_lazy("device"), IN, "devices"),
    Field("joined_via", gettext_lazy("how she became a member"), IN, "ways"),
    Field("guide", gettext_lazy("guide"), IN, "guides"),
    Field("store", gettext_lazy("store"), IN, "stores"),
    Field("group", gettext_lazy("customer group"), IN, "groups"),
    Field("touches", gettext_lazy("touches she got"), ("at_least", "fewer"), "times"),
    Field(
        "custom",
        gettext_lazy("field of our own"),
        ("in", "not_in", "between", "known", "unknown"),
        "custom",
    ),
)
TOLD_BY_THE_LEDGER = frozenset({"points", "growth", "stored_fen"})
"""Fields of which the ledger says who has changed; of all others the timeline and the bitmaps' log."""
BY_NAME = {field.name: field for field in FIELDS}
OPS = {field.name: field.ops for field in FIELDS}
FIELD_LABELS = {field.name: field.label for field in FIELDS}


def schema() -> dict[str, Any]:
    """The language as a JSON schema (draft 2020-12); `check` knows besides which segments there are."""
    nodes = {"type": "array", "items": {"$ref": "#/$defs/node"}}
    groups = [
        {
            "type": "object",
            "properties": {join: inner},
            "required": [join],
            "additionalProperties": False,
        }
        for join, inner in (("all", nodes), ("any", nodes), ("not", {"$ref": "#/$defs/node"}))
    ]
    conditions_of_fields = [
        {
            "type": "object",
            "title": str(field.label),
            "properties": {
                "field": {"const": field.name},
                "op": {"enum": list(ops)},
                "value": value,
            },
            "required": ["field", "op", "value"],
            "additionalProperties": False,
        }
        for field in FIELDS
        for ops, value in segments_values.shapes_of(field.value, field.ops)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "segment rules",
        "anyOf": [{"type": "object", "maxProperties": 0}, {"$ref": "#/$defs/node"}],
        "$defs": {"node": {"anyOf": [*groups, *conditions_of_fields]}},
    }


def check(rules: Any, segment_id: int | None = None) -> dict[str, Any]:
    """The rules when they can be read and the segments within are there; WrongRules says which condition is wrong and
    how.

    `segment_id`: the segment that these rules are to be of, so that it does not come to contain itself.
    """
    shaped = check_shape(rules)
    expanded(shaped, segment_id)
    return shaped


def check_shape(rules: Any) -> dict[str, Any]:
    """The rules when every condition can be read; nothing that they name is looked up. Raises WrongRules."""
    if rules == {}:
        return {"all": []}
    _check_node(rules, 1, count := _Count())
    if count.conditions > MOST_CONDITIONS:
        raise WrongRules(_("At most %(most)d conditions fit in one segment.") % {"most": MOST_CONDITIONS})
    return dict(rules)


class _Count:
    conditions = groups = 0


def _check_node(node: Any, depth: int, count: _Count) -> None:
    if not isinstance(node, dict):
        raise WrongRules(_("The rules must be conditions joined by all, any or not."))
    if depth > DEEPEST:
        raise WrongRules(_("The groups are nested too deeply (at most %(most)d).") % {"most": DEEPEST})
    if "field" not in node:
        count.groups += 1
        if count.groups > MOST_GROUPS:
            raise WrongRules(_("At most %(most)d groups fit in one segment.") % {"most": MOST_GROUPS})
    if set(node) in ({"all"}, {"any"}):
        children = next(iter(node.values()))
        if not isinstance(children, list):
            raise WrongRules(_("A group must be a list of conditions."))
        for child in children:
            _check_node(child, depth + 1, count)
    elif set(node) == {"not"}:
        _check_node(node["not"], depth + 1, count)
    else:
        count.conditions += 1
        _check_condition(node, count.conditions)


def _check_condition(node: dict[str, Any], number: int) -> None:
    def wrong(what: str) -> WrongRules:
        return WrongRules(_("Condition %(number)d: %(what)s") % {"number": number, "what": what})

    if set(node) != {"field", "op", "value"}:
        raise wrong(_("it needs a field, a comparison and a value."))
    field, op, value = node["field"], node["op"], node["value"]
    if not isinstance(field, str) or field not in BY_NAME:
        raise wrong(_("there is no field “%(field)s”.") % {"field": str(field)[:40]})
    if op not in BY_NAME[field].ops:
        raise wrong(
            _("“%(field)s” cannot be compared by “%(op)s”.")
            % {"field": FIELD_LABELS[field], "op": str(op)[:40]}
        )
    segments_values.check_value(BY_NAME[field].value, op, value, wrong)


def conditions(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every condition of checked rules, in order."""
    if "field" in node:
        yield node
    elif "not" in node:
        yield from conditions(node["not"])
    else:
        for child in next(iter(node.values()), []):
            yield from conditions(child)


# --- Segments within segments


def naming(segment_id: int) -> list[Segment]:
    """The segments whose own rules name this one, by name."""
    return [row for row in Segment.objects.order_by("name") if segment_id in _named(row)]


def containing(segment_id: int) -> list[Segment]:
    """The segments that hold this one, at any depth, by id. One statement."""
    named = {row: _named(row) for row in Segment.objects.order_by("pk")}
    inside, grown = {segment_id}, True
    while grown:
        reached = inside | {row.pk for row, names in named.items() if names & inside}
        inside, grown = reached, reached != inside
    return [row for row in named if row.pk in inside and row.pk != segment_id]


def _named(segment: Segment) -> set[int]:
    mentions = [one["value"] for one in conditions(segment.rules) if one["field"] == "segment"]
    return {pk for value in mentions for pk in value}


def expanded(rules: dict[str, Any], segment_id: int | None = None) -> dict[str, Any]:
    """The rules with the stored rules of each segment in the place of its name, and subjects spelled out.

    Raises WrongRules for a segment that is not there, that contains itself, or that nests too deeply.
    """
    if not any(one["field"] in ("segment", "fact") for one in conditions(rules)):
        return rules
    return _expanded(rules, () if segment_id is None else (segment_id,), _Budget())


class _Budget:
    """How much a tree may still grow while it is spelled out, and the segments that were read for it already."""

    def __init__(self) -> None:
        self.left = MOST_CONDITIONS_IN_ALL
        self.read: dict[int, Segment | None] = {}

    def spend(self) -> None:
        """One condition, or one mention of a segment: an empty one costs work, too."""
        self.left -= 1
        if self.left < 0:
            raise WrongRules(
                _("With the segments within it, this segment has more than %(most)d conditions.")
                % {"most": MOST_CONDITIONS_IN_ALL}
            )

    def segment(self, pk: int) -> Segment | None:
        if pk not in self.read:
            self.read[pk] = Segment.objects.filter(pk=pk).first()
        return self.read[pk]


def _expanded(node: dict[str, Any], inside: tuple[int, ...], budget: _Budget) -> dict[str, Any]:
    if "not" in node:
        return {"not": _expanded(node["not"], inside, budget)}
    if "field" not in node:
        return {
            join: [_expanded(child, inside, budget) for child in children] for join, children in node.items()
        }
    if node["field"] != "segment":
        budget.spend()
    if node["field"] == "fact" and node["value"].get("subjects"):
        return {**node, "value": {**node["value"], "subjects": spelled_out(node["value"]["subjects"])}}
    if node["field"] != "segment":
        return node
    asked = {"any": [_rules_of(pk, inside, budget) for pk in dict.fromkeys(node["value"])]}
    return asked if node["op"] == "in" else {"not": asked}


def _rules_of(pk: int, inside: tuple[int, ...], budget: _Budget) -> dict[str, Any]:
    budget.spend()
    segment = budget.segment(pk)
    if segment is None:
        raise WrongRules(_("There is no segment %(pk)d any more.") % {"pk": pk})
    if pk in inside:
        raise WrongRules(_("Segment “%(name)s” would contain itself.") % {"name": segment.name})
    if len(inside) >= DEEPEST_SEGMENTS:
        raise WrongRules(_("Segments are nested too deeply (at most %(most)d).") % {"most": DEEPEST_SEGMENTS})
    return _expanded(segment.rules or {"all": []}, (*inside, pk), budget)
