"""Two rows turn out to be one person: everything moves to the kept one, the other stays as an empty tombstone.

What moved is kept, so that the merge can be undone for 30 days: then her rows go back, and what happened since stays
with the kept member.
"""

from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from core import clock, events
from core.locks import lock_rows
from crm.errors import CannotUndo, NoSuchMember, NoSuchMerge
from crm.events import MembersMerged, MergeUndone
from crm.models import (
    Activity,
    ChannelScan,
    Consent,
    DataRequest,
    Identity,
    Member,
    MemberFieldValue,
    MemberMerge,
    MemberStats,
    MemberTag,
    MergeMove,
    MergeProposal,
    Touch,
)
from crm.services.aipl import forget_aipl
from crm.services.days import move_days
from crm.services.lifecycle import forget_lives
from crm.services.memberships import loosen_memberships, move_memberships, settle_memberships
from crm.services.merge_moves import move_rows, return_rows
from crm.services.points import even_out_points, move_points
from crm.services.points_daily import move_sign_ins
from crm.services.points_tasks import move_points_tasks
from crm.services.rfm import move_rfm_months
from crm.services.tiers_moves import move_standing, return_standing, review_tiers, standing_of
from crm.services.timeline import record_activity

UNDO_WITHIN = timedelta(days=30)
COUNTS = ("orders_count", "paid_fen", "refunded_fen", "visits_count")
FILLED = ("name", "avatar_url", "birthday", "time_zone", "note", "tier", "source_id")


@transaction.atomic
def merge_members(
    *, kept_id: int, merged_id: int, reason: str = MemberMerge.UNIONID, by_id: int | None = None
) -> Member:
    """Make one member of two and return the living one: the elder row (lower id) is kept, whichever was named.

    Locks: both members, then their figures, earnings and ledger accounts, by key. Idempotent on: the pair (merging the
    merged changes nothing).
    Publishes: MembersMerged. Raises NoSuchMember, also for one whose data was erased.
    """
    locked = {row.pk: row for row in lock_rows(Member.objects.filter(pk__in=[kept_id, merged_id]))[0]}
    if len(locked) < len({kept_id, merged_id}) or any(row.erased_at for row in locked.values()):
        raise NoSuchMember(_("There is no such member."))
    # Read after the lock: another transaction may have merged one of them meanwhile.
    living = sorted({row.merged_into_id or row.pk for row in locked.values()})
    if len(living) == 1:
        return Member.objects.get(pk=living[0])
    if set(living) != set(locked):
        return merge_members(kept_id=living[0], merged_id=living[1], reason=reason, by_id=by_id)
    kept, merged = locked[living[0]], locked[living[1]]
    moment = clock.now()
    merge = MemberMerge.objects.create(
        kept=kept,
        merged=merged,
        reason=reason,
        merged_at=moment,
        merged_by_id=by_id,
        standing=standing_of(kept),
    )
    move_rows(
        merge_id=merge.pk,
        room="crm",
        move=lambda *_ids: _move_rows(kept, merged),
        watched={"crm_membership": ["begins_at", "ends_at"]},
    )
    merge.figures = _add_figures(kept, merged)
    merge.filled = _fill(kept, merged)
    merge.tombstones = list(Member.objects.filter(merged_into=merged).values_list("pk", flat=True))
    merge.save(update_fields=["figures", "filled", "tombstones"])
    Member.objects.filter(merged_into=merged).update(merged_into=kept)
    forget_lives(member_ids=[merged.pk])
    forget_aipl(member_ids=[merged.pk])
    merged.merged_into = kept
    merged.save(update_fields=["merged_into"])
    ones = [kept.pk, merged.pk, *Member.objects.filter(merged_into=kept).values_list("pk", flat=True)]
    MergeProposal.objects.filter(elder__in=ones, younger__in=ones, state=MergeProposal.OPEN).update(
        state=MergeProposal.MERGED, decided_at=moment, decided_by=by_id
    )
    record_activity(member_id=kept.pk, kind=Activity.MERGED, at=moment, subject=f"member:{merged.pk}")
    events.publish(
        MembersMerged(kept_id=kept.pk, merged_id=merged.pk, at=moment, merge_id=merge.pk),
        key=f"member:{kept.pk}",
    )
    return kept


def _move_rows(kept: Member, merged: Member) -> None:
    hers = Identity.objects.filter(member=kept).values("kind", "value")
    for identity in Identity.objects.filter(member=merged, is_verified=False):
        if hers.filter(kind=identity.kind, account=None, value=identity.value).exists():
            identity.delete()  # the same typed phone, once is enough
    Identity.objects.filter(member=merged).update(member=kept)
    _drop_unverified_twins(kept)
    MemberTag.objects.filter(
        member=merged, tag__in=MemberTag.objects.filter(member=kept).values("tag")
    ).delete()
    MemberTag.objects.filter(member=merged).update(member=kept)
    Touch.objects.filter(
        member=merged, origin__in=Touch.objects.filter(member=kept).values("origin")
    ).delete()
    Touch.objects.filter(member=merged).update(member=kept)
    Consent.objects.filter(member=merged).update(member=kept)
    _follow_answers([kept.pk])
    ChannelScan.objects.filter(member=merged).update(member=kept)
    MemberFieldValue.objects.filter(
        member=merged, field__in=MemberFieldValue.objects.filter(member=kept).values("field")
    ).delete()
    MemberFieldValue.objects.filter(member=merged).update(member=kept)
    if DataRequest.objects.filter(member=kept, kind=DataRequest.ERASE, state=DataRequest.OPEN).exists():
        DataRequest.objects.filter(member=merged, kind=DataRequest.ERASE, state=DataRequest.OPEN).update(
            state=DataRequest.TAKEN_BACK, done_at=clock.now()
        )  # asked for twice by one person: the kept one's is carried out
    DataRequest.objects.filter(member=merged).update(member=kept)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_activity SET member_id = %s WHERE member_id = %s", [kept.pk, merged.pk])
    move_days(kept_id=kept.pk, merged_id=merged.pk)
    move_rfm_months(kept_id=kept.pk, merged_id=merged.pk)
    move_sign_ins(kept_id=kept.pk, merged_id=merged.pk)
    move_points_tasks(kept_id=kept.pk, merged_id=merged.pk)
    move_memberships(kept_id=kept.pk, merged_id=merged.pk)
    move_standing(kept_id=kept.pk, merged_id=merged.pk)
    move_points(kept_id=kept.pk, merged_id=merged.pk)


def _follow_answers(member_ids: list[int]) -> None:
    """Both may have answered for one account: the newest answer counts for all her addresses there."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE crm_identity i SET takes_marketing = COALESCE(c.is_given, true)
            FROM crm_identity j LEFT JOIN (
                SELECT DISTINCT ON (member_id, account_id) member_id, account_id, is_given FROM crm_consent
                WHERE account_id IS NOT NULL AND member_id = ANY(%s) ORDER BY member_id, account_id, at DESC, id DESC
            ) c ON c.member_id = j.member_id AND c.account_id = j.account_id
            WHERE i.id = j.id AND j.member_id = ANY(%s) AND j.kind IN ('openid', 'external_userid')
              AND i.takes_marketing <> COALESCE(c.is_given, true)
            """,
            [member_ids, member_ids],
        )


def _drop_unverified_twins(kept: Member) -> None:
    verified = Identity.objects.filter(member=kept, kind=Identity.PHONE, is_verified=True)
    Identity.objects.filter(
        member=kept, kind=Identity.PHONE, is_verified=False, value__in=verified.values("value")
    ).delete()


def _add_figures(kept: Member, merged: Member) -> dict[str, int]:
    """The kept one's figures become those of both; returns the merged one's counts."""
    rows = {row.pk: row for row in lock_rows(MemberStats.objects.filter(pk__in=[kept.pk, merged.pk]))[0]}
    total, other = rows[kept.pk], rows[merged.pk]
    counts = {field: int(getattr(other, field)) for field in COUNTS}
    for field, count in counts.items():
        setattr(total, field, getattr(total, field) + count)
    for field in ("last_paid_at", "last_active_at", "last_touch_at", "last_visit_at"):
        moments = [moment for moment in (getattr(total, field), getattr(other, field)) if moment]
        setattr(total, field, max(moments, default=None))
    firsts = [moment for moment in (total.first_paid_at, other.first_paid_at) if moment]
    total.first_paid_at = min(firsts, default=None)
    if other.consent_at and (total.consent_at is None or other.consent_at > total.consent_at):
        total.marketing_consent, total.consent_at = other.marketing_consent, other.consent_at
    total.save()
    other.delete()
    return counts


def _fill(kept: Member, merged: Member) -> dict[str, list[Any]]:
    """Blanks of the kept one are filled; returns {field: [before, after]}."""
    filled: dict[str, list[Any]] = {}
    for field in FILLED:
        if not getattr(kept, field) and getattr(merged, field):
            filled[field] = [_plain(getattr(kept, field)), _plain(getattr(merged, field))]
            setattr(kept, field, getattr(merged, field))
    if "birthday" in filled:  # with who told it
        filled["birthday_from"] = [kept.birthday_from, merged.birthday_from]
        kept.birthday_from = merged.birthday_from
    if merged.created_at < kept.created_at:
        filled["created_at"] = [_plain(kept.created_at), _plain(merged.created_at)]
        kept.created_at = merged.created_at
    if filled:
        kept.save(update_fields=[field.removesuffix("_id") for field in filled])
    return filled


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


@transaction.atomic
def undo_merge(*, merge_id: int, by_id: int | None = None) -> MemberMerge:
    """Make two members of one again: what belonged to the merged one goes back to her, what happened since stays
    with the kept one. Each stands in the tier that her own growth or spend reaches. Logins of both end: nobody may
    look into the other's account.

    Locks: both members, then their figures, by key. Idempotent on: the merge. Publishes: MergeUndone.
    Raises NoSuchMerge; CannotUndo after 30 days, when the kept member was herself merged since, or was erased.
    """
    merge = MemberMerge.objects.filter(pk=merge_id).first()
    if merge is None:
        raise NoSuchMerge(_("There is no such merge."))
    pair = {
        row.pk: row for row in lock_rows(Member.objects.filter(pk__in=[merge.kept_id, merge.merged_id]))[0]
    }
    merge.refresh_from_db()
    kept, merged = pair[merge.kept_id], pair[merge.merged_id]
    if merge.undone_at is not None:
        return merge
    moment = clock.now()
    _refuse_undoing(merge, kept, moment)
    merge.undone_at, merge.undone_by_id = moment, by_id
    merge.save(update_fields=["undone_at", "undone_by"])
    Member.objects.filter(pk=merged.pk).update(merged_into=None)
    Member.objects.filter(pk__in=merge.tombstones, merged_into=kept).update(merged_into=merged)
    Member.objects.filter(pk__in=pair).update(session_version=F("session_version") + 1)
    loosen_memberships(member_ids=[kept.pk])
    return_rows(merge_id=merge.pk, room="crm")
    for member in (kept, merged):
        settle_memberships(member_id=member.pk)
    _follow_answers([kept.pk, merged.pk])
    even_out_points(kept_id=kept.pk, merged_id=merged.pk)
    _part_figures(merge)
    _empty_again(merge, kept)
    return_standing(member_id=kept.pk, before=merge.standing, since=merge.merged_at)
    review_tiers(member_ids=[kept.pk, merged.pk])
    # The same evidence will come again: from now on it proposes.
    MergeProposal.objects.filter(elder=kept, younger=merged).update(
        state=MergeProposal.DISMISSED, decided_at=moment, decided_by=by_id
    )
    events.publish(
        MergeUndone(
            merge_id=merge.pk,
            kept_id=kept.pk,
            merged_id=merged.pk,
            merged_at=merge.merged_at,
            at=moment,
        ),
        key=f"member:{kept.pk}",
    )
    return merge


def _refuse_undoing(merge: MemberMerge, kept: Member, moment: datetime) -> None:
    if merge.is_sealed or kept.erased_at is not None:
        raise CannotUndo(_("What moved is no longer kept, so this merge stays."))
    if moment > merge.merged_at + UNDO_WITHIN:
        raise CannotUndo(_("A merge can be undone within 30 days. These are over."))
    if kept.merged_into_id is not None:
        raise CannotUndo(
            _("The kept member was merged into #%(number)d since. Undo that merge first.")
            % {"number": kept.merged_into_id}
        )


def _part_figures(merge: MemberMerge) -> None:
    """Counts are those of the moment of the merge; moments are read from the facts that each has now."""
    MemberStats.objects.create(member_id=merge.merged_id, **merge.figures)
    lock_rows(MemberStats.objects.filter(pk__in=[merge.kept_id, merge.merged_id]))
    MemberStats.objects.filter(pk=merge.kept_id).update(
        **{field: F(field) - count for field, count in merge.figures.items()}
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE crm_memberstats s SET
                first_paid_at = f.first_paid, last_paid_at = f.last_paid, last_active_at = f.active,
                last_visit_at = f.visited, last_touch_at = t.touched,
                marketing_consent = c.is_given, consent_at = c.at
            FROM unnest(%s::bigint[]) AS m(id)
            LEFT JOIN LATERAL (
                SELECT min(at) FILTER (WHERE kind = 'paid') AS first_paid,
                       max(at) FILTER (WHERE kind = 'paid') AS last_paid,
                       max(at) FILTER (WHERE kind = ANY(%s)) AS active,
                       max(at) FILTER (WHERE kind = 'visited') AS visited
                FROM crm_activity WHERE member_id = m.id
            ) f ON true
            LEFT JOIN LATERAL (
                SELECT max(at) AS touched FROM crm_touch WHERE member_id = m.id AND answer = 'send'
            ) t ON true
            LEFT JOIN LATERAL (
                SELECT is_given, at FROM crm_consent WHERE member_id = m.id AND purpose = 'marketing'
                  AND account_id IS NULL
                ORDER BY at DESC, id DESC LIMIT 1
            ) c ON true
            WHERE s.member_id = m.id
            """,
            [[merge.kept_id, merge.merged_id], sorted(Activity.OWN_DOING)],
        )


def _empty_again(merge: MemberMerge, kept: Member) -> None:
    """What the merge filled in is blank again, unless somebody has written there since."""
    changed = []
    for field, (before, after) in merge.filled.items():
        if _plain(getattr(kept, field)) == after:
            setattr(kept, field, _typed(field, before))
            changed.append(field.removesuffix("_id"))
    if changed:
        kept.save(update_fields=changed)


def _typed(field: str, value: Any) -> Any:
    if value and field == "birthday":
        return parse_date(value)
    if value and field == "created_at":
        return parse_datetime(value)
    return value


@transaction.atomic
def note_rest(*, merge_id: int, rest: dict[str, int]) -> None:
    """What of balances an undo could not bring back, because it was spent since: kind → amount."""
    MemberMerge.objects.filter(pk=merge_id).update(rest=rest)


def was_undone(one_id: int, other_id: int) -> bool:
    """True when staff separated these two: evidence that joins them again is only proposed."""
    pair = Q(kept=one_id, merged=other_id) | Q(kept=other_id, merged=one_id)
    return MemberMerge.objects.filter(pair, undone_at__isnull=False).exists()


@transaction.atomic
def seal_merges(*, limit: int = 1000) -> int:
    """Forget what moved in merges that cannot be undone any more; returns how many. Runs twice without harm."""
    over = MemberMerge.objects.filter(
        Q(merged_at__lt=clock.now() - UNDO_WITHIN) | Q(undone_at__lt=clock.now() - UNDO_WITHIN),
        is_sealed=False,
    ).order_by("pk")
    return _seal(list(over.values_list("pk", flat=True)[:limit]))


@transaction.atomic
def seal_merges_of(*, member_id: int) -> int:
    """The same for every merge of one member, whose data is erased."""
    hers = MemberMerge.objects.filter(Q(kept=member_id) | Q(merged=member_id), is_sealed=False)
    return _seal(list(hers.values_list("pk", flat=True)))


def _seal(merge_ids: list[int]) -> int:
    """What an undo still has to bring back somewhere stays until it has."""
    moves = MergeMove.objects.filter(merge__in=merge_ids)
    moves.filter(Q(merge__undone_at__isnull=True) | Q(returned_at__isnull=False)).delete()
    moves.update(gone=[], changed=[])
    return MemberMerge.objects.filter(pk__in=merge_ids).update(is_sealed=True, filled={})
