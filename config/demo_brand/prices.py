"""What makes the demo's prices interesting: shipping, points as money, promotions, coupons, special prices."""

import random
from datetime import datetime, time, timedelta
from typing import Any

from config.demo_brand.people import SEED, STAR_OPENID
from config.demo_brand.wording import full_width
from core import clock
from crm import services as crm_services
from crm.models import Member, PointsRules, TierPolicy
from shop import services
from shop.models import (
    Category,
    CostPrice,
    Coupon,
    MemberPrice,
    Offer,
    PointsPolicy,
    Presale,
    Promotion,
    PromotionExtra,
    ShippingRate,
    Sku,
)

CLOTHES = ["连衣裙", "上装", "外套", "下装"]
LASTS = timedelta(days=400)  # the demo's clock may be moved by months
# product and variant → what it is in this room
PRESALE, PRESALE_PAID = "PD-030-1", "PD-032-1"
TIER_PRICES = {"金卡": ("PD-001-1", "PD-016-1", "PD-033-1"), "银卡": ("PD-016-1",)}
FLASH, SOLD_OUT, TOMORROW, WELCOME, GIFT = "PD-021-1", "PD-014-1", "PD-056-1", "PD-018-1", "PD-024-1"


def put_prices() -> None:
    """Once; what an operator of the demo changed stays."""
    begin = clock.now() - timedelta(days=20)
    for province, base, free_from in (("", 1_000, 9_900), ("新疆", 2_500, 29_900), ("西藏", 2_500, 29_900)):
        ShippingRate.objects.get_or_create(
            province=province, defaults={"base_fen": base, "free_from_fen": free_from}
        )
    PointsPolicy.objects.get_or_create(pk=1, defaults={"fen_per_100": 100, "cap_bps": 5_000, "least": 100})
    _put_promotions(begin)
    _put_coupons(begin)
    _put_tiers()
    _put_value()
    _put_costs()


def _put_costs() -> None:
    """What the brand pays itself, a third to two fifths of the price: so that a rehearsal can tell the margin."""
    CostPrice.objects.bulk_create(
        (
            CostPrice(sku_id=pk, cost_fen=price_fen * (33 + pk % 8) // 1_000 * 10)
            for pk, price_fen in Sku.objects.filter(code__startswith="PD-").values_list("pk", "price_fen")
        ),
        ignore_conflicts=True,
    )


def _put_value() -> None:
    """Orders earn points and growth, and growth leads to the two tiers."""
    PointsRules.objects.get_or_create(pk=1)
    if not TierPolicy.objects.exists():
        levels = [
            crm_services.LevelInput("银卡", 2_000, 11_000, "部分商品会员价\n生日当天双倍积分"),
            crm_services.LevelInput("金卡", 8_000, 13_000, "更多商品会员价\n生日当天双倍积分\n新品优先试用"),
        ]
        crm_services.save_tiers(basis="growth", window_days=365, keep_days=365, levels=levels)


def _put_tiers() -> None:
    """Two tiers with prices of their own; the star and some others have one."""
    for tier, share in (("金卡", 85), ("银卡", 92)):
        for sku in Sku.objects.filter(code__in=TIER_PRICES[tier]):
            MemberPrice.objects.get_or_create(
                sku=sku, tier=tier, defaults={"price_fen": sku.price_fen * share // 10_000 * 100}
            )
    star = Member.objects.filter(identities__value=STAR_OPENID)
    if not Member.objects.exclude(tier="").exists():
        Member.objects.filter(pk__in=star.values("pk")).update(tier="金卡")
        some = Member.objects.filter(merged_into=None).exclude(pk__in=star.values("pk")).order_by("pk")
        Member.objects.filter(pk__in=some.values("pk")[:12]).update(tier="银卡")


def _put_promotions(begin: datetime) -> None:
    shelves = dict(Category.objects.filter(parent=None).values_list("name", "pk"))
    wanted: list[tuple[dict[str, Any], list[str]]] = [
        (
            {
                "title": "衣装满 800 减 100",
                "kind": "amount_off",
                "threshold_fen": 80_000,
                "amount_fen": 10_000,
            },
            CLOTHES,
        ),
        (
            {"title": "身体护理第二件半价", "kind": "nth_piece", "off_bps": 5_000, "repeats": True},
            ["身体护理"],
        ),
        (
            {
                "title": "香水满 600 赠栀子香膏",
                "kind": "gift",
                "threshold_fen": 60_000,
                "exclusion_group": "",
            },
            ["香水"],
        ),
        (
            {"title": "居家香氛两件 88 折", "kind": "percent_off", "threshold_quantity": 2, "off_bps": 1_200},
            ["居家香氛"],
        ),
        (
            {
                "title": "【草稿】年终满 1000 减 150",
                "kind": "amount_off",
                "threshold_fen": 100_000,
                "amount_fen": 15_000,
                "repeats": True,
                "is_active": False,
            },
            [],
        ),
    ]
    for values, categories in wanted:
        promotion, is_new = Promotion.objects.get_or_create(
            title=values["title"],
            defaults={"is_active": True, "starts_at": begin, "ends_at": begin + LASTS, **values},
        )
        if is_new:
            promotion.categories.set([shelves[name] for name in categories])
            if promotion.kind == Promotion.GIFT:
                PromotionExtra.objects.create(promotion=promotion, sku=Sku.objects.get(code=GIFT))


def _put_coupons(begin: datetime) -> None:
    perfumes = Category.objects.filter(name="香水").values_list("pk", flat=True)
    wanted: list[dict[str, Any]] = [
        {
            **{"code": "welcome-30", "name": "新朋友满 199 减 30", "amount_fen": 3_000, "threshold_fen": 19_900},
            **{"valid_days": 30, "is_claimable": True},
        },
        {
            **{"code": "perfume-9", "name": "香水 9 折券", "kind": "percentage", "rate_bps": 1_000, "cap_fen": 8_000},
            **{"scope": "categories", "scope_ids": list(perfumes), "valid_days": 14, "is_claimable": True},
            "quota": 800,
        },
        {
            **{"code": "free-parcel", "name": "包邮券", "kind": "shipping", "is_stackable": True},
            **{"valid_days": 60, "is_claimable": True, "per_member_limit": 2},
        },
        {"code": "birthday-50", "name": "生日礼金 50 元", "amount_fen": 5_000, "valid_days": 30},
        {
            **{"code": "autumn-100", "name": "满 899 减 100", "amount_fen": 10_000, "threshold_fen": 89_900},
            "valid_until": clock.day_start(clock.today()) + timedelta(days=1, hours=22),
        },
    ]  # fmt: skip
    chance = random.Random(SEED + 3)
    members = list(
        Member.objects.filter(merged_into=None, identities__is_following=True)
        .exclude(identities__value=STAR_OPENID)
        .order_by("pk")
        .values_list("pk", flat=True)
        .distinct()
    )
    for values in wanted:
        coupon, is_new = Coupon.objects.get_or_create(
            code=values["code"], defaults={"created_at": begin, **values}
        )
        if is_new:
            some = chance.sample(members, min(len(members), chance.randint(60, 240)))
            services.grant_coupons(coupon_id=coupon.pk, member_ids=some, key="demo")


def put_offers() -> None:
    """Special prices: one open, one that comes tomorrow, one for a first order, one that others will empty.

    Each load opens what is over anew, so that there is always something to be quick for.
    """
    moment = clock.now()
    tomorrow = datetime.combine(clock.today() + timedelta(days=1), time(10), tzinfo=clock.zone())
    two_days = (moment - timedelta(hours=1), moment + timedelta(days=2))
    for kind, name, code, price_fen, quota, limit, (starts_at, ends_at) in (
        (Offer.FLASH, "限时秒杀 · 护手霜", FLASH, 3_990, 50, 2, two_days),
        (Offer.FLASH, "今晚限量 · 桂花蜡烛", SOLD_OUT, 9_900, 3, 1, two_days),
        (Offer.FLASH, "明早十点 · 真丝方巾", TOMORROW, 19_900, 20, 1, (tomorrow, tomorrow + timedelta(hours=12))),
        (Offer.FIRST_ORDER, "新人一角尝鲜", WELCOME, 10, 1_000, 1, (two_days[0], moment + LASTS)),
    ):  # fmt: skip
        sku = Sku.objects.get(code=code)
        if Offer.objects.filter(sku=sku, ends_at__gt=moment).exists():
            continue
        Offer.objects.create(
            sku=sku,
            kind=kind,
            name=full_width(name),
            price_fen=price_fen,
            quota=quota,
            per_member_limit=limit,
            starts_at=starts_at,
            ends_at=ends_at,
            created_at=moment,
        )
    _put_presales(moment)


def _put_presales(moment: datetime) -> None:
    """One whose deposit is taken now, and one whose balance is due now."""
    days = timedelta(days=1)
    for code, name, begin, paid_from, is_over in (
        (PRESALE, "预售 · 早冬新款", moment - days, moment + 4 * days, False),
        (PRESALE_PAID, "预售 · 今冬第一批", moment - 9 * days, moment - 2 * timedelta(hours=1), True),
    ):
        sku = Sku.objects.get(code=code)
        known = Offer.objects.filter(sku=sku, kind=Offer.PRESALE)
        if known.exists() if is_over else known.filter(ends_at__gt=moment).exists():
            continue
        offer = Offer.objects.create(
            sku=sku,
            kind=Offer.PRESALE,
            name=full_width(name),
            price_fen=sku.price_fen * 9 // 1_000 * 100,
            quota=60,
            per_member_limit=2,
            starts_at=begin,
            ends_at=paid_from,
            created_at=begin,
        )
        Presale.objects.create(
            offer=offer,
            deposit_fen=5_000,
            worth_fen=10_000,
            balance_starts_at=paid_from,
            balance_ends_at=paid_from + 4 * days,
            ships_by=(paid_from + 7 * days).date(),
        )
