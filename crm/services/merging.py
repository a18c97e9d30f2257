"""Two rows turn out to be one person: everything moves to the kept one, the other stays as an empty tombstone."""

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, events
from core.locks import lock_rows
from crm.errors import NoSuchMember
from crm.events import MembersMerged
from crm.models import (
    Activity,
    ChannelScan,
    Consent,
    Identity,
    Member,
    MemberFieldValue,
    MemberStats,
    MemberTag,
    Touch,
)
from crm.services.lifecycle import forget_lives
from crm.services.points import move_points
from crm.services.points_daily import move_sign_ins
from crm.services.tiers_moves import move_standing
from crm.services.timeline import record_activity


@transaction.atomic
def merge_members(*, kept_id: int, merged_id: int) -> Member:
    """Make one member of two and return the living one: the elder row (lower id) is kept, whichever was named.

    Locks: both members, then their figures, earnings and ledger accounts, by key. Idempotent on: the pair (merging the
    merged changes nothing).
    Publishes: MembersMerged.
    """
    locked = {row.pk: row for row in lock_rows(Member.objects.filter(pk__in=[kept_id, merged_id]))[0]}
    if len(locked) < len({kept_id, merged_id}):
        raise NoSuchMember(_("There is no such member."))
    # Read after the lock: another transaction may have merged one of them meanwhile.
    living = sorted({row.merged_into_id or row.pk for row in locked.values()})
    if len(living) == 1:
        return Member.objects.get(pk=living[0])
    if set(living) != set(locked):
        return merge_members(kept_id=living[0], merged_id=living[1])
    kept, merged = locked[living[0]], locked[living[1]]
    _move_rows(kept, merged)
    _add_figures(kept, merged)
    _fill(kept, merged)
    move_sign_ins(kept_id=kept.pk, merged_id=merged.pk)
    move_standing(kept_id=kept.pk, merged_id=merged.pk)
    move_points(kept_id=kept.pk, merged_id=merged.pk)
    moment = clock.now()
    Member.objects.filter(merged_into=merged).update(merged_into=kept)
    forget_lives(member_ids=[merged.pk])
    merged.merged_into = kept
    merged.save(update_fields=["merged_into"])
    record_activity(member_id=kept.pk, kind=Activity.MERGED, at=moment, subject=f"member:{merged.pk}")
    events.publish(MembersMerged(kept_id=kept.pk, merged_id=merged.pk, at=moment), key=f"member:{kept.pk}")
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
    ChannelScan.objects.filter(member=merged).update(member=kept)
    MemberFieldValue.objects.filter(
        member=merged, field__in=MemberFieldValue.objects.filter(member=kept).values("field")
    ).delete()
    MemberFieldValue.objects.filter(member=merged).update(member=kept)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_activity SET member_id = %s WHERE member_id = %s", [kept.pk, merged.pk])


def _drop_unverified_twins(kept: Member) -> None:
    verified = Identity.objects.filter(member=kept, kind=Identity.PHONE, is_verified=True)
    Identity.objects.filter(
        member=kept, kind=Identity.PHONE, is_verified=False, value__in=verified.values("value")
    ).delete()


def _add_figures(kept: Member, merged: Member) -> None:
    rows = {row.pk: row for row in lock_rows(MemberStats.objects.filter(pk__in=[kept.pk, merged.pk]))[0]}
    total, other = rows[kept.pk], rows[merged.pk]
    for field in ("orders_count", "paid_fen", "refunded_fen", "visits_count"):
        setattr(total, field, getattr(total, field) + getattr(other, field))
    for field in ("last_paid_at", "last_active_at", "last_touch_at", "last_visit_at"):
        moments = [moment for moment in (getattr(total, field), getattr(other, field)) if moment]
        setattr(total, field, max(moments, default=None))
    firsts = [moment for moment in (total.first_paid_at, other.first_paid_at) if moment]
    total.first_paid_at = min(firsts, default=None)
    if other.consent_at and (total.consent_at is None or other.consent_at > total.consent_at):
        total.marketing_consent, total.consent_at = other.marketing_consent, other.consent_at
    total.save()
    other.delete()


def _fill(kept: Member, merged: Member) -> None:
    changed = []
    for field in ("name", "avatar_url", "birthday", "time_zone", "note", "tier", "source_id"):
        if not getattr(kept, field) and getattr(merged, field):
            setattr(kept, field, getattr(merged, field))
            changed.append(field.removesuffix("_id"))
    if merged.created_at < kept.created_at:
        kept.created_at = merged.created_at
        changed.append("created_at")
    if changed:
        kept.save(update_fields=changed)
