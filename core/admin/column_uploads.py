"""Imports whose columns a person chooses: upload, choose, look at the first lines, start, watch, read the report."""

import zoneinfo
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin.jobs import STATE_COLOURS, progress_context
from core.admin.uploads import UploadAdmin
from core.errors import Refusal
from core.sheets import header_of

LARGEST_UPLOAD = 200 * 1024 * 1024


class SourceForm(forms.ModelForm):
    """A file and the name of the system that it comes from; a subclass's Meta adds the model."""

    example: ClassVar[str]
    file_hint: ClassVar[Any]
    source_hint: ClassVar[Any]
    too_large: ClassVar[Any]

    class Meta:
        fields = ["file", "source"]
        widgets = {"file": UnfoldAdminFileFieldWidget, "source": UnfoldAdminTextInputWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["file"].required = True
        self.fields["file"].help_text = self.file_hint
        self.fields["source"].widget.attrs["placeholder"] = self.example
        self.fields["source"].help_text = self.source_hint

    def bring(self, *, upload: Any, source: str) -> Any:
        """The command that keeps the file; its new row. Raises Refusal."""
        raise NotImplementedError

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(self.too_large)
        return file

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("file") and cleaned.get("source"):
            try:
                self.made = self.bring(upload=cleaned["file"], source=cleaned["source"])
            except Refusal as refusal:
                raise forms.ValidationError(refusal.message) from refusal
        return cleaned


class ColumnsForm(forms.Form):
    """Which column of the file is what; a subclass adds how the file writes its values."""

    def __init__(self, *args: Any, header: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        columns = [("", "–"), *((column, column) for column in header if column)]
        self.names: list[str] = []
        for name, label, is_needed in self.wanted():
            self.names.append(name)
            self.fields[name] = forms.ChoiceField(
                label=label, choices=columns, required=is_needed, widget=UnfoldAdminSelectWidget()
            )
        self.fields["time_zone"] = forms.ChoiceField(
            label=_("Time zone of the file"),
            choices=[(zone, zone) for zone in sorted(zoneinfo.available_timezones())],
            widget=UnfoldAdminSelectWidget(),
        )

    def wanted(self) -> Iterable[tuple[str, Any, bool]]:
        """(field, its name for people, is it needed) of all that a column can be."""
        raise NotImplementedError

    def chosen(self) -> Any:
        """The mapping that was chosen."""
        raise NotImplementedError

    @property
    def columns(self) -> dict[str, str]:
        """field → header of the file."""
        return {name: self.cleaned_data[name] for name in self.names if self.cleaned_data.get(name)}


class ColumnUploadAdmin(UploadAdmin):
    """Rows with `source`, `file`, `columns` (the mapping as JSON) and the counts of what became of the lines."""

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
    change_form_template = "core/admin/import_form.html"
    columns_form: ClassVar[type[ColumnsForm]]
    columns_template: ClassVar[str]
    counted: ClassVar[tuple[str, ...]]
    """The figures of the progress page."""

    def mapping_of(self, run: Any) -> Any:
        """The mapping that the row remembers."""
        raise NotImplementedError

    def initial_of(self, mapping: Any) -> dict[str, Any]:
        """The values of the form for a mapping."""
        raise NotImplementedError

    def first_lines(self, file: Path, mapping: Any) -> Any:
        """As the import would judge them, for the page. Raises Refusal."""
        raise NotImplementedError

    def begin(self, *, run_id: int, mapping: Any, created_by_id: int | None) -> Any:
        """The command that starts the import."""
        raise NotImplementedError

    def sums(self, run: Any) -> list[tuple[str, str, int]]:
        """(verdict, reason in words, rows)."""
        raise NotImplementedError

    def outcome(self, run: Any) -> str:
        """What the progress page says when it is done."""
        raise NotImplementedError

    def page_of(self, row: Any) -> str:
        """The columns before the start, the progress after it."""
        return "progress" if row.job else "columns"

    @display(description=_("status"), label=STATE_COLOURS)
    def state(self, run: Any) -> tuple[str, Any]:
        return (
            (run.job.status, run.job.get_status_display()) if run.job else ("queued", _("columns to choose"))
        )

    def columns(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose, look at the first lines, start."""
        run = self.found(request, pk)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if run.job:
            return HttpResponseRedirect(self.address(run, "progress"))
        file = Path(run.file.path)
        mapping = self.mapping_of(run)
        form = self.columns_form(
            request.POST or None, header=header_of(file), initial=self.initial_of(mapping)
        )
        lines = None
        if request.method != "POST" or form.is_valid():
            mapping = form.chosen() if request.method == "POST" else mapping
            try:
                lines = self.first_lines(file, mapping)
            except Refusal as refusal:
                messages.error(request, refusal.message)
            else:
                if "start" in request.POST:
                    self.begin(run_id=run.pk, mapping=mapping, created_by_id=request.user.pk)
                    return HttpResponseRedirect(self.address(run, "progress"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Columns of %(file)s") % {"file": run.file_name},
            "opts": self.opts,
            "run": run,
            "form": form,
            "lines": lines,
        }
        return TemplateResponse(request, self.columns_template, context)

    def progress(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = self.found(request, pk)
        shown = progress_context(run.job)
        context = {
            **self.admin_site.each_context(request),
            **shown,
            "title": _("Import of %(file)s") % {"file": run.file_name},
            "opts": self.opts,
            "run": run,
            "report_url": self.address(run, "report") if run.report else "",
            "outcome": self.outcome(run) if run.finished_at else "",
            "figures": self.figures(run, *self.counted) if run.finished_at else [],
            "reasons": [] if shown["is_open"] else self.sums(run),
        }
        return TemplateResponse(request, "core/admin/import_progress.html", context)
