"""Tasks for points: an event counts once for each task that waits for it; the last one that is needed gives the points.

Whatever told of the event (a notice that came twice, a form sent again, two workers) counts it once, by its key.
"""

from collections.abc import Sequence
from datetime import datetime

from django.core import signing
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_row
from crm import points_rules as rules
from crm.errors import BadPoints, NoSuchMember
from crm.models import Earning, Member, PointsTask, PointsTaskRun, PointsTaskStep
from crm.queries.points_tasks import fulfilled_already, tasks_now
from crm.services.points import current_points_rules, earn, living_id


@transaction.atomic
def advance_tasks(*, member_id: int, kind: str, key: str, at: datetime | None = None) -> list[Earning]:
    """Something of a kind happened to her: `key` names it ("order:12"). Returns what it brought.

    It counts in the period of its moment. What lasts (a follow, a birthday) counts once in her life, whatever its key.
    Locks: member (key share), her run of each task, then as `earn`. Idempotent on: (member, task, key).
    """
    moment = at or clock.now()
    tasks = list(tasks_now(moment).filter(kind=kind))
    if not tasks:
        return []
    member_id = living_id(member_id)
    made = []
    for task in tasks:
        made += _step(task, member_id, key[:60], moment)
    return made


@transaction.atomic
def advance_tasks_of_many(events: Sequence[tuple[int, str, datetime]], *, kind: str) -> int:
    """The same for (member, key, moment) of many; returns how many fulfilled a task. One statement without a task."""
    if not events or not PointsTask.objects.filter(kind=kind, is_active=True).exists():
        return 0
    return sum(
        bool(advance_tasks(member_id=member_id, kind=kind, key=key, at=at))
        for member_id, key, at in sorted(events)
    )


def _step(task: PointsTask, member_id: int, key: str, at: datetime) -> list[Earning]:
    period = rules.period_of(task.period, clock.local(at).date())
    run = _locked_run(task, member_id, period)
    if run.done_at is not None and task.period == PointsTask.ONCE:
        return []
    PointsTaskStep.objects.bulk_create(
        [PointsTaskStep(task=task, member_id=member_id, period=period, key=key, at=at)], ignore_conflicts=True
    )
    return _reward(task, run)


def _locked_run(task: PointsTask, member_id: int, period: str) -> PointsTaskRun:
    PointsTaskRun.objects.bulk_create(
        [PointsTaskRun(task=task, member_id=member_id, period=period)], ignore_conflicts=True
    )
    run = lock_row(PointsTaskRun.objects.filter(task=task, member_id=member_id, period=period))
    assert run is not None
    return run


def _reward(task: PointsTask, run: PointsTaskRun) -> list[Earning]:
    """Give the points when enough has happened. The caller holds the run's lock."""
    if run.done_at is not None:
        return []
    steps = PointsTaskStep.objects.filter(task=task, member_id=run.member_id, period=run.period).count()
    if steps < task.times:
        return []
    run.done_at, run.points = clock.now(), task.points
    run.save(update_fields=["done_at", "points"])
    current = current_points_rules()
    return earn(
        member_id=run.member_id,
        cause=f"task:{run.pk}",
        source=Earning.TASK,
        points=task.points,
        months=current.months if current else 0,
        basis={"task": task.pk, "name": task.name},
    )


@transaction.atomic
def claim_task(*, member_id: int, task_id: int) -> list[Earning]:
    """She claims what she fulfilled before the task was there, or what no event told us of.

    Locks: as `advance_tasks`. Idempotent: the second time nothing is new. Raises BadPoints: not on offer, not
    fulfilled yet.
    """
    task = tasks_now().filter(pk=task_id).first()
    if task is None:
        raise BadPoints(_("This task is over."))
    member_id = living_id(member_id)
    if task.kind in PointsTask.LASTING:
        if task.kind not in fulfilled_already(member_id):
            raise BadPoints(_("This task is not fulfilled yet."))
        return _step(task, member_id, "state", clock.now())
    run = _locked_run(task, member_id, rules.period_of(task.period, clock.today()))
    made = _reward(task, run)
    if run.done_at is None:
        raise BadPoints(_("This task is not fulfilled yet."))
    return made


def _signer() -> signing.Signer:
    return signing.Signer(salt="crm.points_tasks", sep=".")


def share_code(member_id: int) -> str:
    """Stands in the links that she sends to friends; says who shared, and that we wrote it."""
    return _signer().sign(str(member_id))


@transaction.atomic
def follow_share(*, code: str, friend_id: int) -> list[Earning]:
    """A friend opened what a member shared: counts once per friend, and not for herself. A code that is not ours, or
    of somebody who is gone, counts for nobody.

    Locks: as `advance_tasks`. Idempotent on: (sharer, friend).
    """
    try:
        sharer_id = living_id(int(_signer().unsign(code)))
        friend_id = living_id(friend_id)
    except (signing.BadSignature, ValueError, NoSuchMember):
        return []
    if sharer_id == friend_id or Member.objects.filter(pk=sharer_id, erased_at__isnull=False).exists():
        return []
    return advance_tasks(member_id=sharer_id, kind=PointsTask.SHARE, key=f"friend:{friend_id}")


@transaction.atomic
def move_points_tasks(*, kept_id: int, merged_id: int) -> None:
    """What both did for a task is one; a run that was rewarded stays rewarded. Idempotent."""
    keys = set(PointsTaskStep.objects.filter(member_id=kept_id).values_list("task_id", "key"))
    for step in PointsTaskStep.objects.filter(member_id=merged_id):
        if (step.task_id, step.key) in keys:
            step.delete()
    PointsTaskStep.objects.filter(member_id=merged_id).update(member_id=kept_id)
    hers = {(run.task_id, run.period): run for run in PointsTaskRun.objects.filter(member_id=kept_id)}
    for run in PointsTaskRun.objects.filter(member_id=merged_id):
        own = hers.get((run.task_id, run.period))
        if own is not None:
            (own if own.done_at is None and run.done_at is not None else run).delete()
    PointsTaskRun.objects.filter(member_id=merged_id).update(member_id=kept_id)
