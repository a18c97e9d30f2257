"""Shoppers, operators, stores, time and WeChat Pay do what they like, in any order: the books are right afterwards.

What WeChat took and gave back is kept by `tests.shop.bank`, which knows nothing of the shop's tables. Notices and
events wait in the outbox and are delivered in any order, also twice. The audit looks on after every few steps, and in
the end every fen that the bank took is an order's or went back, and every point, coupon and piece is where it belongs.

`POND_MACHINE=200` runs two hundred lives of eighty steps instead of a few short ones, with other lives in each run.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core import clock, events, ledger
from core.audits import check_names, run_check
from core.errors import Refusal
from core.models import EventDelivery
from crm.models import PointsRules
from crm.services import prepare_months_ahead
from shop import aftersales_rules, services
from shop.models import (
    AfterSale,
    CouponGrant,
    Fulfilment,
    Offer,
    Order,
    OrderLine,
    Payment,
    PointsPolicy,
    Refund,
    Stock,
    Transfer,
)
from shop.pricing.types import Choices
from tests.shop import builders, instruments, stores
from tests.shop.bank import ABNORMAL, CLOSED, PAID, PROCESSING, Bank
from wechat.events import PaymentNotified, RefundNotified

LIVES = int(os.environ.get("POND_MACHINE", "0"))
STEPS = 80 if LIVES else 40
LOOKS_EVERY = 14
POINTS = 3_000
STORED_FEN = 9_000

WHICH = st.integers(0, 29)
"""One of what there is, counted round."""
HOW = st.integers(0, 11)
ACTIONS = [
    *["buy", "order", "notify", "ship", "go_on", "settle_with_her", "give_back_and_send"] * 3,
    *[
        "start_paying",
        "pay",
        "deliver",
        "wechat_lags",
        "tell_refund",
        "hand_over",
        "refund_some",
        "beat",
        "time_passes",
    ]
    * 2,
    *("cancel", "return_from_sheet", "confirm_receipt", "tell_a_wrong_amount", "wechat_is_away", "reroute"),
    *("transfer", "count_stock", "refund_all", "ask_once_more", "change_price", "change_address", "apply"),
]


class Shop(RuleBasedStateMachine):
    """Two buyers with coupons, points, stored value and a card; three SKUs in two stores, one of them on offer.

    A step is what happens (a word of ACTIONS), to which of the rows there are, and how: every command reads its
    choices out of these two numbers. One rule for all keeps them equally likely; Hypothesis would switch most of many
    rules off in each life.
    """

    bank: Bank
    buyers: list[Any]
    skus: list[Any]
    stores: list[Any]
    cards: list[int]
    checks: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.late = timedelta()
        self.steps = 0
        self.lied_about: set[str] = set()
        self.bank.forget()

    def attempt(self, command: Callable[..., Any], **arguments: Any) -> Any:
        """A command that may refuse, at the machine's moment."""
        with clock.travel(self.late):
            try:
                return command(**arguments)
            except Refusal:
                return None

    def one(self, rows: QuerySet[Any], which: int) -> Any:
        found = list(rows.order_by("pk"))
        return found[which % len(found)] if found else None

    @initialize(which=WHICH, how=HOW)
    def some_are_under_way(self, which: int, how: int) -> None:
        """What begins with money and goods under way finds more than what begins with an empty shop: four orders,
        the last two paid, the last one sent off or lying ready.
        """
        for number in range(4):
            self.order(which + number, how + 5 * number)
            self.start_paying(number, how + number)
        for number in (2, 3):
            self.pay(number, 0)
            if which % 3 == number % 2:
                self.tell_a_wrong_amount(0, how)
                self.deliver(0, 11)
            self.notify(0, number)
        self.deliver(0, 11)
        self.ship(1, how)
        self.hand_over(1, how)

    @rule(what=st.sampled_from(ACTIONS), which=WHICH, how=HOW)
    def something_happens(self, what: str, which: int, how: int) -> None:
        getattr(self, what)(which, how)

    @rule(what=st.sampled_from(ACTIONS), which=WHICH, how=HOW)
    def something_else_happens(self, what: str, which: int, how: int) -> None:
        getattr(self, what)(which, how)

    # --- Shoppers

    def order(self, which: int, how: int) -> None:
        """A cart of two lines by one of the buyers: `how` says with which coupon, with points, and where to."""
        member, (sku, other) = self.buyers[which % 2], (which % 3, which // 3 % 3)
        held = self.one(CouponGrant.objects.filter(member=member, state="held"), which)
        chosen: tuple[int, ...] | None = () if held is None or how % 3 == 0 else (held.pk,)
        is_collected = how % 4 == 3
        choices = Choices(
            coupon_ids=None if how % 3 == 2 else chosen,
            points=200 if how % 2 else 0,
            delivery="pickup" if is_collected else "ship",
            pickup_store_id=self.stores[1] if is_collected else None,
        )
        for _tap in range(2):  # the second tap of a nervous finger
            self.attempt(
                services.place_order,
                member_id=member.pk,
                lines=[(self.skus[sku].pk, 1 + how % 3), (self.skus[other].pk, 1)],
                address=builders.ADDRESS,
                idempotency_key=f"machine-{which}-{self.steps}",
                choices=choices,
            )

    def buy(self, which: int, how: int) -> None:
        """All the way to the paid order."""
        self.order(which, how)
        latest = Order.objects.order_by("-pk")[:1].values("pk")
        for order in Order.objects.filter(pk__in=latest, status=Order.PENDING_PAYMENT):
            self.attempt(services.start_payment, order_id=order.pk, member_id=order.member_id)
            self.pay(0, 0)
            self.notify(0, how)
        self.deliver(0, 11)

    def start_paying(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(status=Order.PENDING_PAYMENT), which):
            buyer = [one.pk for one in self.buyers].index(order.member_id)
            self.attempt(
                services.start_payment,
                order_id=order.pk,
                member_id=order.member_id,
                stored_value_fen=1_500 * (how % 3),
                gift_card_id=self.cards[buyer] if how % 4 == 1 else None,
            )

    def pay(self, which: int, how: int) -> None:
        """Through any sheet that was ever opened, also one of an order that has ended since."""
        if sheets := list(self.bank.sheets):
            self.bank.pay(sheets[-1 - which % len(sheets)])

    def cancel(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(status=Order.PENDING_PAYMENT), which):
            self.attempt(
                services.cancel_order, order_id=order.pk, member_id=order.member_id, reason="不想要了"
            )

    def return_from_sheet(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.all(), which):
            self.attempt(services.check_payment, order_id=order.pk)

    def confirm_receipt(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(status__in=[Order.SHIPPED, Order.PAID]), which):
            self.attempt(services.confirm_receipt, order_id=order.pk, member_id=order.member_id)

    # --- WeChat Pay

    def notify(self, which: int, how: int) -> None:
        """A payment's notice comes, up to three times, whenever it likes; it waits in the outbox."""
        if taken := list(self.bank.taken):
            number = taken[-1 - which % len(taken)]
            for _delivery in range(1 + how % 3):
                self._tell_payment(number, self.bank.sheets[number].amount_fen)

    def tell_a_wrong_amount(self, which: int, how: int) -> None:
        if taken := list(self.bank.taken):
            number = taken[-1 - which % len(taken)]
            self.lied_about.add(number)
            self._tell_payment(number, (1, 10_000_000, -1)[how % 3])

    def _tell_payment(self, number: str, paid_fen: int) -> None:
        with clock.travel(self.late), transaction.atomic():
            events.publish(
                PaymentNotified(
                    account_id=builders.pay_account().pk,
                    out_trade_no=number,
                    transaction_id=self.bank.sheets[number].transaction_id,
                    trade_state="SUCCESS",
                    paid_fen=paid_fen,
                    openid="o",
                    success_at=clock.now(),
                    at=clock.now(),
                )
            )

    def tell_refund(self, which: int, how: int) -> None:
        """A refund succeeds, hangs at the bank or is refused; the notice comes up to three times."""
        self.attempt(services.send_refunds)
        if numbers := list(self.bank.returned):
            number = numbers[-1 - which % len(numbers)]
            self.bank.settle(number, (PAID, PAID, PAID, ABNORMAL, CLOSED)[how % 5])
            for _delivery in range(1 + how % 3):
                self._tell_refund(number)

    def _tell_refund(self, number: str) -> None:
        back = self.bank.returned[number]
        with clock.travel(self.late), transaction.atomic():
            events.publish(
                RefundNotified(
                    account_id=builders.pay_account().pk,
                    out_trade_no="",
                    out_refund_no=number,
                    refund_id=f"5{number}",
                    status=back.state,
                    refund_fen=back.amount_fen,
                    at=clock.now(),
                )
            )

    def wechat_is_away(self, which: int, how: int) -> None:
        """While something asks it."""
        self.bank.is_away = True
        (self.beat, self.cancel, self.start_paying, self.change_price)[how % 4](which, how)
        self.bank.is_away = False

    def wechat_lags(self, which: int, how: int) -> None:
        """Somebody has just paid, and WeChat does not know it yet when it is asked: the money comes late, or twice."""
        order = self.one(Order.objects.filter(status=Order.PENDING_PAYMENT), which)
        if order is None:
            return
        self.start_paying(which, how)
        payment = order.payments.filter(status=Payment.OPEN, kind__in=Payment.WECHAT).first()
        if payment is None:
            return
        self.bank.pay(payment.out_trade_no)
        self.bank.lags = True
        if how % 2:
            self.late += timedelta(minutes=31)
            self.beat(which, how)
        else:
            (self.cancel, self.start_paying, self.change_price)[how // 2 % 3](which, how + 1)
        if how % 4 == 2:
            self.start_paying(which, how + 1)
            for sheet in list(self.bank.sheets)[-1:]:
                self.bank.pay(sheet)
        self.bank.lags = False

    # --- The outbox and the clock

    def deliver(self, which: int, how: int) -> None:
        """Some of what waits, in any order."""
        pending = EventDelivery.objects.filter(status=EventDelivery.PENDING)
        waiting = list(pending.order_by("pk").values_list("pk", flat=True))
        for turn in range(min(1 + how, len(waiting))):
            pk = waiting[(which * (turn + 1) + turn) % len(waiting)]
            with clock.travel(self.late):
                first = clock.now() - timedelta(days=900)
                if pending.filter(pk=pk).update(attempts=0, next_attempt_at=first):
                    events.deliver_due(limit=1)

    def time_passes(self, which: int, how: int) -> None:
        self.late += timedelta(minutes=(1, 6, 31, 60 * 24 * 11)[how % 4])

    def beat(self, which: int, how: int) -> None:
        for job in (
            services.expire_orders,
            services.query_lost_payments,
            services.send_refunds,
            services.receive_due_orders,
            services.settle_due_aftersales,
            services.settle_uncollected,
            services.ask_for_reviews,
        ):
            self.attempt(job)

    # --- Stores

    def ship(self, which: int, how: int) -> None:
        if part := self.one(Fulfilment.objects.filter(kind="ship"), which):
            self.attempt(
                services.ship_order,
                order_id=part.order_id,
                store_id=part.store_id if how % 2 else None,
                carrier="顺丰速运",
                tracking_number=f"SF{part.order_id}-{how % 3}",
            )

    def give_back_and_send(self, which: int, how: int) -> None:
        """A piece of a paid order is paid back, at once or later, and what is left of it goes out."""
        order = self.one(Order.objects.filter(status=Order.PAID), which)
        if order is None:
            return
        line = self.one(OrderLine.objects.filter(order=order), how)
        refunds = self.attempt(
            services.refund_lines, order_id=order.pk, parts=[(line.pk, 1)], reason="缺一件", by="小运"
        )
        for refund in refunds or ():
            if how % 3 and refund.status == Refund.PENDING:
                self.attempt(services.send_refunds)
                self.bank.settle(refund.out_refund_no, CLOSED if which % 4 == 1 else PAID)
                if refund.out_refund_no in self.bank.returned:
                    self._tell_refund(refund.out_refund_no)
        if how % 3:
            self.deliver(0, 11)
        for part in order.fulfilments.all():
            self.attempt(services.redeem_pickup, code=part.code, store_id=part.store_id, by="李娜")
        self.attempt(
            services.ship_order, order_id=order.pk, carrier="顺丰速运", tracking_number=f"SF{order.pk}"
        )

    def reroute(self, which: int, how: int) -> None:
        if part := self.one(Fulfilment.objects.filter(state__in=["waiting", "cancelled"]), which):
            self.attempt(services.reroute_fulfilment, fulfilment_id=part.pk, reason="架上没有", by="李娜")

    def hand_over(self, which: int, how: int) -> None:
        if part := self.one(Fulfilment.objects.filter(kind="pickup"), which):
            if how % 3 == 0:
                self.attempt(services.mark_ready, fulfilment_id=part.pk)
            for _tap in range(how % 3):
                self.attempt(services.redeem_pickup, code=part.code, store_id=part.store_id, by="李娜")

    def transfer(self, which: int, how: int) -> None:
        """A new one is made and sent; or the next step of one that is under way, or that step again."""
        made = self.one(Transfer.objects.all(), which)
        if how % 3 == 0 or made is None:
            sender, receiver = self.stores if which % 2 else reversed(self.stores)
            lines = [(self.skus[which % 3].pk, how % 3 + 1)]
            made = services.create_transfer(sender_id=sender, receiver_id=receiver, lines=lines)
        for _tap in range(1 + which % 2):
            self.attempt(
                services.receive_transfer if how % 3 == 2 else services.send_transfer, transfer_id=made.pk
            )

    def count_stock(self, which: int, how: int) -> None:
        """One SKU is counted, which may be fewer than orders have reserved, and booked once or twice."""
        with clock.travel(self.late):
            round_ = services.open_stocktake(store_id=self.stores[which % 2])
            services.count_skus(stocktake_id=round_.pk, counts=[(self.skus[which % 3].pk, how)])
        for _turn in range(1 + which % 2):
            self.attempt(services.book_stocktake, stocktake_id=round_.pk)

    # --- Staff

    def refund_all(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(paid_fen__gt=0), which):
            self.attempt(services.refund_order, order_id=order.pk, reason="缺货", by="小运")

    def refund_some(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(paid_fen__gt=0), which):
            rows = OrderLine.objects.filter(order=order)
            self.attempt(
                services.refund_lines,
                order_id=order.pk,
                parts=[(self.one(rows, how).pk, 1 + how % 2)],
                shipping_fen=200 if how == 7 else 0,
                reason="破损",
                by="小运",
            )

    def ask_once_more(self, which: int, how: int) -> None:
        if refund := self.one(Refund.objects.filter(status=Refund.CLOSED), which):
            self.attempt(services.repeat_refund, refund_id=refund.pk, by="小运")

    def change_price(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(status=Order.PENDING_PAYMENT), which):
            self.attempt(
                services.change_price,
                order_id=order.pk,
                goods_fen=max(order.items_fen - order.discount_fen - 333 * how, 0),
                shipping_fen=500 * (how % 2),
                reason="老客户",
                by="小运",
            )

    def change_address(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.all(), which):
            self.attempt(services.change_address, order_id=order.pk, address=builders.ADDRESS, by="小运")

    # --- After-sales

    def apply(self, which: int, how: int) -> None:
        if order := self.one(Order.objects.filter(paid_fen__gt=0), which):
            self.attempt(
                services.apply_for_aftersale,
                order_id=order.pk,
                member_id=order.member_id,
                kind=aftersales_rules.KINDS[how % 4],
                parts=[(self.one(OrderLine.objects.filter(order=order), how).pk, 1 + how % 2)],
                reason="尺码不合适",
                idempotency_key=f"machine-{self.steps}",
            )

    def go_on(self, which: int, how: int) -> None:
        if one := self.one(AfterSale.objects.all(), which):
            self._step(one, how % 8, which)

    def settle_with_her(self, which: int, how: int) -> None:
        """An after-sale and most of its steps at one go, each of them once or twice."""
        order = self.one(Order.objects.filter(status__in=[Order.SHIPPED, Order.RECEIVED]), which)
        before = set(AfterSale.objects.values_list("pk", flat=True))
        if order is not None:
            kinds = (*aftersales_rules.WITH_RETURN, *aftersales_rules.KINDS)
            line = self.one(OrderLine.objects.filter(order=order), how)
            self.attempt(
                services.apply_for_aftersale,
                order_id=order.pk,
                member_id=order.member_id,
                kind=kinds[how % 6],
                parts=[(line.pk, 1)],
                reason="尺码不合适",
                idempotency_key=f"machine-{self.steps}",
            )
        for one in AfterSale.objects.exclude(pk__in=before):
            for step in ((1, 2, 3, 4), (1, 5, 2, 5), (1, 2, 3, 3), (1, 6), (1, 2, 3, 7))[which % 5]:
                for _tap in range(1 + which % 2):
                    self._step(one, step, which)

    def _step(self, one: AfterSale, step: int, which: int) -> None:
        parcel = {"carrier": "中通快递", "tracking_number": "ZT1"}
        member_id = one.order.member_id
        command, values = (
            (services.approve_aftersale, {"by": "小运"}),
            (services.approve_aftersale, {"by": "小运"}),
            (services.send_back, {"member_id": member_id, **parcel}),
            (services.receive_return, {"by": "仓库", "is_sellable": which % 2 == 0}),
            (services.ship_exchange, {"by": "仓库", **parcel}),
            (services.refuse_aftersale, {"by": "小运", "reason": "不符"}),
            (services.cancel_aftersale, {"member_id": member_id}),
            (services.refund_instead, {"by": "小运", "answer": "缺货"}),
        )[step]
        self.attempt(command, aftersale_id=one.pk, **values)

    # --- Looking on, and the end

    @invariant()
    def the_audit_is_clean(self) -> None:
        self.steps += 1
        if self.steps % LOOKS_EVERY == 0:
            self.look()

    def look(self) -> None:
        with clock.travel(self.late):
            assert [finding for name in self.checks for finding in run_check(name)] == []
        released = Payment.objects.filter(status=Payment.OPEN, order__status=Order.CANCELLED)
        assert not released.exists(), "goods were released while WeChat could still take money for them"

    def teardown(self) -> None:
        try:
            self.everything_comes_to_its_end()
            self.look()
            self.books_are_right()
        finally:
            transaction.savepoint_rollback(self.savepoint)

    def everything_comes_to_its_end(self) -> None:
        """WeChat is there again and says everything once more; staff asks anew for what it refused."""
        self.bank.is_away = False
        for number, sheet in self.bank.taken.items():
            self._tell_payment(number, sheet.amount_fen)
        for _round in range(4):
            self.late += timedelta(minutes=200)
            self.drain()
            self.beat(0, 0)
            for refund in Refund.objects.filter(status=Refund.CLOSED):
                self.attempt(services.repeat_refund, refund_id=refund.pk, by="小运")
            self.attempt(services.send_refunds)
            for number, back in self.bank.returned.items():
                if back.state in (PROCESSING, ABNORMAL):
                    self.bank.settle(number, PAID)
                    self._tell_refund(number)

    def drain(self) -> None:
        EventDelivery.objects.filter(status=EventDelivery.PENDING).update(next_attempt_at=clock.now())
        with clock.travel(self.late):
            events.deliver_due(limit=1_000)
        failed = EventDelivery.objects.exclude(status=EventDelivery.DONE)
        assert list(failed.values_list("handler", "last_error")) == []

    def books_are_right(self) -> None:
        assert not Order.objects.filter(status=Order.PENDING_PAYMENT).exists()
        assert not Payment.objects.filter(status__in=[Payment.OPEN, Payment.MISMATCH]).exists()
        odd = Payment.objects.exclude(difference="").values_list("out_trade_no", flat=True)
        assert set(odd) <= self.lied_about
        at_wechat = Payment.objects.filter(status=Payment.PAID, kind__in=Payment.WECHAT)
        assert set(at_wechat.values_list("out_trade_no", "transaction_id", "paid_fen")) == {
            (number, sheet.transaction_id, sheet.amount_fen) for number, sheet in self.bank.taken.items()
        }
        back = Refund.objects.filter(
            status=Refund.SUCCESS, amount_fen__gt=0, payment__kind__in=Payment.WECHAT
        )
        assert set(back.values_list("out_refund_no", "amount_fen")) == {
            (number, one.amount_fen) for number, one in self.bank.returned.items() if one.state == PAID
        }
        for order in Order.objects.all():
            kept = sum(one.paid_fen for one in order.payments.filter(status=Payment.PAID))
            kept -= sum(one.amount_fen for one in order.refunds.filter(status=Refund.SUCCESS))
            is_dead = order.status in (Order.CANCELLED, Order.REFUNDED)
            assert kept == (0 if is_dead else order.total_fen - order.refunded_fen), (
                order.number,
                order.status,
            )
        for buyer in self.buyers:
            self.value_is_right(buyer)
        assert not Stock.objects.filter(Q(reserved__lt=0) | Q(on_hand__lt=F("reserved"))).exists()
        assert not Offer.objects.filter(taken__gt=F("quota")).exists()

    def value_is_right(self, buyer: Any) -> None:
        """Her points and stored value: what she had, less what living orders took and did not give back."""
        orders = Order.objects.filter(member=buyer).exclude(status=Order.CANCELLED)
        used = orders.aggregate(n=Sum("points_used"))["n"] or 0
        returned = orders.aggregate(n=Sum("effect_reversals__points"))["n"] or 0
        assert instruments.points_of(buyer) == (POINTS - used + returned, 0)
        spent = Payment.objects.filter(order__member=buyer, kind=Payment.STORED_VALUE, status=Payment.PAID)
        paid = spent.aggregate(n=Sum("paid_fen"))["n"] or 0
        back = Refund.objects.filter(payment__in=spent, status=Refund.SUCCESS)
        given = back.aggregate(n=Sum("amount_fen"))["n"] or 0
        assert ledger.balance_of(kind="stored_value", owner_id=buyer.pk) == STORED_FEN - paid + given


@pytest.mark.django_db
def test_the_books_are_right_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    Shop.bank = Bank()
    Shop.bank.answer_for(monkeypatch)
    builders.pay_account()
    prepare_months_ahead(3)
    PointsRules.objects.create(pk=1, freeze_days=5)
    PointsPolicy.objects.create(pk=1, fen_per_100=100, cap_bps=5_000, least=1, is_active=True)
    Shop.buyers = [builders.member() for _number in range(2)]
    Shop.skus = [builders.sku(stock=pieces, price_fen=1_000 * pieces + 1) for pieces in (6, 8, 9)]
    shop = stores.store(stores.XINTIANDI)
    for sku in Shop.skus:
        stores.lay(sku, shop, 2)
    Shop.stores = [services.warehouse_id(), shop.pk]
    instruments.offer(
        Shop.skus[0], price_fen=1_500, quota=5, per_member_limit=3, ends_at=clock.now() + timedelta(days=90)
    )
    coupon = instruments.coupon(threshold_fen=0, amount_fen=777, per_member_limit=3, valid_days=60)
    few = instruments.coupon(
        threshold_fen=0, amount_fen=500, per_member_limit=3, valid_days=60, returns_on_cancel=False
    )
    batch = services.make_gift_cards(name="卡", value_fen=2_500, count=2, idempotency_key="machine")
    codes = [card.code for card in services.export_gift_cards(batch_id=batch.pk)]
    Shop.cards = []
    for number, buyer in enumerate(Shop.buyers):
        for turn in range(2):
            for one in (coupon, few):
                services.grant_coupon(
                    coupon_id=one.pk, member_id=buyer.pk, key=f"machine-{buyer.pk}-{turn}-{one.pk}"
                )
        instruments.give_points(buyer, POINTS)
        services.credit_stored_value(
            member_id=buyer.pk, principal_fen=STORED_FEN, reason="充值", idempotency_key=f"machine-{buyer.pk}"
        )
        Shop.cards.append(services.bind_gift_card(member_id=buyer.pk, code=codes[number]).pk)
    Shop.checks = [name for name, _label in check_names() if name.startswith(("shop.", "core.", "crm."))]
    run_state_machine_as_test(
        Shop,
        settings=settings(
            max_examples=LIVES or 3,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=not LIVES,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
