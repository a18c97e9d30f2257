"""A coupon for everybody in a segment or on a list: a job that goes on where it stopped."""

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _

from core import jobs
from core.models import Job
from crm import queries as crm_queries
from shop.errors import CouponRefused, NoSuchCoupon
from shop.models import Coupon
from shop.services.coupons import BATCH, grant_coupons

KIND = "grant_coupons"


def start_granting(
    *,
    coupon_id: int,
    key: str,
    segment_id: int | None = None,
    member_ids: Iterable[int] = (),
    by_id: int | None = None,
) -> Job:
    """Queue the job. `key` names this giving: the same key gives nobody a second one. Raises NoSuchCoupon,
    CouponRefused (nobody named, not given out any more).
    """
    coupon = Coupon.objects.filter(pk=coupon_id).first()
    if coupon is None:
        raise NoSuchCoupon(_("There is no such coupon."))
    listed = sorted(set(member_ids))
    if not coupon.is_active:
        raise CouponRefused(_("“%(name)s” is not given out any more.") % {"name": coupon.name})
    if segment_id is None and not listed:
        raise CouponRefused(_("Nobody was named to receive it."))
    params = {"coupon_id": coupon_id, "key": key, "segment_id": segment_id, "member_ids": listed}
    return jobs.enqueue(kind=KIND, params=params, created_by_id=by_id)


def work(progress: jobs.Progress) -> dict[str, Any]:
    """Batch by batch by member id; a batch is one transaction, and repeating it gives nothing twice."""
    params = progress.params
    given, seen, last = (int(progress.checkpoint.get(name, 0)) for name in ("given", "seen", "last"))
    total = None if last else _count(params)
    while batch := _next(params, last):
        given += grant_coupons(coupon_id=params["coupon_id"], member_ids=batch, key=params["key"])
        seen, last = seen + len(batch), batch[-1]
        progress.report(done=seen, total=total, checkpoint={"given": given, "seen": seen, "last": last})
    return {"members": seen, "given": given}


def _count(params: dict[str, Any]) -> int:
    if params["segment_id"] is None:
        return len(params["member_ids"])
    return crm_queries.segment_count(params["segment_id"])


def _next(params: dict[str, Any], after: int) -> list[int]:
    if params["segment_id"] is None:
        return [pk for pk in params["member_ids"] if pk > after][:BATCH]
    members = crm_queries.members_in(params["segment_id"]).filter(pk__gt=after)
    return [row["pk"] for row in members.order_by("pk")[:BATCH]]
