"""How near members are to the brand: judged again when something is new of them or their time is over."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from core import clock
from core.wakeups import wake
from crm.aipl import CHANGED, EVERYBODY, check_aipl, judged_params, judged_sql
from crm.models import AiplDefinition, LifeMove
from crm.services.moves import AIPL

WHOLE_EVERY = dt.timedelta(days=7)
"""Everybody is judged so often: a platform may tell late of what somebody did before she was judged."""

SORT_MEMORY = "64MB"

CHANGES = f"CREATE TEMP TABLE aipl_changes ON COMMIT DROP AS {judged_sql('aipl_who')}"

WRITE = """
INSERT INTO crm_memberaipl AS life
    (member_id, step, since, due_on, seen_orders, seen_refunded_fen, seen_visits, seen_active_at)
SELECT member_id, step, CASE WHEN step = before THEN since_before ELSE %s::date END, due_on,
       orders_count, refunded_fen, visits_count, last_active_at FROM aipl_changes
ON CONFLICT (member_id) DO UPDATE SET step = excluded.step, since = excluded.since, due_on = excluded.due_on,
    seen_orders = excluded.seen_orders, seen_refunded_fen = excluded.seen_refunded_fen,
    seen_visits = excluded.seen_visits, seen_active_at = excluded.seen_active_at
WHERE (life.step, life.seen_orders, life.seen_refunded_fen, life.seen_visits)
        <> (excluded.step, excluded.seen_orders, excluded.seen_refunded_fen, excluded.seen_visits)
   OR life.due_on IS DISTINCT FROM excluded.due_on OR life.seen_active_at IS DISTINCT FROM excluded.seen_active_at
"""

COUNT_CHANGES = AIPL.counting("SELECT COALESCE(before, '') AS before, step AS after FROM aipl_changes")


@dataclass(frozen=True)
class AiplRun:
    """What a run did: how many were judged, how many rows it wrote, how many it took away."""

    judged: int
    written: int
    gone: int


@transaction.atomic
def refresh_aipl(*, whole: bool = False) -> AiplRun:
    """Judge whom something is new of, or everybody: by a new definition, once a week, and when asked (`whole`).

    A run is one transaction and everything it needs to know stands in rows: one that dies has done nothing, and the
    next does it. Locks: runs wait for each other; other writers of memberaipl wait. Idempotent on: the day and the
    facts.
    """
    today = clock.today()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('crm.aipl', 0))")
        cursor.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
        versions = list(AiplDefinition.objects.order_by("-pk")[:2])
        newest, *older = versions or [AiplDefinition.objects.create(created_at=clock.now())]
        # From here on no merge may take a row away unseen, or one of the moves would not be counted.
        cursor.execute("LOCK TABLE crm_memberaipl IN SHARE ROW EXCLUSIVE MODE")
        gone = AIPL.forget(cursor, _NO_MORE, [])
        if newest.counted_on is None and older and older[0].counted_on is not None:
            # What members did until now is theirs; only what is left is the new definition's doing.
            _judge(cursor, older[0], today, whole=False, cause=LifeMove.TIME)
        is_new = newest.counted_on is None
        whole = (
            whole or is_new or (newest.counted_on is not None and newest.counted_on + WHOLE_EVERY <= today)
        )
        cause = LifeMove.RULES if is_new and older else LifeMove.TIME
        judged, written = _judge(cursor, newest, today, whole=whole, cause=cause)
        if whole:
            AiplDefinition.objects.filter(pk=newest.pk).update(counted_on=today)
            cursor.execute("ANALYZE crm_memberaipl")
    return AiplRun(judged, written, gone)


_NO_MORE = """NOT EXISTS (SELECT FROM crm_memberstats s JOIN crm_member m ON m.id = s.member_id
    WHERE s.member_id = life.member_id AND m.merged_into_id IS NULL AND m.erased_at IS NULL)"""


def _judge(cursor: Any, rule: AiplDefinition, today: dt.date, *, whole: bool, cause: str) -> tuple[int, int]:
    cursor.execute("DROP TABLE IF EXISTS aipl_who, aipl_changes")
    who = EVERYBODY if whole else CHANGED
    cursor.execute(f"CREATE TEMP TABLE aipl_who ON COMMIT DROP AS {who}", [] if whole else [today])
    judged = int(cursor.rowcount)
    if not judged:
        return 0, 0
    cursor.execute("ANALYZE aipl_who")
    cursor.execute(CHANGES, judged_params(rule, today))
    cursor.execute(WRITE, [today])
    written = int(cursor.rowcount)
    cursor.execute(COUNT_CHANGES, [today, cause])
    return judged, written


@transaction.atomic
def forget_aipl(*, member_ids: Iterable[int]) -> int:
    """Take members out (merged into another, who is judged again by the next run). Returns how many.

    Locks: memberaipl. Idempotent on: the member.
    """
    with connection.cursor() as cursor:
        return AIPL.forget(cursor, "life.member_id = ANY(%s)", [list(member_ids)])


@transaction.atomic
def define_aipl(*, by_id: int | None = None, **meaning: Any) -> AiplDefinition:
    """A new version of what the steps mean; a worker judges everybody by it. The same as the newest is no new one.

    `meaning`: the columns of AiplDefinition that say what counts, and `note`. Locks: as `refresh_aipl`. Raises
    WrongDefinition and writes nothing then.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('crm.aipl', 0))")
    rule = AiplDefinition(**meaning, created_at=clock.now(), created_by_id=by_id)
    rule.note = rule.note[:200]
    check_aipl(rule)
    before = AiplDefinition.objects.order_by("-pk").first()
    if before is not None and meaning_of(before) == meaning_of(rule):
        return before
    rule.save()
    wake("crm.tasks.refresh_aipl", queue="bulk")
    return rule


def meaning_of(rule: AiplDefinition) -> dict[str, Any]:
    """The columns that say what counts, to be compared and to be changed."""
    return {
        "interest_kinds": sorted(rule.interest_kinds),
        "interest_facts": rule.interest_facts,
        "interest_days": rule.interest_days,
        "bought_days": rule.bought_days,
        "loyal_purchases": rule.loyal_purchases,
        "loyal_days": rule.loyal_days,
        "loyal_fen": rule.loyal_fen,
    }
