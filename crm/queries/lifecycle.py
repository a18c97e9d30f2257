"""Where members stand in their life as customers: one member's place, everybody's counts, moves and cells."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum

from crm.lifecycle import check_definition, stage_params, stage_sql
from crm.models import LifeDefinition, LifeFit, LifeMove, MemberLife
from crm.models.lifecycle import CELLS, STAGES, cell_scores, rfm_cell

STAGE_LABELS = dict(STAGES)


@dataclass(frozen=True)
class Life:
    """`chance_bps`: BG/NBD's P(alive); `vigour_bps`: what the stage is judged by. Both as of `scored_on`."""

    stage: str
    since: dt.date
    chance_bps: int
    vigour_bps: int
    orders_milli: int  # thousandths of purchases expected in the next 90 days
    value_fen: int | None  # expected to be paid in them; None where the model of amounts says nothing
    rfm: int
    cell: str
    frequency: int
    first_day: dt.date
    last_day: dt.date
    scored_on: dt.date

    @property
    def stage_label(self) -> str:
        return str(STAGE_LABELS[self.stage])

    @property
    def cell_label(self) -> str:
        return str(CELLS[self.cell][1])


def lifecycle_of(member_id: int) -> Life | None:
    """A member's place as of the last run; None before her first purchase was counted."""
    row = MemberLife.objects.filter(pk=member_id).first()
    if row is None:
        return None
    return Life(
        stage=row.stage,
        since=row.since,
        chance_bps=row.chance_bps,
        vigour_bps=row.vigour_bps,
        orders_milli=row.orders_milli,
        value_fen=row.value_fen,
        rfm=row.rfm,
        cell=rfm_cell(row.rfm),
        frequency=row.frequency,
        first_day=row.first_day,
        last_day=row.last_day,
        scored_on=row.scored_on,
    )


def members_in_stage(stage: str) -> QuerySet[MemberLife, int]:
    """Ids; a subquery."""
    return MemberLife.objects.filter(stage=stage).values_list("pk", flat=True)


def members_in_cell(cell: str) -> QuerySet[MemberLife, int]:
    """Ids of a named cell of RFM, or of a square of the grid ("54": recency 5, frequency 4). A subquery."""
    scores = cell_scores([cell])
    if len(cell) == 2 and set(cell) <= set("12345"):
        scores = [int(f"{cell}{amount}") for amount in range(1, 6)]
    return MemberLife.objects.filter(rfm__in=scores).values_list("pk", flat=True)


def stage_counts() -> dict[str, int]:
    """Members by stage, all five in order."""
    counted = dict(MemberLife.objects.values_list("stage").annotate(Count("pk")))
    return {stage: counted.get(stage, 0) for stage, _label in STAGES}


def stage_moves(*, since: dt.date, until: dt.date) -> dict[tuple[str, str], int]:
    """(from, to) → how many members moved by what they did, both days included; "" stands for outside."""
    rows = LifeMove.objects.filter(day__gte=since, day__lte=until, cause=LifeMove.TIME)
    moved = rows.values_list("from_stage", "to_stage").annotate(Sum("members_count"))
    return {(before, after): count for before, after, count in moved}


@dataclass(frozen=True)
class RfmSquare:
    """Members of one score (111 to 555) and what they paid and kept in all, in fen."""

    rfm: int
    members: int
    spent_fen: int


def rfm_squares() -> list[RfmSquare]:
    """At most 125 rows."""
    rows = MemberLife.objects.values("rfm").annotate(members=Count("pk"), spent=Sum("spent_fen"))
    return [RfmSquare(row["rfm"], row["members"], row["spent"]) for row in rows.order_by("rfm")]


def newest_fit() -> LifeFit | None:
    return LifeFit.objects.order_by("-pk").first()


def definition_in_force() -> LifeDefinition:
    """The newest version; an unsaved one with the house's values before the first run."""
    return LifeDefinition.objects.order_by("-pk").first() or LifeDefinition()


def moves_of_definition(definition: LifeDefinition) -> dict[tuple[str, str], int]:
    """(from, to) → how many members a definition would move if it were saved now. Raises WrongDefinition."""
    check_definition(definition)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT before, after, count(*) FROM (
                SELECT life.stage AS before, {stage_sql("life")} AS after FROM crm_memberlife life
            ) moved WHERE before <> after GROUP BY before, after
            """,  # noqa: S608  the sentence is ours
            stage_params(definition),
        )
        return {(before, after): int(count) for before, after, count in cursor.fetchall()}


def life_totals() -> dict[str, Any]:
    """What is expected of everybody in the next 90 days; `alive` are those with a vigour of half or more."""
    return MemberLife.objects.aggregate(
        value_fen=Sum("value_fen"),
        orders_milli=Sum("orders_milli"),
        alive=Count("pk", filter=Q(vigour_bps__gte=5_000)),
        members=Count("pk"),
    )
