"""A member's coupons in words, and the coupon behind a claim link."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from core import clock
from core.money import yuan
from shop import finding
from shop.errors import NoSuchCoupon
from shop.models import Coupon, CouponGrant
from shop.queries.catalogue import ProductPage, product_list

TABS = ("usable", "used", "expired")


@dataclass(frozen=True, slots=True)
class HeldCoupon:
    """One coupon in her hand, as she reads it. `is_open`: it may be used at this moment."""

    grant_id: int
    code: str
    name: str
    worth: str
    condition: str
    scope: str
    valid_from: datetime
    expires_at: datetime
    state: str
    is_open: bool
    is_stackable: bool
    order_number: str


def coupons_of(member_id: int, tab: str = "usable", *, limit: int = 100) -> list[HeldCoupon]:
    """A member's coupons: usable (what ends first), used or expired (newest first). One statement.

    What is past its time counts as expired, whether or not the beat has marked it.
    """
    moment = clock.now()
    grants = _grants(member_id)
    usable = Q(state=CouponGrant.HELD, expires_at__gt=moment)
    if tab == "used":
        grants = grants.filter(state=CouponGrant.USED).order_by("-used_at", "-pk")
    elif tab == "expired":
        grants = grants.filter(
            Q(state__in=[CouponGrant.EXPIRED, CouponGrant.REVOKED])
            | Q(state=CouponGrant.HELD, expires_at__lte=moment)
        ).order_by("-expires_at", "-pk")
    else:
        grants = grants.filter(usable).order_by("expires_at", "pk")
    return [_held(grant, moment) for grant in grants[:limit]]


def coupons_named(member_id: int, grant_ids: Iterable[int]) -> dict[int, HeldCoupon]:
    """Some of a member's own coupons by id; another's are left out. One statement."""
    moment = clock.now()
    return {
        grant.pk: _held(grant, moment) for grant in _grants(member_id).filter(pk__in=list(grant_ids)[:200])
    }


def usable_coupon_count(member_id: int) -> int:
    """How many coupons she can use now, for the number on her page."""
    return CouponGrant.objects.filter(
        member_id=member_id, state=CouponGrant.HELD, expires_at__gt=clock.now()
    ).count()


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """The coupon of a claim link. `state`: open, gone (none left), over, or mine (she has as many as she may)."""

    code: str
    name: str
    worth: str
    condition: str
    scope: str
    validity: str
    is_stackable: bool
    left: int | None
    state: str
    mine: int


def claim_page(code: str, member_id: int) -> ClaimPage:
    """What a claim link shows a member. Two statements. Raises NoSuchCoupon, also for what is not given by link."""
    coupon = Coupon.objects.filter(code=code, is_claimable=True).select_related("gift_sku__product").first()
    if coupon is None:
        raise NoSuchCoupon(_("There is no such coupon."))
    mine = CouponGrant.objects.filter(coupon=coupon, member_id=member_id).count()
    left = None if coupon.quota is None else max(coupon.quota - coupon.granted_count, 0)
    moment = clock.now()
    is_over = not coupon.is_active or (coupon.valid_until is not None and coupon.valid_until <= moment)
    state = (
        "mine" if mine >= coupon.per_member_limit
        else "over" if is_over
        else "gone" if left == 0
        else "open"
    )  # fmt: skip
    return ClaimPage(
        code=coupon.code,
        name=coupon.name,
        worth=worth_of(coupon),
        condition=condition_of(coupon),
        scope=scope_of(coupon),
        validity=validity_words(coupon),
        is_stackable=coupon.is_stackable,
        left=left,
        state=state,
        mine=mine,
    )


@dataclass(frozen=True, slots=True)
class OpenCoupon:
    """One that she can take by a tap."""

    code: str
    name: str
    worth: str
    condition: str
    scope: str
    validity: str
    is_stackable: bool
    state: str = "open"


def claimable_coupons(member_id: int, *, limit: int = 20) -> list[OpenCoupon]:
    """What is given out by link right now, not all gone, and not hers as often as she may have it. One statement."""
    moment = clock.now()
    open_ones = (
        Coupon.objects.filter(is_claimable=True, is_active=True)
        .filter(Q(quota__isnull=True) | Q(granted_count__lt=F("quota")))
        .filter(Q(valid_until__isnull=True) | Q(valid_until__gt=moment))
        .annotate(mine=Count("grants", filter=Q(grants__member_id=member_id)))
        .filter(mine__lt=F("per_member_limit"))
        .select_related("gift_sku__product")
        .order_by("-pk")
    )
    return [
        OpenCoupon(
            code=one.code,
            name=one.name,
            worth=worth_of(one),
            condition=condition_of(one),
            scope=scope_of(one),
            validity=validity_words(one),
            is_stackable=one.is_stackable,
        )
        for one in open_ones[:limit]
    ]


MOST_GOODS = 200  # of products that a coupon names: beyond that nobody scrolls


def coupon_goods(code: str, member_id: int, *, after: str = "") -> tuple[Coupon, ProductPage]:
    """What a coupon can be used for, a page at a time: one that she holds, or may take. Raises NoSuchCoupon.

    Three statements at most.
    """
    held = CouponGrant.objects.filter(coupon=OuterRef("pk"), member_id=member_id)
    coupon = (
        Coupon.objects.filter(Q(is_claimable=True) | Exists(held), code=code)
        .select_related("gift_sku__product")
        .first()
    )
    if coupon is None:
        raise NoSuchCoupon(_("There is no such coupon."))
    ids = tuple(coupon.scope_ids or ())
    if coupon.kind == Coupon.EXCHANGE and coupon.gift_sku is not None:
        return coupon, product_list(only=[coupon.gift_sku.product_id])
    if coupon.scope == Coupon.PRODUCTS:
        return coupon, product_list(only=list(ids[:MOST_GOODS]), page_size=MOST_GOODS)
    if coupon.scope == Coupon.CATEGORIES:
        return coupon, product_list(filters=finding.Filters(any_category=ids), after=after)
    if coupon.scope == Coupon.BRANDS:
        return coupon, product_list(filters=finding.Filters(brand_ids=ids), after=after)
    return coupon, product_list(after=after)


def _grants(member_id: int) -> "QuerySet[CouponGrant]":
    return CouponGrant.objects.filter(member_id=member_id).select_related(
        "coupon__gift_sku__product", "order"
    )


def _held(grant: CouponGrant, at: datetime) -> HeldCoupon:
    coupon = grant.coupon
    is_late = grant.state == CouponGrant.HELD and grant.expires_at <= at
    return HeldCoupon(
        grant_id=grant.pk,
        code=coupon.code,
        name=coupon.name,
        worth=worth_of(coupon),
        condition=condition_of(coupon),
        scope=scope_of(coupon),
        valid_from=grant.valid_from,
        expires_at=grant.expires_at,
        state=CouponGrant.EXPIRED if is_late else grant.state,
        is_open=grant.state == CouponGrant.HELD and grant.valid_from <= at < grant.expires_at,
        is_stackable=coupon.is_stackable,
        order_number=grant.order.number if grant.order else "",
    )


def worth_of(coupon: Coupon) -> str:
    """What is printed large on it: "¥20", "8 折", or what it brings."""
    match coupon.kind:
        case Coupon.AMOUNT:
            return "¥" + yuan(coupon.amount_fen).removesuffix(".00")
        case Coupon.PERCENTAGE:
            return paid_share(coupon.rate_bps)
        case Coupon.SHIPPING:
            return _("Free parcel")
        case Coupon.GIFT:
            return _("Gift")
    return _("Exchange")


def paid_share(rate_bps: int) -> str:
    """What remains to be paid, as shoppers say it: 2,000 bps off is "8 折"."""
    tenths = f"{(10_000 - rate_bps) / 1_000:.2f}".rstrip("0").rstrip(".")
    return pgettext("what remains to be paid", "%(tenths)s tenths") % {"tenths": tenths}


def condition_of(coupon: Coupon) -> str:
    parts = [
        _("From ¥%(amount)s") % {"amount": yuan(coupon.threshold_fen).removesuffix(".00")}
        if coupon.threshold_fen
        else _("Without a minimum")
    ]
    if coupon.kind == Coupon.PERCENTAGE and coupon.cap_fen:
        parts.append(_("at most ¥%(amount)s off") % {"amount": yuan(coupon.cap_fen).removesuffix(".00")})
    if coupon.kind == Coupon.SHIPPING and coupon.amount_fen:
        parts.append(_("at most ¥%(amount)s off") % {"amount": yuan(coupon.amount_fen).removesuffix(".00")})
    if coupon.gift_sku is not None:
        parts.append(f"{coupon.gift_sku.product.name} {coupon.gift_sku.name}".strip())
    return "，".join(parts)


def scope_of(coupon: Coupon) -> str:
    """Which goods count; "" for an exchange of a named SKU, which its condition names."""
    if coupon.kind == Coupon.EXCHANGE and coupon.gift_sku_id is not None:
        return ""
    return {
        Coupon.ALL: _("For everything in the shop"),
        Coupon.PRODUCTS: _("For certain products"),
        Coupon.CATEGORIES: _("For certain categories"),
        Coupon.BRANDS: _("For certain brands"),
    }[coupon.scope]


def validity_words(coupon: Coupon) -> str:
    if coupon.valid_days:
        return _("Valid for %(days)d days after you take it") % {"days": coupon.valid_days}
    assert coupon.valid_until is not None
    return _("Valid until %(day)s") % {"day": f"{clock.local(coupon.valid_until):%Y-%m-%d %H:%M}"}
