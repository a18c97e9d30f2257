"""Celery's doors to the rows that wait. Every one of these may run at any time, twice, or not at all."""

from datetime import timedelta

from celery import shared_task

from wechat.outbound import batches, sender
from wechat.services import notices


@shared_task(name="wechat.tasks.handle_notices")
def handle_notices() -> int:
    return notices.handle_due(limit=500)


@shared_task(name="wechat.tasks.sweep_notices")
def sweep_notices() -> int:
    return notices.handle_due(limit=2000)


@shared_task(name="wechat.tasks.send_outbound")
def send_outbound() -> int:
    return sender.send_due() + batches.send_due_batches()


@shared_task(name="wechat.tasks.send_urgent")
def send_urgent() -> int:
    return sender.send_urgent()


@shared_task(name="wechat.tasks.recover_outbound")
def recover_outbound() -> int:
    return sender.recover_expired() + batches.recover_batches()


@shared_task(name="wechat.tasks.poll_mass_tasks")
def poll_mass_tasks() -> int:
    return batches.poll_tasks()


@shared_task(name="wechat.tasks.forget_old_notices")
def forget_old_notices() -> int:
    return notices.forget_old_notices(older_than=timedelta(days=90))
