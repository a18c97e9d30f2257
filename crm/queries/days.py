"""Who keeps a day between two dates, and who lives where and reads us with what."""

import datetime as dt
from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet

from crm.days import LUNAR, SOLAR, YearDay, kept_between
from crm.models import Member, MemberDay, MemberTraits


def _is_any(kept: Iterable[YearDay], month: str, day: str, **same: object) -> Q:
    """Months with their days, so that a whole month is one condition and not thirty."""
    by_month: dict[int, list[int]] = {}
    for one in kept:
        by_month.setdefault(one.month, []).append(one.day)
    found = Q(pk__in=[])
    for number, days in by_month.items():
        found |= Q(**{month: number, f"{day}__in": sorted(days)})
    return found & Q(**same)


def members_keeping(kind: str, *, since: dt.date, until: dt.date) -> QuerySet[Member, int]:
    """Ids of who keeps a day of this kind from one date to another, both included; a subquery.

    A birthday is the lunar one where she has one, else the one with its year.
    """
    now, solar = _days_between(since, until)
    hers = MemberDay.objects.filter(kind=kind)
    members = Q(pk__in=hers.filter(now).values("member"))
    if kind == MemberDay.BIRTHDAY:
        members |= solar & ~Q(Exists(hers.filter(member=OuterRef("pk"))))
    return Member.objects.known().filter(members).values_list("pk", flat=True)


def keeps_a_day(kind: str, *, since: dt.date, until: dt.date) -> Q:
    """The same of each of a few members, looked up one by one: for a queryset that is narrow already."""
    now, solar = _days_between(since, until)
    hers = MemberDay.objects.filter(kind=kind, member=OuterRef("pk"))
    members = Q(Exists(hers.filter(now)))
    if kind == MemberDay.BIRTHDAY:
        members |= solar & ~Q(Exists(hers))
    return members


def _days_between(since: dt.date, until: dt.date) -> tuple[Q, Q]:
    """Conditions on a MemberDay, and on a member's birthday with its year."""
    kept = kept_between(since, until)
    now = Q(pk__in=[])
    for calendar, is_leap in ((SOLAR, False), (LUNAR, False), (LUNAR, True)):
        group = [one for one in kept if (one.calendar, one.is_leap) == (calendar, is_leap)]
        if group:
            now |= _is_any(group, "month", "day", calendar=calendar, is_leap=is_leap)
    solar = [one for one in kept if one.calendar == SOLAR]
    return now, _is_any(solar, "birthday__month", "birthday__day")


def days_of(member_id: int) -> list[MemberDay]:
    return list(MemberDay.objects.filter(member=member_id).order_by("kind", "pk"))


def members_in_province(province: str) -> QuerySet[MemberTraits, int]:
    """Ids; a subquery."""
    return MemberTraits.objects.filter(province=province).values_list("pk", flat=True)


def members_with_device(device: str) -> QuerySet[MemberTraits, int]:
    """Ids; a subquery."""
    return MemberTraits.objects.filter(device=device).values_list("pk", flat=True)
