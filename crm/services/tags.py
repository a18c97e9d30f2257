"""Putting tags on members and taking them off."""

from collections.abc import Iterable

from django.db import connection, transaction

from core import clock
from crm.models import Activity, MemberTag, Tag
from crm.services.syncs_wishes import wish_tags
from crm.services.timeline import record_activities


@transaction.atomic
def add_tags(*, member_ids: Iterable[int], tag_ids: Iterable[int], origin: str) -> int:
    """Put every tag on every member; returns how many were new. `origin` says who: "staff:3", "code:12". Who was erased
    gets none.

    Locks: members (key share), their tags, marks of WeCom. Idempotent on: (member, tag); the first origin stays.
    """
    ids = list(member_ids)
    _share_members(ids)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO crm_membertag (member_id, tag_id, origin, at)
            SELECT DISTINCT COALESCE(m.merged_into_id, m.id), t.id, %s, %s::timestamptz
            FROM crm_member m CROSS JOIN crm_tag t WHERE m.id = ANY(%s) AND t.id = ANY(%s) AND m.erased_at IS NULL
            ORDER BY 1, 2
            ON CONFLICT (member_id, tag_id) DO NOTHING RETURNING member_id, tag_id
            """,
            [origin[:40], clock.now(), ids, list(tag_ids)],
        )
        new = cursor.fetchall()
    if not new:
        return 0
    wish_tags(pairs=new, wanted=True)
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
    """Take tags off members; returns how many were there. Locks: as add_tags. Idempotent."""
    rows = list(locked_tags(member_ids, tag_ids).values())
    MemberTag.objects.filter(pk__in=[row.pk for row in rows]).delete()
    wish_tags(pairs=[(row.member_id, row.tag_id) for row in rows], wanted=False)
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


def locked_tags(member_ids: Iterable[int], tag_ids: Iterable[int]) -> dict[tuple[int, int], MemberTag]:
    """Those of these tags that these members carry, by (member, tag), locked until the transaction ends."""
    ids = list(member_ids)
    _share_members(ids)
    carried = MemberTag.objects.filter(member__in=ids, tag__in=list(tag_ids)).select_related("tag")
    rows = carried.select_for_update(of=("self",)).order_by("member", "tag")
    return {(row.member_id, row.tag_id): row for row in rows}


def _share_members(member_ids: list[int]) -> None:
    """A merge locks the members before it moves their tags: whoever touches tags comes after it, or before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM crm_member WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [member_ids])


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
