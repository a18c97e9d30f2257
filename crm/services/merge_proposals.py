"""Weak evidence that two members are one person: collected here, decided by an operator.

Never on a nickname or a typed phone alone: a typed phone counts against one that somebody confirmed, or together with
the same name; a number that more than a handful of members typed (a shop's own, a school's) says nothing.
"""

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import Conflict
from crm.errors import NoSuchMember
from crm.models import Member, MemberMerge, MergeProposal
from crm.services.merging import merge_members

BY_PHONE = """
    SELECT t.member_id AS one, v.member_id AS other, 'typed_phone' AS kind, 6000 AS confidence
    FROM crm_identity t JOIN crm_identity v ON v.value = t.value AND v.kind = 'phone' AND v.is_verified
    WHERE t.kind = 'phone' AND NOT t.is_verified AND {only}
    UNION ALL
    SELECT t.member_id, o.member_id, 'same_phone', 5000
    FROM (
        SELECT array_agg(t.member_id) FILTER (WHERE NOT t.is_verified) AS members
        FROM crm_identity t WHERE t.kind = 'phone' AND {only}
        GROUP BY t.value HAVING count(*) BETWEEN 2 AND 5  -- before anybody is paired: many would be very many pairs
    ) few, unnest(few.members) AS t(member_id), unnest(few.members) AS o(member_id), crm_member a, crm_member b
    WHERE a.id = t.member_id AND b.id = o.member_id AND t.member_id < o.member_id AND b.name = a.name AND a.name <> ''
"""

BY_NUMBER = """
    SELECT i.member_id AS one, o.member_id AS other, 'same_number' AS kind, 4000 AS confidence
    FROM crm_identity i
    JOIN crm_identity o ON o.kind = 'import'
      AND substr(o.value, strpos(o.value, ':')) = substr(i.value, strpos(i.value, ':'))
    JOIN crm_member a ON a.id = i.member_id JOIN crm_member b ON b.id = o.member_id AND b.name = a.name
    WHERE i.kind = 'import' AND i.member_id < o.member_id AND i.value <> o.value AND a.name <> ''
"""

WRITE = """
INSERT INTO crm_mergeproposal (elder_id, younger_id, kind, confidence_bps, state, found_at)
SELECT DISTINCT ON (1, 2) least(p.one, p.other), greatest(p.one, p.other), p.kind, p.confidence, 'open',
       %s::timestamptz
FROM ({pairs}) p
JOIN crm_member m ON m.id = p.one AND m.merged_into_id IS NULL AND m.erased_at IS NULL
JOIN crm_member n ON n.id = p.other AND n.merged_into_id IS NULL AND n.erased_at IS NULL
WHERE p.one <> p.other AND NOT EXISTS (
    SELECT FROM crm_mergeproposal q
    WHERE q.elder_id = least(p.one, p.other) AND q.younger_id = greatest(p.one, p.other)
) AND NOT EXISTS (
    SELECT FROM crm_membermerge u
    WHERE u.undone_at IS NOT NULL AND (u.kept_id, u.merged_id) IN ((p.one, p.other), (p.other, p.one))
)
ORDER BY 1, 2, p.confidence DESC
LIMIT %s
ON CONFLICT (elder_id, younger_id) DO NOTHING
"""


@transaction.atomic
def find_merge_proposals(*, limit: int = 1000) -> int:
    """Write proposals for all pairs with weak evidence that were never proposed; returns how many are new. For the
    night: it reads all phones and imported numbers. Idempotent on: the pair.
    """
    everybody = f"{BY_PHONE.format(only='true')} UNION ALL {BY_NUMBER}"
    with connection.cursor() as cursor:
        cursor.execute(WRITE.format(pairs=everybody), [clock.now(), limit])
        return int(cursor.rowcount)


@transaction.atomic
def propose_by_phone(*, phone: str) -> int:
    """The same for one number, at once. Idempotent on: the pair."""
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE.format(pairs=BY_PHONE.format(only="t.value = %s")), [clock.now(), phone, phone, 100]
        )
        return int(cursor.rowcount)


@transaction.atomic
def propose_merge(*, one_id: int, other_id: int, kind: str, confidence_bps: int) -> MergeProposal:
    """Ask an operator about a pair; asks again when it was dismissed before and new evidence came.

    Idempotent on: the pair.
    """
    elder, younger = sorted((one_id, other_id))
    proposal, made = MergeProposal.objects.get_or_create(
        elder_id=elder,
        younger_id=younger,
        defaults={"kind": kind, "confidence_bps": confidence_bps, "found_at": clock.now()},
    )
    if not made and proposal.kind != kind:
        MergeProposal.objects.filter(pk=proposal.pk, state=MergeProposal.DISMISSED).update(
            kind=kind,
            confidence_bps=confidence_bps,
            state=MergeProposal.OPEN,
            found_at=clock.now(),
            decided_at=None,
            decided_by=None,
        )
    return proposal


@transaction.atomic
def accept_proposal(
    *, proposal_id: int, seen: tuple[int, int] | None = None, by_id: int | None = None
) -> Member:
    """Merge the pair. Locks, Publishes: as merge_members. Idempotent on: the pair. Raises Conflict when it was
    dismissed before, or when it is not the pair whose preview was `seen`.
    """
    proposal = _proposal(proposal_id)
    if seen is not None and set(seen) != {proposal.elder_id, proposal.younger_id}:
        raise Conflict(_("This is not the pair that you have looked at. Look again."))
    if proposal.state == MergeProposal.DISMISSED:
        raise Conflict(_("Somebody decided that these are two persons."))
    return merge_members(
        kept_id=proposal.elder_id,
        merged_id=proposal.younger_id,
        reason=MemberMerge.PROPOSAL,
        by_id=by_id,
    )


@transaction.atomic
def dismiss_proposal(*, proposal_id: int, by_id: int | None = None) -> bool:
    """They are two persons; False when it was decided before."""
    proposal = _proposal(proposal_id)
    return bool(
        MergeProposal.objects.filter(pk=proposal.pk, state=MergeProposal.OPEN).update(
            state=MergeProposal.DISMISSED, decided_at=clock.now(), decided_by=by_id
        )
    )


def _proposal(proposal_id: int) -> MergeProposal:
    proposal = MergeProposal.objects.filter(pk=proposal_id).first()
    if proposal is None:
        raise NoSuchMember(_("There is no such proposal."))
    return proposal
