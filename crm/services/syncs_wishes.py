"""Our side of the shared tags: a change of a tag is a wish wherever the platforms know her, kept as a row.

On every open contact that guides have of her in WeCom, and on every official account that she follows.
"""

from collections.abc import Iterable

from django.db import connection, transaction

from core import clock
from core.wakeups import wake
from crm.models import MemberTag, OfficialTag, OfficialTagMark, WorkTagMark

# What we want may change again before it was sent: then it is due as long as it is not known to be so.
AGAIN = """
SET wanted = excluded.wanted, attempts = 0, error = '',
    changed_at = CASE WHEN mark.wanted = excluded.wanted THEN mark.changed_at ELSE excluded.changed_at END,
    due_at = CASE WHEN mark.known = excluded.wanted AND mark.due_at IS NULL THEN NULL ELSE excluded.due_at END
"""
WISH_IN_WECOM = (
    """
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
"""
    + AGAIN
)
WISH_IN_ACCOUNTS = (
    """
INSERT INTO crm_officialtagmark AS mark (identity_id, tag_id, wanted, known, changed_at, due_at, attempts, error)
SELECT DISTINCT address.id, given.tag_id, %s, NULL::boolean, %s::timestamptz, %s::timestamptz, 0, ''
FROM unnest(%s::bigint[], %s::bigint[]) AS given(member_id, tag_id)
JOIN crm_officialtag shared ON shared.tag_id = given.tag_id AND shared.official_id IS NOT NULL AND shared.is_wanted
JOIN crm_identity address ON address.member_id = given.member_id AND address.kind = 'openid'
    AND address.account_id = shared.account_id AND address.is_following
ORDER BY 1, 2
ON CONFLICT (identity_id, tag_id) DO UPDATE
"""
    + AGAIN
)
SHARED = """
SELECT EXISTS (SELECT FROM crm_worktag WHERE tag_id = ANY(%s)),
       EXISTS (SELECT FROM crm_officialtag WHERE tag_id = ANY(%s))
"""


def wish_tags(*, pairs: Iterable[tuple[int, int]], wanted: bool) -> int:
    """Our side changed: (member, tag) pairs are wanted, or not, wherever they are shared; returns how many marks.

    Part of the caller's transaction; the calls leave after commit. Tags that are not shared are passed by.
    """
    given = list(pairs)
    if not given:
        return 0
    members, tags = [one for one, _tag in given], [tag for _one, tag in given]
    moment, asked = clock.now(), 0
    with connection.cursor() as cursor:
        shared = list(set(tags))
        cursor.execute(SHARED, [shared, shared])
        in_wecom, in_accounts = cursor.fetchone()
        for is_shared, wish, task in (
            (in_wecom, WISH_IN_WECOM, "crm.tasks.push_work_tags"),
            (in_accounts, WISH_IN_ACCOUNTS, "crm.tasks.push_official_tags"),
        ):
            if is_shared:
                cursor.execute(wish, [wanted, moment, moment, members, tags])
                if cursor.rowcount > 0:
                    asked += cursor.rowcount
                    wake(task)
    return asked


def align_tags(*, member_id: int) -> int:
    """Wish what she carries wherever it is shared, and nothing else; returns how many marks.

    After two members became one, or one two again.
    """
    carried = set(MemberTag.objects.filter(member=member_id).order_by("tag").values_list("tag", flat=True))
    asked = wish_tags(pairs=[(member_id, tag_id) for tag_id in sorted(carried)], wanted=True)
    stale = {
        *WorkTagMark.objects.filter(contact__identity__member=member_id, wanted=True).values_list(
            "tag", flat=True
        ),
        *OfficialTagMark.objects.filter(identity__member=member_id, wanted=True).values_list(
            "tag", flat=True
        ),
    } - carried
    return asked + wish_tags(pairs=[(member_id, tag_id) for tag_id in sorted(stale)], wanted=False)


@transaction.atomic
def begin_anew(*, identity_id: int, member_id: int) -> int:
    """She follows (again): the account has forgotten her tags, so what we knew of them says nothing. Returns how many
    are wished.
    """
    shared = OfficialTag.objects.filter(is_wanted=True).values("tag")
    if not shared.exists():
        return 0
    OfficialTagMark.objects.filter(identity=identity_id).delete()
    carried = MemberTag.objects.filter(member=member_id, tag__in=shared).order_by("tag")
    return wish_tags(pairs=list(carried.values_list("member_id", "tag_id")), wanted=True)
