"""Saving and counting segments."""

from typing import Any

from django.db import transaction

from core import clock
from core.errors import Refusal
from core.locks import advisory_lock
from crm import segments
from crm.models import Segment
from crm.queries.segments import segment_count


@transaction.atomic
def save_segment(
    *,
    name: str,
    rules: dict[str, Any],
    note: str = "",
    segment_id: int | None = None,
    by_id: int | None = None,
) -> Segment:
    """Make or change a segment; counts its members. Raises WrongRules and writes nothing then.

    Locks: the segments' rules (advisory), so that two changes at once cannot make two segments contain each other.
    """
    advisory_lock("segment-rules")
    checked = segments.check(rules, segment_id)
    segment = (
        Segment.objects.get(pk=segment_id)
        if segment_id
        else Segment(created_at=clock.now(), created_by_id=by_id)
    )
    segment.name, segment.rules, segment.note = name, checked, note
    segment.members_count, segment.counted_at = segment_count(segment), clock.now()
    segment.save()
    return segment


def recount_segments(*, limit: int = 200) -> int:
    """Count the segments again, the longest uncounted first; returns how many. Idempotent."""
    counted = 0
    for segment in Segment.objects.order_by("counted_at")[:limit]:
        try:
            count: int | None = segment_count(segment)
        except Refusal:  # a segment within it was deleted: the admin says so when the segment is opened
            count = None
        Segment.objects.filter(pk=segment.pk).update(members_count=count, counted_at=clock.now())
        counted += 1
    return counted
