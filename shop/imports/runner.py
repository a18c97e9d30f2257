"""One import from file to report, as a resumable job: the command line and the admin both go through here."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.files.base import File
from django.db import connection, transaction
from django.db.models import Count

from core import clock, importing, jobs
from core.models import Job
from core.sheets import count_rows, open_rows
from core.statistics import refresh_statistics
from crm import services as crm_services
from shop import services
from shop.imports import report, writing
from shop.imports.mapping import Mapping, detect, from_json
from shop.imports.rules import Judge
from shop.models import ImportLine, ImportRun

KIND = "import_orders"
FIGURES = ("rows", "imported", "skipped", "refused", "members", "products", "orders", "seconds")
STAGE_LINES = 5_000
CHUNK_ORDERS = 4_000
CHUNK_MEMBERS = 2_000
CHUNK_CANCELLATIONS = 1_000


def new_run(
    *,
    path: Path | None = None,
    upload: "File[Any] | None" = None,
    source: str = "",
    mapping: Mapping | None = None,
    created_by_id: int | None = None,
) -> ImportRun:
    """A run for a file on this machine or an upload; its mapping is checked against the file's header.

    Raises UnreadableFile, WrongMapping. Writes the run only.
    """
    run, chosen = importing.run_for(
        ImportRun,
        path=path,
        upload=upload,
        source=source,
        created_by_id=created_by_id,
        mapping=mapping,
        detected=detect,
    )
    run.currency = chosen.currency
    run.save()
    return run


def run_here(*, run: ImportRun, path: Path) -> tuple[ImportRun, dict[str, Any]]:
    """Do the work in this process; returns the run and its figures. An unfinished run of the same file whose process
    is gone is gone on with instead. Raises ImportRunning when that process still works.
    """
    run, result = importing.run_here(run=run, path=path, kind=KIND)
    return run, {name: result[name] for name in FIGURES}  # jsonb forgets the order


@transaction.atomic
def enqueue(*, run_id: int, mapping: Mapping, created_by_id: int | None = None) -> Job:
    """Let a worker do it. Idempotent on: the run."""
    run = ImportRun.objects.select_for_update(of=("self",)).get(pk=run_id)
    if run.job is not None:
        return run.job
    job = jobs.enqueue(kind=KIND, params={"run": run.pk}, created_by_id=created_by_id)
    run.job, run.columns, run.currency = job, mapping.as_json(), mapping.currency
    run.save(update_fields=["job", "columns", "currency"])
    return job


def work(progress: jobs.Progress) -> dict[str, Any]:
    """The job: phases in order, each resumed from the checkpoint {"phase", "line" or "after", "seconds"}."""
    run = ImportRun.objects.get(pk=progress.params["run"])
    path = Path(progress.params.get("path") or run.file.path)
    meter = importing.Meter(progress, total=count_rows(path))
    phases = [_stage, _products, _members, _orders, _cancellations]
    names = [phase.__name__ for phase in phases]
    begin = names.index(progress.checkpoint.get("phase", names[0]))
    for phase in phases[begin:]:
        meter.phase = phase.__name__
        phase(run, path, meter)
        meter.after = None
    return _close(run, meter)


def judge_for(mapping: Mapping, header: list[str]) -> Judge:
    services_ = [code.upper() for code in mapping.service_codes]
    positions = {name: header.index(column) for name, column in mapping.columns.items() if column}
    return Judge(
        positions=positions,
        width=max(positions.values()) + 1,
        zone=ZoneInfo(mapping.time_zone),
        cancellation_prefix=mapping.cancellation_prefix,
        shipping_codes=frozenset(code.upper() for code in mapping.shipping_codes),
        service_codes=frozenset(code for code in services_ if not code.endswith("*")),
        service_prefixes=tuple(code[:-1] for code in services_ if code.endswith("*")) or ("\0",),
    )


def _stage(run: ImportRun, path: Path, meter: importing.Meter) -> None:
    done = int(meter.after or 0)
    with open_rows(path) as (header, rows):
        mapping = from_json(run.columns).checked(header)
        judge = judge_for(mapping, header)
        batch = []
        number = 0
        for number, row in enumerate(rows, 1):
            if number <= done:
                continue
            batch.append(judge.line(number, row))
            if len(batch) == STAGE_LINES:
                _stage_batch(run, batch, meter)
                batch = []
        if batch:
            _stage_batch(run, batch, meter)
    meter.total = max(number, 1)
    with transaction.atomic():
        writing.settle_known(run)
        writing.prepare_months(run)


def _stage_batch(run: ImportRun, batch: list[Any], meter: importing.Meter) -> None:
    with transaction.atomic():
        writing.stage(run, batch)
        meter.move(done=batch[-1].number, after=batch[-1].number)


def _products(run: ImportRun, path: Path, meter: importing.Meter) -> None:
    with transaction.atomic():
        writing.write_products(run)
        refresh_statistics("shop.Product", "shop.Sku")
        meter.move(done=meter.total, after="")


def _members(run: ImportRun, path: Path, meter: importing.Meter) -> None:
    while True:
        with transaction.atomic():
            last = writing.write_members(run, str(meter.after or ""), CHUNK_MEMBERS)
            if not last:
                refresh_statistics("crm.Member", "crm.Identity", "crm.MemberStats")
                return
            meter.move(done=meter.total, after=last)


def _orders(run: ImportRun, path: Path, meter: importing.Meter) -> None:
    while True:
        with transaction.atomic():
            chunk = writing.write_orders(run, str(meter.after or ""), CHUNK_ORDERS)
            refresh_statistics("shop.Order", "shop.ImportLine")
            if not chunk.last_number:
                return
            meter.decided += chunk.lines
            meter.move(done=meter.total + meter.decided, after=chunk.last_number)


def _cancellations(run: ImportRun, path: Path, meter: importing.Meter) -> None:
    while True:
        with transaction.atomic():
            count = writing.take_back(run, CHUNK_CANCELLATIONS)
            if not count:
                return
            meter.decided += count
            meter.move(done=meter.total + meter.decided, after="")


def _close(run: ImportRun, meter: importing.Meter) -> dict[str, Any]:
    """Count, write the report, and note both on the run; the same figures whether it is the first run or a later
    one, but for what moved from imported to skipped.
    """
    customers = ImportLine.objects.filter(run=run).exclude(customer="").values_list("customer", flat=True)
    gone = crm_services.erased_numbers_among(run.source, customers.distinct())
    ImportLine.objects.filter(run=run, customer__in=gone).update(customer="")
    counts = dict(
        ImportLine.objects.filter(run=run)
        .values_list("verdict")
        .annotate(count=Count("pk"))
        .order_by("verdict")
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM crm_identity identity
                    JOIN (SELECT DISTINCT customer FROM shop_importline WHERE run_id = %(run)s AND customer <> '') c
                      ON identity.kind = 'import' AND identity.account_id IS NULL
                     AND identity.value = left(%(source)s || ':' || c.customer, 128)),
                   (SELECT count(DISTINCT code) FROM shop_importline
                    WHERE run_id = %(run)s AND kind = 'goods' AND verdict IN ('imported', 'skipped')),
                   (SELECT count(DISTINCT order_number) FROM shop_importline
                    WHERE run_id = %(run)s AND kind = 'goods' AND verdict IN ('imported', 'skipped'))
            """,
            {"run": run.pk, "source": run.source},
        )
        members, products, orders = cursor.fetchone()
    services.refresh_sold_counts()
    result = {
        "rows": sum(counts.values()),
        "imported": counts.get(ImportLine.IMPORTED, 0),
        "skipped": counts.get(ImportLine.SKIPPED, 0),
        "refused": counts.get(ImportLine.REFUSED, 0) + counts.get(ImportLine.WAITING, 0),
        "members": members,
        "products": products,
        "orders": orders,
    }
    assert counts.get(ImportLine.WAITING, 0) == 0, "every line has its verdict"
    run.report.save(f"import-{run.pk}.csv", report.as_file(run), save=False)
    result["seconds"] = round(meter.seconds, 1)
    for name, value in result.items():
        setattr(run, name, value)
    run.finished_at = clock.now()
    run.save(update_fields=[*result, "report", "finished_at"])
    return result
