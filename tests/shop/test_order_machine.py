"""Shoppers, operators, time and WeChat Pay do what they like, in any order: the books are right afterwards.

What WeChat took is kept by the sandbox, which knows nothing of ours: in the end every fen that it took is either an
order's or on its way back, and the audit of everything that we hold finds nothing.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from core import clock
from core.audits import run_audit
from core.errors import Refusal
from shop import services
from shop.models import Order, Payment, Refund, Stock
from tests.shop import builders

WHICH = st.integers(0, 40)
"""One of the orders so far, counted round."""


class Shop(RuleBasedStateMachine):
    """Two buyers, three SKUs of few pieces; their orders and opened payment sheets are remembered."""

    platform: Any
    buyers: list[dict[str, Any]]
    skus: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.late = timedelta()
        self.orders: list[tuple[int, int]] = []  # order, buyer
        self.sheets: dict[int, list[dict[str, Any]]] = {}
        self.platform.post("clock", offset_seconds=0)

    def attempt(self, command: Any, **arguments: Any) -> Any:
        """A command that may refuse, at the machine's moment."""
        with clock.travel(self.late):
            try:
                return command(**arguments)
            except Refusal:
                return None

    def one(self, which: int) -> tuple[int, int] | None:
        return self.orders[which % len(self.orders)] if self.orders else None

    # Shoppers

    @initialize()
    def three_want_to_pay(self) -> None:
        """What begins with money under way finds more than what begins with an empty shop."""
        for number in range(3):
            self.order(number % 2, number, 2, 1)
            self.pay(number, 0)

    @rule(buyer=st.integers(0, 1), sku=st.integers(0, 2), other=st.integers(0, 2), quantity=st.integers(1, 3))
    def order(self, buyer: int, sku: int, other: int, quantity: int) -> None:
        for _tap in range(2):  # the second tap of a nervous finger
            made = self.attempt(
                services.place_order,
                member_id=self.buyers[buyer]["member"].pk,
                lines=[(self.skus[sku].pk, quantity), (self.skus[other].pk, 1)],
                address=builders.ADDRESS,
                idempotency_key=f"machine-{len(self.orders)}-{buyer}",
            )
        if made is not None and (made.pk, buyer) not in self.orders:
            self.orders.append((made.pk, buyer))

    @rule(which=WHICH)
    def open_sheet(self, which: int) -> None:
        if found := self.one(which):
            order, buyer = found
            sheet = self.attempt(
                services.start_payment, order_id=order, member_id=self.buyers[buyer]["member"].pk
            )
            if sheet is not None:
                self.sheets.setdefault(order, []).append(sheet)

    @rule(which=WHICH, sheet=st.integers(0, 3))
    def pay(self, which: int, sheet: int) -> None:
        """Through any sheet that was ever opened for the order, also an old one; opens one when there is none."""
        found = self.one(which)
        if found and not self.sheets.get(found[0]):
            self.open_sheet(which)
        if found and self.sheets.get(found[0]):
            sheets = self.sheets[found[0]]
            self.platform.act(self.buyers[found[1]]["person"], "pay", **sheets[sheet % len(sheets)])

    @rule(which=WHICH)
    def pay_and_be_noticed(self, which: int) -> None:
        self.pay(which, 0)
        self.notice(which, 1)

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        if found := self.one(which):
            buyer = self.buyers[found[1]]["member"].pk
            self.attempt(services.cancel_order, order_id=found[0], member_id=buyer, reason="不想要了")

    @rule(which=WHICH)
    def return_from_sheet(self, which: int) -> None:
        if found := self.one(which):
            self.attempt(services.check_payment, order_id=found[0])

    @rule(which=WHICH)
    def confirm_receipt(self, which: int) -> None:
        if found := self.one(which):
            buyer = self.buyers[found[1]]["member"].pk
            self.attempt(services.confirm_receipt, order_id=found[0], member_id=buyer)

    # WeChat Pay

    def taken(self) -> dict[str, dict[str, Any]]:
        """What the platform took money for, by our numbers of this round."""
        ours = set(Payment.objects.values_list("out_trade_no", flat=True))
        return {
            one["out_trade_no"]: one
            for one in self.platform.get("orders")
            if one["out_trade_no"] in ours and one["state"] in ("SUCCESS", "REFUND")
        }

    @rule(which=WHICH, times=st.integers(1, 3))
    def notice(self, which: int, times: int) -> None:
        """A payment's notice arrives, once or again, whenever it likes."""
        taken = list(self.taken().values())
        for _delivery in range(times if taken else 0):
            one = taken[which % len(taken)]
            self.attempt(
                services.confirm_payment,
                out_trade_no=one["out_trade_no"],
                transaction_id=one["transaction_id"],
                paid_fen=one["total"],
            )

    # The shop

    @rule(minutes=st.sampled_from((1, 6, 31)))
    def time_passes(self, minutes: int) -> None:
        self.late += timedelta(minutes=minutes)
        self.platform.post("clock", offset_seconds=self.late.total_seconds())

    @rule()
    def beat(self) -> None:
        for job in (services.expire_orders, services.query_lost_payments, services.send_refunds):
            self.attempt(job)

    @rule(which=WHICH)
    def ship(self, which: int) -> None:
        if found := self.one(which):
            self.attempt(services.check_payment, order_id=found[0])
            self.attempt(
                services.ship_order, order_id=found[0], carrier="顺丰", tracking_number=f"SF{found[0]}"
            )

    @rule(which=WHICH)
    def refund(self, which: int) -> None:
        if found := self.one(which):
            self.attempt(services.refund_order, order_id=found[0], reason="缺货", by="小运")

    # The end

    def teardown(self) -> None:
        try:
            for _round in range(6):
                self.time_passes(200)
                self.beat()
            for which in range(len(self.taken())):
                self.notice(which, 2)
            self.time_passes(200)
            self.beat()
            self.books_are_right()
        finally:
            transaction.savepoint_rollback(self.savepoint)

    def books_are_right(self) -> None:
        with clock.travel(self.late):
            assert run_audit()[1] == []
        assert not Order.objects.filter(status=Order.PENDING_PAYMENT).exists()
        assert not Payment.objects.filter(status__in=[Payment.OPEN, Payment.MISMATCH]).exists()
        assert not Payment.objects.exclude(difference="").exists()
        booked = {
            (one.out_trade_no, one.transaction_id, one.paid_fen)
            for one in Payment.objects.filter(status=Payment.PAID)
        }
        assert booked == {
            (number, one["transaction_id"], one["total"]) for number, one in self.taken().items()
        }
        for order in Order.objects.all():
            kept = sum(one.paid_fen for one in order.payments.filter(status=Payment.PAID))
            kept -= sum(one.amount_fen for one in order.refunds.filter(status=Refund.SUCCESS))
            wanted = {Order.CANCELLED: 0, Order.REFUNDED: 0}.get(order.status, order.total_fen)
            assert kept == wanted - (order.refunded_fen if wanted else 0), (order.number, order.status)
        for stock in Stock.objects.all():
            assert 0 <= stock.reserved <= stock.on_hand


@pytest.mark.django_db
def test_the_books_are_right_whatever_happens(platform: Any) -> None:
    people = [platform.person() for _ in range(2)]
    appid = builders.official_account().appid
    Shop.platform = platform
    Shop.buyers = [
        {"person": person, "member": builders.member(openid=person["openids"][appid])} for person in people
    ]
    Shop.skus = [builders.sku(stock=pieces, price_fen=100 * pieces + 1) for pieces in (3, 5, 8)]
    run_state_machine_as_test(
        Shop,
        settings=settings(
            max_examples=8,
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
