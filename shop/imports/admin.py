"""Order imports in the admin: upload, choose the columns, look at the first lines, start, watch, read the report."""

import zoneinfo
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import BaseAdmin
from core.admin.jobs import STATE_COLOURS, progress_bar
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
                self.run = runner.new_run(upload=cleaned["file"], source=cleaned["source"])
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
class ImportRunAdmin(BaseAdmin):
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
    list_select_related = ["job"]
    ordering = ["-pk"]
    search_fields = ["source", "file_name"]
    change_form_template = "shop_data/import_form.html"

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"shop_importrun_{name}")

        return [
            page("<int:pk>/columns/", self.columns, "columns"),
            page("<int:pk>/progress/", self.progress, "progress"),
            page("<int:pk>/report/", self.report, "report"),
            *super().get_urls(),
        ]

    def has_change_permission(self, request: HttpRequest, obj: ImportRun | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ImportRun | None = None) -> bool:
        return False  # its lines are what keeps a second run from doubling

    @display(description=_("status"), label=STATE_COLOURS)
    def state(self, run: ImportRun) -> tuple[str, Any]:
        return (
            (run.job.status, run.job.get_status_display()) if run.job else ("queued", _("columns to choose"))
        )

    @display(description=_("progress"))
    def bar(self, run: ImportRun) -> SafeString | str:
        return progress_bar(run.job)

    # Upload

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> ImportRun:
        run: ImportRun = form.run
        run.created_by_id = request.user.pk
        form.save_m2m = lambda: None  # there is nothing many-to-many to save
        return run

    def save_model(self, request: HttpRequest, obj: ImportRun, form: Any, change: bool) -> None:
        obj.save(update_fields=["created_by"])

    def response_add(
        self, request: HttpRequest, obj: ImportRun, post_url_continue: str | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:shop_importrun_columns", args=[obj.pk]))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A run has its own page: the columns before the start, the progress after it."""
        run = get_object_or_404(ImportRun.objects.select_related("job"), pk=object_id)
        page = "progress" if run.job else "columns"
        return HttpResponseRedirect(reverse(f"admin:shop_importrun_{page}", args=[run.pk]))

    # Columns

    def columns(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose, look at the first lines, start."""
        run = self._run(request, pk)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if run.job:
            return HttpResponseRedirect(reverse("admin:shop_importrun_progress", args=[pk]))
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
                    return HttpResponseRedirect(reverse("admin:shop_importrun_progress", args=[pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Columns of %(file)s") % {"file": run.file_name},
            "opts": self.opts,
            "run": run,
            "form": form,
            "lines": lines,
        }
        return TemplateResponse(request, "shop_data/import_columns.html", context)

    # Progress and report

    def progress(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = self._run(request, pk)
        is_open = run.job is not None and run.job.status in ("queued", "running")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import of %(file)s") % {"file": run.file_name},
            "opts": self.opts,
            "run": run,
            "bar": progress_bar(run.job),
            "is_open": is_open,
            "figures": [
                (getattr(run._meta.get_field(name), "verbose_name", name), getattr(run, name))
                for name in (
                    "rows",
                    "imported",
                    "skipped",
                    "refused",
                    "members",
                    "products",
                    "orders",
                    "seconds",
                )
            ],
            "reasons": [] if is_open else report.sums(run),
        }
        return TemplateResponse(request, "shop_data/import_progress.html", context)

    def report(self, request: HttpRequest, pk: int) -> HttpResponse | FileResponse:
        run = self._run(request, pk)
        if not run.report:
            return HttpResponseRedirect(reverse("admin:shop_importrun_progress", args=[pk]))
        return FileResponse(
            run.report.open("rb"), as_attachment=True, filename=f"import-{run.source}-{run.pk}.csv"
        )

    def _run(self, request: HttpRequest, pk: int) -> ImportRun:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(ImportRun.objects.select_related("job"), pk=pk)
