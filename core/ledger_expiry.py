"""Expired lots of many customers' accounts move to the house in one statement."""

from collections.abc import Mapping, Sequence

from django.db import connection

from core import clock

# A hold was placed on what expires first: that part of the expired lots is still promised.
MOVE = """
WITH due AS (
    SELECT lot.id, lot.account_id, account.kind, lot.remaining, account.held,
           sum(lot.remaining) OVER (PARTITION BY lot.account_id ORDER BY lot.expires_at, lot.id) AS expired
    FROM core_ledgerlot lot JOIN core_ledgeraccount account ON account.id = lot.account_id
    WHERE lot.account_id = ANY(%(accounts)s) AND lot.remaining > 0 AND lot.expires_at <= %(now)s
      AND lot.transfer_id IS DISTINCT FROM %(but)s
), gone AS (
    SELECT due.id, due.account_id, house.id AS house_id,
           least(due.remaining, greatest(due.expired - due.held, 0))::bigint AS amount,
           'expire:lot:' || due.id || ':' || (SELECT count(*) FROM core_ledgerlotuse u WHERE u.lot_id = due.id) AS cause
    FROM due
    JOIN core_ledgeraccount house ON house.owner_id = 0 AND house.kind = split_part(due.kind, '.', 1) || '.expired'
), moved AS (
    INSERT INTO core_ledgertransfer (cause, debit_id, credit_id, amount, posted_at)
    SELECT cause, account_id, house_id, amount, %(now)s FROM gone WHERE amount > 0 ORDER BY account_id, id
    RETURNING id, cause, debit_id, amount
), used AS (
    INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount)
    SELECT gone.id, moved.id, moved.amount FROM moved JOIN gone USING (cause)
), lowered AS (
    UPDATE core_ledgerlot lot SET remaining = lot.remaining - gone.amount
    FROM gone WHERE lot.id = gone.id AND gone.amount > 0
), sums AS (
    SELECT debit_id, sum(amount) AS amount FROM moved GROUP BY debit_id
)
UPDATE core_ledgeraccount account SET balance = account.balance - sums.amount
FROM sums WHERE account.id = sums.debit_id
RETURNING account.id, sums.amount
"""

UNITS = """
SELECT DISTINCT split_part(account.kind, '.', 1)
FROM core_ledgerlot lot JOIN core_ledgeraccount account ON account.id = lot.account_id
WHERE lot.account_id = ANY(%(accounts)s) AND lot.remaining > 0 AND lot.expires_at <= %(now)s
"""

DUE = """
SELECT lot.account_id FROM core_ledgerlot lot JOIN core_ledgeraccount account ON account.id = lot.account_id
WHERE lot.remaining > 0 AND lot.expires_at <= %s
GROUP BY lot.account_id, account.held HAVING sum(lot.remaining) > account.held
ORDER BY lot.account_id
"""


def accounts_with_expired() -> list[int]:
    """Customers' accounts with more expired than their holds cover."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, [clock.now()])
        return [account_id for (account_id,) in cursor]


def expired_units(account_ids: Sequence[int]) -> list[str]:
    """The units of which something has expired there: mostly none."""
    with connection.cursor() as cursor:
        cursor.execute(UNITS, {"accounts": list(account_ids), "now": clock.now()})
        return [unit for (unit,) in cursor]


def move_expired(account_ids: Sequence[int], *, except_lot_of: int | None = None) -> Mapping[int, int]:
    """What went of each account. The caller holds the accounts' locks and has opened the house's accounts."""
    with connection.cursor() as cursor:
        cursor.execute(MOVE, {"accounts": list(account_ids), "now": clock.now(), "but": except_lot_of})
        return dict(cursor.fetchall())
