"""Live segments: who is in is stored, compared with the rules as facts come in, and every change is announced."""

import datetime as dt
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import connection, transaction
from pyroaring import BitMap

from core import clock, events
from core.errors import Refusal
from core.locks import try_advisory_lock
from crm import segments
from crm.events import SegmentEntered, SegmentLeft
from crm.models import Segment
from crm.queries import segments_shown

log = structlog.get_logger(__name__)

OVERLAP = dt.timedelta(minutes=10)
"""Facts are looked at again for so long: a transaction may commit late, a platform may tell late."""
WHOLE_EVERY = dt.timedelta(hours=1)
"""Everybody is compared so often, and when a day begins: for imports of history and what leaves no trace."""
KEPT_CHANGES = dt.timedelta(days=90)


@dataclass(frozen=True)
class Refreshed:
    entered: int
    left: int
    members_count: int
    is_whole: bool


def refresh_live_segments(*, limit: int = 500) -> int:
    """Bring every live segment up to date, one transaction each, the longest waiting first; returns how many.

    Idempotent: a second run finds nothing to change.
    """
    ids = Segment.objects.filter(is_live=True).order_by("refreshed_at").values_list("pk", flat=True)[:limit]
    refreshed = 0
    for pk in list(ids):
        try:
            refreshed += refresh_segment(segment_id=pk) is not None
        except Refusal as refusal:  # its rules name what is gone: the others go on, its page says so
            log.warning("live segment cannot be refreshed", segment=pk, why=refusal.message)
        except Exception:  # its transaction is undone; the longest waiting must not keep the others waiting
            log.exception("live segment was not refreshed", segment=pk)
    _forget_old_changes()
    return refreshed


@transaction.atomic
def refresh_segment(*, segment_id: int, whole: bool = False) -> Refreshed | None:
    """Compare stored members with the rules: those with new facts, or everybody when it is time (or `whole`).

    None: not live, or another worker is at it. Locks: the segment's refreshing. Idempotent on: the state it finds.
    Publishes: SegmentEntered, SegmentLeft; nothing for the first filling of new or changed rules.
    """
    if not try_advisory_lock("segment", segment_id):
        return None
    segment = Segment.objects.filter(pk=segment_id, is_live=True).first()
    if segment is None:
        return None
    moment = clock.now()
    among = None if whole or _is_time_for_all(segment, moment) else _changed(segment)
    if among is None:
        found, stored = segments_shown.ids_of(segment), segments_shown.stored_ids(segment.pk)
    else:
        found = segments_shown.ids_of(segment, among)
        stored = segments_shown.stored_ids(segment.pk, among)
    entered = _store(segment.pk, found - stored, moment)
    left = _remove(segment.pk, stored - found)
    if among is None:
        count = len(found)
    else:
        count = (segment.members_count or 0) + len(entered) - len(left)
    is_first = segment.filled_at is None
    if not is_first:
        _announce(segment.pk, entered, left, moment)
    changes = {"members_count": count, "counted_at": moment, "refreshed_at": moment}
    if among is None:
        changes["filled_at"] = moment
    Segment.objects.filter(pk=segment.pk).update(**changes)
    if among is None or entered or left:
        told = (0, 0) if is_first else (len(entered), len(left))
        note_day(segment.pk, count, entered=told[0], left=told[1])
    return Refreshed(len(entered), len(left), count, among is None)


def _is_time_for_all(segment: Segment, moment: datetime) -> bool:
    """True for the first filling, once in an hour, and when a day has begun: ages in days move with it."""
    if segment.filled_at is None or segment.refreshed_at is None:
        return True
    if moment - segment.filled_at >= WHOLE_EVERY or moment < segment.filled_at:
        return True
    return clock.local(segment.filled_at).date() != clock.local(moment).date()


def _changed(segment: Segment) -> BitMap | None:
    assert segment.refreshed_at is not None
    asked = {leaf["field"] for leaf in segments.conditions(segments.expanded(segment.rules, segment.pk))}
    return segments_shown.changed_since(
        segment.refreshed_at - OVERLAP, balances=asked & segments.TOLD_BY_THE_LEDGER
    )


def _store(segment_id: int, ids: BitMap, moment: datetime) -> list[int]:
    """Rows for members who have none: who has one was looked up under the lock."""
    if ids:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO crm_segmentmember (segment_id, member_id, since)
                SELECT %s, member_id, %s FROM unnest(%s::bigint[]) AS given (member_id)
                """,
                [segment_id, moment, _as_array(ids)],
            )
    return list(ids)


def _remove(segment_id: int, ids: BitMap) -> list[int]:
    if ids:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM crm_segmentmember WHERE segment_id = %s AND member_id = ANY(%s::bigint[])",
                [segment_id, _as_array(ids)],
            )
    return list(ids)


def _as_array(ids: BitMap) -> str:
    """As Postgres reads an array: a list would reach it as an expression with a constant for each member."""
    return "{" + ",".join(map(str, ids)) + "}"


def _announce(segment_id: int, entered: list[int], left: list[int], moment: datetime) -> None:
    """Rows for people who look, events for those who listen, in the transaction of the change."""
    if not entered and not left:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO crm_segmentchange (segment_id, member_id, is_entry, at)
            SELECT %s, member_id, is_entry, %s FROM unnest(%s::bigint[], %s::boolean[]) AS given (member_id, is_entry)
            """,
            [segment_id, moment, [*left, *entered], [False] * len(left) + [True] * len(entered)],
        )
    key = f"segment:{segment_id}"
    events.publish_many([SegmentLeft(segment_id, pk, moment) for pk in left], key=key)
    events.publish_many([SegmentEntered(segment_id, pk, moment) for pk in entered], key=key)


def note_day(segment_id: int, members_count: int, *, entered: int = 0, left: int = 0) -> None:
    """Keep today's count, and add to today's entries and departures. Nothing for a segment that is gone."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO crm_segmentday (segment_id, day, members_count, entered, "left")
            SELECT id, %s, %s, %s, %s FROM crm_segment WHERE id = %s
            ON CONFLICT (segment_id, day) DO UPDATE SET members_count = EXCLUDED.members_count,
                entered = crm_segmentday.entered + EXCLUDED.entered, "left" = crm_segmentday."left" + EXCLUDED."left"
            """,
            [clock.today(), members_count, entered, left, segment_id],
        )


def _forget_old_changes(batch: int = 5_000) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM crm_segmentchange WHERE id IN"
            " (SELECT id FROM crm_segmentchange WHERE at < %s ORDER BY at LIMIT %s)",
            [clock.now() - KEPT_CHANGES, batch],
        )
        return int(cursor.rowcount)
