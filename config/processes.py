"""The programs that make a running Pond, and the supervisor that keeps them running on one machine.

Standard library only. Production uses the same commands through `docker-compose.yml`; this supervisor serves
`run.py demo` and the tests that kill processes. Postgres and Valkey belong to `config.embedded`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from config.process_groups import MARK, end_groups, end_leftovers

ROOT = Path(__file__).resolve().parent.parent
STEADY_SECONDS = 20.0
"""A program that ran this long is trusted again: its next restart is immediate."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
LOG_LIMIT_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Program:
    """One long-running command; `name` is its log file and the prefix of its lines."""

    name: str
    command: Sequence[str]


class StepFailed(RuntimeError):
    """A command that must end well did not; the message ends with its last lines."""


# The programs


def web(*, port: int, host: str = "127.0.0.1", workers: int = 2, threads: int = 8) -> Program:
    # A request gets six seconds to finish at a stop; a connection that sends no header gets ten.
    limits = "--respawn-failed-workers --workers-kill-timeout 6 --http1-header-read-timeout 10000"
    size = f"--workers {workers} --blocking-threads {threads}"
    return _python(
        "web",
        f"granian --interface wsgi --no-ws --host {host} --port {port} {size} {limits}",
        "config.wsgi:application",
    )


def worker(name: str, *, queues: str, concurrency: int) -> Program:
    # Gossip, mingle and heartbeats only tell workers about each other, which nothing here asks for.
    quiet = "--without-gossip --without-mingle --without-heartbeat"
    return _python(name, f"celery -A config worker -n {name}@%h -Q {queues} -c {concurrency} -l INFO {quiet}")


def beat(*, var: Path) -> Program:
    return _python("beat", "celery -A config.beat beat -l INFO -s", str(var / "beat-schedule"))


def sandbox(*, port: int, var: Path, shop_base: str) -> Program:
    folders = ["--state-dir", str(var / "sandbox"), "--clock-file", str(var / "clock.json")]
    return _python("sandbox", f"wechat.sandbox --port {port} --shop-base {shop_base}", *folders)


def _python(name: str, words: str, *arguments: str) -> Program:
    return Program(name, [sys.executable, "-m", *words.split(), *arguments])


def demo_environment(*, var: Path, port: int, sandbox_port: int) -> dict[str, str]:
    """The settings of a demo: every process of one demo must agree on them. What the caller has set stays."""
    chosen = {
        "POND_ENV": "demo",
        "POND_VAR": str(var),
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
        "CLOCK_FILE": str(var / "clock.json"),
        # Offered after a payment; the demo's win-back rule writes by it.
        "ORDER_TEMPLATES": "pond-arrivals",
        # Migrating has checked the whole project already; each worker would again, for a third of a second.
        "CELERY_SKIP_CHECKS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {
        **chosen,
        **os.environ,
        "POND_VAR": str(var),
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
    }


# The supervisor


@dataclass
class _Running:
    """A started program. Each has its own session, so its process group holds all that it forks."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = 0.0
    start_again_at: float | None = None
    read_until: int = 0
    silent_until: float = 0.0


@dataclass
class Supervisor:
    """Starts programs, restarts the ones that end, and leaves none behind, however it ends itself.

    Its own death is noticed by a guard: a small process at the other end of a pipe, which ends the groups
    that are left. (A death signal set on the children would reach only them, not the workers that they fork.)
    """

    var: Path
    environment: Mapping[str, str]
    say: Callable[[str], None] = print
    _running: dict[str, _Running] = field(default_factory=dict)
    _groups: set[int] = field(default_factory=set)
    _guard: subprocess.Popen[bytes] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> Supervisor:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        end_leftovers(self.var)
        self._start_guard()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log_dir(self) -> Path:
        return self.var / "log"

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a command to its end, its output in the log `name`. Raises `StepFailed` with the last lines."""
        log = self.log_dir / f"{name}.log"
        with log.open("wb") as output:
            process = self._spawn(command, output)
            code = process.wait()
        self._forget(process.pid)
        if code != 0:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            raise StepFailed(f"{name} {_ending(code)}. The end of {log}:\n{last}")

    def start(self, program: Program) -> int:
        """Start a program and keep it running from now on (`watch` does that); answers its process id."""
        running = self._running.setdefault(program.name, _Running(program))
        log = self.log_dir / f"{program.name}.log"
        with log.open("ab") as output:
            running.read_until = output.tell()
            running.process = self._spawn(program.command, output)
        running.started_at = time.monotonic()
        running.start_again_at = None
        return running.process.pid

    def pid(self, name: str) -> int | None:
        """The process id of a program now; None while it waits for its restart."""
        running = self._running[name]
        return running.process.pid if running.process is not None and running.start_again_at is None else None

    def watch(self, until: threading.Event, *, every_seconds: float = 0.2) -> None:
        """Restart what ends and repeat errors from the logs, until the event is set."""
        while not until.wait(every_seconds):
            self.look()

    def look(self) -> None:
        """One round of `watch`."""
        now = time.monotonic()
        for running in list(self._running.values()):
            self._repeat_errors(running, now)
            if running.start_again_at is not None:
                if now >= running.start_again_at:
                    self.start(running.program)
            elif running.process is not None and running.process.poll() is not None:
                self._plan_restart(running, now)
        if self._guard is not None and self._guard.poll() is not None:
            self._start_guard()

    def stop(self) -> None:
        """End everything: ask, wait up to `STOP_SECONDS`, then kill. Returns when no process is left."""
        with self._lock:
            groups, self._groups = self._groups, set()
        end_groups(groups)
        self._running.clear()
        if self._guard is not None:
            guard, self._guard = self._guard, None
            _tell(guard, "".join(f"-{group}\n" for group in groups))
            if guard.stdin is not None:
                with contextlib.suppress(OSError):
                    guard.stdin.close()
            guard.wait()
        end_leftovers(self.var)  # a signal may have struck between the start of a process and its being noted

    def _plan_restart(self, running: _Running, now: float) -> None:
        process = running.process
        assert process is not None
        # A killed parent leaves its forks, which would go on serving the port or the queue.
        end_groups({process.pid}, ask=False)
        self._forget(process.pid)
        steady = now - running.started_at > STEADY_SECONDS
        running.pause = FIRST_PAUSE_SECONDS if steady or not running.pause else running.pause * 2
        running.pause = min(running.pause, LONGEST_PAUSE_SECONDS)
        running.start_again_at = now + running.pause
        name = running.program.name
        log = self.log_dir / f"{name}.log"
        self.say(f"{name} {_ending(process.returncode)}; it starts again in {running.pause:g} s ({log})")

    def _repeat_errors(self, running: _Running, now: float) -> None:
        """Show new error lines of a log on the console; the rest stays in the file."""
        log = self.log_dir / f"{running.program.name}.log"
        try:
            size = log.stat().st_size
            if size <= running.read_until:
                return
            with log.open("rb") as lines:
                lines.seek(running.read_until)
                new = lines.read(256 * 1024)
        except FileNotFoundError:
            return
        whole = new.rfind(b"\n") + 1
        if not whole:
            return
        running.read_until += whole
        if running.read_until > LOG_LIMIT_BYTES:
            # The program writes at the end, wherever that is, so its file can be emptied under it.
            shutil.copyfile(log, f"{log}.1")
            os.truncate(log, 0)
            running.read_until = 0
        errors = [
            found for line in new[:whole].decode(errors="replace").splitlines() if (found := error_in(line))
        ]
        if errors and now >= running.silent_until:
            for line in errors[:3]:
                self.say(f"{running.program.name} | {line[:300]}")
            if len(errors) > 3:
                # A flood of errors says nothing more than its first lines.
                running.silent_until = now + 10
                self.say(f"{running.program.name} | … {len(errors) - 3} more: {log}")

    def _spawn(self, command: Sequence[str], output: BinaryIO) -> subprocess.Popen[bytes]:
        with self._lock:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, MARK: str(self.var)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.add(process.pid)
            if self._guard is not None:
                _tell(self._guard, f"+{process.pid}\n")
        return process

    def _forget(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            if self._guard is not None:
                _tell(self._guard, f"-{group}\n")

    def _start_guard(self) -> None:
        with self._lock:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "config.process_groups"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            _tell(self._guard, "".join(f"+{group}\n" for group in self._groups))


def error_in(line: str) -> str | None:
    """The line as a person should see it when it tells of an error, else None."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return None
        if str(entry.get("level", "")).lower() not in {"error", "critical"}:
            return None
        return str(entry.get("event") or entry.get("message") or line).partition("\n")[0]
    return line if re.search(r"\b(ERROR|CRITICAL)\b|^\w+(\.\w+)*(Error|Exception): ", line) else None


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _tell(guard: subprocess.Popen[bytes], lines: str) -> None:
    if guard.stdin is not None:
        with contextlib.suppress(OSError):  # a dead guard is started again by `look`
            guard.stdin.write(lines.encode())
            guard.stdin.flush()


def run_in_foreground(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run in the foreground; Ctrl-C and SIGTERM reach the command, and we wait until it has cleaned up."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # the terminal has told the command as well
                return process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
