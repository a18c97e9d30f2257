from celery import shared_task

from campaigns import services


@shared_task(name="campaigns.tasks.release_broadcast")
def release_broadcast(broadcast_id: int) -> int:
    return services.release_broadcast(broadcast_id=broadcast_id)


@shared_task(name="campaigns.tasks.sweep_broadcasts")
def sweep_broadcasts() -> int:
    return services.sweep_broadcasts()


@shared_task(name="campaigns.tasks.run_win_back")
def run_win_back() -> int:
    return services.run_win_back()
