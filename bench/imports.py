"""Bringing in another shop's history."""

import csv
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import lab
from bench.report import Figure, figure

SAMPLE = lab.ROOT.parent / "shared" / "data" / "online_retail_sample.csv"
ROUNDS = 3


def import_orders() -> Iterator[Figure]:
    """The sample file through `manage.py import_orders`, as a whole process; the limit copies its raw lines.

    Each round imports under another source name, so that nothing is there already.
    """
    path = SAMPLE if SAMPLE.exists() else made_up_sample()
    values, limits, peak = [], [], 0
    for number in range(ROUNDS):
        limits.append(_raw_copy_per_second(path))
        command = [sys.executable, "manage.py", "import_orders", str(path), "--source", f"bench{number}"]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=lab.ROOT, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started
        report = json.loads(done.stdout.strip().splitlines()[-1])
        values.append(report["rows"] / seconds)
        peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
    yield figure(
        "import-orders",
        values,
        "lines/s",
        limits=limits,
        limit_is="reading the CSV and COPY of its raw lines into a table without keys",
        peak_mb=peak,
        mark_lines_per_second=2000,
    )


def _raw_copy_per_second(path: Path) -> float:
    from django.db import connection

    lab.execute(
        "DROP TABLE IF EXISTS raw_lines; CREATE TABLE raw_lines "
        "(a text, b text, c text, d text, e text, f text, g text, h text)"
    )
    started = time.perf_counter()
    buffer, count = io.StringIO(), 0
    with path.open(encoding="utf-8", newline="") as file:
        writer = csv.writer(buffer)
        for row in csv.reader(file):
            writer.writerow(row)
            count += 1
    buffer.seek(0)
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY raw_lines FROM STDIN WITH CSV", buffer)
    return count / (time.perf_counter() - started)


def made_up_sample(lines: int = 40_000) -> Path:
    """A file of the sample's shape for machines that do not have it."""
    path = lab.ROOT / "var" / "bench-orders.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "InvoiceNo",
                "StockCode",
                "Description",
                "Quantity",
                "InvoiceDate",
                "UnitPrice",
                "CustomerID",
                "Country",
            ]
        )
        for line in range(lines):
            invoice = 536365 + line // 3
            writer.writerow(
                [invoice, f"{20000 + line * 7 % 3000}", f"ITEM {line * 7 % 3000}", line % 12 + 1,
                 f"2011-{invoice % 12 + 1:02d}-{invoice % 28 + 1:02d} 10:{line % 60:02d}:00",
                 f"{(line % 900 + 50) / 100:.2f}", 12000 + invoice % 3600, "United Kingdom"]
            )  # fmt: skip
    return path
