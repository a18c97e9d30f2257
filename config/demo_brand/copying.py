"""Many rows at once: COPY from model instances, and numbers taken from a table's sequence beforehand."""

import datetime as dt
import io
import json
from collections.abc import Sequence
from typing import Any

from django.db import connection, models

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
    out = io.StringIO()
    for row in rows:
        out.write("\t".join(_cell(getattr(row, field.attname)) for field in fields) + "\n")
    out.seek(0)
    columns = ", ".join(f'"{field.column}"' for field in fields)
    with connection.cursor() as cursor:
        cursor.copy_expert(f'COPY "{meta.db_table}" ({columns}) FROM STDIN', out)


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return str(value).translate(_ESCAPES)
