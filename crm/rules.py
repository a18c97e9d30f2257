"""Pure rules of touching: when a moment is quiet, and what one member's facts mean.

No Django, no clock, no database.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

SEND, DEFER, SKIP = "send", "defer", "skip"
MARKETING, SERVICE = "marketing", "service"

# Why not: reason codes, kept on the touch and shown with a label.
MERGED, NO_CHANNEL, UNFOLLOWED = "merged", "no_channel", "unfollowed"
NO_CONSENT, WITHDRAWN, NOT_HERE = "no_consent", "consent_withdrawn", "channel_refused"
DAY_CAP, WEEK_CAP, MONTH_CAP = "day_cap", "week_cap", "month_cap"
QUIET, HOLIDAY = "quiet_hours", "holiday"

# Rest days in a row longer than this are a mistake in the table, not a festival.
LONGEST_WAIT_DAYS = 60


@dataclass(frozen=True)
class Policy:
    quiet_from: time
    quiet_until: time
    holidays: frozenset[date]
    max_per_day: int
    max_per_week: int
    max_per_month: int
    needs_explicit_consent: bool


@dataclass(frozen=True)
class Facts:
    """What is known of one member at one moment. `counts` are booked marketing touches: today, 7 days, 30 days."""

    is_tombstone: bool
    has_channel: bool
    is_reachable: bool
    consent: bool | None
    today: int
    week: int
    month: int
    takes_marketing: bool = True  # on one of the channels that reach her


@dataclass(frozen=True)
class Verdict:
    answer: str
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True)
class Wait:
    """What the hour says, for one time zone: the reason to wait now, until when, and when tomorrow opens."""

    reason: str
    until: datetime | None
    tomorrow: datetime


def is_quiet(moment: time, quiet_from: time, quiet_until: time) -> bool:
    """Inside [from, until), which may cross midnight; equal ends mean no quiet hours."""
    if quiet_from == quiet_until:
        return False
    if quiet_from < quiet_until:
        return quiet_from <= moment < quiet_until
    return moment >= quiet_from or moment < quiet_until


def next_allowed(at: datetime, zone: ZoneInfo, policy: Policy) -> datetime:
    """The first moment from `at` on that is neither quiet nor on a day of rest, in that zone."""
    moment = at
    last = at + timedelta(days=LONGEST_WAIT_DAYS)
    while moment < last:
        local = moment.astimezone(zone)
        if local.date() in policy.holidays:
            moment = datetime.combine(local.date() + timedelta(days=1), time(), tzinfo=zone)
        elif is_quiet(local.time(), policy.quiet_from, policy.quiet_until):
            crosses = local.time() >= policy.quiet_until
            day = local.date() + timedelta(days=1) if crosses else local.date()
            moment = datetime.combine(day, policy.quiet_until, tzinfo=zone)
        else:
            break
    return moment


def wait_at(at: datetime, zone: ZoneInfo, policy: Policy, next_day: datetime) -> Wait:
    """`next_day` is the shop's next midnight, at which the daily cap is free again."""
    opens = next_allowed(at, zone, policy)
    reason = ""
    if opens > at:
        reason = HOLIDAY if at.astimezone(zone).date() in policy.holidays else QUIET
    return Wait(reason, opens if reason else None, next_allowed(max(next_day, opens), zone, policy))


def verdict(facts: Facts, policy: Policy, wait: Wait, purpose: str) -> Verdict:
    """May she be touched: reach first, then her will, then the budget, then the hour.

    A full week or month skips (the occasion passes), a full day or a quiet hour defers.
    """
    if facts.is_tombstone:
        return Verdict(SKIP, MERGED)
    if not facts.is_reachable:
        return Verdict(SKIP, UNFOLLOWED if facts.has_channel else NO_CHANNEL)
    if purpose == SERVICE:
        return Verdict(SEND)
    if facts.consent is False:
        return Verdict(SKIP, WITHDRAWN)
    if not facts.takes_marketing:
        return Verdict(SKIP, NOT_HERE)
    if facts.consent is None and policy.needs_explicit_consent:
        return Verdict(SKIP, NO_CONSENT)
    if facts.month >= policy.max_per_month:
        return Verdict(SKIP, MONTH_CAP)
    if facts.week >= policy.max_per_week:
        return Verdict(SKIP, WEEK_CAP)
    if facts.today >= policy.max_per_day:
        return Verdict(DEFER, DAY_CAP, wait.tomorrow)
    if wait.reason:
        return Verdict(DEFER, wait.reason, wait.until)
    return Verdict(SEND)
