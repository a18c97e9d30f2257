"""Rows of a CSV or XLSX file, one after the other, never the whole file in memory."""

import csv
import datetime as dt
import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from core.errors import UnreadableFile

ENCODINGS = ("utf-8-sig", "gb18030")
SAMPLE = 256 * 1024
DATE_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%m/%d/%Y %H:%M", "%Y/%m/%d", "%Y年%m月%d日 %H:%M:%S")
csv.field_size_limit(1024 * 1024)


@contextmanager
def open_rows(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """(header, rows as texts). Raises UnreadableFile."""
    if not path.is_file():
        raise UnreadableFile(_("There is no file %(path)s.") % {"path": path.name})
    if zipfile.is_zipfile(path):
        with _open_workbook(path) as pair:
            yield pair
    else:
        with _open_csv(path) as pair:
            yield pair


def header_of(path: Path) -> list[str]:
    """Raises UnreadableFile."""
    with open_rows(path) as (header, _rows):
        return header


@contextmanager
def _open_csv(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
    if not sample.strip():
        raise UnreadableFile(_("The file is empty."))
    if b"\0" in sample:
        raise UnreadableFile(_("This is neither a CSV nor an XLSX file."))
    encoding = _encoding_of(path)
    first_line = sample.decode(encoding, "ignore").lstrip("\ufeff").splitlines()[0]
    delimiter = max(",;\t|", key=first_line.count)
    with path.open(encoding=encoding, newline="") as text:
        rows = csv.reader(text, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(rows)]
        except (StopIteration, csv.Error) as error:
            raise UnreadableFile(_("The file has no header.")) from error
        yield header, _lenient(rows)


def _lenient(rows: Any) -> Iterator[list[str]]:
    """A row that the reader cannot read is an empty one, which is then refused by its number."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield []


def _encoding_of(path: Path) -> str:
    for encoding in ENCODINGS:
        try:
            with path.open(encoding=encoding) as text:
                while text.read(1024 * 1024):
                    pass
        except UnicodeDecodeError:
            continue
        return encoding
    raise UnreadableFile(_("The file's encoding is neither UTF-8 nor GB18030."))


@contextmanager
def _open_workbook(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    from openpyxl import load_workbook  # loads slowly: a fifth of a second that no web process needs to spend
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnreadableFile(_("This is neither a CSV nor an XLSX file.")) from error
    try:
        cells = book.worksheets[0].iter_rows(values_only=True)
        header = [_text(value).strip() for value in next(cells, ())]
        if not any(header):
            raise UnreadableFile(_("The file has no header."))
        yield header, ([_text(value) for value in row] for row in cells)
    finally:
        book.close()


def _text(value: Any) -> str:
    """A cell as it would stand in a CSV file: 17850.0 is "17850", dates are ISO, and a formula's 89.10000000000001 is
    the 89.1 that the sheet shows.
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.15g}"
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "seconds")
    return str(value)


def count_rows(path: Path) -> int:
    """About how many rows there are, for the progress bar: lines of a CSV, the stated size of a sheet."""
    if zipfile.is_zipfile(path):
        from openpyxl import load_workbook

        book = load_workbook(path, read_only=True)
        try:
            return max((book.worksheets[0].max_row or 1) - 1, 0)
        finally:
            book.close()
    lines = 0
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            lines += block.count(b"\n")
    return max(lines - 1, 0)


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def csv_text(rows: list[list[Any]]) -> str:
    """Rows as one CSV text. Cells that a spreadsheet would run as a formula are made harmless."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow(
            ["'" + cell if isinstance(cell, str) and cell[:1] in "=+-@\t" else cell for cell in row]
        )
    return out.getvalue()


def without_point(text: str) -> str:
    """ "17850.0" → "17850": numbers that went through a spreadsheet."""
    return text[:-2] if text.endswith(".0") else text


def moment(text: str, zone: ZoneInfo) -> dt.datetime | None:
    """An aware moment from the file's local time; None when it is none that people mean."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        for pattern in DATE_FORMATS:
            try:
                found = dt.datetime.strptime(text, pattern)  # noqa: DTZ007  the zone follows
                break
            except ValueError:
                continue
        else:
            return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return found if 1990 <= found.year <= 2100 else None
