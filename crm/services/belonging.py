"""Where members belong: what the rooms above tell, so that segments can ask."""

from collections.abc import Iterable

from django.db import connection, transaction


@transaction.atomic
def set_group_members(*, group_id: int, member_ids: Iterable[int]) -> int:
    """Make these, and no others, the members of a customer group; returns how many rows changed.

    Locks: nothing that others wait for; the caller holds its group. Idempotent on: (group, member).
    """
    ids = sorted(set(member_ids))
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM crm_membergroup WHERE group_id = %s AND member_id <> ALL(%s)", [group_id, ids]
        )
        changed = int(cursor.rowcount)
        cursor.execute(
            """
            INSERT INTO crm_membergroup (group_id, member_id) SELECT %s, unnest(%s::bigint[])
            ON CONFLICT (group_id, member_id) DO NOTHING
            """,
            [group_id, ids],
        )
        return changed + int(cursor.rowcount)
