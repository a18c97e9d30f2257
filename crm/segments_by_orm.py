"""Segments as one condition of the ORM: slow over many members, easy to read, what `crm.bitmaps` is held against.

Also what joins other querysets: `queries.members_in` is meant as a subquery.
"""

import datetime as dt
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum

from core import clock
from core.models import LedgerAccount
from crm.bitmaps import BALANCES, EPOCH, birthdays_within, joinings_within, returning_keys
from crm.models import (
    Activity,
    ChannelCode,
    Contact,
    Identity,
    MemberAipl,
    MemberDay,
    MemberFieldValue,
    MemberGroup,
    MemberLife,
    MemberTag,
    MemberTraits,
    Staff,
)
from crm.models.lifecycle import cell_scores
from crm.segments_values import CONSENTS


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
        case "touches":
            return _facts(op, {**value, "kind": Activity.TOUCHED}, today)
        case "points" | "growth" | "stored_fen":
            return _balance(BALANCES[field], *value)
        case "stage":
            return _is(op, _life(stage__in=value) | (~_life() if "" in value else Q(pk__in=[])))
        case "rfm":
            return _is(op, _life(rfm__in=cell_scores(value)))
        case "aipl":
            return _is(op, Q(Exists(MemberAipl.objects.filter(member=OuterRef("pk"), step__in=value))))
        case "chance_percent":
            low, high = value[0] or 0, 100 if value[1] is None else value[1]
            return _life(chance_bps__gte=low * 100, chance_bps__lte=high * 100)
        case "birthday_month":
            born = Q(birthday__isnull=False, birthday__month__in=value)
            return _is(op, born)
        case "birthday_days":
            lunar = Exists(_days_of(MemberDay.BIRTHDAY))
            returns = _returning(MemberDay.BIRTHDAY, value, today, calendar=MemberDay.LUNAR)
            return (_birthdays(value, today) & ~Q(lunar)) | returns
        case "birthday_calendar":
            lunar = Exists(_days_of(MemberDay.BIRTHDAY))
            there = {
                "lunar": Q(lunar),
                "solar": Q(birthday__isnull=False) & ~Q(lunar),
                "": Q(birthday__isnull=True) & ~Q(lunar),
            }
            return _is(op, reduce(or_, (there[one] for one in value)))
        case "anniversary":
            return _anniversary(value, today)
        case "region":
            return _is(op, Q(Exists(MemberTraits.objects.filter(member=OuterRef("pk"), province__in=value))))
        case "device":
            return _is(op, Q(Exists(MemberTraits.objects.filter(member=OuterRef("pk"), device__in=value))))
        case "group":
            return _is(op, _told(MemberGroup.objects.filter(group_id__in=value)))
        case "joined_via":
            return _is(op, Q(joined_via__in=value))
        case "guide":
            return _is(op, _kept_by(Staff.objects.filter(pk__in=value)))
        case "store":
            codes = ChannelCode.objects.filter(Q(store__in=value) | Q(staff__store__in=value))
            came = Exists(codes.filter(pk=OuterRef("source_id")))
            return _is(op, Q(came) | _kept_by(Staff.objects.filter(store__in=value)))
        case "custom":
            return _custom(op, value)
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


def _is(op: str, condition: Q) -> Q:
    return condition if op == "in" else ~condition


def _life(**conditions: Any) -> Q:
    return Q(Exists(MemberLife.objects.filter(member=OuterRef("pk"), **conditions)))


def _told(rows: QuerySet[Any]) -> Q:
    """Rows of hers, or of those who were merged into her."""
    return Q(Exists(rows.filter(Q(member=OuterRef("pk")) | Q(member__merged_into=OuterRef("pk")))))


def _kept_by(guides: QuerySet[Staff]) -> Q:
    is_open = Q(removed_at__isnull=True) | Q(added_at__gt=F("removed_at"))
    contacts = Contact.objects.filter(is_open, added_at__isnull=False, identity__member=OuterRef("pk"))
    return Q(Exists(contacts.filter(userid__in=guides.values("work_userid"))))


def _balance(kinds: tuple[str, ...], low: int | None, high: int | None) -> Q:
    owned = LedgerAccount.objects.filter(kind__in=kinds, owner_id__gt=0).order_by().values("owner_id")
    sums = owned.annotate(total=Sum("balance")).values("owner_id")
    condition = Q()
    if low:
        condition &= Q(pk__in=sums.filter(total__gte=low))
    if high is not None:
        condition &= ~Q(pk__in=sums.filter(total__gt=high))
    return condition


def _days_of(kind: str) -> QuerySet[MemberDay]:
    return MemberDay.objects.filter(member=OuterRef("pk"), kind=kind)


def _returning(kind: str, ends: list[int | None], today: dt.date, *, calendar: str = "") -> Q:
    """Members with a day of the kind that returns in so many days."""
    days: dict[tuple[str, bool, int], list[int]] = {}
    for key in returning_keys(ends, today, calendar=calendar):
        base, rest = divmod(key, 10_000)
        month, day = divmod(rest, 100)
        sort = MemberDay.SOLAR if base == 1 else MemberDay.LUNAR
        days.setdefault((sort, base == 3, month), []).append(day)
    some = Q(pk__in=[])
    for (sort, is_leap, month), numbers in days.items():
        some |= Q(calendar=sort, is_leap=is_leap, month=month, day__in=numbers)
    return Q(Exists(_days_of(kind).filter(some)))


def _anniversary(value: dict[str, Any], today: dt.date) -> Q:
    ends = [value["from"], value["to"]]
    if value["of"] == "joined":
        some = Q(pk__in=[])
        for first, last in joinings_within(ends, today):
            since, until = (EPOCH + dt.timedelta(days=number) for number in (first, last + 1))
            some |= Q(created_at__gte=clock.day_start(since), created_at__lt=clock.day_start(until))
        return some
    if value["of"] != "field":
        return _returning(value["of"], ends, today)
    some = Q(pk__in=[])
    for first, last in birthdays_within(ends, today):
        month, day = divmod(first, 100)
        some |= Q(date__month=month, date__day__range=(day, last % 100))
    rows = MemberFieldValue.objects.filter(member=OuterRef("pk"), field=value["field"], date__isnull=False)
    return Q(Exists(rows.filter(some)))


def _birthdays(ends: list[int | None], today: dt.date) -> Q:
    born = Q(pk__in=[])
    for first, last in birthdays_within(ends, today):
        month, day = divmod(first, 100)
        born |= Q(birthday__month=month, birthday__day__range=(day, last % 100))
    return Q(birthday__isnull=False) & born


def _custom(op: str, value: dict[str, Any]) -> Q:
    rows = MemberFieldValue.objects.filter(member=OuterRef("pk"), field=value["field"])
    if op == "between":
        low, high = value["from"], value["to"]
        column = "date" if isinstance(low, str) or isinstance(high, str) else "number"
        ends = {f"{column}__gte": low, f"{column}__lte": high}
        return Q(Exists(rows.filter(**{name: end for name, end in ends.items() if end is not None})))
    if op in ("in", "not_in"):
        rows = rows.filter(text__in=value["values"])
    there = Q(Exists(rows))
    return there if op in ("in", "known") else ~there


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
