"""Two members turned out to be one person: her rows follow her, and no unique key breaks. And who is forgotten."""

from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from campaigns.models import BroadcastRecipient, WinBackSpell


@transaction.atomic
def repoint_member(*, kept_id: int, merged_id: int) -> None:
    """Rows of the merged member become rows of the kept one. Idempotent.

    Where both stood in one broadcast, the row that was handed over is kept (either, when both were: the later one is
    dropped only if nothing was sent for it, otherwise it stays with the tombstone as the record of what left).
    """
    BroadcastRecipient.objects.exclude(
        broadcast_id__in=BroadcastRecipient.objects.filter(member_id=kept_id).values("broadcast_id")
    ).filter(member_id=merged_id).update(member_id=kept_id)
    # Both are planned in one broadcast: she gets it once.
    BroadcastRecipient.objects.filter(member_id=merged_id, status=BroadcastRecipient.PLANNED).update(
        status=BroadcastRecipient.SKIPPED, reason="merged", not_before=None, channel=""
    )
    with connection.cursor() as cursor:
        # The kept row waits and the merged one has gone: she has it already.
        cursor.execute(
            """
            UPDATE campaigns_broadcastrecipient r
            SET status = 'skipped', reason = 'merged', not_before = NULL, channel = ''
            FROM campaigns_broadcastrecipient m
            WHERE r.member_id = %s AND r.status = 'planned' AND m.member_id = %s AND m.status = 'released'
              AND m.broadcast_id = r.broadcast_id
            """,
            [kept_id, merged_id],
        )
        cursor.execute(
            """
            UPDATE campaigns_winbackspell w SET member_id = %s
            WHERE w.member_id = %s AND NOT EXISTS (
                SELECT 1 FROM campaigns_winbackspell k WHERE k.rule_id = w.rule_id AND k.member_id = %s
                AND k.spell_started_at = w.spell_started_at)
            """,
            [kept_id, merged_id, kept_id],
        )
    WinBackSpell.objects.filter(member_id=merged_id, status=WinBackSpell.WAITING).update(
        status=WinBackSpell.ENDED, reason="merged", next_try_at=None
    )


def rows_of_member(member_id: int) -> list[QuerySet[Any]]:
    """What a release may hold while it books her touch."""
    return [
        BroadcastRecipient.objects.filter(member_id=member_id),
        WinBackSpell.objects.filter(member_id=member_id),
    ]


@transaction.atomic
def forget_member(member_id: int) -> int:
    """The addresses under which campaigns reached her are forgotten, that they did stays; returns how many rows."""
    forgotten = f"erased:{member_id}"  # of one member: no two rows of a broadcast share it
    reached = BroadcastRecipient.objects.filter(member_id=member_id).exclude(to="").update(to=forgotten)
    return reached + WinBackSpell.objects.filter(member_id=member_id).exclude(to="").update(to=forgotten)
