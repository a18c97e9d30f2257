from celery import shared_task

from community import services


@shared_task(name="community.tasks.read_due_groups")
def read_due_groups() -> int:
    return services.read_due_groups()
