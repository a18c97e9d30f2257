"""Two thousand members and what they did in a year: made in memory from a fixed seed, written by COPY.

The tables are written directly, as a migration would: `manage.py audit` proves that the rows agree with each other.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Model

from config.demo_brand.copying import copy_rows, copy_tuples, take_numbers
from config.demo_brand.shelves import GUIDES
from core import clock
from crm import services as crm_services
from crm.models import (
    Activity,
    ChannelCode,
    Consent,
    Contact,
    Identity,
    Member,
    MemberStats,
    MemberTag,
    Store,
    Tag,
)
from shop import rules
from shop.models import (
    EffectReversal,
    Fulfilment,
    Order,
    OrderLine,
    OrderLog,
    Payment,
    Product,
    Refund,
    RefundLine,
    Shipment,
    Sku,
    Stock,
    StockMovement,
)
from wechat.models import Account

SEED = 20_260_601
MEMBERS = 2_000
DAYS = 365
PAYMENT_TIME, RECEIPT_TIME = timedelta(minutes=30), timedelta(days=10)
SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
GIVEN = [
    "小满", "清欢", "雨桐", "思齐", "若溪", "一诺", "子涵", "佳怡", "诗雨", "梦瑶", "静怡", "晓彤", "文静", "雅琪",
    "可欣", "安然", "知夏", "念初", "语嫣", "书瑶", "南星", "浩然", "子轩", "宇航", "明远", "嘉树", "景行", "慕白",
    "云深", "承泽", "亦凡", "思远", "博文", "君浩", "乐天", "芷若", "采薇", "望舒", "疏影", "青禾", "听雪", "见微",
    "婉清", "若兰", "秋实", "冬月", "春晓", "丽华", "秀英", "建国", "志强", "海燕", "玉兰", "晓东", "美玲", "佩芸",
    "心怡", "梓萱", "欣妍", "沐晴",
]  # fmt: skip
STREETS = [
    ("上海市", "上海市", "静安区", "延平路"),
    ("浙江省", "杭州市", "西湖区", "文三路"),
    ("四川省", "成都市", "锦江区", "东大街"),
    ("江苏省", "南京市", "鼓楼区", "汉口路"),
    ("北京市", "北京市", "朝阳区", "工体北路"),
    ("广东省", "深圳市", "南山区", "海德三道"),
    ("湖北省", "武汉市", "江汉区", "青年路"),
    ("福建省", "厦门市", "思明区", "环岛路"),
]
CARRIERS = ["顺丰速运", "京东物流", "中通快递"]
STAR_OPENID, STAR = (
    "demo-o-00000",
    "林小满",
)  # the member whom the phone lists: her corner shows every room alive


class Fact(NamedTuple):
    """One row of the timeline, as its columns stand."""

    member_id: int
    kind: str
    at: datetime
    subject: str
    amount_fen: int
    data: str = "{}"


@dataclass
class Rows:
    """Everything that will be copied, by table, in an order that the keys allow."""

    members: list[Member] = field(default_factory=list)
    identities: list[Identity] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)
    consents: list[Consent] = field(default_factory=list)
    tags: list[MemberTag] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    lines: list[OrderLine] = field(default_factory=list)
    logs: list[OrderLog] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    fulfilments: list[Fulfilment] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)


@dataclass(frozen=True)
class StockChange:
    at: datetime
    sku_id: int
    on_hand: int
    reserved: int
    cause: str
    reason: str
    order_id: int | None = None


class Year:
    """The making of one year that ends now."""

    def __init__(self, *, accounts: dict[str, Account], stores: dict[str, Store], skus: list[Sku]) -> None:
        self.chance = random.Random(SEED)
        self.now = clock.now()
        self.begin = self.now - timedelta(days=DAYS)
        self.accounts, self.stores, self.skus = accounts, stores, skus
        self.popular = [self.chance.paretovariate(1.4) for _ in skus]
        self.names = dict(Product.objects.values_list("pk", "name"))
        self.codes = list(ChannelCode.objects.order_by("pk"))
        self.tag_list = list(Tag.objects.order_by("pk"))
        self.rows = Rows()
        self.openids: dict[int, str] = {}
        self.stock: list[StockChange] = []
        self.order_ids = iter(take_numbers(Order, 9_000))
        self.payment_ids = iter(take_numbers(Payment, 9_000))

    def make(self) -> None:
        """All rows into the tables. Call inside a transaction."""
        member_ids = take_numbers(Member, MEMBERS)
        identity_ids = iter(take_numbers(Identity, MEMBERS * 2))
        for number, member_id in enumerate(member_ids):
            self._member(number, member_id, identity_ids)
        crm_services.prepare_timeline(since=self.begin.date() - timedelta(days=2), until=self.now.date())
        rows = self.rows
        people: list[Sequence[Model]] = [
            rows.members,
            rows.identities,
            rows.contacts,
            rows.consents,
            rows.tags,
        ]
        for table in people:
            copy_rows(table)
        copy_rows(self._figures())
        copy_tuples(Activity._meta.db_table, Fact._fields, rows.facts)
        for part in (
            rows.orders,
            rows.lines,
            rows.logs,
            rows.payments,
            rows.refunds,
            rows.fulfilments,
            rows.shipments,
        ):
            copy_rows(part)
        waiting = Refund.objects.filter(lines=None)
        back = waiting.values_list("pk", "order__lines")
        whole = OrderLine.objects.in_bulk({line_id for _refund, line_id in back})
        parts: dict[int, dict[str, int]] = {}
        for refund_id, line_id in back:
            parts.setdefault(refund_id, {})[str(line_id)] = whole[line_id].quantity
        EffectReversal.objects.bulk_create(
            EffectReversal(
                order_id=refund.order_id,
                cause=f"refund:{refund.pk}",
                parts=parts[refund.pk],
                at=refund.refunded_at or self.now,
            )
            for refund in waiting
        )
        RefundLine.objects.bulk_create(
            RefundLine(
                refund_id=refund_id,
                line_id=line_id,
                quantity=whole[line_id].quantity,
                amount_fen=whole[line_id].total_fen,
            )
            for refund_id, line_id in back
        )
        self._write_stock()

    # One member

    def _member(self, number: int, member_id: int, identity_ids: Any) -> None:
        chance = self.chance
        # More people join each month than the month before.
        joined = self.begin + timedelta(days=DAYS * chance.random() ** 0.72)
        joined = self._daytime(joined)
        code = chance.choice(self.codes) if self.codes and chance.random() < 0.72 else None
        name = chance.choice(SURNAMES) + chance.choice(GIVEN)
        name = STAR if number == 0 else name
        brand = self.accounts["brand"]
        left = chance.random() < 0.07
        seen_until = self._last_seen(joined)
        left_at = seen_until + timedelta(days=chance.uniform(0.1, 6)) if left else None
        if number == 0 or (left_at is not None and left_at > self.now):
            left, left_at = False, None
        self.rows.members.append(
            Member(
                pk=member_id,
                name=name,
                joined_via=Member.FOLLOW,
                source=code,
                created_at=joined,
                birthday=joined.date().replace(year=chance.randint(1972, 2004), day=chance.randint(1, 28))
                if chance.random() < 0.3
                else None,
            )
        )
        self.openids[member_id] = f"demo-o-{number:05d}"
        self.rows.identities.append(
            Identity(
                pk=next(identity_ids),
                member_id=member_id,
                kind=Identity.OPENID,
                account=brand,
                value=self.openids[member_id],
                is_following=not left,
                followed_at=joined,
                unfollowed_at=left_at,
                created_at=joined,
            )
        )
        self._fact(member_id, Activity.JOINED, joined, Member.FOLLOW)
        self._fact(member_id, Activity.FOLLOWED, joined, f"code:{code.pk}" if code else "")
        if code:
            self._fact(member_id, Activity.SCANNED, joined, f"code:{code.pk}")
        if left_at:
            self._fact(member_id, Activity.UNFOLLOWED, left_at)
        if chance.random() < 0.32:
            self._contact(number, member_id, next(identity_ids), joined)
        if chance.random() < 0.4:
            self._consent(
                member_id, joined + timedelta(minutes=chance.randint(2, 90)), chance.random() < 0.93
            )
        self._tag(member_id, joined)
        self._sessions(member_id, name, joined, seen_until)

    def _last_seen(self, joined: datetime) -> datetime:
        """Some are here every week, some have gone quiet: that is what win-back is for."""
        kind = self.chance.random()
        days = (
            self.chance.uniform(0, 14)
            if kind < 0.42
            else self.chance.uniform(15, 60)
            if kind < 0.66
            else self.chance.uniform(61, 300)
        )
        return max(joined + timedelta(hours=1), self.now - timedelta(days=days))

    def _daytime(self, moment: datetime) -> datetime:
        """The same day between nine and half past ten in the evening, and never in the future."""
        local = clock.local(moment).replace(
            hour=self.chance.choice((9, 10, 11, 12, 12, 13, 15, 17, 19, 20, 20, 21, 21, 22)),
            minute=self.chance.randint(0, 29),
            second=self.chance.randint(0, 59),
            microsecond=0,
        )
        return min(local.astimezone(UTC), self.now - timedelta(minutes=self.chance.randint(1, 50)))

    def _contact(self, number: int, member_id: int, identity_id: int, joined: datetime) -> None:
        at = joined + timedelta(days=self.chance.uniform(0, 3))
        at = min(at, self.now)
        self.rows.identities.append(
            Identity(
                pk=identity_id,
                member_id=member_id,
                kind=Identity.EXTERNAL_USERID,
                account=self.accounts["corp"],
                value=f"demo-wm-{number:05d}",
                is_following=True,
                followed_at=at,
                created_at=at,
            )
        )
        self.rows.contacts.append(
            Contact(identity_id=identity_id, userid=self.chance.choice(GUIDES)[0], added_at=at)
        )
        self._fact(member_id, Activity.CONTACT_ADDED, at)

    def _consent(self, member_id: int, at: datetime, given: bool) -> None:
        self.rows.consents.append(
            Consent(
                member_id=member_id,
                purpose=Consent.MARKETING,
                is_given=given,
                channel="page",
                text_version="2025-06",
                at=min(at, self.now),
            )
        )

    def _tag(self, member_id: int, at: datetime) -> None:
        for tag in self.chance.sample(
            self.tag_list, min(len(self.tag_list), self.chance.choice((0, 1, 1, 2, 3)))
        ):
            self.rows.tags.append(MemberTag(member_id=member_id, tag=tag, origin="demo", at=at))

    # What she does

    def _sessions(self, member_id: int, name: str, joined: datetime, until: datetime) -> None:
        chance = self.chance
        eager = chance.choice((0, 0, 0.2, 0.3, 0.45))
        if chance.random() < 0.18:
            return  # she follows and never looks in
        span = (until - joined).total_seconds()
        count = 1 + int(chance.expovariate(1 / 4))
        moments = sorted({joined + timedelta(seconds=span * chance.random()) for _ in range(count)} | {until})
        for moment in moments:
            at = max(self._daytime(moment), joined + timedelta(minutes=3))
            self._fact(member_id, Activity.VISITED, at)
            looked = chance.choices(self.skus, self.popular, k=chance.randint(1, 4))
            for step, sku in enumerate(looked):
                seen = at + timedelta(seconds=40 * (step + 1))
                self._fact(member_id, Activity.VIEWED_PRODUCT, seen, f"product:{sku.product_id}")
            if chance.random() < eager:
                bought = {sku.pk: sku for sku in looked[: chance.randint(1, 3)]}
                self._order(member_id, name, list(bought.values()), at + timedelta(minutes=5))

    def _order(self, member_id: int, name: str, skus: list[Sku], at: datetime) -> None:
        if at > self.now - timedelta(minutes=20):
            return
        chance = self.chance
        order_id = next(self.order_ids)
        lines = [(sku, 1 if chance.random() < 0.9 else 2) for sku in skus]
        total = sum(sku.price_fen * quantity for sku, quantity in lines)
        age = self.now - at
        fate = chance.random()
        province, city, district, street = chance.choice(STREETS)
        order = Order(
            pk=order_id,
            number=rules.order_number(at, chance.randrange(10**12)),
            member_id=member_id,
            status=Order.CANCELLED,
            store=self.stores["warehouse"],
            items_fen=total,
            total_fen=total,
            receiver=name,
            phone=f"1380000{chance.randint(0, 9999):04d}",
            region=f"{province} {city} {district}",
            street=f"{street} {chance.randint(1, 400)} 号 {chance.randint(1, 30)} 室",
            postal_code="",
            placed_at=at,
            idempotency_key=f"demo-{order_id}",
            expires_at=at + PAYMENT_TIME,
        )
        self.rows.orders.append(order)
        for sku, _quantity in lines:
            self._fact(
                member_id, Activity.ADDED_TO_CART, at - timedelta(minutes=1), f"product:{sku.product_id}"
            )
        self._fact(member_id, Activity.ORDERED, at, f"order:{order_id}", total)
        self._log(order_id, "placed", "member", at)
        self._lines(order_id, lines)
        self._move(lines, order_id, at, "reserve", 0, 1)
        if fate < 0.12:
            self._cancel(order, lines, at + PAYMENT_TIME)
            return
        paid_at = at + timedelta(seconds=chance.randint(15, 240))
        self._pay(order, paid_at)
        if age < timedelta(days=2):
            return
        shipped_at = min(paid_at + timedelta(hours=chance.randint(4, 30)), self.now)
        self._ship(order, lines, shipped_at)
        if age < timedelta(days=7):
            order.due_at = shipped_at + RECEIPT_TIME
            return
        order.status, order.received_at = Order.RECEIVED, min(shipped_at + timedelta(days=4), self.now)
        self._log(order_id, "received", "member", order.received_at)
        if fate > 0.965:
            self._refund(order, lines, min(order.received_at + timedelta(days=2), self.now))

    def _lines(self, order_id: int, lines: list[tuple[Sku, int]]) -> None:
        for sku, quantity in lines:
            self.rows.lines.append(
                OrderLine(
                    order_id=order_id,
                    sku=sku,
                    store=self.stores["warehouse"],
                    product_name=self.names[sku.product_id],
                    sku_name=sku.name,
                    image=self.images.get(sku.product_id, ""),
                    unit_price_fen=sku.price_fen,
                    quantity=quantity,
                    total_fen=sku.price_fen * quantity,
                    routing_reason="warehouse",
                )
            )

    @property
    def images(self) -> dict[int, str]:
        if not hasattr(self, "_images"):
            pictures = Product.objects.filter(images__position=0).values_list("pk", "images__thumbnail")
            self._images: dict[int, str] = dict(pictures)
        return self._images

    def _cancel(self, order: Order, lines: list[tuple[Sku, int]], at: datetime) -> None:
        order.cancelled_at, order.cancel_reason = at, "未在规定时间内付款"
        self._fact(order.member_id or 0, Activity.CANCELLED, at, f"order:{order.pk}")
        self._log(order.pk, "cancelled", "system", at)
        self._move(lines, order.pk, at, "release", 0, -1)

    def _pay(self, order: Order, at: datetime) -> None:
        order.status, order.paid_fen, order.paid_at = Order.PAID, order.total_fen, at
        payment_id = next(self.payment_ids)
        self.rows.payments.append(
            Payment(
                pk=payment_id,
                order=order,
                account=self.accounts["pay"],
                out_trade_no=f"D{payment_id:012d}",
                openid=self.openids[order.member_id or 0],
                amount_fen=order.total_fen,
                status=Payment.PAID,
                transaction_id=f"42000{payment_id:023d}",
                paid_fen=order.total_fen,
                expires_at=order.placed_at + PAYMENT_TIME,
                created_at=order.placed_at,
                paid_at=at,
            )
        )
        self.rows.fulfilments.append(
            Fulfilment(
                order=order,
                store=self.stores["warehouse"],
                kind=Fulfilment.SHIP,
                reason="warehouse",
                created_at=at,
            )
        )
        self._fact(order.member_id or 0, Activity.PAID, at, f"order:{order.pk}", order.total_fen)
        self._log(order.pk, "paid", "system", at)

    def _ship(self, order: Order, lines: list[tuple[Sku, int]], at: datetime) -> None:
        carrier = self.chance.choice(CARRIERS)
        number = f"SF{self.chance.randrange(10**12):012d}"
        order.status, order.shipped_at = Order.SHIPPED, at
        part = self.rows.fulfilments[-1]  # of this order: it was paid a moment ago
        part.state, part.done_at, part.actor = Fulfilment.SHIPPED, at, "仓库"
        self.rows.shipments.append(
            Shipment(order=order, carrier=carrier, tracking_number=number, actor="仓库", shipped_at=at)
        )
        self._fact(order.member_id or 0, Activity.SHIPPED, at, f"order:{order.pk}")
        self._log(order.pk, "shipped", "仓库", at, f"{carrier} {number}")
        self._move(lines, order.pk, at, "ship", -1, -1)

    def _refund(self, order: Order, lines: list[tuple[Sku, int]], at: datetime) -> None:
        order.status, order.refunded_at, order.refunded_fen = Order.REFUNDED, at, order.paid_fen
        order.refund_requested_at = at - timedelta(hours=3)
        payment = self.rows.payments[-1]
        payment.refunded_fen = order.paid_fen
        refund = Refund(
            order=order,
            payment=payment,
            kind=Refund.ORDER,
            out_refund_no=f"{payment.out_trade_no}R",
            amount_fen=order.paid_fen,
            status=Refund.SUCCESS,
            refund_id=f"50300{payment.pk:023d}",
            reason="七天无理由退货",
            actor="客服",
            requested_at=order.refund_requested_at,
            refunded_at=at,
        )
        self.rows.refunds.append(refund)
        for line in self.rows.lines[-len(lines) :]:
            line.refunded_quantity, line.refunded_fen = line.quantity, line.total_fen
        self._fact(order.member_id or 0, Activity.REFUNDED, at, f"order:{order.pk}", order.paid_fen)
        self._log(order.pk, "refund_requested", "客服", order.refund_requested_at)
        self._log(order.pk, "refunded", "system", at)
        self._move(lines, order.pk, at, "return", 1, 0)

    # Small things

    def _fact(self, member_id: int, kind: str, at: datetime, subject: str = "", amount: int = 0) -> None:
        self.rows.facts.append(Fact(member_id, kind, min(at, self.now), subject, amount))

    def _log(self, order_id: int, action: str, actor: str, at: datetime, note: str = "") -> None:
        self.rows.logs.append(OrderLog(order_id=order_id, action=action, actor=actor, note=note, at=at))

    def _move(
        self, lines: list[tuple[Sku, int]], order_id: int, at: datetime, reason: str, hand: int, reserved: int
    ) -> None:
        for sku, quantity in lines:
            cause = f"order:{order_id}:{reason}"
            self.stock.append(
                StockChange(at, sku.pk, hand * quantity, reserved * quantity, cause, reason, order_id)
            )

    def _figures(self) -> list[MemberStats]:
        """MemberStats as the facts say."""
        figures = {member.pk: MemberStats(member_id=member.pk) for member in self.rows.members}
        for fact in self.rows.facts:
            row = figures[fact.member_id]
            if fact.kind == Activity.PAID:
                row.orders_count += 1
                row.paid_fen += fact.amount_fen
                row.first_paid_at = min(row.first_paid_at or fact.at, fact.at)
                row.last_paid_at = max(row.last_paid_at or fact.at, fact.at)
            elif fact.kind == Activity.REFUNDED:
                row.refunded_fen += fact.amount_fen
            elif fact.kind == Activity.VISITED:
                row.visits_count += 1
                row.last_visit_at = max(row.last_visit_at or fact.at, fact.at)
            if fact.kind in Activity.OWN_DOING:
                row.last_active_at = max(row.last_active_at or fact.at, fact.at)
        for consent in self.rows.consents:
            row = figures[consent.member_id]
            row.marketing_consent, row.consent_at = consent.is_given, consent.at
        return list(figures.values())

    def _write_stock(self) -> None:
        """Goods came in a year ago and every change since has its movement; the stores got some, too."""
        by_sku: dict[int, list[StockChange]] = defaultdict(list)
        for change in self.stock:
            by_sku[change.sku_id].append(change)
        stocks, movements = [], []
        stock_ids = iter(take_numbers(Stock, len(self.skus) * 4))
        for sku in self.skus:
            changes = sorted(by_sku[sku.pk], key=lambda change: change.at)
            taken = -sum(change.on_hand for change in changes) + sum(
                change.reserved for change in changes if change.on_hand == 0
            )
            came_in = taken + self.chance.choice((0, 8, 24, 40, 60, 90))
            for code, amount in (("warehouse", came_in), ("xintiandi", 6), ("taikooli", 4), ("hubin", 4)):
                stock = Stock(pk=next(stock_ids), sku=sku, store=self.stores[code])
                begin = StockChange(
                    self.begin - timedelta(days=1), sku.pk, amount, 0, "demo:receive", "receive"
                )
                for change in [begin, *(changes if code == "warehouse" else [])]:
                    if change.on_hand == change.reserved == 0:
                        continue
                    stock.on_hand += change.on_hand
                    stock.reserved += change.reserved
                    movements.append(
                        StockMovement(
                            stock_id=stock.pk,
                            reason=change.reason,
                            on_hand_change=change.on_hand,
                            reserved_change=change.reserved,
                            on_hand_after=stock.on_hand,
                            reserved_after=stock.reserved,
                            cause=change.cause,
                            actor="system",
                            order_id=change.order_id,
                            moved_at=change.at,
                        )
                    )
                stocks.append(stock)
        copy_rows(stocks)
        copy_rows(movements)
