"""`manage.py lifecycle_fit [--summary FILE]`: the models, from a file or from the brand's own sales."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from core.errors import Refusal
from crm import services
from crm.models import LifeFit

COLUMNS = ("frequency", "recency", "T")
MONETARY = "monetary"
LARGEST = {"frequency": 1e6, "recency": 1e9, "T": 1e9, MONETARY: 1e12}
"""Nobody buys so often, for so long, or for so much: beyond, a likelihood is no number any more."""


class Command(BaseCommand):
    help = (
        "Fit BG/NBD (Fader, Hardie & Lee 2005) and Gamma-Gamma (Fader & Hardie 2013) and print the parameters as one"
        " JSON line. Without --summary: on the brand's own purchases; the members' lifecycle is written too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--summary",
            type=Path,
            metavar="FILE",
            help="CSV with a header: frequency (repeat purchases), recency, T (both since the first purchase, in one"
            " unit of time) and, if wanted, monetary (mean of the repeat purchases). Nothing is written.",
        )

    def handle(self, *args: Any, summary: Path | None, **options: Any) -> None:
        if summary is not None:
            try:
                result = self.of_file(summary)
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                raise CommandError(f"{summary}: {error}") from error
        else:
            try:
                done = services.refresh_lives()
            except Refusal as refusal:
                raise CommandError(refusal.message) from refusal
            result = {**self.of_fit(done.fit), "written": done.written, "gone": done.gone}
            self.converged = done.fit.converged
        if not self.converged:
            self.stderr.write(
                _("The likelihood has no greatest value inside the search: a parameter stands at its end.")
            )
        self.stdout.write(json.dumps(result))

    def of_file(self, path: Path) -> dict[str, float]:
        from crm import alive  # NumPy and SciPy load here and nowhere else

        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(read_summary(file))
        if not rows:
            raise CommandError(_("The file has no rows."))
        frequency, recency, age, monetary = zip(*rows, strict=True)
        try:
            rhythm = alive.fit_rhythm(alive.History.of(frequency, recency, age))
            self.converged = rhythm.converged
            result = {
                "r": rhythm.r,
                "alpha": rhythm.alpha,
                "a": rhythm.a,
                "b": rhythm.b,
                "log_likelihood": rhythm.log_likelihood,
            }
            if monetary[0] is not None:
                bought = [(x, mean) for x, _t, _age, mean in rows if x > 0]
                spend = alive.fit_spend([x for x, _mean in bought], [mean or 0.0 for _x, mean in bought])
                self.converged &= spend.converged
                result |= {"p": spend.p, "q": spend.q, "v": spend.v}
        except alive.TooLittle:
            raise CommandError(_("Too few customers bought again: nothing can be fitted.")) from None
        return result

    def of_fit(self, fit: LifeFit) -> dict[str, Any]:
        names = ("r", "alpha", "a", "b", "log_likelihood", "p", "q", "v", "members_count", "repeaters_count")
        return {name: getattr(fit, name) for name in names}


def read_summary(lines: Iterator[str] | Any) -> Iterator[tuple[int, float, float, float | None]]:
    """(frequency, recency, T, monetary or None) of each row; blank rows are passed over.

    Raises CommandError naming the line and what is wrong with it.
    """
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise CommandError(_("Line 1: the header has no column %(names)s.") % {"names": ", ".join(missing)})
    twice = [name for name in (*COLUMNS, MONETARY) if header.count(name) > 1]
    if twice:
        raise CommandError(
            _("Line 1: the column %(names)s stands there twice.") % {"names": ", ".join(twice)}
        )
    places = [header.index(name) for name in COLUMNS]
    money = header.index(MONETARY) if MONETARY in header else None
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        try:
            if len(cells) != len(header):
                raise ValueError(
                    _("%(there)d cells under %(needed)d columns")
                    % {"there": len(cells), "needed": len(header)}
                )
            x, recency, age = (
                _number(cells[place], name) for place, name in zip(places, COLUMNS, strict=True)
            )
            mean = None if money is None else _number(cells[money] or "0", MONETARY)
            yield _checked(x, recency, age, mean)
        except ValueError as problem:
            text = _("Line %(line)d: %(problem)s.") % {"line": reader.line_num, "problem": problem}
            raise CommandError(text) from None


def _number(cell: str, name: str) -> float:
    try:
        value = float(cell if "_" not in cell else "")  # Python reads 1_0 as ten
    except ValueError:
        raise ValueError(_("%(name)s is no number: %(cell)s") % {"name": name, "cell": cell[:40]}) from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(_("%(name)s must be 0 or more: %(cell)s") % {"name": name, "cell": cell[:40]})
    if value > LARGEST[name]:
        raise ValueError(
            _("%(name)s must be at most %(most)s: %(cell)s")
            % {"name": name, "most": f"{LARGEST[name]:,.0f}", "cell": cell[:40]}
        )
    return value


def _checked(
    x: float, recency: float, age: float, mean: float | None
) -> tuple[int, float, float, float | None]:
    if x != int(x):
        raise ValueError(_("frequency must be a whole number: %(cell)s") % {"cell": x})
    if recency > age:
        raise ValueError(_("recency is later than T"))
    if x == 0 and recency > 0:
        raise ValueError(_("recency must be 0 where frequency is 0"))
    if x > 0 and mean is not None and mean <= 0:
        raise ValueError(_("monetary must be more than 0 where frequency is more than 0"))
    return int(x), recency, age, mean
