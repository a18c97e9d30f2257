"""Coupons in members' hands: given within quota and limit, taken back, expired. Orders use and return them."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from core import clock
from core.locks import in_batches, lock_row
from shop.errors import CouponRefused, NoSuchCoupon
from shop.models import Coupon, CouponGrant

BATCH = 500


class _GivenBefore(Exception):
    """Another call with the same key was first."""


def grant_coupon(*, coupon_id: int, member_id: int, key: str, by_link: bool = False) -> CouponGrant:
    """Give a member one coupon. `key` names why ("claim:…", "campaign:7:42"), once; `by_link`: she took it herself.

    Locks: the coupon, by its guarded count. Idempotent on: key. Raises NoSuchCoupon, CouponRefused (not given out any
    more, none left, she has as many as one person may); then nothing was written.
    """
    known = CouponGrant.objects.filter(key=key).first()
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return _grant(coupon_id, member_id, key, by_link)
    except _GivenBefore:
        return CouponGrant.objects.get(key=key)


class _Tried(Exception):
    """It could be given: what the try wrote is undone."""


def try_coupon(*, coupon_id: int, member_id: int, key: str) -> None:
    """Raises as `grant_coupon` would at this moment; writes nothing and holds no lock."""
    with suppress(_Tried), transaction.atomic():
        _grant(coupon_id, member_id, key, False)
        raise _Tried


def _grant(coupon_id: int, member_id: int, key: str, by_link: bool) -> CouponGrant:
    moment = clock.now()
    coupon = Coupon.objects.filter(pk=coupon_id).first()
    if coupon is None or (by_link and not coupon.is_claimable):
        raise NoSuchCoupon(_("There is no such coupon."))
    validity = validity_of(coupon, moment)
    if not coupon.is_active or validity is None:
        raise CouponRefused(_("“%(name)s” is not given out any more.") % {"name": coupon.name})
    taken = (
        Coupon.objects.filter(pk=coupon_id, is_active=True)
        .filter(Q(quota__isnull=True) | Q(granted_count__lt=F("quota")))
        .update(granted_count=F("granted_count") + 1)
    )
    if not taken:
        raise CouponRefused(_("“%(name)s” has been given out to the last one.") % {"name": coupon.name})
    # The count above locks the coupon until the commit: what follows is read by one at a time. Were it not so, the
    # unique key and the unique ordinal would refuse the second.
    if CouponGrant.objects.filter(key=key).exists():
        raise _GivenBefore
    had = CouponGrant.objects.filter(coupon_id=coupon_id, member_id=member_id).count()
    if had >= coupon.per_member_limit:
        raise CouponRefused(
            _("You already have “%(name)s”; each member may have %(count)d.")
            % {"name": coupon.name, "count": coupon.per_member_limit}
        )
    return CouponGrant.objects.create(
        coupon=coupon,
        member_id=member_id,
        key=key,
        ordinal=had + 1,
        valid_from=validity[0],
        expires_at=validity[1],
        granted_at=moment,
    )


def claim_coupon(*, code: str, member_id: int, token: str) -> CouponGrant:
    """A member takes a coupon by its link; `token` makes a double click one coupon. See `grant_coupon`."""
    coupon = Coupon.objects.filter(code=code).first()
    if coupon is None:
        raise NoSuchCoupon(_("There is no such coupon."))
    return grant_coupon(
        coupon_id=coupon.pk,
        member_id=member_id,
        key=f"claim:{coupon.pk}:{member_id}:{token[:40]}",
        by_link=True,
    )


def validity_of(coupon: Coupon, at: datetime) -> tuple[datetime, datetime] | None:
    """From when until when a coupon received at `at` may be used; None when its time is over."""
    starts_at = max(coupon.valid_from, at) if coupon.valid_from else at
    ends = [coupon.valid_until] if coupon.valid_until else []
    if coupon.valid_days:
        ends.append(starts_at + timedelta(days=coupon.valid_days))
    ends_at = min(ends)
    return (starts_at, ends_at) if ends_at > starts_at else None


def grant_coupons(*, coupon_id: int, member_ids: Iterable[int], key: str) -> int:
    """Give one coupon to each of many members, in batches of their own transaction; returns how many got it now.

    Who had as many as one person may is passed by; when none are left the rest goes without. Idempotent on: (key,
    member). Raises NoSuchCoupon, CouponRefused (not given out any more).
    """
    return sum(_grant_batch(coupon_id, batch, key) for batch in in_batches(sorted(set(member_ids)), BATCH))


@transaction.atomic
def _grant_batch(coupon_id: int, member_ids: list[int], key: str) -> int:
    """Locks: the coupon; under its lock hers are counted and the quota is cut off, in one statement."""
    coupon = lock_row(Coupon.objects.filter(pk=coupon_id))
    if coupon is None:
        raise NoSuchCoupon(_("There is no such coupon."))
    moment = clock.now()
    validity = validity_of(coupon, moment)
    if not coupon.is_active or validity is None:
        raise CouponRefused(_("“%(name)s” is not given out any more.") % {"name": coupon.name})
    left = None if coupon.quota is None else coupon.quota - coupon.granted_count
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO shop_coupongrant
                (coupon_id, member_id, state, key, ordinal, valid_from, expires_at, granted_at)
            SELECT %s, m.id, 'held', %s || ':' || m.id, had.count + 1, %s, %s, %s
            FROM crm_member m
            CROSS JOIN LATERAL (
                SELECT count(*) FROM shop_coupongrant g WHERE g.coupon_id = %s AND g.member_id = m.id
            ) had
            WHERE m.id = ANY(%s) AND m.merged_into_id IS NULL AND had.count < %s
              AND NOT EXISTS (SELECT FROM shop_coupongrant g WHERE g.key = %s || ':' || m.id)
            ORDER BY m.id LIMIT %s
            ON CONFLICT DO NOTHING
            """,
            [
                *(coupon_id, key, *validity, moment, coupon_id, member_ids),
                *(coupon.per_member_limit, key, left),
            ],
        )
        given = int(cursor.rowcount)
    Coupon.objects.filter(pk=coupon_id).update(granted_count=F("granted_count") + given)
    return given


@transaction.atomic
def revoke_coupons(*, grant_ids: Iterable[int]) -> int:
    """Take held coupons back; used and expired ones stay as they are. Returns how many.

    Locks: the coupons held, by id, as orders do. Idempotent.
    """
    return _end(grant_ids, CouponGrant.REVOKED)


@transaction.atomic
def expire_coupons(*, limit: int = 1000) -> int:
    """Mark expired what was not used in time; returns how many. Runs twice without harm: using looks at the clock.

    Locks: the coupons held, by id.
    """
    due = CouponGrant.objects.filter(state=CouponGrant.HELD, expires_at__lte=clock.now())
    ids = list(due.order_by("expires_at").values_list("pk", flat=True)[:limit])
    return _end(ids, CouponGrant.EXPIRED)


def _end(grant_ids: Iterable[int], state: str) -> int:
    held = CouponGrant.objects.filter(pk__in=list(grant_ids), state=CouponGrant.HELD)
    locked = list(held.select_for_update().order_by("pk").values_list("pk", flat=True))
    return CouponGrant.objects.filter(pk__in=locked).update(state=state)


@transaction.atomic
def move_coupons(*, kept_id: int, merged_id: int) -> None:
    """Two members turned out to be one: what both held of a coupon is counted on. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_coupongrant g SET member_id = %s, ordinal = g.ordinal + coalesce((
                SELECT max(k.ordinal) FROM shop_coupongrant k WHERE k.coupon_id = g.coupon_id AND k.member_id = %s
            ), 0)
            WHERE g.member_id = %s
            """,
            [kept_id, kept_id, merged_id],
        )
