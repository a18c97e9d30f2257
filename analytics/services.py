"""Counting the days: today and yesterday every time, others when facts of them arrived or their turn comes."""

from collections.abc import Iterable
from datetime import date, timedelta

from django.db import connection, transaction

from analytics.models import DayFigures, Watermark
from core import clock
from core.locks import try_advisory_lock

DAYS_KEPT = 400
IN_TURN = 3  # old days counted again per round: whatever arrived late is found within hours

# One statement counts any set of days from the facts. Orders count by their own moments, so that imported history
# (which has no visits) is in the figures too.
COUNT = """
    WITH wanted AS (
        SELECT day, day::timestamp AT TIME ZONE %(zone)s AS since, (day + 1)::timestamp AT TIME ZONE %(zone)s AS until
        FROM unnest(%(days)s::date[]) AS day
    ), facts AS (
        SELECT w.day,
            count(*) FILTER (WHERE a.kind = 'followed') AS followed,
            count(*) FILTER (WHERE a.kind = 'unfollowed') AS unfollowed,
            count(DISTINCT a.member_id) FILTER (WHERE a.kind IN ('visited', 'viewed_product')) AS visitors,
            count(*) FILTER (WHERE a.kind = 'visited') AS visits,
            count(*) FILTER (WHERE a.kind = 'touched') AS touched,
            count(*) FILTER (WHERE a.kind = 'opened') AS opened
        FROM wanted w JOIN crm_activity a ON a.at >= w.since AND a.at < w.until
            AND a.kind IN ('followed', 'unfollowed', 'visited', 'viewed_product', 'touched', 'opened')
        WHERE a.at >= %(first)s AND a.at < %(last)s
        GROUP BY w.day
    ), placed AS (
        SELECT w.day, count(*) AS orders FROM wanted w
        JOIN shop_order o ON o.placed_at >= w.since AND o.placed_at < w.until GROUP BY w.day
    ), paid AS (
        SELECT w.day, count(*) AS paid_orders, sum(o.paid_fen) AS paid_fen FROM wanted w
        JOIN shop_order o ON o.paid_at >= w.since AND o.paid_at < w.until GROUP BY w.day
    ), refunded AS (
        SELECT w.day, sum(o.refunded_fen) AS refunded_fen FROM wanted w
        JOIN shop_order o ON o.refunded_at >= w.since AND o.refunded_at < w.until GROUP BY w.day
    ), born AS (
        SELECT w.day, count(*) AS members FROM wanted w
        JOIN crm_member m ON m.created_at >= w.since AND m.created_at < w.until WHERE m.merged_into_id IS NULL
        GROUP BY w.day
    )
    SELECT w.day, coalesce(followed, 0), coalesce(unfollowed, 0), coalesce(members, 0), coalesce(visitors, 0),
        coalesce(visits, 0), coalesce(orders, 0), coalesce(paid_orders, 0), coalesce(paid_fen, 0)::bigint,
        coalesce(refunded_fen, 0)::bigint, coalesce(touched, 0), coalesce(opened, 0)
    FROM wanted w LEFT JOIN facts USING (day) LEFT JOIN placed USING (day) LEFT JOIN paid USING (day)
    LEFT JOIN refunded USING (day) LEFT JOIN born USING (day)
"""
COLUMNS = (
    "day", "followed", "unfollowed", "members", "visitors", "visits", "orders", "paid_orders", "paid_fen",
    "refunded_fen", "touched", "opened",
)  # fmt: skip


def count_days(days: Iterable[date]) -> list[DayFigures]:
    """The figures of these days from the facts, not saved. One statement."""
    wanted = sorted(set(days))
    if not wanted:
        return []
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            COUNT,
            {
                "zone": str(clock.zone()),
                "days": wanted,
                "first": clock.day_start(wanted[0]),
                "last": clock.day_start(wanted[-1] + timedelta(days=1)),
            },
        )
        return [
            DayFigures(**dict(zip(COLUMNS, row, strict=True)), counted_at=moment) for row in cursor.fetchall()
        ]


@transaction.atomic
def refresh_figures() -> int:
    """Count what may have changed; returns the days counted.

    Locks: one refresh at a time (advisory). Idempotent: a day counted twice has the same figures.
    """
    if not try_advisory_lock("analytics.figures"):
        return 0
    today = clock.today()
    first = today - timedelta(days=DAYS_KEPT - 1)
    known = set(DayFigures.objects.filter(day__gte=first).values_list("day", flat=True))
    all_days = {first + timedelta(days=number) for number in range(DAYS_KEPT)}
    in_turn = DayFigures.objects.filter(day__gte=first).order_by("counted_at", "day")
    days = {
        today,
        today - timedelta(days=1),
        *(all_days - known),
        *in_turn.values_list("day", flat=True)[:IN_TURN],
        *(day for day in _days_of_new_orders() if day >= first),
    }
    return _store(days)


@transaction.atomic
def rebuild_figures(*, days: int = DAYS_KEPT) -> int:
    """Count everything again, for example after a big import."""
    today = clock.today()
    return _store({today - timedelta(days=number) for number in range(days)})


def _store(days: Iterable[date]) -> int:
    counted = count_days(days)
    DayFigures.objects.bulk_create(
        counted,
        update_conflicts=True,
        unique_fields=["day"],
        update_fields=[*COLUMNS[1:], "counted_at"],
    )
    return len(counted)


def _days_of_new_orders() -> list[date]:
    """Days that orders written since the last round belong to: an import brings old ones."""
    Watermark.objects.get_or_create(name="shop_order")
    mark = Watermark.objects.select_for_update().get(name="shop_order")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH fresh AS (SELECT id, placed_at, paid_at, refunded_at FROM shop_order WHERE id > %(last)s)
            SELECT moment.day, (SELECT max(id) FROM fresh) FROM (
                SELECT (placed_at AT TIME ZONE %(zone)s)::date AS day FROM fresh
                UNION SELECT (paid_at AT TIME ZONE %(zone)s)::date FROM fresh WHERE paid_at IS NOT NULL
                UNION SELECT (refunded_at AT TIME ZONE %(zone)s)::date FROM fresh WHERE refunded_at IS NOT NULL
            ) moment
            """,
            {"last": mark.last_id, "zone": str(clock.zone())},
        )
        found = cursor.fetchall()
    if found:
        # Ids are given before they are committed: look a little further back next time.
        Watermark.objects.filter(pk=mark.pk).update(last_id=max(mark.last_id, found[0][1] - 200))
    return [day for day, _last in found]
