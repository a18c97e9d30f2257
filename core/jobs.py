"""Long work with a progress bar that survives its worker: a row, a lease, a checkpoint.

A job kind registers a function `work(progress)`; it must resume from `progress.checkpoint` and may run twice.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Q

from core import clock
from core.models import Job
from core.wakeups import wake

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=2)
MAX_ATTEMPTS = 5

_kinds: dict[str, Callable[["Progress"], dict[str, Any]]] = {}
_labels: dict[str, Any] = {}


class Cancelled(Exception):
    """An operator cancelled the job; what its checkpoint covers stays."""


class LostLease(Exception):
    """Another worker took the job over: this one must stop without writing."""


class Progress:
    """What the running work sees of its job: parameters, checkpoint, and `report`."""

    def __init__(self, job: Job) -> None:
        self.job_id = job.pk
        self.params: dict[str, Any] = job.params
        self.checkpoint: dict[str, Any] = dict(job.checkpoint)
        self.attempt = job.attempts

    def report(
        self, *, done: int, total: int | None = None, checkpoint: dict[str, Any] | None = None
    ) -> None:
        """Move the bar and, inside the transaction of a batch, the checkpoint; extends the lease.

        Raises Cancelled or LostLease.
        """
        changes: dict[str, Any] = {"done": done, "lease_until": clock.now() + LEASE}
        if total is not None:
            changes["total"] = total
        if checkpoint is not None:
            changes["checkpoint"] = checkpoint
        kept = Job.objects.filter(pk=self.job_id, status=Job.RUNNING, attempts=self.attempt).update(**changes)
        if not kept:
            status = Job.objects.values_list("status", flat=True).get(pk=self.job_id)
            raise Cancelled() if status == Job.CANCELLED else LostLease()
        if checkpoint is not None:
            self.checkpoint = dict(checkpoint)


def register(kind: str, work: Callable[[Progress], dict[str, Any]], *, label: Any = "") -> None:
    """Name a kind of work, in an app's `subscriptions.py`. The function returns the job's result (JSON).

    `label` (gettext_lazy) is the kind's name for people.
    """
    _kinds[kind] = work
    _labels[kind] = label or kind


def label_of(kind: str) -> str:
    return str(_labels.get(kind, kind))


@transaction.atomic
def enqueue(*, kind: str, params: dict[str, Any], created_by_id: int | None = None) -> Job:
    """Queue work; a worker of the bulk queue begins after commit."""
    job = Job.objects.create(kind=kind, params=params, created_at=clock.now(), created_by_id=created_by_id)
    wake("core.tasks.run_job", job.pk, queue="bulk")
    return job


def run(*, job_id: int) -> bool:
    """Claim the job by a conditional update and do its work; False when somebody else has it or it is over."""
    moment = clock.now()
    claimable = Q(status=Job.QUEUED) | Q(status=Job.RUNNING, lease_until__lt=moment)
    claimed = Job.objects.filter(claimable, pk=job_id).update(
        status=Job.RUNNING, attempts=F("attempts") + 1, lease_until=moment + LEASE, started_at=moment
    )
    if not claimed:
        return False
    job = Job.objects.get(pk=job_id)
    progress = Progress(job)
    try:
        result = _kinds[job.kind](progress)
    except Cancelled:
        return True
    except LostLease:
        log.warning("job taken over by another worker", job=job_id)
        return True
    except Exception as error:
        log.exception("job failed", job=job_id, kind=job.kind)
        Job.objects.filter(pk=job_id, status=Job.RUNNING, attempts=job.attempts).update(
            status=Job.FAILED,
            error=f"{type(error).__name__}: {error}"[:2000],
            finished_at=clock.now(),
            lease_until=None,
        )
        return True
    Job.objects.filter(pk=job_id, status=Job.RUNNING, attempts=job.attempts).update(
        status=Job.DONE, result=result, finished_at=clock.now(), lease_until=None, error=""
    )
    return True


def resume_abandoned() -> int:
    """Run what was queued without a wake-up or left by a dead worker; gives up after MAX_ATTEMPTS."""
    moment = clock.now()
    Job.objects.filter(status=Job.RUNNING, lease_until__lt=moment, attempts__gte=MAX_ATTEMPTS).update(
        status=Job.FAILED, error="its worker died again and again", finished_at=moment, lease_until=None
    )
    waiting = Q(status=Job.QUEUED) | Q(status=Job.RUNNING, lease_until__lt=moment)
    ids = list(Job.objects.filter(waiting).order_by("pk").values_list("pk", flat=True)[:10])
    return sum(run(job_id=job_id) for job_id in ids)


def cancel(*, job_id: int) -> bool:
    """Stop a job at its next report; what it has done stays."""
    return bool(
        Job.objects.filter(pk=job_id, status__in=[Job.QUEUED, Job.RUNNING]).update(
            status=Job.CANCELLED, finished_at=clock.now(), lease_until=None
        )
    )


@transaction.atomic
def retry(*, job_id: int) -> bool:
    """Queue a failed or cancelled job again; it goes on from its checkpoint."""
    revived = Job.objects.filter(pk=job_id, status__in=[Job.FAILED, Job.CANCELLED]).update(
        status=Job.QUEUED, attempts=0, error="", finished_at=None
    )
    if revived:
        wake("core.tasks.run_job", job_id, queue="bulk")
    return bool(revived)
