"""May we touch this member now: for one, and set-based for everybody. Both read the same rules."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import (
    Case,
    CharField,
    Count,
    DateTimeField,
    F,
    FilteredRelation,
    Max,
    Q,
    QuerySet,
    Value,
    When,
)
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from core import clock
from crm import rules
from crm.models import Holiday, Identity, Member, Touch, TouchPolicy

CHANNELS = (Identity.OPENID, Identity.EXTERNAL_USERID)

REASONS: dict[str, Promise | str] = {
    rules.MERGED: _("merged with another member"),
    rules.NO_CHANNEL: _("no WeChat channel known"),
    rules.UNFOLLOWED: _("no longer follows"),
    rules.NO_CONSENT: _("has not agreed to marketing"),
    rules.WITHDRAWN: _("withdrew her consent"),
    rules.NOT_HERE: _("does not want marketing on this channel"),
    rules.DAY_CAP: _("today's touches are used up"),
    rules.WEEK_CAP: _("this week's touches are used up"),
    rules.MONTH_CAP: _("this month's touches are used up"),
    rules.QUIET: _("quiet hours"),
    rules.HOLIDAY: _("day of rest"),
}


def reasons_labels() -> Mapping[str, Promise | str]:
    """Reason code → label for people (lazy: in the language of whoever looks)."""
    return REASONS


def reason_label(code: str) -> str:
    """The reason as text; a code that has no name is never shown as it is."""
    return str(REASONS.get(code) or _("another reason"))


def current_policy() -> rules.Policy:
    """The house's policy with its days of rest; the defaults when nobody has edited it yet."""
    row = TouchPolicy.objects.first() or TouchPolicy()
    days = (
        Holiday.objects.filter(day__gte=clock.today() - dt.timedelta(days=400))
        if row.rests_on_holidays
        else []
    )
    return rules.Policy(
        quiet_from=row.quiet_from,
        quiet_until=row.quiet_until,
        holidays=frozenset(holiday.day for holiday in days),
        max_per_day=row.max_per_day,
        max_per_week=row.max_per_week,
        max_per_month=row.max_per_month,
        needs_explicit_consent=row.consent_rule == TouchPolicy.EXPLICIT,
    )


def zone_named(name: str) -> ZoneInfo:
    """The zone of that name; the shop's when it is empty or unknown."""
    try:
        return ZoneInfo(name) if name else clock.zone()
    except (ZoneInfoNotFoundError, ValueError):
        return clock.zone()


@dataclass(frozen=True)
class Windows:
    """Since when touches count, in the shop's days: today, 7 days, 30 days; and when the next day begins."""

    day: datetime
    week: datetime
    month: datetime
    next_day: datetime


def windows_at(at: datetime) -> Windows:
    today = clock.local(at).date()
    starts = [clock.day_start(today - dt.timedelta(days=days)) for days in (0, 6, 29, -1)]
    return Windows(*starts)


Accounts = int | Collection[int] | None
"""By which accounts a message may go: one, any of several, or nobody has said."""


def touch_verdict(
    member_id: int, purpose: str, at: datetime | None = None, *, account_id: Accounts = None
) -> rules.Verdict:
    """May this member be touched at `at`: answer send, defer (with `until`) or skip, and the reason's code.

    With `account_id` she must follow that account (or be a contact of that corp) and take marketing there; of several
    one is enough, and it must go by that one. Where nobody says by which it goes, marketing must be welcome on all
    that reach her. Unknown members: skip.
    """
    moment = at or clock.now()
    member = Member.objects.select_related("stats").filter(pk=member_id).first()
    if member is None:
        return rules.Verdict(rules.SKIP, rules.NO_CHANNEL)
    channels = list(
        Identity.objects.filter(member=member, **_channel(account_id)).values_list(
            "is_following", "takes_marketing"
        )
    )
    windows = windows_at(moment)
    booked = list(
        Touch.objects.filter(
            member=member, answer=Touch.SENT, purpose=Touch.MARKETING, at__gte=windows.month
        ).values_list("at", flat=True)
    )
    facts = rules.Facts(
        is_tombstone=member.merged_into_id is not None,
        has_channel=bool(channels),
        is_reachable=any(following for following, _takes in channels),
        takes_marketing=_is_welcome(account_id, [takes for following, takes in channels if following]),
        consent=member.stats.marketing_consent if member.merged_into_id is None else None,
        today=sum(touched >= windows.day for touched in booked),
        week=sum(touched >= windows.week for touched in booked),
        month=len(booked),
    )
    policy = current_policy()
    wait = rules.wait_at(moment, zone_named(member.time_zone), policy, windows.next_day)
    return rules.verdict(facts, policy, wait, purpose)


def _is_welcome(account_id: Accounts, takes: list[bool]) -> bool:
    return all(takes) if account_id is None else any(takes)


def _channel(account_id: Accounts) -> dict[str, Any]:
    condition: dict[str, Any] = {"kind__in": CHANNELS}
    if isinstance(account_id, int):
        condition["account_id"] = account_id
    elif account_id is not None:
        condition["account_id__in"] = sorted(account_id)
    return condition


def with_touch_verdict(
    members: QuerySet[Any],
    *,
    purpose: str = Touch.MARKETING,
    at: datetime | None = None,
    account_id: Accounts = None,
) -> QuerySet[Member, Any]:
    """The members, annotated with touch_answer, touch_reason, touch_until (NULL unless deferred).

    `members`: a queryset of Member, or of ids (what `members_in` gives). The result is one set-based statement: the
    last month's touches are aggregated once and joined, so 200,000 members take about a second, and it can stand in
    an INSERT … SELECT by `.query.sql_with_params()`. Says the same as `touch_verdict` for each member.
    """
    moment = at or clock.now()
    policy, windows = current_policy(), windows_at(moment)
    # Both relations are joined and aggregated: an EXISTS in the select list would be hashed anew for each CASE,
    # over all identities even when only a thousand members are asked about.
    annotated = Member.objects.filter(pk__in=members.values("pk")).annotate(
        channel=FilteredRelation(
            "identities",
            condition=Q(**{f"identities__{name}": value for name, value in _channel(account_id).items()}),
        ),
        reach=Max(
            Case(
                When(channel__is_following=True, channel__takes_marketing=True, then=2),
                # One refusal speaks for all where nobody says by which account it goes.
                When(channel__is_following=True, then=1 if account_id is not None else REFUSED),
                When(channel__is_following=False, then=0),
            )
        ),
    )
    if purpose == Touch.SERVICE:
        return annotated.annotate(
            touch_answer=_choose([(when, rules.SKIP) for when, _reason in UNREACHED], rules.SEND),
            touch_reason=_choose(UNREACHED, ""),
            touch_until=Value(None, output_field=DateTimeField(null=True)),
        )
    annotated = annotated.annotate(
        recent=FilteredRelation(
            "touches",
            condition=Q(
                touches__answer=Touch.SENT,
                touches__purpose=Touch.MARKETING,
                touches__at__gte=windows.month,
            ),
        ),
        consent=F("stats__marketing_consent"),
        # distinct: a member with two channels has each touch twice in the join
        month_touches=Count("recent", distinct=True),
        week_touches=Count("recent", distinct=True, filter=Q(recent__at__gte=windows.week)),
        day_touches=Count("recent", distinct=True, filter=Q(recent__at__gte=windows.day)),
    )
    waits = _waits(moment, policy, windows)
    refusals = [
        *[(when, rules.SKIP, reason) for when, reason in UNREACHED],
        (Q(consent=False), rules.SKIP, rules.WITHDRAWN),
        (Q(reach__in=[1, REFUSED]), rules.SKIP, rules.NOT_HERE),
        *([(Q(consent__isnull=True), rules.SKIP, rules.NO_CONSENT)] if policy.needs_explicit_consent else []),
        (Q(month_touches__gte=policy.max_per_month), rules.SKIP, rules.MONTH_CAP),
        (Q(week_touches__gte=policy.max_per_week), rules.SKIP, rules.WEEK_CAP),
        (Q(day_touches__gte=policy.max_per_day), rules.DEFER, rules.DAY_CAP),
    ]
    for zone_is, wait in waits:
        if wait.reason:
            refusals.append((zone_is, rules.DEFER, wait.reason))
    day_capped = Q(touch_reason=rules.DAY_CAP)
    by_hour = Q(touch_reason__in=[rules.QUIET, rules.HOLIDAY])
    return annotated.annotate(
        touch_answer=_choose([(when, answer) for when, answer, _reason in refusals], rules.SEND),
        touch_reason=_choose([(when, reason) for when, _answer, reason in refusals], ""),
        touch_until=Case(
            *[When(day_capped & zone_is, then=Value(wait.tomorrow)) for zone_is, wait in waits],
            *[When(by_hour & zone_is, then=Value(wait.until)) for zone_is, wait in waits if wait.until],
            default=Value(None),
            output_field=DateTimeField(null=True),
        ),
    )


REFUSED = 3

UNREACHED = [
    (Q(merged_into__isnull=False), rules.MERGED),
    (Q(reach__isnull=True), rules.NO_CHANNEL),
    (Q(reach=0), rules.UNFOLLOWED),
]


def _choose(cases: list[tuple[Q, str]], default: str) -> Case:
    return Case(
        *[When(condition, then=Value(answer)) for condition, answer in cases],
        default=Value(default),
        output_field=CharField(max_length=24),
    )


def _waits(at: datetime, policy: rules.Policy, windows: Windows) -> list[tuple[Q, rules.Wait]]:
    """What the hour says in each zone that members live in; the shop's zone is what remains."""
    others = list(
        Member.objects.exclude(time_zone="")
        .order_by("time_zone")
        .values_list("time_zone", flat=True)
        .distinct()
    )
    shop = (~Q(time_zone__in=others) if others else Q(pk__isnull=False), clock.zone())
    zones = [*[(Q(time_zone=name), zone_named(name)) for name in others], shop]
    return [(zone_is, rules.wait_at(at, zone, policy, windows.next_day)) for zone_is, zone in zones]


def touched_member_ids(origin: str) -> QuerySet[Touch, int]:
    """Ids of the members whose touch by this origin was booked; usable as a subquery."""
    return Touch.objects.filter(origin=origin, answer=Touch.SENT).values_list("member_id", flat=True)
