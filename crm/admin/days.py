"""Birthdays by either calendar, anniversaries, regions, devices: on her own page, and as filters of the list."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from core import clock
from core.errors import Refusal
from crm import queries, services
from crm.days import LUNAR, MONTHS, PROVINCES, SOLAR, YearDay, next_on
from crm.models import Member, MemberDay, MemberTraits

PERIODS: dict[str, Any] = {
    "today": _("today"),
    "week": _("in the next 7 days"),
    "month": _("this month"),
    "next": _("next month"),
}


def dates_of(period: str) -> tuple[dt.date, dt.date]:
    """First and last date of one of the PERIODS, by the shop's calendar."""
    today = clock.today()
    if period in ("today", "week"):
        return today, today + dt.timedelta(days=6 if period == "week" else 0)
    month = today.replace(day=1)
    following = (month + dt.timedelta(days=31)).replace(day=1)
    if period == "next":
        month, following = following, (following + dt.timedelta(days=31)).replace(day=1)
    return month, following - dt.timedelta(days=1)


class _KeepingFilter(DropdownFilter):
    kinds: tuple[str, ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return list(PERIODS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        if value not in PERIODS:
            return queryset
        since, until = dates_of(value)
        found = Member.objects.none().values_list("pk", flat=True)
        for kind in self.kinds:
            found = found | queries.members_keeping(kind, since=since, until=until)
        return queryset.filter(pk__in=found)


class BirthdayFilter(_KeepingFilter):
    """The lunar birthday where she has one."""

    title, parameter_name, kinds = _("birthday"), "birthday", (MemberDay.BIRTHDAY,)


class AnniversaryFilter(_KeepingFilter):
    title, parameter_name = _("anniversary"), "anniversary"
    kinds = (MemberDay.WEDDING, MemberDay.CHILD, MemberDay.OTHER)


class ProvinceFilter(DropdownFilter):
    title, parameter_name = _("province"), "province"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return [(name, name) for name in PROVINCES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value()
        return queryset.filter(pk__in=queries.members_in_province(value)) if value in PROVINCES else queryset


class DeviceFilter(DropdownFilter):
    title, parameter_name = _("device"), "device"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return [(word, str(label)) for word, label in MemberTraits.DEVICES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value()
        known = value in dict(MemberTraits.DEVICES)
        return queryset.filter(pk__in=queries.members_with_device(value)) if value and known else queryset


def told(kind: str, name: str, day: YearDay) -> dict[str, Any]:
    """How a day is shown: what, when by its calendar, and the date on which it comes next."""
    label = str(dict(MemberDay.KINDS)[kind])
    return {"label": f"{label} {name}".strip(), "words": str(day), "next": next_on(day, clock.today())}


def change_her_days(admin: Any, request: HttpRequest, member_id: int) -> HttpResponse:
    """Her days and a form for one more; POST `drop` forgets one."""
    if not admin.has_change_permission(request):
        raise PermissionDenied
    member = queries.find_member(member_id)
    if member is None:
        raise Http404
    here = reverse("admin:crm_member_days", args=[member.pk])
    error = ""
    if request.method == "POST":
        try:
            _write(member.pk, request)
        except Refusal as refusal:
            error = refusal.message
        else:
            admin.message_user(request, _("Saved."), messages.SUCCESS)
            return HttpResponseRedirect(here)
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "original": member,
        "title": _("Birthdays and anniversaries"),
        "home": reverse("admin:crm_member_change", args=[member.pk]),
        "error": error,
        "member": member,
        "given": request.POST,
        "days": [
            {"pk": one.pk, **told(one.kind, one.name, YearDay(one.calendar, one.month, one.day, one.is_leap))}
            for one in queries.days_of(member.pk)
        ],
        "kinds": MemberDay.KINDS,
        "calendars": MemberDay.CALENDARS,
        "months": [(number, f"{number} / {name}月") for number, name in enumerate(MONTHS, start=1)],
        "numbers": range(1, 32),
    }
    return TemplateResponse(request, "crm/days.html", context, status=400 if error else 200)


def _write(member_id: int, request: HttpRequest) -> None:
    given = request.POST
    if dropped := _number(given.get("drop", ""), most=18):
        services.drop_day(member_id=member_id, day_id=dropped)
        return
    calendar = given.get("calendar", "")
    services.keep_day(
        member_id=member_id,
        kind=given.get("kind", ""),
        name=given.get("name", ""),
        day=YearDay(
            calendar if calendar in (SOLAR, LUNAR) else "",
            _number(given.get("month", "")),
            _number(given.get("day", "")),
            calendar == LUNAR and given.get("is_leap") == "on",
        ),
    )


def _number(text: str, *, most: int = 2) -> int:
    """0 for what is no number of at most so many digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most else 0
