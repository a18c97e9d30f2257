"""Many rows at once: COPY from model instances, and numbers taken from a table's sequence beforehand."""

import datetime as dt
import io
import json
import re
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault, Value

_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def take_numbers(model: type[models.Model], count: int) -> list[int]:
    """Primary keys that nobody else will get."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        return [row[0] for row in cursor.fetchall()]


def copy_rows(rows: Sequence[models.Model]) -> None:
    """COPY instances of one model; the key is the table's own where the instances have none."""
    if not rows:
        return
    meta = rows[0]._meta
    fields = [field for field in meta.concrete_fields if not (field.primary_key and rows[0].pk is None)]
    read = attrgetter(*[field.attname for field in fields])
    copy_tuples(meta.db_table, [str(field.column) for field in fields], map(read, rows))


def copy_tuples(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY plain values: model instances cost more to make than to write."""
    out = io.StringIO()
    for row in rows:
        out.write("\t".join(map(_cell, row)))
        out.write("\n")
    out.seek(0)
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.copy_expert(f'COPY "{table}" ({names}) FROM STDIN', out)


def _cell(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value.translate(_ESCAPES)) if _SPECIAL.search(value) else str(value)
    if kind is int:
        return str(value)
    if value is None:
        return "\\N"
    if kind is bool:
        return "t" if value else "f"
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, DatabaseDefault):  # what the database would write by itself: a plain value here
        return _cell(getattr(value, "expression", Value(None)).value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)
    return str(value).translate(_ESCAPES)
