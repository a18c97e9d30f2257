"""Imports of members in the admin: which columns a file of them has, and what became of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from core.admin.column_uploads import ColumnsForm, ColumnUploadAdmin, SourceForm
from crm import imports_mapping, imports_preview, imports_report, services
from crm.models import MemberImport


class UploadForm(SourceForm):
    example = "pos"
    file_hint = _("CSV (UTF-8 or GB18030) or XLSX, one line per member, with a header.")
    source_hint = _("Small letters, digits, - and _. The same source never makes a member twice.")
    too_large = _("The file is larger than 200 MB: use manage.py import_members.")

    class Meta(SourceForm.Meta):
        model = MemberImport

    def bring(self, *, upload: Any, source: str) -> MemberImport:
        return services.new_member_import(upload=upload, source=source)


class MappingForm(ColumnsForm):
    """Which column is what, the house's own fields among them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["external_id"].help_text = _("A file without numbers may give the phone as the number.")
        self.fields["tags"].help_text = _("Several in one cell are separated by , ; | or 、")
        self.fields["consent"].help_text = _(
            "Yes or no. Empty cells say nothing: nobody agrees by an import."
        )
        self.fields["consent_text"] = forms.CharField(
            label=_("Text that they agreed to"),
            help_text=_("Its name or version; kept as the proof of each consent."),
            required=False,
            max_length=40,
            widget=UnfoldAdminTextInputWidget(),
        )

    def wanted(self) -> Iterator[tuple[str, Any, bool]]:
        for name, (label, _known) in imports_mapping.FIELDS.items():
            yield name, label, name == "external_id"
        for name, one in imports_mapping.own_fields().items():
            yield name, one.name, False

    def chosen(self) -> imports_mapping.Mapping:
        given = self.cleaned_data
        return imports_mapping.Mapping(
            columns=self.columns,
            time_zone=given["time_zone"],
            consent_text=given["consent_text"].strip(),
        )


@admin.register(MemberImport)
class MemberImportAdmin(ColumnUploadAdmin):
    empty_hint = _(
        "Members of a till, a mini program or an old system come in by a file, a million at a time."
    )
    form = UploadForm
    columns_form = MappingForm
    columns_template = "crm/admin/imports_columns.html"
    counted = ("rows", "imported", "skipped", "refused", "members", "seconds")

    def report_name(self, row: MemberImport) -> str:
        return f"members-{row.source}-{row.pk}.csv"

    def mapping_of(self, run: MemberImport) -> imports_mapping.Mapping:
        return imports_mapping.from_json(run.columns)

    def initial_of(self, mapping: imports_mapping.Mapping) -> dict[str, Any]:
        return {
            **mapping.columns,
            "time_zone": mapping.time_zone,
            "consent_text": mapping.consent_text,
        }

    def first_lines(self, file: Path, mapping: imports_mapping.Mapping) -> imports_preview.Preview:
        return imports_preview.preview(file, mapping)

    def begin(self, *, run_id: int, mapping: imports_mapping.Mapping, created_by_id: int | None) -> Any:
        return services.enqueue_member_import(run_id=run_id, mapping=mapping, created_by_id=created_by_id)

    def sums(self, run: MemberImport) -> list[tuple[str, str, int]]:
        return imports_report.sums(run)

    def outcome(self, run: MemberImport) -> str:
        return _(
            "Source %(source)s. Members are those of this file that are in Pond now. The report lists the lines that "
            "did not come in; what they said of people is forgotten."
        ) % {"source": run.source}
