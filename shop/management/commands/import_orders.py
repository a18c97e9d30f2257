import json
import shutil
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Refusal
from shop.imports import mapping, runner


class Command(BaseCommand):
    help = (
        "Bring the order history of another shop in, from CSV or XLSX. Prints one JSON line: rows = imported + skipped"
        " + refused; members, products and orders are those of the file that Pond holds now. Run again, lines that"
        " were imported are skipped and everything else is the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--report", type=Path, help="write what became of each line to this CSV file")
        parser.add_argument(
            "--source", default="", help="the other shop's short name (default: the file's name)"
        )
        parser.add_argument(
            "--mapping", type=Path, help='JSON: {"columns": {"order_number": "…", …}, "currency": "CNY", …}'
        )

    def handle(
        self, *args: Any, file: Path, report: Path | None, source: str, mapping: Path | None, **options: Any
    ) -> None:
        try:
            run = runner.new_run(path=file, source=source, mapping=self.mapping_in(mapping))
            run, result = runner.run_here(run=run, path=file)
        except (Refusal, RuntimeError, OSError) as refusal:
            raise CommandError(str(refusal)) from refusal
        if report:
            run.refresh_from_db()
            with run.report.open("rb") as written, report.open("wb") as target:
                shutil.copyfileobj(written, target)
        self.stdout.write(runner.line_of(result))

    def mapping_in(self, path: Path | None) -> mapping.Mapping | None:
        if path is None:
            return None
        try:
            return mapping.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise CommandError(f"{path}: {error}") from error
