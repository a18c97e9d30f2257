"""What operators see of segments: ids, samples, overlaps, "why is she in", days and changes.

Everything here reaches the engine through `crm.queries.segments` only.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Prefetch
from django.utils.translation import gettext as _
from pyroaring import BitMap

from core import clock
from core.errors import Refusal
from core.secrets import masked_phone
from crm import segments
from crm.models import (
    Activity,
    Identity,
    Member,
    MemberTag,
    Segment,
    SegmentChange,
    SegmentDay,
    SegmentMember,
    SegmentSnapshot,
)
from crm.queries import segments_told
from crm.queries.segments import cost, members_in, preview, segment_member_ids

MOST_SAMPLED = 20
MOST_CHANGED = 20_000
MOST_COMPARED = 5
NEWEST_CONSENTS = 5_000
EXPORT_BATCH = 1_000


# --- Through the engine --------------------------------------------------------------------------------------------
def ids_of(rules: Segment | dict[str, Any], among: Iterable[int] | None = None) -> BitMap:
    """Ids of the members whom the rules find now, all of them or among the given. Raises WrongRules."""
    found = segment_member_ids(rules)
    return found if among is None else found & BitMap(list(among))


def leaf_verdicts(leaves: Sequence[dict[str, Any]], member_id: int) -> list[bool]:
    """For each checked condition whether she fulfils it. One statement."""
    if not leaves:
        return []
    asked = {
        f"c{number}": Exists(members_in(leaf).filter(pk=OuterRef("pk"))) for number, leaf in enumerate(leaves)
    }
    row = Member.objects.filter(pk=member_id).annotate(**asked).values_list(*asked).first()
    return [bool(verdict) for verdict in row] if row else [False] * len(leaves)


def is_matched(rules: dict[str, Any], member_id: int) -> bool:
    return bool(members_in(rules).filter(pk=member_id).exists())


# --- While one builds ----------------------------------------------------------------------------------------------
def wrong_condition(rules: Any) -> int | None:
    """The number (from 1, in reading order) of the first condition that cannot be read by itself, None: none can be
    blamed. For rules that `segments.check` refused.
    """
    for number, leaf in enumerate(_raw_leaves(rules), start=1):
        try:
            segments.check(leaf)
        except Refusal:
            return number
    return None


def _raw_leaves(node: Any, depth: int = 1) -> Iterator[Any]:
    if not isinstance(node, dict) or depth > segments.DEEPEST:
        return
    if set(node) in ({"all"}, {"any"}):
        children = next(iter(node.values()))
        for child in children if isinstance(children, list) else []:
            yield from _raw_leaves(child, depth + 1)
    elif set(node) == {"not"}:
        yield from _raw_leaves(node["not"], depth + 1)
    else:
        yield node


@dataclass(frozen=True)
class SampleRow:
    member: Member
    phone: str  # masked; "" when none is known
    tags: list[str]


def counted_sample(rules: dict[str, Any], *, limit: int = MOST_SAMPLED) -> tuple[int, list[SampleRow]]:
    """How many members the rules find, and the newest with what recognises them. Raises WrongRules."""
    found = preview(rules, limit=limit)
    tags = MemberTag.objects.select_related("tag").order_by("pk")
    phones = Identity.objects.filter(kind=Identity.PHONE).order_by("-is_verified", "pk")
    newest: Iterable[Any] = (
        Member.objects.filter(pk__in=found.sample_ids)
        .select_related("stats")
        .prefetch_related(
            Prefetch("member_tags", queryset=tags), Prefetch("identities", queryset=phones, to_attr="phones")
        )
        .order_by("-pk")
    )
    rows = [
        SampleRow(
            member,
            masked_phone(member.phones[0].value) if member.phones else "",
            [carried.tag.name for carried in member.member_tags.all()],
        )
        for member in newest
    ]
    return found.count, rows


def is_slow(rules: dict[str, Any]) -> bool:
    """Whether counting checked rules reads so much of the timeline that people would wait."""
    asks_timeline = any(leaf["field"] == "fact" for leaf in segments.conditions(rules))
    return asks_timeline and cost(rules).level == "slow"


# --- Why is she in, or not? ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Verdict:
    """A node of the rules as it judges one member. `join`: "" for a condition, else all, any, not."""

    is_true: bool
    join: str = ""
    wanted: str = ""  # "tags: has any of 玫瑰"
    hers: str = ""  # "rose, musk"
    children: list["Verdict"] = field(default_factory=list)

    @property
    def title(self) -> str:
        return segments_told.join_label(self.join)


def explain(rules: dict[str, Any], member: Member) -> Verdict:
    """Each condition with her value and its verdict, as the tree of the rules. Raises WrongRules.

    A handful of statements, however many conditions.
    """
    checked = segments.check(rules)
    leaves = list(segments.conditions(checked))
    verdicts = iter(leaf_verdicts(leaves, member.pk))
    names = segments_told.names_in(leaves)
    hers = segments_told.HerFacts(member)

    def judge(node: dict[str, Any]) -> Verdict:
        if "field" in node:
            wanted = segments_told.in_words(node, names)
            return Verdict(next(verdicts), wanted=wanted, hers=hers.told(node))
        if "not" in node:
            inner = judge(node["not"])
            return Verdict(not inner.is_true, "not", children=[inner])
        join = "any" if "any" in node else "all"
        children = [judge(child) for child in node[join]]
        # An empty group asks nothing, also where any would do.
        some = any if join == "any" and children else all
        return Verdict(some(child.is_true for child in children), join, children=children)

    return judge(checked)


def memberships(member_id: int, chosen: Iterable[Segment]) -> list[tuple[Segment, bool]]:
    """Of each segment whether she is in it, those first in which she is. Rules that cannot be read are left out."""
    readable = []
    for segment in chosen:
        try:
            segments.check(segment.rules)
        except Refusal:
            continue
        readable.append(segment)
    verdicts = leaf_verdicts([segment.rules for segment in readable], member_id)
    return sorted(zip(readable, verdicts, strict=True), key=lambda pair: not pair[1])


def segments_of(member_id: int) -> list[tuple[Segment, datetime]]:
    """The live segments that a member is in, with the moment since when. One statement."""
    rows = SegmentMember.objects.filter(member=member_id).select_related("segment").order_by("segment__name")
    return [(row.segment, row.since) for row in rows]


# --- Live segments -------------------------------------------------------------------------------------------------
# Facts stand in the timeline; consents, which do not, are few and looked for among the newest. The tombstones of
# members who were merged count as changed, too: they leave.
CHANGED = """
WITH told AS (
    SELECT member_id, kind FROM crm_activity WHERE kind = ANY(%s) AND at >= %s
)
SELECT member_id FROM told
UNION SELECT id FROM crm_member WHERE created_at >= %s
UNION SELECT id FROM crm_member WHERE merged_into_id IN (SELECT member_id FROM told WHERE kind = 'merged')
UNION SELECT member_id FROM crm_touch WHERE id > (SELECT max(id) FROM crm_touch) - %s AND at >= %s
UNION SELECT member_id FROM crm_consent WHERE id > (SELECT max(id) FROM crm_consent) - %s AND at >= %s
LIMIT %s
"""


def changed_since(moment: datetime) -> list[int] | None:
    """Members with a fact since the moment, tombstones too; None: so many that comparing everybody is cheaper."""
    kinds = [kind for kind, _label in Activity.KINDS]
    newest: list[Any] = [NEWEST_CONSENTS, moment]
    with connection.cursor() as cursor:
        cursor.execute(CHANGED, [kinds, moment, moment, *newest, *newest, MOST_CHANGED + 1])
        found = [row[0] for row in cursor.fetchall()]
    return None if len(found) > MOST_CHANGED else found


def stored_ids(segment_id: int, among: Iterable[int] | None = None) -> BitMap:
    """Who is stored as a member of a live segment."""
    rows = SegmentMember.objects.filter(segment=segment_id)
    if among is not None:
        rows = rows.filter(member__in=list(among))
    return BitMap(list(rows.values_list("member_id", flat=True)))


def members_now(segment: Segment) -> BitMap:
    """Members of a segment: stored ones of a live segment, computed ones of any other."""
    if segment.is_live and segment.filled_at is not None:
        return stored_ids(segment.pk)
    return ids_of(segment)


def last_changes(segment_id: int, *, limit: int = 20) -> list[SegmentChange]:
    rows = SegmentChange.objects.filter(segment=segment_id).select_related("member").order_by("-pk")
    return list(rows[:limit])


def days_of(segment_id: int, *, days: int = 30) -> list[SegmentDay]:
    """Counted days, oldest first; a day on which nobody counted is missing."""
    since = clock.today() - dt.timedelta(days=days - 1)
    return list(SegmentDay.objects.filter(segment=segment_id, day__gte=since).order_by("day"))


# --- Several segments ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Overlap:
    """`pairs[i][j]`: members in both; the diagonal is each segment's own count. `shares`: of row i, in per cent.

    `parts`: members who are in exactly these segments and no other chosen one, largest first.
    """

    counts: list[int]
    pairs: list[list[int]]
    shares: list[list[int]]
    parts: list[tuple[tuple[int, ...], int]]
    union: int
    intersection: int


def overlap(chosen: Sequence[BitMap]) -> Overlap:
    """How lists of members overlap, at most five of them."""
    pairs = [[len(one & other) for other in chosen] for one in chosen]
    shares = [
        [round(100 * pair / len(one)) if one else 0 for pair in row]
        for row, one in zip(pairs, chosen, strict=True)
    ]
    parts = []
    for size in range(1, len(chosen) + 1):
        for inside in combinations(range(len(chosen)), size):
            members = BitMap.intersection(*(chosen[place] for place in inside))
            for place in set(range(len(chosen))) - set(inside):
                members = members - chosen[place]
            if members:
                parts.append((inside, len(members)))
    parts.sort(key=lambda part: -part[1])
    return Overlap(
        [len(one) for one in chosen],
        pairs,
        shares,
        parts,
        len(BitMap.union(*chosen)) if chosen else 0,
        len(BitMap.intersection(*chosen)) if chosen else 0,
    )


# --- Lists that leave the house ------------------------------------------------------------------------------------
def snapshot_ids(snapshot: SegmentSnapshot) -> BitMap:
    return BitMap.deserialize(bytes(snapshot.members))


def export_rows(ids: Iterable[int], *, whole_phones: bool) -> Iterator[list[Any]]:
    """Cells of the CSV, title first, a batch of members at a time; members merged since stand as the living ones."""
    yield [
        _("member number"),
        _("member"),
        _("phone"),
        _("tags"),
        _("orders"),
        _("paid in all"),
        _("last order"),
        _("member since"),
    ]
    tags = MemberTag.objects.select_related("tag").order_by("pk")
    phones = Identity.objects.filter(kind=Identity.PHONE).order_by("-is_verified", "pk")
    told: set[int] = set()
    batch: list[int] = []

    def rows() -> Iterator[list[Any]]:
        merged = Member.objects.filter(pk__in=batch, merged_into__isnull=False)
        wanted = {*batch, *merged.values_list("merged_into_id", flat=True)} - told
        living = Member.objects.living().filter(pk__in=wanted).select_related("stats").order_by("pk")
        members: Iterable[Any] = living.prefetch_related(
            Prefetch("member_tags", queryset=tags), Prefetch("identities", queryset=phones, to_attr="phones")
        )
        for member in members:
            told.add(member.pk)
            phone = member.phones[0].value if member.phones else ""
            yield [
                member.pk,
                member.name,
                phone if whole_phones or not phone else masked_phone(phone),
                "、".join(carried.tag.name for carried in member.member_tags.all()),
                member.stats.orders_count,
                segments_told.plain_yuan(member.stats.paid_fen),
                segments_told.day_of(member.stats.last_paid_at),
                segments_told.day_of(member.created_at),
            ]

    for member_id in ids:
        batch.append(member_id)
        if len(batch) == EXPORT_BATCH:
            yield from rows()
            batch = []
    yield from rows()
