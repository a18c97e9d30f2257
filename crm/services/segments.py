"""Saving, counting, deleting and combining segments."""

import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.locks import advisory_lock
from crm import segments
from crm.errors import SegmentInUse, SegmentNameTaken, WrongRules
from crm.models import Segment, SegmentChange, SegmentDay, SegmentMember
from crm.queries.segments import segment_count
from crm.services.segments_live import note_day, refresh_segment

UNION, INTERSECTION, DIFFERENCE = "union", "intersection", "difference"
LONGEST_NAME = 60
MOST_NAMED = 5


@transaction.atomic
def save_segment(
    *,
    name: str,
    rules: dict[str, Any],
    note: str = "",
    segment_id: int | None = None,
    by_id: int | None = None,
    is_live: bool | None = None,
    is_shown_to_guides: bool | None = None,
) -> Segment:
    """Make or change a segment; counts its members and stores them when it is live (None: as it was).

    Who is in because the rules changed is stored without events: nobody entered by anything she did. So it is with
    live segments that hold this one: who came and went until now is told, then they are filled anew in silence.
    Locks: the segments' rules, so that two changes at once cannot make two segments contain each other, then the
    refreshing of the segment and of those, by id. Raises WrongRules, SegmentNameTaken; writes nothing then.
    """
    advisory_lock("segment-rules")
    checked = segments.check(rules, segment_id)
    if not name.strip() or len(name) > LONGEST_NAME:
        raise WrongRules(
            _("Give the segment a name of at most %(most)d characters.") % {"most": LONGEST_NAME}
        )
    holders: list[int] = []
    if segment_id:
        holders = [row.pk for row in segments.containing(segment_id) if row.is_live]
        for pk in sorted([segment_id, *holders]):
            advisory_lock("segment", pk)
        segment = Segment.objects.get(pk=segment_id)
    else:
        segment = Segment(created_at=clock.now(), created_by_id=by_id)
    if segment.rules == checked:
        holders = []
    _refresh(holders)
    live = segment.is_live if is_live is None else is_live
    if not live or segment.rules != checked or not segment.is_live:
        segment.refreshed_at = segment.filled_at = None
    segment.name, segment.rules, segment.note, segment.is_live = name, checked, note, live
    if is_shown_to_guides is not None:
        segment.is_shown_to_guides = is_shown_to_guides
    if not live:
        segment.members_count, segment.counted_at = segment_count(segment), clock.now()
    try:
        with transaction.atomic():
            segment.save()
    except IntegrityError:
        raise SegmentNameTaken(_("There is already a segment of this name.")) from None
    if not live:
        if segment_id:
            SegmentMember.objects.filter(segment=segment).delete()
        note_day(segment.pk, segment.members_count or 0)
    elif segment.filled_at is None:
        refresh_segment(segment_id=segment.pk)
        segment.refresh_from_db()
    Segment.objects.filter(pk__in=holders).update(refreshed_at=None, filled_at=None)
    _refresh(holders)
    return segment


def _refresh(segment_ids: Sequence[int]) -> None:
    for pk in segment_ids:
        with contextlib.suppress(Refusal):  # its rules name what is gone: its page says so
            refresh_segment(segment_id=pk)


@transaction.atomic
def delete_segment(*, segment_id: int) -> bool:
    """Delete a segment with its stored members, changes and days; its snapshots stay. False when it is gone already.

    Locks: the segments' rules, the segment's refreshing. Raises SegmentInUse while the rules of others name it;
    django's ProtectedError while a broadcast uses it.
    """
    advisory_lock("segment-rules")
    advisory_lock("segment", segment_id)
    if others := segments.naming(segment_id):
        raise SegmentInUse(
            _("“%(name)s” cannot be deleted: %(others)s name it in their rules. Change them first.")
            % {
                "name": Segment.objects.get(pk=segment_id).name,
                "others": "、".join(f"“{row.name}”" for row in others[:MOST_NAMED]),
            }
        )
    for model in (SegmentMember, SegmentChange, SegmentDay):
        model.objects.filter(segment=segment_id).delete()
    return bool(Segment.objects.filter(pk=segment_id).delete()[0])


def recount_segments(*, limit: int = 200) -> int:
    """Count the segments that are not live again, the longest uncounted first; returns how many. Idempotent."""
    counted = 0
    for segment in Segment.objects.filter(is_live=False).order_by("counted_at")[:limit]:
        try:
            count: int | None = segment_count(segment)
        except Refusal:  # its rules name what is gone: its page says so
            count = None
        # Changed or made live while it was counted: then this is the count of another segment.
        same = Segment.objects.filter(pk=segment.pk, is_live=False, rules=segment.rules)
        if same.update(members_count=count, counted_at=clock.now()) and count is not None:
            note_day(segment.pk, count)
        counted += 1
    return counted


def combined_rules(*, operation: str, chosen: Sequence[Segment]) -> dict[str, Any]:
    """The rules of a union, an intersection, or of the first segment without the others.

    Raises WrongRules when they do not fit into one segment: a snapshot of them always does.
    """
    trees = [segments.check(segment.rules) for segment in chosen]
    if operation == DIFFERENCE:
        made = {"all": [*_parts("all", trees[0]), *({"not": tree} for tree in trees[1:])]}
    elif operation == UNION:
        # A segment of everybody makes the union everybody; inside of "any" an empty tree would be passed by.
        everybody = any(next(segments.conditions(tree), None) is None for tree in trees)
        made = {"all": []} if everybody else {"any": [part for tree in trees for part in _parts("any", tree)]}
    elif operation == INTERSECTION:
        made = {"all": [part for tree in trees for part in _parts("all", tree)]}
    else:
        raise WrongRules(_("Choose union, intersection or difference."))
    return segments.check(made)


def _parts(join: str, tree: dict[str, Any]) -> list[dict[str, Any]]:
    """What a tree adds to a group: its children when it is joined the same way, so that nesting stays shallow."""
    inner: Any = tree.get(join)
    if isinstance(inner, list):
        return inner
    for other in ("all", "any"):  # a group of one condition is that condition
        if isinstance(tree.get(other), list) and len(tree[other]) == 1:
            return [tree[other][0]]
    return [tree]


def default_name(words: str, moment: dt.datetime | None = None) -> str:
    """A name for a list frozen now: "老客 2026-03-04 10:00:07"."""
    return f"{words[:58]} {clock.local(moment or clock.now()):%Y-%m-%d %H:%M:%S}"
