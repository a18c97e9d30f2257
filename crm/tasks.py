"""Alarm clocks of this room; the work is in its services."""

from celery import shared_task

from crm import services


@shared_task(name="crm.tasks.send_welcomes")
def send_welcomes() -> int:
    return services.send_due_welcomes()


@shared_task(name="crm.tasks.look_up")
def look_up() -> int:
    return services.look_up_due()


@shared_task(name="crm.tasks.make_qr_codes")
def make_qr_codes() -> int:
    return services.make_missing_qr_codes()


@shared_task(name="crm.tasks.prepare_timeline")
def prepare_timeline() -> int:
    return services.prepare_months_ahead()


@shared_task(name="crm.tasks.recount_segments")
def recount_segments() -> int:
    return services.recount_segments()
