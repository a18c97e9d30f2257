"""Lists of members that leave the flow: frozen snapshots, and exports with who took how many."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from pyroaring import BitMap

from core import clock
from crm.errors import SegmentNameTaken, WrongRules
from crm.models import Segment, SegmentExport, SegmentSnapshot
from crm.queries import segments_shown
from crm.services.looks import record_phone_look

LONGEST_NAME = 80


@transaction.atomic
def take_snapshot(*, segment_id: int, name: str, note: str = "", by_id: int | None = None) -> SegmentSnapshot:
    """Freeze who is in a segment now. Idempotent on: the name. Raises SegmentNameTaken, WrongRules."""
    segment = Segment.objects.get(pk=segment_id)
    return keep_snapshot(
        name=name,
        members=segments_shown.members_now(segment),
        rules=segment.rules,
        segment_id=segment_id,
        note=note,
        by_id=by_id,
    )


@transaction.atomic
def keep_snapshot(
    *,
    name: str,
    members: BitMap,
    rules: dict[str, Any] | None = None,
    segment_id: int | None = None,
    note: str = "",
    by_id: int | None = None,
) -> SegmentSnapshot:
    """Keep a list of members under a name of its own. Raises SegmentNameTaken, WrongRules (for a bad name)."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME:
        raise WrongRules(
            _("Give the snapshot a name of at most %(most)d characters.") % {"most": LONGEST_NAME}
        )
    members.run_optimize()
    try:
        with transaction.atomic():
            return SegmentSnapshot.objects.create(
                name=name,
                note=note[:200],
                segment_id=segment_id,
                rules=rules,
                members=members.serialize(),
                members_count=len(members),
                made_at=clock.now(),
                made_by_id=by_id,
            )
    except IntegrityError:
        raise SegmentNameTaken(_("There is already a snapshot of this name.")) from None


@transaction.atomic
def keep_combination(
    *, operation: str, segments: Sequence[Segment], name: str, by_id: int | None = None
) -> SegmentSnapshot:
    """Freeze a union, an intersection, or the first segment without the others.

    Raises SegmentNameTaken, WrongRules (for a bad name or an unknown operation).
    """
    first, *others = [segments_shown.members_now(segment) for segment in segments]
    match operation:
        case "union":
            members = BitMap.union(first, *others)
        case "intersection":
            members = BitMap.intersection(first, *others)
        case "difference":
            members = first - BitMap.union(*others)
        case _:
            raise WrongRules(_("Choose union, intersection or difference."))
    return keep_snapshot(name=name, members=members, by_id=by_id)


@transaction.atomic
def log_export(
    *,
    name: str,
    members_count: int,
    has_whole_phones: bool,
    by_id: int,
    segment_id: int | None = None,
    snapshot_id: int | None = None,
) -> SegmentExport:
    """Note that somebody takes a list out, before its first line leaves; whole phones are a look at each."""
    if has_whole_phones and members_count:
        record_phone_look(
            user=get_user_model().objects.get(pk=by_id),
            subject=f"segment:{segment_id}" if segment_id else f"snapshot:{snapshot_id}",
            page="export",
            count=members_count,
        )
    return SegmentExport.objects.create(
        name=name[:80],
        segment_id=segment_id,
        snapshot_id=snapshot_id,
        members_count=members_count,
        has_whole_phones=has_whole_phones,
        at=clock.now(),
        by_id=by_id,
    )
