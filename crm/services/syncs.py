"""The doctor's book of platform syncs: each begins a row, and ends it by what it brought, never by hope."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, jobs
from core.locks import advisory_lock
from core.models import Job
from crm.errors import NoSuchSync, SyncRunning
from crm.models import SyncRun

MOST_FAILURES = 50

_starts: dict[str, Callable[[int, int | None], Job]] = {}


@dataclass
class Brought:
    """What a sync has so far: how many it expects, how many it has, and each failure with its cause."""

    expected: int = 0
    fetched: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def fails(self, what: str, cause: object) -> None:
        self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append({"what": what[:80], "cause": said(cause)})


def said(error: object) -> str:
    """An error as an operator reads it: our words, the platform's code and its own text."""
    code, detail = getattr(error, "code", ""), getattr(error, "detail", "")
    more = " ".join(str(part) for part in (code, detail) if part)
    return (f"{error} ({more})" if more else f"{error}" or type(error).__name__)[:300]


def register_sync(kind: str, start: Callable[[int, int | None], Job]) -> None:
    """Say how a kind of sync is started: `start(account_id, user_id)` queues a job; called once when an app starts."""
    _starts[kind] = start


@transaction.atomic
def queue_sync(*, job_kind: str, account_id: int, created_by_id: int | None = None) -> Job:
    """Queue a sync of an account as a job; raises SyncRunning while one is queued or running. Locks: advisory."""
    advisory_lock(job_kind, account_id)
    waiting = Job.objects.filter(kind=job_kind, status__in=[Job.QUEUED, Job.RUNNING])
    if waiting.filter(params__account_id=account_id).exists():
        raise SyncRunning(_("A sync is already running. Watch its progress instead of starting another."))
    return jobs.enqueue(kind=job_kind, params={"account_id": account_id}, created_by_id=created_by_id)


def start_sync(*, kind: str, account_id: int, by_id: int | None = None) -> Job:
    """Read everything of a kind again. Raises SyncRunning, NoSuchSync."""
    if kind not in _starts:
        raise NoSuchSync(_("There is no such sync."))
    return _starts[kind](account_id, by_id)


def retry_sync(*, run_id: int, by_id: int | None = None) -> Job:
    """The same sync once more, as a new row. Raises SyncRunning, NoSuchSync."""
    run = SyncRun.objects.filter(pk=run_id).first()
    if run is None:
        raise NoSuchSync(_("There is no such sync."))
    return start_sync(kind=run.kind, account_id=run.account_id, by_id=by_id)


def begin_sync(*, kind: str, account_id: int, job_id: int) -> int:
    """The row of this job's sync; a job that goes on after its worker died goes on in its row. Idempotent on: job."""
    by_id = Job.objects.filter(pk=job_id).values_list("created_by_id", flat=True).first()
    run, _made = SyncRun.objects.get_or_create(
        job_id=job_id,
        defaults={
            "kind": kind,
            "account_id": account_id,
            "started_at": clock.now(),
            "created_by_id": by_id,
        },
    )
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.RUNNING, finished_at=None, cause="")
    return run.pk


def end_sync(
    *,
    run_id: int,
    expected: int,
    fetched: int,
    failures: Sequence[Mapping[str, str]] = (),
    failed: int | None = None,
) -> str:
    """Close the row by its figures and return the status: done when all came, failed when nothing came of something,
    incomplete otherwise. `failures` are {"what", "cause"}.
    """
    lost = len(failures) if failed is None else failed
    if fetched == expected and not lost:
        status, cause = SyncRun.DONE, ""
    elif failures:
        status = SyncRun.PARTIAL if fetched else SyncRun.FAILED
        cause = str(failures[0]["cause"])
    else:
        status = SyncRun.PARTIAL if fetched else SyncRun.FAILED
        cause = _("%(fetched)d of %(expected)d came, and the platform gave no reason.") % {
            "fetched": fetched,
            "expected": expected,
        }
    SyncRun.objects.filter(pk=run_id).update(
        status=status,
        expected=expected,
        fetched=fetched,
        failed=lost,
        failures=[dict(one) for one in failures[:MOST_FAILURES]],
        cause=cause[:500],
        finished_at=clock.now(),
    )
    return status


def break_sync(*, run_id: int, cause: object, brought: Brought | None = None) -> None:
    """The sync could not go on; the row says exactly why, and keeps what had come until then."""
    so_far = brought or Brought()
    SyncRun.objects.filter(pk=run_id, status=SyncRun.RUNNING).update(
        status=SyncRun.FAILED,
        expected=so_far.expected or None,
        fetched=so_far.fetched,
        failed=so_far.failed,
        failures=so_far.failures,
        cause=said(cause)[:500] or type(cause).__name__,
        finished_at=clock.now(),
    )


def settle_lost_syncs() -> int:
    """Close rows whose job is over (cancelled, or its worker died again and again); returns how many. Idempotent."""
    over = SyncRun.objects.filter(status=SyncRun.RUNNING, job__status__in=[Job.FAILED, Job.CANCELLED])
    closed = 0
    for run in over.select_related("job")[:100]:
        assert run.job is not None
        words = run.job.error or str(_("It was cancelled."))
        closed += SyncRun.objects.filter(pk=run.pk, status=SyncRun.RUNNING).update(
            status=SyncRun.FAILED, cause=words[:500], finished_at=clock.now()
        )
    return closed


class NothingFetched(Exception):
    """Something was expected and nothing came: the job is failed as its row is."""


def run_sync(
    progress: jobs.Progress, *, kind: str, fetch: Callable[[jobs.Progress, Brought], None]
) -> dict[str, Any]:
    """The work of a sync job: `fetch` fills what it brought, and the row is closed by it.

    Raises NothingFetched, and whatever stopped it, so that the job is failed as the row is.
    """
    account_id = int(progress.params["account_id"])
    run_id = begin_sync(kind=kind, account_id=account_id, job_id=progress.job_id)
    brought = Brought()
    try:
        fetch(progress, brought)
    except jobs.LostLease:
        raise
    except Exception as error:
        break_sync(run_id=run_id, cause=error, brought=brought)
        raise
    status = end_sync(
        run_id=run_id,
        expected=brought.expected,
        fetched=brought.fetched,
        failures=brought.failures,
        failed=brought.failed,
    )
    if status == SyncRun.FAILED:
        raise NothingFetched(f"0 of {brought.expected}: {brought.failures[:1]}")
    return {"expected": brought.expected, "fetched": brought.fetched, "failed": brought.failed}
