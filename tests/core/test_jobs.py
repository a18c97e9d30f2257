"""Long work goes on where it stopped, belongs to one worker at a time, and says how far it is."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from core import clock, jobs
from core.models import Job

steps: list[int] = []
plan: dict[str, Any] = {}


def count_to_ten(progress: jobs.Progress) -> dict[str, Any]:
    """Ten steps, each remembered; what `plan` says happens at a step."""
    for step in range(progress.checkpoint.get("step", 0) + 1, 11):
        if step in plan:
            plan.pop(step)(progress)
        with transaction.atomic():
            steps.append(step)
            progress.report(done=step, total=10, checkpoint={"step": step})
    return {"counted": 10}


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_kinds", {"count": count_to_ten})
    steps.clear()
    plan.clear()


def fail(progress: jobs.Progress) -> None:
    raise ValueError("the abacus broke")


def die(progress: jobs.Progress) -> None:
    raise SystemExit


def start() -> Job:
    return jobs.enqueue(kind="count", params={})


@pytest.mark.django_db
class TestJob:
    def test_runs_to_its_end_once(self) -> None:
        job = start()
        assert jobs.run(job_id=job.pk) is True
        assert jobs.run(job_id=job.pk) is False
        job.refresh_from_db()
        assert (job.status, job.percent, job.result) == ("done", 100, {"counted": 10})
        assert steps == list(range(1, 11))

    def test_that_failed_says_why_and_goes_on_from_its_checkpoint_when_retried(self) -> None:
        plan[5] = fail
        job = start()
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert (job.status, job.error, job.percent) == ("failed", "ValueError: the abacus broke", 40)
        assert jobs.retry(job_id=job.pk)
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert job.status == "done"
        assert steps == list(range(1, 11))

    def test_whose_worker_died_is_taken_over_after_its_lease(self) -> None:
        plan[5] = die
        job = start()
        with pytest.raises(SystemExit):
            jobs.run(job_id=job.pk)
        assert jobs.resume_abandoned() == 0  # the lease still runs
        with clock.travel(timedelta(minutes=3)):
            assert jobs.resume_abandoned() == 1
        job.refresh_from_db()
        assert (job.status, job.attempts) == ("done", 2)
        assert steps == list(range(1, 11))

    def test_that_was_taken_over_stops_without_writing(self) -> None:
        def lose(progress: jobs.Progress) -> None:
            with clock.travel(timedelta(minutes=3)):
                jobs.run(job_id=progress.job_id)

        plan[5] = lose
        job = start()
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert (job.status, job.attempts) == ("done", 2)
        assert job.done == 10

    def test_that_is_cancelled_stops_at_its_next_report_and_can_be_retried(self) -> None:
        plan[3] = lambda progress: jobs.cancel(job_id=progress.job_id)
        job = start()
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert (job.status, job.checkpoint) == ("cancelled", {"step": 2})
        assert jobs.cancel(job_id=job.pk) is False
        jobs.retry(job_id=job.pk)
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert job.status == "done"

    def test_whose_worker_dies_again_and_again_is_given_up(self) -> None:
        job = start()
        Job.objects.filter(pk=job.pk).update(status="running", attempts=5, lease_until=clock.now())
        with clock.travel(timedelta(seconds=1)):
            jobs.resume_abandoned()
        job.refresh_from_db()
        assert job.status == "failed"
        assert steps == []

    def test_of_an_unknown_kind_fails(self) -> None:
        job = jobs.enqueue(kind="nothing we know", params={})
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert job.status == "failed"
