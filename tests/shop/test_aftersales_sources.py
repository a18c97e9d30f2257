"""An order paid from everything at once goes back to everything, in parts and exactly."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_audit
from shop import aftersales_rules as rules
from shop import services
from shop.models import CouponGrant, OrderLine, Refund
from tests.shop import builders, instruments
from tests.shop.test_aftersales import applied, money_is_back
from tests.shop.test_presale import IN_WINDOW, ordered, presale
from tests.shop.test_tenders import a_card, arranged, balances, rich

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(monkeypatch: Any) -> Any:
    """Three pieces at ¥99: ¥10 off by coupon, ¥3 by points; ¥60 stored value, ¥30 gift card, ¥194 at WeChat."""
    buyer = rich(principal_fen=5_000, bonus_fen=2_000)
    instruments.give_points(buyer, 1_000)
    coupon = instruments.coupon()
    grant = services.grant_coupon(coupon_id=coupon.pk, member_id=buyer.pk, key="test:1")
    instruments.quote_with(monkeypatch, coupons=(grant.pk,), points=300)
    order = builders.order(buyer, (builders.sku(price_fen=9_900), 3))
    card = services.bind_gift_card(member_id=buyer.pk, code=a_card(buyer))
    made = arranged(order, stored_value_fen=6_000, gift_card_id=card.pk)
    builders.confirm(made.payment)
    order.refresh_from_db()
    assert (order.status, order.total_fen, made.payment.amount_fen) == ("paid", 28_400, 19_400)
    return order, buyer, grant


def sums(order: Any) -> dict[str, int]:
    back: dict[str, int] = {}
    for kind, amount in Refund.objects.filter(order=order, status="success").values_list(
        "payment__kind", "amount_fen"
    ):
        back[kind] = back.get(kind, 0) + amount
    return back


def test_parts_go_back_to_wechat_first_then_to_stored_value_and_the_card(paid: Any) -> None:
    order, buyer, grant = paid
    line = OrderLine.objects.get(order=order)
    for _piece in range(2):
        services.refund_lines(order_id=order.pk, parts=[(line.pk, 1)], reason="缺货", by="小运")
        money_is_back()
    assert sums(order) == {"jsapi": 9_466 + 9_467}
    assert instruments.points_of(buyer) == (900, 0)
    assert CouponGrant.objects.get(pk=grant.pk).state == "used"
    assert run_audit()[1] == []
    services.refund_order(order_id=order.pk, reason="都不要了", by="小运")
    order.refresh_from_db()
    assert order.status == "paid"  # the shop's own part is back, WeChat's is on its way
    assert balances(buyer) == (5_000, 2_000, 0)
    money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == ("refunded", 28_400)
    assert sums(order) == {"jsapi": 19_400, "stored_value": 6_000, "gift_card": 3_000}
    assert instruments.points_of(buyer) == (1_000, 0)
    assert CouponGrant.objects.get(pk=grant.pk).state in ("held", "used")  # by the coupon's own rule
    assert run_audit()[1] == []


def test_the_desk_says_how_much_goes_back_to_all_sources_together(paid: Any, client: Client) -> None:
    client.force_login(User.objects.create_superuser("yunying"))
    refund = reverse("admin:shop_order_refund", args=[paid[0].pk])
    client.post(refund, {"_form_submitted": "on", "reason": "都不要了"}, HTTP_HX_REQUEST="true")
    assert "¥284.00 正在退回" in client.get(reverse("admin:index")).content.decode()


def test_an_application_over_several_sources_ends_when_the_last_money_is_back(paid: Any) -> None:
    order, _buyer, _grant = paid
    line = OrderLine.objects.get(order=order)
    aftersale = applied(order, rules.REFUND_ONLY, (line, 3))
    made = services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
    assert (made.status, made.amount_fen, Refund.objects.count()) == ("refunding", 28_400, 3)
    assert run_audit()[1] == []
    money_is_back()
    aftersale.refresh_from_db()
    order.refresh_from_db()
    assert (aftersale.status, order.status) == ("refunded", "refunded")
    assert run_audit()[1] == []


def test_an_application_over_two_payments_waits_for_both_and_asks_again_for_the_one_that_was_refused() -> (
    None
):
    buyer = builders.member()
    sku, _offer = presale()
    order = ordered(buyer, sku, 2)
    builders.confirm(builders.payment(order), "42-deposit")
    with clock.travel(IN_WINDOW):
        builders.confirm(builders.payment(order), "42-balance")
        aftersale = applied(order, rules.REFUND_ONLY, (OrderLine.objects.get(order=order), 2))
        services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
        refused, other = Refund.objects.order_by("pk")

        def state() -> tuple[str, list[Any]]:
            aftersale.refresh_from_db()
            return aftersale.status, run_audit()[1]

        money_is_back(refused, status="CLOSED")
        assert state() == ("refunding", [])  # the other is under way
        money_is_back(other)
        assert state() == ("approved", [])
        again = services.repeat_refund(refund_id=refused.pk, by="小运")
        assert state() == ("refunding", [])
        assert services.pay_back(aftersale_id=aftersale.pk, by="小运").status == "refunding"
        money_is_back(again)
        assert state() == ("refunded", [])
        order.refresh_from_db()
        assert (order.status, order.refunded_fen, Refund.objects.count()) == ("refunded", 49_800, 3)


def test_an_order_paid_from_the_balance_alone_is_back_at_once() -> None:
    buyer = rich(principal_fen=9_900, bonus_fen=0)
    order = builders.order(buyer, (builders.sku(price_fen=9_900), 1))
    services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=9_900)
    order.refresh_from_db()
    aftersale = applied(order, rules.REFUND_ONLY, (OrderLine.objects.get(order=order), 1))
    assert services.approve_aftersale(aftersale_id=aftersale.pk, by="小运").status == "refunded"
    order.refresh_from_db()
    assert (order.status, balances(buyer)) == ("refunded", (9_900, 0, 0))
    assert run_audit()[1] == []


def test_a_new_price_sets_free_what_was_held_for_the_old_one() -> None:
    buyer = rich()
    order = builders.order(buyer, (builders.sku(price_fen=9_900), 1))
    made = arranged(order, stored_value_fen=6_000)
    made.payment.status = "closed"  # as WeChat was told to
    made.payment.save(update_fields=["status"])
    services.change_price(order_id=order.pk, goods_fen=5_000, shipping_fen=0, reason="老客户", by="小运")
    assert balances(buyer) == (5_000, 2_000, 0)
    assert arranged(order, stored_value_fen=4_000).payment.amount_fen == 1_000
    assert run_audit()[1] == []
