"""Shared test ground: the embedded services come up by settings; plain clock; strict about nothing hidden."""

import gc
import os
import shutil
import threading
from collections.abc import Generator, Iterator
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # sync Playwright leaves an event loop running

import pytest
from django.core.cache import cache
from xdist.scheduler import LoadFileScheduling

from tests import databases, loading

# The first needs half the work of the others: it draws no window.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

HOUSE = ("test_crashes.py", "test_notices.py", "test_chain.py")
"""They share one, in this order."""

pytest_plugins = ["tests.conftest_sandbox"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process of the run is left waiting for another at its end; in the
    house that several files share, what counts everything comes before what adds to it.
    """

    loading.read_constants_of_rules_only()  # before Hypothesis reads all of them, at this same moment

    def place(item: pytest.Item) -> tuple[bool, int]:
        alone, plain = (item.get_closest_marker(name) is None for name in ("processes", "browser"))
        return alone, HOUSE.index(item.path.name) if item.path.name in HOUSE else plain

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What is loaded by the end of it stays: the collector of garbage need not walk through it, now or later."""
    if not getattr(session.config.option, "numprocesses", None):
        loading.let_examples_take_their_time()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the processes of a run begin: what each would load for itself, and the database."""
    from django.conf import settings

    if getattr(session.config.option, "numprocesses", None):
        first = partial(databases.migrated_template, settings.DATABASE_URL)
        threading.Thread(target=first, name="migrating", daemon=True).start()
        loading.write_bytecode(session.config)


class FilesAndTheirHouse(LoadFileScheduling):
    """A file's tests run in one process, and so do the files that share a house."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "house" if file.endswith(HOUSE) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return FilesAndTheirHouse(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """The machine's Chromium; the tests that need it are skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here")
    # A machine that is busy with other things may take its time: patience costs nothing where nothing is wrong.
    import_module("playwright.sync_api").expect.set_options(timeout=30_000)
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


@pytest.fixture(autouse=True)
def not_over_midnight(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that would begin in the last minute of the shop's day begins after it: a day's border is crossed by those
    that are about it, and not by chance. Where a sandbox leads the clock, it is left alone.
    """
    from core import clock

    left = clock.day_start(clock.today() + timedelta(days=1)) - clock.now()
    if left > timedelta(minutes=1) or {"sandbox", "sandbox_process", "house_with_shop"} & {
        *request.fixturenames
    }:
        yield
        return
    with clock.travel(left + timedelta(seconds=1)):
        yield
