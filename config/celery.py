"""Celery: the alarm clock. Rows in Postgres are the jobs; losing the broker loses nothing but time."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# fast: welcome codes live 20 s, events of payments. default: the rest. bulk: broadcasts, imports.
QUEUES = ("fast", "default", "bulk")

app = Celery("pond")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name) for name in QUEUES]
app.autodiscover_tasks()


@app.on_after_configure.connect
def load_schedule(sender: Celery, **_: Any) -> None:
    from config.schedule import periodic_jobs

    sender.conf.beat_schedule = periodic_jobs()


@setup_logging.connect
def keep_our_logs(**_: Any) -> None:
    """Leave logging to core.logs: Celery's own set-up would bypass the redaction of secrets."""
