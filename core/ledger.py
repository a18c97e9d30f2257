"""The ledger: who holds how much of what, moved by single-row transfers that name their cause.

A transfer debits one account and credits another of the same unit, once per cause. Accounts of customers carry a
checked balance and their value comes in lots, spent first-expiring-first; accounts of the house (owner 0) are sums.
A kind is a unit ("points", "stored_value") or a unit with a purpose ("points.expired").
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F, Q, Sum
from django.db.models.base import ModelState
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from core import clock
from core.errors import Conflict, NotFound, Refusal
from core.ledger_expiry import accounts_with_expired, expired_units, move_expired
from core.ledger_posting import Posted, Posting, post, post_many
from core.locks import lock_rows
from core.models import LedgerAccount, LedgerHold, LedgerLot, LedgerTransfer

HOUSE = 0
EXPIRED_TOGETHER = 100


class BalanceTooLow(Refusal):
    """The account does not have that much that is neither held nor expired."""

    code, status = "balance_too_low", 409


class CauseTaken(Conflict):
    """The same cause came with another content: somebody's key is not unique."""

    code = "cause_taken"


class WrongAccounts(Refusal):
    """Both accounts are one, of the house only, or of different units; or the amount is not positive."""

    code = "wrong_accounts"


class HoldClosed(Conflict):
    """The hold was already captured or released, and now the other is asked for."""

    code = "hold_closed"


class ReversesTooMuch(Conflict):
    """More would be reversed than was transferred."""

    code = "reverses_too_much"


@dataclass(frozen=True)
class StatementLine:
    """One movement of an account: `amount` is signed, `balance` is what it left behind."""

    transfer_id: int
    cause: str
    amount: int
    balance: int
    other: str
    posted_at: datetime


@dataclass(frozen=True, slots=True)
class Transfer:
    """What `transfer_many` shall move; as the arguments of `transfer`."""

    cause: str
    debit: LedgerAccount
    credit: LedgerAccount
    amount: int
    expires_at: datetime | None = None

    @property
    def posting(self) -> Posting:
        expires_at = None if self.credit.is_system else self.expires_at
        return Posting(self.cause, self.debit.pk, self.credit.pk, self.amount, expires_at)

    def row(self, posted: Posted) -> LedgerTransfer:
        """As `from_db` gives it, without the signals of a model, to which nobody listens here: a fifth of its time."""
        row = LedgerTransfer.__new__(LedgerTransfer)
        row.__dict__.update(
            id=posted.transfer_id,
            cause=self.cause,
            debit_id=self.debit.pk,
            credit_id=self.credit.pk,
            amount=self.amount,
            reverses_id=None,
            posted_at=posted.posted_at,
        )
        row._state = ModelState()
        row._state.adding, row._state.db = False, "default"
        row._state.fields_cache = {"debit": self.debit, "credit": self.credit}
        return row


def open_account(*, kind: str, owner_id: int) -> LedgerAccount:
    """The account of this kind and owner (0: the house); made when it is not there. Idempotent, locks nothing."""
    found = LedgerAccount.objects.filter(kind=kind, owner_id=owner_id).first()
    if found is None:
        LedgerAccount.objects.bulk_create(
            [LedgerAccount(kind=kind, owner_id=owner_id)], ignore_conflicts=True
        )
        found = LedgerAccount.objects.get(kind=kind, owner_id=owner_id)
    return found


def transfer(
    *,
    cause: str,
    debit: LedgerAccount,
    credit: LedgerAccount,
    amount: int,
    expires_at: datetime | None = None,
) -> LedgerTransfer:
    """Move `amount` from `debit` to `credit`; what a customer receives is a lot that expires at `expires_at`.

    One round trip; outside of a transaction its commit is shared with concurrent callers. Locks: the customers'
    accounts. Idempotent on: cause (equal content returns the first row). Raises BalanceTooLow, CauseTaken,
    WrongAccounts; then nothing was written.
    """
    _refuse_wrong_accounts(debit, credit, amount)
    wanted = Transfer(cause, debit, credit, amount, expires_at)
    posted = post(wanted.posting)
    if posted is None:
        return _transfer_the_long_way(cause, debit, credit, amount, expires_at)
    return wanted.row(posted)


def transfer_many(*, transfers: Sequence[Transfer]) -> list[LedgerTransfer]:
    """Move several amounts in one statement, which is its own transaction outside of one: all of them or none, each
    once.

    Locks: the customers' accounts. Idempotent on: each cause. Raises as `transfer`; then nothing was written.
    """
    for wanted in transfers:
        _refuse_wrong_accounts(wanted.debit, wanted.credit, wanted.amount)
    posted = post_many([wanted.posting for wanted in transfers])
    if posted is None:
        with transaction.atomic():
            return [
                _transfer_the_long_way(one.cause, one.debit, one.credit, one.amount, one.expires_at)
                for one in transfers
            ]
    return [wanted.row(one) for wanted, one in zip(transfers, posted, strict=True)]


@transaction.atomic
def _transfer_the_long_way(
    cause: str, debit: LedgerAccount, credit: LedgerAccount, amount: int, expires_at: datetime | None
) -> LedgerTransfer:
    """Step by step, for what `core_ledger_post` left: it knows a cause again, moves out what has expired, and says
    what is wrong.
    """
    row = _insert(cause, debit, credit, amount)
    if row is None:
        return _first_posting(cause, debit, credit, amount)
    _lock(debit, credit)
    if not debit.is_system:
        _expire_lots_of([debit.pk])
        _lower(debit, amount)
        _take_lots(debit, row, amount, spendable_at=row.posted_at)
    if not credit.is_system:
        _raise(credit, amount)
        LedgerLot.objects.create(
            account=credit, transfer=row, amount=amount, remaining=amount, expires_at=expires_at
        )
    return row


@transaction.atomic
def hold(*, cause: str, account: LedgerAccount, amount: int) -> LedgerHold:
    """Set a part of a customer's balance aside until `capture` or `release`; it does not expire meanwhile.

    Locks: account. Idempotent on: cause. Raises BalanceTooLow, CauseTaken, WrongAccounts.
    """
    if amount <= 0 or account.is_system:
        raise WrongAccounts(_("Only a positive amount of a customer's account can be held."))
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_ledgerhold (cause, account_id, amount, status, placed_at)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (cause) DO NOTHING",
            [cause, account.pk, amount, LedgerHold.OPEN, moment],
        )
        is_new = cursor.rowcount == 1
    row = LedgerHold.objects.get(cause=cause)
    if not is_new:
        if (row.account_id, row.amount) != (account.pk, amount):
            raise CauseTaken(_("The cause %(cause)s already stands for another hold.") % {"cause": cause})
        return row
    _lock(account)
    _expire_lots_of([account.pk])
    if (
        not LedgerAccount.objects.filter(pk=account.pk)
        .filter(balance__gte=F("held") + amount)
        .update(held=F("held") + amount)
    ):
        raise BalanceTooLow(_("The balance is not enough."))
    return row


@transaction.atomic
def capture(*, cause: str, credit: LedgerAccount, amount: int | None = None) -> LedgerTransfer:
    """Spend what the hold `cause` set aside, or only `amount` of it and give the rest free.

    Locks: hold, account. Idempotent on: the hold. Raises HoldClosed when it was released, NotFound.
    """
    row = _find_hold(cause)
    spent = row.amount if amount is None else amount
    account = row.account
    _refuse_wrong_accounts(account, credit, spent)
    if spent > row.amount:
        raise BalanceTooLow(_("Only %(amount)d were held.") % {"amount": row.amount})
    posted = f"capture:{cause}"
    if not _close_hold(row, LedgerHold.CAPTURED):
        return _first_posting(posted, account, credit, spent)
    transferred = _insert(posted, account, credit, spent)
    if transferred is None:
        return _first_posting(posted, account, credit, spent)
    _lock(account, credit)
    LedgerAccount.objects.filter(pk=account.pk).update(
        held=F("held") - row.amount, balance=F("balance") - spent
    )
    _take_lots(account, transferred, spent, spendable_at=None)
    if not credit.is_system:
        _raise(credit, spent)
        LedgerLot.objects.create(account=credit, transfer=transferred, amount=spent, remaining=spent)
    return transferred


@transaction.atomic
def release(*, cause: str) -> LedgerHold:
    """Give a hold free. Locks: hold, account. Idempotent on: the hold. Raises HoldClosed when it was captured."""
    row = _find_hold(cause)
    if _close_hold(row, LedgerHold.RELEASED):
        LedgerAccount.objects.filter(pk=row.account_id).update(held=F("held") - row.amount)
    return row


@transaction.atomic
def reverse(*, transfer_cause: str, cause: str, amount: int | None = None) -> LedgerTransfer:
    """Take a transfer back, in whole or `amount` of it: lots that it spent are refilled and keep their expiry, the
    lot that it made is emptied first.

    Locks: the transfer, the customers' accounts. Idempotent on: cause. Raises ReversesTooMuch, BalanceTooLow (the
    receiver has spent it), CauseTaken, NotFound.
    """
    original = (
        LedgerTransfer.objects.select_for_update(of=("self",), no_key=True)
        .select_related("debit", "credit")
        .filter(cause=transfer_cause)
        .first()
    )
    if original is None:
        raise NotFound(_("There is no transfer %(cause)s.") % {"cause": transfer_cause})
    back = original.amount if amount is None else amount
    giver, taker = original.credit, original.debit
    _refuse_wrong_accounts(giver, taker, back)
    row = _insert(cause, giver, taker, back, reverses=original)
    if row is None:
        return _first_posting(cause, giver, taker, back, reverses=original)
    reversed_so_far = original.reversals.aggregate(total=Sum("amount"))["total"]
    if reversed_so_far > original.amount:
        raise ReversesTooMuch(_("More would be taken back than was transferred."))
    _lock(giver, taker)
    if not giver.is_system:
        _expire_lots_of([giver.pk], except_lot_of=original.pk)
        _lower(giver, back)
        _take_lots(giver, row, back, spendable_at=row.posted_at, first_lot_of=original)
    if not taker.is_system:
        _raise(taker, back)
        _refill_lots(original, row, back)
    return row


def expire_lots(*, seconds: float = 20.0) -> int:
    """Move expired lots to the house's account `<unit>.expired`, a hundred customers at a time, until none is left or
    about so many seconds are over: at the end of a year everybody's end at once, and the queue has other work too.
    Returns of how many customers some went. Whom somebody has locked is left to the next run; what a hold covers stays
    until the hold is closed. Runs twice without harm.
    """
    until = time.monotonic() + seconds
    due, expired = accounts_with_expired(), 0
    for start in range(0, len(due), EXPIRED_TOGETHER):
        with transaction.atomic():
            accounts = LedgerAccount.objects.filter(pk__in=due[start : start + EXPIRED_TOGETHER]).order_by(
                "pk"
            )
            free = accounts.select_for_update(skip_locked=True).values_list("pk", flat=True)
            expired += len(_expire_lots_of(list(free)))
        if time.monotonic() >= until:
            break
    return expired


def balance_of(*, kind: str, owner_id: int) -> int:
    """A customer's balance (0 without an account); of the house: all that came in minus all that went out."""
    account = LedgerAccount.objects.filter(kind=kind, owner_id=owner_id).first()
    if account is None:
        return 0
    if not account.is_system:
        return account.balance
    sums = LedgerTransfer.objects.filter(Q(debit=account) | Q(credit=account)).aggregate(
        came=Coalesce(Sum("amount", filter=Q(credit=account)), 0),
        went=Coalesce(Sum("amount", filter=Q(debit=account)), 0),
    )
    return int(sums["came"] - sums["went"])


def owners_moved_since(moment: datetime, *, kinds: Sequence[str], most: int) -> list[int]:
    """Customers whose accounts of these kinds were debited or credited since, at most so many."""
    sql = """
        SELECT DISTINCT a.owner_id FROM core_ledgertransfer t
        CROSS JOIN LATERAL (VALUES (t.debit_id), (t.credit_id)) ends(id)
        JOIN core_ledgeraccount a ON a.id = ends.id
        WHERE t.posted_at >= %s AND a.owner_id > 0 AND a.kind = ANY(%s) LIMIT %s
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [moment, list(kinds), most])
        return [owner_id for (owner_id,) in cursor]


def spendable_of(account_id: int) -> int:
    """What of a customer's account is neither held nor expired. What is held was promised from what expires first."""
    account = LedgerAccount.objects.get(pk=account_id)
    lots = LedgerLot.objects.filter(account=account, remaining__gt=0, expires_at__lte=clock.now())
    expired = lots.aggregate(total=Coalesce(Sum("remaining"), 0))["total"]
    return account.balance - max(account.held, int(expired))


def statement(*, account: LedgerAccount, limit: int = 50, before: int | None = None) -> list[StatementLine]:
    """A customer's movements, newest first; `before` is the last transfer id of the page already seen."""
    movements = LedgerTransfer.objects.filter(Q(debit=account) | Q(credit=account))
    balance = LedgerAccount.objects.values_list("balance", flat=True).get(pk=account.pk)
    if before is not None:
        newer = movements.filter(pk__gte=before).aggregate(
            came=Coalesce(Sum("amount", filter=Q(credit=account)), 0),
            went=Coalesce(Sum("amount", filter=Q(debit=account)), 0),
        )
        balance -= newer["came"] - newer["went"]
        movements = movements.filter(pk__lt=before)
    lines = []
    for row in movements.select_related("debit", "credit").order_by("-pk")[:limit]:
        received = row.credit_id == account.pk
        signed = row.amount if received else -row.amount
        other = row.debit if received else row.credit
        lines.append(StatementLine(row.pk, row.cause, signed, balance, other.kind, row.posted_at))
        balance -= signed
    return lines


def unit_of(kind: str) -> str:
    """ "points.expired" → "points": only accounts of one unit exchange value."""
    return kind.partition(".")[0]


def _refuse_wrong_accounts(debit: LedgerAccount, credit: LedgerAccount, amount: int) -> None:
    if debit.pk == credit.pk or unit_of(debit.kind) != unit_of(credit.kind):
        raise WrongAccounts(_("A transfer goes between two accounts of one unit."))
    if amount <= 0:
        raise WrongAccounts(_("The amount must be positive."))


def _insert(
    cause: str,
    debit: LedgerAccount,
    credit: LedgerAccount,
    amount: int,
    reverses: LedgerTransfer | None = None,
) -> LedgerTransfer | None:
    """The new row, or None when the cause was posted before. Waits for a concurrent poster of the same cause."""
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_ledgertransfer (cause, debit_id, credit_id, amount, reverses_id, posted_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (cause) DO NOTHING RETURNING id",
            [cause, debit.pk, credit.pk, amount, reverses.pk if reverses else None, moment],
        )
        inserted = cursor.fetchone()
    if inserted is None:
        return None
    return LedgerTransfer(
        pk=inserted[0],
        cause=cause,
        debit=debit,
        credit=credit,
        amount=amount,
        reverses=reverses,
        posted_at=moment,
    )


def _first_posting(
    cause: str,
    debit: LedgerAccount,
    credit: LedgerAccount,
    amount: int,
    reverses: LedgerTransfer | None = None,
) -> LedgerTransfer:
    row = LedgerTransfer.objects.get(cause=cause)
    same = (row.debit_id, row.credit_id, row.amount, row.reverses_id)
    if same != (debit.pk, credit.pk, amount, reverses.pk if reverses else None):
        raise CauseTaken(_("The cause %(cause)s already stands for another transfer.") % {"cause": cause})
    return row


def _lock(*accounts: LedgerAccount) -> None:
    """Lock the customers among the accounts, in order; nobody locks the house, it would be a hot row."""
    customers = [account.pk for account in accounts if not account.is_system]
    if customers:
        lock_rows(LedgerAccount.objects.filter(pk__in=customers))


def _lower(account: LedgerAccount, amount: int) -> None:
    """The guard: only what is there and not held can go."""
    if (
        not LedgerAccount.objects.filter(pk=account.pk)
        .filter(balance__gte=F("held") + amount)
        .update(balance=F("balance") - amount)
    ):
        raise BalanceTooLow(_("The balance is not enough."))


def _raise(account: LedgerAccount, amount: int) -> None:
    LedgerAccount.objects.filter(pk=account.pk).update(balance=F("balance") + amount)


def _take_lots(
    account: LedgerAccount,
    row: LedgerTransfer,
    amount: int,
    *,
    spendable_at: datetime | None,
    first_lot_of: LedgerTransfer | None = None,
) -> None:
    """Empty lots first-expiring-first and note how much of each; `spendable_at` None also takes expired ones, which
    is right for what a hold kept. The caller holds the account's lock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH open AS (
                SELECT id, remaining,
                       sum(remaining) OVER (
                           ORDER BY transfer_id = %(first)s DESC, expires_at NULLS LAST, id
                       ) - remaining AS before
                FROM core_ledgerlot
                WHERE account_id = %(account)s AND remaining > 0
                  AND (%(moment)s::timestamptz IS NULL OR expires_at IS NULL OR expires_at > %(moment)s
                       OR transfer_id = %(first)s)
            ), taken AS (
                SELECT id, least(remaining, %(amount)s - before) AS amount FROM open WHERE before < %(amount)s
            ), emptied AS (
                UPDATE core_ledgerlot lot SET remaining = lot.remaining - taken.amount
                FROM taken WHERE lot.id = taken.id
                RETURNING lot.id, taken.amount
            ), noted AS (
                INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount)
                SELECT id, %(transfer)s, amount FROM emptied
                RETURNING amount
            )
            SELECT coalesce(sum(amount), 0) FROM noted
            """,
            {
                "account": account.pk,
                "transfer": row.pk,
                "amount": amount,
                "moment": spendable_at,
                "first": first_lot_of.pk if first_lot_of else 0,
            },
        )
        if cursor.fetchone()[0] != amount:
            raise BalanceTooLow(_("The balance is not enough."))


def _refill_lots(original: LedgerTransfer, row: LedgerTransfer, amount: int) -> None:
    """Put back what `original` took, latest-expiring first when it is only a part; noted as a negative use."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH taken AS (
                SELECT lot.id, lot.expires_at, sum(lot_use.amount) AS amount
                FROM core_ledgerlotuse lot_use
                JOIN core_ledgerlot lot ON lot.id = lot_use.lot_id AND lot.account_id = %(account)s
                JOIN core_ledgertransfer transfer ON transfer.id = lot_use.transfer_id
                WHERE transfer.id = %(original)s OR transfer.reverses_id = %(original)s
                GROUP BY lot.id
            ), ranked AS (
                SELECT id, amount, sum(amount) OVER (ORDER BY expires_at DESC NULLS FIRST, id DESC) - amount AS before
                FROM taken WHERE amount > 0
            ), back AS (
                SELECT id, least(amount, %(amount)s - before)::bigint AS amount FROM ranked WHERE before < %(amount)s
            ), refilled AS (
                UPDATE core_ledgerlot lot SET remaining = lot.remaining + back.amount
                FROM back WHERE lot.id = back.id
                RETURNING lot.id, back.amount
            )
            INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount)
            SELECT id, %(transfer)s, -amount FROM refilled
            """,
            {
                "account": original.debit_id,
                "original": original.pk,
                "transfer": row.pk,
                "amount": amount,
            },
        )


def _expire_lots_of(account_ids: Sequence[int], *, except_lot_of: int | None = None) -> Mapping[int, int]:
    """Move the accounts' expired lots to the house, but for what is held; the caller holds the accounts' locks."""
    units = expired_units(account_ids)
    for unit in units:
        open_account(kind=f"{unit}.expired", owner_id=HOUSE)
    return move_expired(account_ids, except_lot_of=except_lot_of) if units else {}


def _find_hold(cause: str) -> LedgerHold:
    row = LedgerHold.objects.select_related("account").filter(cause=cause).first()
    if row is None:
        raise NotFound(_("There is no hold %(cause)s.") % {"cause": cause})
    return row


def _close_hold(row: LedgerHold, status: str) -> bool:
    """True when this call closed it, False when it was closed in the same way before."""
    moment = clock.now()
    if LedgerHold.objects.filter(pk=row.pk, status=LedgerHold.OPEN).update(status=status, closed_at=moment):
        row.status, row.closed_at = status, moment
        return True
    row.refresh_from_db(fields=["status", "closed_at"])
    if row.status != status:
        raise HoldClosed(_("The hold %(cause)s is already closed.") % {"cause": row.cause})
    return False
