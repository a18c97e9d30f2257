"""How near members are to the brand: everybody's counts and moves, and what another definition would move."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, QuerySet, Sum

from core import clock
from crm.aipl import EVERYBODY, check_aipl, judged_params, judged_sql
from crm.models import AiplDefinition, AiplMove, LifeMove, MemberAipl
from crm.models.aipl import STEPS


def aipl_in_force() -> AiplDefinition:
    """The newest version; an unsaved one with the house's values before the first run."""
    return AiplDefinition.objects.order_by("-pk").first() or AiplDefinition()


def aipl_counts() -> dict[str, int]:
    """Members by step, all four in order."""
    counted = dict(MemberAipl.objects.values_list("step").annotate(Count("pk")))
    return {step: counted.get(step, 0) for step, _label in STEPS}


def aipl_moves(
    *, since: dt.date, until: dt.date | None = None, causes: Collection[str] = (LifeMove.TIME,)
) -> dict[tuple[str, str], int]:
    """(from, to) → how many members moved, both days included (None: until now), by what they did or did not do, or by
    `causes`; "" is outside.
    """
    rows = AiplMove.objects.filter(day__gte=since, day__lte=until or dt.date.max, cause__in=causes)
    moved = rows.values_list("from_step", "to_step").annotate(Sum("members_count"))
    return {(before, after): count for before, after, count in moved}


def aipl_days(*, since: dt.date, until: dt.date) -> list[dict[str, int | dt.date]]:
    """One row a day with moves: {"day", "nearer", "farther", "came"}, the newest first; for the daily table."""
    ranks = {"": -1, **{step: rank for rank, (step, _label) in enumerate(STEPS)}}
    days: dict[dt.date, dict[str, int | dt.date]] = {}
    rows = AiplMove.objects.filter(day__gte=since, day__lte=until, cause=LifeMove.TIME).order_by("-day")
    for day, before, after, count in rows.values_list("day", "from_step", "to_step", "members_count"):
        line = days.setdefault(day, {"day": day, "came": 0, "nearer": 0, "farther": 0})
        word = "came" if not before else "nearer" if ranks[after] > ranks[before] else "farther"
        line[word] += count  # type: ignore[operator]  # the day alone is no number
    return list(days.values())


def members_in_step(step: str) -> QuerySet[MemberAipl, int]:
    """Ids; a subquery."""
    return MemberAipl.objects.filter(step=step).values_list("pk", flat=True)


JUDGED_BEFOREHAND = 100_000
"""So many members a preview judges; of more it takes every second, third … one, so that an operator need not wait."""


@dataclass(frozen=True)
class Preview:
    """(from, to) → how many members would move; "" is outside. `is_whole`: everybody was judged, else it is about."""

    moves: dict[tuple[str, str], int]
    is_whole: bool


def moves_of_aipl(rule: AiplDefinition) -> Preview:
    """How many members a definition would move if it were in force now. Raises WrongDefinition."""
    check_aipl(rule)
    step = max(1, -(-MemberAipl.objects.count() // JUDGED_BEFOREHAND))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT COALESCE(before, '') AS before, step, count(*) FROM (
                WITH asked AS MATERIALIZED ({EVERYBODY} WHERE s.member_id %% %s = 0)
                SELECT * FROM ({judged_sql("asked")}) judged
            ) moved WHERE before IS DISTINCT FROM step GROUP BY 1, 2
            """,  # noqa: S608  the sentences are ours
            [step, *judged_params(rule, clock.today())],
        )
        moves = {(before, after): int(count) * step for before, after, count in cursor.fetchall()}
    return Preview(moves, step == 1)
