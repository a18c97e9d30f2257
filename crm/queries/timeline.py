"""Reading the timeline: one member's page by page, everybody's by day."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import TruncDate

from core import clock
from core.money import yuan
from crm.models import Activity, ChannelScan


@dataclass(frozen=True)
class ActivityRow:
    id: int
    kind: str
    at: datetime
    subject: str
    amount_fen: int
    data: dict[str, Any]

    @property
    def label(self) -> str:
        return str(LABELS.get(self.kind, self.kind))

    @property
    def yuan(self) -> str:
        return f"¥{yuan(self.amount_fen)}"

    @property
    def note(self) -> str:
        """The words of the details: a message's beginning, a tag's or code's name; what staff noted is whole."""
        if self.kind == Activity.NOTED:
            return str(self.data.get("text", ""))
        details = [self.data.get(key) for key in ("name", "text", "key", "title") if self.data.get(key)]
        return " · ".join(str(detail) for detail in details)[:120]


LABELS = dict(Activity.KINDS)


@dataclass(frozen=True)
class Page:
    rows: list[ActivityRow]
    next_key: str  # "" at the end; hand it back as `before`


def timeline_of(
    member_id: int,
    *,
    kinds: Iterable[str] = (),
    before: str = "",
    limit: int = 20,
    since: dt.date | None = None,
    until: dt.date | None = None,
) -> Page:
    """The newest facts of a member, paged by key: `before` is the previous page's `next_key`.

    `since` and `until` are days of the shop, both included. A malformed key begins at the newest.
    """
    facts = Activity.objects.filter(member=member_id)
    if since:
        facts = facts.filter(at__gte=clock.day_start(since))
    if until:
        facts = facts.filter(at__lt=clock.day_start(until + dt.timedelta(days=1)))
    if chosen := [kind for kind in kinds if kind]:
        facts = facts.filter(kind__in=chosen)
    if key := _key(before):
        facts = facts.filter(Q(at__lt=key[0]) | Q(at=key[0], pk__lt=key[1]), at__lte=key[0])
    rows = [
        ActivityRow(fact.pk, fact.kind, fact.at, fact.subject, fact.amount_fen, fact.data)
        for fact in facts.order_by("-at", "-pk")[: limit + 1]
    ]
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, f"{rows[-1].at.isoformat()}~{rows[-1].id}" if more else "")


def _key(text: str) -> tuple[datetime, int] | None:
    moment, _, pk = text.partition("~")
    try:
        at = datetime.fromisoformat(
            moment.replace(" ", "+")
        )  # a plus in an unquoted address arrives as a blank
        return (at, int(pk)) if at.tzinfo else None
    except ValueError:
        return None


def activity_counts_by_day(
    kinds: Iterable[str], *, since: dt.date, until: dt.date
) -> dict[tuple[dt.date, str], tuple[int, int, int]]:
    """(shop's day, kind) → (facts, different members, sum in fen), both days included. One scan of the months."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (at AT TIME ZONE %s)::date, kind, count(*), count(DISTINCT member_id), sum(amount_fen)::bigint
            FROM crm_activity WHERE kind = ANY(%s) AND at >= %s AND at < %s GROUP BY 1, 2
            """,
            [
                clock.zone().key,
                list(kinds),
                clock.day_start(since),
                clock.day_start(until + dt.timedelta(days=1)),
            ],
        )
        return {(day, kind): (facts, members, fen) for day, kind, facts, members, fen in cursor.fetchall()}


@dataclass(frozen=True)
class FollowerDay:
    day: dt.date
    followed: int
    unfollowed: int


def follower_figures(*, since: dt.date, until: dt.date) -> list[FollowerDay]:
    """New and lost followings by the shop's day, a row for every day, both ends included."""
    counts = activity_counts_by_day([Activity.FOLLOWED, Activity.UNFOLLOWED], since=since, until=until)
    days = [since + dt.timedelta(days=number) for number in range((until - since).days + 1)]
    none = (0, 0, 0)
    return [
        FollowerDay(
            day,
            counts.get((day, Activity.FOLLOWED), none)[0],
            counts.get((day, Activity.UNFOLLOWED), none)[0],
        )
        for day in days
    ]


@dataclass(frozen=True)
class CodeDay:
    day: dt.date
    scans: int
    new: int


def code_counts_by_day(code_id: int, *, since: dt.date, until: dt.date) -> list[CodeDay]:
    """Scans and new followers of a channel code by the shop's day, newest first, only days with scans."""
    scans = ChannelScan.objects.filter(
        code=code_id, at__gte=clock.day_start(since), at__lt=clock.day_start(until + dt.timedelta(days=1))
    )
    counted = (
        scans.annotate(day=TruncDate("at", tzinfo=clock.zone()))
        .values("day")
        .annotate(scans=Count("pk"), new=Count("pk", filter=Q(is_new=True)))
        .order_by("-day")
    )
    return [CodeDay(row["day"], row["scans"], row["new"]) for row in counted]
