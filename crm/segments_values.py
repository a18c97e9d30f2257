"""What may stand as the value of a condition: for each kind of value its JSON schema and its check in words."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from crm.days import PROVINCES
from crm.errors import WrongRules
from crm.models import Activity, Member, MemberDay, MemberTraits
from crm.models.aipl import STEPS
from crm.models.lifecycle import CELLS, STAGES

MOST_CHOICES = 1_000
LARGEST = 10**15
MOST_DAYS = 3_650
MOST_TIMES = 10_000

NO_ZERO = r"^[^\u0000]*$"  # the database keeps no zero characters
ID_KINDS = ("tags", "codes", "segments", "guides", "stores", "groups")
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
WORDS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "maxLength": 40, "pattern": NO_ZERO},
    "minItems": 1,
    "maxItems": MOST_CHOICES,
}
STAGE_WORDS = tuple(word for word, _label in STAGES)
WAY_WORDS = tuple(word for word, _label in Member.WAYS)
CHOSEN: dict[str, tuple[Any, ...]] = {
    "stages": (*STAGE_WORDS, ""),
    "cells": tuple(CELLS),
    "steps": tuple(word for word, _label in STEPS),
    "ways": WAY_WORDS,
    "months": tuple(range(1, 13)),
    "regions": PROVINCES,
    "devices": tuple(word for word, _label in MemberTraits.DEVICES),
    "calendars": (MemberDay.SOLAR, MemberDay.LUNAR, ""),
}
"""Kinds of values that are some of a fixed list."""
JOINED, FIELD = "joined", "field"
KEPT_DAYS = (MemberDay.WEDDING, MemberDay.CHILD, MemberDay.OTHER)
"""What anniversaries may be of: her joining, her own days, a date among the house's fields."""
TIMES = {
    "times": {"type": "integer", "minimum": 1, "maximum": MOST_TIMES},
    "days": {"type": "integer", "minimum": 1, "maximum": MOST_DAYS},
}
ID = {"type": "integer", "minimum": 1, "maximum": LARGEST}
FIELD_WORD = {**WORDS["items"], "minLength": 1, "maxLength": 200}
DAY = {"type": ["string", "null"], "pattern": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"}
END = {"type": ["integer", "null"], "minimum": -LARGEST, "maximum": LARGEST}
AHEAD = {"type": ["integer", "null"], "minimum": 0, "maximum": LARGEST}
VALUES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(ID_KINDS, IDS),
    **{
        kind: {
            "type": "array",
            "items": {"enum": list(words)},
            "minItems": 1,
            "maxItems": MOST_CHOICES,
        }
        for kind, words in CHOSEN.items()
    },
    "tiers": WORDS,
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
            **TIMES,
            "subjects": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 80, "pattern": NO_ZERO},
                "maxItems": MOST_CHOICES,
            },
        },
        "required": ["kind", "times", "days"],
        "additionalProperties": False,
    },
    "anniversary": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"of": of, **more, "from": AHEAD, "to": AHEAD},
                "required": ["of", *more, "from", "to"],
                "additionalProperties": False,
            }
            for of, more in (({"enum": [JOINED, *KEPT_DAYS]}, {}), ({"const": FIELD}, {"field": ID}))
        ]
    },
    "times": {
        "type": "object",
        "properties": TIMES,
        "required": ["times", "days"],
        "additionalProperties": False,
    },
}
"""Kind of a condition's value → its JSON schema. Ranges of the kind "yuan" are integer fen that people type as yuan."""
CUSTOM_VALUES: dict[tuple[str, ...], list[dict[str, Any]]] = {
    ("in", "not_in"): [
        {"values": {"type": "array", "items": FIELD_WORD, "minItems": 1, "maxItems": MOST_CHOICES}}
    ],
    ("between",): [{"from": END, "to": END}, {"from": DAY, "to": DAY}],
    ("known", "unknown"): [{}],
}
"""Comparisons of custom fields → what stands in the value besides the field, one way or the other."""
CONSENTS = {"given": True, "withdrawn": False, "unasked": None}

Wrong = Callable[[str], WrongRules]


def shapes_of(kind: str, ops: tuple[str, ...]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Comparisons and the schema of what may stand beside them."""
    if kind != "custom":
        return [(ops, VALUES[kind])]
    return [
        (ops, {"type": "object", "properties": {"field": ID, **more}, "required": ["field", *more],
               "additionalProperties": False})
        for ops, ways in CUSTOM_VALUES.items() for more in ways
    ]  # fmt: skip


def check_value(kind: str, op: str, value: Any, wrong: Wrong) -> None:
    """Raises `wrong(what is wrong)` when the value is none of its kind."""
    match kind:
        case _ if kind in ID_KINDS:
            _check_choices(value, _is_id, wrong)
        case _ if kind in CHOSEN:
            _check_choices(value, lambda one: type(one) in (str, int) and one in CHOSEN[kind], wrong)
        case "times":
            if not isinstance(value, dict) or set(value) != {"times", "days"}:
                raise wrong(_("say how many times, and in how many days."))
            _check_times(value, wrong)
        case "tiers":
            _check_choices(value, lambda one: is_text(one, most=40), wrong)
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
        case "anniversary":
            _check_anniversary(value, wrong)
        case "custom":
            _check_custom(op, value, wrong)


def _check_choices(value: Any, is_one: Callable[[Any], bool], wrong: Wrong) -> None:
    if not isinstance(value, list) or not value or not all(is_one(one) for one in value):
        raise wrong(_("choose at least one."))
    if len(value) > MOST_CHOICES:
        raise wrong(_("choose at most %(most)d.") % {"most": MOST_CHOICES})


def _check_anniversary(value: Any, wrong: Wrong) -> None:
    of = value.get("of") if isinstance(value, dict) else None
    known = isinstance(of, str) and of in (JOINED, FIELD, *KEPT_DAYS)
    wanted = {"of", "from", "to", *(["field"] if of == FIELD else [])}
    if not known or set(value) != wanted or (of == FIELD and not _is_id(value["field"])):
        raise wrong(_("choose which day, and in how many days it shall return."))
    _check_range([value["from"], value["to"]], wrong)


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
    _check_times(value, wrong)
    if subjects := value.get("subjects", []):
        _check_choices(subjects, lambda one: one != "" and is_text(one, most=80), wrong)
    elif subjects != []:
        raise wrong(_("what it is about must be a list."))


def _check_times(value: dict[str, Any], wrong: Wrong) -> None:
    for name, most in (("times", MOST_TIMES), ("days", MOST_DAYS)):
        if not _is_number(value[name]) or not 1 <= value[name] <= most:
            raise wrong(
                _("give whole numbers of times and days, 1 or more, at most %(times)d and %(days)d.")
                % {"times": MOST_TIMES, "days": MOST_DAYS}
            )


def _check_custom(op: str, value: Any, wrong: Wrong) -> None:
    more = {"in": {"values"}, "not_in": {"values"}, "between": {"from", "to"}}.get(op, set())
    if not isinstance(value, dict) or set(value) != {"field", *more} or not _is_id(value["field"]):
        raise wrong(_("choose a field, and say what its value shall be."))
    if "values" in more:
        _check_choices(value["values"], lambda one: one != "" and is_text(one, most=200), wrong)
    elif more:
        ends = [end for end in (value["from"], value["to"]) if end is not None]
        if not ends:
            raise wrong(_("give at least one end of the range."))
        if not (all(map(_is_end, ends)) or all(map(_is_day, ends))):
            raise wrong(_("give whole numbers, or days like 2026-01-31; one of them may stay empty."))
        if ends[0] > ends[-1]:
            raise wrong(_("the first number must not be larger than the second."))


def _is_end(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 10 and bool(dt.date.fromisoformat(value))
    except ValueError:
        return False


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


def is_text(value: Any, *, most: int) -> bool:
    """What the database can hold: without the zero character and halves of pairs."""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        return False
    return not any("\ud800" <= one <= "\udfff" for one in value)
