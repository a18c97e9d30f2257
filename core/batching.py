"""Concurrent callers of one process share a statement: who comes while another writes waits, and writes for all.

A commit costs the same for one row and for fifty, and a row that everybody wants is locked once per batch instead of
once per caller. Who is alone writes at once; in a crowd a batch may linger some milliseconds for those who come back.
What is written is committed before any caller hears of it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import connection, connections

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


# Connections of this process that pass from writer to writer, the last used on top. A thread's own connection would
# have a backend of its own in Postgres, which plans the batch's statements anew and shares no processor cache.
_spare: list[Any] = []
MOST_SPARE = 4
os.register_at_fork(after_in_child=_spare.clear)


@contextmanager
def _lent_connection() -> Iterator[None]:
    """This thread's default connection is one of the shared ones meanwhile."""
    most = getattr(settings, "BATCH_CONNECTIONS", 0 if settings.TESTING else MOST_SPARE)
    if not most:
        yield
        return
    try:
        lent = _spare.pop()
    except IndexError:
        lent = connections.create_connection("default")
        lent.inc_thread_sharing()
    if lent.errors_occurred:  # the server may have gone and come back
        lent.close_if_unusable_or_obsolete()
    own = connections["default"]
    connections["default"] = lent
    try:
        yield
    finally:
        connections["default"] = own
        if len(_spare) < most:
            _spare.append(lent)
        else:
            lent.close()


class _Asked(Generic[Ask, Answer]):
    """One caller's wish; `decided` when it has its answer, or when its caller shall write the next batch."""

    __slots__ = ("answer", "ask", "decided", "error", "has_answer", "is_leader")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answer: Answer | None = None
        self.has_answer = False
        self.error: BaseException | None = None
        self.is_leader = False
        self.decided = threading.Lock()  # held until then; an Event is a lock and much more, for each caller
        self.decided.acquire()


class Batcher(Generic[Ask, Answer]):
    """Turns `write(asks) -> answers` (same length and order, all or nothing) into a call for a single ask.

    `linger` is for how many seconds at most a batch waits until it is as large as the one before: those who were
    answered by that one come back together, and a large batch costs each of them less. After a lonely caller, nobody
    waits.
    When a batch fails, each of its asks is written alone, so that one bad ask spoils nobody else's.
    Inside a transaction of the caller nothing is shared: its ask is written there, by itself.
    """

    def __init__(
        self, write: Callable[[Sequence[Ask]], Sequence[Answer]], *, most: int = 64, linger: float = 0.0
    ) -> None:
        self._write, self._most, self._linger = write, most, linger
        self._lock = threading.Lock()
        self._waiting: list[_Asked[Ask, Answer]] = []
        self._is_led = False
        self._crowd = 1  # how many were written together last
        self._is_gathering = False
        self._gathered = threading.Lock()  # held until a leader need not linger any longer
        self._gathered.acquire()

    def submit(self, ask: Ask) -> Answer:
        """The answer to one ask. Raises what `write` raises for it."""
        if connection.in_atomic_block:
            return self._write([ask])[0]
        mine = _Asked[Ask, Answer](ask)
        with self._lock:
            self._waiting.append(mine)
            if not self._is_led:
                self._is_led = mine.is_leader = True
            elif self._is_gathering and len(self._waiting) >= self._crowd:
                self._is_gathering = False
                self._gathered.release()
        if not mine.is_leader:
            mine.decided.acquire()
        if mine.is_leader:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.answer  # type: ignore[return-value]

    def _lead(self) -> None:
        """Write one batch (the leader's own ask is the oldest in it), then hand over to who waits longest."""
        if self._linger:
            self._gather()
        with self._lock:
            batch = self._waiting[: self._most]
            del self._waiting[: self._most]
            self._crowd = len(batch)
        try:
            with _lent_connection():
                self._settle(batch)
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                if heir is None:
                    self._is_led = False
                else:
                    heir.is_leader = True
            if heir is not None:
                heir.decided.release()
            for one in batch:
                if not one.has_answer and one.error is None:
                    one.error = RuntimeError("the batch was interrupted")
                if not one.is_leader:  # the leader waits for nobody
                    one.decided.release()

    def _gather(self) -> None:
        with self._lock:
            if len(self._waiting) >= self._crowd:
                return
            self._is_gathering = True
        if self._gathered.acquire(timeout=self._linger):
            return
        with self._lock:
            if self._is_gathering:
                self._is_gathering = False
                return
        self._gathered.acquire()  # enough came in the moment in which the time was up

    def _settle(self, batch: list[_Asked[Ask, Answer]]) -> None:
        try:
            answers = self._write([one.ask for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                one.answer, one.has_answer = answer, True
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:
                try:
                    one.answer, one.has_answer = self._write([one.ask])[0], True
                except Exception as own_error:
                    one.error = own_error
