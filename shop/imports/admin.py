"""Order imports in the admin: upload, choose the columns, look at the first lines, start, watch, read the report."""

import zoneinfo
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin.jobs import STATE_COLOURS, progress_context
from core.admin.uploads import UploadAdmin
from core.errors import Refusal
from shop.imports import mapping, preview, report, runner
from shop.models import ImportRun

LARGEST_UPLOAD = 200 * 1024 * 1024


class UploadForm(forms.ModelForm):
    """A file and the name of the shop that it comes from."""

    class Meta:
        model = ImportRun
        fields = ["file", "source"]
        widgets = {"file": UnfoldAdminFileFieldWidget, "source": UnfoldAdminTextInputWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["file"].required = True
        self.fields["file"].help_text = _(
            "CSV (UTF-8 or GB18030) or XLSX, one line per ordered item, with a header."
        )
        self.fields["source"].widget.attrs["placeholder"] = "taobao"
        self.fields["source"].help_text = _(
            "Small letters, digits, - and _. The same source never imports a line twice."
        )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(_("The file is larger than 200 MB: use manage.py import_orders."))
        return file

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("file") and cleaned.get("source"):
            try:
                self.made = runner.new_run(upload=cleaned["file"], source=cleaned["source"])
            except Refusal as refusal:
                raise forms.ValidationError(refusal.message) from refusal
        return cleaned


class MappingForm(forms.Form):
    """Which column is what, and how the file writes amounts, times and cancellations."""

    def __init__(self, *args: Any, header: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        columns = [("", "–"), *((column, column) for column in header if column)]
        for name, (label, needed, _known) in mapping.FIELDS.items():
            self.fields[name] = forms.ChoiceField(
                label=label, choices=columns, required=needed, widget=UnfoldAdminSelectWidget()
            )
        self.fields["currency"] = self._text(_("Currency"), _("Three letters; nothing is converted."))
        self.fields["time_zone"] = forms.ChoiceField(
            label=_("Time zone of the file"),
            choices=[(zone, zone) for zone in sorted(zoneinfo.available_timezones())],
            widget=UnfoldAdminSelectWidget(),
        )
        self.fields["cancellation_prefix"] = self._text(
            _("Cancellations begin with"), _("For example C; empty: the file has none."), required=False
        )
        self.fields["shipping_codes"] = self._text(
            _("Codes of shipping"), _("Separated by commas."), required=False
        )
        self.fields["service_codes"] = self._text(
            _("Codes that are no goods"),
            _("Separated by commas; gift_* means all that begin so."),
            required=False,
        )

    def _text(self, label: Any, help_text: Any, *, required: bool = True) -> forms.CharField:
        return forms.CharField(
            label=label,
            help_text=help_text,
            required=required,
            widget=UnfoldAdminTextInputWidget(),
            max_length=500,
        )

    def chosen(self) -> mapping.Mapping:
        given = self.cleaned_data
        return mapping.Mapping(
            columns={name: given[name] for name in mapping.FIELDS if given.get(name)},
            currency=given["currency"].strip().upper(),
            time_zone=given["time_zone"],
            cancellation_prefix=given["cancellation_prefix"].strip(),
            shipping_codes=_codes(given["shipping_codes"]),
            service_codes=_codes(given["service_codes"]),
        )


def _codes(text: str) -> tuple[str, ...]:
    return tuple(code.strip() for code in text.split(",") if code.strip())


def _initial(chosen: mapping.Mapping) -> dict[str, Any]:
    return {
        **chosen.columns,
        "currency": chosen.currency,
        "time_zone": chosen.time_zone,
        "cancellation_prefix": chosen.cancellation_prefix,
        "shipping_codes": ", ".join(chosen.shipping_codes),
        "service_codes": ", ".join(chosen.service_codes),
    }


@admin.register(ImportRun)
class ImportRunAdmin(UploadAdmin):
    form = UploadForm
    list_display = [
        "__str__",
        "file_name",
        "state",
        "bar",
        "rows",
        "imported",
        "skipped",
        "refused",
        "created_at",
    ]
    search_fields = ["source", "file_name"]
    pages = ("columns", "progress")
    change_form_template = "shop_data/import_form.html"

    def page_of(self, row: ImportRun) -> str:
        """The columns before the start, the progress after it."""
        return "progress" if row.job else "columns"

    def report_name(self, row: ImportRun) -> str:
        return f"import-{row.source}-{row.pk}.csv"

    @display(description=_("status"), label=STATE_COLOURS)
    def state(self, run: ImportRun) -> tuple[str, Any]:
        return (
            (run.job.status, run.job.get_status_display()) if run.job else ("queued", _("columns to choose"))
        )

    # Columns

    def columns(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose, look at the first lines, start."""
        run: ImportRun = self.found(request, pk)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if run.job:
            return HttpResponseRedirect(self.address(run, "progress"))
        file = Path(run.file.path)
        header = preview.header_of(file)
        form = MappingForm(
            request.POST or None, header=header, initial=_initial(mapping.from_json(run.columns))
        )
        chosen = mapping.from_json(run.columns)
        lines: list[preview.PreviewLine] = []
        if request.method != "POST" or form.is_valid():
            chosen = form.chosen() if request.method == "POST" else chosen
            try:
                lines = preview.preview(file, chosen)
            except Refusal as refusal:
                messages.error(request, refusal.message)
            else:
                if "start" in request.POST:
                    runner.enqueue(run_id=run.pk, mapping=chosen, created_by_id=request.user.pk)
                    return HttpResponseRedirect(self.address(run, "progress"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Columns of %(file)s") % {"file": run.file_name},
            "opts": self.opts,
            "run": run,
            "form": form,
            "lines": lines,
        }
        return TemplateResponse(request, "shop_data/import_columns.html", context)

    # Progress

    def progress(self, request: HttpRequest, pk: int) -> HttpResponse:
        run: ImportRun = self.found(request, pk)
        shown = progress_context(run.job)
        names = ("rows", "imported", "skipped", "refused", "members", "products", "orders", "seconds")
        context = {
            **self.admin_site.each_context(request),
            **shown,
            "title": _("Import of %(file)s") % {"file": run.file_name},
            "opts": self.opts,
            "run": run,
            "figures": self.figures(run, *names) if run.finished_at else [],
            "reasons": [] if shown["is_open"] else report.sums(run),
        }
        return TemplateResponse(request, "shop_data/import_progress.html", context)
