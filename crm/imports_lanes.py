"""Who writes the rows of a file: lanes, each with a connection of its own, so that the database works on two cores.

A member number belongs to one lane for ever: whoever stands twice in a file, or came with an earlier one, is met by the
same lane, which reads the rows in their order. What a lane has written and its place in the file are committed
together; of a lane that died nothing but its own last rows is missing. A lane has its next rows at hand when it has
written some: it waits neither for the reader nor for the other lane.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from zlib import crc32

from django.db import connection, transaction

from core import importing
from crm import imports_rules, imports_writing
from crm.models import MemberImport

LANES = 2
FRESH = {"row": 0, "rows": 0, "imported": 0, "skipped": 0, "refused": 0, "moments": []}
"""Of a lane: the last line that it has been given, how many of them were its own, what became of those, when."""
COUNTS = ("rows", "imported", "skipped", "refused")

Line = tuple[str, ...]


class Lanes:
    """The writers of one run. To be closed; after a failure the checkpoint says what is there."""

    def __init__(self, run: MemberImport, meter: importing.Meter) -> None:
        self._run, self._meter = run, meter
        self._states: list[dict[str, Any]] = meter.after or [dict(FRESH) for _lane in range(LANES)]
        self._saving = threading.Lock()
        self._failed: set[int] = set()
        self._begun: deque[list[Future[None]]] = deque()  # in the order of the file
        # In somebody's transaction everything is written in it, one lane after the other.
        self._threads = (
            [] if connection.in_atomic_block else [ThreadPoolExecutor(1) for _lane in self._states]
        )

    @property
    def row(self) -> int:
        """So many lines of the file are done in all lanes."""
        return min(state["row"] for state in self._states)

    def count(self, name: str) -> int:
        return sum(state[name] for state in self._states)

    def write(self, first: int, lines: Sequence[Line], tags: dict[str, int], too_many: Sequence[str]) -> None:
        """Hand judged lines, numbered from `first`, to their lanes. While they write these, the next may be handed
        over: returns when those before these are committed.
        """
        last = first + len(lines) - 1
        theirs: list[list[tuple[int, Line]]] = [[] for _lane in self._states]
        for number, line in enumerate(lines, first):
            theirs[crc32(line[2].encode()) % len(theirs)].append((number, line))
        work = [
            (lane, last, [pair for pair in theirs[lane] if pair[0] > state["row"]], tags, too_many)
            for lane, state in enumerate(self._states)
            if state["row"] < last
        ]
        if not self._threads:
            for one in work:
                self._write_one(*one)
            return
        self._begun.append([self._threads[one[0]].submit(self._write_one, *one) for one in work])
        self._settle(but=1)

    def settle(self) -> None:
        """Wait until all that was handed over is committed."""
        self._settle(but=0)

    def _settle(self, but: int) -> None:
        while len(self._begun) > but:
            for failure in [future.exception() for future in self._begun.popleft()]:
                if failure is not None:
                    raise failure

    def _write_one(
        self,
        lane: int,
        last: int,
        lines: Sequence[tuple[int, Line]],
        tags: dict[str, int],
        too_many: Sequence[str],
    ) -> None:
        if lane in self._failed:  # handed over since: its place is behind the rows that are missing
            return
        before = self._states[lane]
        try:
            with ExitStack() as saving:
                with transaction.atomic():
                    done = imports_writing.write(
                        self._run, lane, lines, tags, too_many, imports_rules.TOO_MANY_TAGS, before["moments"]
                    )
                    if self._threads:
                        _check_now()
                    # Until it is committed: the job's row has the places of all lanes.
                    saving.enter_context(self._saving)
                    after = {
                        "row": last,
                        "rows": before["rows"] + len(lines),
                        "imported": before["imported"] + done.imported,
                        "skipped": before["skipped"] + done.skipped,
                        "refused": before["refused"] + done.refused,
                        "moments": [*before["moments"], done.at.isoformat()],
                    }
                    states = [*self._states[:lane], after, *self._states[lane + 1 :]]
                    self._meter.move(done=sum(state["rows"] for state in states), after=states)
                self._states = states
        except BaseException:
            self._failed.add(lane)
            raise

    def close(self) -> None:
        for thread in self._threads:
            thread.submit(lambda: connection.close()).result()  # its own
            thread.shutdown()


def _check_now() -> None:
    """Foreign keys are asked before the commit, for which the lanes wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
