"""Counting what each member may take so often. A guarded update holds the limit; call under no other of her rows."""

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import F

from shop.models import Tally


def take_one(*, subject: str, member_id: int, limit: int) -> bool:
    """Count one more; False when she has taken `limit` (0: no limit) already, then nothing was written.

    Locks: her tally. Call inside a transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO shop_tally (subject, member_id, taken) VALUES (%s, %s, 1)
            ON CONFLICT (subject, member_id) DO UPDATE SET taken = shop_tally.taken + 1
            WHERE %s = 0 OR shop_tally.taken < %s
            """,
            [subject, member_id, limit, limit],
        )
        return bool(cursor.rowcount)


def give_one_back(*, subject: str, member_id: int) -> None:
    """Count one less, never below none. Idempotency is the caller's."""
    Tally.objects.filter(subject=subject, member_id=member_id, taken__gt=0).update(taken=F("taken") - 1)


@transaction.atomic
def move_tallies(*, kept_id: int, merged_id: int) -> None:
    """What a merged member took counts for the kept one. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH gone AS (DELETE FROM shop_tally WHERE member_id = %s RETURNING subject, taken)
            INSERT INTO shop_tally (subject, member_id, taken) SELECT subject, %s, taken FROM gone
            ON CONFLICT (subject, member_id) DO UPDATE SET taken = shop_tally.taken + EXCLUDED.taken
            """,
            [merged_id, kept_id],
        )


@transaction.atomic
def count_tallies(*, member_ids: Sequence[int]) -> None:
    """Count anew what these members took: two of them are two again. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_tally WHERE member_id = ANY(%s)", [list(member_ids)])
        cursor.execute(
            """
            INSERT INTO shop_tally (subject, member_id, taken)
            SELECT 'recharge:' || r.offer_id, p.member_id, count(*)
            FROM shop_recharge r JOIN shop_directpayment p ON p.id = r.payment_id
            WHERE r.counts AND r.offer_id IS NOT NULL AND p.member_id = ANY(%s) GROUP BY 1, 2
            UNION ALL
            SELECT 'mall:' || item_id, member_id, count(*) FROM shop_mallexchange
            WHERE state <> 'returned' AND member_id = ANY(%s) GROUP BY 1, 2
            """,
            [list(member_ids), list(member_ids)],
        )
