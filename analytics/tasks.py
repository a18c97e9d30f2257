from celery import shared_task

from analytics import services


@shared_task(name="analytics.tasks.refresh_figures")
def refresh_figures() -> int:
    return services.refresh_figures()
