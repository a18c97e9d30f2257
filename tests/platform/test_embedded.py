"""The embedded servers start, are shared, survive being killed, and refuse what is not safe."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from config import embedded
from config.embedded.folders import SocketDir
from config.embedded.runner import Runner
from config.embedded.server import processes_in
from tests import databases

ROOT = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what root does")
pytestmark = pytest.mark.processes
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@contextlib.contextmanager
def folder(name: str = "var") -> Iterator[Path]:
    """A fresh `var` that ordinary users may reach; its servers and sockets are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pond-platform-") as made:
        Path(made).chmod(0o755)
        var = Path(made).resolve() / name
        try:
            yield var
        finally:
            if var.exists():
                # Not `stop`, which waits for a checkpoint that no one will read.
                for server, program in (("postgres", "postgres"), ("valkey", "valkey-server")):
                    for pid in processes_in(var / server, program):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                with databases.own_servers():
                    embedded.stop(var)
                shutil.rmtree(SocketDir(var).path, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A stopped, empty cluster to copy: making one takes most of a second."""
    with folder() as var:
        with databases.own_servers():
            embedded.ensure(var)
            embedded.stop(var)
        yield var / "postgres"


@pytest.fixture
def new_var() -> Iterator[Path]:
    """A folder in which nothing ever ran."""
    with folder() as made:
        yield made


@pytest.fixture
def var(new_var: Path, cluster: Path) -> Path:
    """A folder whose servers were stopped."""
    new_var.mkdir()
    shutil.copytree(cluster, new_var / "postgres")
    return new_var


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """Running servers, deep in the file system: no test that uses them leaves them stopped."""
    with folder(f"with blanks 池塘/{'deep' * 40}/var") as made:
        yield made


def pids(var: Path) -> dict[str, int | None]:
    return {line.name: line.pid for line in embedded.status(var) if line.state == "running"}


def query(services: embedded.Services, sql: str) -> object:
    with contextlib.closing(psycopg2.connect(services.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None


def up(var: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "config.embedded", "up"],
        cwd=ROOT,
        env={**os.environ, "POND_VAR": str(var)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_both_servers_serve_from_a_deep_folder_with_the_settings_that_keep_data(shared: Path) -> None:
    services = embedded.ensure(shared)

    assert query(services, "show fsync") == "on"
    assert query(services, "show max_connections") == "200"
    assert query(services, "show listen_addresses") == ""
    assert query(services, "show shared_preload_libraries") == "pg_stat_statements"
    valkey = redis.from_url(services.redis_url)
    assert valkey.config_get("appendonly", "maxmemory-policy", "port") == {
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "port": "0",
    }


def test_postgres_sees_the_words_of_chinese_text(shared: Path) -> None:
    services = embedded.ensure(shared)
    query(services, "create extension if not exists pg_trgm")
    assert query(services, "select cardinality(show_trgm('红色连衣裙'))") == 6


def test_a_second_call_changes_nothing_and_costs_almost_nothing(shared: Path) -> None:
    embedded.ensure(shared)
    before = pids(shared)
    took: list[float] = []
    while not took or (
        took[-1] > 0.5 and len(took) < 5
    ):  # a machine that is busy elsewhere is given another go
        started = time.monotonic()
        embedded.ensure(shared)
        took.append(time.monotonic() - started)
    assert took[-1] < 0.5, took
    assert pids(shared) == before
    assert set(before) == {"postgres", "valkey"}


def test_nobody_else_may_enter_the_folder_of_the_sockets(shared: Path) -> None:
    embedded.ensure(shared)
    sockets = SocketDir(shared).path
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert len(str(sockets / "pg" / ".s.PGSQL.5432")) <= 103


def test_callers_at_the_same_moment_share_one_pair_of_servers(new_var: Path) -> None:
    callers = [up(new_var) for _ in range(4)]
    answers = [caller.communicate(timeout=240)[0] for caller in callers]
    assert [caller.returncode for caller in callers] == [0] * 4, answers
    assert len(set(answers)) == 1
    assert len(pids(new_var)) == 2


@linux
def test_what_was_committed_survives_kill_9_of_both(var: Path) -> None:
    services = embedded.ensure(var)
    query(services, "create table kept as select 42 as number")
    redis.from_url(services.redis_url).set("kept", "yes")
    for pid in pids(var).values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    again = embedded.ensure(var)

    assert again == services
    assert query(again, "select number from kept") == 42
    assert redis.from_url(again.redis_url).get("kept") == b"yes"
    assert len(processes_in(var / "valkey", "valkey-server")) == 1


@linux
def test_lock_files_that_name_a_living_stranger_neither_stop_a_start_nor_endanger_the_stranger(
    var: Path,
) -> None:
    embedded.ensure(var)
    left = (var / "postgres" / "postmaster.pid").read_text()
    embedded.stop(var)
    with subprocess.Popen(["sleep", "300"]) as stranger:
        try:
            # The crashed servers' numbers now belong to somebody else.
            lock = "\n".join([str(stranger.pid), *left.splitlines()[1:]]) + "\n"
            (var / "postgres" / "postmaster.pid").write_text(lock)
            (SocketDir(var).path / "pg" / ".s.PGSQL.5432.lock").write_text(lock)
            (var / "valkey" / "valkey.pid").write_text(f"{stranger.pid}\n")
            embedded.stop(var)
            assert stranger.poll() is None

            assert query(embedded.ensure(var), "select 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_killed_first_start_leaves_nothing_half_made(new_var: Path) -> None:
    (new_var / "postgres.new").mkdir(parents=True)
    (new_var / "postgres.new" / "PG_VERSION").write_text("half")
    assert query(embedded.ensure(new_var), "select 1") == 1
    assert not (new_var / "postgres.new").exists()


@linux
def test_stop_ends_both_and_status_says_so(var: Path) -> None:
    embedded.ensure(var)
    embedded.stop(var)
    assert [line.state for line in embedded.status(var)] == ["stopped", "stopped"]
    assert processes_in(var / "postgres", "postgres") == []
    assert processes_in(var / "valkey", "valkey-server") == []
    embedded.stop(var)  # again: nothing to do


def test_a_server_named_in_the_environment_is_not_started(
    new_var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://pond:geheim@db.example.com/pond")
    services = embedded.ensure(new_var)
    assert services.database_url == "postgresql://pond:geheim@db.example.com/pond"
    assert not (new_var / "postgres").exists()
    lines = {line.name: line for line in embedded.status(new_var)}
    assert lines["postgres"].state == "external"
    assert lines["postgres"].address == "postgresql://db.example.com/pond"  # no password on a screen
    assert lines["valkey"].state == "running"

    monkeypatch.setenv("REDIS_URL", "redis://cache.example.com:6379/0")
    assert embedded.ensure(Path("/nowhere")) == embedded.Services(
        "postgresql://pond:geheim@db.example.com/pond", "redis://cache.example.com:6379/0"
    )


def test_a_socket_folder_open_to_others_is_refused_with_the_way_out(new_var: Path) -> None:
    new_var.mkdir()
    path = SocketDir(new_var).path
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(embedded.ServiceError, match=f"{path}.*remove it"):
        embedded.ensure(new_var)
    assert not (new_var / "postgres").exists()


@as_root
def test_a_folder_of_another_user_is_refused_with_the_way_out(var: Path) -> None:
    told = run_as_nobody(var)
    assert told.returncode == 1
    assert "POND_VAR" in told.stdout + told.stderr


def python_for_nobody() -> str:
    """A Python that `nobody` may run, with our packages; root's own is often below a closed home."""
    nobody = pwd.getpwnam("nobody")
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [python, "-c", "import sys, config.embedded; print(sys.version_info >= (3, 11))"],
                cwd="/",
                env={"PYTHONPATH": str(ROOT)},
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.stdout.strip() == "True":
                return python
    pytest.skip("no Python here that the user nobody can run")


def run_as_nobody(var: Path) -> subprocess.CompletedProcess[str]:
    nobody = pwd.getpwnam("nobody")
    python = python_for_nobody()
    packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    return subprocess.run(
        [python, "-m", "config.embedded", "up"],
        cwd=ROOT,
        env={
            "POND_VAR": str(var),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *packages]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ.get("PATH", ""),
        },
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


@as_root
def test_an_ordinary_user_runs_them_and_root_can_use_and_revive_them(new_var: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(new_var.parent, nobody, -1)

    told = run_as_nobody(new_var)

    assert told.returncode == 0, told.stdout + told.stderr
    first = pids(new_var)
    assert len(first) == 2
    for pid in first.values():
        assert Path(f"/proc/{pid}").stat().st_uid == nobody
        os.kill(int(pid or 0), signal.SIGKILL)
    # `sudo` in a user's folder: what root starts there stays the user's.
    services = embedded.ensure(new_var)
    assert query(services, "select 1") == 1
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids(new_var).values()} == {nobody}
    assert {path.stat().st_uid for path in new_var.rglob("*")} == {nobody}


@as_root
def test_root_without_user_namespaces_runs_postgres_as_nobody(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose rules forbid namespaces; also below a folder that is closed to `nobody`."""
    monkeypatch.setattr(Runner, "in_user_namespace", classmethod(lambda cls: None))
    var.parent.chmod(0o700)
    services = embedded.ensure(var)
    assert query(services, "select 1") == 1
    postgres = pids(var)["postgres"]
    assert Path(f"/proc/{postgres}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    os.kill(int(postgres or 0), signal.SIGKILL)
    assert query(embedded.ensure(var), "select 1") == 1


class TestSession:
    def test_the_last_of_several_users_stops_the_servers(self, var: Path) -> None:
        with embedded.session(var):
            with embedded.session(var):
                pass
            assert len(pids(var)) == 2
        assert pids(var) == {}

    def test_servers_that_somebody_had_started_before_stay(self, var: Path) -> None:
        embedded.ensure(var)
        with embedded.session(var):
            pass
        assert len(pids(var)) == 2

    def test_servers_of_a_killed_user_are_stopped_by_the_next(self, var: Path) -> None:
        code = (
            "import os, sys; from config import embedded\n"
            "with embedded.session(sys.argv[1]): os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, str(var)], cwd=ROOT, check=False)
        assert len(pids(var)) == 2
        with embedded.session(var):
            assert len(pids(var)) == 2
        assert pids(var) == {}


@pytest.mark.parametrize(
    ("given", "celery", "cache"),
    [
        ("unix:///run/v.sock", "redis+socket:///run/v.sock?virtual_host=0", "unix:///run/v.sock?db=1"),
        ("unix:///run/v.sock?db=3", "redis+socket:///run/v.sock?virtual_host=3", "unix:///run/v.sock?db=4"),
        ("redis://cache:6379", "redis://cache:6379", "redis://cache:6379/1"),
        ("redis://:pw@cache:6379/2", "redis://:pw@cache:6379/2", "redis://:pw@cache:6379/3"),
        (
            "rediss://cache/0?ssl_cert_reqs=required",
            "rediss://cache/0?ssl_cert_reqs=required",
            "rediss://cache/1?ssl_cert_reqs=required",
        ),
    ],
)
def test_one_address_is_spelled_for_celery_and_for_the_cache_which_never_share_a_database(
    given: str, celery: str, cache: str
) -> None:
    assert embedded.celery_url(given) == celery
    assert embedded.cache_url(given) == cache


def test_another_broker_may_carry_the_wake_ups_but_not_the_cache() -> None:
    assert embedded.celery_url("amqp://rabbit//") == "amqp://rabbit//"
    with pytest.raises(ValueError, match="redis://"):
        embedded.cache_url("amqp://rabbit//")
