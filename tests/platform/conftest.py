"""Embedded servers only, and settings loaded afresh, under an environment of the test's choosing."""

import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases

SETTINGS = Path(__file__).resolve().parents[2] / "config" / "settings.py"


@pytest.fixture(autouse=True)
def own_servers() -> Iterator[None]:
    """These tests are about the embedded servers, also when the suite itself uses real ones."""
    with databases.own_servers():
        yield


@pytest.fixture
def load_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], dict[str, Any]]:
    """Run the settings file with exactly these variables; gives its names, raises what it raises."""

    def load(environment: dict[str, str]) -> dict[str, Any]:
        for name in list(os.environ):
            if name not in {"PATH", "HOME", "LANG", "TMPDIR"}:
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(SETTINGS))

    return load
