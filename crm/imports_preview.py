"""The first rows of a file of members as an import would judge them; nothing is written, not even a tag."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.utils.translation import gettext as _

from core.secrets import hidden_phones, masked_phone
from core.sheets import open_rows
from crm.imports_mapping import FIELDS, Mapping, own_fields
from crm.imports_report import REASONS
from crm.services.imports import judge_for

FIRST = 20


@dataclass(frozen=True)
class Preview:
    """The first rows as they would come in; `cells` stand under `columns`."""

    columns: list[str]
    rows: list[tuple[int, str, bool, list[str]]]  # line, verdict in words, is refused, cells


def _shown(name: str, cell: str) -> str:
    """Phone numbers without their middle: who looks at a file may not be who may look at phones."""
    if name == "phone" and sum(letter.isdigit() for letter in cell) >= 8:
        return masked_phone(cell.strip())
    return hidden_phones(cell)


def preview(path: Path, mapping: Mapping) -> Preview:
    """Raises UnreadableFile, WrongMapping."""
    labels = {name: str(label) for name, (label, _known) in FIELDS.items()}
    labels |= {name: one.name for name, one in own_fields().items()}
    chosen = [(name, column) for name in labels if (column := mapping.columns.get(name))]
    with open_rows(path) as (header, rows):
        judge = judge_for(mapping, header)
        places = [header.index(column) for _name, column in chosen]
        shown = []
        for number, row in enumerate(islice(rows, FIRST), 1):
            _verdict, reason, *_rest = judge.line(row)
            cells = [row[place] if place < len(row) else "" for place in places]
            cells = [_shown(name, cell) for (name, _column), cell in zip(chosen, cells, strict=True)]
            shown.append((number, str(REASONS[reason]) if reason else _("member"), bool(reason), cells))
    return Preview([labels[name] for name, _column in chosen], shown)
