"""Waking the worker for stored notices from a thread of its own: a delivery never waits for the broker.

Wake-ups within a few milliseconds are sent as one; what is lost here, the sweeper finds.
"""

import os
import threading
import time

import structlog
from celery import current_app

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.02


class Waker:
    """One background thread per process, started with the first wake-up (so that forks get their own)."""

    def __init__(self, task: str, queue: str) -> None:
        self.task, self.queue = task, queue
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._pid = 0

    def wake(self) -> None:
        if self._pid != os.getpid():
            self._start()
        self._wanted.set()

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._wanted = threading.Event()
                threading.Thread(
                    target=self._run, args=(self._wanted,), daemon=True, name="notice-waker"
                ).start()
                self._pid = os.getpid()

    def _run(self, wanted: threading.Event) -> None:
        while True:
            wanted.wait()
            wanted.clear()
            try:
                current_app.send_task(self.task, queue=self.queue, ignore_result=True, retry=False)
            except Exception as error:
                log.warning(
                    "wake-up lost, the sweeper will find it", task=self.task, error=type(error).__name__
                )
            time.sleep(PAUSE_SECONDS)


notices = Waker("wechat.tasks.handle_notices", "fast")
