"""Celery's doors to events and jobs: alarm clocks only, the rows know what is due."""

from celery import shared_task

from core import events, jobs, ledger, tokens


@shared_task(name="core.tasks.deliver_events")
def deliver_events(queue: str | None = None) -> int:
    """What is due in one queue; a worker of the fast queue never gets stuck in slow work."""
    return events.deliver_due(queue=queue, limit=500)


@shared_task(name="core.tasks.prune")
def prune() -> int:
    """Old deliveries, events and answers to API writes, in batches that hold no lock for long."""
    gone = tokens.prune_calls()
    while batch := events.prune():
        gone += batch
    return gone


@shared_task(name="core.tasks.expire_lots")
def expire_lots() -> int:
    return ledger.expire_lots()


@shared_task(name="core.tasks.run_job", acks_late=True)
def run_job(job_id: int) -> None:
    jobs.run(job_id=job_id)


@shared_task(name="core.tasks.sweep_jobs")
def sweep_jobs() -> int:
    return jobs.resume_abandoned()
