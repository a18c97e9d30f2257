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


@audit_check("core: ledger balances are the sums of their transfers")
def balances_are_sums() -> Iterator[Finding]:
    for kind, owner, balance, moved in rows(
        """
        SELECT account.kind, account.owner_id, account.balance, coalesce(sum(move.amount), 0)
        FROM core_ledgeraccount account
        LEFT JOIN (
            SELECT credit_id AS account_id, amount FROM core_ledgertransfer
            UNION ALL SELECT debit_id, -amount FROM core_ledgertransfer
        ) move ON move.account_id = account.id
        WHERE account.owner_id > 0
        GROUP BY account.id HAVING account.balance <> coalesce(sum(move.amount), 0)
        """
    ):
        yield Finding("ledger", f"{kind}:{owner}", f"balance {balance}, transfers {moved}")


@audit_check("core: ledger balances are the sums of their lots")
def balances_are_lots() -> Iterator[Finding]:
    for kind, owner, balance, remaining in rows(
        """
        SELECT account.kind, account.owner_id, account.balance, coalesce(sum(lot.remaining), 0)
        FROM core_ledgeraccount account LEFT JOIN core_ledgerlot lot ON lot.account_id = account.id
        WHERE account.owner_id > 0
        GROUP BY account.id HAVING account.balance <> coalesce(sum(lot.remaining), 0)
        """
    ):
        yield Finding("ledger", f"{kind}:{owner}", f"balance {balance}, lots {remaining}")


@audit_check("core: ledger lots remain what was not taken from them")
def lots_are_what_was_not_taken() -> Iterator[Finding]:
    for lot, remaining, amount, taken in rows(
        """
        SELECT lot.id, lot.remaining, lot.amount, coalesce(sum(lot_use.amount), 0)
        FROM core_ledgerlot lot LEFT JOIN core_ledgerlotuse lot_use ON lot_use.lot_id = lot.id
        GROUP BY lot.id HAVING lot.remaining <> lot.amount - coalesce(sum(lot_use.amount), 0)
        """
    ):
        yield Finding("ledger", f"lot {lot}", f"remaining {remaining} of {amount}, taken {taken}")


@audit_check("core: ledger holds are what their accounts hold")
def holds_are_held() -> Iterator[Finding]:
    for kind, owner, held, open_holds in rows(
        """
        SELECT account.kind, account.owner_id, account.held, coalesce(sum(hold.amount), 0)
        FROM core_ledgeraccount account
        LEFT JOIN core_ledgerhold hold ON hold.account_id = account.id AND hold.status = 'open'
        WHERE account.owner_id > 0
        GROUP BY account.id HAVING account.held <> coalesce(sum(hold.amount), 0)
        """
    ):
        yield Finding("ledger", f"{kind}:{owner}", f"held {held}, open holds {open_holds}")


@audit_check("core: ledger transfers are reversed at most once over")
def reversals_stay_within() -> Iterator[Finding]:
    for cause, amount, back in rows(
        """
        SELECT original.cause, original.amount, sum(reversal.amount)
        FROM core_ledgertransfer reversal
        JOIN core_ledgertransfer original ON original.id = reversal.reverses_id
        GROUP BY original.id HAVING sum(reversal.amount) > original.amount
        """
    ):
        yield Finding("ledger", str(cause), f"{amount} transferred, {back} taken back")
