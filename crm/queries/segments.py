"""Who is in a segment, without loading anybody."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from core import clock
from core.errors import NotFound
from crm import segments
from crm.models import Member, Segment


def members_matching(rules: dict[str, Any], at: datetime | None = None) -> QuerySet[Member]:
    """The living members of the rules, as Member rows. Raises WrongRules."""
    checked = segments.check(rules)
    today = clock.local(at or clock.now()).date()
    return Member.objects.living().filter(segments.condition_of(checked, today))


def members_in(segment: Segment | int | dict[str, Any], at: datetime | None = None) -> QuerySet[Any]:
    """Ids (`.values("pk")`) of the members of a segment, its id, or of plain rules: a subquery, never a list.

    Raises WrongRules; NotFound for an unknown id.
    """
    if isinstance(segment, int):
        found = Segment.objects.filter(pk=segment).first()
        if found is None:
            raise NotFound(_("There is no such segment."))
        segment = found
    rules = segment.rules if isinstance(segment, Segment) else segment
    return members_matching(rules, at).order_by().values("pk")


def segment_count(rules: Segment | int | dict[str, Any], at: datetime | None = None) -> int:
    """How many members the rules find now. One statement."""
    return members_in(rules, at).count()


def segment_sample(rules: dict[str, Any], *, limit: int = 20) -> list[Member]:
    """A few members of the rules, the newest, with their figures."""
    newest = members_matching(rules).select_related("stats").order_by("-pk")
    return list(newest[: min(limit, 20)])
