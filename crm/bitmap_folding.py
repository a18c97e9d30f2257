"""Writing bitmaps: the changed members folded in, or all of them anew; who has changed since when; and where stored
ones are wrong.

Folding reads and writes every bitmap: it is a worker's, and no reader waits for it.
"""

import datetime as dt
from collections.abc import Iterator
from datetime import datetime

from django.db import connection, transaction
from pyroaring import BitMap

from core import clock
from core.locks import advisory_lock, in_batches, try_advisory_lock
from crm import bitmap_rows, bitmaps
from crm.bitmap_rows import Key
from crm.models import BitmapFold, Member

REBUILT_FROM = 100_000  # changed members from which it is cheaper to write all bitmaps anew
FOLDED_AT_ONCE = 20_000
LOCK = "segment-bitmaps"
KEPT_FOLDS = dt.timedelta(days=1)

WRITE = """
INSERT INTO crm_segmentbitmap AS mine (dimension, value, bits, members_count, version)
SELECT dimension, value, bits, members, %s
FROM unnest(%s::text[], %s::bigint[], %s::bytea[], %s::integer[]) AS given(dimension, value, bits, members)
ON CONFLICT (dimension, value) DO UPDATE
    SET bits = excluded.bits, members_count = excluded.members_count, version = excluded.version
"""
# Whole notes, the oldest first: as many as it takes to name so many members.
TAKE = """
WITH taken AS (
    DELETE FROM crm_bitmapdelta WHERE id IN (
        SELECT id FROM (
            SELECT id, sum(cardinality(member_ids)) OVER (ORDER BY id) - cardinality(member_ids) AS named
            FROM crm_bitmapdelta
        ) counted WHERE named < %s
    ) RETURNING member_ids
)
SELECT DISTINCT unnest(member_ids) FROM taken
"""
NOTED = "SELECT count(DISTINCT one) FROM crm_bitmapdelta, unnest(member_ids) one"


def fold() -> int:
    """Write the changed members into the bitmaps; returns how many were (of a rebuild: how many bitmaps there are).

    Who changes meanwhile stays noted. Locks: an advisory one; while another process folds, nothing is done.
    """
    folded = 0
    while True:
        with transaction.atomic():
            if not try_advisory_lock(LOCK):
                return folded
            pending = _pending()
            if pending >= REBUILT_FROM:
                return folded + _rebuild()
            is_last = pending <= FOLDED_AT_ONCE
            taken = _fold_some(None if is_last else FOLDED_AT_ONCE) if pending else 0
        folded += taken
        if is_last:
            return folded


def _pending() -> int:
    with connection.cursor() as cursor:
        cursor.execute(NOTED)
        return int(cursor.fetchone()[0])


def _fold_some(most: int | None) -> int:
    """Notes of about so many members, or all; returns how many members they named."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [bitmaps.HIGHEST if most is None else most])
        changed = BitMap([member_id for (member_id,) in cursor])
    _note_fold(changed)
    joining: dict[Key, list[int]] = {}
    for member_id, state in bitmap_rows.states_of(changed):
        for key in bitmaps.bits_of(state):
            joining.setdefault(key, []).append(member_id)
    written: dict[Key, BitMap] = {}
    stored = bitmap_rows.everything()
    for key, kept in stored.items():
        if key in joining or not kept.isdisjoint(changed):
            fresh = (kept - changed) | BitMap(joining.pop(key, ()))
            if fresh != kept:
                written[key] = fresh
    written |= {key: BitMap(ids) for key, ids in joining.items()}
    everybody = (bitmaps.LIVING, 0)
    if written and everybody in stored:
        # Also when bitmaps only go there is a new version then, by which readers know.
        written.setdefault(everybody, BitMap(stored[everybody]))
    _write(written)
    return len(changed)


def rebuild() -> int:
    """Write all bitmaps anew from the tables; returns how many there are. Locks: the advisory one."""
    with transaction.atomic():
        advisory_lock(LOCK)
        return _rebuild()


def _rebuild() -> int:
    # The log is emptied first: who changes while the tables are read is noted again and stays so.
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM crm_bitmapdelta")
        cursor.execute("DELETE FROM crm_segmentbitmap")
    _note_fold(None)
    count = 0
    for rows in _built():
        _write(rows)
        count += len(rows)
    return count


def _note_fold(members: BitMap | None) -> None:
    moment = clock.now()
    BitmapFold.objects.filter(at__lt=moment - KEPT_FOLDS).delete()
    BitmapFold.objects.create(at=moment, members=None if members is None else members.serialize())


def changed_since(moment: datetime, *, most: int) -> BitMap | None:
    """Members of whom something that bitmaps know has changed since the moment; None: more than `most`, or nobody can
    say (everything was written anew, or it is too long ago).
    """
    if moment < clock.now() - KEPT_FOLDS:
        return None
    # The pending ones first: who is folded in between the two statements is found by both, and never by none.
    changed = bitmap_rows.noted(most + 1)
    for members in BitmapFold.objects.filter(at__gte=moment).values_list("members", flat=True):
        if members is None:
            return None
        changed |= BitMap.deserialize(bytes(members))
    return None if len(changed) > most else changed


def _built() -> Iterator[dict[Key, BitMap]]:
    """All bitmaps from the tables, a dimension at a time, so that no more than one is in memory as numbers."""
    living, is_living = bitmap_rows.LIVING, bitmap_rows.IS_LIVING
    statements = [f"SELECT 'tier:' || tier, 0, array_agg(id) FROM crm_member m WHERE {is_living} GROUP BY 1"]  # noqa: S608  the names stand in the source
    for dimension, column in bitmap_rows.COLUMNS.items():
        value = f"crm_band({column})" if dimension in bitmaps.BANDED else column
        statements.append(
            f"SELECT '{dimension}', {value}, array_agg(m.id) FROM {living} WHERE {is_living} GROUP BY 2"  # noqa: S608  the names stand in the source
        )
    for dimension, (value, table, condition) in bitmap_rows.TABLES.items():
        hers = f"{table} r JOIN crm_member m ON m.id = r.member_id"
        statements.append(
            f"SELECT '{dimension}', {value}, array_agg(r.member_id) FROM {hers}"  # noqa: S608  the names stand in the source
            f" WHERE {is_living} AND {condition} GROUP BY 2"
        )
    for sql in statements:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            yield {(dimension, value): BitMap(ids) for dimension, value, ids in cursor if value is not None}


def differences() -> Iterator[tuple[str, int, list[int]]]:
    """(dimension, value, members) of whom a stored bitmap says otherwise than the tables, the changed left out."""
    changed = bitmap_rows.noted()
    stored = bitmap_rows.everything()
    if not stored:  # nothing was ever written: everybody has changed since
        living = BitMap(Member.objects.known().values_list("pk", flat=True))
        if wrong := living - changed:
            yield bitmaps.LIVING, 0, list(wrong)
        return
    for rows in _built():
        for key, members in rows.items():
            if wrong := (members ^ stored.pop(key, BitMap())) - changed:
                yield (*key, list(wrong))
    for key, members in stored.items():
        if wrong := members - changed:
            yield (*key, list(wrong))


def _write(rows: dict[Key, BitMap]) -> None:
    """Store bitmaps under a fresh version; empty ones go."""
    empty = [key for key, members in rows.items() if not members]
    full = [key for key, members in rows.items() if members]
    with connection.cursor() as cursor:
        if empty:
            cursor.execute(
                "DELETE FROM crm_segmentbitmap WHERE (dimension, value) IN"
                " (SELECT * FROM unnest(%s::text[], %s::bigint[]))",
                [[key[0] for key in empty], [key[1] for key in empty]],
            )
        cursor.execute("SELECT nextval('crm_bitmap_version')")
        version = int(cursor.fetchone()[0])
        for places in in_batches(range(len(full)), 500):
            keys = [full[place] for place in places]
            for key in keys:
                rows[key].run_optimize()
            cursor.execute(
                WRITE,
                [
                    version,
                    [key[0] for key in keys],
                    [key[1] for key in keys],
                    [rows[key].serialize() for key in keys],
                    [len(rows[key]) for key in keys],
                ],
            )
    bitmap_rows.kept_as({key: rows[key] for key in full}, version)
