from celery import shared_task

from analytics import lifetimes, services


@shared_task(name="analytics.tasks.refresh_figures")
def refresh_figures() -> int:
    return services.refresh_figures()


@shared_task(name="analytics.tasks.count_lifetimes")
def count_lifetimes() -> int:
    return lifetimes.count_due_lifetimes()
