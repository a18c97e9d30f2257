"""The Postgres and Valkey that Pond brings along: from wheels, kept under one folder, shared by processes.

Standard library only, so that settings, `run.py` and a bare shell can call it before Django exists.
`ensure(var)` is safe to call from any number of processes at once and costs two socket round trips when
both servers are up. A server whose address is in the environment (`DATABASE_URL`, `REDIS_URL`) is never
started here.

    python -m config.embedded up|down|status
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from config.embedded.addresses import cache_url, celery_url, without_password
from config.embedded.folders import ServiceError, give_to_owner_of, lock, make_var
from config.embedded.postgres import Postgres
from config.embedded.valkey import Valkey

__all__ = [
    "ServiceError",
    "ServiceStatus",
    "Services",
    "cache_url",
    "celery_url",
    "default_var",
    "ensure",
    "session",
    "status",
    "stop",
]


@dataclass(frozen=True)
class Services:
    """Where the two servers answer, whoever runs them."""

    database_url: str
    redis_url: str


@dataclass(frozen=True)
class ServiceStatus:
    """One line of `status`. `state` is "running", "stopped" or "external"."""

    name: str
    state: str
    address: str
    pid: int | None = None


# What other modules call


def default_var() -> Path:
    """The folder of everything that Pond keeps: `POND_VAR`, or `var/` beside the code."""
    return Path(os.environ.get("POND_VAR") or Path(__file__).resolve().parents[2] / "var")


def ensure(var: Path | str) -> Services:
    """Start what is missing and answer the addresses; returns at once when all is up.

    Raises `ServiceError` when a server does not answer within `START_LIMIT_SECONDS`, when the wheels are not
    installed, or when `var` belongs to another user.
    """
    var = Path(var).resolve()
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    if database_url and redis_url:
        return Services(database_url, redis_url)
    make_var(var)
    postgres, valkey = Postgres(var), Valkey(var)
    wanted = [server for server, url in ((postgres, database_url), (valkey, redis_url)) if not url]
    if not all(server.socket_dir.is_safe() and server.probe() == "up" for server in wanted):
        with lock(var):
            for server in wanted:
                server.start()
    return Services(database_url or postgres.url, redis_url or valkey.url)


@contextlib.contextmanager
def session(var: Path | str) -> Iterator[Services]:
    """Use the servers for a while. The last user who leaves stops them, unless they ran before the first.

    Users share a lock, which the kernel frees when one is killed; whoever gets it alone is the first or the
    last. The file says "stop" while sessions own the servers, also after all of them were killed.
    """
    var = Path(var).resolve()
    make_var(var)
    path = var / "services.users"
    with path.open("a+") as users:
        give_to_owner_of(var, path)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not any(line.state == "running" for line in status(var)):
                _write(users, "stop")
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield ensure(var)
        finally:
            # Giving the lock back first: two who leave at once would each wait for the other's share.
            fcntl.flock(users, fcntl.LOCK_UN)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                users.seek(0)
                if users.read() == "stop":
                    stop(var)
                    _write(users, "")


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def stop(var: Path | str) -> None:
    """Stop both embedded servers of this folder, cleanly; nothing happens when they are down."""
    var = Path(var).resolve()
    if not var.is_dir():
        return
    make_var(var)
    with lock(var):
        for server in (Valkey(var), Postgres(var)):
            server.stop()


def status(var: Path | str) -> list[ServiceStatus]:
    """What runs, and where; starts nothing."""
    var = Path(var).resolve()
    lines = []
    for server, variable in ((Postgres(var), "DATABASE_URL"), (Valkey(var), "REDIS_URL")):
        if os.environ.get(variable):
            lines.append(ServiceStatus(server.name, "external", without_password(os.environ[variable])))
        elif var.is_dir() and server.socket_dir.is_safe() and server.probe() == "up":
            lines.append(ServiceStatus(server.name, "running", server.url, server.pid()))
        else:
            lines.append(ServiceStatus(server.name, "stopped", server.url))
    return lines
