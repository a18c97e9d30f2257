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

from bench import crowd, lab
from bench.report import Figure, figure
from config import embedded

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


def import_members() -> Iterator[Figure]:
    """A file of members through `manage.py import_members`, as a whole process; the limit copies its raw lines.

    The first round fills an empty house, every other finds the members of those before it.
    """
    path = members_file(crowd.MEMBERS)
    values, limits, peak, reports = [], [], 0, []
    try:
        for number in range(1 if crowd.MEMBERS >= 1_000_000 else ROUNDS):
            limits.append(_raw_copy_per_second(path))
            command = [sys.executable, "manage.py", "import_members", str(path), "--source", f"till{number}",
                       "--consent-text", "2021"]  # fmt: skip
            started = time.perf_counter()
            with subprocess.Popen(command, cwd=lab.ROOT, stdout=subprocess.PIPE, text=True) as child:
                while child.poll() is None:
                    peak = max(peak, _peak_mb(child.pid))
                    time.sleep(0.2)
                seconds = time.perf_counter() - started
                told = child.stdout.read() if child.stdout else ""
            report = json.loads(told.strip().splitlines()[-1])
            if report["imported"] != crowd.MEMBERS:
                raise RuntimeError(f"import-members: {report}")
            reports.append(report["seconds"])
            values.append(report["rows"] / seconds)
    finally:
        path.unlink()
    yield figure(
        "import-members",
        values,
        "rows/s",
        limits=limits,
        limit_is="reading the CSV and COPY of its raw lines into a table without keys",
        members=crowd.MEMBERS,
        peak_mb=peak,
        seconds_of_work=reports,
        mark_rows_per_second=20_000,
        mark_peak_mb=300,
    )


def _peak_mb(pid: int) -> int:
    """The most memory that a process has had since its program began; what it reports of itself at its end counts the
    memory of the one that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def members_file(count: int) -> Path:
    """A till's file of so many members: number, name, phone, birthday, date of joining, a tag or two, consent."""
    path = Path(embedded.default_var()) / "bench-members.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = ["老客", "香水", "护肤", "香水、护肤", "节日", ""]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["会员号", "姓名", "手机号", "生日", "注册时间", "标签", "营销同意", "城市"])
        for number in range(count):
            writer.writerow(
                [f"K{number:08d}", f"会员{number % 9973}", f"13{number * 7919 % 10**9:09d}",
                 f"{1950 + number % 60}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
                 f"{2019 + number % 6}-{number // 7 % 12 + 1:02d}-{number % 28 + 1:02d} 10:{number % 60:02d}:00",
                 tags[number % 6], "是" if number % 3 == 0 else "", "上海市"]
            )  # fmt: skip
    return path


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
