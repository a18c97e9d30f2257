"""Where members stand in their life as customers: one member's place, everybody's counts, moves and cells."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import JSONObject

from crm.days import YearDay
from crm.lifecycle import check_definition, stage_params, stage_sql
from crm.models import (
    LifeDefinition,
    LifeFit,
    LifeMove,
    Member,
    MemberAipl,
    MemberDay,
    MemberLife,
    MemberTraits,
    RfmMember,
)
from crm.models.aipl import STEPS
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
    return None if row is None else _life(row)


def _life(row: MemberLife) -> Life:
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


@dataclass(frozen=True)
class Standing:
    """All that is known of where she stands: her life as a customer, how near she is, her groups of RFM by month, her
    days, her region and device.
    """

    life: Life | None
    step: str  # of AIPL; "" before she was judged
    step_since: dt.date | None
    months: list[tuple[dt.date, str]]  # (first day of the month, group), the newest first, at most six
    days: list[tuple[str, str, YearDay]]  # (kind, name, day)
    traits: MemberTraits | None

    @property
    def step_label(self) -> str:
        return str(dict(STEPS).get(self.step, ""))


MONTHS_SHOWN = 6


def standing_of(member_id: int) -> Standing:
    """One statement."""
    months = (
        RfmMember.objects.filter(member=OuterRef("pk"))
        .order_by("-month")
        .values(told=JSONObject(month="month", rfm="rfm"))[:MONTHS_SHOWN]
    )
    days = (
        MemberDay.objects.filter(member=OuterRef("pk"))
        .order_by("kind", "pk")
        .values(
            told=JSONObject(
                **{name: name for name in ("kind", "name", "calendar", "month", "day", "is_leap")}
            )
        )
    )
    member = (
        Member.objects.filter(pk=member_id)
        .select_related("life", "aipl", "traits")
        .only("pk", "life", "aipl", "traits")
        .annotate(by_month=ArraySubquery(months), her_days=ArraySubquery(days))
        .first()
    )
    life: MemberLife | None = getattr(member, "life", None)
    aipl: MemberAipl | None = getattr(member, "aipl", None)
    told: list[dict[str, Any]] = getattr(member, "by_month", [])
    kept: list[dict[str, Any]] = getattr(member, "her_days", [])
    return Standing(
        life=None if life is None else _life(life),
        step="" if aipl is None else aipl.step,
        step_since=None if aipl is None else aipl.since,
        months=[(dt.date.fromisoformat(one["month"]), rfm_cell(one["rfm"])) for one in told],
        days=[
            (one["kind"], one["name"], YearDay(one["calendar"], one["month"], one["day"], one["is_leap"]))
            for one in kept
        ],
        traits=getattr(member, "traits", None),
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


def stage_moves(
    *, since: dt.date, until: dt.date | None = None, causes: Collection[str] = (LifeMove.TIME,)
) -> dict[tuple[str, str], int]:
    """(from, to) → how many members moved, both days included (None: until now), by what they did or by `causes`; ""
    stands for outside.
    """
    rows = LifeMove.objects.filter(day__gte=since, day__lte=until or dt.date.max, cause__in=causes)
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
