"""Catalogue, prices and stock from a file: compare first, write when an operator agrees. Both are jobs."""

import csv
import io
import itertools
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from django.core.files.base import File
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, jobs
from core.errors import UnreadableFile
from core.sheets import count_rows, open_rows
from shop import catalogue_files, queries
from shop.catalogue_files import CHANGED, NEW, REFUSED, SAME, Wish
from shop.errors import WrongState
from shop.models import CatalogueFile
from shop.services.catalogue_files_rows import Judge, Verdict, write_rows

LOOK, APPLY = "look_at_catalogue_file", "apply_catalogue_file"
BATCH = 500
PREVIEW_ROWS = 100  # of what is refused, and as many of the rest
_FORMULA = ("=", "+", "-", "@")
_DAMAGED = (zipfile.BadZipFile, ParseError, KeyError, zlib.error)


@transaction.atomic
def bring_catalogue_file(*, upload: "File[Any]", created_by_id: int | None = None) -> CatalogueFile:
    """Keep a CSV or XLSX file and let a worker compare it. Writes nothing of the catalogue. Raises UnreadableFile."""
    name = Path(upload.name or "file").name
    file = CatalogueFile(file_name=name[-200:], created_at=clock.now(), created_by_id=created_by_id)
    file.file.save(f"catalogue{Path(name).suffix[:8]}", upload, save=False)
    try:
        with open_rows(Path(file.file.path)) as (header, _rows):
            places = catalogue_files.positions(header)
            if "sku_code" not in places:
                raise UnreadableFile(
                    _("The file needs a column with the SKU codes, named SKU编码 or sku_code.")
                )
            if unknown := queries.unknown_places(places):
                raise UnreadableFile(
                    _("There is no store with the code %(codes)s.") % {"codes": "、".join(unknown[:10])}
                )
    except (UnreadableFile, *_DAMAGED) as error:
        file.file.delete(save=False)
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile(_("The file is damaged.")) from error
    file.save()
    file.job = jobs.enqueue(kind=LOOK, params={"file": file.pk}, created_by_id=created_by_id)
    file.save(update_fields=["job"])
    return file


@transaction.atomic
def apply_catalogue_file(*, file_id: int, created_by_id: int | None = None, by: str = "") -> CatalogueFile:
    """Let a worker write what was compared; work that stopped half-way goes on from its checkpoint.

    Locks: the file. Idempotent: a second call answers the running one. Raises WrongState.
    """
    file = CatalogueFile.objects.select_for_update().get(pk=file_id)
    is_open = file.status in (CatalogueFile.LOOKING, CatalogueFile.APPLYING)
    if is_open and file.job_id and jobs.retry(job_id=file.job_id):
        return file
    if file.status in (CatalogueFile.APPLYING, CatalogueFile.APPLIED):
        return file
    if file.status != CatalogueFile.LOOKED:
        raise WrongState(_("This file has not been compared yet."))
    file.status = CatalogueFile.APPLYING
    file.job = jobs.enqueue(kind=APPLY, params={"file": file.pk, "by": by[:80]}, created_by_id=created_by_id)
    file.save(update_fields=["status", "job"])
    return file


def catalogue_file_permissions(file: CatalogueFile) -> list[str]:
    """What one needs to be allowed to write a file with these columns."""
    needed = ["shop.change_product", "shop.change_sku", "shop.change_stock"]
    try:
        with open_rows(Path(file.file.path)) as (header, _rows):
            places = catalogue_files.positions(header)
    except (UnreadableFile, *_DAMAGED):
        return needed
    if "cost_fen" in places:
        needed += ["shop.change_costprice"]
    if catalogue_files.named(places, "tier"):
        needed += ["shop.change_memberprice"]
    return needed


def look(progress: jobs.Progress) -> dict[str, Any]:
    """The comparing job: writes counts, preview and report of the file, nothing else. May run twice."""
    file = CatalogueFile.objects.get(pk=progress.params["file"])
    if file.status not in (CatalogueFile.LOOKING, CatalogueFile.FAILED):
        return {}
    try:
        return _work(progress, file, write=False)
    except (UnreadableFile, *_DAMAGED) as error:
        file.status = CatalogueFile.FAILED
        file.problem = error.message if isinstance(error, UnreadableFile) else _("The file is damaged.")
        file.save(update_fields=["status", "problem"])
        return {"problem": file.problem}


def apply(progress: jobs.Progress) -> dict[str, Any]:
    """The writing job, in batches with a checkpoint. A row that is no longer as it was shown is refused."""
    file = CatalogueFile.objects.get(pk=progress.params["file"])
    return _work(progress, file, write=True) if file.status == CatalogueFile.APPLYING else {}


def _work(progress: jobs.Progress, file: CatalogueFile, *, write: bool) -> dict[str, Any]:
    path = Path(file.file.path)
    total = max(count_rows(path), 1)
    shown = _shown(file) if write else None
    state: dict[str, Any] = {"done": 0, "counts": {}, "preview": [], "report": 0}
    if write:  # comparing begins anew: it has written nothing
        state |= progress.checkpoint
    counts = dict.fromkeys((NEW, CHANGED, SAME, REFUSED), 0) | state["counts"]
    done, preview = 0, list(state["preview"])
    shown_rows = Counter(row[2] == REFUSED for row in preview)
    report = _Report(file, kept=state["report"], write=write)
    with open_rows(path) as (header, rows):
        places = catalogue_files.positions(header)
        judge = Judge(places)
        for batch in _batches(rows, places):
            if done + len(batch) <= state["done"]:
                judge.judge(batch)  # what it says of its products still holds for the rows behind
                done += len(batch)
                continue
            with transaction.atomic():
                verdicts = judge.judge(batch, lock=write)
                if shown is not None:
                    for one in verdicts:
                        agreed = shown.get(one.wish.line, set())
                        # What is missing of it is there already: an earlier row of the product wrote it, say.
                        if one.kind in (NEW, CHANGED) and not _marks(one.text) <= agreed:
                            one.kind = REFUSED
                            one.text = _(
                                "This has changed since the file was compared. Bring the file again."
                            )
                    write_rows(
                        verdicts,
                        judge,
                        cause=f"catalogue_file:{file.pk}",
                        note=file.file_name[:100],
                        by=progress.params.get("by", ""),
                    )
                for one in verdicts:
                    counts[one.kind] += 1
                    if one.kind != SAME and shown_rows[one.kind == REFUSED] < PREVIEW_ROWS:
                        shown_rows[one.kind == REFUSED] += 1
                        preview.append([one.wish.line, one.wish.sku_code, one.kind, one.text])
                done += len(batch)
                kept = report.write(verdicts)
                progress.report(
                    done=min(done, total),
                    total=total,
                    checkpoint={"done": done, "counts": counts, "preview": preview, "report": kept},
                )
    file.report = report.name
    file.rows, file.preview = done, preview
    file.fresh, file.changed = counts[NEW], counts[CHANGED]
    file.same, file.refused = counts[SAME], counts[REFUSED]
    file.status = CatalogueFile.APPLIED if write else CatalogueFile.LOOKED
    file.applied_at = clock.now() if write else None
    file.save()
    return {"rows": done, **counts}


def _batches(rows: Iterator[list[str]], places: dict[str, int]) -> Iterator[list[Wish]]:
    numbered = ((line, row) for line, row in enumerate(rows, 2) if any(cell.strip() for cell in row))
    while batch := [
        catalogue_files.read(line, row, places) for line, row in itertools.islice(numbered, BATCH)
    ]:
        yield batch


class _Report:
    """The CSV of all differences, written batch by batch beside the file: a job that goes on cuts off what a batch
    that was rolled back has left.
    """

    def __init__(self, file: CatalogueFile, *, kept: int, write: bool) -> None:
        ending = "applied" if write else "compared"
        self.name = f"{file.file.name}.{ending}.csv"
        self._path = Path(f"{file.file.path}.{ending}.csv")
        if not kept:
            self._path.write_bytes(b"\xef\xbb\xbf")
            self._append([[_("line"), _("SKU code"), _("verdict"), _("difference")]])
        else:
            with self._path.open("r+b") as out:
                out.truncate(kept)

    def write(self, verdicts: list[Verdict]) -> int:
        """How long the report is now, in bytes."""
        words = {NEW: _("new"), CHANGED: _("changed"), REFUSED: _("refused")}
        return self._append(
            [
                [one.wish.line, one.wish.sku_code, words[one.kind], one.text]
                for one in verdicts
                if one.kind != SAME
            ]
        )

    def _append(self, rows: list[list[Any]]) -> int:
        text = io.StringIO()
        csv.writer(text).writerows([[_harmless(cell) for cell in row] for row in rows])
        with self._path.open("ab") as out:
            out.write(text.getvalue().encode())
            return out.tell()


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if str(cell)[:1] in _FORMULA else cell


def _shown(file: CatalogueFile) -> dict[int, set[int]]:
    """Line → marks of the differences that the operator agreed to."""
    with file.report.open("rb") as kept:
        rows = csv.reader(io.TextIOWrapper(kept, encoding="utf-8-sig", newline=""))
        next(rows)
        return {int(row[0]): _marks(row[3]) for row in rows}


def _marks(text: str) -> set[int]:
    return {zlib.crc32(part.encode()) for part in str(_harmless(text)).split(catalogue_files.BETWEEN)}
