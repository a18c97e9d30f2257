"""Waking workers without ever holding up a request: one background thread per process sends what is asked for.

The first goes out at once, equal ones of the next tenth of a second as one (sending takes the interpreter from
requests). What is lost here (the broker away, the process killed), the sweepers find.
"""

import atexit
import os
import threading
import time
from typing import Any

import structlog
from celery import current_app
from django.db import transaction

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.1

_Wakeup = tuple[str, tuple[Any, ...], str]  # task, arguments, queue


class _Waker:
    """The thread and what it still has to send; a forked child begins with its own."""

    def __init__(self) -> None:
        self._asked: dict[_Wakeup, None] = {}
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def ask(self, wakeup: _Wakeup) -> None:
        with self._condition:
            self._asked[wakeup] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="waker")
                self._thread.start()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._asked)
            self.send_asked()
            time.sleep(PAUSE_SECONDS)

    def send_asked(self) -> None:
        with self._condition:
            wakeups, self._asked = list(self._asked), {}
        for task, args, queue in wakeups:
            try:
                current_app.send_task(task, args=args, queue=queue, ignore_result=True, retry=False)
            except Exception as error:  # the broker's client raises many kinds; all mean the same here
                log.warning("wake-up lost, the sweeper will find it", task=task, error=type(error).__name__)


_waker = _Waker()


def _begin_anew() -> None:
    global _waker
    _waker = _Waker()


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(lambda: _waker.send_asked())  # a command that ends at once has still asked


def wake_now(task: str, *args: Any, queue: str = "default") -> None:
    """Ask a worker to run `task`, for what is committed already. Returns at once, whatever the broker does."""
    _waker.ask((task, args, queue))


def wake(task: str, *args: Any, queue: str = "default") -> None:
    """Ask a worker to run `task` once the caller's transaction has committed."""

    def ask() -> None:
        wake_now(task, *args, queue=queue)

    # A plain function: a functools.partial breaks Django 5.2's logging of robust callbacks.
    transaction.on_commit(ask, robust=True)
