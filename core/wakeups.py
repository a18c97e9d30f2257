"""Waking a worker after commit, without ever holding up or failing the request when the broker is away."""

from typing import Any

import structlog
from celery import current_app
from django.db import transaction

log = structlog.get_logger(__name__)


def wake(task: str, *args: Any, queue: str = "default") -> None:
    """Ask a worker to run `task` once the caller's transaction has committed; the sweeper finds what this loses."""

    def send() -> None:
        try:
            current_app.send_task(task, args=args, queue=queue, ignore_result=True, retry=False)
        except Exception as error:  # the broker's client raises many kinds; none may reach the shopper
            log.warning("wake-up lost, the sweeper will find it", task=task, error=type(error).__name__)

    # A plain function: a functools.partial breaks Django 5.2's logging of robust callbacks.
    transaction.on_commit(send, robust=True)
