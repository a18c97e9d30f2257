"""Our side of the shared tags: a change of a tag is a wish on every open contact of hers, kept as a row."""

from collections.abc import Iterable

from django.db import connection

from core import clock
from core.wakeups import wake
from crm.models import MemberTag, WorkTag

WISH = """
INSERT INTO crm_worktagmark AS mark (contact_id, tag_id, wanted, known, changed_at, due_at, attempts, error)
SELECT DISTINCT contact.id, given.tag_id, %s, NULL::boolean, %s::timestamptz, %s::timestamptz, 0, ''
FROM unnest(%s::bigint[], %s::bigint[]) AS given(member_id, tag_id)
JOIN crm_worktag shared ON shared.tag_id = given.tag_id
JOIN crm_identity address ON address.member_id = given.member_id AND address.kind = 'external_userid'
    AND address.account_id = shared.account_id
JOIN crm_contact contact ON contact.identity_id = address.id AND contact.added_at IS NOT NULL
    AND (contact.removed_at IS NULL OR contact.added_at > contact.removed_at)
ORDER BY 1, 2
ON CONFLICT (contact_id, tag_id) DO UPDATE
SET wanted = excluded.wanted, attempts = 0, error = '',
    changed_at = CASE WHEN mark.wanted = excluded.wanted THEN mark.changed_at ELSE excluded.changed_at END,
    due_at = CASE WHEN mark.known = excluded.wanted THEN NULL ELSE excluded.due_at END
"""


def wish_work_tags(*, pairs: Iterable[tuple[int, int]], wanted: bool) -> int:
    """Our side changed: (member, tag) pairs are wanted, or not, on every open contact of hers; returns how many.

    Part of the caller's transaction; the calls leave after commit. Tags that are not shared are passed by.
    """
    given = list(pairs)
    if not given or not WorkTag.objects.filter(tag__in={tag_id for _member, tag_id in given}).exists():
        return 0
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            WISH, [wanted, moment, moment, [one for one, _tag in given], [tag for _one, tag in given]]
        )
        asked = int(cursor.rowcount)
    if asked:
        wake("crm.tasks.push_work_tags")
    return asked


def align_work_tags(*, member_id: int) -> int:
    """Wish all shared tags of a member on all her contacts, after two members became one; returns how many."""
    shared = WorkTag.objects.values("tag")
    carried = MemberTag.objects.filter(member=member_id, tag__in=shared).order_by("tag")
    return wish_work_tags(pairs=list(carried.values_list("member_id", "tag_id")), wanted=True)
