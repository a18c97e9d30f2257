"""Bringing another system's members in from a file, as a resumable job: command line and admin both come here."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.files.base import File
from django.db import transaction
from django.db.models import Count
from django.utils.translation import gettext as _

from core import clock, importing, jobs
from core.models import Job
from core.sheets import count_rows, open_rows
from core.statistics import refresh_statistics
from crm import imports_report, imports_writing
from crm.imports_lanes import COUNTS, Lanes
from crm.imports_mapping import Mapping, detect, from_json, own_fields
from crm.imports_rules import Judge
from crm.models import MemberField, MemberImport, MemberImportLine, Tag, TagGroup
from crm.services.fields import typed_columns
from crm.services.people import cleaned_phone
from crm.services.timeline import prepare_timeline

IMPORT_MEMBERS = "import_members"
FIGURES = ("rows", "imported", "skipped", "refused", "members", "seconds")
FIRST_ROWS = 1_000  # few, so that the plans of their statements are made anew before the many
CHUNK_ROWS = 20_000
MOST_NEW_TAGS = 100  # of one source; more than that is a column of something else


def new_member_import(
    *,
    path: Path | None = None,
    upload: "File[Any] | None" = None,
    source: str = "",
    mapping: Mapping | None = None,
    consent_text: str = "",
    created_by_id: int | None = None,
) -> MemberImport:
    """A run for a file on this machine or an upload; its mapping is checked against the file's header.

    Raises UnreadableFile, WrongMapping. Writes the run only.
    """
    run, _chosen = importing.run_for(
        MemberImport,
        path=path,
        upload=upload,
        source=source,
        created_by_id=created_by_id,
        mapping=mapping,
        detected=lambda header: Mapping(columns=detect(header).columns, consent_text=consent_text),
    )
    run.save()
    return run


def import_members_here(*, run: MemberImport, path: Path) -> tuple[MemberImport, dict[str, Any]]:
    """Do the work in this process; returns the run and its figures. An unfinished run of the same file whose process
    is gone is gone on with instead. Raises ImportRunning when that process still works.
    """
    run, result = importing.run_here(run=run, path=path, kind=IMPORT_MEMBERS)
    return run, {name: result[name] for name in FIGURES}


@transaction.atomic
def enqueue_member_import(*, run_id: int, mapping: Mapping, created_by_id: int | None = None) -> Job:
    """Let a worker do it. Idempotent on: the run."""
    run = MemberImport.objects.select_for_update(of=("self",)).get(pk=run_id)
    if run.job is not None:
        return run.job
    run.job = jobs.enqueue(kind=IMPORT_MEMBERS, params={"run": run.pk}, created_by_id=created_by_id)
    run.columns = mapping.as_json()
    run.save(update_fields=["job", "columns"])
    return run.job


def import_members(progress: jobs.Progress) -> dict[str, Any]:
    """The job: chunks of rows are judged and become members, each lane's part in one transaction with the checkpoint
    (see `crm.imports_lanes`). While one chunk is written the next is read and the
    one between waits at its lanes.
    """
    run = MemberImport.objects.get(pk=progress.params["run"])
    if run.finished_at:  # a worker died between the end and saying so
        return {name: getattr(run, name) for name in FIGURES}
    path = Path(progress.params.get("path") or run.file.path)
    meter = importing.Meter(progress, total=count_rows(path), passes=1)
    tags = _Tags(run.source)
    months: set[tuple[int, int]] = set()  # that the timeline is prepared for
    with (
        open_rows(path) as (header, rows),
        ThreadPoolExecutor(1) as reader,
        closing(Lanes(run, meter)) as lanes,
    ):
        judge = judge_for(from_json(run.columns), header)
        number = lanes.row + 1
        left = islice(rows, lanes.row, None)
        ahead = reader.submit(_read, left, judge, FIRST_ROWS)
        while chunk := ahead.result():
            ahead = reader.submit(_read, left, judge, CHUNK_ROWS)
            if new_months := chunk.months - months:
                lanes.settle()  # nobody writes while the timeline gets its months
                _prepare(new_months)
                months |= new_months
            known, too_many = tags.find_or_make(chunk.tag_names)
            lanes.write(number, chunk.lines, known, too_many)
            if number <= FIRST_ROWS:  # the planner has not seen these tables grow
                lanes.settle()
                refresh_statistics("crm.Member", "crm.Tag")
            number += len(chunk.lines)
        lanes.settle()
        return _close(run, meter, lanes)


@dataclass(frozen=True)
class _Chunk:
    """Rows as COPY reads them, and what they name: tags, months of joining."""

    lines: list[tuple[str, ...]]
    tag_names: set[str]
    months: set[tuple[int, int]]


def _read(rows: Iterator[list[str]], judge: Judge, most: int) -> _Chunk | None:
    """The next chunk, None at the end. Called in a thread of its own, one call at a time: it touches no database."""
    lines = [judge.line(row) for row in islice(rows, most)]
    chunk = _Chunk(lines, set(judge.tag_names), set(judge.months))
    judge.tag_names.clear()
    judge.months.clear()
    return chunk if lines else None


def judge_for(mapping: Mapping, header: list[str]) -> Judge:
    """Raises WrongMapping."""
    mapping.checked(header)
    places = {name: header.index(column) for name, column in mapping.columns.items() if column}
    own = own_fields()
    return Judge(
        positions={name: place for name, place in places.items() if name not in own},
        zone=ZoneInfo(mapping.time_zone),
        now=clock.now(),
        phone=cleaned_phone,
        own={
            field.pk: (places[name], partial(_own_texts, field))
            for name, field in own.items()
            if name in places
        },
    )


def _own_texts(field: MemberField, text: str) -> dict[str, str]:
    """The column that a value of this field fills, and its text. Raises WrongValue."""
    return {name: str(value) for name, value in typed_columns(field, text).items() if value is not None}


class _Tags:
    """Tags by their names: the first of that name in the order of the groups, else a new one in the source's group."""

    def __init__(self, source: str) -> None:
        self._group_name = (_("Imported: %(source)s") % {"source": source})[:30]

    @transaction.atomic
    def find_or_make(self, names: set[str]) -> tuple[dict[str, int], list[str]]:
        """(name → id, the names for which none can be made any more)."""
        found: dict[str, int] = {}
        for pk, name in Tag.objects.filter(name__in=names).values_list("pk", "name"):
            found.setdefault(name, pk)
        missing = sorted(names - found.keys())
        if missing:
            group, _made = TagGroup.objects.get_or_create(name=self._group_name)
            room = max(MOST_NEW_TAGS - group.tags.count(), 0)
            for name in missing[:room]:
                found[name] = Tag.objects.get_or_create(group=group, name=name)[0].pk
            missing = missing[room:]
        return found, missing


def _prepare(months: set[tuple[int, int]]) -> None:
    """The timeline's months behind, made before the chunk that needs them: nobody else waits for them long."""
    for month in sorted(months):
        prepare_timeline(since=date(*month, 1), until=date(*month, 1))


def _close(run: MemberImport, meter: importing.Meter, lanes: Lanes) -> dict[str, Any]:
    """Note the counts on the run with its report. A row that stands twice is behind a member counted already."""
    there = MemberImportLine.objects.filter(run=run, reason=imports_writing.ALREADY_THERE)
    result: dict[str, Any] = {
        **{name: lanes.count(name) for name in COUNTS},
        "members": lanes.count("imported") + there.aggregate(n=Count("external_id", distinct=True))["n"],
    }
    run.report.save(f"members-{run.pk}.csv", imports_report.as_file(run), save=False)
    result["seconds"] = round(meter.seconds, 1)
    for name, value in result.items():
        setattr(run, name, value)
    run.finished_at = clock.now()
    run.save(update_fields=[*result, "report", "finished_at"])
    return result
