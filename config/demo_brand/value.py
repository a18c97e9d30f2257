"""What is worth something to the demo's members: recharges, the points mall, paid memberships, tasks; and a live
segment that people came into and left.
"""

from datetime import date, datetime, timedelta

from config.demo_brand.copying import copy_rows
from config.demo_brand.people import STAR_OPENID
from config.demo_brand.wording import full_width
from core import clock
from crm import services as crm_services
from crm.days import LUNAR, YearDay
from crm.models import (
    Activity,
    Member,
    MemberDay,
    MembershipPlan,
    PointsTask,
    Segment,
    SegmentChange,
    SegmentDay,
)
from shop import services
from shop.models import Coupon, MallItem, RechargeOffer, Sku

FRESH = "近 30 天下单的会员"
WINDOW = 30  # days, today not counted
HISTORY, TOLD = 30, 7  # days of counts, days of comings and goings


def put_value() -> None:
    """Once; what an operator of the demo changed stays."""
    _put_offers()
    _put_mall()
    _put_tasks()
    star = Member.objects.filter(identities__value=STAR_OPENID).first()
    if star is not None and not MemberDay.objects.filter(member=star).exists():
        crm_services.keep_day(member_id=star.pk, kind=MemberDay.BIRTHDAY, day=YearDay(LUNAR, 8, 15))
        crm_services.advance_tasks(member_id=star.pk, kind=PointsTask.FOLLOW, key="demo")
        crm_services.advance_tasks(member_id=star.pk, kind=PointsTask.ORDER, key="demo:1")
        item = MallItem.objects.filter(kind=MallItem.COUPON).first()
        if item is not None:
            services.exchange_points(item_id=item.pk, member_id=star.pk, key="demo")
    _put_live_segment()


def _put_offers() -> None:
    if not RechargeOffer.objects.exists():
        RechargeOffer.objects.bulk_create(
            RechargeOffer(
                name=name,
                pay_fen=pay * 100,
                bonus_fen=bonus * 100,
                bonus_days=days,
                per_member=times,
                position=place,
            )
            for place, (name, pay, bonus, days, times) in enumerate(
                (
                    ("首充礼", 100, 20, 180, 1),
                    ("轻享", 300, 20, 365, 0),
                    ("常备", 500, 50, 365, 0),
                    ("挚爱", 1_000, 130, 365, 0),
                )
            )
        )
    if not MembershipPlan.objects.exists():
        MembershipPlan.objects.bulk_create(
            [
                MembershipPlan(
                    name="银卡季卡",
                    tier="银卡",
                    price_fen=5_900,
                    days=90,
                    benefits="部分商品会员价\n积分 1.1 倍",
                ),
                MembershipPlan(
                    **{"name": "金卡年卡", "tier": "金卡", "price_fen": 19_900, "position": 1},
                    benefits="更多商品会员价\n积分 1.3 倍\n新品优先试用",
                ),
            ]
        )


def _put_mall() -> None:
    """Coupons and samples for points, and one that takes some money as well."""
    if MallItem.objects.exists():
        return
    coupons = {
        coupon.code: coupon for coupon in Coupon.objects.filter(code__in=["free-parcel", "birthday-50"])
    }
    skus = {sku.code: sku for sku in Sku.objects.filter(code__in=["PD-021-1", "PD-014-1", "PD-001-1"])}
    for place, (name, points, coupon, code, fen, quota, detail) in enumerate(
        (
            ("包邮券", 200, "free-parcel", "", 0, None, "任意订单可用。"),
            ("50 元礼金券", 1_500, "birthday-50", "", 0, 200, "领取后 30 天内有效。"),
            ("护手霜", 900, "", "PD-021-1", 0, 60, "随包裹寄出,每人限一支。"),
            ("桂花蜡烛", 600, "", "PD-014-1", 3_900, 40, "积分加一点钱,把秋天带回家。"),
            ("签名香水", 2_000, "", "PD-001-1", 19_900, 20, "会员专享加价购。"),
        )
    ):
        if coupon in coupons or code in skus:
            MallItem.objects.create(
                name=name,
                kind=MallItem.COUPON if coupon else MallItem.GOODS,
                coupon=coupons.get(coupon),
                sku=skus.get(code),
                points=points,
                price_fen=fen,
                quota=quota,
                detail=full_width(detail),
                position=place,
            )


def _put_tasks() -> None:
    if PointsTask.objects.exists():
        return
    once, month, week = PointsTask.ONCE, PointsTask.MONTH, PointsTask.WEEK
    PointsTask.objects.bulk_create(
        PointsTask(
            name=name,
            kind=kind,
            points=points,
            times=times,
            period=period,
            detail=full_width(detail),
            position=place,
        )
        for place, (name, kind, points, times, period, detail) in enumerate(
            (
                ("关注公众号", PointsTask.FOLLOW, 20, 1, once, ""),
                ("添加专属导购", PointsTask.CONTACT, 50, 1, once, "到店或在客服里扫导购的企业微信二维码。"),
                ("加入闻香群", PointsTask.GROUP, 30, 1, once, "请导购邀请你进群。"),
                ("填写生日", PointsTask.BIRTHDAY, 50, 1, once, "公历、农历都可以。"),
                ("留下手机号", PointsTask.PHONE, 20, 1, once, ""),
                ("首条评价", PointsTask.REVIEW, 40, 1, once, "评价通过展示后到账。"),
                ("每月收货 2 单", PointsTask.ORDER, 100, 2, month, ""),
                ("邀请好友来逛", PointsTask.SHARE, 10, 3, week, "每周三位好友打开你的分享。"),
            )
        )
    )


def _put_live_segment() -> None:
    """Who bought in the last days, kept up to date; with the counts and the comings and goings of its past, as the year
    of orders has them.
    """
    if Segment.objects.filter(name=FRESH).exists():
        return
    rules = {"field": "last_order_days", "op": "between", "value": [0, WINDOW]}
    segment = crm_services.save_segment(name=FRESH, rules=rules, is_live=True)
    crm_services.refresh_segment(segment_id=segment.pk)
    today = clock.today()
    paid: dict[int, list[datetime]] = {}
    since = clock.day_start(today - timedelta(days=2 * WINDOW + HISTORY))
    living = Activity.objects.filter(kind=Activity.PAID, at__gte=since, member__merged_into=None)
    for member_id, at in living.order_by("at").values_list("member_id", "at"):
        paid.setdefault(member_id, []).append(at)
    came: dict[date, int] = {}
    went: dict[date, int] = {}
    changes = []
    for member_id, moments in paid.items():
        for begins, ends in _stays(moments):
            for tally, at, is_entry in ((came, begins, True), (went, ends, False)):
                day = clock.local(at).date()
                if day > today:
                    continue
                tally[day] = tally.get(day, 0) + 1
                if today - timedelta(days=TOLD) < day:
                    changes.append(
                        SegmentChange(segment=segment, member_id=member_id, is_entry=is_entry, at=at)
                    )
    changes.sort(key=lambda change: change.at)
    copy_rows(changes)
    segment.refresh_from_db(fields=["members_count"])
    count, days = segment.members_count or 0, []
    for number in range(HISTORY):
        day = today - timedelta(days=number)
        figures = {"entered": came.get(day, 0), "left": went.get(day, 0)}
        days.append(SegmentDay(segment=segment, day=day, members_count=count, **figures))
        count = max(count - figures["entered"] + figures["left"], 0)
    SegmentDay.objects.filter(segment=segment).delete()
    copy_rows(days)


def _stays(moments: list[datetime]) -> list[tuple[datetime, datetime]]:
    """From the first of orders that follow each other closely, until the window after the last is over."""
    stays: list[tuple[datetime, datetime]] = []
    for at in moments:
        ends = clock.day_start(clock.local(at).date() + timedelta(days=WINDOW + 1))
        if stays and at < stays[-1][1]:
            stays[-1] = (stays[-1][0], ends)
        else:
            stays.append((at, ends))
    return stays
