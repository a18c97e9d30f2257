"""`manage.py audit`: every app registers the checks that prove its values right; a finding names what is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True)
class Finding:
    check: str
    subject: str  # "order 42"
    problem: str


_checks: dict[str, Callable[[], Iterator[Finding]]] = {}


def audit_check(name: str) -> Callable[[Callable[[], Iterator[Finding]]], Callable[[], Iterator[Finding]]]:
    """Register a check, in an app's `audits.py`; the function yields one Finding per wrong thing."""

    def keep(check: Callable[[], Iterator[Finding]]) -> Callable[[], Iterator[Finding]]:
        _checks[name] = check
        return check

    return keep


def run_audit() -> tuple[list[str], list[Finding]]:
    """Names of all checks run, and what they found."""
    findings = [finding for _, check in sorted(_checks.items()) for finding in check()]
    return sorted(_checks), findings


def rows(sql: str, params: list[object] | None = None) -> list[tuple[object, ...]]:
    """Rows of a read-only audit query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
