"""What became of every line of a file, for people: a CSV with line number, verdict and reason, and sums by reason."""

import tempfile
from typing import Any

from django.core.files.base import File
from django.db.models import Count
from django.utils.translation import gettext_lazy as _

from core.sheets import csv_text
from shop.imports import rules, writing
from shop.models import ImportLine, ImportRun

REASONS: dict[str, Any] = {
    rules.BAD_ROW: _("The line has fewer columns than the header."),
    rules.NO_ORDER_NUMBER: _("It has no order number."),
    rules.NO_CODE: _("It has no SKU code, or one longer than 64 characters."),
    rules.BAD_QUANTITY: _("The quantity is not a whole number that fits the line."),
    rules.BAD_DATE: _("The date cannot be read."),
    rules.BAD_PRICE: _("The price is not an amount with at most two decimals."),
    rules.ZERO_QUANTITY: _("The quantity is 0."),
    rules.ZERO_PRICE: _("The price is 0: a gift or a stock correction, not a sale."),
    rules.STOCK_CORRECTION: _("A negative quantity outside a cancellation: a stock correction, not a sale."),
    rules.SERVICE: _("A service or a manual booking, not goods."),
    rules.SERVICE_BACK: _("A cancelled service, discount or shipping, not goods."),
    writing.ALREADY_IMPORTED: _("An earlier run has imported this line."),
    writing.ORDER_DIFFERS: _("An earlier run has imported this order without this line."),
    writing.SHIPPING_ALONE: _("Shipping of an order without goods in this file."),
    writing.CANCELS_NOBODY: _("A cancellation without a customer cannot be matched to a purchase."),
    writing.CANCELS_NOTHING: _("The purchase that it cancels is not in this history, or not in full."),
}
HEADER = [
    _("Line"),
    _("Verdict"),
    _("Reason code"),
    _("Reason"),
    _("Order number"),
    _("SKU code"),
    _("Product name"),
]


def reason_label(code: str) -> str:
    return str(REASONS.get(code, code))


def as_file(run: ImportRun) -> "File[Any]":
    """The whole report, written in batches to a temporary file; with a mark so that Excel reads it as UTF-8."""
    target = tempfile.TemporaryFile("w+b")  # noqa: SIM115  the caller closes it by dropping the File
    target.write(b"\xef\xbb\xbf" + csv_text([[str(title) for title in HEADER]]).encode())
    verdicts = {verdict: str(label) for verdict, label in ImportLine.VERDICTS}
    labels = {code: str(label) for code, label in REASONS.items()}
    lines = ImportLine.objects.filter(run=run).order_by("number")
    fields = ("number", "verdict", "reason", "order_number", "code", "name")
    batch: list[list[Any]] = []
    for number, verdict, reason, order_number, code, name in lines.values_list(*fields).iterator(5_000):
        batch.append([number, verdicts[verdict], reason, labels.get(reason, ""), order_number, code, name])
        if len(batch) == 5_000:
            target.write(csv_text(batch).encode())
            batch = []
    target.write(csv_text(batch).encode())
    target.seek(0)
    return File(target)


def sums(run: ImportRun) -> list[tuple[str, str, int]]:
    """(verdict, reason in words, lines), the most frequent first."""
    counted = (
        ImportLine.objects.filter(run=run)
        .exclude(reason="")
        .values_list("verdict", "reason")
        .annotate(count=Count("pk"))
        .order_by("-count")
    )
    verdicts = {verdict: str(label) for verdict, label in ImportLine.VERDICTS}
    return [(verdicts[verdict], reason_label(reason), count) for verdict, reason, count in counted]
