"""How a server program is run as somebody whom it accepts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.embedded.folders import ServiceError, user_name
from config.embedded.server import tail


@dataclass(frozen=True)
class Runner:
    """How a server program is run: as we are, or as somebody else when we are root: Postgres refuses root."""

    prefix: Sequence[str] = ()
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def in_user_namespace(cls) -> Runner | None:
        """The files stay root's and no account is needed; None where the kernel or a container forbids it."""
        prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
        return cls(prefix) if _works([*prefix, "true"]) else None

    @classmethod
    def as_user(cls, uid: int, gid: int, program: Path, folder: Path) -> Runner:
        """As that user, with the right to pass through closed folders (a home of mode 0700) if needed."""
        plain = cls(uid=uid, gid=gid)
        if plain.reaches(program, folder):
            return plain
        identity = ("--reuid", str(uid), "--regid", str(gid), "--clear-groups")
        rights = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
        helped = cls(("setpriv", *identity, *rights, "--"), uid, gid)
        if not helped.reaches(program, folder):
            raise ServiceError(
                f"Postgres refuses to run as root, and {user_name(uid)} cannot reach {folder}. "
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
            raise ServiceError(f"{Path(command[0]).name} failed ({done.returncode}). {log}:\n{tail(log)}")

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
