"""Second guards of the money core: what each of them alone holds, with the other side held open where it is a race."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from core import clock
from core.audits import run_audit
from shop import aftersales_rules as rules
from shop import services
from shop.errors import AfterSaleRefused, NothingToRefund, WrongState
from shop.models import AfterSale, Payment, Product, Refund, Stock
from shop.pricing.types import Discount, Quote, QuotedLine
from shop.services import pricing
from shop.services.payments import Payer, Wish, arrange_payment
from shop.services.stock import Move, move_stock
from tests.databases import somebody_waits
from tests.shop import builders, instruments
from tests.shop.test_aftersales import applied, money_is_back, paid_order, shipped_order
from tests.shop.test_presale import IN_WINDOW, ordered, presale
from tests.shop.test_races import one_holds_while_other_waits
from tests.shop.test_tenders import a_card, arranged, balances, rich

STATS = "SELECT FROM crm_memberstats WHERE member_id = %s FOR UPDATE"
POINTS = "SELECT FROM core_ledgeraccount WHERE kind = 'points' AND owner_id = %s FOR UPDATE NOWAIT"


# --- The order of locks --------------------------------------------------------------------------------------------
Case = tuple[Callable[[], Any], tuple[str, int], tuple[str, int]]


def a_refund(monkeypatch: Any) -> Case:
    """Of an order with points: her numbers come before her points."""
    buyer = builders.member()
    instruments.give_points(buyer, 900)
    instruments.quote_with(monkeypatch, points=500)
    order = builders.pay(builders.order(buyer, (builders.sku(), 1)))
    services.refund_order(order_id=order.pk, reason="缺货")
    return money_is_back, (STATS, buyer.pk), (POINTS, buyer.pk)


def an_order_of_nothing(monkeypatch: Any) -> Case:
    """Points pay all of it, so it is booked at once: again her numbers before her points."""
    buyer, dress = builders.member(), builders.sku(price_fen=500)
    instruments.give_points(buyer, 900)
    instruments.quote_with(monkeypatch, points=500)
    return lambda: builders.order(buyer, (dress, 1)), (STATS, buyer.pk), (POINTS, buyer.pk)


def a_refund_to_two_sources(monkeypatch: Any) -> Case:
    """What goes to her card frees stock; her balance, which comes first, is not locked before it."""
    buyer = rich(principal_fen=5_000, bonus_fen=0)
    dress, scarf = builders.sku(price_fen=5_000), builders.sku(price_fen=3_000)
    order = builders.order(buyer, (dress, 1), (scarf, 1))
    services.start_payment(
        order_id=order.pk, member_id=buyer.pk, stored_value_fen=5_000, gift_card_code=a_card(buyer)
    )
    account = "SELECT FROM core_ledgeraccount WHERE kind = 'stored_value' AND owner_id = %s FOR UPDATE NOWAIT"
    return (
        lambda: services.refund_order(order_id=order.pk, reason="缺货"),
        ("SELECT FROM shop_stock WHERE sku_id = %s FOR UPDATE", scarf.pk),
        (account, buyer.pk),
    )


def an_order_revived(monkeypatch: Any) -> Case:
    """Late money pays it after all: her numbers before her tally."""
    buyer, dress = builders.member(), builders.sku()
    Product.objects.filter(pk=dress.product_id).update(limit_per_member=3)
    made = builders.payment(builders.order(buyer, (dress, 1)))
    builders.release(made.order)
    tally = "SELECT FROM shop_producttally WHERE member_id = %s FOR UPDATE NOWAIT"
    return lambda: builders.confirm(made), (STATS, buyer.pk), (tally, buyer.pk)


def stock_of_two(monkeypatch: Any) -> Case:
    """By SKU, wherever the rows lie."""
    first, second = builders.sku(), builders.sku()
    Stock.objects.filter(sku=first).update(safety=1)  # now it lies behind the other
    store = Stock.objects.get(sku=first).store_id
    moves = [Move(sku.pk, store, on_hand=1) for sku in (second, first)]
    locked = "SELECT FROM shop_stock WHERE sku_id = %s FOR UPDATE"
    return (
        lambda: move_stock(moves, cause="test:two", reason="receive"),
        (locked, first.pk),
        (locked + " NOWAIT", second.pk),
    )


def two_coupons(monkeypatch: Any) -> Case:
    """By key, wherever the rows lie and however they are found."""
    buyer, dress = builders.member(), builders.sku()
    first, second = (
        services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=buyer.pk, key=f"test:{number}")
        for number in range(2)
    )
    type(first).objects.filter(pk=first.pk).update(key="test:moved")
    instruments.quote_with(monkeypatch, coupons=(second.pk, first.pk))
    locked = "SELECT FROM shop_coupongrant WHERE id = %s FOR UPDATE"

    def act() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
        return builders.order(buyer, (dress, 1))

    return act, (locked, first.pk), (locked + " NOWAIT", second.pk)


def two_coupons_ended(monkeypatch: Any, *, by_time: bool = False) -> Case:
    """Taken back or expired by key, as orders use them, wherever the rows lie."""
    buyer = builders.member()
    first, second = (
        services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=buyer.pk, key=f"test:{number}")
        for number in range(2)
    )
    type(first).objects.filter(pk=first.pk).update(key="test:moved")
    locked = "SELECT FROM shop_coupongrant WHERE id = %s FOR UPDATE"

    def act() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
        if by_time:
            with clock.travel(timedelta(days=11)):
                return services.expire_coupons()
        return services.revoke_coupons(grant_ids=[second.pk, first.pk])

    return act, (locked, first.pk), (locked + " NOWAIT", second.pk)


def two_coupons_expired(monkeypatch: Any) -> Case:
    return two_coupons_ended(monkeypatch, by_time=True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "case",
    [
        *(a_refund, an_order_of_nothing, an_order_revived, a_refund_to_two_sources, stock_of_two),
        *(two_coupons, two_coupons_ended, two_coupons_expired),
    ],
)
def test_locks_are_taken_in_the_houses_order(case: Callable[[Any], Case], monkeypatch: Any) -> None:
    """Somebody holds the earlier row: who waits for it has not got the later one, or they could wait in a circle."""
    act, (hold, held), (probe, later) = case(monkeypatch)
    done: list[Any] = []

    def run() -> None:
        try:
            done.append(act())
        except Exception as error:
            done.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(hold, [held])
        thread.start()
        for _ in range(3_000):
            if somebody_waits():
                break
            threading.Event().wait(0.02)
        else:
            pytest.fail(f"it never waited: {done}")
        try:
            with transaction.atomic():
                cursor.execute(probe, [later])
            is_free = True
        except DatabaseError:
            is_free = False
    thread.join(120)
    assert not isinstance(done[0], Exception), done
    assert is_free, "the later row was locked before the earlier one"
    assert run_audit()[1] == []


# --- What only this guard holds ------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_two_split_payments_at_once_share_principal_and_bonus() -> None:
    """Who waits for the balance reads it anew: the second finds the bonus, not a principal that is gone."""
    buyer, dress = rich(principal_fen=4_000, bonus_fen=4_000), builders.sku(price_fen=5_000)
    orders = [builders.order(buyer, (dress, 1)) for _ in range(2)]
    builders.pay_account()
    results = one_holds_while_other_waits(
        *[lambda order=order: arranged(order, stored_value_fen=4_000) for order in orders]
    )
    assert [made.payment.amount_fen for made in results] == [1_000, 1_000], results
    assert balances(buyer) == (4_000, 4_000, 8_000)


@pytest.mark.django_db
def test_a_refused_refund_frees_its_money_and_nobody_gets_it_twice() -> None:
    """Two deposits, the second refused by WeChat; the shop closes the order, both go back, none once more."""
    sku, _offer = presale(keeps=False)
    order = ordered(builders.member(), sku)
    first = builders.payment(order)
    Payment.objects.filter(pk=first.pk).update(status=Payment.CLOSED)
    builders.confirm(builders.payment(order))
    builders.confirm(first)
    twice = Refund.objects.get()
    money_is_back(twice, status="CLOSED")
    first.refresh_from_db()
    assert (twice.kind, first.refunded_fen) == (Refund.DUPLICATE, 0)
    services.cancel_order(order_id=order.pk, reason="缺货", actor="小运")
    assert list(Refund.objects.filter(status="pending").values_list("amount_fen", flat=True)) == [
        5_000,
        5_000,
    ]
    with pytest.raises(WrongState) as refusal:
        services.repeat_refund(refund_id=twice.pk)
    first.refresh_from_db()
    assert (refusal.value.code, first.refunded_fen) == ("nothing_left", 5_000)
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_what_was_paid_twice_never_pays_for_the_orders_own_refund() -> None:
    """WeChat refused to return the second payment: the order's goods are paid back from the first all the same."""
    order = builders.order(builders.member(), (builders.sku(), 1))
    first = builders.payment(order)
    Payment.objects.filter(pk=first.pk).update(status=Payment.CLOSED)
    second = builders.payment(order)
    builders.confirm(second)
    builders.confirm(first)
    twice = Refund.objects.get()
    money_is_back(twice, status="CLOSED")
    assert services.refund_order(order_id=order.pk, reason="缺货").payment_id == second.pk
    assert services.retry_refunds(refund_ids=[twice.pk, twice.pk]) == 1  # the operator's button
    money_is_back()
    order.refresh_from_db()
    assert order.status == "refunded"
    assert sorted(Payment.objects.values_list("refunded_fen", flat=True)) == [9_900, 9_900]
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_a_sheet_of_the_deposit_never_takes_the_balance() -> None:
    """As much as the balance, and still open since another payment of the deposit came late."""
    sku, _offer = presale(deposit_fen=14_950, worth_fen=None)
    order = ordered(builders.member(), sku)
    first = builders.payment(order)
    Payment.objects.filter(pk=first.pk).update(status=Payment.CLOSED)
    left = builders.payment(order)
    builders.confirm(first)
    account = builders.pay_account()
    payer = Payer(account_id=account.pk, account_key=account.key, openid="o-test")
    with clock.travel(IN_WINDOW):
        assert order.member_id is not None
        made = arrange_payment(order_id=order.pk, member_id=order.member_id, wish=Wish(), payer=payer)
    assert (made.payment, made.fits) == (left, False)


@pytest.mark.django_db
def test_what_is_paid_back_is_not_sent_in_exchange_as_well() -> None:
    order, first, second = shipped_order()
    exchange = applied(order, rules.EXCHANGE, (first, 3))
    services.approve_aftersale(aftersale_id=exchange.pk, by="小运")
    services.send_back(
        aftersale_id=exchange.pk, member_id=order.member_id, carrier="顺丰", tracking_number="SF2"
    )
    services.receive_return(aftersale_id=exchange.pk, by="小运")
    for parts in ([(first.pk, 1)], [(first.pk, 3), (second.pk, 1)]):
        with pytest.raises(WrongState, match="换货"):
            services.refund_lines(order_id=order.pk, parts=parts, reason="顾客改了主意", by="店长")
    with pytest.raises(WrongState, match="申请"):
        services.pay_back(aftersale_id=exchange.pk, by="店长")
    services.refund_lines(order_id=order.pk, parts=[(second.pk, 1)], reason="破损", by="店长")
    services.ship_exchange(aftersale_id=exchange.pk, carrier="顺丰", tracking_number="SF3", by="小运")
    assert services.refund_order(order_id=order.pk, reason="还是不要").amount_fen == first.total_fen + 800


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"refund_fen": 1}, {"account_id": 10**9}])
def test_a_refund_of_another_amount_or_merchant_is_not_booked(wrong: dict[str, int]) -> None:
    order = builders.pay(builders.order(builders.member(), (builders.sku(), 1)))
    refund = services.refund_order(order_id=order.pk, reason="缺货")
    said: dict[str, Any] = {"out_refund_no": refund.out_refund_no, "refund_id": "5", "status": "SUCCESS"}
    services.confirm_refund(**{**said, "refund_fen": 9_900, **wrong})
    refund.refresh_from_db()
    order.refresh_from_db()
    assert (refund.status, bool(refund.last_error), order.refunded_fen) == ("pending", True, 0)
    services.confirm_refund(**said, refund_fen=9_900)
    order.refresh_from_db()
    assert order.status == "refunded"


@pytest.mark.django_db
@pytest.mark.parametrize("effect", ["coupon", "offer", "points"])
def test_late_money_does_not_revive_an_order_whose_effects_went_back(monkeypatch: Any, effect: str) -> None:
    buyer, dress = builders.member(), builders.sku()
    instruments.give_points(buyer, 300)
    coupon = instruments.coupon(returns_on_cancel=True)
    held = services.grant_coupon(coupon_id=coupon.pk, member_id=buyer.pk, key="test:revive")
    taken: dict[str, dict[str, Any]] = {
        "coupon": {"coupons": (held.pk,)},
        "offer": {"offers": (instruments.offer(dress),)},
        "points": {"points": 300},
    }
    instruments.quote_with(monkeypatch, **taken[effect])
    order = builders.order(buyer, (dress, 1))
    made = builders.payment(order)
    builders.release(order)
    builders.confirm(made)
    order.refresh_from_db()
    assert (order.status, Refund.objects.get().kind) == ("cancelled", Refund.LATE)
    assert (builders.stock_of(dress), instruments.points_of(buyer)) == ((10, 0), (300, 0))
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_the_balance_pays_nothing_while_a_sheet_for_it_is_open() -> None:
    """Its money may be on the way: the sheet ends first."""
    buyer = rich(principal_fen=9_900, bonus_fen=0)
    order = builders.order(buyer, (builders.sku(), 1))
    sheet = builders.payment(order)
    made = arranged(order, stored_value_fen=9_900)
    assert (made.payment, made.fits, balances(buyer)) == (sheet, False, (9_900, 0, 0))
    Payment.objects.filter(pk=sheet.pk).update(status=Payment.CLOSED)
    assert arranged(order, stored_value_fen=9_900).payment is None
    order.refresh_from_db()
    assert (order.status, balances(buyer)) == ("paid", (0, 0, 0))


@pytest.mark.django_db
@pytest.mark.parametrize("is_shipping", [True, False])
def test_a_refused_refund_that_was_asked_for_otherwise_is_not_repeated(is_shipping: bool) -> None:
    order, first, _second = shipped_order()
    asked: dict[str, Any] = {"shipping_fen": 800} if is_shipping else {"parts": [(first.pk, 3)]}
    (refused,) = services.refund_lines(order_id=order.pk, reason="破损", **asked)
    money_is_back(refused, status="CLOSED")
    (anew,) = services.refund_lines(order_id=order.pk, reason="破损", **asked)
    with pytest.raises(NothingToRefund):
        services.retry_refunds(refund_ids=[refused.pk])
    assert Payment.objects.get().refunded_fen == anew.amount_fen == refused.amount_fen


@pytest.mark.django_db
def test_a_gift_follows_the_last_paid_piece_and_a_cut_leaves_a_fen(monkeypatch: Any) -> None:
    dress, scarf = builders.sku(), builders.sku(price_fen=5_000)
    given = (Discount("promotion", "promotion:1", "赠品", 5_000),)
    lines = (QuotedLine(dress.pk, 9_900, 2), QuotedLine(scarf.pk, 5_000, 1, "gift", given))
    monkeypatch.setattr(pricing, "quote", lambda **_asked: Quote(lines))
    order = builders.pay(builders.order(builders.member(), (dress, 2)))
    paid, gift = order.lines.order_by("pk")
    with pytest.raises(NothingToRefund):
        services.refund_lines(order_id=order.pk, cuts={paid.pk: 19_800}, reason="补差价")
    for kept in (1, 0):
        services.refund_lines(order_id=order.pk, parts=[(paid.pk, 1)], reason="缺货")
        money_is_back()
        assert (builders.stock_of(dress), builders.stock_of(scarf)) == ((10, kept), (10, kept))
    gift.refresh_from_db()
    order.refresh_from_db()
    assert (gift.refunded_quantity, order.status, order.refunded_fen) == (1, "refunded", 19_800)
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_points_over_several_lines_come_back_to_the_last_one(monkeypatch: Any) -> None:
    """A third and two thirds of a hundred, each rounded down, are not a hundred."""
    buyer, dress, scarf = builders.member(), builders.sku(), builders.sku()
    instruments.give_points(buyer, 100)
    lines = tuple(
        QuotedLine(sku.pk, 9_900, 1, discounts=(Discount("points", "points", "积分", off),))
        for sku, off in ((dress, 1), (scarf, 2))
    )
    monkeypatch.setattr(pricing, "quote", lambda **_asked: Quote(lines, points_used=100))
    order = builders.pay(builders.order(buyer, (dress, 1), (scarf, 1)))
    for line, points in zip(order.lines.order_by("pk"), (33, 100), strict=True):
        services.refund_lines(order_id=order.pk, parts=[(line.pk, 1)], reason="缺货")
        money_is_back()
        assert instruments.points_of(buyer) == (points, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("returns", "days", "state"), [(True, 0, "held"), (True, 11, "expired"), (False, 0, "used")]
)
def test_a_coupon_comes_back_by_its_rule_and_in_its_time(
    monkeypatch: Any, returns: bool, days: int, state: str
) -> None:
    buyer = builders.member()
    coupon = instruments.coupon(returns_on_cancel=returns)
    held = services.grant_coupon(coupon_id=coupon.pk, member_id=buyer.pk, key="test:rule")
    instruments.quote_with(monkeypatch, coupons=(held.pk,))
    order = builders.order(buyer, (builders.sku(), 1))
    with clock.travel(timedelta(days=days)):
        builders.release(order)
    held.refresh_from_db()
    assert held.state == state


@pytest.mark.django_db
def test_an_order_goes_without_a_gift_that_is_gone(monkeypatch: Any) -> None:
    dress, scarf = builders.sku(), builders.sku(price_fen=5_000, stock=0)
    given = (Discount("promotion", "promotion:1", "赠品", 5_000),)
    lines = (QuotedLine(dress.pk, 9_900, 2), QuotedLine(scarf.pk, 5_000, 1, "gift", given))
    monkeypatch.setattr(pricing, "quote", lambda **_asked: Quote(lines))
    order = builders.order(builders.member(), (dress, 2))
    assert (order.total_fen, order.lines.get().sku_id) == (19_800, dress.pk)


@pytest.mark.django_db
def test_an_exchange_taken_back_frees_its_stock_and_a_price_is_protected_for_days() -> None:
    order, first, _second = shipped_order()
    exchange = applied(order, rules.EXCHANGE, (first, 2))
    services.approve_aftersale(aftersale_id=exchange.pk, by="小运")
    assert builders.stock_of(first.sku) == (7, 2)
    assert order.member_id is not None
    services.cancel_aftersale(aftersale_id=exchange.pk, member_id=order.member_id)
    assert builders.stock_of(first.sku) == (7, 0)
    type(first.sku).objects.filter(pk=first.sku_id).update(price_fen=5_000)
    with clock.travel(rules.PROTECTION_TIME + timedelta(hours=1)), pytest.raises(AfterSaleRefused):
        applied(order, rules.PRICE_PROTECTION, (first, 3), idempotency_key="the-key-of-the-price")
    assert applied(
        order, rules.PRICE_PROTECTION, (first, 3), idempotency_key="the-key-of-the-price"
    ).amount_fen


@pytest.mark.django_db
def test_an_after_sale_that_cannot_go_on_keeps_no_other_waiting() -> None:
    """The stock of the first is corrupt: it fails, and is seen in the log; the second is approved by itself."""
    order, first, second = paid_order()
    services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    broken = applied(order, rules.EXCHANGE, (first, 1), idempotency_key="the-key-of-the-first")
    services.approve_aftersale(aftersale_id=broken.pk, by="小运")
    Stock.objects.update(reserved=0)
    other = applied(order, rules.RETURN_REFUND, (second, 1))
    with clock.travel(timedelta(days=8)):
        assert services.settle_due_aftersales() == 1
    assert list(AfterSale.objects.order_by("pk").values_list("pk", "status")) == [
        (broken.pk, rules.APPROVED),
        (other.pk, rules.APPROVED),
    ]
    assert AfterSale.objects.get(pk=broken.pk).due_at is not None


@pytest.mark.django_db
def test_a_merged_member_brings_her_points_along(monkeypatch: Any) -> None:
    """Also those that an unpaid order holds, and those that a paid one gives back."""
    kept, merged = builders.member(), builders.member()
    instruments.give_points(merged, 1_200)
    instruments.quote_with(monkeypatch, points=500)
    waiting = builders.order(merged, (builders.sku(), 1))
    paid = builders.pay(builders.order(merged, (builders.sku(), 1)))
    for _twice in range(2):
        services.move_member(kept_id=kept.pk, merged_id=merged.pk)
    assert instruments.points_of(kept) == (200, 0)
    builders.release(waiting)
    assert instruments.points_of(kept) == (700, 0)
    services.refund_order(order_id=paid.pk, reason="缺货")
    money_is_back()
    assert (instruments.points_of(kept), instruments.points_of(merged)) == ((1_200, 0), (0, 0))
    assert run_audit()[1] == []
