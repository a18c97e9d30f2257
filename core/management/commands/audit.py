import sys
from typing import Any

from django.core.management.base import BaseCommand

from core.audits import run_audit


class Command(BaseCommand):
    help = "Prove that balances, stock, orders and deliveries add up; exit 1 with a list when they do not."

    def handle(self, *args: Any, **options: Any) -> None:
        checks, findings = run_audit()
        for finding in findings:
            self.stdout.write(f"{finding.check}: {finding.subject}: {finding.problem}")
        self.stdout.write(f"{len(checks)} checks, {len(findings)} findings")
        if findings:
            sys.exit(1)
