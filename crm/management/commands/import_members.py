from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from core.import_command import ImportCommand
from crm import imports_mapping, services


class Command(ImportCommand):
    help = (
        "Bring the members of another system in, from CSV or XLSX. Prints one JSON line: rows = imported + skipped +"
        " refused; members are those of the file that Pond holds now. Run again, members that are there are skipped."
    )
    report_hint = "write why rows did not come in to this CSV file"
    source_hint = "the other system's short name (default: the file's name)"
    mapping_hint = 'JSON: {"columns": {"external_id": "…", "phone": "…", …}, …}'

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--consent-text",
            default="",
            help="the version of the text that a column of marketing consents answers",
        )

    def mapping_from(self, written: Any) -> imports_mapping.Mapping:
        return imports_mapping.from_json(written)

    def new_run(self, *, path: Path, source: str, mapping: Any, options: dict[str, Any]) -> Any:
        return services.new_member_import(
            path=path, source=source, mapping=mapping, consent_text=options["consent_text"]
        )

    def run_here(self, *, run: Any, path: Path) -> tuple[Any, dict[str, Any]]:
        return services.import_members_here(run=run, path=path)
