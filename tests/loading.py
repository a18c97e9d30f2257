"""What every process of a run would work out for itself on a fresh clone, worked out once before they start.

A fault here costs time only.
"""

import compileall
import contextlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = re.compile(r"[/\\](pricing[/\\]\w+|\w*rules|alive|routing|segments\w*)\.py$")


def write_bytecode(config: pytest.Config) -> None:
    """Of all our modules, and of the tests with their assertions rewritten: five seconds of work a process."""
    if sys.dont_write_bytecode:
        return
    for folder in ROOT.iterdir():
        if folder.is_dir() and not folder.name.startswith((".", "var")):
            compileall.compile_dir(str(folder), quiet=2)
    with contextlib.suppress(Exception):  # pytest's own, which may change
        from _pytest.assertion import rewrite

        state = config.stash[rewrite.assertstate_key]
        for test in (*ROOT.glob("tests/*/test_*.py"), *ROOT.glob("tests/**/conftest*.py")):
            folder = rewrite.get_cache_dir(test)
            kept = folder / f"{test.stem}{rewrite.PYC_TAIL}"
            if rewrite._read_pyc(test, kept) is None and rewrite.try_makedirs(folder):
                source_hash, code = rewrite._rewrite_test(test, config)
                rewrite._write_pyc(state, code, source_hash, kept)


def let_examples_take_their_time() -> None:
    """A process that others keep waiting for a fifth of a second is no fault of the example that it is at."""
    from hypothesis import HealthCheck, settings

    slow = [HealthCheck.too_slow]
    settings.register_profile("patient", settings(), deadline=None, suppress_health_check=slow)
    settings.load_profile("patient")


def read_constants_of_rules_only() -> None:
    """Hypothesis mixes constants of the code into what it draws: those of the rules, which it is used for.

    It would read all modules of ours: two seconds a process.
    """
    if providers := sys.modules.get("hypothesis.internal.conjecture.providers"):
        by_hypothesis = providers.is_local_module_file
        providers.is_local_module_file = lambda path: bool(PURE.search(path)) and by_hypothesis(path)  # type: ignore[attr-defined]
