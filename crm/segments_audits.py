"""Proofs of stored segments: counts are rows, rows are living members, snapshots hold as many as they say."""

import datetime as dt
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from pyroaring import BitMap

from core import clock
from core.audits import Finding, audit_check, rows
from crm.models import SegmentSnapshot

NAME = "crm.segments"
PATIENCE = dt.timedelta(minutes=30)


@audit_check(NAME, gettext_lazy("Live segments count their stored members, and snapshots hold what they say"))
def stored_members_are_counted() -> Iterator[Finding]:
    """Counts of live segments against their rows, rows of merged members, rows without a live segment, and the
    members in each snapshot.
    """
    for segment_id, count, stored in rows(
        """
        SELECT s.id, COALESCE(s.members_count, 0), count(m.member_id) FROM crm_segment s
        LEFT JOIN crm_segmentmember m ON m.segment_id = s.id WHERE s.is_live AND s.filled_at IS NOT NULL
        GROUP BY s.id HAVING COALESCE(s.members_count, 0) <> count(m.member_id)
        """
    ):
        problem = _("counts %(count)d members, stores %(stored)d") % {"count": count, "stored": stored}
        yield Finding(NAME, f"segment {segment_id}", problem)
    for (segment_id,) in rows(
        """
        SELECT DISTINCT m.segment_id FROM crm_segmentmember m LEFT JOIN crm_segment s ON s.id = m.segment_id
        WHERE s.is_live IS NOT TRUE
        """
    ):
        yield Finding(NAME, f"segment {segment_id}", _("is not live or gone, but stores members"))
    # A merge just now is found by the next refreshing.
    for segment_id, member_id in rows(
        """
        SELECT s.segment_id, s.member_id FROM crm_segmentmember s LEFT JOIN crm_member m ON m.id = s.member_id
        WHERE m.id IS NULL OR (m.merged_into_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM crm_activity a WHERE a.member_id = m.merged_into_id AND a.kind = 'merged' AND a.at >= %s
        )) LIMIT 1000
        """,
        [clock.now() - PATIENCE],
    ):
        problem = _("stores member %(member)d, who is merged or gone") % {"member": member_id}
        yield Finding(NAME, f"segment {segment_id}", problem)
    for snapshot in SegmentSnapshot.objects.order_by("pk").iterator(chunk_size=20):
        try:
            held = len(BitMap.deserialize(bytes(snapshot.members)))
        except ValueError:
            yield Finding(NAME, f"snapshot {snapshot.pk}", _("its list of members cannot be read"))
            continue
        if held != snapshot.members_count:
            problem = _("says %(count)d members, holds %(held)d") % {
                "count": snapshot.members_count,
                "held": held,
            }
            yield Finding(NAME, f"snapshot {snapshot.pk}", problem)
