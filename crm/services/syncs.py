"""The doctor's book of platform syncs: each begins a row, and ends it by what it brought, never by hope."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, jobs
from core.errors import Refusal
from core.locks import advisory_lock
from core.models import Job
from crm.errors import NoSuchSync, SyncRunning
from crm.models import DueSync, SyncRun, SyncSeen

MOST_FAILURES = 50
# A reading ends so many followings, contacts or groups by itself, or this share of them (bps); more waits for a person.
ENDS_ALWAYS = 20
ENDS_MOST_BPS = 1_000
# Notices that arrive so soon after each other share one reading.
SETTLE = timedelta(seconds=5)
# Rows that one statement puts aside or ends.
AT_ONCE = 5_000

_starts: dict[str, Callable[[int, int | None], Job]] = {}


@dataclass
class Brought:
    """What a sync has so far: how many it expects, how many it has, and each failure with its cause.

    `may_end`: how many followings, contacts or groups a person has allowed it to end; `would_end`: how many it was
    about to.
    """

    run_id: int = 0
    may_end: int = 0
    expected: int = 0
    fetched: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    would_end: int = 0

    def fails(self, what: str, cause: object) -> None:
        self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append({"what": what[:80], "cause": said(cause)})

    def kept(self, before: int = 0) -> dict[str, Any]:
        """For the checkpoint: what another worker needs to tell how it ended, but for the first failures (`before`)
        that it meets again.
        """
        return {
            "fetched": self.fetched,
            "failed": self.failed - before,
            "failures": self.failures[before:],
        }

    def adds(self, kept: Mapping[str, Any]) -> None:
        """What a worker that died had brought before."""
        self.fetched += int(kept.get("fetched", 0))
        self.failed += int(kept.get("failed", 0))
        self.failures += list(kept.get("failures", []))[: MOST_FAILURES - len(self.failures)]

    def may_it_end(self, count: int, of: int) -> bool:
        """May this reading end `count` of `of` of them? If not, it will be held, and says how many."""
        most = max(ENDS_ALWAYS, of * ENDS_MOST_BPS // 10_000, self.may_end)
        if count > most:
            self.would_end += count
        return count <= most


def said(error: object) -> str:
    """An error as an operator reads it: our words, the platform's code and its own text."""
    if isinstance(error, Exception) and not isinstance(error, Refusal):
        return f"{type(error).__name__}: {error}"[:300]
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


@transaction.atomic
def want_sync(*, kind: str, account_id: int) -> None:
    """Something changed there: read it soon, once for all the changes until then. Idempotent on: kind and account."""
    due_at = clock.now() + SETTLE
    DueSync.objects.bulk_create(
        [DueSync(kind=kind, account_id=account_id, due_at=due_at)], ignore_conflicts=True
    )


def start_due_syncs(*, limit: int = 20) -> int:
    """Start what is due; returns how many began. While one of its kind runs it stays due: a change after that
    reading began is not lost.
    """
    started = 0
    due = DueSync.objects.filter(due_at__lte=clock.now()).order_by("due_at", "pk")
    for pk, kind, account_id in due.values_list("pk", "kind", "account_id")[:limit]:
        try:
            with transaction.atomic():
                if DueSync.objects.filter(pk=pk).delete()[0]:
                    start_sync(kind=kind, account_id=account_id)
                    started += 1
        except Refusal:
            DueSync.objects.filter(pk=pk).update(due_at=clock.now() + SETTLE)
    return started


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


@transaction.atomic
def confirm_sync(*, run_id: int, by_id: int | None = None) -> Job:
    """A person says that a held sync may end what it was about to: it is read again, and may end so many and no more.

    Raises SyncRunning; NoSuchSync when it is not held (any more). Idempotent on: the run, by what is running.
    """
    run = SyncRun.objects.filter(pk=run_id, status=SyncRun.HELD).first()
    if run is None or SyncRun.objects.filter(kind=run.kind, account=run.account_id, pk__gt=run_id).exists():
        raise NoSuchSync(_("This sync does not wait for a word."))
    job = start_sync(kind=run.kind, account_id=run.account_id, by_id=by_id)
    Job.objects.filter(pk=job.pk).update(params={**job.params, "may_end": run.would_end})
    return job


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
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.RUNNING, finished_at=None, cause="", would_end=0)
    return run.pk


def end_sync(
    *,
    run_id: int,
    expected: int,
    fetched: int,
    failures: Sequence[Mapping[str, str]] = (),
    failed: int | None = None,
    would_end: int = 0,
) -> str:
    """Close the row by its figures and return the status: done when all came, failed when nothing came of something,
    held when it `would_end` more than it may, incomplete otherwise, also when there was nothing. `failures` are
    {"what", "cause"}.
    """
    lost = len(failures) if failed is None else failed
    if would_end:
        status = SyncRun.HELD
        cause = _(
            "It would end %(count)d followings, contacts or groups at once, more than %(most)s %% of them. Nothing was "
            "ended: see whether that can be true, and confirm it."
        ) % {"count": would_end, "most": f"{ENDS_MOST_BPS / 100:g}"}
    elif not (fetched or expected or lost):
        status = SyncRun.PARTIAL
        cause = _(
            "The platform named nothing. If there should be something, see what the app may read there."
        )
    elif fetched == expected and not lost:
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
        would_end=would_end,
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
        cause=said(cause),
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
        forget_seen(run.pk)
    return closed


def note_seen(run_id: int, pairs: Sequence[tuple[str, str]]) -> None:
    """Put aside what the platform named: (address, whose). Each once, however often it is named."""
    rows = [SyncSeen(run_id=run_id, value=value[:128], owner=owner[:64]) for value, owner in pairs]
    SyncSeen.objects.bulk_create(rows, ignore_conflicts=True, batch_size=AT_ONCE)


def know_seen() -> None:
    """All is put aside: the database counts it, or it would take a million rows for a few and compare each with all."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE crm_syncseen")


def forget_seen(run_id: int) -> None:
    """The reading is over: what it put aside is not needed any more."""
    SyncSeen.objects.filter(run=run_id).delete()


class NothingFetched(Exception):
    """Nothing came: the job is not done, as its row is not."""


def run_sync(
    progress: jobs.Progress, *, kind: str, fetch: Callable[[jobs.Progress, Brought], None]
) -> dict[str, Any]:
    """The work of a sync job: `fetch` fills what it brought, and the row is closed by it.

    Raises NothingFetched, and whatever stopped it, so that the job is failed as the row is.
    """
    account_id = int(progress.params["account_id"])
    run_id = begin_sync(kind=kind, account_id=account_id, job_id=progress.job_id)
    brought = Brought(run_id=run_id, may_end=int(progress.params.get("may_end") or 0))
    try:
        fetch(progress, brought)
    except jobs.LostLease:
        raise
    except Exception as error:
        cause = _("It was cancelled.") if isinstance(error, jobs.Cancelled) else error
        break_sync(run_id=run_id, cause=cause, brought=brought)
        forget_seen(run_id)
        raise
    forget_seen(run_id)
    status = end_sync(
        run_id=run_id,
        expected=brought.expected,
        fetched=brought.fetched,
        failures=brought.failures,
        failed=brought.failed,
        would_end=brought.would_end,
    )
    cause = SyncRun.objects.values_list("cause", flat=True).get(pk=run_id)
    if not brought.fetched and status != SyncRun.DONE:
        raise NothingFetched(cause)
    return {
        "expected": brought.expected,
        "fetched": brought.fetched,
        "failed": brought.failed,
        "cause": cause,
    }
