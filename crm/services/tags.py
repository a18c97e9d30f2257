"""Putting tags on members and taking them off."""

from collections.abc import Iterable

from django.db import connection, transaction

from core import clock
from crm.models import Activity, MemberTag, Tag
from crm.services.syncs_wishes import wish_work_tags
from crm.services.timeline import record_activities


@transaction.atomic
def add_tags(*, member_ids: Iterable[int], tag_ids: Iterable[int], origin: str) -> int:
    """Put every tag on every member; returns how many were new. `origin` says who: "staff:3", "code:12".

    Idempotent on: (member, tag); the first origin stays.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO crm_membertag (member_id, tag_id, origin, at)
            SELECT DISTINCT COALESCE(m.merged_into_id, m.id), t.id, %s, %s::timestamptz
            FROM crm_member m CROSS JOIN crm_tag t WHERE m.id = ANY(%s) AND t.id = ANY(%s)
            ORDER BY 1, 2
            ON CONFLICT (member_id, tag_id) DO NOTHING RETURNING member_id, tag_id
            """,
            [origin[:40], clock.now(), list(member_ids), list(tag_ids)],
        )
        new = cursor.fetchall()
    if not new:
        return 0
    wish_work_tags(pairs=new, wanted=True)
    names = dict(Tag.objects.filter(pk__in={tag_id for _, tag_id in new}).values_list("pk", "name"))
    moment = clock.now()
    record_activities(
        {
            "member_id": member_id,
            "kind": Activity.TAGGED,
            "at": moment,
            "subject": f"tag:{tag_id}",
            "data": {"name": names[tag_id], "origin": origin, "change": "added"},
        }
        for member_id, tag_id in new
    )
    return len(new)


@transaction.atomic
def remove_tags(*, member_ids: Iterable[int], tag_ids: Iterable[int], origin: str = "") -> int:
    """Take tags off members; returns how many were there. Idempotent."""
    carried = MemberTag.objects.filter(member__in=list(member_ids), tag__in=list(tag_ids))
    rows = list(carried.select_for_update(of=("self",)).order_by("pk").select_related("tag"))
    MemberTag.objects.filter(pk__in=[row.pk for row in rows]).delete()
    wish_work_tags(pairs=[(row.member_id, row.tag_id) for row in rows], wanted=False)
    moment = clock.now()
    record_activities(
        {
            "member_id": row.member_id,
            "kind": Activity.TAGGED,
            "at": moment,
            "subject": f"tag:{row.tag_id}",
            "data": {"name": row.tag.name, "origin": origin, "change": "removed", "was": row.origin},
        }
        for row in rows
    )
    return len(rows)


@transaction.atomic
def undo_tag_change(*, member_id: int, tag_id: int, change: str, origin: str) -> bool:
    """Take back the last change of this tag on her when it was `change` ("added", "removed"); False when it was not.

    A removed tag comes back with the origin that it had. Idempotent: the second time the last change is another.
    """
    last = (
        Activity.objects.filter(member=member_id, kind=Activity.TAGGED, subject=f"tag:{tag_id}")
        .order_by("-at", "-pk")
        .first()
    )
    if last is None or last.data.get("change") != change:
        return False
    if change == "added":
        return bool(remove_tags(member_ids=[member_id], tag_ids=[tag_id], origin=origin))
    return bool(
        add_tags(member_ids=[member_id], tag_ids=[tag_id], origin=str(last.data.get("was") or origin))
    )
