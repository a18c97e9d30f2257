"""Settings loaded afresh, under an environment of the test's choosing."""

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SETTINGS = Path(__file__).resolve().parents[2] / "config" / "settings.py"


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
