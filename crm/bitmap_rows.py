"""The stored bitmaps, read with a cache in the process, and members' own rows, which correct them.

A bitmap row says what was true when it was written; `crm_bitmapdelta` names the members of whom it may not be true any
more. Both are read in one statement, so of one moment.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from django.db import connection
from pyroaring import BitMap

from crm import bitmaps
from crm.bitmaps import State, Within
from crm.segments_values import STAGE_WORDS, WAY_WORDS

KEPT_UNIONS = 1_000

Key = tuple[str, int]  # dimension, value
Range = tuple[str, int, int]  # dimension, first value, last value
Kept = tuple[int, BitMap]  # version, members


class Union(NamedTuple):
    """The members of a range. Right as long as the newest version of all bitmaps is `as_of`."""

    as_of: int
    parts: frozenset[tuple[int, int]]  # value and version of each bitmap in it
    members: BitMap


# Bitmaps by their row's version, and unions of ranges. Versions come from a sequence, and every change of the stored
# bitmaps writes one at least: no two states share a newest version, whatever is rolled back. Kept bitmaps are shared
# between threads and never changed.
_kept: dict[str, dict[int, Kept]] = {}
_unions: OrderedDict[Range, Union] = OrderedDict()


def forget() -> None:
    """Drop what this process keeps; needed only where one database takes the place of another."""
    _kept.clear()
    _unions.clear()


# --- Members' own rows

# Dimensions of which a member has one value or none, in the columns of her row `m`, her figures `s`, her life `l`.
COLUMNS = {
    bitmaps.LIVING: "0",
    bitmaps.JOINED_DAY: "crm_shop_day(m.created_at)",
    bitmaps.PAID_DAY: "crm_shop_day(s.last_paid_at)",
    bitmaps.SILENT_DAY: "crm_shop_day(COALESCE(s.last_active_at, m.created_at))",
    bitmaps.TOUCH_DAY: "crm_shop_day(s.last_touch_at)",
    bitmaps.ORDERS: "s.orders_count",
    bitmaps.SPEND: "s.paid_fen",
    bitmaps.NET: "s.paid_fen - s.refunded_fen",
    bitmaps.VISITS: "s.visits_count",
    bitmaps.CONSENT: "s.marketing_consent::integer",
    bitmaps.SOURCE: "m.source_id",
    bitmaps.BIRTHDAY: "(EXTRACT(month FROM m.birthday) * 100 + EXTRACT(day FROM m.birthday))::integer",
    bitmaps.WAY: f"array_position('{{{','.join(WAY_WORDS)}}}'::text[], m.joined_via::text)",
    bitmaps.STAGE: f"array_position('{{{','.join(STAGE_WORDS)}}}'::text[], l.stage::text)",
    bitmaps.RFM: "l.rfm",
}
# Dimensions of which she may have many: (value, table, condition), the table being `r`.
TABLES = {
    bitmaps.TAG: ("r.tag_id", "crm_membertag", "true"),
    bitmaps.FOLLOWS: ("COALESCE(r.account_id, 0)", "crm_identity", "r.is_following AND r.kind = 'openid'"),
    bitmaps.CONTACT: (
        "COALESCE(r.account_id, 0)",
        "crm_identity",
        "r.is_following AND r.kind = 'external_userid'",
    ),
}
IS_LIVING = "m.merged_into_id IS NULL AND m.erased_at IS NULL"
LIVING = (
    "crm_member m LEFT JOIN crm_memberstats s ON s.member_id = m.id"
    " LEFT JOIN crm_memberlife l ON l.member_id = m.id"
)
SEVERAL = {
    dimension: f"ARRAY(SELECT {value} FROM {table} r WHERE r.member_id = m.id AND {condition})"  # noqa: S608  named above
    for dimension, (value, table, condition) in TABLES.items()
}


def states_of(
    member_ids: Iterable[int], dimensions: Collection[str] | None = None
) -> Iterator[tuple[int, State]]:
    """(id, values) of those of the members who live, from their own rows: of these dimensions, or (None) of all. The
    tier is always there. One statement.
    """
    one = [name for name in COLUMNS if dimensions is None or name in dimensions]
    many = [name for name in TABLES if dimensions is None or name in dimensions]
    values = [*(COLUMNS[name] for name in one), *(SEVERAL[name] for name in many)]
    sql = (
        f"SELECT {', '.join(['m.id', 'm.tier', *values])} FROM {LIVING} WHERE {IS_LIVING} AND m.id = ANY(%s)"  # noqa: S608  named above
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [list(member_ids)])
        for member_id, tier, *found in cursor:
            state: State = {bitmaps.tier_dimension(tier): (0,)}
            for dimension, value in zip(one, found, strict=False):
                if value is not None:
                    state[dimension] = (value,)
            for dimension, several in zip(many, found[len(one) :], strict=True):
                if several:
                    state[dimension] = tuple(several)
            yield member_id, state


def whose_number_is(leaf: Within, member_ids: BitMap) -> BitMap:
    """Those of the members whose own number of a banded dimension is within the leaf. One statement."""
    sql = f"""
        SELECT array_agg(s.member_id) FROM crm_memberstats s
        WHERE s.member_id = ANY(%s) AND {COLUMNS[leaf.dimension]} BETWEEN %s AND %s
    """  # noqa: S608  named above
    with connection.cursor() as cursor:
        cursor.execute(sql, [list(member_ids), leaf.low, leaf.high])
        return BitMap(cursor.fetchone()[0] or ())


# --- Reading bitmaps

READ = """
SELECT * FROM (
    SELECT 'version', 0::bigint, 0::bigint, COALESCE(max(version), 0), NULL::bytea FROM crm_segmentbitmap
    UNION ALL
    SELECT 'changed', 0, one, 0, NULL
    FROM (SELECT DISTINCT unnest(member_ids) FROM crm_bitmapdelta LIMIT %s) changed(one)
    UNION ALL
    SELECT 'bits', w.place, b.value, b.version, CASE WHEN k.version IS NULL THEN b.bits END
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS w(dimension, low, high, place)
    JOIN crm_segmentbitmap b ON b.dimension = w.dimension AND b.value BETWEEN w.low AND w.high
    LEFT JOIN unnest(%s::text[], %s::bigint[], %s::bigint[]) AS k(dimension, value, version)
        ON k.dimension = b.dimension AND k.value = b.value AND k.version = b.version
) AS answer(what, place, one, version, bits)
"""


def read(ranges: Sequence[Range], *, most_changed: int | None) -> tuple[dict[Range, BitMap], BitMap]:
    """(the members of each range, the members for whom that may be wrong), of one moment.

    Of the changed at most so many are named; with None all of them. One statement while nothing was folded in.
    """
    # Other threads drop what is old meanwhile: each is looked up once.
    held = {span: kept for span in ranges if (kept := _unions.get(span)) is not None}
    stale = [span for span in ranges if span not in held]
    while True:
        version, found, changed = _ask(stale, most_changed)
        moved = [span for span in ranges if span not in stale and held[span].as_of != version]
        if not moved:
            break
        stale += moved  # asked for again with everything else, so that all is of one moment
    for span in stale:
        held[span] = _unions[span] = _union(version, found.get(span, {}), held.get(span))
    _drop_unused(ranges)
    return {span: held[span].members for span in ranges}, changed


def _drop_unused(ranges: Sequence[Range]) -> None:
    """Keep what was asked for lately."""
    for span in ranges:
        with suppress(KeyError):  # another thread dropped it
            _unions.move_to_end(span)
    while len(_unions) > KEPT_UNIONS:
        with suppress(KeyError):
            _unions.popitem(last=False)


def _union(version: int, found: dict[int, tuple[int, BitMap]], before: Union | None) -> Union:
    """The union of the range's bitmaps; the one before when they are still the same."""
    parts = frozenset((value, part) for value, (part, _bits) in found.items())
    if before is not None and before.parts == parts:
        return Union(version, parts, before.members)
    several = [bits for _part, bits in found.values()]
    return Union(version, parts, BitMap.union(*several) if several else BitMap())


def _ask(
    stale: Sequence[Range], most_changed: int | None
) -> tuple[int, dict[Range, dict[int, tuple[int, BitMap]]], BitMap]:
    """One statement: the newest version of all, the bitmaps of the stale ranges by value, and who has changed."""
    # As it is now: another thread may come by a newer version meanwhile.
    kept = {dimension: dict(_kept.get(dimension, ())) for dimension in {span[0] for span in stale}}
    known = [
        (dimension, value, kept[dimension][value][0])
        for dimension, value in {
            (span[0], value) for span in stale for value in _values_within(kept[span[0]], span[1], span[2])
        }
    ]
    newest = 0
    found: dict[Range, dict[int, tuple[int, BitMap]]] = {}
    changed: list[int] = []
    columns = [
        *([span[part] for span in stale] for part in range(3)),
        *([row[part] for row in known] for part in range(3)),
    ]
    with connection.cursor() as cursor:
        cursor.execute(READ, [most_changed, *columns])
        for what, place, one, version, bits in cursor:
            if what == "changed":
                changed.append(one)
            elif what == "version":
                newest = version
            else:
                span = stale[place - 1]
                found.setdefault(span, {})[one] = (version, _keep(span[0], one, version, bits, kept))
    return newest, found, BitMap(changed)


def _values_within(kept: Mapping[int, Kept], low: int, high: int) -> Iterable[int]:
    if low == high:
        return (low,) if low in kept else ()
    return [value for value in kept if low <= value <= high]


def _keep(
    dimension: str,
    value: int,
    version: int,
    bits: memoryview | None,
    kept: Mapping[str, Mapping[int, Kept]],
) -> BitMap:
    """The bitmap of a row; without its bits it is the one that was kept."""
    if bits is None:
        return kept[dimension][value][1]
    fresh = BitMap.deserialize(bytes(bits))
    _kept.setdefault(dimension, {})[value] = (version, fresh)
    return fresh


def noted(most: int | None = None) -> BitMap:
    """Whoever has changed since the bitmaps were written, at most so many of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT unnest(member_ids) FROM crm_bitmapdelta LIMIT %s", [most])
        return BitMap([member_id for (member_id,) in cursor])


ALL = """
SELECT b.dimension, b.value, b.version, CASE WHEN k.version IS NULL THEN b.bits END
FROM crm_segmentbitmap b
LEFT JOIN unnest(%s::text[], %s::bigint[], %s::bigint[]) AS k(dimension, value, version)
    ON k.dimension = b.dimension AND k.value = b.value AND k.version = b.version
"""


def everything() -> dict[Key, BitMap]:
    """Every stored bitmap; what is stored no more is kept no longer."""
    kept = {dimension: dict(several) for dimension, several in dict(_kept).items()}
    known = [
        (dimension, value, version)
        for dimension, several in kept.items()
        for value, (version, _bits) in several.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(ALL, [[row[part] for row in known] for part in range(3)])
        found = {
            (dimension, value): _keep(dimension, value, version, bits, kept)
            for dimension, value, version, bits in cursor
        }
    for dimension, value, _version in known:
        if (dimension, value) not in found:
            _kept[dimension].pop(value, None)
    return found


def kept_as(rows: Mapping[Key, BitMap], version: int) -> None:
    """Keep what this process has just written."""
    for (dimension, value), members in rows.items():
        _kept.setdefault(dimension, {})[value] = (version, members)
