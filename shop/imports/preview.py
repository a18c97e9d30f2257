"""The first lines of a file as an import would judge them; nothing is written."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.utils.translation import gettext as _

from core.money import yuan
from core.secrets import hidden_phones
from core.sheets import open_rows
from shop.imports import rules
from shop.imports.mapping import Mapping
from shop.imports.report import reason_label
from shop.imports.runner import judge_for

FIRST = 20
KINDS = {
    rules.GOODS: lambda: _("goods"),
    rules.SHIPPING: lambda: _("shipping"),
    rules.CANCELLATION: lambda: _("cancellation"),
}


@dataclass(frozen=True)
class PreviewLine:
    line: rules.Line
    customer: str  # a number that is a phone stands without its middle
    price: str  # in the currency's main unit
    verdict: str  # what it is, or why it would be refused
    is_refused: bool


def preview(path: Path, mapping: Mapping) -> list[PreviewLine]:
    """Raises UnreadableFile, WrongMapping."""
    with open_rows(path) as (header, rows):
        judge = judge_for(mapping.checked(header), header)
        lines = [judge.line(number, row) for number, row in enumerate(islice(rows, FIRST), 1)]
    return [
        PreviewLine(
            line,
            hidden_phones(line.customer),
            yuan(line.price),
            reason_label(line.reason) if line.reason else KINDS[line.kind](),
            bool(line.reason),
        )
        for line in lines
    ]
