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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from crm.errors import WrongRules
from crm.models import Activity, Segment
from crm.subjects import spelled_out

DEEPEST = 5
DEEPEST_SEGMENTS = 5
MOST_CONDITIONS = 40
MOST_CONDITIONS_IN_ALL = 400
MOST_CHOICES = 1_000
LARGEST = 10**15
MOST_DAYS = 3_650
MOST_TIMES = 10_000

NO_ZERO = r"^[^\u0000]*$"  # the database keeps no zero characters
IDS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": LARGEST},
    "minItems": 1,
    "maxItems": MOST_CHOICES,
}
RANGE: dict[str, Any] = {
    "type": "array",
    "items": {"type": ["integer", "null"], "minimum": 0, "maximum": LARGEST},
    "minItems": 2,
    "maxItems": 2,
}
VALUES: dict[str, dict[str, Any]] = {
    "tags": IDS,
    "codes": IDS,
    "segments": IDS,
    "tiers": {
        "type": "array",
        "items": {"type": "string", "maxLength": 40, "pattern": NO_ZERO},
        "minItems": 1,
        "maxItems": MOST_CHOICES,
    },
    "range": RANGE,
    "yuan": RANGE,
    "number": {"type": "integer", "minimum": 1, "maximum": LARGEST},
    "account": {"type": ["integer", "null"], "minimum": 1, "maximum": LARGEST},
    "nothing": {},
    "consent": {"enum": ["given", "withdrawn", "unasked"]},
    "fact": {
        "type": "object",
        "properties": {
            "kind": {"enum": [kind for kind, _label in Activity.KINDS]},
            "times": {"type": "integer", "minimum": 1, "maximum": MOST_TIMES},
            "days": {"type": "integer", "minimum": 1, "maximum": MOST_DAYS},
            "subjects": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 80, "pattern": NO_ZERO},
                "maxItems": MOST_CHOICES,
            },
        },
        "required": ["kind", "times", "days"],
        "additionalProperties": False,
    },
}
"""Kind of a condition's value → its JSON schema. Ranges of the kind "yuan" are integer fen that people type as yuan."""


@dataclass(frozen=True)
class Field:
    """What conditions can be about: `value` is a kind of VALUES."""

    name: str
    label: Promise
    ops: tuple[str, ...]
    value: str


BETWEEN = ("between",)
FIELDS = (
    Field("tags", gettext_lazy("tags"), ("any", "all", "none"), "tags"),
    Field("tier", gettext_lazy("member tier"), ("in", "not_in"), "tiers"),
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
    Field("source", gettext_lazy("source"), ("in", "not_in"), "codes"),
    Field("following", gettext_lazy("follows an account"), ("yes", "no"), "account"),
    Field("contact", gettext_lazy("has a guide in WeCom"), ("yes", "no"), "nothing"),
    Field("consent", gettext_lazy("consent to marketing"), ("is",), "consent"),
    Field("segment", gettext_lazy("segment"), ("in", "not_in"), "segments"),
)
BY_NAME = {field.name: field for field in FIELDS}
OPS = {field.name: field.ops for field in FIELDS}
FIELD_LABELS = {field.name: field.label for field in FIELDS}
CONSENTS = {"given": True, "withdrawn": False, "unasked": None}


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
                "op": {"enum": list(field.ops)},
                "value": VALUES[field.value],
            },
            "required": ["field", "op", "value"],
            "additionalProperties": False,
        }
        for field in FIELDS
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "segment rules",
        "anyOf": [{"type": "object", "maxProperties": 0}, {"$ref": "#/$defs/node"}],
        "$defs": {"node": {"anyOf": [*groups, *conditions_of_fields]}},
    }


def check(rules: Any, segment_id: int | None = None) -> dict[str, Any]:
    """The rules when they can be read; WrongRules says which condition is wrong and how.

    `segment_id`: the segment that these rules are to be of, so that it does not come to contain itself.
    """
    if rules == {}:
        return {"all": []}
    _check_node(rules, 1, count := _Count())
    if count.conditions > MOST_CONDITIONS:
        raise WrongRules(_("At most %(most)d conditions fit in one segment.") % {"most": MOST_CONDITIONS})
    expanded(rules, segment_id)
    return dict(rules)


class _Count:
    conditions = 0


def _check_node(node: Any, depth: int, count: _Count) -> None:
    if not isinstance(node, dict):
        raise WrongRules(_("The rules must be conditions joined by all, any or not."))
    if depth > DEEPEST:
        raise WrongRules(_("The groups are nested too deeply (at most %(most)d).") % {"most": DEEPEST})
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


Wrong = Callable[[str], WrongRules]


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
    _check_value(BY_NAME[field].value, value, wrong)


def _check_value(kind: str, value: Any, wrong: Wrong) -> None:
    match kind:
        case "tags" | "codes" | "segments":
            _check_choices(value, _is_id, wrong)
        case "tiers":
            _check_choices(value, lambda one: _is_text(one, most=40), wrong)
        case "range" | "yuan":
            _check_range(value, wrong)
        case "number":
            if not _is_number(value) or value < 1:
                raise wrong(_("give a number of days, 1 or more."))
        case "account":
            if value is not None and not _is_id(value):
                raise wrong(_("choose an account, or any."))
        case "consent":
            if not isinstance(value, str) or value not in CONSENTS:
                raise wrong(_("choose agreed, withdrawn or never asked."))
        case "fact":
            _check_fact(value, wrong)


def _check_choices(value: Any, is_one: Callable[[Any], bool], wrong: Wrong) -> None:
    if not isinstance(value, list) or not value or not all(is_one(one) for one in value):
        raise wrong(_("choose at least one."))
    if len(value) > MOST_CHOICES:
        raise wrong(_("choose at most %(most)d.") % {"most": MOST_CHOICES})


def _check_fact(value: Any, wrong: Wrong) -> None:
    if not isinstance(value, dict) or not {"kind", "times", "days"} <= set(value) <= {
        "kind",
        "times",
        "days",
        "subjects",
    }:
        raise wrong(_("say what she did, how many times, and in how many days."))
    if not isinstance(value["kind"], str) or value["kind"] not in dict(Activity.KINDS):
        raise wrong(_("the timeline has no facts “%(kind)s”.") % {"kind": str(value["kind"])[:40]})
    for name, most in (("times", MOST_TIMES), ("days", MOST_DAYS)):
        if not _is_number(value[name]) or not 1 <= value[name] <= most:
            raise wrong(
                _("give whole numbers of times and days, 1 or more, at most %(times)d and %(days)d.")
                % {"times": MOST_TIMES, "days": MOST_DAYS}
            )
    if subjects := value.get("subjects", []):
        _check_choices(subjects, lambda one: one != "" and _is_text(one, most=80), wrong)
    elif subjects != []:
        raise wrong(_("what it is about must be a list."))


def _check_range(value: Any, wrong: Wrong) -> None:
    ends = value if isinstance(value, list) else []
    if len(ends) != 2 or not all(end is None or _is_number(end) for end in ends):
        raise wrong(_("give whole numbers, from and to; one of them may stay empty."))
    low, high = ends
    if low is None and high is None:
        raise wrong(_("give at least one end of the range."))
    if low is not None and high is not None and low > high:
        raise wrong(_("the first number must not be larger than the second."))


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_id(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_text(value: Any, *, most: int) -> bool:
    """What the database can hold: without the zero character and halves of pairs."""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        return False
    return not any("\ud800" <= one <= "\udfff" for one in value)


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


def expanded(rules: dict[str, Any], segment_id: int | None = None) -> dict[str, Any]:
    """The rules with the stored rules of each segment in the place of its name, and subjects spelled out.

    Raises WrongRules for a segment that is not there, that contains itself, or that nests too deeply.
    """
    if not any(one["field"] in ("segment", "fact") for one in conditions(rules)):
        return rules
    whole = _expanded(rules, () if segment_id is None else (segment_id,))
    if sum(1 for _one in conditions(whole)) > MOST_CONDITIONS_IN_ALL:
        raise WrongRules(
            _("With the segments within it, this segment has more than %(most)d conditions.")
            % {"most": MOST_CONDITIONS_IN_ALL}
        )
    return whole


def _expanded(node: dict[str, Any], inside: tuple[int, ...]) -> dict[str, Any]:
    if "not" in node:
        return {"not": _expanded(node["not"], inside)}
    if "field" not in node:
        return {join: [_expanded(child, inside) for child in children] for join, children in node.items()}
    if node["field"] == "fact" and node["value"].get("subjects"):
        return {**node, "value": {**node["value"], "subjects": spelled_out(node["value"]["subjects"])}}
    if node["field"] != "segment":
        return node
    asked = {"any": [_rules_of(pk, inside) for pk in node["value"]]}
    return asked if node["op"] == "in" else {"not": asked}


def _rules_of(pk: int, inside: tuple[int, ...]) -> dict[str, Any]:
    segment = Segment.objects.filter(pk=pk).first()
    if segment is None:
        raise WrongRules(_("There is no segment %(pk)d any more.") % {"pk": pk})
    if pk in inside:
        raise WrongRules(_("Segment “%(name)s” would contain itself.") % {"name": segment.name})
    if len(inside) >= DEEPEST_SEGMENTS:
        raise WrongRules(_("Segments are nested too deeply (at most %(most)d).") % {"most": DEEPEST_SEGMENTS})
    return _expanded(segment.rules or {"all": []}, (*inside, pk))
