"""Celery as beat needs it: the names of tasks, their times and queues.

Beat runs no task, so it loads the settings and neither models nor tasks: it starts in a third of the time and needs
half the memory.
"""

from typing import Any

from celery.signals import setup_logging
from django.conf import settings

from config.celery import app as app
from core import logs

app.loader.worker_initialized = True  # what Celery asks before it imports the tasks


@setup_logging.connect
def log_as_all_do(**_: Any) -> None:
    """Elsewhere Django's own start does this."""
    logs.configure(settings.LOGGING)
