"""What all imports of files share: the source's name, working in the process of a command, the meter of the phases.

A run is a `core.uploads.ImportedFile`; its job's parameters name it.
"""

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from django.core.files.base import File
from django.db import models
from django.utils.translation import gettext as _

from core import clock, jobs
from core.errors import ImportRunning, WrongMapping
from core.models import Job
from core.sheets import file_hash, open_rows
from core.uploads import ImportedFile

SOURCE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"
LONGEST_SOURCE = 24

Run = TypeVar("Run", bound=ImportedFile)


class Mapping(Protocol):
    """Which column of a file is what."""

    def checked(self, header: list[str]) -> Any:
        """Raises WrongMapping when it does not fit the header."""

    def as_json(self) -> dict[str, Any]: ...


AnyMapping = TypeVar("AnyMapping", bound=Mapping)


def source_named(given: str, stem: str) -> str:
    """The other shop's short name; when none is given, from the file's: "Online_Retail_sample" is
    "online_retail_sample". Raises WrongMapping.
    """
    letters = (letter for letter in stem.lower().replace(" ", "_") if letter in SOURCE_CHARACTERS)
    source = given or "".join(letters)[:LONGEST_SOURCE]
    if not source or len(source) > LONGEST_SOURCE or set(source) - set(SOURCE_CHARACTERS):
        raise WrongMapping(_("The source is a short name of small letters, digits, - and _."))
    return source


def run_for(
    kind: type[Run],
    *,
    path: Path | None,
    upload: "File[Any] | None",
    source: str,
    created_by_id: int | None,
    mapping: AnyMapping | None,
    detected: Callable[[list[str]], AnyMapping],
) -> tuple[Run, AnyMapping]:
    """A run, not saved yet, for a file on this machine or an upload, and its mapping: the given one or what the header
    tells. It is checked against the header, but for an upload's detected one, which a person looks at first.

    Raises UnreadableFile, WrongMapping.
    """
    name = (upload.name if upload else str(path)) or "file"
    run = kind(
        source=source_named(source, Path(name).stem),
        file_name=Path(name).name[:200],
        created_at=clock.now(),
        created_by_id=created_by_id,
    )
    if upload is not None:
        run.file.save(Path(name).name, upload, save=False)
        path = Path(run.file.path)
    assert path is not None, "a run has a file"
    with open_rows(path) as (header, _rows):
        chosen = mapping or detected(header)
        if mapping is not None or upload is None:
            chosen.checked(header)
    run.file_hash, run.columns = file_hash(path), chosen.as_json()
    return run, chosen


def run_here(*, run: Run, path: Path, kind: str) -> tuple[Run, dict[str, Any]]:
    """Do a run's work in this process; returns the run and its job's result. An unfinished run of the same file whose
    process is gone is gone on with instead. Raises ImportRunning when that process still works.
    """
    place = {"path": str(path.resolve()), "host": socket.gethostname(), "pid": os.getpid()}
    rows: models.Manager[Run] = type(run)._default_manager
    same = rows.filter(source=run.source, file_hash=run.file_hash, finished_at=None)
    for unfinished in same.exclude(pk=run.pk).exclude(job=None).select_related("job").order_by("pk"):
        job: Job | None = unfinished.job
        if job is None or job.params.get("path") != place["path"]:
            continue
        run.delete()
        if job.status == Job.RUNNING and _is_alive(job.params):
            raise ImportRunning(_("This file is being brought in right now (job %(job)d).") % {"job": job.pk})
        jobs.retry(job_id=job.pk)
        Job.objects.filter(pk=job.pk).update(
            params={**job.params, **place}, lease_until=clock.now() - timedelta(seconds=1)
        )
        return unfinished, _finish(job.pk)
    job = Job.objects.create(
        kind=kind,
        params={"run": run.pk, **place},
        created_at=clock.now(),
        created_by_id=run.created_by_id,
    )
    rows.filter(pk=run.pk).update(job=job)
    return run, _finish(job.pk)


def _is_alive(place: dict[str, Any]) -> bool:
    """Whether the process that works on a job still lives; on another machine we must believe so."""
    if place.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(place["pid"]), 0)
    except (ProcessLookupError, KeyError):
        return False
    except PermissionError:
        return True
    return int(place["pid"]) != os.getpid()


def _finish(job_id: int) -> dict[str, Any]:
    jobs.run(job_id=job_id)
    job = Job.objects.get(pk=job_id)
    if job.status != Job.DONE:
        raise RuntimeError(job.error or f"job {job_id} is {job.status}")
    return dict(job.result)


class Meter:
    """Progress of the phases. Every row is passed `passes` times (read, decided). The seconds of earlier attempts are
    kept.

    The checkpoint is {"phase", "after", "seconds"}.
    """

    def __init__(self, progress: jobs.Progress, *, total: int, passes: int = 2) -> None:
        self.progress, self.total, self.passes = progress, max(total, 1), passes
        self.started = time.monotonic()
        self.before = float(progress.checkpoint.get("seconds", 0))
        self.phase = ""
        self.after: Any = progress.checkpoint.get("after")
        self.decided = 0

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def move(self, *, done: int, after: Any) -> None:
        """Report inside the transaction of a batch, with the place to go on from."""
        self.after = after
        self.progress.report(
            done=min(done, self.total * self.passes - 1),
            total=self.total * self.passes,
            checkpoint={"phase": self.phase, "after": after, "seconds": round(self.seconds, 1)},
        )
