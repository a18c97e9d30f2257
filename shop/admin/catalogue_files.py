"""Catalogue, prices and stock by file: upload, look at the difference, apply; and the export in the same shape."""

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminFileFieldWidget

from core import clock
from core.admin.jobs import progress_context
from core.admin.uploads import UploadAdmin
from core.errors import Refusal
from shop import catalogue_files, queries, services
from shop.admin.fields import said, who
from shop.models import CatalogueFile
from shop.queries.rest import own_store_of

LARGEST_UPLOAD = 50 * 1024 * 1024
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
COLOURS = {
    "looking": "info",
    "looked": "warning",
    "applying": "info",
    "applied": "success",
    "failed": "danger",
}


class UploadForm(forms.ModelForm):
    class Meta:
        model = CatalogueFile
        fields = ["file"]
        widgets = {"file": UnfoldAdminFileFieldWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tier, store = _("tier"), _("store code")
        columns = "、".join(
            [
                *(names[0] for _label, names in catalogue_files.COLUMNS.values()),
                *(f"{names[0]}@{tier if kind == 'tier' else store}"
                  for kind, (_label, names) in catalogue_files.PLACED.items()),
            ]
        )  # fmt: skip
        self.fields["file"].help_text = (
            _("CSV (UTF-8 or GB18030) or XLSX, one line per SKU. Columns, all but the SKU code optional: %(columns)s.")
            % {"columns": columns}
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        file = cleaned.get("file")
        if file and file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(_("The file is larger than 50 MB."))
        if file:
            try:
                self.made = services.bring_catalogue_file(upload=file)
            except Refusal as refusal:
                raise forms.ValidationError(refusal.message) from refusal
        return cleaned


@admin.register(CatalogueFile)
class CatalogueFileAdmin(UploadAdmin):
    empty_hint = _(
        "Export the catalogue, change it in a spreadsheet and upload it here: you see every difference "
        "before anything is written."
    )
    form = UploadForm
    list_display = ["file_name", "state", "bar", "rows", "fresh", "changed", "same", "refused", "created_at"]
    list_filter = ["status"]
    search_fields = ["file_name"]
    actions_list = ["export_csv", "export_xlsx"]
    pages = ("look",)

    def page_of(self, row: CatalogueFile) -> str:
        return "look"

    def report_name(self, row: CatalogueFile) -> str:
        return f"catalogue-{row.pk}.csv"

    @display(description=_("status"), ordering="status", label=COLOURS)
    def state(self, file: CatalogueFile) -> tuple[str, str]:
        return file.status, str(file.get_status_display())

    def look(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What would change; a press of the button writes it."""
        file: CatalogueFile = self.found(request, pk)
        may_apply = request.user.has_perms(services.catalogue_file_permissions(file))
        if request.method == "POST":
            if not may_apply:
                raise PermissionDenied
            with said(request):
                services.apply_catalogue_file(file_id=pk, created_by_id=request.user.pk, by=who(request))
            return HttpResponseRedirect(request.path)
        context = {
            **self.admin_site.each_context(request),
            **progress_context(file.job),
            "title": file.file_name,
            "opts": self.opts,
            "file": file,
            "state": file.get_status_display(),
            "first": sorted(file.preview, key=lambda row: row[2] != catalogue_files.REFUSED),
            "may_apply": may_apply and file.status == CatalogueFile.LOOKED and file.fresh + file.changed > 0,
            "may_go_on": may_apply
            and file.status in (CatalogueFile.LOOKING, CatalogueFile.APPLYING)
            and file.job is not None
            and file.job.status in ("failed", "cancelled"),
            "figures": self.figures(file, "rows", "fresh", "changed", "same", "refused"),
            "words": {"new": _("new"), "changed": _("changed"), "refused": _("refused")},
        }
        return TemplateResponse(request, "admin/shop/catalogue_files_look.html", context)

    @action(description=_("Export as CSV"), url_path="export-csv", icon="download", permissions=["export"])
    def export_csv(self, request: HttpRequest) -> StreamingHttpResponse:
        name = f"catalogue-{clock.local(clock.now()):%Y%m%d-%H%M}.csv"
        return StreamingHttpResponse(
            _csv_lines(_rows_for(request)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @action(description=_("Export as XLSX"), url_path="export-xlsx", icon="download", permissions=["export"])
    def export_xlsx(self, request: HttpRequest) -> FileResponse:
        from openpyxl import Workbook  # loads slowly; no other page needs it

        book = Workbook(write_only=True)
        sheet = book.create_sheet("SKU")
        for row in _rows_for(request):
            sheet.append([_harmless(cell) for cell in row])
        out = tempfile.TemporaryFile()  # noqa: SIM115  FileResponse closes it
        book.save(out)
        out.seek(0)
        name = f"catalogue-{clock.local(clock.now()):%Y%m%d-%H%M}.xlsx"
        return FileResponse(out, as_attachment=True, filename=name, content_type=XLSX)

    def has_export_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.view_product"))


def _rows_for(request: HttpRequest) -> Iterator[list[str]]:
    """What this colleague may see of the catalogue: stores but her own house's, tiers and costs by permission."""
    user = request.user
    own = own_store_of(user)
    more = queries.placed_columns(
        stores=user.has_perm("shop.view_stock") and own is None, tiers=user.has_perm("shop.view_memberprice")
    )
    without = [] if user.has_perm("shop.view_costprice") else ["cost_fen"]
    return queries.catalogue_rows(more=more, without=without)


def _csv_lines(rows: Iterator[list[str]]) -> Iterator[str]:
    """The export as text, a row at a time; begins with the mark by which Excel knows UTF-8."""
    yield "\ufeff"
    for row in rows:
        out = io.StringIO()
        csv.writer(out).writerow([_harmless(cell) for cell in row])
        yield out.getvalue()


def _harmless(cell: str) -> str:
    """A text that a spreadsheet would run as a formula is kept a text; what no sheet may hold (a line break of a word
    processor, pasted into a name) is left out.
    """
    cell = _CONTROL.sub("", cell)
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t") else cell
