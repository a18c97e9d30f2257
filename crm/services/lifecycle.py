"""The lifecycle of all members at once: what they bought, what the models say of it, who changed stage.

What counts as a purchase, and how to compute each figure by hand, stands in docs/lifecycle.md; the statements of a run
in `lifecycle_sql`. The models are fitted every night. While they say what the fit in force says, only they are judged
of whom something is new or whose day has come; everybody is by a fit that says something else, by a new definition, and
once a week.
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
from crm.services import lifecycle_sql as sql
from crm.services.moves import LIFE

NIGHT_HOUR = 3  # by the shop's clock: yesterday is complete and nobody is looking

SORT_MEMORY = "64MB"
"""A million members are sorted in memory with it, on disk with what a request may use."""

WHOLE_EVERY = dt.timedelta(days=7)

COUNT_CHANGES = LIFE.counting("SELECT COALESCE(before, '') AS before, stage AS after FROM life_changes")


@dataclass(frozen=True)
class Refreshed:
    """What a run did: its fit, how many members it judged, how many rows it wrote, how many it took away."""

    fit: LifeFit
    judged: int
    written: int
    gone: int


def refresh_due() -> Refreshed | None:
    """The nightly run when it is due: once a day after three, and at once where there has been none."""
    today = clock.today()
    newest = LifeFit.objects.order_by("-as_of", "-pk").first()
    counted_on = newest and (newest.counted_on or newest.as_of)
    if counted_on and (counted_on >= today or clock.local(clock.now()).hour < NIGHT_HOUR):
        return None
    again = MemberStats.objects.filter(orders_count__gte=2)[:FEWEST_REPEATERS].count()
    if again < FEWEST_REPEATERS:
        return None
    try:
        return refresh_lives(whole=False)
    except NotEnoughBuyers:  # two orders of one day, or refunded
        return None


@transaction.atomic
def refresh_lives(*, whole: bool = True) -> Refreshed:
    """Read purchases and write where members stand today: everybody's by a new fit of the models, or, where not asked
    for the `whole` and nothing calls for it, of those of whom something is new or whose day has come, by the last fit.
    What is written then is what judging everybody by that fit would write.

    Locks: runs wait for each other; other writers of memberlife wait while the rows are written. Idempotent on: the
    day and the facts. Raises NotEnoughBuyers and writes nothing then.
    """
    # NumPy and SciPy load here, in the process that runs this, and not where the services are imported.
    from crm.services import lifecycle_scores as scores

    today = clock.today()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('crm.lifecycle', 0))")
        cursor.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
        definition = _current_definition()
        fit = None if whole else _fit_in_force(definition, today)
        if fit:
            _read_purchases(cursor, today, sql.CHANGED, among="life_who")
            if not scores.still_right(cursor, fit, today, stage_params(definition)):
                fit = None
        whole = fit is None
        if fit is None:
            _read_purchases(cursor, today, sql.EVERYBODY)
            fit = scores.fit_all(cursor, today)
            fit.definition = definition
        _count_ends(cursor, definition, today, sql.LIVING if whole else sql.STANDING)
        # From here on no merge may take a row away unseen, or one of the moves would not be counted.
        cursor.execute("LOCK TABLE crm_memberlife IN SHARE ROW EXCLUSIVE MODE")
        if not whole:
            cursor.execute(sql.DUE, [*rfm_params(definition, today), today])
        cursor.execute("ANALYZE life_now")
        judged = scores.write_scores(cursor, fit, today, stage_params(definition))
        given = [*_worth(fit), *rfm_params(definition, today), *stage_params(definition), today]
        cursor.execute(sql.changes_sql(sql.DIFFERS if whole else sql.DRIFTED), given)
        cursor.execute(sql.WRITE, [today, today])
        written = int(cursor.rowcount)
        cursor.execute(COUNT_CHANGES, [today, LifeMove.TIME])
        cursor.execute(sql.SEEN)
        gone = LIFE.forget(cursor, _WITHOUT_PURCHASES if whole else f"{_READ} AND {_WITHOUT_PURCHASES}", [])
    fit.counted_on = today
    fit.save(update_fields=["counted_on"] if fit.pk else None)
    return Refreshed(fit, judged, written, gone)


_READ = "EXISTS (SELECT FROM life_who w WHERE w.member_id = life.member_id)"
_WITHOUT_PURCHASES = "NOT EXISTS (SELECT FROM life_now n WHERE n.member_id = life.member_id)"


def _fit_in_force(definition: LifeDefinition, today: dt.date) -> LifeFit | None:
    """The last fit, unless everybody is to be judged anew: a week after it, and by another definition."""
    fit = LifeFit.objects.order_by("-as_of", "-pk").first()
    if fit is None or fit.definition_id != definition.pk or fit.as_of + WHOLE_EVERY <= today:
        return None
    return fit


def _read_purchases(cursor: Any, today: dt.date, who: str, *, among: str = "") -> None:
    """`life_who`, and of them (without `among`: of everybody) `life_days` and `life_now`."""
    cursor.execute("DROP TABLE IF EXISTS life_who, life_days, life_now, life_scores, life_changes")
    cursor.execute(who)
    cursor.execute("ANALYZE life_who")
    cursor.execute(sql.days_sql(among), [clock.zone().key, clock.day_start(today + dt.timedelta(days=1))])
    cursor.execute("ANALYZE life_days")
    cursor.execute(sql.NOW)
    cursor.execute("ANALYZE life_now")


def _count_ends(cursor: Any, definition: LifeDefinition, today: dt.date, rows: str) -> None:
    if definition.bands == LifeDefinition.QUANTILES:
        cursor.execute(sql.ends_sql(rows), [today])
        definition.days_ends, definition.purchases_ends, definition.spend_ends_fen = cursor.fetchone()
        definition.save(update_fields=["days_ends", "purchases_ends", "spend_ends_fen"])


def _worth(fit: LifeFit) -> list[float | None]:
    """What `changes_sql` needs to say what a purchase of hers is worth; NULLs where the model does not."""
    if fit.p is None or fit.q is None or fit.v is None or fit.q <= 1:
        return [None] * 5
    return [fit.p * fit.v / (fit.q - 1), fit.p, fit.v, fit.p, fit.q]


def _current_definition() -> LifeDefinition:
    newest = LifeDefinition.objects.order_by("-pk").first()
    return newest or LifeDefinition.objects.create(created_at=clock.now())


@transaction.atomic
def forget_lives(*, member_ids: Iterable[int]) -> int:
    """Take members out of the lifecycle (merged into another: the next run counts the living one). Returns how many.

    Locks: memberlife. Idempotent on: the member.
    """
    with connection.cursor() as cursor:
        return LIFE.forget(cursor, "life.member_id = ANY(%s)", [list(member_ids)])


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
        cursor.execute(LIFE.counting(moved), [today, LifeMove.RULES, *levels])
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
