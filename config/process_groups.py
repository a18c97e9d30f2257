"""Processes by group and by mark: which of them live, and ending them so that none is left.

python -m config.process_groups    the guard of a supervisor, which reads its groups from standard input
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MARK = "POND_SUPERVISED"
"""Environment variable of every supervised process: names the folder whose supervisor started it."""

STOP_SECONDS = 8.0


def end_groups(groups: set[int], *, ask: bool = True) -> None:
    """End process groups: their leaders are asked first, then whatever is left is killed.

    Only the leader is asked: it knows how to end its forks.
    """
    if ask:
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.kill(group, signal.SIGTERM)
        _until(lambda: not any(lives(leader) for leader in groups), STOP_SECONDS)
    for group in groups:
        if _has_members(group):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
    _until(lambda: not any(_has_members(group) for group in groups), 5)


def end_leftovers(var: Path) -> None:
    """Kill the processes of an earlier supervisor of this folder, when it and its guard were killed together.

    Finds them by their environment, so only where /proc is; elsewhere the guard is all there is.
    """
    left = list(_supervised(var))
    for pid in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    # Their ports and files are free when they are gone, not when they are told to go.
    _until(lambda: not any(lives(pid) for pid in left), 5)


def _supervised(var: Path) -> Iterator[int]:
    mark = f"{MARK}={var}".encode()
    for pid in _pids():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield pid


def lives(pid: int) -> bool:
    """Whether a process runs. Zombies do not: nobody may ever reap an orphan."""
    if _PROC.exists():
        return _state_and_group(pid)[0] in _ALIVE
    return _reaches(os.kill, pid)


def _has_members(group: int) -> bool:
    if _PROC.exists():
        return any(found == group and state in _ALIVE for state, found in map(_state_and_group, _pids()))
    return _reaches(os.killpg, group)


_PROC = Path("/proc/self/stat")
_ALIVE = frozenset("RSDTtIW")


def _reaches(kill: Callable[[int, int], None], number: int) -> bool:
    try:
        kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _state_and_group(pid: int) -> tuple[str, int]:
    """One letter as `ps` shows it, and the process group; ("", 0) for a process that is gone."""
    try:
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return "", 0
    return state, int(group)


def _pids() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:
        return
    yield from (int(name) for name in names if name.isdigit())


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def guard() -> None:
    """Read "+group" and "-group" lines until the supervisor is gone, then end the groups that are left."""
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(wish, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    if groups:
        end_groups(groups)


if __name__ == "__main__":
    guard()
