"""Catalogue, prices and stock from a file: compare first, write when an operator agrees. Both are jobs."""

import csv
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, jobs
from core.errors import Refusal
from shop import catalogue_files, queries
from shop.catalogue_files import CHANGED, NEW, REFUSED, SAME, Wish
from shop.errors import StockRefused, WrongState
from shop.imports.errors import UnreadableFile
from shop.imports.reading import count_rows, open_rows
from shop.models import Brand, CatalogueFile, Category, Product, Sku
from shop.services.finding import refresh_products
from shop.services.stock import set_stock

LOOK, APPLY = "look_at_catalogue_file", "apply_catalogue_file"
BATCH = 500
PREVIEW_ROWS = 200
PRODUCT_FIELDS = {"product_name": "name", "subtitle": "subtitle", "status": "status", "product_code": "code"}
SKU_FIELDS = ("spec", "price_fen", "list_price_fen", "weight_grams", "is_active")


class _Verdict:
    """What a row would do or did, with the sentence for people."""

    __slots__ = ("changes", "current", "kind", "text", "wish")

    def __init__(
        self, wish: Wish, kind: str, text: str, current: dict[str, Any] | None, changes: list[Any]
    ) -> None:
        self.wish, self.kind, self.text, self.current, self.changes = wish, kind, text, current, changes


@transaction.atomic
def bring_catalogue_file(*, upload: "File[Any]", created_by_id: int | None = None) -> CatalogueFile:
    """Keep a CSV or XLSX file and let a worker compare it. Writes nothing of the catalogue. Raises UnreadableFile."""
    file = CatalogueFile(
        file_name=Path(upload.name or "file").name[:200], created_at=clock.now(), created_by_id=created_by_id
    )
    file.file.save(Path(upload.name or "file").name, upload, save=False)
    with open_rows(Path(file.file.path)) as (header, _rows):
        if "sku_code" not in catalogue_files.positions(header):
            raise UnreadableFile(_("The file needs a column with the SKU codes, named SKU编码 or sku_code."))
    file.save()
    file.job = jobs.enqueue(kind=LOOK, params={"file": file.pk}, created_by_id=created_by_id)
    file.save(update_fields=["job"])
    return file


@transaction.atomic
def apply_catalogue_file(*, file_id: int, created_by_id: int | None = None) -> CatalogueFile:
    """Let a worker write what was compared. Idempotent: a second call answers the running one. Raises WrongState."""
    file = CatalogueFile.objects.select_for_update().get(pk=file_id)
    if file.status in (CatalogueFile.APPLYING, CatalogueFile.APPLIED):
        return file
    if file.status != CatalogueFile.LOOKED:
        raise WrongState(_("This file has not been compared yet."))
    file.status = CatalogueFile.APPLYING
    file.job = jobs.enqueue(kind=APPLY, params={"file": file.pk}, created_by_id=created_by_id)
    file.save(update_fields=["status", "job"])
    return file


def look(progress: jobs.Progress) -> dict[str, Any]:
    """The comparing job: writes counts, preview and report of the file, nothing else. May run twice."""
    return _work(progress, write=False)


def apply(progress: jobs.Progress) -> dict[str, Any]:
    """The writing job, in batches with a checkpoint: what is as the file says already is left alone."""
    return _work(progress, write=True)


def _work(progress: jobs.Progress, *, write: bool) -> dict[str, Any]:
    file = CatalogueFile.objects.get(pk=progress.params["file"])
    path = Path(file.file.path)
    total = max(count_rows(path), 1)
    counts = dict.fromkeys((NEW, CHANGED, SAME, REFUSED), 0)
    preview: list[list[Any]] = []
    done = 0
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8-sig", newline="") as out,
        open_rows(path) as (header, rows),
    ):
        writer = csv.writer(out)
        writer.writerow([_("line"), _("SKU code"), _("verdict"), _("difference")])
        places = catalogue_files.positions(header)
        names = _Names()
        seen: set[str] = set()
        for batch in _batches(rows, places):
            with transaction.atomic():
                for verdict in _judge(batch, names, seen):
                    if write and verdict.kind in (NEW, CHANGED):
                        verdict = _written(verdict, file, names)
                    counts[verdict.kind] += 1
                    line: list[Any] = [
                        verdict.wish.line,
                        verdict.wish.sku_code,
                        str(_word(verdict.kind)),
                        verdict.text,
                    ]
                    if verdict.kind != SAME:
                        writer.writerow(
                            [f"'{one}" if str(one)[:1] in ("=", "+", "-", "@") else one for one in line]
                        )
                        if len(preview) < PREVIEW_ROWS:
                            preview.append([*line[:2], verdict.kind, verdict.text])
                    done += 1
                names.refresh()
                progress.report(done=min(done, total), total=total)
        out.seek(0)
        file.report.save(
            f"catalogue-{file.pk}-{'applied' if write else 'compared'}.csv", _bytes_of(out), save=False
        )
    file.rows, file.preview = done, preview
    file.fresh, file.changed, file.same, file.refused = (
        counts[NEW],
        counts[CHANGED],
        counts[SAME],
        counts[REFUSED],
    )
    file.status = CatalogueFile.APPLIED if write else CatalogueFile.LOOKED
    if write:
        file.applied_at = clock.now()
    file.save()
    return {"rows": done, **counts}


def _bytes_of(out: Any) -> "File[Any]":
    from django.core.files.base import ContentFile

    return ContentFile(out.read().encode("utf-8-sig"))


def _batches(rows: Iterator[list[str]], places: dict[str, int]) -> Iterator[list[Wish]]:
    numbered = ((line, row) for line, row in enumerate(rows, 2) if any(cell.strip() for cell in row))
    while batch := [
        catalogue_files.read(line, row, places) for line, row in itertools.islice(numbered, BATCH)
    ]:
        yield batch


class _Names:
    """Categories by "parent/name" or name, brands by name, products by code; and the products to refresh."""

    def __init__(self) -> None:
        self.categories: dict[str, int | None] = {}
        for pk, name, parent in Category.objects.values_list("pk", "name", "parent__name"):
            self.categories[f"{parent}/{name}" if parent else name] = pk
            if parent:  # a name that two shelves share says nothing alone
                self.categories[name] = None if name in self.categories else pk
        self.brands = dict(Brand.objects.values_list("name", "pk"))
        self.touched: set[int] = set()

    def refresh(self) -> None:
        """With the batch that touched them: a worker that dies leaves no old price range behind."""
        refresh_products(product_ids=sorted(self.touched))
        self.touched.clear()


def _judge(batch: Sequence[Wish], names: _Names, seen: set[str]) -> Iterator[_Verdict]:
    known = queries.catalogue_skus([wish.sku_code for wish in batch])
    for wish in batch:
        current = known.get(wish.sku_code)
        problem = wish.problem or _problem(wish, current, names, seen)
        seen.add(wish.sku_code)
        if problem:
            yield _Verdict(wish, REFUSED, problem, current, [])
        elif current is None:
            text = "，".join(
                f"{catalogue_files.COLUMNS[key][0]}：{catalogue_files.shown(key, value)}"
                for key, value in wish.values.items()
            )
            yield _Verdict(wish, NEW, text, None, [])
        else:
            changes = _changes(wish, current)
            text = "；".join(change.text for change in changes)
            yield _Verdict(wish, CHANGED if changes else SAME, text, current, changes)


def _changes(wish: Wish, current: dict[str, Any]) -> list[Any]:
    changes = catalogue_files.differences(wish, current)
    # "连衣裙" alone means the shelf that is written as "女装/连衣裙".
    return [
        one for one in changes if one.field != "category" or str(one.old).rsplit("/", 1)[-1] != str(one.new)
    ]


def _problem(wish: Wish, current: dict[str, Any] | None, names: _Names, seen: set[str]) -> str:
    values = wish.values
    if wish.sku_code in seen:
        return _("This SKU code stands in the file twice.")
    if values.get("category") and names.categories.get(values["category"]) is None:
        return _("There is no category “%(name)s”.") % {"name": values["category"][:40]}
    if values.get("brand") and values["brand"] not in names.brands:
        return _("There is no brand “%(name)s”.") % {"name": values["brand"][:40]}
    if current is None and (
        "price_fen" not in values or not (values.get("product_name") or values.get("product_code"))
    ):
        return _("A new SKU needs a price, and a product by its code or name.")
    return ""


def _written(verdict: _Verdict, file: CatalogueFile, names: _Names) -> _Verdict:
    """One row written in its own savepoint; a refusal of the stock refuses the row."""
    try:
        with transaction.atomic():
            sku_id, product_id = _write(verdict, names)
            if "on_hand" in verdict.wish.values:
                set_stock(
                    sku_id=sku_id,
                    on_hand=verdict.wish.values["on_hand"],
                    cause=f"catalogue_file:{file.pk}:{verdict.wish.line}",
                    note=file.file_name,
                )
    except (Refusal, StockRefused) as refusal:
        return _Verdict(verdict.wish, REFUSED, refusal.message, verdict.current, [])
    names.touched.add(product_id)
    return verdict


def _write(verdict: _Verdict, names: _Names) -> tuple[int, int]:
    values, moment = verdict.wish.values, clock.now()
    columns: dict[str, Any] = {PRODUCT_FIELDS[key]: values[key] for key in PRODUCT_FIELDS if key in values}
    if "category" in values:
        columns["category_id"] = names.categories[values["category"]]
    if "brand" in values:
        columns["brand_id"] = names.brands[values["brand"]]
    sku = {key: values[key] for key in SKU_FIELDS if key in values}
    if "spec" in sku:
        sku["name"] = " ".join(sku["spec"].values())[:80]
    if verdict.current is not None:
        product_id = int(verdict.current["product_id"])
        if columns:
            code = columns.get("code")
            if code and Product.objects.filter(code=code).exclude(pk=product_id).exists():
                raise WrongState(_("Another product has the code “%(code)s”.") % {"code": code})
            Product.objects.filter(pk=product_id).update(**columns, updated_at=moment)
        if sku:
            Sku.objects.filter(pk=verdict.current["id"]).update(**sku)
        return int(verdict.current["id"]), product_id
    code = values.get("product_code")
    product = Product.objects.filter(code=code).first() if code else None
    if product is None:
        if not values.get("product_name"):
            raise WrongState(_("There is no product “%(code)s”, and the row names none.") % {"code": code})
        # Never on sale by itself before its SKU stands: the status is set with it in the same transaction.
        product = Product.objects.create(**columns, created_at=moment, updated_at=moment)
    made = Sku.objects.create(
        product=product, code=verdict.wish.sku_code, position=product.skus.count(), **sku
    )
    return made.pk, product.pk


def _word(kind: str) -> str:
    return {NEW: _("new"), CHANGED: _("changed"), SAME: _("unchanged"), REFUSED: _("refused")}[kind]
