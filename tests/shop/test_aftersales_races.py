"""Refund against refund, and after-sale against after-sale, from many sides at once."""

import pytest

from core.audits import run_audit
from shop import aftersales_rules as rules
from shop import services
from shop.errors import NothingToRefund
from shop.models import AfterSale, Payment, Refund
from tests.shop import test_aftersales as acts
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_five_refunds_of_three_pieces_give_three_back():
    order, first, _second = acts.shipped_order()
    results = at_once(
        *[
            lambda: services.refund_lines(order_id=order.pk, parts=[(first.pk, 1)], reason="破损", by="小运")
            for _ in range(5)
        ]
    )
    assert sum(isinstance(result, list) for result in results) == 3, results
    assert sum(isinstance(result, NothingToRefund) for result in results) == 2, results
    first.refresh_from_db()
    back = sum(Refund.objects.values_list("amount_fen", flat=True))
    assert (first.refunded_quantity, first.refunded_fen, back) == (3, first.total_fen, first.total_fen)
    assert Payment.objects.get().refunded_fen == back
    assert run_audit()[1] == []


def test_the_whole_and_a_part_at_once_never_give_back_more_than_was_paid():
    order, first, second = acts.paid_order()
    at_once(
        lambda: services.refund_order(order_id=order.pk, reason="缺货", by="小运"),
        lambda: services.refund_lines(order_id=order.pk, parts=[(first.pk, 3)], reason="缺货", by="客服"),
        lambda: services.refund_lines(order_id=order.pk, parts=[(second.pk, 1)], reason="缺货", by="店长"),
    )
    assert sum(Refund.objects.values_list("amount_fen", flat=True)) == order.paid_fen
    acts.money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == ("refunded", order.paid_fen)
    assert run_audit()[1] == []


def test_two_approvals_and_a_notice_that_comes_twice_pay_once():
    order, first, _second = acts.shipped_order()
    aftersale = acts.applied(order, rules.REFUND_ONLY, (first, 2))
    at_once(*[lambda: services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")] * 3)
    refund = Refund.objects.get()
    at_once(*[lambda: acts.money_is_back(refund)] * 3)
    order.refresh_from_db()
    assert (AfterSale.objects.get().status, order.refunded_fen) == ("refunded", refund.amount_fen)
    assert run_audit()[1] == []


def test_one_line_is_applied_for_once():
    order, first, _second = acts.shipped_order()
    results = at_once(
        *[
            lambda key=key: acts.applied(
                order, rules.RETURN_REFUND, (first, 3), idempotency_key=f"one-of-many-{key}"
            )
            for key in range(4)
        ]
    )
    assert sum(isinstance(result, AfterSale) for result in results) == 1, results
    assert AfterSale.objects.count() == 1
