"""`run.py check`: what must hold before a change goes in, one named step each. Standard library only."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from config import embedded
from config.processes import run_in_foreground

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")
Step = tuple[str, Callable[[], tuple[int, str]]]
"""A name, and what answers an exit code and a summary."""

PARALLEL = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""Four for two cores: the tests about processes wait for them. The longest files come first."""


def check(arguments: Sequence[str]) -> int:
    python = sys.executable
    django = [python, "manage.py"]

    def tests() -> tuple[int, str]:
        return run_in_foreground([python, "-m", "pytest", *(arguments or PARALLEL)]), "see above"

    steps: list[Step] = [
        ("format", captured([python, "-m", "ruff", "format", "--check", "."])),
        ("lint", captured([python, "-m", "ruff", "check", "."])),
        ("types", captured([python, "-m", "mypy"])),
        ("import contracts", captured([str(Path(python).with_name("lint-imports"))])),
        ("migrations in sync", captured([*django, "makemigrations", "--check", "--dry-run"])),
        ("django checks", captured([*django, "check"])),
        ("translations", captured([python, "tools/translations.py", "check"])),
        ("locks without addresses", lambda: verdict(addresses_in_locks())),
        ("files without machine paths", lambda: verdict(machine_paths())),
        ("tests", tests),
    ]
    with embedded.session(embedded.default_var()):
        return run_steps(steps)


def run_steps(steps: Sequence[Step]) -> int:
    """Run every step, also after one failed, then a table; 1 when any failed."""
    results = []
    for name, step in steps:
        print(f"── {name}", flush=True)
        started = time.monotonic()
        code, summary = step()
        seconds = time.monotonic() - started
        results.append((name, code, seconds, summary))
        print(f"{'ok' if code == 0 else 'FAILED':6} {name} ({seconds:.1f} s): {summary}", flush=True)
    print("\n── summary")
    for name, code, seconds, summary in results:
        print(f"{'ok' if code == 0 else 'FAILED':6} {seconds:6.1f} s  {name:28} {summary}")
    failed = [name for name, code, *_ in results if code]
    print(
        f"{len(failed)} of {len(results)} steps failed: {', '.join(failed)}."
        if failed
        else "All steps passed."
    )
    return 1 if failed else 0


def captured(command: Sequence[str]) -> Callable[[], tuple[int, str]]:
    """A step whose output is shown only when it fails; its summary is its last line."""

    def step() -> tuple[int, str]:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        output = (done.stdout + done.stderr).strip()
        if done.returncode != 0:
            print(output)
        lines = [line for line in output.splitlines() if line.strip() and not line.startswith("[*]")]
        return done.returncode, (lines[-1].strip() if lines else "nothing to report")[:160]

    return step


def verdict(faults: list[str]) -> tuple[int, str]:
    for fault in faults:
        print(fault)
    return (1, f"{len(faults)} found") if faults else (0, "none found")


def addresses_in_locks() -> list[str]:
    """Lines of the locks that name an index, a link or a file: a lock must work with any index."""
    pattern = re.compile(r"://|file:|^--(index|extra|find)")
    return [
        f"{lock.name}:{number}: {line}"
        for lock in LOCKS
        for number, line in enumerate(lock.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def machine_paths() -> list[str]:
    """Tracked lines that name a folder of somebody's machine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        return []  # not a clone: nothing is tracked
    pattern = r"(?<![\w/.:])/(?:root|home/\w+|Users/\w+)/"
    if len(ROOT.parts) > 2:  # a folder right below / (as in a container) is a word like any other
        pattern += rf"|{re.escape(str(ROOT))}(?![\w-])"
    found = []
    for name in listed.stdout.decode().split("\0"):
        try:
            text = (ROOT / name).read_text() if name else ""
        except (OSError, UnicodeDecodeError):
            continue  # deleted, or not text
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{name}:{number}: {line.strip()[:120]}")
    return found
