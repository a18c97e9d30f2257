from celery import shared_task

from core import events, jobs


@shared_task(name="core.tasks.deliver_events")
def deliver_events() -> int:
    return events.deliver_due(limit=500)


@shared_task(name="core.tasks.sweep_events")
def sweep_events() -> int:
    return events.deliver_due(limit=2000)


@shared_task(name="core.tasks.run_job", acks_late=True)
def run_job(job_id: int) -> None:
    jobs.run(job_id=job_id)


@shared_task(name="core.tasks.sweep_jobs")
def sweep_jobs() -> int:
    return jobs.resume_abandoned()
