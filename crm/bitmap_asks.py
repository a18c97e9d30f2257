"""What bitmaps do not know, asked of the tables when a rule is counted: one statement a condition, over an index.

Facts are asked of the timeline. Rows are asked of tables that change too often for bitmaps (balances, chances), or that
the rooms above fill (groups), or that hold anything (custom fields). Who was merged stands in groups under her old
number; the living member is found behind it.
"""

import datetime as dt
from typing import Any

from django.db import connection
from pyroaring import BitMap

from core import clock
from crm.bitmaps import Asked, Facts

QUESTIONS = {
    "balance": """
        SELECT owner_id AS member_id FROM core_ledgeraccount WHERE kind = ANY(%s) AND owner_id > 0
        GROUP BY owner_id HAVING sum(balance) BETWEEN %s AND %s
    """,
    "chance": "SELECT member_id FROM crm_memberlife WHERE chance_bps BETWEEN %s AND %s",
    "aipl": "SELECT member_id FROM crm_memberaipl WHERE step = ANY(%s)",
    "guide": """
        SELECT i.member_id FROM crm_staff g JOIN crm_contact c ON c.userid = g.work_userid AND c.added_at IS NOT NULL
            AND (c.removed_at IS NULL OR c.added_at > c.removed_at)
        JOIN crm_identity i ON i.id = c.identity_id WHERE g.id = ANY(%s)
    """,
    "store": """
        SELECT i.member_id FROM crm_staff g JOIN crm_contact c ON c.userid = g.work_userid AND c.added_at IS NOT NULL
            AND (c.removed_at IS NULL OR c.added_at > c.removed_at)
        JOIN crm_identity i ON i.id = c.identity_id WHERE g.store_id = ANY(%s)
        UNION ALL
        SELECT m.id FROM crm_channelcode k JOIN crm_member m ON m.source_id = k.id
        LEFT JOIN crm_staff g ON g.id = k.staff_id WHERE k.store_id = ANY(%s) OR g.store_id = ANY(%s)
    """,
    "group": """
        SELECT COALESCE(m.merged_into_id, m.id) AS member_id FROM crm_membergroup r
        JOIN crm_member m ON m.id = r.member_id WHERE r.group_id = ANY(%s)
    """,
    "device": "SELECT member_id FROM crm_membertraits WHERE device = ANY(%s)",
    "keeps_day": "SELECT member_id FROM crm_memberday WHERE kind = %s",
    "day_returns": """
        SELECT member_id FROM crm_memberday WHERE kind = %s AND month * 100 + day
            + CASE WHEN calendar = 'solar' THEN 10000 WHEN is_leap THEN 30000 ELSE 20000 END = ANY(%s)
    """,
    "field_returns": """
        SELECT member_id FROM crm_memberfieldvalue WHERE field_id = %s AND date IS NOT NULL
          AND (extract(month FROM date) * 100 + extract(day FROM date))::int = ANY(%s)
    """,
    "region": "SELECT member_id FROM crm_membertraits WHERE province = ANY(%s)",
    "field": "SELECT member_id FROM crm_memberfieldvalue WHERE field_id = %s",
    "field_words": "SELECT member_id FROM crm_memberfieldvalue WHERE field_id = %s AND text = ANY(%s)",
    "field_numbers": "SELECT member_id FROM crm_memberfieldvalue WHERE field_id = %s AND number BETWEEN %s AND %s",
    "field_days": """
        SELECT member_id FROM crm_memberfieldvalue WHERE field_id = %s AND date BETWEEN %s::date AND %s::date
    """,
}
"""Question → the statement that gives the members; `crm.bitmaps.plan_of_condition` gives the parameters."""


def who(leaf: Asked) -> BitMap:
    """The members of whom it is so, merged ones perhaps among them. One statement."""
    sql, params = sql_of(leaf)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT array_agg(member_id) FROM ({sql}) AS found", params)  # noqa: S608  the names stand in the source
        return BitMap(cursor.fetchone()[0] or ())


def times_of(leaf: Asked, member_id: int) -> int:
    """How often it is so of one member: how many such facts she has, or 0 or 1. One statement."""
    if isinstance(leaf, Facts):
        conditions, params = _conditions(leaf)
        sql = f"SELECT count(*) FROM crm_activity WHERE member_id = %s AND {conditions}"  # noqa: S608  the names stand in the source
        params = [member_id, *params]
    else:
        inner, params = sql_of(leaf)
        sql = f"SELECT count(*) FROM (SELECT FROM ({inner}) AS found WHERE member_id = %s LIMIT 1) AS hers"  # noqa: S608  the names stand in the source
        params = [*params, member_id]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.fetchone()[0])


def sql_of(leaf: Asked) -> tuple[str, list[Any]]:
    """The statement that gives the members (member_id, each once or more often), and its parameters."""
    if not isinstance(leaf, Facts):
        return QUESTIONS[leaf.question], [list(one) if isinstance(one, tuple) else one for one in leaf.params]
    conditions, params = _conditions(leaf)
    return (
        f"SELECT member_id FROM crm_activity WHERE {conditions} GROUP BY member_id HAVING count(*) >= %s",  # noqa: S608  the names stand in the source
        [*params, leaf.times],
    )


def _conditions(facts: Facts) -> tuple[str, list[Any]]:
    conditions = "kind = %s AND at >= %s AND at < %s"
    params: list[Any] = [
        facts.kind,
        clock.day_start(facts.first),
        clock.day_start(facts.last + dt.timedelta(days=1)),
    ]
    if facts.subjects:
        conditions += " AND subject = ANY(%s)"
        params.append(list(facts.subjects))
    return conditions, params
