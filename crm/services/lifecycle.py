"""The lifecycle of all members at once: what they bought, what the models say of it, who changed stage.

What counts as a purchase, and how to compute each figure by hand, stands in docs/lifecycle.md.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from core import clock
from crm.errors import NotEnoughBuyers
from crm.lifecycle import (
    FEWEST_REPEATERS,
    check_definition,
    rfm_params,
    rfm_sql,
    stage_params,
    stage_sql,
)
from crm.models import LifeDefinition, LifeFit, LifeMove, MemberStats

NIGHT_HOUR = 3  # by the shop's clock: yesterday is complete and nobody is looking

SORT_MEMORY = "64MB"
"""A million members are sorted in memory with it, on disk with what a request may use."""

# The shop's days on which something was paid that was not refunded in full, with what was kept of it.
DAYS = """
CREATE TEMP TABLE life_days ON COMMIT DROP AS
SELECT member_id, day, sum(kept)::bigint AS fen FROM (
    SELECT paid.member_id, (paid.at AT TIME ZONE %s)::date AS day, paid.amount_fen - COALESCE(back.fen, 0) AS kept
    FROM crm_activity paid LEFT JOIN (
        SELECT member_id, subject, sum(amount_fen) AS fen FROM crm_activity WHERE kind = 'refunded' GROUP BY 1, 2
    ) back ON back.member_id = paid.member_id AND back.subject = paid.subject
    WHERE paid.kind = 'paid' AND paid.at < %s
) orders WHERE kept > 0 GROUP BY 1, 2
"""

# The sufficient statistics of both models, a row a member.
NOW = """
CREATE TEMP TABLE life_now ON COMMIT DROP AS
SELECT member_id, (count(*) - 1)::int AS frequency, min(day) AS first_day, max(day) AS last_day,
       sum(fen)::bigint AS spent_fen, COALESCE(sum(fen) FILTER (WHERE day > first), 0)::bigint AS repeat_fen
FROM (SELECT member_id, day, fen, min(day) OVER (PARTITION BY member_id) AS first FROM life_days) days
GROUP BY member_id
"""

ENDS = """
SELECT percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY %s::date - last_day),
       percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY frequency + 1),
       percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY spent_fen) FROM life_now
"""

COLUMNS = (
    "member_id, frequency, first_day, last_day, spent_fen, repeat_fen, "
    "chance_bps, vigour_bps, orders_milli, value_fen, rfm, stage"
)

# What differs from the table. The scores of everybody drift from day to day with nothing happening: they are written
# again when they moved by a point, or by a twentieth: a quiet night was simulated to write a fifth of the rows. A
# stage is always judged by the fresh score.
CHANGES = f"""
CREATE TEMP TABLE life_changes ON COMMIT DROP AS
SELECT fresh.*, old.stage AS before FROM (
    SELECT bought.*, score.chance_bps, score.vigour_bps, score.orders_milli,
           round(score.orders_milli / 1000.0 * CASE WHEN bought.frequency = 0 THEN %s::float8
                 ELSE %s::float8 * (%s::float8 + bought.repeat_fen) / (%s::float8 * bought.frequency + %s::float8 - 1)
                 END)::bigint AS value_fen,
           {rfm_sql("bought")} AS rfm, score.stage
    FROM life_now bought
    JOIN (SELECT given.*, {stage_sql("given")} AS stage FROM life_scores given) score
        ON score.frequency = bought.frequency AND score.recency = bought.last_day - bought.first_day
        AND score.age = %s::date - bought.first_day
    JOIN crm_member person ON person.id = bought.member_id AND person.merged_into_id IS NULL
) fresh LEFT JOIN crm_memberlife old ON old.member_id = fresh.member_id
WHERE old.member_id IS NULL
   OR (old.frequency, old.first_day, old.last_day, old.spent_fen, old.repeat_fen, old.rfm, old.stage)
      IS DISTINCT FROM (fresh.frequency, fresh.first_day, fresh.last_day, fresh.spent_fen, fresh.repeat_fen,
                        fresh.rfm, fresh.stage)
   OR abs(old.vigour_bps - fresh.vigour_bps) >= 100 OR abs(old.chance_bps - fresh.chance_bps) >= 100
   OR abs(old.orders_milli - fresh.orders_milli) > GREATEST(10, old.orders_milli / 20)
   OR (old.value_fen IS NULL) <> (fresh.value_fen IS NULL)
   OR abs(old.value_fen - fresh.value_fen) > GREATEST(100, old.value_fen / 20)
"""  # noqa: S608  the sentences are ours

WRITE = f"""
INSERT INTO crm_memberlife AS life ({COLUMNS}, since, scored_on)
SELECT {COLUMNS}, %s::date, %s::date FROM life_changes
ON CONFLICT (member_id) DO UPDATE SET frequency = excluded.frequency, first_day = excluded.first_day,
    last_day = excluded.last_day, spent_fen = excluded.spent_fen, repeat_fen = excluded.repeat_fen,
    chance_bps = excluded.chance_bps, vigour_bps = excluded.vigour_bps, orders_milli = excluded.orders_milli,
    value_fen = excluded.value_fen, rfm = excluded.rfm, stage = excluded.stage, scored_on = excluded.scored_on,
    since = CASE WHEN life.stage = excluded.stage THEN life.since ELSE excluded.since END
"""  # noqa: S608

COUNT_MOVES = """
INSERT INTO crm_lifemove (day, cause, from_stage, to_stage, members_count)
SELECT %s::date, %s, before, after, count(*) FROM ({moved}) moved WHERE before <> after GROUP BY before, after
ON CONFLICT (day, cause, from_stage, to_stage)
    DO UPDATE SET members_count = crm_lifemove.members_count + excluded.members_count
"""
COUNT_CHANGES = COUNT_MOVES.format(
    moved="SELECT COALESCE(before, '') AS before, stage AS after FROM life_changes"
)


@dataclass(frozen=True)
class Refreshed:
    """What a run did: its fit, how many rows it wrote, how many it took away."""

    fit: LifeFit
    written: int
    gone: int


def refresh_due() -> Refreshed | None:
    """The nightly run when it is due: once a day after three, and at once where there has been none."""
    today = clock.today()
    newest = LifeFit.objects.order_by("-as_of").values_list("as_of", flat=True).first()
    if newest is not None and (newest >= today or clock.local(clock.now()).hour < NIGHT_HOUR):
        return None
    again = MemberStats.objects.filter(orders_count__gte=2)[:FEWEST_REPEATERS].count()
    if again < FEWEST_REPEATERS:
        return None
    try:
        return refresh_lives()
    except NotEnoughBuyers:  # two orders of one day, or refunded
        return None


@transaction.atomic
def refresh_lives() -> Refreshed:
    """Read everybody's purchases, fit the models, and write where each member stands today.

    Locks: runs wait for each other; other writers of memberlife wait while the rows are written. Idempotent on: the
    day and the facts. Raises NotEnoughBuyers and writes nothing then.
    """
    # NumPy and SciPy load here, in the process that runs this, and not where the services are imported.
    from crm.services import lifecycle_scores as scores

    today = clock.today()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('crm.lifecycle', 0))")
        cursor.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
        cursor.execute("DROP TABLE IF EXISTS life_days, life_now, life_scores, life_changes")
        cursor.execute(DAYS, [clock.zone().key, clock.day_start(today + dt.timedelta(days=1))])
        cursor.execute("ANALYZE life_days")
        cursor.execute(NOW)
        cursor.execute("ANALYZE life_now")
        fit = scores.fit_all(cursor, today)
        scores.write_scores(cursor, fit, today)
        definition = _current_definition()
        if definition.bands == LifeDefinition.QUANTILES:
            cursor.execute(ENDS, [today])
            definition.days_ends, definition.purchases_ends, definition.spend_ends_fen = cursor.fetchone()
            definition.save(update_fields=["days_ends", "purchases_ends", "spend_ends_fen"])
        # From here on no merge may take a row away unseen, or one of the moves would not be counted.
        cursor.execute("LOCK TABLE crm_memberlife IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            CHANGES,
            [
                *(_worth(fit)),
                *rfm_params(definition, today),
                *stage_params(definition),
                today,
            ],
        )
        cursor.execute(WRITE, [today, today])
        written = int(cursor.rowcount)
        cursor.execute(COUNT_CHANGES, [today, LifeMove.TIME])
        gone = _forget(cursor, "NOT EXISTS (SELECT FROM life_now n WHERE n.member_id = life.member_id)", [])
    fit.save()
    return Refreshed(fit, written, gone)


def _worth(fit: LifeFit) -> list[float | None]:
    """What CHANGES needs to say what a purchase of hers is worth; NULLs where the model does not."""
    if fit.p is None or fit.q is None or fit.v is None or fit.q <= 1:
        return [None] * 5
    return [fit.p * fit.v / (fit.q - 1), fit.p, fit.v, fit.p, fit.q]


def _current_definition() -> LifeDefinition:
    newest = LifeDefinition.objects.order_by("-pk").first()
    return newest or LifeDefinition.objects.create(created_at=clock.now())


def _forget(cursor: Any, condition: str, params: list[Any]) -> int:
    """Take rows away and count them as having left."""
    counted = COUNT_MOVES.format(moved="SELECT stage AS before, '' AS after FROM gone")
    cursor.execute(
        f"""
        WITH gone AS (DELETE FROM crm_memberlife life WHERE {condition} RETURNING life.stage), counted AS ({counted})
        SELECT count(*) FROM gone
        """,  # noqa: S608  the conditions stand in this file
        [*params, clock.today(), LifeMove.TIME],
    )
    return int(cursor.fetchone()[0])


@transaction.atomic
def forget_lives(*, member_ids: Iterable[int]) -> int:
    """Take members out of the lifecycle (merged into another: the next run counts the living one). Returns how many.

    Locks: memberlife. Idempotent on: the member.
    """
    with connection.cursor() as cursor:
        return _forget(cursor, "life.member_id = ANY(%s)", [list(member_ids)])


@transaction.atomic
def define_stages(
    *,
    cooling_below_bps: int,
    dormant_below_bps: int,
    lost_below_bps: int,
    bands: str = LifeDefinition.QUANTILES,
    days_ends: list[int] | None = None,
    purchases_ends: list[int] | None = None,
    spend_ends_fen: list[int] | None = None,
    note: str = "",
    by_id: int | None = None,
) -> LifeDefinition:
    """A new version of what the stages mean, applied at once to everybody; the same as the newest is no new version.

    Ends that are not given stay; with quantiles none is taken, the next run counts them.

    Locks: as `refresh_lives`. Raises WrongDefinition and writes nothing then.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('crm.lifecycle', 0))")
        before = LifeDefinition.objects.order_by("-pk").first() or LifeDefinition()
        is_fixed = bands == LifeDefinition.FIXED
        definition = LifeDefinition(
            cooling_below_bps=cooling_below_bps,
            dormant_below_bps=dormant_below_bps,
            lost_below_bps=lost_below_bps,
            bands=bands,
            days_ends=(is_fixed and days_ends) or before.days_ends,
            purchases_ends=(is_fixed and purchases_ends) or before.purchases_ends,
            spend_ends_fen=(is_fixed and spend_ends_fen) or before.spend_ends_fen,
            note=note[:200],
            created_at=clock.now(),
            created_by_id=by_id,
        )
        check_definition(definition)
        if before.pk and _meaning(before) == _meaning(definition):
            return before
        cursor.execute("LOCK TABLE crm_memberlife IN SHARE ROW EXCLUSIVE MODE")
        definition.save()
        today, stage, rfm = clock.today(), stage_sql("life"), rfm_sql("life")
        levels, ends = stage_params(definition), rfm_params(definition, today)
        moved = f"SELECT life.stage AS before, {stage} AS after FROM crm_memberlife life"  # noqa: S608
        cursor.execute(COUNT_MOVES.format(moved=moved), [today, LifeMove.RULES, *levels])
        cursor.execute(
            f"""
            UPDATE crm_memberlife life SET stage = fresh.stage, rfm = fresh.rfm,
                since = CASE WHEN life.stage = fresh.stage THEN life.since ELSE %s::date END
            FROM (SELECT life.member_id, {stage} AS stage, {rfm} AS rfm FROM crm_memberlife life) fresh
            WHERE fresh.member_id = life.member_id AND (life.stage, life.rfm) <> (fresh.stage, fresh.rfm)
            """,  # noqa: S608
            [today, *levels, *ends],
        )
    return definition


def _meaning(definition: LifeDefinition) -> tuple[Any, ...]:
    ends = (definition.days_ends, definition.purchases_ends, definition.spend_ends_fen)
    fixed = ends if definition.bands == LifeDefinition.FIXED else ()
    return (*stage_params(definition), definition.bands, *fixed)
