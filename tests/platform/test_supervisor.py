"""The supervisor restarts what ends, repeats errors, and leaves no process behind, however it ends itself."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import process_groups, processes
from config.process_groups import lives
from config.processes import Program, StepFailed, Supervisor

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# Forks a helper as web servers and Celery do; both note their numbers, both would live for minutes.
FORKING = (
    "import os, sys, time; os.fork(); open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(300)"
)


def forking(name: str, notes: Path) -> Program:
    return Program(name, [sys.executable, "-c", FORKING, str(notes)])


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    with Supervisor(tmp_path, dict(os.environ), say=said.append) as supervisor:
        yield supervisor


def until(condition: Callable[[], object], supervisor: Supervisor | None = None, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        if supervisor is not None:
            supervisor.look()
        time.sleep(0.02)


def noted(notes: Path) -> list[int]:
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def test_a_killed_program_is_started_again_and_its_forks_do_not_linger(
    supervisor: Supervisor, tmp_path: Path, said: list[str]
) -> None:
    notes = tmp_path / "notes"
    first = supervisor.start(forking("web", notes))
    until(lambda: len(noted(notes)) == 2)
    os.kill(first, signal.SIGKILL)

    until(lambda: len(noted(notes)) == 4, supervisor)

    assert [lives(pid) for pid in noted(notes)] == [False, False, True, True]
    assert supervisor.pid("web") in noted(notes)[2:]
    assert "web was killed by SIGKILL" in said[0]


def test_a_program_that_keeps_ending_waits_longer_each_time(
    supervisor: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(processes, "LONGEST_PAUSE_SECONDS", 0.04)
    supervisor.start(Program("beat", [sys.executable, "-c", "raise SystemExit(3)"]))
    until(lambda: len(said) == 4, supervisor)
    assert [line.partition(" (")[0] for line in said] == [
        f"beat ended with code 3; it starts again in {pause} s" for pause in ("0.01", "0.02", "0.04", "0.04")
    ]


def test_stopping_asks_first_and_then_kills_what_does_not_listen(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_groups, "STOP_SECONDS", 0.5)
    polite, deaf = tmp_path / "polite", tmp_path / "deaf"
    goodbye = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], 'w').write('goodbye'), sys.exit()))\n"
        "open(sys.argv[1], 'w').write('ready'); time.sleep(300)"
    )
    supervisor.start(Program("polite", [sys.executable, "-c", goodbye, str(polite)]))
    ignoring = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FORKING}"
    supervisor.start(Program("deaf", [sys.executable, "-c", ignoring, str(deaf)]))
    until(lambda: polite.exists() and len(noted(deaf)) == 2)

    supervisor.stop()

    assert polite.read_text() == "goodbye"
    assert not any(lives(pid) for pid in noted(deaf))


SUPERVISE = f"""
import os, sys, threading
from pathlib import Path
from config.processes import Program, Supervisor
var = Path(sys.argv[1])
with Supervisor(var, dict(os.environ)) as supervisor:
    supervisor.start(Program("web", [sys.executable, "-c", {FORKING!r}, str(var / "notes")]))
    print(supervisor._guard.pid, flush=True)
    supervisor.watch(threading.Event())
"""


@contextlib.contextmanager
def supervising(var: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that supervises one forking program; gives it and its guard's number."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(var)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    guard = int(process.stdout.readline())
    until(lambda: len(noted(var / "notes")) == 2)
    try:
        yield process, guard
    finally:
        process.kill()
        process.communicate()


def test_programs_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with supervising(tmp_path) as (process, guard):
        process.kill()
        until(lambda: not any(lives(pid) for pid in noted(tmp_path / "notes")))
        until(lambda: not lives(guard))


def test_the_next_supervisor_ends_what_a_killed_one_and_its_guard_left(tmp_path: Path) -> None:
    with supervising(tmp_path) as (process, guard):
        os.kill(guard, signal.SIGKILL)
        process.kill()
        process.wait()
        assert all(lives(pid) for pid in noted(tmp_path / "notes"))
        with Supervisor(tmp_path, dict(os.environ)):
            assert not any(lives(pid) for pid in noted(tmp_path / "notes"))


def test_a_killed_guard_is_replaced(supervisor: Supervisor) -> None:
    guard = supervisor._guard
    assert guard is not None
    guard.kill()
    until(lambda: supervisor._guard is not guard, supervisor)


def test_a_failed_step_shows_its_last_lines_and_where_the_rest_is(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed, match=r"migrate ended with code 1(?s:.*)no such column") as failure:
        supervisor.run("migrate", [sys.executable, "-c", "raise SystemExit('no such column')"])
    assert str(tmp_path / "log" / "migrate.log") in str(failure.value)
    supervisor.run("migrate", [sys.executable, "-c", "print('fine')"])
    assert (tmp_path / "log" / "migrate.log").read_text() == "fine\n"


def test_errors_reach_the_console_and_the_rest_stays_in_the_log(
    supervisor: Supervisor, tmp_path: Path, said: list[str]
) -> None:
    lines = [
        '{"level": "info", "event": "fine"}',
        '{"level": "error", "event": "the till is stuck"}',
        "INFO ok",
    ]
    code = f"import time; print({chr(10).join(lines)!r}, flush=True); time.sleep(300)"
    supervisor.start(Program("web", [sys.executable, "-c", code]))
    until(lambda: said, supervisor)
    assert said == ["web | the till is stuck"]
    assert "fine" in (tmp_path / "log" / "web.log").read_text()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "error", "event": "first\\nsecond"}', "first"),
        ('{"level": "warning", "event": "slow"}', None),
        ("[2026-01-01] [CRITICAL/MainProcess] gone", "[2026-01-01] [CRITICAL/MainProcess] gone"),
        ("django.db.utils.OperationalError: closed", "django.db.utils.OperationalError: closed"),
        ("Traceback (most recent call last):", None),
        ("0 ERRORS", None),
    ],
)
def test_what_counts_as_an_error_in_a_log(line: str, shown: str | None) -> None:
    assert processes.error_in(line) == shown


def test_a_log_that_grew_too_long_is_set_aside_while_the_program_writes_on(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 1000)
    code = "import time\nfor number in range(10000): print(number, flush=True); time.sleep(0.001)"
    supervisor.start(Program("worker", [sys.executable, "-c", code]))
    log = tmp_path / "log" / "worker.log"
    until(lambda: Path(f"{log}.1").exists(), supervisor)
    until(lambda: log.stat().st_size > 0)
    assert "\0" not in log.read_text()
