"""Booking touches: the one place where a member's budget is spent."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from core import clock
from core.locks import advisory_lock
from crm.models import Activity, Member, Touch
from crm.queries.touch import with_touch_verdict


@transaction.atomic
def book_touches(
    *,
    origin: str,
    members: QuerySet[Any] | None = None,
    member_ids: Iterable[int] | None = None,
    purpose: str = Touch.MARKETING,
    channel: str = "",
    at: datetime | None = None,
    account_id: int | None = None,
) -> int:
    """Book one touch for each of the members who may get it at `at`; returns how many were booked.

    `account_id`: by which account it goes; marketing must be welcome there, or, without one, wherever she is reached.

    Who may not is kept with the reason (verdict skip or defer) and booked when a later call allows it. Ask
    `queries.touched_member_ids(origin)` who was booked. Locks: the house's budget (advisory), so that two broadcasts
    at once cannot both take a member's last touch; memberstats by key. Idempotent on: (origin, member).
    """
    moment = at or clock.now()
    if purpose == Touch.MARKETING:
        advisory_lock("touch-budget")
    if members is None:
        members = Member.objects.filter(pk__in=list(member_ids or []))
    judged: Any = with_touch_verdict(members, purpose=purpose, at=moment, account_id=account_id)
    already = Touch.objects.filter(origin=origin, answer=Touch.SENT).values("member_id")
    verdicts = (
        judged.exclude(merged_into__isnull=False)
        .exclude(pk__in=already)
        .values_list("pk", "touch_answer", "touch_reason")
    )
    sql, params = verdicts.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pond.notes_itself', 'on', true)")  # as `logged`
        cursor.execute(
            f"""
            WITH verdicts(member_id, answer, reason) AS ({sql}), booked AS (
                INSERT INTO crm_touch AS mine (member_id, purpose, channel, origin, answer, reason, at)
                SELECT member_id, %s, %s, %s, answer, reason, %s::timestamptz FROM verdicts ORDER BY member_id
                ON CONFLICT (origin, member_id) DO UPDATE
                    SET answer = excluded.answer, reason = excluded.reason, at = excluded.at
                    WHERE mine.answer <> 'send'
                RETURNING member_id, answer
            ), sent AS (
                SELECT member_id FROM booked WHERE answer = 'send'
            ), facts AS (
                INSERT INTO crm_activity (member_id, kind, at, subject, amount_fen, data)
                SELECT member_id, %s, %s::timestamptz, %s, 0, '{{}}' FROM sent
            ), locked AS (
                SELECT member_id FROM crm_memberstats WHERE member_id IN (SELECT member_id FROM sent)
                ORDER BY member_id FOR NO KEY UPDATE
            ), noted AS (
                UPDATE crm_memberstats stats SET last_touch_at = GREATEST(last_touch_at, %s::timestamptz)
                FROM locked WHERE stats.member_id = locked.member_id
            ), logged AS (
                INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(member_id) FROM locked HAVING count(*) > 0
            )
            SELECT count(*) FROM sent
            """,  # noqa: S608  the inner statement is the ORM's, with its parameters apart
            [*params, purpose, channel, origin, moment, Activity.TOUCHED, moment, origin, moment],
        )
        sent = int(cursor.fetchone()[0])
        cursor.execute("SELECT set_config('pond.notes_itself', 'off', true)")
        return sent


@transaction.atomic
def release_touches(*, origin: str, member_ids: Iterable[int] | None = None) -> int:
    """Give booked touches back (a broadcast cancelled before they left); returns how many.

    The `touched` facts of the timeline go with them: nothing happened. Idempotent.
    """
    booked = Touch.objects.filter(origin=origin, answer=Touch.SENT)
    if member_ids is not None:
        booked = booked.filter(member__in=list(member_ids))
    ids = list(booked.values_list("member_id", flat=True))
    Activity.objects.filter(kind=Activity.TOUCHED, subject=origin, member__in=ids).delete()
    return booked.delete()[0]
