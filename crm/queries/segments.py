"""Who is in a segment: by set operations on bitmaps (`crm.bitmaps`), or as a subquery for other statements."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _
from pyroaring import BitMap

from core import clock
from core.errors import NotFound
from crm import bitmap_answers, bitmap_asks, bitmaps, segments
from crm.models import Member, Segment, SegmentBitmap
from crm.segments_by_orm import condition_of

SAMPLE = 20


def _expanded(segment: Segment | int | dict[str, Any]) -> dict[str, Any]:
    """Checked rules of a segment, its id, or of plain rules; segments within stand there as their rules."""
    if isinstance(segment, int):
        found = Segment.objects.filter(pk=segment).first()
        if found is None:
            raise NotFound(_("There is no such segment."))
        segment = found
    own = segment.pk if isinstance(segment, Segment) else None
    rules = segment.rules if isinstance(segment, Segment) else segment
    return segments.expanded(segments.check(rules, own), own)


def members_matching(rules: dict[str, Any], at: datetime | None = None) -> QuerySet[Member]:
    """The living members of the rules, as Member rows. Raises WrongRules."""
    today = clock.local(at or clock.now()).date()
    return Member.objects.known().filter(condition_of(_expanded(rules), today))


def members_in(segment: Segment | int | dict[str, Any], at: datetime | None = None) -> QuerySet[Any]:
    """Ids (`.values("pk")`) of the members of a segment, its id, or of plain rules: a subquery, never a list.

    Raises WrongRules; NotFound for an unknown id.
    """
    today = clock.local(at or clock.now()).date()
    return Member.objects.known().filter(condition_of(_expanded(segment), today)).order_by().values("pk")


def segment_member_ids(segment: Segment | int | dict[str, Any], at: datetime | None = None) -> BitMap:
    """The members' ids as a set: ascending when iterated, with `len`, `in`, `&`, `|`, `-`; the caller's own.

    `at` moves the day that ages count from, not what is known about members. Raises as `members_in`.
    """
    rules, today = _expanded(segment), clock.local(at or clock.now()).date()
    found = bitmap_answers.members_of(bitmaps.plan_of(rules, today))
    if found is None:
        living = Member.objects.known().filter(condition_of(rules, today)).order_by()
        found = BitMap(living.values_list("pk", flat=True))
    return found


def segment_count(rules: Segment | int | dict[str, Any], at: datetime | None = None) -> int:
    """How many members the rules find now."""
    return len(segment_member_ids(rules, at))


@dataclass(frozen=True)
class Preview:
    count: int
    sample_ids: list[int]  # the newest members first


def preview(rules: Segment | int | dict[str, Any], *, limit: int = SAMPLE) -> Preview:
    """How many members the rules find, and a few of them. Raises WrongRules."""
    found = segment_member_ids(rules)
    least = max(len(found) - min(limit, SAMPLE), 0)
    return Preview(len(found), sorted(found[least:], reverse=True))


def segment_sample(rules: dict[str, Any], *, limit: int = SAMPLE) -> list[Member]:
    """A few members of the rules, the newest, with their figures."""
    newest = Member.objects.filter(pk__in=preview(rules, limit=limit).sample_ids)
    return list(newest.select_related("stats").order_by("-pk"))


# --- What it costs


@dataclass(frozen=True)
class Cost:
    """What counting the rules reads. `level`: "instant" (bitmaps only), "quick", or "slow" (more than a second)."""

    level: str
    bitmaps_count: int
    bitmaps_members: int  # memberships in these bitmaps, the measure of set operations
    asked_rows: int  # rows of the timeline and of other tables, as the database's planner expects


QUICK_ROWS = 1_000_000


def cost(rules: Segment | int | dict[str, Any]) -> Cost:
    """What the rules would read, without reading it. Raises WrongRules."""
    plan = bitmaps.plan_of(_expanded(rules), clock.today())
    rows = members = 0
    for leaf in dict.fromkeys(bitmaps.leaves(plan)):
        if isinstance(leaf, bitmaps.Within):
            (first, last), cut = leaf.bands()
            low, high = min([first, *cut]), max([last, *cut])
            stored = SegmentBitmap.objects.filter(dimension=leaf.dimension, value__range=(low, high))
            rows += stored.count()
            members += stored.aggregate(n=Sum("members_count"))["n"] or 0
    level, asked_rows = price(rules)
    return Cost(level, rows, members, asked_rows)


def price(rules: Segment | int | dict[str, Any]) -> tuple[str, int]:
    """`level` and `asked_rows` of a Cost: what is shown while one types. No statement where bitmaps answer alone, one
    more of the planner for each condition that is asked of a table.
    """
    plan = bitmaps.plan_of(_expanded(rules), clock.today())
    asked = [leaf for leaf in dict.fromkeys(bitmaps.leaves(plan)) if not isinstance(leaf, bitmaps.Within)]
    rows = sum(map(_planned_rows, asked))
    return "instant" if not rows else "quick" if rows <= QUICK_ROWS else "slow", rows


def _planned_rows(leaf: bitmaps.Asked) -> int:
    """The rows that the planner expects to read: those of the scans below the grouping."""
    sql, params = bitmap_asks.sql_of(leaf)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        answer = cursor.fetchone()[0]
    top = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return max(1, _scanned(top))


def _scanned(node: dict[str, Any]) -> int:
    if "Relation Name" in node:
        return int(node["Plan Rows"])
    return sum(_scanned(one) for one in node.get("Plans", []))
