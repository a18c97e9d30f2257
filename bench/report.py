"""How a figure is written down: one JSON line each, a table at the end."""

import json
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass
class Figure:
    """One figure and its limit, medians of interleaved runs.

    `ratio` is higher-is-better: throughput ÷ limit for `unit` ending in "/s", limit ÷ time for times in ms.
    `runs` holds each run's value; `extra` more of the same run (percentiles, counts).
    """

    name: str
    value: float
    unit: str
    limit: float | None
    limit_is: str
    ratio: float | None
    runs: list[float]
    extra: dict[str, object] = field(default_factory=dict)


def figure(
    name: str,
    runs: list[float],
    unit: str,
    *,
    limits: list[float] | None = None,
    limit_is: str = "",
    **extra: object,
) -> Figure:
    """The figure from its runs and the limit's runs (interleaved pairs)."""
    value = median(runs)
    limit = median(limits) if limits else None
    ratio = None
    if limit and value:
        ratio = value / limit if unit.endswith("/s") else limit / value
    return Figure(
        name=name,
        value=round(value, 3),
        unit=unit,
        limit=round(limit, 3) if limit is not None else None,
        limit_is=limit_is,
        ratio=round(ratio, 3) if ratio is not None else None,
        runs=[round(run, 3) for run in runs],
        extra=extra,
    )


def print_line(one: Figure) -> None:
    line = asdict(one)
    line.update(line.pop("extra"))
    print(json.dumps(line, ensure_ascii=False), flush=True)


def print_table(figures: list[Figure]) -> None:
    header = ("name", "value", "unit", "limit", "ratio", "limit is")
    rows = [
        (f.name, f"{f.value:,.1f}", f.unit, "" if f.limit is None else f"{f.limit:,.1f}",
         "" if f.ratio is None else f"{f.ratio:.3f}", f.limit_is)
        for f in figures
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print()
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
