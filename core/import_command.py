"""The shape of the commands that bring a file of another system in."""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Refusal


class ImportCommand(BaseCommand):
    """`FILE [--source NAME] [--mapping JSON] [--report CSV]`; prints the figures as one JSON line."""

    report_hint: ClassVar[str]
    source_hint: ClassVar[str]
    mapping_hint: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--report", type=Path, help=self.report_hint)
        parser.add_argument("--source", default="", help=self.source_hint)
        parser.add_argument("--mapping", type=Path, help=self.mapping_hint)

    def mapping_from(self, written: Any) -> Any:
        """The mapping that a JSON file says. Raises ValueError."""
        raise NotImplementedError

    def new_run(self, *, path: Path, source: str, mapping: Any, options: dict[str, Any]) -> Any:
        """The run's row. Raises Refusal."""
        raise NotImplementedError

    def run_here(self, *, run: Any, path: Path) -> tuple[Any, dict[str, Any]]:
        """Do the work in this process; the run and its figures. Raises Refusal."""
        raise NotImplementedError

    def handle(
        self, *args: Any, file: Path, report: Path | None, source: str, mapping: Path | None, **options: Any
    ) -> None:
        try:
            chosen = None if mapping is None else self._read(mapping)
            run = self.new_run(path=file, source=source, mapping=chosen, options=options)
            run, figures = self.run_here(run=run, path=file)
        except (Refusal, RuntimeError, OSError) as refusal:
            raise CommandError(str(refusal)) from refusal
        if report:
            run.refresh_from_db()
            with run.report.open("rb") as written, report.open("wb") as target:
                shutil.copyfileobj(written, target)
        self.stdout.write(json.dumps(figures))

    def _read(self, path: Path) -> Any:
        try:
            return self.mapping_from(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise CommandError(f"{path}: {error}") from error
