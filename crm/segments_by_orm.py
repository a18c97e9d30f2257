"""Segments as one condition of the ORM: slow over many members, easy to read, what `crm.bitmaps` is held against.

Also what joins other querysets: `queries.members_in` is meant as a subquery.
"""

import datetime as dt
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q

from core import clock
from crm.models import Activity, Identity, MemberTag
from crm.segments import CONSENTS


def condition_of(rules: dict[str, Any], today: dt.date) -> Q:
    """Checked and expanded rules → one condition on Member; `today` is the day that ages count from."""
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
            other = condition_of(child, today)
            joined = (
                joined | other if joined and other else Q()
            )  # an empty Q means everybody, also in an "or"
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
        case "touched_days":
            return _age("stats__last_touch_at", value, today)
        case "untouched_days":
            since = clock.day_start(today - dt.timedelta(days=min(value, 36_500) - 1))
            return Q(stats__last_touch_at__isnull=True) | Q(stats__last_touch_at__lt=since)
        case "joined_days":
            return _age("created_at", value, today)
        case "orders":
            return _range("stats__orders_count", value)
        case "spend_fen":
            return _range("stats__paid_fen", value)
        case "net_fen":
            return _net(value)
        case "visits":
            return _range("stats__visits_count", value)
        case "silent_days":
            since = clock.day_start(today - dt.timedelta(days=min(value, 36_500) - 1))
            never = Q(stats__last_active_at__isnull=True, created_at__lt=since)
            return Q(stats__last_active_at__lt=since) | never
        case "fact":
            return _facts(op, value, today)
        case "tier":
            return Q(tier__in=value) if op == "in" else ~Q(tier__in=value)
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


def _net(ends: list[int | None]) -> Q:
    low, high = ends
    condition = Q()
    if low is not None:
        condition &= Q(stats__paid_fen__gte=F("stats__refunded_fen") + low)
    if high is not None:
        condition &= Q(stats__paid_fen__lte=F("stats__refunded_fen") + high)
    return condition


def _facts(op: str, value: dict[str, Any], today: dt.date) -> Q:
    facts = Activity.objects.filter(
        kind=value["kind"],
        at__gte=clock.day_start(today - dt.timedelta(days=value["days"] - 1)),
        at__lt=clock.day_start(today + dt.timedelta(days=1)),
    )
    if subjects := value.get("subjects"):
        facts = facts.filter(subject__in=subjects)
    counted = facts.order_by().values("member_id").annotate(times=Count("pk"))
    there = Q(pk__in=counted.filter(times__gte=value["times"]).values("member_id"))
    return there if op == "at_least" else ~there
