"""What operators see of segments: ids, samples, overlaps, days and changes.

Everything here reaches the engine through `crm.queries.segments` only.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, islice
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Exists, OuterRef, Prefetch
from django.utils.translation import gettext as _
from pyroaring import BitMap

from core import clock, ledger
from core.errors import Refusal
from core.secrets import masked_phone
from crm import bitmap_folding, segments
from crm.bitmaps import BALANCES
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
from crm.queries.segments import members_in, preview, segment_member_ids

MOST_SAMPLED = 20
MOST_CHANGED = 20_000
MOST_COMPARED = 5
EXPORT_BATCH = 1_000


# --- Through the engine --------------------------------------------------------------------------------------------
def ids_of(rules: Segment | dict[str, Any], among: Iterable[int] | None = None) -> BitMap:
    """Ids of the members whom the rules find now, all of them or among the given. Raises WrongRules."""
    found = segment_member_ids(rules)
    return found if among is None else found & BitMap(list(among))


# --- While one builds ----------------------------------------------------------------------------------------------
def wrong_condition(rules: Any) -> int | None:
    """The number (from 1, in reading order) of the first condition that cannot be read by itself, None: none can be
    blamed. For rules that `segments.check` refused.
    """
    for number, leaf in enumerate(islice(_raw_leaves(rules), segments.MOST_CONDITIONS), start=1):
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


class SampleRow(NamedTuple):
    pk: int
    name: str
    last_paid_at: datetime | None
    phone: str  # masked; "" when none is known
    tags: list[str]


# Asked many times a minute, while people type: one statement, and no model instances.
SAMPLED = """
SELECT m.id, m.name, s.last_paid_at,
    (SELECT i.value FROM crm_identity i WHERE i.member_id = m.id AND i.kind = 'phone'
     ORDER BY i.is_verified DESC, i.id LIMIT 1),
    ARRAY(SELECT t.name FROM crm_membertag c JOIN crm_tag t ON t.id = c.tag_id WHERE c.member_id = m.id ORDER BY c.id)
FROM crm_member m LEFT JOIN crm_memberstats s ON s.member_id = m.id WHERE m.id = ANY(%s) ORDER BY m.id DESC
"""


def counted_sample(rules: dict[str, Any], *, limit: int = MOST_SAMPLED) -> tuple[int, list[SampleRow]]:
    """How many members the rules find, and the newest with what recognises them. Raises WrongRules."""
    found = preview(rules, limit=limit)
    with connection.cursor() as cursor:
        cursor.execute(SAMPLED, [found.sample_ids])
        rows = [
            SampleRow(pk, name or f"#{pk}", paid_at, masked_phone(phone) if phone else "", tags)
            for pk, name, paid_at, phone, tags in cursor
        ]
    return found.count, rows


def memberships(member_id: int, chosen: Iterable[Segment]) -> list[tuple[Segment, bool]]:
    """Of each segment whether she is in it, those first in which she is. Rules that cannot be read are left out.

    One statement judges them all.
    """
    readable: list[Segment] = []
    asked: dict[str, Exists] = {}
    for segment in chosen:
        try:
            hers = members_in(segment.rules).filter(pk=OuterRef("pk"))
        except Refusal:
            continue
        asked[f"s{len(readable)}"] = Exists(hers)
        readable.append(segment)
    row = Member.objects.filter(pk=member_id).annotate(**asked).values_list(*asked).first() if asked else ()
    verdicts = [bool(verdict) for verdict in row or [False] * len(readable)]
    return sorted(zip(readable, verdicts, strict=True), key=lambda pair: not pair[1])


def segments_of(member_id: int) -> list[tuple[Segment, datetime]]:
    """The live segments that a member is in, with the moment since when. One statement."""
    rows = SegmentMember.objects.filter(member=member_id, segment__is_live=True)
    rows = rows.select_related("segment").order_by("segment__name")
    return [(row.segment, row.since) for row in rows]


# --- Live segments -------------------------------------------------------------------------------------------------
# The tombstones of members who were merged count as changed, too: they leave. What was told of a tombstone changes the
# living member behind it.
CHANGED = """
WITH told AS (
    SELECT member_id, kind FROM crm_activity WHERE kind = ANY(%s) AND at >= %s
)
SELECT member_id FROM told
UNION SELECT id FROM crm_member WHERE merged_into_id IN (SELECT member_id FROM told WHERE kind = 'merged')
UNION SELECT merged_into_id FROM crm_member WHERE id = ANY(%s) AND merged_into_id IS NOT NULL
LIMIT %s
"""


def changed_since(moment: datetime, *, balances: Collection[str] = ()) -> BitMap | None:
    """Members with a fact since the moment, those of whom anything changed that bitmaps know of, and those with whom
    one of the balances (fields of rules) moved.

    None: so many that comparing everybody is cheaper, or nobody can say.
    """
    changed = bitmap_folding.changed_since(moment, most=MOST_CHANGED)
    if changed is None:
        return None
    if balances:
        accounts = [kind for field in balances for kind in BALANCES[field]]
        changed |= BitMap(ledger.owners_moved_since(moment, kinds=accounts, most=MOST_CHANGED + 1))
    kinds = [kind for kind, _label in Activity.KINDS]
    with connection.cursor() as cursor:
        cursor.execute(CHANGED, [kinds, moment, list(changed), MOST_CHANGED + 1])
        changed |= BitMap([row[0] for row in cursor])
    return None if len(changed) > MOST_CHANGED else changed


def stored_ids(segment_id: int, among: Iterable[int] | None = None) -> BitMap:
    """Who is stored as a member of a live segment."""
    sql = "SELECT array_agg(member_id) FROM crm_segmentmember WHERE segment_id = %s"
    params: list[Any] = [segment_id]
    if among is not None:
        sql += " AND member_id = ANY(%s)"
        params.append(list(among))
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return BitMap(cursor.fetchone()[0] or ())


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
        living = Member.objects.known().filter(pk__in=wanted).select_related("stats").order_by("pk")
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
