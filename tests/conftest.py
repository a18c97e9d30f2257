"""Shared test ground: the embedded services come up by settings; plain clock; strict about nothing hidden."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # sync Playwright leaves an event loop running

import pytest
from django.core.cache import cache

pytest_plugins = ["tests.conftest_sandbox"]


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """The machine's Chromium; the tests that need it are skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here")
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
    ]
    return {
        "executable_path": path,
        "args": ["--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", *quiet],
    }


@pytest.fixture(autouse=True)
def clean_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests share one Valkey; each begins without what another cached."""
    yield
    if "db" in request.fixturenames or "transactional_db" in request.fixturenames:
        cache.clear()
