"""The folder of the servers, its lock and the short private one for their sockets."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


class ServiceError(RuntimeError):
    """A server could not be started, stopped or found; the message says what to do."""


def make_var(var: Path) -> None:
    var.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner = var.stat().st_uid
    if os.geteuid() not in {0, owner}:
        raise ServiceError(
            f"{var} belongs to {user_name(owner)}, not to you. Set POND_VAR to a folder of your own, "
            f"or give this one to {user_name(os.geteuid())}."
        )


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextlib.contextmanager
def lock(var: Path) -> Iterator[None]:
    """One caller at a time starts or stops servers; the kernel frees the lock of a killed one."""
    path = var / "services.lock"
    with path.open("a") as handle:
        give_to_owner_of(var, path)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def give_to_owner_of(var: Path, *paths: Path) -> None:
    """What root makes in another user's folder becomes that user's."""
    owner = var.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


class SocketDir:
    """A short private folder for the sockets: the path of a socket is limited to 107 bytes (103 on macOS)."""

    def __init__(self, var: Path) -> None:
        self.uid = var.stat().st_uid if var.is_dir() else os.geteuid()
        # One folder, one pair of servers: a copied or moved tree must not meet the servers of the original.
        mark = hashlib.sha256(os.fsencode(var)).hexdigest()[:12]
        base = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else tempfile.gettempdir()
        self.path = Path(base) / f"pond-{self.uid}-{mark}"

    def is_safe(self) -> bool:
        """Ours, a folder, closed to others: its name can be guessed, so someone could have made it first."""
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
                f"{self.path} belongs to {user_name(os.lstat(self.path).st_uid)} or is open to others: "
                "remove it, then start again."
            )
