"""A whole Pond for tests about processes: own services, sandbox, web, workers and beat, which may be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
from django.conf import settings

from config import embedded, processes
from tests import databases

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("sandbox", "web", "worker", "worker-bulk", "beat")


# One Django process for everything that a test asks of the house: each start of one costs two seconds of work.
CONSOLE = """
import contextlib, io, json, sys
import django
django.setup()
from django import db
from django.core.management import call_command
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    printed, names, error = io.StringIO(), {"call_command": call_command}, ""
    db.close_old_connections()
    try:
        with contextlib.redirect_stdout(printed):
            exec(json.loads(line), names)
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
    said = {"printed": printed.getvalue(), "error": error}
    print(json.dumps(said), file=answers, flush=True)
"""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], *, seconds: float = 120, what: str = "it") -> Any:
    """Poll until the condition answers something true; an assertion with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.1)


class House:
    """Everything that runs, and the handles that a test needs: SQL, manage.py, the sandbox's API, `kill -9`."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self._console: subprocess.Popen[str] | None = None
        self.port, self.sandbox_port = free_port(), free_port()
        self.shop = f"http://127.0.0.1:{self.port}"
        self.sandbox = f"http://127.0.0.1:{self.sandbox_port}"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name
            not in {"POND_ENV", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "POND_VAR", "DEBUG"}
        }
        self.environment = {
            **inherited,
            "POND_ENV": "demo",
            "POND_VAR": str(var),
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
            "PUBLIC_URL": self.shop,
            "SANDBOX_URL": self.sandbox,
            "CLOCK_FILE": str(var / "clock.json"),
            "SWEEP_SECONDS": "2",
            "HASHED_STATIC": "0",
            "SERVE_MEDIA": "1",
            "CELERY_SKIP_CHECKS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    # Life

    @contextlib.contextmanager
    def open(self) -> Iterator["House"]:
        """Services, migrations, accounts of the sandbox, then the programs; all ended afterwards."""
        databases.lay_out_house(self.var, settings.DATABASE_URL)
        self.bring_back_services()
        try:
            with processes.Supervisor(self.var, self.environment, say=lambda _: None) as self.supervisor:
                self.supervisor.start(self.program("sandbox"))
                wait_until(lambda: self.answers(self.sandbox + "/sandbox/api/state"), what="the sandbox")
                self.connect_accounts()
                for name in PROGRAMS:
                    if name != "sandbox":
                        self.supervisor.start(self.program(name))
                stopping = threading.Event()
                watcher = threading.Thread(target=self.supervisor.watch, args=(stopping,), daemon=True)
                watcher.start()
                wait_until(lambda: self.answers(self.shop + "/readyz"), what="the web server")
                try:
                    yield self
                finally:
                    stopping.set()
                    watcher.join(60)
        finally:
            self._end_console()
            with databases.own_servers():
                embedded.stop(self.var)

    def program(self, name: str) -> processes.Program:
        return {
            "sandbox": lambda: processes.sandbox(port=self.sandbox_port, var=self.var, shop_base=self.shop),
            "web": lambda: processes.web(port=self.port, workers=1),
            "worker": lambda: processes.worker("worker", queues="fast,default", concurrency=2),
            "worker-bulk": lambda: processes.worker("worker-bulk", queues="bulk", concurrency=1),
            "beat": lambda: processes.beat(var=self.var),
        }[name]()

    def connect_accounts(self) -> None:
        """The sandbox's accounts, through the operator's own command (in one process: Django loads slowly)."""
        commands = []
        for account in json.loads((self.var / "sandbox" / "credentials.json").read_text()):
            arguments = ["wechat_account", "set", account["kind"], account["key"]]
            for field in ("merchant_key", "public_key"):
                if account.get(field):
                    path = self.var / f"{field}.pem"
                    path.write_text(account[field])
                    account[field] = str(path)
            for field, value in account.items():
                if field not in ("kind", "key") and value not in (None, ""):
                    arguments += [f"--{field.replace('_', '-')}", str(value)]
            commands.append(arguments)
        self.python(
            f"from django.core.management import call_command\nfor one in {commands!r}: call_command(*one)"
        )

    def kill(self, name: str) -> None:
        """`kill -9` a program with everything that it forked, or a service ("postgres", "valkey")."""
        if name in ("postgres", "valkey"):
            with databases.own_servers():
                status = next(line for line in embedded.status(self.var) if line.name == name)
            assert status.pid, f"{name} does not run"
            os.kill(status.pid, signal.SIGKILL)
            return
        pid = wait_until(lambda: self.supervisor.pid(name), what=f"a process of {name}")
        os.killpg(pid, signal.SIGKILL)

    def bring_back_services(self) -> None:
        with databases.own_servers():
            self.services = embedded.ensure(self.var)

    def crash(self, name: str, *, down_seconds: float = 0.0) -> None:
        """`kill -9`, and back: a service after `down_seconds`, a program by the supervisor. Returns when it runs."""
        if name in ("postgres", "valkey"):
            self.kill(name)
            time.sleep(down_seconds)
            self.bring_back_services()
            return
        before = wait_until(lambda: self.supervisor.pid(name), what=f"a process of {name}")
        self.kill(name)
        wait_until(lambda: self.supervisor.pid(name) not in (None, before), what=f"a new {name}")
        if name == "web":
            wait_until(lambda: self.answers(self.shop + "/readyz"), what="the web server")

    # Handles

    def manage(self, *arguments: str, check: bool = True) -> str:
        """A command of manage.py; answers what it printed."""
        said = self._ask(f"call_command(*{arguments!r})")
        assert not check or not said["error"], f"{arguments}: {said}"
        return str(said["printed"])

    def python(self, code: str) -> str:
        """Run code inside Django (models and services at hand); answers what it printed."""
        said = self._ask(code)
        assert not said["error"], f"{code}: {said}"
        return str(said["printed"])

    def _ask(self, code: str) -> dict[str, Any]:
        if self._console is None:
            self._console = subprocess.Popen(
                [sys.executable, "-c", CONSOLE],
                cwd=ROOT,
                env={**self.environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._console.stdin
        assert self._console.stdout
        self._console.stdin.write(json.dumps(code) + "\n")
        self._console.stdin.flush()
        return dict(json.loads(self._console.stdout.readline()))

    def _end_console(self) -> None:
        if self._console is not None and self._console.stdin:
            self._console.stdin.close()
            self._console.wait(60)

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self.services.database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, params or None)
                return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: str, *params: Any) -> Any:
        return self.sql(query, *params)[0][0]

    def rows_left(self, *but: str) -> dict[str, int]:
        """Work that waits in Pond's rows, by what it is, `but` these; empty when everything has come to its end."""
        found = self.sql(
            """
            SELECT 'notices', count(*) FROM wechat_notice WHERE status = 'new'
            UNION ALL SELECT 'deliveries', count(*) FROM core_eventdelivery WHERE status = 'pending'
            UNION ALL SELECT 'messages', count(*) FROM wechat_outboundmessage WHERE state IN ('pending', 'sending')
            UNION ALL SELECT 'payments', count(*) FROM shop_payment WHERE status = 'open'
            UNION ALL SELECT 'orders', count(*) FROM shop_order WHERE status = 'pending_payment'
            UNION ALL SELECT 'refunds', count(*) FROM shop_refund WHERE status IN ('pending', 'processing')
            """
        )
        return {what: count for what, count in found if count and what not in but}

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock, and with it Pond's."""
        self.api("clock", {"advance_seconds": seconds})

    def undelivered(self) -> int:
        """Callbacks that the sandbox has not got rid of yet."""
        return len(self.api("callbacks?status=waiting&limit=5000")) + len(
            self.api("callbacks?status=sending&limit=5000")
        )

    def settle(self, *, seconds: float = 240) -> None:
        """Until the sandbox has delivered everything and no row of Pond waits; minutes pass in moments meanwhile."""

        step = 15.0

        def quiet() -> bool:
            nonlocal step
            left = self.undelivered() or self.rows_left()
            if left:
                # Repeats, backoffs and leases come due; what is asked about every ten minutes, too.
                step = min(step * 2, 600)
                self.advance(step)
                time.sleep(0.7)
            return not left

        wait_until(quiet, seconds=seconds, what="everything to settle")

    def api(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """The sandbox's HTTP API: GET without a body, POST with one."""
        request = urllib.request.Request(
            f"{self.sandbox}/sandbox/api/{path}",
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
            method=method or ("POST" if body is not None else "GET"),
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from error

    def answers(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=3) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def whole_house() -> Iterator[House]:
    with (
        tempfile.TemporaryDirectory(prefix="pond-house-") as folder,
        House(Path(folder)).open() as house,
    ):
        yield house
