"""WeChat's bill of a day beside our own books: what agrees is silent, what differs waits for a person."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from core import clock
from core.audits import run_audit
from shop import services
from shop.bills import BEIJING, Line, UnreadableBill, read_bill
from shop.errors import BadAmount, WrongState
from shop.models import Bill, Order, Payment, Refund
from shop.services import reconciliation
from shop.services.reconciliation import keep_lines, open_bills
from tests.shop import builders

pytestmark = pytest.mark.django_db

HEAD = (
    "交易时间,公众账号ID,商户号,微信订单号,商户订单号,交易状态,应结订单金额,微信退款单号,商户退款单号,退款金额,退款状态,"
    "商品名称,手续费,订单金额,申请退款金额"
)
BILL = f"""\ufeff{HEAD}
`2026-11-20 23:59:59,`wx,`19,`4200A,`order-1,`SUCCESS,`128.00,`0,`0,`0.00,`,`裙子,"雾蓝",M,`0.77000,`129.00,`0.00
`2026-11-20 10:00:00,`wx,`19,`4200A,`order-1,`REFUND,`0.00,`503,`order-1-R1,`9.00,`SUCCESS,`裙子,`-0.05000,`0.00,`9.00
总交易单数,应结订单总金额
`1,`128.00
"""


def test_a_bill_is_read_by_the_names_of_its_columns():
    paid, back = read_bill(BILL)
    assert (paid.out_trade_no, paid.transaction_id, paid.amount_fen, paid.fee_fen) == (
        "order-1",
        "4200A",
        12_900,
        77,
    )
    assert paid.at == datetime(2026, 11, 20, 15, 59, 59, tzinfo=UTC)
    assert (back.is_refund, back.out_refund_no, back.amount_fen, back.fee_fen) == (
        True,
        "order-1-R1",
        900,
        -5,
    )
    for broken in ("", "a,b\n`1,`2\n", BILL.replace("129.00", "12x"), BILL.replace("23:59:59", "25:00:00")):
        with pytest.raises(UnreadableBill):
            list(read_bill(broken))


def line(payment: Payment, **change):
    values = {
        "out_trade_no": payment.out_trade_no,
        "transaction_id": payment.transaction_id,
        "out_refund_no": "",
        "refund_id": "",
        "state": "SUCCESS",
        "amount_fen": payment.paid_fen,
        "fee_fen": 0,
        "at": payment.paid_at,
    }
    return Line(**{**values, **change})


def compared(lines, day=None):
    """Today's bill with these lines, as it would be compared tomorrow."""
    bill, _new = services.open_bill(
        account_id=builders.pay_account().pk, day=day or clock.now().astimezone(BEIJING).date()
    )
    keep_lines(bill_id=bill.pk, lines=lines)
    services.compare_bill(bill_id=bill.pk)
    return bill


def some_payments(count=4):
    buyer, dress = builders.member(), builders.sku(stock=50)
    return [
        Payment.objects.get(order=builders.pay(builders.order(buyer, (dress, 1)))) for _number in range(count)
    ]


def test_every_kind_of_difference_is_found_once_and_explained_by_a_person():
    same, other_amount, missing, back = some_payments()
    refund = services.refund_order(order_id=back.order_id, reason="破损", by="小运")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="1", status="SUCCESS", refund_fen=refund.amount_fen
    )
    lines = [
        line(same),
        line(other_amount, amount_fen=1),
        line(back),
        line(back, out_refund_no=refund.out_refund_no, amount_fen=refund.amount_fen - 1, state="SUCCESS"),
        line(same, out_trade_no="a-foreign-one", transaction_id="4299", amount_fen=9_000),
        line(same, out_trade_no="a-foreign-one", transaction_id="4300", amount_fen=900),
        line(same),  # the same line once more
        line(same, out_refund_no="a-foreign-refund", amount_fen=5),
    ]
    bill = compared(lines)
    bill.refresh_from_db()
    assert (bill.payments_count, bill.payments_fen) == (5, 9_900 * 3 + 1)
    for _again in range(2):
        services.compare_bill(bill_id=bill.pk)
    found = set(bill.differences.values_list("kind", "is_refund", "number", "ours_fen", "theirs_fen"))
    assert found == {
        ("amount", False, other_amount.out_trade_no, 9_900, 1),
        ("missing_here", False, "a-foreign-one", None, 9_900),
        ("missing_there", False, missing.out_trade_no, 9_900, None),
        ("amount", True, refund.out_refund_no, 9_900, 9_899),
        ("missing_here", True, "a-foreign-refund", None, 5),
    }
    assert run_audit()[1] == []
    one = bill.differences.get(number="a-foreign-one")
    with pytest.raises(BadAmount):
        services.resolve_difference(difference_id=one.pk, note="  ")
    services.resolve_difference(difference_id=one.pk, note="线下收款码", by="小运")
    with pytest.raises(WrongState):
        services.resolve_difference(difference_id=one.pk, note="再次")
    # What stands on another day's bill is not missing any more: its difference ends by itself.
    compared([line(missing)], day=clock.now().astimezone(BEIJING).date() - timedelta(days=1))
    assert services.compare_bill(bill_id=bill.pk) == 3
    assert bill.differences.get(number=missing.out_trade_no).actor == "system"


def test_bills_are_due_the_next_morning_one_for_each_day(monkeypatch):
    account = builders.pay_account()
    assert [open_bills(), open_bills()] == [1, 0]
    first = Bill.objects.get()
    ready = clock.local(first.next_attempt_at)
    assert (ready.date() - first.day, ready.hour) == (timedelta(days=1), 10)
    with clock.travel(timedelta(days=3)):
        assert open_bills() == 3
        # One that nobody can read stands in no other's way.
        texts = {first.day: "x"}
        monkeypatch.setattr(reconciliation, "read_bill", lambda text: [int(text)])
        monkeypatch.setattr(reconciliation.wechat_services, "trade_bill", lambda day, **_more: texts.get(day))
        assert services.reconcile() >= 1
        assert Bill.objects.filter(last_error="ValueError", status="waiting").get() == first
    for day in (clock.today() + timedelta(days=1), clock.today() - timedelta(days=91), date(1970, 1, 1)):
        with pytest.raises(BadAmount):
            services.open_bill(account_id=account.pk, day=day)


def test_yesterdays_bill_is_fetched_and_a_lost_payment_booked(platform, buyer):
    """Against the sandbox: one payment was noticed, the notice of the other was lost for good."""
    open_bills()
    orders = [builders.order(buyer["member"], (builders.sku(price_fen=12_900), 1)) for _ in range(2)]
    for order in orders:
        parameters = services.start_payment(order_id=order.pk, member_id=buyer["member"].pk)
        platform.act(buyer["person"], "pay", **parameters)
    services.check_payment(order_id=orders[0].pk)
    Payment.objects.update(next_query_at=None)
    platform.post("faults", match="/v3/bill", http_status=500, code="SYSTEM_ERROR", times=-1)
    # Bills come at ten: at noon tomorrow the first is there, whatever the hour is now, and no second one.
    now = clock.local(clock.now())
    until_noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1) - now
    with clock.travel(until_noon):
        platform.post("clock", offset_seconds=until_noon.total_seconds())
        assert services.reconcile() == 0
        assert Bill.objects.order_by("day").first().last_error
        platform.delete("faults")
        assert services.reconcile() == 0  # not yet again
    with clock.travel(until_noon + timedelta(hours=1)):
        platform.post("clock", offset_seconds=until_noon.total_seconds() + 3600)
        assert services.reconcile() == 1
    bill = Bill.objects.order_by("day").first()
    assert (bill.status, bill.payments_count, bill.payments_fen) == ("compared", 2, 25_800)
    assert set(Order.objects.values_list("status", flat=True)) == {"paid"}
    assert not bill.differences.exists()
    assert run_audit()[1] == []


def test_the_operator_sees_the_queue_and_resolves(client, django_assert_max_num_queries):
    client.force_login(User.objects.create_superuser("yunying"))
    same, *_missing = some_payments(4)
    bill = compared([line(same)])
    builders.know_content_types()
    for name in ("bill", "billdifference", "storedvaluecredit", "giftcardbatch", "giftcard"):
        address = reverse(f"admin:shop_{name}_changelist")
        with django_assert_max_num_queries(12):
            page = client.get(address)
        assert page.status_code == 200
        assert name != "billdifference" or "close_small" not in page.content.decode()  # a cross is a fault
    one = bill.differences.order_by("pk").first()
    for address in (
        reverse("admin:shop_bill_change", args=[bill.pk]),
        reverse("admin:shop_bill_add"),
        reverse("admin:shop_billdifference_change", args=[one.pk]),
    ):
        assert client.get(address).status_code == 200
    client.post(
        reverse("admin:shop_billdifference_resolve", args=[one.pk]),
        {"note": "人工核对", "_form_submitted": "on"},
    )
    one.refresh_from_db()
    assert (one.note, one.resolved_at is not None) == ("人工核对", True)
    type(one).objects.filter(pk=one.pk).update(note="已与财务核对" * 20)
    page = client.get(reverse("admin:shop_billdifference_changelist"), {"open": "all"}).content.decode()
    assert '<span class="pond-nowrap" title="已与财务核对' in page
    assert Refund.objects.count() == 0
