"""Orders paid from several sources: what the shop keeps for a member, her gift cards, and WeChat for the rest."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from core import clock, ledger
from core.audits import run_audit
from core.ledger import BalanceTooLow, CauseTaken, ReversesTooMuch
from core.models import LedgerHold
from crm import sessions
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.errors import BadAmount, GiftCardRefused, NoSuchOrder, TooManyGuesses, WrongState
from shop.models import GiftCard, GiftCardBatch, Order, Payment, RechargePolicy, Refund
from shop.services.payments import Payer, Wish, arrange_payment
from tests.shop import builders
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db


def rich(principal_fen=5_000, bonus_fen=2_000, **extra):
    """Her principal is spent first, so that the figures are round; in proportion is tested with recharges."""
    RechargePolicy.objects.get_or_create(pk=1, defaults={"spending": RechargePolicy.PRINCIPAL})
    buyer = builders.member(**extra)
    services.credit_stored_value(
        member_id=buyer.pk, principal_fen=principal_fen, bonus_fen=bonus_fen, reason="充值活动",
        idempotency_key=f"credit-{buyer.pk}",
    )  # fmt: skip
    return buyer


def a_card(buyer, value_fen=3_000, **extra):
    batch = services.make_gift_cards(
        **{
            "name": "中秋礼品卡",
            "value_fen": value_fen,
            "count": 1,
            "idempotency_key": f"batch-{buyer.pk}",
            **extra,
        }
    )
    ((code, _state),) = services.export_gift_cards(batch_id=batch.pk)
    return code


def arranged(order, stored_value_fen=0, gift_card_id=None):
    account = builders.pay_account()
    payer = Payer(account_id=account.pk, account_key=account.key, openid="o-test")
    wish = Wish(stored_value_fen=stored_value_fen, gift_card_id=gift_card_id)
    return arrange_payment(order_id=order.pk, member_id=order.member_id, wish=wish, payer=payer)


def balances(buyer):
    found = queries.balance_for(buyer.pk)
    return found.principal, found.bonus, found.held


def test_a_mixed_payment_holds_first_and_spends_when_the_rest_is_paid():
    buyer = rich()
    order = builders.order(buyer, (builders.sku(price_fen=9_900), 1))
    made = arranged(order, stored_value_fen=6_000)
    assert made.payment.amount_fen == 3_900
    assert arranged(order, stored_value_fen=6_000).payment == made.payment  # nothing is held twice
    assert balances(buyer) == (5_000, 2_000, 6_000)
    builders.confirm(made.payment, "420001")
    builders.confirm(made.payment, "420001")
    order.refresh_from_db()
    assert (order.status, order.paid_fen) == ("paid", 9_900)
    assert balances(buyer) == (0, 1_000, 0)  # principal first, then bonus
    assert sorted(order.payments.values_list("kind", "status", "paid_fen")) == [
        ("jsapi", "paid", 3_900),
        ("stored_value", "paid", 6_000),
    ]
    movements = queries.balance_statement(buyer.pk)
    assert [(one.amount, one.balance, one.is_bonus) for one in movements[:2]] == [
        (-1_000, 1_000, True),
        (-5_000, 2_000, False),
    ]
    assert sum(one.amount for one in movements) == 1_000
    assert movements[0].order_number == order.number
    assert run_audit()[1] == []


def test_another_wish_changes_what_is_held_unless_wechat_has_a_sheet_open():
    buyer = rich()
    order = builders.order(buyer, (builders.sku(price_fen=9_900), 1))
    made = arranged(order, stored_value_fen=6_000)
    again = arranged(order, stored_value_fen=1_000)
    assert (again.fits, again.payment, balances(buyer)[2]) == (False, made.payment, 6_000)
    Payment.objects.filter(pk=made.payment.pk).update(status="closed")  # as `start_payment` does at WeChat
    assert arranged(order, stored_value_fen=1_000).payment.amount_fen == 8_900
    assert balances(buyer)[2] == 1_000
    # The closed one was paid all the same: its split is given up, so its money goes back.
    builders.confirm(made.payment)
    order.refresh_from_db()
    assert (order.status, Refund.objects.get().amount_fen) == ("pending_payment", 3_900)
    assert balances(buyer)[2] == 1_000


def test_the_whole_amount_from_the_balance_pays_at_once():
    buyer = rich()
    order = builders.order(buyer, (builders.sku(price_fen=6_500), 1))
    answer = services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=99_999)
    assert answer == {"paid": True}
    order.refresh_from_db()
    assert (order.status, order.payments.get().kind, balances(buyer)) == ("paid", "stored_value", (0, 500, 0))
    with pytest.raises(WrongState):
        services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=99_999)
    assert run_audit()[1] == []


def test_too_much_is_refused_and_changes_nothing():
    buyer = rich(principal_fen=100, bonus_fen=0)
    order = builders.order(buyer, (builders.sku(price_fen=9_900), 1))
    for stored_value_fen, refusal in ((101, BalanceTooLow), (-1, BadAmount)):
        with pytest.raises(refusal):
            arranged(order, stored_value_fen=stored_value_fen)
    with pytest.raises(NoSuchOrder):  # of another member
        services.start_payment(order_id=order.pk, member_id=rich().pk, stored_value_fen=9_900)
    foreign = services.bind_gift_card(member_id=builders.member().pk, code=a_card(buyer))
    services.bind_gift_card(
        member_id=buyer.pk, code=a_card(builders.member())
    )  # hers does not open another's
    with pytest.raises(GiftCardRefused):
        arranged(order, gift_card_id=foreign.pk)
    assert (Payment.objects.count(), LedgerHold.objects.count()) == (0, 0)


def test_cancelling_gives_the_hold_free_and_late_money_goes_back():
    buyer, dress = rich(), builders.sku(price_fen=9_900)
    order = builders.order(buyer, (dress, 1))
    made = arranged(order, stored_value_fen=6_000)
    builders.release(order)
    assert balances(buyer) == (5_000, 2_000, 0)
    builders.confirm(made.payment)
    order.refresh_from_db()
    assert (order.status, Refund.objects.get().amount_fen) == ("cancelled", 3_900)
    assert builders.stock_of(dress) == (10, 0)
    assert run_audit()[1] == []


def test_an_order_of_nothing_is_paid_at_once():
    order = builders.order(builders.member(), (builders.sku(price_fen=100), 1))
    Order.objects.filter(pk=order.pk).update(discount_fen=100, total_fen=0)
    for _ in range(2):
        services.settle_free_order(order_id=order.pk)
    order.refresh_from_db()
    assert (order.status, order.payments.get().kind, order.payments.get().status) == ("paid", "none", "paid")


def test_what_is_given_back_comes_to_where_it_was_from():
    buyer = rich()
    order = builders.order(buyer, (builders.sku(price_fen=6_500), 1))
    services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=6_500)
    payment = order.payments.get()
    for _ in range(2):
        assert services.give_back(payment_id=payment.pk, amount_fen=2_000, cause="refund:1") == 2_000
    assert balances(buyer) == (1_539, 961, 0)  # 2,000 of 6,500, of which the bonus had paid 1,500
    with pytest.raises(CauseTaken):
        services.give_back(payment_id=payment.pk, amount_fen=1, cause="refund:1")
    with pytest.raises(ReversesTooMuch):
        services.give_back(payment_id=payment.pk, amount_fen=4_501, cause="refund:2")
    services.give_back(payment_id=payment.pk, amount_fen=4_500, cause="refund:2")
    assert balances(buyer) == (5_000, 2_000, 0)
    assert "退回" in queries.balance_statement(buyer.pk)[0].words


def test_a_merged_member_brings_her_value_along():
    kept, merged = builders.member(), rich()
    order = builders.order(merged, (builders.sku(price_fen=9_900), 1))
    arranged(order, stored_value_fen=5_500)
    card = services.bind_gift_card(member_id=merged.pk, code=a_card(merged))
    services.move_member(kept_id=kept.pk, merged_id=merged.pk)
    assert balances(kept) == (0, 1_500, 0)
    assert [one.pk for one in queries.gift_cards_of(kept.pk)] == [card.pk]
    builders.release(order)
    assert (balances(kept), balances(merged)) == ((5_000, 2_000, 0), (0, 0, 0))
    type(merged).objects.filter(pk=merged.pk).update(merged_into=kept)
    services.credit_stored_value(  # from a form that was open meanwhile
        member_id=merged.pk, principal_fen=100, reason="补偿", idempotency_key="late-form"
    )
    assert (balances(kept), balances(merged)) == ((5_100, 2_000, 0), (0, 0, 0))


# --- Gift cards ----------------------------------------------------------------------------------------------------
def test_a_card_is_bound_spent_in_parts_and_given_back():
    buyer = builders.member()
    code = a_card(buyer)
    card = services.bind_gift_card(member_id=buyer.pk, code=f"  {code.lower()} ")
    assert services.bind_gift_card(member_id=buyer.pk, code=code).pk == card.pk
    assert queries.gift_cards_of(buyer.pk)[0].spendable == 3_000
    order = builders.order(buyer, (builders.sku(price_fen=2_000), 1))
    assert services.start_payment(order_id=order.pk, member_id=buyer.pk, gift_card_code=code) == {
        "paid": True
    }
    assert queries.gift_cards_of(buyer.pk)[0].spendable == 1_000
    services.give_back(payment_id=order.payments.get().pk, amount_fen=700, cause="refund:9")
    assert queries.gift_cards_of(buyer.pk)[0].spendable == 1_700
    assert run_audit()[1] == []


def test_codes_leave_the_shop_once_and_are_not_kept_in_clear():
    buyer = builders.member()
    batch = services.make_gift_cards(name="卡", value_fen=100, count=3, idempotency_key="batch-once")
    assert services.make_gift_cards(name="卡", value_fen=100, count=3, idempotency_key="batch-once") == batch
    for other in (
        {"name": "别的卡"},
        {"value_fen": 101},
        {"count": 2},
        {"expires_at": clock.now() + timedelta(days=1)},
    ):
        with pytest.raises(CauseTaken):
            services.make_gift_cards(
                **{"name": "卡", "value_fen": 100, "count": 3, "idempotency_key": "batch-once"} | other
            )
    assert GiftCard.objects.count() == 3
    code = GiftCard.objects.first().code
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(code || code_hash, '') FROM shop_giftcard")
        assert code not in cursor.fetchone()[0]
    services.bind_gift_card(member_id=buyer.pk, code=code)
    exported = services.export_gift_cards(batch_id=batch.pk)
    assert [card for card in exported if card.state == "已绑定"] == [
        (f"****-****-****-{code[-4:]}", "已绑定")
    ]
    assert len({card.code for card in exported}) == 3
    with pytest.raises(WrongState):
        services.export_gift_cards(batch_id=batch.pk)
    assert set(GiftCard.objects.values_list("code", flat=True)) == {""}
    assert services.void_gift_cards(batch_id=batch.pk) == 2
    with pytest.raises(GiftCardRefused):
        services.bind_gift_card(member_id=builders.member().pk, code=code)
    for bad in ({"value_fen": 0}, {"count": 5_001}, {"name": " "}, {"expires_at": clock.now()}):
        with pytest.raises(BadAmount):
            services.make_gift_cards(
                **{"name": "卡", "value_fen": 1, "count": 1, "idempotency_key": "bad"} | bad
            )


def test_guessing_is_slowed_down():
    buyer = builders.member()
    code = a_card(buyer)
    for wrong in ("", "😀" * 16, "x" * 10_000):
        with pytest.raises(GiftCardRefused):
            services.bind_gift_card(member_id=buyer.pk, code=wrong)
    own = a_card(buyer, idempotency_key="her-own")
    for _ in range(5):
        with pytest.raises(GiftCardRefused):
            services.bind_gift_card(member_id=buyer.pk, code="ABCD-EFGH-JKMN-PQRS")
        if _ < 4:  # a card of her own is right each time, and no licence to go on
            services.bind_gift_card(member_id=buyer.pk, code=own)
    with pytest.raises(TooManyGuesses):
        services.bind_gift_card(member_id=buyer.pk, code=code)
    with clock.travel(timedelta(minutes=61)):
        assert services.bind_gift_card(member_id=buyer.pk, code=code).member_id == buyer.pk


def test_an_expired_card_is_worth_nothing():
    buyer = builders.member()
    code = a_card(buyer, expires_at=clock.now() + timedelta(days=1))
    card = services.bind_gift_card(member_id=buyer.pk, code=code)
    order = builders.order(buyer, (builders.sku(), 1))
    with clock.travel(timedelta(minutes=1)):
        arranged(order, gift_card_id=card.pk)
    with clock.travel(timedelta(days=2)):
        for stranger, words in ((builders.member(), "无效"), (buyer, "过期")):
            with pytest.raises(GiftCardRefused, match=words):  # nobody learns of another's card
                services.bind_gift_card(member_id=stranger.pk, code=code)
        assert queries.gift_cards_of(buyer.pk) == []
        builders.release(order)
        assert ledger.expire_lots() == 1
    assert ledger.balance_of(kind="gift_card", owner_id=card.pk) == 0


# --- At once -------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_one_balance_is_not_spent_by_two_orders():
    buyer, dress = rich(principal_fen=4_000, bonus_fen=3_000), builders.sku(price_fen=5_000)
    orders = [builders.order(buyer, (dress, 1)) for _ in range(4)]
    results = at_once(
        *[
            lambda order=order: services.start_payment(
                order_id=order.pk, member_id=buyer.pk, stored_value_fen=5_000
            )
            for order in orders
        ]
    )
    assert results.count({"paid": True}) == 1
    assert [type(result) for result in results].count(BalanceTooLow) == 3
    assert balances(buyer) == (0, 2_000, 0)
    assert Order.objects.filter(status="paid").count() == 1
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
def test_a_card_has_one_owner_and_payment_and_time_out_one_winner():
    code = a_card(builders.member())
    rivals = [builders.member() for _ in range(4)]
    bound = at_once(
        *[lambda rival=rival: services.bind_gift_card(member_id=rival.pk, code=code) for rival in rivals]
    )
    assert sum(isinstance(one, GiftCard) for one in bound) == 1
    buyer = rich()
    order = builders.order(buyer, (builders.sku(price_fen=7_000), 1))
    at_once(
        lambda: services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=7_000),
        lambda: services.release_order(order_id=order.pk, reason="超时", actor="system"),
        lambda: services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=7_000),
    )
    order.refresh_from_db()
    spent = {"paid": (0, 0, 0), "cancelled": (5_000, 2_000, 0)}
    assert balances(buyer) == spent[order.status]
    assert run_audit()[1] == []


# --- Pages ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def shopper():
    prepare_months_ahead(1)
    return rich()


@pytest.fixture
def phone(shopper):
    carrier, browser = HttpResponse(), Client()
    sessions.log_in(carrier, shopper)
    browser.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return browser


def test_the_till_pays_from_the_balance_also_without_scripts(phone, shopper):
    order = builders.order(shopper, (builders.sku(price_fen=6_500), 1))
    page = phone.get(f"/pay/{order.number}/").content.decode()
    assert 'name="use_balance"' in page
    assert 'data-fen="7000"' in page
    answer = phone.post(f"/pay/{order.number}/", {"use_balance": "1", "way": "native"})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/pay/{order.number}/")
    assert 'data-test="pay-success"' in phone.get(f"/pay/{order.number}/").content.decode()
    statement = phone.get("/me/balance/").content.decode()
    assert "¥5.00" in statement
    assert order.number in statement


def test_bad_ways_to_pay_are_refused_and_change_nothing(phone, shopper):
    order = builders.order(shopper, (builders.sku(), 1))
    for sent in (
        {"gift_card_code": "😀" * 5_000},
        {"gift_card": "999999999999"},
        {"gift_card": "-1", "gift_card_code": "ABCD-EFGH-JKMN-PQRS"},
    ):
        answer = phone.post(f"/pay/{order.number}/", sent, HTTP_ACCEPT="application/json")
        assert (answer.status_code, answer.json()["code"]) == (422, "gift_card_refused")
        assert phone.post(f"/pay/{order.number}/", sent).status_code == 422
    assert not Payment.objects.exists()
    foreign = builders.order(builders.member(), (builders.sku(), 1))
    assert phone.post(f"/pay/{foreign.number}/", {"use_balance": "1"}).status_code == 404


def test_a_card_is_bound_on_her_page(phone, shopper):
    code = a_card(shopper)
    assert phone.post("/me/balance/card/", {"code": "ABCD"}).status_code == 422
    assert phone.post("/me/balance/card/", {"code": code}).headers["Location"] == "/me/balance/?bound=1"
    page = phone.get("/me/balance/?bound=1").content.decode()
    assert 'data-test="gift-card"' in page
    assert "中秋礼品卡" in page
    assert Client().get("/me/balance/").status_code == 302


def test_a_desktop_shows_a_code_and_a_phones_browser_goes_to_wechat(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(price_fen=12_900), 1))
    carrier, browser = HttpResponse(), Client()
    sessions.log_in(carrier, buyer["member"])
    browser.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    address = f"/pay/{order.number}/"
    page = browser.post(address, {"way": "native"}).content.decode()
    assert "<svg" in page
    assert 'style="' not in page
    answer = browser.post(address, {"way": "native"}, HTTP_ACCEPT="application/json").json()
    assert ("<svg" in answer["qr"], answer["amount"]) == (True, "¥129.00")
    native = Payment.objects.get()
    assert (native.kind, native.status, native.openid) == ("native", "open", "")
    # She goes on in her phone's browser: the code is closed at WeChat first.
    there = browser.post(address, {"way": "h5"}, HTTP_ACCEPT="application/json").json()["h5_url"]
    native.refresh_from_db()
    assert native.status == "closed"
    assert f"redirect_url=http%3A%2F%2Ftestserver%2Fpay%2F{order.number}" in there
    paid = platform.act(buyer["person"], "pay", code=there)
    assert paid["err_msg"] == "get_brand_wcpay_request:ok"
    assert browser.get(f"{address}state/?look=1").json()["paid"] is True
    assert Payment.objects.get(status="paid").kind == "h5"


def test_the_till_chooses_by_the_browser(phone, shopper):
    order = builders.order(shopper, (builders.sku(), 1))
    agents = {
        "Mozilla/5.0 (iPhone) MicroMessenger/8.0": "jsapi",
        "Mozilla/5.0 (Linux; Android 15) Mobile": "h5",
        "Mozilla/5.0 (X11; Linux x86_64)": "native",
    }
    for agent, way in agents.items():
        page = phone.get(f"/pay/{order.number}/", HTTP_USER_AGENT=agent, HTTP_SEC_FETCH_DEST="document")
        assert f'data-way="{way}"' in page.content.decode()


def test_operators_credit_and_make_cards_with_permission_only(client, shopper):
    given = {
        "member": shopper.pk, "principal_fen": "100.00", "bonus_fen": "20", "reason": "门店充值",
        "token": "a-form-of-mine", "bonus_expires_at_0": "", "bonus_expires_at_1": "",
    }  # fmt: skip
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.post(reverse("admin:shop_storedvaluecredit_add"), given).status_code == 403
    client.force_login(User.objects.create_superuser("boss"))
    for _twice in range(2):
        assert client.post(reverse("admin:shop_storedvaluecredit_add"), given).status_code == 302
    assert balances(shopper) == (15_000, 4_000, 0)
    assert client.post(
        reverse("admin:shop_storedvaluecredit_add"), {**given, "principal_fen": "-1"}
    ).status_code == 200  # fmt: skip
    batch = {
        "name": "新年卡", "value_fen": "200", "count": "3", "token": "batch-of-mine",
        "expires_at_0": "", "expires_at_1": "",
    }  # fmt: skip
    assert client.post(reverse("admin:shop_giftcardbatch_add"), batch).status_code == 302
    made = GiftCardBatch.objects.get()
    export = {"action": "export_codes", "_selected_action": [made.pk]}
    asked = client.post(reverse("admin:shop_giftcardbatch_changelist"), export).content.decode()
    assert "已选择 1 条记录" in asked  # once only: it asks first
    assert not GiftCardBatch.objects.exclude(exported_at=None).exists()
    export["confirmed"] = "1"
    text = client.post(reverse("admin:shop_giftcardbatch_changelist"), export).content.decode()
    assert text.count("-") >= 9
    assert client.post(reverse("admin:shop_giftcardbatch_changelist"), export).status_code == 302
