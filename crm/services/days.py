"""Members' days, regions and devices: what staff and she herself say, what orders and visits show."""

import datetime as dt

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock
from crm.days import YearDay, region_of, there_is
from crm.errors import NoSuchMember, WrongProfile
from crm.models import MemberDay, MemberTraits, PointsTask
from crm.services.living import held_member, locked_member
from crm.services.points_tasks import advance_tasks

MOST_DAYS = 12

NOTE_REGION = """
INSERT INTO crm_membertraits (member_id, province, city, region_at, device) VALUES (%s, %s, %s, %s, '')
ON CONFLICT (member_id) DO UPDATE SET province = excluded.province, city = excluded.city,
    region_at = excluded.region_at
WHERE crm_membertraits.region_at IS NULL OR crm_membertraits.region_at < excluded.region_at
"""

# The newest visit of each member since `%s` that says what she came with; members that were merged are left out.
FOLD_DEVICES = """
WITH seen AS MATERIALIZED (
    SELECT DISTINCT ON (a.member_id) a.member_id, a.data->>'device' AS device, a.at FROM crm_activity a
    WHERE a.kind = 'visited' AND a.at >= %s AND a.data ? 'device' AND a.data->>'device' = ANY(%s)
    ORDER BY a.member_id, a.at DESC
), held AS MATERIALIZED (  -- of who is being merged it waits, and then leaves her out
    SELECT m.id FROM crm_member m
    JOIN seen ON seen.member_id = m.id LEFT JOIN crm_membertraits t ON t.member_id = m.id
    WHERE m.merged_into_id IS NULL AND m.erased_at IS NULL AND (t.device_at IS NULL OR t.device_at < seen.at)
    ORDER BY m.id FOR KEY SHARE OF m
)
INSERT INTO crm_membertraits (member_id, province, city, device, device_at)
SELECT seen.member_id, '', '', seen.device, seen.at FROM seen JOIN held ON held.id = seen.member_id
ON CONFLICT (member_id) DO UPDATE SET device = excluded.device, device_at = excluded.device_at
WHERE crm_membertraits.device_at IS NULL OR crm_membertraits.device_at < excluded.device_at
"""

LOOKED_BACK = dt.timedelta(days=2)
"""Visits are looked at again for so long: a run that was missed or died loses nothing."""


@transaction.atomic
def keep_day(*, member_id: int, kind: str, day: YearDay, name: str = "") -> MemberDay:
    """Keep a day of hers; the same kind and name again is changed. A birthday here is a lunar one.

    Locks: member, then as `advance_tasks`. Idempotent on: (member, kind, name). Raises WrongProfile, NoSuchMember.
    """
    cleaned = " ".join(name.split())
    if kind not in dict(MemberDay.KINDS) or day.calendar not in dict(MemberDay.CALENDARS):
        raise WrongProfile(_("There is no such kind of day."))
    if not there_is(day):
        raise WrongProfile(_("There is no such day in this calendar."))
    if kind == MemberDay.BIRTHDAY and day.calendar != MemberDay.LUNAR:
        raise WrongProfile(_("A solar birthday is written with its year in her profile."))
    if len(cleaned) > 20 or not cleaned.isprintable():
        raise WrongProfile(_("The name of a day has at most 20 characters."))
    if kind == MemberDay.BIRTHDAY:
        cleaned = ""
    member = locked_member(member_id)  # she is not merged while we write, and nobody else counts her days
    if member.erased_at is not None:
        raise NoSuchMember(_("There is no such member."))
    hers = MemberDay.objects.filter(member=member)
    if hers.exclude(kind=kind, name=cleaned).count() >= MOST_DAYS:
        raise WrongProfile(_("At most %(most)d days are kept of one member.") % {"most": MOST_DAYS})
    values = {"calendar": day.calendar, "month": day.month, "day": day.day, "is_leap": day.is_leap}
    row = MemberDay.objects.update_or_create(member=member, kind=kind, name=cleaned, defaults=values)[0]
    if kind == MemberDay.BIRTHDAY:
        advance_tasks(member_id=member.pk, kind=PointsTask.BIRTHDAY, key="state")
    return row


@transaction.atomic
def drop_day(*, member_id: int, day_id: int) -> bool:
    """Forget one of her days; False when it was not hers, or gone. Idempotent on: the day."""
    return bool(MemberDay.objects.filter(pk=day_id, member=member_id).delete()[0])


@transaction.atomic
def note_region(*, member_id: int, address: str, at: dt.datetime) -> bool:
    """Where a parcel of hers went ("province city district"); True when that is news. The newest counts.

    Locks: member (key share), membertraits. Idempotent on: (member, moment).
    """
    province, city = region_of(address)
    if not province:
        return False
    try:
        member = held_member(member_id)
    except NoSuchMember:
        return False
    if member.erased_at is not None:
        return False
    with connection.cursor() as cursor:
        cursor.execute(NOTE_REGION, [member.pk, province, city, at])
        return bool(cursor.rowcount)


@transaction.atomic
def fold_devices() -> int:
    """Note with which device each member came last; returns how many rows changed. Idempotent on: the visits."""
    devices = [device for device, _label in MemberTraits.DEVICES]
    with connection.cursor() as cursor:
        cursor.execute(FOLD_DEVICES, [clock.now() - LOOKED_BACK, devices])
        return int(cursor.rowcount)


def move_days(*, kept_id: int, merged_id: int) -> None:
    """Two members are one: days of the same kind and name are the kept one's, the rest comes along."""
    hers = MemberDay.objects.filter(member=kept_id)
    for day in MemberDay.objects.filter(member=merged_id):
        if hers.filter(kind=day.kind, name=day.name).exists():
            day.delete()
    MemberDay.objects.filter(member=merged_id).update(member=kept_id)
    if MemberTraits.objects.filter(member=kept_id).exists():
        MemberTraits.objects.filter(member=merged_id).delete()
    else:
        MemberTraits.objects.filter(member=merged_id).update(member=kept_id)
