"""The tasks of a member as she sees them: what there is to do, how far she is, what she has."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Exists, Q, QuerySet

from core import clock
from crm import points_rules as rules
from crm.models import PointsRules, PointsTask, PointsTaskRun, PointsTaskStep

# What she is already: true of a member, whatever told us and whenever.
LASTING = """
SELECT EXISTS (SELECT FROM crm_identity WHERE member_id = %s AND kind = 'openid' AND is_following),
       EXISTS (SELECT FROM crm_contact c JOIN crm_identity i ON i.id = c.identity_id
               WHERE i.member_id = %s AND c.removed_at IS NULL),
       EXISTS (SELECT FROM crm_identity WHERE member_id = %s AND kind = 'phone'),
       EXISTS (SELECT FROM crm_member WHERE id = %s AND birthday IS NOT NULL)
           OR EXISTS (SELECT FROM crm_memberday WHERE member_id = %s AND kind = 'birthday'),
       EXISTS (SELECT FROM crm_membergroup WHERE member_id = %s
               OR member_id IN (SELECT id FROM crm_member WHERE merged_into_id = %s))
"""


@dataclass(frozen=True)
class TaskShown:
    """`count` of `times` so far in this period. `is_ready`: fulfilled by what she is, not rewarded yet."""

    pk: int
    name: str
    detail: str
    kind: str
    period: str
    points: int
    times: int
    count: int
    is_done: bool
    is_ready: bool
    link: str
    ends_at: datetime | None

    @property
    def percent(self) -> int:
        return 100 if self.is_done else min(100 * self.count // self.times, 100)


def tasks_now(at: datetime | None = None) -> QuerySet[PointsTask]:
    """The tasks that count at a moment, in the operator's order; none while nothing is earned."""
    moment = at or clock.now()
    return PointsTask.objects.filter(
        Exists(PointsRules.objects.filter(pk=1, is_active=True)),
        Q(starts_at__isnull=True) | Q(starts_at__lte=moment),
        Q(ends_at__isnull=True) | Q(ends_at__gt=moment),
        is_active=True,
    )


def has_tasks() -> bool:
    return tasks_now().exists()


def fulfilled_already(member_id: int) -> set[str]:
    """The lasting kinds that hold of her. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(LASTING, [member_id] * 7)
        holds = cursor.fetchone()
    return {kind for kind, it_holds in zip(PointsTask.LASTING, holds, strict=True) if it_holds}


def tasks_of(member_id: int) -> list[TaskShown]:
    """All that count now: open ones first, then what she has. At most four statements."""
    tasks = list(tasks_now())
    if not tasks:
        return []
    today = clock.today()
    periods = {task.pk: rules.period_of(task.period, today) for task in tasks}
    mine = Q(member_id=member_id, task__in=tasks, period__in=set(periods.values()))
    done = {
        (task_id, period)
        for task_id, period in PointsTaskRun.objects.filter(mine, done_at__isnull=False).values_list(
            "task_id", "period"
        )
    }
    counts: dict[tuple[int, str], int] = {}
    for step in PointsTaskStep.objects.filter(mine).values_list("task_id", "period"):
        counts[step] = counts.get(step, 0) + 1
    holds = fulfilled_already(member_id) if any(task.kind in PointsTask.LASTING for task in tasks) else set()
    shown = []
    for task in tasks:
        place = (task.pk, periods[task.pk])
        count, is_done = counts.get(place, 0), place in done
        shown.append(
            TaskShown(
                pk=task.pk,
                name=task.name,
                detail=task.detail,
                kind=task.kind,
                period=task.period,
                points=task.points,
                times=task.times,
                count=min(count, task.times),
                is_done=is_done,
                is_ready=not is_done and (task.kind in holds or count >= task.times),
                link=task.link,
                ends_at=task.ends_at,
            )
        )
    return sorted(shown, key=lambda one: (one.is_done, not one.is_ready))
