"""Stored value is recharged on the phone: booked once, spent and given back part by part, summed to the fen."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from core import clock
from core.audits import run_audit, run_check
from core.events import deliver_due, publish
from core.ledger import BalanceTooLow
from crm import services as crm_services
from shop import queries, recharge_rules, services
from shop.errors import NoSuchOffer, NothingToRefund, PlatformBusy, RechargeRefused, WrongState
from shop.models import (
    Bill,
    BillLine,
    DirectPayment,
    DirectRefund,
    Recharge,
    RechargeOffer,
    RechargePolicy,
    Tally,
)
from shop.services.payments import Wish, arrange_payment
from shop.services.payments_booked import Payer
from shop.services.recharge import arrange_recharge
from shop.services.reconciliation import compare_bill
from tests.shop import builders
from tests.shop.bank import PAID, Bank, Return, Sheet
from tests.shop.test_points import phone_of
from tests.shop.test_races import at_once
from wechat.events import PaymentNotified, RefundNotified

pytestmark = pytest.mark.django_db


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Bank:
    crm_services.prepare_timeline(since=clock.today(), until=clock.today() + timedelta(days=40))
    builders.pay_account()
    made = Bank()
    made.answer_for(monkeypatch)
    return made


def an_offer(pay_fen: int = 50_000, bonus_fen: int = 5_000, **more: Any) -> RechargeOffer:
    return RechargeOffer.objects.create(pay_fen=pay_fen, bonus_fen=bonus_fen, **more)


def payer() -> Payer:
    account = builders.pay_account()
    return Payer(account_id=account.pk, account_key=account.key, openid="o-test")


def told(payment: DirectPayment, paid_fen: int | None = None, transaction_id: str = "") -> DirectPayment:
    return services.confirm_direct(
        out_trade_no=payment.out_trade_no,
        transaction_id=transaction_id or f"4200{payment.pk}",
        paid_fen=payment.amount_fen if paid_fen is None else paid_fen,
    )


def recharged(buyer: Any, offer: RechargeOffer) -> Recharge:
    made = arrange_recharge(offer_id=offer.pk, member_id=buyer.pk, payer=payer())
    told(made.payment)
    return made


def parts(buyer: Any) -> tuple[int, int, int]:
    found = queries.balance_for(buyer.pk)
    return found.principal, found.bonus, found.held


def answered(refund: DirectRefund, status: str) -> DirectRefund:
    return services.confirm_direct_refund(
        out_refund_no=refund.out_refund_no, refund_id="50", status=status, refund_fen=refund.amount_fen
    )


def spend(buyer: Any, fen: int) -> Any:
    order = builders.order(buyer, (builders.sku(price_fen=fen), 1))
    services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=fen)
    return order


# --- Rules without a database ---------------------------------------------------------------------------------------
@settings(max_examples=40)
@given(principal=st.integers(0, 10**6), bonus=st.integers(0, 10**6), data=st.data())
def test_both_parts_pay_what_they_have_and_come_back_to_the_fen(
    principal: int, bonus: int, data: st.DataObject
) -> None:
    whole = principal + bonus
    amount = data.draw(st.integers(0, whole))
    for in_proportion in (True, False):
        given_ = recharge_rules.principal_part(
            amount, principal_fen=principal, bonus_fen=bonus, in_proportion=in_proportion
        )
        assert 0 <= given_ <= principal
        assert 0 <= amount - given_ <= bonus
        returned = data.draw(st.integers(0, amount))
        back = recharge_rules.bonus_back(returned, spent_fen=amount, bonus_fen=amount - given_)
        assert 0 <= returned - back <= given_
        assert (
            recharge_rules.bonus_back(amount, spent_fen=amount, bonus_fen=amount - given_) == amount - given_
        )


# --- Paying ---------------------------------------------------------------------------------------------------------
def test_a_recharge_is_booked_once_however_often_and_late_wechat_tells(bank: Bank) -> None:
    buyer, offer = builders.member(), an_offer(bonus_days=30)
    started = services.start_recharge(offer_id=offer.pk, member_id=buyer.pk)
    assert services.start_recharge(offer_id=offer.pk, member_id=buyer.pk) == started
    payment = DirectPayment.objects.get()
    assert (started["package"], parts(buyer)) == (payment.out_trade_no, (0, 0, 0))
    bank.pay(payment.out_trade_no)
    assert services.check_direct(member_id=buyer.pk, kind="recharge") == payment
    for _ in range(2):
        told(payment, transaction_id=bank.sheets[payment.out_trade_no].transaction_id)
    assert parts(buyer) == (50_000, 5_000, 0)
    movements = queries.balance_statement(buyer.pk)
    assert [(one.words, one.amount) for one in movements] == [("充值", 5_000), ("充值", 50_000)]
    late = services.start_recharge(offer_id=offer.pk, member_id=buyer.pk)["package"]
    with clock.travel(timedelta(minutes=31)):
        services.query_lost_direct()
        payment = DirectPayment.objects.get(out_trade_no=late)
        assert (payment.status, bank.sheets[late].state) == ("closed", "CLOSED")
        told(payment)
        assert parts(buyer) == (100_000, 10_000, 0)
    with clock.travel(clock.day_start(clock.today() + timedelta(days=32))):
        assert queries.balance_for(buyer.pk).spendable == 100_000
    assert run_audit()[1] == []


def test_what_does_not_match_is_not_booked_and_can_be_returned(bank: Bank) -> None:
    buyer = builders.member()
    payment = arrange_recharge(offer_id=an_offer().pk, member_id=buyer.pk, payer=payer()).payment
    told(payment, paid_fen=1)
    payment.refresh_from_db()
    assert (payment.status, parts(buyer)) == ("mismatch", (0, 0, 0))
    refund = services.return_direct_mismatch(payment_id=payment.pk, by="小运")
    assert services.return_direct_mismatch(payment_id=payment.pk) == refund
    assert (refund.amount_fen, answered(refund, "SUCCESS").status) == (1, "success")
    with pytest.raises(WrongState):
        services.refund_recharge(recharge_id=payment.pk, reason="误充")
    assert run_audit()[1] == []


def test_an_offer_ends_and_is_limited_for_each(bank: Bank) -> None:
    buyer, once = builders.member(), an_offer(per_member=1)
    over = an_offer(ends_at=clock.now() - timedelta(hours=1))
    for offer_id in (over.pk, 10**9):
        with pytest.raises(NoSuchOffer):
            services.start_recharge(offer_id=offer_id, member_id=buyer.pk)
    recharged(buyer, once)
    with pytest.raises(RechargeRefused):
        services.start_recharge(offer_id=once.pk, member_id=buyer.pk)
    assert [one.is_used for one in queries.recharge_offers_for(buyer.pk)] == [True]
    assert DirectPayment.objects.count() == 1
    other = builders.member("小满")
    services.move_member(kept_id=other.pk, merged_id=buyer.pk)
    assert (Tally.objects.get().member_id, parts(other)) == (other.pk, (50_000, 5_000, 0))
    assert run_audit()[1] == []


def test_a_sheet_that_she_left_does_not_use_her_offer_up(bank: Bank) -> None:
    buyer, once = builders.member(), an_offer(per_member=1)
    left = services.start_recharge(offer_id=once.pk, member_id=buyer.pk)["package"]
    assert [one.is_used for one in queries.recharge_offers_for(buyer.pk)] == [False]
    again = services.start_recharge(offer_id=once.pk, member_id=buyer.pk, way="native")["package"]
    assert (bank.sheets[left].state, bank.sheets[again].state) == ("CLOSED", "NOTPAY")
    with clock.travel(timedelta(minutes=27)):  # too little time to pay it, and nobody has closed it yet
        late = services.start_recharge(offer_id=once.pk, member_id=buyer.pk, way="native")["package"]
    assert (late != again, bank.sheets[again].state) == (True, "CLOSED")
    bank.pay(late)
    assert services.start_recharge(offer_id=once.pk, member_id=buyer.pk) == {
        "paid": True
    }  # its notice is late
    assert (parts(buyer), run_audit()[1]) == ((50_000, 5_000, 0), [])
    odd = builders.member("小满")
    told(arrange_recharge(offer_id=once.pk, member_id=odd.pk, payer=payer()).payment, paid_fen=1)
    assert Tally.objects.get(member_id=odd.pk).taken == 0
    assert run_audit()[1] == []


# --- Spending and giving back ---------------------------------------------------------------------------------------
def test_orders_take_both_parts_in_proportion_and_give_back_to_each(bank: Bank) -> None:
    buyer = builders.member()
    recharged(buyer, an_offer())
    order = spend(buyer, 11_000)
    assert parts(buyer) == (40_000, 4_000, 0)
    payment = order.payments.get()
    services.give_back(payment_id=payment.pk, amount_fen=3_333, cause="refund:1")
    assert parts(buyer) == (43_030, 4_303, 0)
    services.give_back(payment_id=payment.pk, amount_fen=7_667, cause="refund:2")
    assert parts(buyer) == (50_000, 5_000, 0)
    RechargePolicy.objects.create(pk=1, spending="principal")
    spend(buyer, 50_500)
    assert parts(buyer) == (0, 4_500, 0)
    assert sum(one.amount for one in queries.balance_statement(buyer.pk, limit=99)) == 4_500


def test_what_is_left_of_a_recharge_goes_back_and_the_bonus_with_it(bank: Bank) -> None:
    buyer = builders.member()
    made = recharged(buyer, an_offer())
    spend(buyer, 11_000)
    refund = services.refund_recharge(recharge_id=made.pk, reason="退储值", by="小运")
    assert services.refund_recharge(recharge_id=made.pk, reason="退储值") == refund
    assert (refund.amount_fen, refund.bonus_fen, parts(buyer)) == (40_000, 4_000, (0, 0, 0))
    for _ in range(2):
        answered(refund, "CLOSED")  # the money did not go, so the value is hers again
    assert (parts(buyer), run_audit()[1]) == ((40_000, 4_000, 0), [])
    refund = services.refund_recharge(recharge_id=made.pk, reason="退储值")
    sheet = bank.sheets[made.payment.out_trade_no] = Sheet(50_000, PAID, f"4200{made.pk}")
    services.send_direct_refunds()
    assert sheet.returns[refund.out_refund_no].amount_fen == 40_000
    for status in ("SUCCESS", "PROCESSING"):
        assert answered(refund, status).status == "success"
    with pytest.raises(NothingToRefund):
        services.refund_recharge(recharge_id=made.pk, reason="退储值")
    movements = queries.balance_statement(buyer.pk, limit=99)
    assert (sum(one.amount for one in movements), "退储值" in movements[0].words) == (0, True)
    with clock.travel(timedelta(days=366)), pytest.raises(WrongState):
        services.refund_recharge(recharge_id=recharged_long_ago(buyer).pk, reason="退储值")
    assert run_audit()[1] == []


def test_what_wechat_keeps_refusing_is_settled_outside_and_never_sent_again(
    bank: Bank, client: Client
) -> None:
    buyer = builders.member()
    made = recharged(buyer, an_offer())
    refund = services.refund_recharge(recharge_id=made.pk, reason="退储值")

    def settle(how: str = "对公转账 20261122-7") -> DirectRefund:
        return services.settle_outside(refund_id=refund.pk, how=how, by="小运")

    with pytest.raises(WrongState):  # nobody has tried yet
        settle()
    sheet = bank.sheets[made.payment.out_trade_no] = Sheet(
        40_000, PAID, f"4200{made.pk}"
    )  # WeChat knows another sum
    services.send_direct_refunds()
    with pytest.raises(WrongState):
        settle(" \x00 ")
    with pytest.raises(WrongState):  # a worker may still wait for its answer
        settle()
    DirectRefund.objects.update(next_attempt_at=clock.now())  # a minute later
    bank.is_away = True
    with pytest.raises(PlatformBusy):
        settle()
    bank.is_away = False
    sheet.returns[refund.out_refund_no] = Return(refund.amount_fen)
    with pytest.raises(WrongState):  # it took it after all
        settle()
    assert DirectRefund.objects.get().status == "processing"
    bank.settle(refund.out_refund_no, "ABNORMAL")

    boss = User.objects.create_user("小运", is_staff=True)
    boss.user_permissions.set(Permission.objects.filter(codename="view_directrefund"))
    client.force_login(boss)
    page = f"/admin/shop/directrefund/{refund.pk}/settle-outside/"
    sent = {"_form_submitted": "on", "how": "对公转账 20261122-7"}
    assert client.post(page, sent).status_code == 403
    boss.user_permissions.set(
        Permission.objects.filter(codename__in=["view_directrefund", "add_directrefund"])
    )
    client.post(page, sent)
    done = DirectRefund.objects.get()
    assert (done.status, done.settlement, done.settled_by) == ("outside", sent["how"], "小运")
    assert "已线下结清" in client.get(f"/admin/shop/directrefund/{refund.pk}/change/").content.decode()
    assert settle("又一次") == done
    assert services.retry_direct_refunds(refund_ids=[refund.pk]) == 0
    with clock.travel(timedelta(days=2)):
        assert services.send_direct_refunds() == 0
    payment = DirectPayment.objects.get()
    assert (payment.refunded_fen, parts(buyer), run_audit()[1]) == (50_000, (0, 0, 0), [])
    with pytest.raises(NothingToRefund):
        services.refund_recharge(recharge_id=made.pk, reason="退储值")
    assert answered(done, "SUCCESS").status == "outside"
    assert [found.check for found in run_audit()[1]] == ["shop.settled_outside_once"]


def test_parts_of_a_recharge_take_no_more_bonus_than_the_whole(bank: Bank) -> None:
    buyer = builders.member()
    made = recharged(buyer, an_offer(1_000, 100))
    recharged(buyer, an_offer(1, 50, bonus_days=3))
    taken = 0
    for kept in (668, 335, 0):  # what orders hold of her principal meanwhile
        RechargePolicy.objects.update_or_create(pk=1, defaults={"spending": "principal"})
        order = builders.order(buyer, (builders.sku(price_fen=5_000), 1))
        if kept:
            arrange_tender(order, buyer, kept)
        refund = answered(services.refund_recharge(recharge_id=made.pk, reason="退储值"), "SUCCESS")
        taken += refund.bonus_fen
        builders.release(order)
    assert (taken, parts(buyer)) == (100, (1, 50, 0))


def arrange_tender(order: Any, buyer: Any, fen: int) -> None:
    wish = Wish(stored_value_fen=fen)
    arrange_payment(order_id=order.pk, member_id=buyer.pk, wish=wish, payer=payer())


def test_a_bonus_that_has_expired_is_not_taken_from_another_recharge(bank: Bank) -> None:
    buyer = builders.member()
    made = recharged(buyer, an_offer(bonus_days=10))
    with clock.travel(timedelta(days=12)):
        recharged(buyer, an_offer())
        refund = services.refund_recharge(recharge_id=made.pk, reason="退储值")
        assert (refund.amount_fen, refund.bonus_fen) == (50_000, 0)
        assert (queries.balance_for(buyer.pk).spendable, run_audit()[1]) == (55_000, [])


def recharged_long_ago(buyer: Any) -> Recharge:
    made = arrange_recharge(offer_id=an_offer(100, 0).pk, member_id=buyer.pk, payer=payer())
    services.confirm_direct(
        out_trade_no=made.payment.out_trade_no,
        transaction_id="4200-old",
        paid_fen=100,
        paid_at=clock.now() - timedelta(days=366),
    )
    return made


@pytest.mark.django_db(transaction=True)
def test_hands_at_once_book_once_and_never_more_than_there_is(bank: Bank) -> None:
    buyer, once = builders.member(), an_offer(per_member=1)
    others = [Payer(payer().account_id, "brand", f"o-{number}") for number in range(3)]
    answers = at_once(
        *[lambda who=who: arrange_recharge(offer_id=once.pk, member_id=buyer.pk, payer=who) for who in others]
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Recharge"] + ["RechargeRefused"] * 2
    made = Recharge.objects.get()
    at_once(*[lambda: told(made.payment)] * 3)
    assert parts(buyer) == (50_000, 5_000, 0)
    order = builders.order(buyer, (builders.sku(price_fen=20_000), 1))
    answers = at_once(
        lambda: services.start_payment(order_id=order.pk, member_id=buyer.pk, stored_value_fen=20_000),
        *[lambda: services.refund_recharge(recharge_id=made.pk, reason="退储值")] * 2,
    )
    assert {type(answer) for answer in answers} <= {dict, DirectRefund, BalanceTooLow}
    assert sum(one.amount_fen for one in DirectRefund.objects.all()) + sum(parts(buyer)[:2]) <= 50_000
    assert DirectRefund.objects.count() == 1
    assert run_audit()[1] == []


@pytest.mark.parametrize(
    ("check", "corruption"),
    [
        ("shop.recharges_stand_in_the_ledger", "UPDATE shop_recharge SET bonus_fen = bonus_fen + 1"),
        ("shop.recharges_stand_in_the_ledger", "UPDATE shop_directrefund SET bonus_fen = 1"),
        ("shop.direct_refunds_sum_up", "UPDATE shop_directpayment SET refunded_fen = 1"),
        ("shop.recharge_limits_are_counted", "UPDATE shop_tally SET taken = 7"),
    ],
)
def test_the_audit_finds(bank: Bank, check: str, corruption: str) -> None:
    buyer = builders.member()
    made = recharged(buyer, an_offer())
    services.refund_recharge(recharge_id=made.pk, reason="退储值")
    assert run_check(check) == []
    with connection.cursor() as cursor:
        cursor.execute(corruption)
    assert run_check(check) != []


def test_wechats_bill_knows_recharges_and_what_went_back_of_them(bank: Bank) -> None:
    buyer = builders.member()
    made = recharged(buyer, an_offer())
    refund = answered(services.refund_recharge(recharge_id=made.pk, reason="退储值"), "SUCCESS")
    bill = Bill.objects.create(
        account_id=made.payment.account_id, day=clock.today(), status=Bill.READ, next_attempt_at=None
    )
    assert compare_bill(bill_id=bill.pk) == 2  # neither is on it
    at = clock.now()
    paid = {"out_trade_no": made.payment.out_trade_no, "transaction_id": f"4200{made.payment.pk}", "at": at}
    BillLine.objects.create(bill=bill, state="SUCCESS", amount_fen=50_000, fee_fen=0, **paid)
    back = {"out_refund_no": refund.out_refund_no, "refund_id": "50"}
    BillLine.objects.create(bill=bill, state="REFUND", amount_fen=50_000, fee_fen=0, **paid, **back)
    assert compare_bill(bill_id=bill.pk) == 0


# --- Notices, pages, admin ------------------------------------------------------------------------------------------
def test_notices_of_wechat_reach_the_recharge(bank: Bank) -> None:
    buyer = builders.member()
    payment = arrange_recharge(offer_id=an_offer().pk, member_id=buyer.pk, payer=payer()).payment
    for _ in range(2):
        publish(
            PaymentNotified(
                account_id=payment.account_id,
                out_trade_no=payment.out_trade_no,
                transaction_id="4200",
                trade_state="SUCCESS",
                paid_fen=payment.amount_fen,
                openid="o-test",
                success_at=clock.now(),
                at=clock.now(),
            ),
            key=payment.out_trade_no,
        )
    deliver_due()
    assert parts(buyer) == (50_000, 5_000, 0)
    refund = services.refund_recharge(recharge_id=payment.pk, reason="退储值")
    publish(
        RefundNotified(
            account_id=payment.account_id,
            out_trade_no=payment.out_trade_no,
            out_refund_no=refund.out_refund_no,
            refund_id="50",
            status="SUCCESS",
            refund_fen=refund.amount_fen,
            at=clock.now(),
        ),
        key=refund.out_refund_no,
    )
    deliver_due()
    refund.refresh_from_db()
    assert refund.status == "success"


def test_she_recharges_on_her_page(bank: Bank) -> None:
    buyer = builders.member()
    phone = phone_of(buyer)
    assert 'data-test="no-offers"' in phone.get("/me/recharge/").content.decode()
    offer = an_offer(name="夏日充值礼")
    page = phone.get("/me/recharge/").content.decode()
    assert ("夏日充值礼" in page, 'data-test="recharge-pay"' in page) == (True, True)
    assert 'data-test="to-recharge"' in phone.get("/me/balance/").content.decode()
    for wrong in ("", "-1", "9" * 30, "😀", "x" * 10_000, str(offer.pk + 1)):
        answer = phone.post("/me/recharge/", {"offer": wrong}, headers={"Accept": "application/json"})
        assert (answer.status_code, DirectPayment.objects.count()) == (404, 0)
    stale = {"offer": offer.pk, f"shown-{offer.pk}": "50000+9999/0"}  # another bonus when she opened the page
    assert (phone.post("/me/recharge/", stale).status_code, DirectPayment.objects.count()) == (404, 0)
    chosen = {"offer": offer.pk, f"shown-{offer.pk}": offer.terms}
    assert (f'value="{offer.terms}"' in page, " data-going" in page) == (True, False)
    assert " data-going" in phone.post("/me/recharge/", chosen).content.decode()  # before the scripts
    answer = phone.post("/me/recharge/", chosen, headers={"Accept": "application/json"}).json()
    payment = DirectPayment.objects.get()
    assert answer["parameters"]["package"] == payment.out_trade_no
    assert phone.get("/me/recharge/state/").json()["paid"] is False
    bank.pay(payment.out_trade_no)
    assert phone.get("/me/recharge/state/?look=1").json()["paid"] is True
    assert "¥550.00" in phone.get("/me/recharge/?done=1").content.decode()
    assert phone_of(builders.member("别人")).get("/me/recharge/state/?look=1").json()["paid"] is False


def test_operators_make_offers_and_give_back_by_permission(bank: Bank, client: Client) -> None:
    buyer = builders.member()
    staff = User.objects.create_user("staff", password="x", is_staff=True)
    client.force_login(staff)
    add = reverse("admin:shop_rechargeoffer_add")
    assert client.get(add).status_code == 403
    words = ["view_rechargeoffer", "add_rechargeoffer", "view_recharge", "view_directpayment"]
    staff.user_permissions.add(*Permission.objects.filter(codename__in=words))
    form = {"pay_fen": "500", "bonus_fen": "50", "bonus_days": "0", "per_member": "0", "position": "0"}
    assert client.post(add, {**form, "pay_fen": "-1"}).status_code == 200
    assert client.post(add, {**form, "is_active": "on"}).status_code == 302
    made = recharged(buyer, RechargeOffer.objects.get())
    assert "500.00" in client.get(reverse("admin:shop_rechargeoffer_changelist")).content.decode()
    assert "小池" in client.get(reverse("admin:shop_recharge_changelist")).content.decode()
    assert client.get(reverse("admin:shop_directpayment_changelist")).status_code == 200
    back = reverse("admin:shop_recharge_give_back", args=[made.pk])
    form = {"_form_submitted": "on", "reason": "退储值"}
    assert client.post(back, form).status_code in (302, 403)
    assert DirectRefund.objects.count() == 0
    staff.user_permissions.add(
        *Permission.objects.filter(codename__in=["add_directrefund", "view_directrefund"])
    )
    client.post(back, {**form, "reason": ""})
    assert DirectRefund.objects.count() == 0
    client.post(back, form)
    assert (DirectRefund.objects.get().actor, parts(buyer)) == ("staff", (0, 0, 0))
    assert client.get(reverse("admin:shop_directrefund_changelist")).status_code == 200


@pytest.mark.parametrize("of_order", [True, False])
def test_operators_find_money_that_does_not_match_and_return_it(
    bank: Bank, client: Client, admin_user: User, of_order: bool
) -> None:
    buyer = builders.member()
    if of_order:
        order = builders.order(buyer, (builders.sku(price_fen=9_900), 1))
        payment = builders.payment(order)
        builders.confirm(payment, "420077", paid_fen=1)
    else:
        payment = arrange_recharge(offer_id=an_offer().pk, member_id=buyer.pk, payer=payer()).payment
        told(payment, paid_fen=1, transaction_id="420077")
    model, refund = ("payment", "refund") if of_order else ("directpayment", "directrefund")
    client.force_login(admin_user)
    found = reverse(f"admin:shop_{model}_changelist")
    for word in (payment.out_trade_no, "420077", order.number if of_order else buyer.name):
        assert payment.out_trade_no in client.get(found, {"q": word, "difference": "yes"}).content.decode()
    assert payment.out_trade_no not in client.get(found, {"q": "42007"}).content.decode()
    back = reverse(f"admin:shop_{model}_return_mismatch", args=[payment.pk])
    for _ in range(2):
        client.post(back, {"_form_submitted": "on"})
    made = payment.refunds.get()
    assert (made.amount_fen, made.status) == (1, "pending")
    made.next_attempt_at = None
    made.save()
    again = {"action": "send_again", "_selected_action": [made.pk]}
    client.post(reverse(f"admin:shop_{refund}_changelist"), again)
    made.refresh_from_db()
    assert made.next_attempt_at is not None
    assert client.get(reverse(f"admin:shop_{model}_change", args=[payment.pk])).status_code == 200
