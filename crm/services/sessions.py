"""Ending a member's logins: the cookies carry a version, and only the current one opens."""

from django.db import transaction
from django.db.models import F

from crm.models import Member


@transaction.atomic
def end_sessions(*, member_ids: list[int]) -> int:
    """Make every login cookie of these members worthless at once; returns how many members."""
    return Member.objects.filter(pk__in=member_ids).update(session_version=F("session_version") + 1)
