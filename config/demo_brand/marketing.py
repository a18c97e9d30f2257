"""Tags, codes, segments, touch policy, a win-back rule, two broadcasts of the past, groups with their growth."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Max

from campaigns.models import Broadcast, BroadcastRecipient, WinBackRule
from community.models import Group, GroupDay, GroupMember
from config.demo_brand.copying import copy_rows, take_numbers
from config.demo_brand.people import SEED
from config.demo_brand.shelves import GUIDES
from config.demo_brand.wording import full_width
from core import clock
from crm import services as crm_services
from crm.models import (
    Activity,
    ChannelCode,
    Identity,
    MemberField,
    MemberStats,
    Segment,
    Staff,
    Store,
    Tag,
    TagGroup,
    TagRule,
    Touch,
    TouchPolicy,
)
from shop.models import OrderMessage
from wechat.models import Account, OutboundBody, OutboundMessage

TAGS = {
    "香调偏好": ["花香", "木质", "柑橘", "东方", "绿叶"],
    "穿着风格": ["通勤", "休闲", "度假", "极简"],
    "消费力": ["轻奢", "品质", "实用"],
    "关注": ["新品尝鲜", "会员日", "礼盒", "门店活动"],
}
# scene (what the sandbox's phone shows under the code), name, code of the store, tag, welcome
CODES = [
    (
        "xintiandi-counter",
        "新天地店收银台",
        "xintiandi",
        "门店活动",
        "欢迎来到池塘。回复“试香”,店员会为你留一份 2ml 小样。",
    ),
    (
        "taikooli-tester",
        "太古里店试香台",
        "taikooli",
        "新品尝鲜",
        "刚才试的那一支,叫晨雾睡莲。点下面的链接,看看它的故事。",
    ),
    ("hubin-window", "湖滨店橱窗", "hubin", "门店活动", "杭州的朋友你好,本周末到店可免费刻字。"),
    ("parcel-card", "快递包裹卡", "warehouse", "会员日", "谢谢你的订单。包裹里的小卡片可以兑换一份试香。"),
    ("xiaohongshu", "小红书主页", None, "新品尝鲜", "从小红书来的朋友,先从试香装开始吧。"),
    ("spring-market", "春季市集展位", None, "礼盒", "市集上闻到的那阵桂花香,就在这里。"),
]
# The notice that the shop offers after a payment: its id in the sandbox, its title on the phone.
ARRIVALS, ARRIVALS_TITLE = "pond-arrivals", "新品与专属心意到店提醒"
# moment of the order → template id and its title; with the one above three, as many as WeChat's popup takes.
PARCEL_TEMPLATES = {"shipped": ("pond-shipped", "订单发货通知"), "signed": ("pond-signed", "包裹签收通知")}
GROUPS = [
    ("池塘闻香会 · 上海", "lina", 168),
    ("池塘闻香会 · 成都", "wangwei", 132),
    ("池塘穿搭研究所", "zhaomin", 96),
    ("会员日早鸟群", "lina", 210),
]


def put_tags() -> None:
    for sort, (group_name, names) in enumerate(TAGS.items()):
        group, _created = TagGroup.objects.get_or_create(name=group_name, defaults={"sort": sort})
        for position, name in enumerate(names):
            Tag.objects.get_or_create(group=group, name=name, defaults={"sort": position})


def put_codes(account: Account, stores: dict[str, Store]) -> None:
    for scene, name, store, tag, welcome in CODES:
        code, is_new = ChannelCode.objects.get_or_create(
            scene=scene,
            defaults={
                "name": name,
                "account": account,
                "store": stores[store] if store else None,
                "welcome_text": full_width(welcome),
                "welcome_title": "池塘香氛 · 新客礼",
                "welcome_description": full_width("逛逛商城,首单包邮"),
                "welcome_url": "/",
                "created_at": clock.now() - timedelta(days=370),
            },
        )
        if is_new:
            code.tags.set(Tag.objects.filter(name=tag))


# name, kind, choices
FIELDS = [
    ("肤质", "choice", ["干性", "油性", "混合", "敏感"]),
    ("鞋码", "number", []),
    ("纪念日", "date", []),
]
# name, tag, and what the kind needs; the first run is the worker's
TAG_RULES: list[tuple[str, str, dict[str, Any]]] = [
    ("近一年消费满三千", "轻奢", {"kind": "spend", "amount_fen": 3_000_00, "days": 365, "removes": True}),
    ("聊天里问送礼", "礼盒", {"kind": "keyword", "words": "送礼，礼盒，礼物"}),
]


def put_knowledge() -> None:
    """Fields of the brand's own, and rules that tag by themselves."""
    for sort, (name, kind, choices) in enumerate(FIELDS):
        MemberField.objects.get_or_create(
            name=name, defaults={"kind": kind, "choices": choices, "sort": sort}
        )
    for name, tag, condition in TAG_RULES:
        if not TagRule.objects.filter(name=name).exists():
            crm_services.save_tag_rule(
                rule=TagRule(name=name, tag=Tag.objects.filter(name=tag).earliest("pk"), **condition)
            )


def put_rules(account: Account) -> None:
    """Policy, segments and the standing win-back rule."""
    TouchPolicy.objects.get_or_create(pk=1)
    floral = list(Tag.objects.filter(name__in=["花香", "绿叶"]).values_list("pk", flat=True))
    segments: dict[str, dict[str, Any]] = {
        "花香与绿叶爱好者": {"field": "tags", "op": "any", "value": floral},
        "高价值老客": {
            "all": [
                {"field": "orders", "op": "between", "value": [3, None]},
                {"field": "spend_fen", "op": "between", "value": [200_000, None]},
            ]
        },
        "60 天未购的老客": {
            "all": [
                {"field": "orders", "op": "between", "value": [1, None]},
                {"field": "last_order_days", "op": "between", "value": [60, None]},
            ]
        },
        "关注未下单": {
            "all": [
                {"field": "orders", "op": "between", "value": [0, 0]},
                {"field": "following", "op": "yes", "value": account.pk},
            ]
        },
    }
    for name, rules in segments.items():
        if not Segment.objects.filter(name=name).exists():
            crm_services.save_segment(name=name, rules=rules)
    WinBackRule.objects.get_or_create(
        name="60 天沉睡唤醒",
        defaults={
            "is_active": True,
            "silent_days": 60,
            "account": account,
            "channels": ["custom", "subscribe", "mass"],
            "kind": "link",
            "title": "好久不见,池塘又开花了",
            "description": full_width("为你留了一份 2ml 新香试用,随任意订单寄出。"),
            "url": "/",
            "template_id": ARRIVALS,
            # The platform takes at most 20 characters in a "thing".
            "template_fields": {
                "thing1": full_width("好久不见,池塘又开花了"),
                "thing2": "为你留了一份 2ml 新香试用",
            },
            "created_at": clock.now() - timedelta(days=120),
        },
    )
    WinBackRule.objects.filter(title__contains=",").update(title=full_width("好久不见,池塘又开花了"))


def put_order_messages() -> None:
    """Subscription notifications of the parcel; what an operator of the demo changed stays."""
    for kind, (template_id, _title) in PARCEL_TEMPLATES.items():
        OrderMessage.objects.get_or_create(
            kind=kind,
            defaults={
                "subscribe_template": template_id,
                "fields": {"thing1": "{goods}", "character_string2": "{parcel}", "thing3": "{carrier}"},
            },
        )


def put_broadcasts(account: Account) -> None:
    """Two finished broadcasts with their recipients, messages, touches and opens. Once."""
    if Broadcast.objects.filter(name__startswith="【演示】").exists():
        return
    chance = random.Random(SEED + 1)
    admin = User.objects.filter(is_superuser=True).order_by("pk").first()
    for name, title, days, share, opens in (
        ("【演示】初秋新品:月下桂花", "九月的风,从院墙那边来", 24, 0.62, 0.23),
        ("【演示】会员日:双面羊绒到店", "穿十年的打算,今天开始", 6, 0.35, 0.31),
    ):
        at = clock.local(clock.now() - timedelta(days=days)).replace(
            hour=20, minute=0, second=0, microsecond=0
        )
        broadcast = Broadcast.objects.create(
            name=full_width(name),
            account=account,
            channel="custom",
            kind="link",
            title=full_width(title),
            description=full_width("点开看看,会员专享试香随单赠送。"),
            url="/",
            status=Broadcast.DONE,
            created_at=at - timedelta(days=1),
            planned_at=at - timedelta(hours=2),
            started_at=at,
            finished_at=at + timedelta(minutes=3),
            created_by=admin,
        )
        _recipients(broadcast, at.astimezone(UTC), share, opens, chance)
    _note_touches()


def _recipients(
    broadcast: Broadcast, at: datetime, share: float, opens: float, chance: random.Random
) -> None:
    body = OutboundBody.objects.create(
        content={
            "kind": "link",
            "title": broadcast.title,
            "description": broadcast.description,
            "url": "{{url}}",
            "image_url": "",
        },
        created_at=at,
    )
    Broadcast.objects.filter(pk=broadcast.pk).update(bodies={"custom": body.pk})
    people = list(
        Identity.objects.filter(
            kind="openid", account_id=broadcast.account_id, value__startswith="demo-o-", followed_at__lt=at
        )
        .order_by("pk")
        .values_list("member_id", "value", "is_following", "unfollowed_at")
    )
    ids = iter(take_numbers(BroadcastRecipient, len(people)))
    recipients, messages, touches, facts = [], [], [], []
    for member_id, openid, _following, left_at in people:
        gone = left_at is not None and left_at < at
        reachable = not gone and chance.random() < share
        reason = (
            "" if reachable else "no_channel" if gone else chance.choice(("window_closed", "frequency_cap"))
        )
        opened_at = (
            at + timedelta(minutes=chance.randint(1, 600)) if reachable and chance.random() < opens else None
        )
        row = BroadcastRecipient(
            pk=next(ids),
            broadcast=broadcast,
            member_id=member_id,
            status="released" if reachable else "skipped",
            reason=reason,
            channel="custom" if reachable else "",
            to=openid if reachable else "",
            released_at=at if reachable else None,
            opened_at=opened_at,
        )
        recipients.append(row)
        if not reachable:
            continue
        sent_at = at + timedelta(seconds=chance.randint(1, 120))
        messages.append(
            OutboundMessage(
                account_id=broadcast.account_id,
                body=body,
                channel="custom",
                to=openid,
                origin=broadcast.origin,
                origin_id=row.pk,
                state=OutboundMessage.SENT,
                attempts=1,
                next_attempt_at=at,
                created_at=at,
                sent_at=sent_at,
            )
        )
        touches.append(
            Touch(
                member_id=member_id,
                purpose="marketing",
                channel="custom",
                origin=broadcast.origin,
                answer="send",
                at=at,
            )
        )
        facts.append(Activity(member_id=member_id, kind="touched", at=at, subject=broadcast.origin))
        if opened_at:
            facts.append(Activity(member_id=member_id, kind="opened", at=opened_at, subject=broadcast.origin))
    for rows in (recipients, messages, touches, facts):
        copy_rows(rows)


def _note_touches() -> None:
    """The members' figures know their last touch, and opening a link is something she did."""
    touched = dict(Touch.objects.values_list("member_id").annotate(at=Max("at")))
    opened = dict(Activity.objects.filter(kind="opened").values_list("member_id").annotate(at=Max("at")))
    rows = list(MemberStats.objects.filter(pk__in=touched))
    for row in rows:
        row.last_touch_at = touched[row.pk]
        if row.pk in opened:
            row.last_active_at = max(row.last_active_at or opened[row.pk], opened[row.pk])
    MemberStats.objects.bulk_update(rows, ["last_touch_at", "last_active_at"], batch_size=1000)


def put_groups(account: Account) -> None:
    """Customer groups with ninety days of coming and going. Once."""
    chance = random.Random(SEED + 2)
    owners = {
        staff.work_userid: staff for staff in Staff.objects.filter(work_userid__in=[g[0] for g in GUIDES])
    }
    contacts = list(
        Identity.objects.filter(kind="external_userid", value__startswith="demo-wm-")
        .order_by("pk")
        .values_list("member_id", "value", "member__name")
    )
    today = clock.today()
    for number, (name, owner, size) in enumerate(GROUPS, 1):
        group, is_new = Group.objects.get_or_create(
            account=account,
            chat_id=f"demo-chat-{number}",
            defaults={
                "name": name,
                "owner_userid": owner,
                "owner": owners[owner],
                "notice": full_width("每周三晚八点闻香分享,周五放福利。请勿刷屏,谢谢。"),
                "created_at": clock.now() - timedelta(days=90),
            },
        )
        if not is_new:
            continue
        stays = [
            GroupMember(
                group=group,
                kind="staff",
                platform_id=owner,
                name=owners[owner].name,
                joined_at=group.created_at or clock.now(),
            )
        ]
        joined: dict[int, int] = {}
        left: dict[int, int] = {}
        for member_id, external, member_name in chance.sample(contacts, min(size, len(contacts))):
            day = int(90 * chance.random() ** 1.3)
            gone = day + chance.randint(2, 40) if chance.random() < 0.16 else None
            gone = gone if gone is not None and gone < 90 else None
            joined[day] = joined.get(day, 0) + 1
            if gone is not None:
                left[gone] = left.get(gone, 0) + 1
            begin = clock.day_start(today - timedelta(days=89))
            stays.append(
                GroupMember(
                    group=group,
                    kind="customer",
                    platform_id=external,
                    member_id=member_id,
                    name=member_name,
                    join_scene=chance.choice((1, 3, 3)),
                    joined_at=min(begin + timedelta(days=day, hours=chance.randint(9, 21)), clock.now()),
                    left_at=begin + timedelta(days=gone, hours=22) if gone is not None else None,
                )
            )
        copy_rows(stays)
        crm_services.set_group_members(
            group_id=group.pk,
            member_ids=[stay.member_id for stay in stays if stay.member_id and stay.left_at is None],
        )
        customers, days = 0, []
        for day in range(90):
            customers += joined.get(day, 0) - left.get(day, 0)
            days.append(
                GroupDay(
                    group=group,
                    day=today - timedelta(days=89 - day),
                    joined=joined.get(day, 0),
                    left=left.get(day, 0),
                    customers=customers,
                )
            )
        copy_rows(days)
        Group.objects.filter(pk=group.pk).update(customers_count=customers, staff_count=1)
