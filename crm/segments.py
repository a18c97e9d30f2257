"""The language of segments: a tree of conditions, checked with clear words, compiled to one condition of the ORM.

    node      = {"all": [node, …]} | {"any": [node, …]} | {"not": node} | condition
    condition = {"field": NAME, "op": OP, "value": …}

    tags              any | all | none     [tag id, …]
    last_order_days   between              [from, to]: days since the last order, an open end is null
    joined_days       between              [from, to]
    silent_days       at_least             days without any doing of hers
    orders            between              [from, to]
    spend_fen         between              [from, to], paid in all
    visits            between              [from, to]
    source            in | not_in          [channel code id, …]
    following         yes | no             account id, null for any account
    contact           yes | no             null (has a guide in WeCom)
    consent           is                   "given" | "withdrawn" | "unasked"

Days are calendar days of the shop: "0" is today. `{}` and `{"all": []}` mean every member.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from crm.errors import WrongRules
from crm.models import Identity, MemberTag

DEEPEST = 5
MOST_CONDITIONS = 40
LARGEST = 10**15

RANGES = ("last_order_days", "joined_days", "orders", "spend_fen", "visits")
OPS: dict[str, tuple[str, ...]] = {
    "tags": ("any", "all", "none"),
    **dict.fromkeys(RANGES, ("between",)),
    "silent_days": ("at_least",),
    "source": ("in", "not_in"),
    "following": ("yes", "no"),
    "contact": ("yes", "no"),
    "consent": ("is",),
}
FIELD_LABELS = {
    "tags": gettext_lazy("tags"),
    "last_order_days": gettext_lazy("days since the last order"),
    "orders": gettext_lazy("number of orders"),
    "spend_fen": gettext_lazy("amount paid in all"),
    "silent_days": gettext_lazy("days of silence"),
    "joined_days": gettext_lazy("days since joining"),
    "visits": gettext_lazy("number of visits"),
    "source": gettext_lazy("source"),
    "following": gettext_lazy("follows an account"),
    "contact": gettext_lazy("has a guide in WeCom"),
    "consent": gettext_lazy("consent to marketing"),
}
CONSENTS = {"given": True, "withdrawn": False, "unasked": None}


def check(rules: Any) -> dict[str, Any]:
    """The rules when they can be read; WrongRules says which condition is wrong and how."""
    if rules == {}:
        return {"all": []}
    _check_node(rules, 1, count := _Count())
    if count.conditions > MOST_CONDITIONS:
        raise WrongRules(_("At most %(most)d conditions fit in one segment.") % {"most": MOST_CONDITIONS})
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


def _check_condition(node: dict[str, Any], number: int) -> None:
    def wrong(what: str) -> WrongRules:
        return WrongRules(_("Condition %(number)d: %(what)s") % {"number": number, "what": what})

    if set(node) != {"field", "op", "value"}:
        raise wrong(_("it needs a field, a comparison and a value."))
    field, op, value = node["field"], node["op"], node["value"]
    if not isinstance(field, str) or field not in OPS:
        raise wrong(_("there is no field “%(field)s”.") % {"field": field})
    if op not in OPS[field]:
        raise wrong(
            _("“%(field)s” cannot be compared by “%(op)s”.") % {"field": FIELD_LABELS[field], "op": op}
        )
    if field in ("tags", "source"):
        if not isinstance(value, list) or not value or not all(_is_id(one) for one in value):
            raise wrong(_("choose at least one."))
    elif field in RANGES:
        _check_range(value, wrong)
    elif field == "silent_days":
        if not _is_number(value) or value < 1:
            raise wrong(_("give a number of days, 1 or more."))
    elif field == "following":
        if value is not None and not _is_id(value):
            raise wrong(_("choose an account, or any."))
    elif field == "consent" and (not isinstance(value, str) or value not in CONSENTS):
        raise wrong(_("choose agreed, withdrawn or never asked."))


def _check_range(value: Any, wrong: Any) -> None:
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


def conditions(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every condition of checked rules, in order."""
    if "field" in node:
        yield node
    elif "not" in node:
        yield from conditions(node["not"])
    else:
        for child in next(iter(node.values()), []):
            yield from conditions(child)


def condition_of(rules: dict[str, Any], today: dt.date) -> Q:
    """Checked rules → one condition on Member; `today` is the shop's day that ages count from."""
    if "all" in rules:
        joined = Q()
        for child in rules["all"]:
            joined &= condition_of(child, today)
        return joined
    if "any" in rules:
        if not rules["any"]:
            return Q()
        joined = condition_of(rules["any"][0], today)
        for child in rules["any"][1:]:
            joined |= condition_of(child, today)
        return joined
    if "not" in rules:
        inner = condition_of(rules["not"], today)
        return ~inner if inner else Q(pk__in=[])
    return _condition(rules["field"], rules["op"], rules["value"], today)


def _condition(field: str, op: str, value: Any, today: dt.date) -> Q:
    match field:
        case "tags":
            return _tags(op, value)
        case "last_order_days":
            return _age("stats__last_paid_at", value, today)
        case "joined_days":
            return _age("created_at", value, today)
        case "orders":
            return _range("stats__orders_count", value)
        case "spend_fen":
            return _range("stats__paid_fen", value)
        case "visits":
            return _range("stats__visits_count", value)
        case "silent_days":
            since = clock.day_start(today - dt.timedelta(days=min(value, 36_500) - 1))
            never = Q(stats__last_active_at__isnull=True, created_at__lt=since)
            return Q(stats__last_active_at__lt=since) | never
        case "source":
            chosen = Q(source__in=value)
            return chosen if op == "in" else ~chosen
        case "following":
            return _following(Identity.OPENID, op, value)
        case "contact":
            return _following(Identity.EXTERNAL_USERID, op, None)
    answer = CONSENTS[value]
    if answer is None:
        return Q(stats__marketing_consent__isnull=True)
    return Q(stats__marketing_consent=answer)


def _tags(op: str, tag_ids: list[int]) -> Q:
    carried = MemberTag.objects.filter(member=OuterRef("pk"))
    if op == "all":
        every = Q()
        for tag_id in tag_ids:
            every &= Q(Exists(carried.filter(tag=tag_id)))
        return every
    some = Q(Exists(carried.filter(tag__in=tag_ids)))
    return some if op == "any" else ~some


def _following(kind: str, op: str, account_id: int | None) -> Q:
    identities = Identity.objects.filter(member=OuterRef("pk"), kind=kind, is_following=True)
    if account_id is not None:
        identities = identities.filter(account=account_id)
    there = Q(Exists(identities))
    return there if op == "yes" else ~there


def _range(column: str, ends: list[int | None]) -> Q:
    low, high = ends
    condition = Q()
    if low is not None:
        condition &= Q(**{f"{column}__gte": low})
    if high is not None:
        condition &= Q(**{f"{column}__lte": high})
    return condition


def _age(column: str, ends: list[int | None], today: dt.date) -> Q:
    """Between `low` and `high` days ago, both days whole."""
    low, high = ends
    condition = Q(**{f"{column}__isnull": False})
    if low:
        newest = today - dt.timedelta(days=min(low, 36_500) - 1)
        condition &= Q(**{f"{column}__lt": clock.day_start(newest)})
    if high is not None:
        condition &= Q(**{f"{column}__gte": clock.day_start(today - dt.timedelta(days=min(high, 36_500)))})
    return condition
