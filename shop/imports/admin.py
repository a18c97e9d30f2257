"""Order imports in the admin: which columns a file of orders has, and what became of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from core.admin.column_uploads import ColumnsForm, ColumnUploadAdmin, SourceForm
from shop.imports import preview, report, runner
from shop.imports.mapping import FIELDS, Mapping, from_json
from shop.models import ImportRun


class UploadForm(SourceForm):
    example = "taobao"
    file_hint = _("CSV (UTF-8 or GB18030) or XLSX, one line per ordered item, with a header.")
    source_hint = _("Small letters, digits, - and _. The same source never imports a line twice.")
    too_large = _("The file is larger than 200 MB: use manage.py import_orders.")

    class Meta(SourceForm.Meta):
        model = ImportRun

    def bring(self, *, upload: Any, source: str) -> ImportRun:
        return runner.new_run(upload=upload, source=source)


class MappingForm(ColumnsForm):
    """Which column is what, and how the file writes amounts, times and cancellations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["currency"] = _text(_("Currency"), _("Three letters; nothing is converted."), True)
        self.fields["cancellation_prefix"] = _text(
            _("Cancellations begin with"), _("For example C; empty: the file has none.")
        )
        self.fields["shipping_codes"] = _text(_("Codes of shipping"), _("Separated by commas."))
        self.fields["service_codes"] = _text(
            _("Codes that are no goods"), _("Separated by commas; gift_* means all that begin so.")
        )

    def wanted(self) -> Iterator[tuple[str, Any, bool]]:
        for name, (label, needed, _known) in FIELDS.items():
            yield name, label, needed

    def chosen(self) -> Mapping:
        given = self.cleaned_data
        return Mapping(
            columns=self.columns,
            currency=given["currency"].strip().upper(),
            time_zone=given["time_zone"],
            cancellation_prefix=given["cancellation_prefix"].strip(),
            shipping_codes=_codes(given["shipping_codes"]),
            service_codes=_codes(given["service_codes"]),
        )


def _text(label: Any, help_text: Any, required: bool = False) -> forms.CharField:
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=required,
        widget=UnfoldAdminTextInputWidget(),
        max_length=500,
    )


def _codes(text: str) -> tuple[str, ...]:
    return tuple(code.strip() for code in text.split(",") if code.strip())


@admin.register(ImportRun)
class ImportRunAdmin(ColumnUploadAdmin):
    form = UploadForm
    columns_form = MappingForm
    columns_template = "shop_data/import_columns.html"
    counted = ("rows", "imported", "skipped", "refused", "members", "products", "orders", "seconds")

    def report_name(self, row: ImportRun) -> str:
        return f"import-{row.source}-{row.pk}.csv"

    def mapping_of(self, run: ImportRun) -> Mapping:
        return from_json(run.columns)

    def initial_of(self, mapping: Mapping) -> dict[str, Any]:
        return {
            **mapping.columns,
            "currency": mapping.currency,
            "time_zone": mapping.time_zone,
            "cancellation_prefix": mapping.cancellation_prefix,
            "shipping_codes": ", ".join(mapping.shipping_codes),
            "service_codes": ", ".join(mapping.service_codes),
        }

    def first_lines(self, file: Path, mapping: Mapping) -> list[preview.PreviewLine]:
        return preview.preview(file, mapping)

    def begin(self, *, run_id: int, mapping: Mapping, created_by_id: int | None) -> Any:
        return runner.enqueue(run_id=run_id, mapping=mapping, created_by_id=created_by_id)

    def sums(self, run: ImportRun) -> list[tuple[str, str, int]]:
        return report.sums(run)

    def outcome(self, run: ImportRun) -> str:
        return _(
            "Source %(source)s, amounts in %(currency)s. Members, products and orders are those of this file that are "
            "in Pond now."
        ) % {"source": run.source, "currency": run.currency}
