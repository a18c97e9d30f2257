from pathlib import Path
from typing import Any

from core.import_command import ImportCommand
from shop.imports import mapping as mappings
from shop.imports import runner


class Command(ImportCommand):
    help = (
        "Bring the order history of another shop in, from CSV or XLSX. Prints one JSON line: rows = imported + skipped"
        " + refused; members, products and orders are those of the file that Pond holds now. Run again, lines that"
        " were imported are skipped and everything else is the same."
    )
    report_hint = "write what became of each line to this CSV file"
    source_hint = "the other shop's short name (default: the file's name)"
    mapping_hint = 'JSON: {"columns": {"order_number": "…", …}, "currency": "CNY", …}'

    def mapping_from(self, written: Any) -> mappings.Mapping:
        return mappings.from_json(written)

    def new_run(self, *, path: Path, source: str, mapping: Any, options: dict[str, Any]) -> Any:
        return runner.new_run(path=path, source=source, mapping=mapping)

    def run_here(self, *, run: Any, path: Path) -> tuple[Any, dict[str, Any]]:
        return runner.run_here(run=run, path=path)
