"""Shared test ground: the embedded services come up by settings; plain clock; strict about nothing hidden."""

import os
from collections.abc import Iterator

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # sync Playwright leaves an event loop running

import pytest
from django.core.cache import cache

pytest_plugins = ["tests.conftest_sandbox"]


@pytest.fixture(autouse=True)
def clean_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests share one Valkey; each begins without what another cached."""
    yield
    if "db" in request.fixturenames or "transactional_db" in request.fixturenames:
        cache.clear()
