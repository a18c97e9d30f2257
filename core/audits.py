"""`manage.py audit`: every app registers the checks that prove its values right; a finding names what is wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


@dataclass(frozen=True)
class Finding:
    check: str
    subject: str  # "order 42"
    problem: str


Check = Callable[[], Iterator[Finding]]

_checks: dict[str, tuple[Any, Check]] = {}  # name → (label for people, check)


def audit_check(name: str, label: Any = "") -> Callable[[Check], Check]:
    """Register a check, in an app's `audits.py`; the function yields one Finding per wrong thing.

    `label` (gettext_lazy) says on the admin's page what the check proves. A name is given once: a second check of it
    would silently take the place of the first.
    """

    def keep(check: Check) -> Check:
        if name in _checks:
            raise RuntimeError(f"two checks are named {name}")
        _checks[name] = (label or name, check)
        return check

    return keep


def check_names() -> list[tuple[str, str]]:
    """(name, label) of every check."""
    return [(name, str(label)) for name, (label, _check) in sorted(_checks.items())]


def run_check(name: str) -> list[Finding]:
    """What one check finds now."""
    return list(_checks[name][1]())


def run_checks() -> Iterator[tuple[str, str, list[Finding]]]:
    """(name, label, findings) of one check after the other, all on one snapshot of the database: work that goes on
    meanwhile is not mistaken for a fault.
    """
    inside = connection.in_atomic_block
    with transaction.atomic():
        if not inside:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for name, (label, check) in sorted(_checks.items()):
            yield name, str(label), list(check())


def run_audit() -> tuple[list[str], list[Finding]]:
    """Names of all checks run, and what they found."""
    results = list(run_checks())
    return [name for name, _label, _found in results], [
        finding for *_rest, found in results for finding in found
    ]


def rows(sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[tuple[object, ...]]:
    """Rows of a read-only audit query.

    The edit history puts its context (with parameters, which `%` would then be) before whatever may write; a query
    that begins with WITH looks like that, so it is asked from inside of a SELECT.
    """
    if params is None and sql.lstrip().upper().startswith("WITH"):
        sql = f"SELECT * FROM ({sql}) AS found"  # noqa: S608  a query of our own source
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


@audit_check("core.ledger.balances", gettext_lazy("Ledger balances are the sums of their transfers"))
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
        problem = _("balance %(balance)d, transfers %(sum)d") % {"balance": balance, "sum": moved}
        yield Finding("core.ledger.balances", f"{kind}:{owner}", problem)


@audit_check("core.ledger.lots", gettext_lazy("Ledger balances are the sums of their lots"))
def balances_are_lots() -> Iterator[Finding]:
    for kind, owner, balance, remaining in rows(
        """
        SELECT account.kind, account.owner_id, account.balance, coalesce(sum(lot.remaining), 0)
        FROM core_ledgeraccount account LEFT JOIN core_ledgerlot lot ON lot.account_id = account.id
        WHERE account.owner_id > 0
        GROUP BY account.id HAVING account.balance <> coalesce(sum(lot.remaining), 0)
        """
    ):
        problem = _("balance %(balance)d, lots %(sum)d") % {"balance": balance, "sum": remaining}
        yield Finding("core.ledger.lots", f"{kind}:{owner}", problem)


@audit_check("core.ledger.uses", gettext_lazy("Ledger lots remain what was not taken from them"))
def lots_are_what_was_not_taken() -> Iterator[Finding]:
    for lot, remaining, amount, taken in rows(
        """
        SELECT lot.id, lot.remaining, lot.amount, coalesce(sum(lot_use.amount), 0)
        FROM core_ledgerlot lot LEFT JOIN core_ledgerlotuse lot_use ON lot_use.lot_id = lot.id
        GROUP BY lot.id HAVING lot.remaining <> lot.amount - coalesce(sum(lot_use.amount), 0)
        """
    ):
        problem = _("remaining %(remaining)d of %(amount)d, taken %(taken)d") % {
            "remaining": remaining,
            "amount": amount,
            "taken": taken,
        }
        yield Finding("core.ledger.uses", f"lot {lot}", problem)


@audit_check("core.ledger.holds", gettext_lazy("Accounts hold the sum of their open holds"))
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
        problem = _("held %(held)d, open holds %(sum)d") % {"held": held, "sum": open_holds}
        yield Finding("core.ledger.holds", f"{kind}:{owner}", problem)


@audit_check("core.ledger.reversals", gettext_lazy("Transfers are taken back at most in full"))
def reversals_stay_within() -> Iterator[Finding]:
    for cause, amount, back in rows(
        """
        SELECT original.cause, original.amount, sum(reversal.amount)
        FROM core_ledgertransfer reversal
        JOIN core_ledgertransfer original ON original.id = reversal.reverses_id
        GROUP BY original.id HAVING sum(reversal.amount) > original.amount
        """
    ):
        problem = _("%(amount)d transferred, %(back)d taken back") % {"amount": amount, "back": back}
        yield Finding("core.ledger.reversals", str(cause), problem)


@audit_check("core.ledger.references", gettext_lazy("Ledger rows refer to rows that are there"))
def rows_have_what_they_refer_to() -> Iterator[Finding]:
    """ADR 22: the database looks when rows are written or deleted, but locks nothing that they refer to."""
    for table, row in rows(
        """
        SELECT 'transfer', t.id FROM core_ledgertransfer t
        LEFT JOIN core_ledgeraccount debit ON debit.id = t.debit_id
        LEFT JOIN core_ledgeraccount credit ON credit.id = t.credit_id
        LEFT JOIN core_ledgertransfer original ON original.id = t.reverses_id
        WHERE debit.id IS NULL OR credit.id IS NULL OR (t.reverses_id IS NOT NULL AND original.id IS NULL)
        UNION ALL
        SELECT 'lot', l.id FROM core_ledgerlot l LEFT JOIN core_ledgertransfer t ON t.id = l.transfer_id
        WHERE t.credit_id IS DISTINCT FROM l.account_id
        UNION ALL
        SELECT 'lot use', u.id FROM core_ledgerlotuse u
        LEFT JOIN core_ledgerlot l ON l.id = u.lot_id LEFT JOIN core_ledgertransfer t ON t.id = u.transfer_id
        WHERE l.id IS NULL OR t.id IS NULL
        """
    ):
        yield Finding("core.ledger.references", f"{table} {row}", _("refers to what is not there"))
