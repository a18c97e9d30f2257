"""Shared test ground: the embedded services come up by settings; plain clock; strict about nothing hidden."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # sync Playwright leaves an event loop running

import pytest
from django.core.cache import cache

from tests import databases

# The first needs half the work of the others: it draws no window.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

pytest_plugins = ["tests.conftest_sandbox"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process of the run is left waiting for another at its end."""
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("processes", "browser")])


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """The machine's Chromium; the tests that need it are skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
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


@pytest.fixture(scope="session", autouse=True)
def static_files_are_kept() -> None:
    """Browsers of the tests fetch a script or font once, as from a real server, and not again on each page."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    served = StaticFilesHandler.serve

    def kept(self: Any, request: Any) -> Any:
        response = served(self, request)
        response.headers["Cache-Control"] = "max-age=600"
        return response

    StaticFilesHandler.serve = kept


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: Any, django_db_modify_db_settings: None
) -> Iterator[None]:
    """A copy of the migrated template for this process, instead of migrating in each."""
    from django.conf import settings
    from django.db import connection

    databases.empty_tables_by_need(type(connection.ops))
    name = connection.creation._get_test_db_name()
    databases.make_database(name, settings.DATABASE_URL)
    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name
    yield
    with django_db_blocker.unblock():
        connection.close()
        databases.drop_database(name, settings.DATABASE_URL)


@pytest.fixture(autouse=True)
def clean_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests share one Valkey; each begins without what another cached."""
    yield
    if "db" in request.fixturenames or "transactional_db" in request.fixturenames:
        cache.clear()
