"""Writing the timeline. One statement writes facts, finds the living member behind a tombstone, and notes activity."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from core import clock
from crm.errors import WrongNote
from crm.models import Activity, MemberStats

VISIT_GAP = dt.timedelta(minutes=30)
LONGEST_NOTE = 500

# The member row is share-locked, so that a merge cannot slip between finding her and writing the fact.
WRITE = """
WITH given AS (
    SELECT * FROM unnest(%(members)s::bigint[], %(kinds)s::text[], %(moments)s::timestamptz[], %(subjects)s::text[],
                         %(amounts)s::bigint[], %(details)s::text[])
        AS given(member_id, kind, at, subject, amount_fen, details)
), living AS (
    SELECT id, COALESCE(merged_into_id, id) AS living_id FROM crm_member
    WHERE id = ANY(%(members)s::bigint[]) ORDER BY id FOR KEY SHARE
), facts AS (
    INSERT INTO crm_activity (member_id, kind, at, subject, amount_fen, data)
    SELECT living_id, kind, at, subject, amount_fen, details::jsonb
    FROM given JOIN living ON living.id = given.member_id
    RETURNING id
), seen AS (
    SELECT living_id, max(at) FILTER (WHERE kind = ANY(%(own)s::text[])) AS at,
           count(*) FILTER (WHERE kind = 'visited') AS visits, max(at) FILTER (WHERE kind = 'visited') AS visited_at
    FROM given JOIN living ON living.id = given.member_id
    WHERE kind = ANY(%(own)s::text[]) GROUP BY living_id
), active AS (
    SELECT s.member_id, seen.at, seen.visits, seen.visited_at
    FROM crm_memberstats s JOIN seen ON seen.living_id = s.member_id
    WHERE s.last_active_at IS NULL OR s.last_active_at < seen.at OR seen.visits > 0
    ORDER BY s.member_id FOR NO KEY UPDATE OF s
), noted AS (
    UPDATE crm_memberstats s SET last_active_at = GREATEST(s.last_active_at, active.at),
        visits_count = s.visits_count + active.visits, last_visit_at = GREATEST(s.last_visit_at, active.visited_at)
    FROM active WHERE s.member_id = active.member_id
)
SELECT (SELECT count(*) FROM facts), (
    SELECT array_agg(living_id) FROM seen
    WHERE NOT EXISTS (SELECT FROM crm_memberstats s WHERE s.member_id = seen.living_id)
)
"""

# Whoever was merged a moment ago and is not any more got her figures after the statement above began.
NOTE_LATE = """
UPDATE crm_memberstats s SET last_active_at = GREATEST(s.last_active_at, late.at),
    visits_count = s.visits_count + late.visits, last_visit_at = GREATEST(s.last_visit_at, late.visited_at)
FROM (
    SELECT COALESCE(m.merged_into_id, m.id) AS living_id, max(at) AS at,
           count(*) FILTER (WHERE kind = 'visited') AS visits, max(at) FILTER (WHERE kind = 'visited') AS visited_at
    FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS given(member_id, kind, at)
    JOIN crm_member m ON m.id = given.member_id WHERE kind = ANY(%s::text[]) GROUP BY 1
) late
WHERE s.member_id = late.living_id AND s.member_id = ANY(%s::bigint[])
"""


@transaction.atomic
def record_activity(
    *,
    member_id: int,
    kind: str,
    at: datetime,
    subject: str = "",
    amount_fen: int = 0,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append one fact to the member's timeline; what she does herself moves `last_active_at`, a visit is counted.

    Locks: member (key share), memberstats. Idempotency is the caller's.
    """
    record_activities(
        [
            {
                "member_id": member_id,
                "kind": kind,
                "at": at,
                "subject": subject,
                "amount_fen": amount_fen,
                "data": data or {},
            }
        ]
    )


@transaction.atomic
def record_activities(rows: Iterable[Mapping[str, Any]]) -> int:
    """Append many facts: rows of {member_id, kind, at, subject="", amount_fen=0, data={}}; returns how many.

    Rows of unknown members are left out. Locks: members (key share), memberstats, by key.
    """
    facts = list(rows)
    if not facts:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE,
            {
                "members": [fact["member_id"] for fact in facts],
                "kinds": [fact["kind"] for fact in facts],
                "moments": [fact["at"] for fact in facts],
                "subjects": [str(fact.get("subject", ""))[:80] for fact in facts],
                "amounts": [fact.get("amount_fen", 0) for fact in facts],
                "details": [json.dumps(fact.get("data") or {}) for fact in facts],
                "own": sorted(Activity.OWN_DOING),
            },
        )
        written, late = cursor.fetchone()
        if late:
            cursor.execute(
                NOTE_LATE,
                [
                    [fact["member_id"] for fact in facts],
                    [fact["kind"] for fact in facts],
                    [fact["at"] for fact in facts],
                    sorted(Activity.OWN_DOING),
                    late,
                ],
            )
        return int(written)


@transaction.atomic
def record_visit(*, member_id: int, at: datetime | None = None) -> bool:
    """Note that she is in the shop, at most once in 30 minutes; True when this was a new visit.

    Idempotent on: (member, 30 minutes), by a guarded update, so two pages opened at once are one visit.
    """
    moment = at or clock.now()
    recently = moment - VISIT_GAP
    first = MemberStats.objects.filter(
        Q(last_visit_at__isnull=True) | Q(last_visit_at__lt=recently), pk=member_id
    ).update(last_visit_at=moment)
    if first:
        record_activity(member_id=member_id, kind=Activity.VISITED, at=moment)
    return bool(first)


@transaction.atomic
def prepare_timeline(*, since: dt.date, until: dt.date) -> int:
    """Make the monthly partitions from one day's month to another's; returns how many were missing.

    Called monthly for the months ahead, and by imports for the years behind. Idempotent on: the month.
    """
    months = (until.year - since.year) * 12 + until.month - since.month + 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT crm_make_activity_partitions(%s, %s)", [since, max(months, 0)])
        return int(cursor.fetchone()[0])


def prepare_months_ahead(months: int = 3) -> int:
    """This month's partition and those of the next `months`."""
    today = clock.today()
    return prepare_timeline(since=today - dt.timedelta(days=3), until=today + dt.timedelta(days=31 * months))


@transaction.atomic
def note_member(*, member_id: int, text: str, by: str) -> None:
    """Keep what staff know of her as a dated fact; `by` says who ("staff:3"). Raises WrongNote."""
    words = " ".join(text.split())
    if not words or len(words) > LONGEST_NOTE:
        raise WrongNote(_("A note has 1 to %(most)d characters.") % {"most": LONGEST_NOTE})
    record_activity(
        member_id=member_id, kind=Activity.NOTED, at=clock.now(), subject=by, data={"text": words}
    )
