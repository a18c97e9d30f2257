"""The life of `run.py demo`, with one small program in place of the product: it ends tidily, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import embedded
from config.process_groups import lives
from tests.platform.test_embedded import folder, pids

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

DEMO = """
import os, sys
from config import demo
from config.processes import Program

code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(300)"

def start(supervisor, var, port, sandbox_port):
    supervisor.start(Program("web", [sys.executable, "-c", code, str(var / "web.pid")]))

demo.start_demo = start
sys.exit(demo.demo([]))
"""


@pytest.fixture
def var() -> Iterator[Path]:
    with folder() as made:
        yield made


@contextlib.contextmanager
def demo(var: Path) -> Iterator[subprocess.Popen[str]]:
    """Started as a shell script starts a background job: with Ctrl-C's signal ignored."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}
    }
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", DEMO],
        cwd=ROOT,
        env={**environment, "POND_VAR": str(var), "PORT": "9470", "SANDBOX_PORT": "9471"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if word in line:
            return told
    raise AssertionError(f"the demo ended: {told}")


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def web(var: Path) -> int:
    until(lambda: (var / "web.pid").exists() and (var / "web.pid").read_text())
    return int((var / "web.pid").read_text())


def test_a_demo_keeps_its_servers_refuses_a_second_one_and_ends_with_everything_on_ctrl_c(var: Path) -> None:
    with demo(var) as first:
        read_until(first, "Ctrl-C")
        program, servers = web(var), pids(var)
        with demo(var) as second:
            told, _ = second.communicate(timeout=120)
            assert second.returncode == 1
            assert "http://127.0.0.1:9470/" in told
        for pid in servers.values():
            os.kill(int(pid or 0), signal.SIGKILL)
        until(lambda: len(pids(var)) == 2)
        assert pids(var) != servers

        first.send_signal(signal.SIGINT)
        told, _ = first.communicate(timeout=120)

        assert first.returncode == 0, told
        assert not lives(program)
        assert pids(var) == {}


def test_after_a_killed_demo_the_next_one_works_and_cleans_up_for_both(var: Path) -> None:
    with demo(var) as first:
        read_until(first, "Ctrl-C")
        program = web(var)
        first.kill()
        first.wait()
        (var / "web.pid").unlink()
        with demo(var) as second:
            read_until(second, "Ctrl-C")
            assert not lives(program)
            program = web(var)
            second.terminate()
            second.communicate(timeout=120)
            assert second.returncode == 0
        assert not lives(program)
        assert pids(var) == {}
        assert [line.state for line in embedded.status(var)] == ["stopped", "stopped"]
