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
from crm import bitmap_answers, bitmap_rows, bitmaps, segments
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


def _plan(segment: Segment | int | dict[str, Any], at: datetime | None) -> bitmaps.Plan:
    return bitmaps.plan_of(_expanded(segment), clock.local(at or clock.now()).date())


def members_matching(rules: dict[str, Any], at: datetime | None = None) -> QuerySet[Member]:
    """The living members of the rules, as Member rows. Raises WrongRules."""
    today = clock.local(at or clock.now()).date()
    return Member.objects.living().filter(condition_of(_expanded(rules), today))


def members_in(segment: Segment | int | dict[str, Any], at: datetime | None = None) -> QuerySet[Any]:
    """Ids (`.values("pk")`) of the members of a segment, its id, or of plain rules: a subquery, never a list.

    Raises WrongRules; NotFound for an unknown id.
    """
    today = clock.local(at or clock.now()).date()
    return Member.objects.living().filter(condition_of(_expanded(segment), today)).order_by().values("pk")


def segment_member_ids(segment: Segment | int | dict[str, Any], at: datetime | None = None) -> BitMap:
    """The members' ids as a set: ascending when iterated, with `len`, `in`, `&`, `|`, `-`; the caller's own.

    `at` moves the day that ages count from, not what is known about members. Raises as `members_in`.
    """
    return bitmap_answers.members_of(_plan(segment, at))


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


# --- Why is she in, or not?


@dataclass(frozen=True)
class Verdict:
    """One condition for one member. `value`: what is so of her in the condition's unit: days ago, a number, fen, how
    many times, her tier, ids of tags, codes, accounts or segments; None when there is nothing.
    """

    condition: dict[str, Any]
    value: Any
    holds: bool


@dataclass(frozen=True)
class Explanation:
    is_in: bool
    is_living: bool  # a merged or unknown member is in no segment
    verdicts: list[Verdict]  # in the order of the rules


def explain(rules: Segment | int | dict[str, Any], member_id: int) -> Explanation:
    """Why the member is in the segment or not, condition by condition. Raises WrongRules."""
    today = clock.today()
    written = segments.check(rules) if isinstance(rules, dict) else rules
    plan = _plan(written, None)
    state = dict(bitmap_rows.states_of([member_id])).get(member_id)
    done = {leaf: _times(leaf, member_id) for leaf in bitmaps.leaves(plan) if isinstance(leaf, bitmaps.Facts)}
    hers = {leaf for leaf, times in done.items() if times >= leaf.times}
    if isinstance(written, int):
        written = Segment.objects.get(pk=written)
    tree = written.rules if isinstance(written, Segment) else written
    verdicts = []
    for condition in segments.conditions(tree):
        part = bitmaps.plan_of(segments.expanded({"all": [condition]}), today)
        is_so = state is not None and bitmaps.holds(part, state, hers)
        value = None if state is None else _value(condition, state, part, done, today)
        verdicts.append(Verdict(condition, value, is_so))
    is_in = state is not None and bitmaps.holds(plan, state, hers)
    return Explanation(is_in, state is not None, verdicts)


def _times(facts: bitmaps.Facts, member_id: int) -> int:
    sql, params = bitmap_answers.facts_sql(facts, member_id)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.fetchone()[0])


DAYS = {
    "last_order_days": bitmaps.PAID_DAY,
    "joined_days": bitmaps.JOINED_DAY,
    "touched_days": bitmaps.TOUCH_DAY,
    "untouched_days": bitmaps.TOUCH_DAY,
    "silent_days": bitmaps.SILENT_DAY,
}
NUMBERS = {
    "orders": bitmaps.ORDERS,
    "visits": bitmaps.VISITS,
    "spend_fen": bitmaps.SPEND,
    "net_fen": bitmaps.NET,
}
SEVERAL = {
    "tags": bitmaps.TAG,
    "source": bitmaps.SOURCE,
    "following": bitmaps.FOLLOWS,
    "contact": bitmaps.CONTACT,
}


def _value(
    condition: dict[str, Any],
    state: bitmaps.State,
    plan: bitmaps.Plan,
    done: dict[bitmaps.Facts, int],
    today: Any,
) -> Any:
    field = condition["field"]
    if field in DAYS:
        days = state.get(DAYS[field])
        return bitmaps.day_number(today) - days[0] if days else None
    if field in NUMBERS:
        return next(iter(state.get(NUMBERS[field], ())), None)
    if field in SEVERAL:
        return sorted(state.get(SEVERAL[field], ()))
    if field == "tier":
        return next(name.removeprefix("tier:") for name in state if name.startswith("tier:"))
    if field == "consent":
        answers = {1: "given", 0: "withdrawn"}
        return answers[state[bitmaps.CONSENT][0]] if bitmaps.CONSENT in state else "unasked"
    if field == "fact":
        return next((done[leaf] for leaf in bitmaps.leaves(plan) if isinstance(leaf, bitmaps.Facts)), 0)
    return [pk for pk in condition["value"] if _is_in_segment(pk, state, done, today)]


def _is_in_segment(pk: int, state: bitmaps.State, done: dict[bitmaps.Facts, int], today: Any) -> bool:
    one = {"all": [{"field": "segment", "op": "in", "value": [pk]}]}
    hers = {leaf for leaf, times in done.items() if times >= leaf.times}
    return bitmaps.holds(bitmaps.plan_of(segments.expanded(one), today), state, hers)


# --- What it costs


@dataclass(frozen=True)
class Cost:
    """What counting the rules reads. `level`: "instant" (bitmaps only), "quick", or "slow" (more than a second)."""

    level: str
    bitmaps_count: int
    bitmaps_members: int  # memberships in these bitmaps, the measure of set operations
    facts_rows: int  # rows of the timeline, as the database's planner expects


QUICK_ROWS = 1_000_000


def cost(rules: Segment | int | dict[str, Any]) -> Cost:
    """What the rules would read, without reading it. Raises WrongRules."""
    plan = _plan(rules, None)
    rows = members = facts_rows = 0
    for leaf in dict.fromkeys(bitmaps.leaves(plan)):
        if isinstance(leaf, bitmaps.Facts):
            facts_rows += _planned_rows(leaf)
        else:
            (first, last), cut = leaf.bands()
            low, high = min([first, *cut]), max([last, *cut])
            stored = SegmentBitmap.objects.filter(dimension=leaf.dimension, value__range=(low, high))
            rows += stored.count()
            members += stored.aggregate(n=Sum("members_count"))["n"] or 0
    level = "instant" if not facts_rows else "quick" if facts_rows <= QUICK_ROWS else "slow"
    return Cost(level, rows, members, facts_rows)


def _planned_rows(facts: bitmaps.Facts) -> int:
    """The rows of the timeline that the planner expects to read: those of the scans below the grouping."""
    sql, params = bitmap_answers.facts_sql(facts)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        answer = cursor.fetchone()[0]
    top = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return max(1, _scanned(top))


def _scanned(node: dict[str, Any]) -> int:
    if "Relation Name" in node:
        return int(node["Plan Rows"])
    return sum(_scanned(one) for one in node.get("Plans", []))
