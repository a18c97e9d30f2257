"""What staff and shoppers change in an order, invoices, and the pages and buttons for all of it."""

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import clock
from core.audits import run_audit
from core.events import deliver_due
from core.models import DomainEvent
from crm import sessions
from crm.services import prepare_months_ahead
from shop import aftersales_rules as rules
from shop import desk_rules, invoices_rules, services
from shop.errors import BadInvoice, NoSuchOrder, WrongState
from shop.models import AfterSale, Invoice, Order, OrderDiscount, Refund
from shop.pages import frame
from shop.services import AddressInput
from tests.shop import booking_builders as booking
from tests.shop import builders
from tests.shop.test_aftersales import applied, money_is_back, paid_order, picture, shipped_order

# A busy machine is not a slow strategy.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

COMPANY = "91310000MA1FL1TX7A"


@pytest.fixture
def shopper() -> Any:
    frame._noted.clear()
    prepare_months_ahead(1)
    return builders.member(name="林小满")


@pytest.fixture
def phone(shopper: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    return client


def findings() -> set[str]:
    return {finding.check for finding in run_audit()[1]}


# --- Prices --------------------------------------------------------------------------------------------------------
@UNHURRIED
@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=20), st.integers(0, 10_000))
def test_a_lower_price_is_allocated_to_the_fen_and_no_line_goes_below_zero(totals, bps):
    goods = sum(totals) * bps // 10_000
    off = desk_rules.lowered(totals, goods)
    assert sum(totals) - sum(off) == goods
    assert all(0 <= one <= total for one, total in zip(off, totals, strict=True))


@pytest.mark.django_db
def test_staff_lowers_the_price_of_an_unpaid_order_and_every_piece_knows_its_share():
    order = builders.order(
        builders.member(), (builders.sku(price_fen=3_333), 3), (builders.sku(price_fen=1_000), 1)
    )
    for _ in range(2):
        services.change_price(
            order_id=order.pk, goods_fen=10_000, shipping_fen=500, reason="老客户", by="小运"
        )
    order.refresh_from_db()
    assert (order.total_fen, order.discount_fen, order.shipping_fen) == (10_500, 999, 500)
    off = list(order.lines.order_by("pk").values_list("discount_fen", "total_fen"))
    assert off == [(908, 9_091), (91, 909)]
    assert sum(OrderDiscount.objects.values_list("amount_fen", flat=True)) == 999
    assert (order.log.filter(action="price_changed").count(), findings()) == (1, set())
    builders.pay(order)
    services.refund_order(order_id=order.pk, reason="退")
    money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == ("refunded", 10_500)
    assert DomainEvent.objects.filter(name="shop.OrderPriceChanged").count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("goods", "shipping", "reason"),
    [(9_901, 0, "涨价"), (-1, 0, "负"), (0, 0, "白送"), (9_000, -1, "x"), (1, 0, "")],
)
def test_a_price_that_may_not_be_is_refused_and_changes_nothing(goods, shipping, reason):
    order = builders.order(builders.member(), (builders.sku(price_fen=9_900), 1))
    with pytest.raises(WrongState):
        services.change_price(
            order_id=order.pk, goods_fen=goods, shipping_fen=shipping, reason=reason, by="小运"
        )
    order.refresh_from_db()
    assert (order.total_fen, OrderDiscount.objects.count()) == (9_900, 0)


def test_an_open_payment_is_closed_at_wechat_before_the_price_changes(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(price_fen=9_900), 1))
    sheet = services.start_payment(order_id=order.pk, member_id=buyer["member"].pk)
    services.change_price(order_id=order.pk, goods_fen=5_000, shipping_fen=0, reason="改价", by="小运")
    assert platform.act(buyer["person"], "pay", **sheet)["err_msg"] != "get_brand_wcpay_request:ok"
    again = services.start_payment(order_id=order.pk, member_id=buyer["member"].pk)
    assert platform.act(buyer["person"], "pay", **again, outcome="look")["amount_fen"] == 5_000
    assert platform.act(buyer["person"], "pay", **again)["err_msg"] == "get_brand_wcpay_request:ok"
    assert services.check_payment(order_id=order.pk).status == "paid"
    with pytest.raises(WrongState):
        services.change_price(order_id=order.pk, goods_fen=1, shipping_fen=0, reason="晚了", by="小运")


def test_two_lines_refunded_by_quantity_through_wechat_give_back_exactly_what_was_paid(platform, buyer):
    order = builders.order(
        buyer["member"], (builders.sku(price_fen=3_333), 3), (builders.sku(price_fen=1_001), 1)
    )
    services.change_price(order_id=order.pk, goods_fen=10_000, shipping_fen=0, reason="改价", by="小运")
    sheet = services.start_payment(order_id=order.pk, member_id=buyer["member"].pk)
    platform.act(buyer["person"], "pay", **sheet)
    services.check_payment(order_id=order.pk)
    first, second = order.lines.order_by("pk")
    for hour, parts in enumerate(([(first.pk, 1)], [(second.pk, 1)], [(first.pk, 2)])):
        for minutes in (0, 2, 20):
            with clock.travel(timedelta(hours=hour, minutes=minutes)):
                platform.post("clock", offset_seconds=hour * 3600 + minutes * 60)
                if not minutes:
                    services.refund_lines(order_id=order.pk, parts=parts, reason="缺货", by="小运")
                services.send_refunds()
    amounts = list(Refund.objects.order_by("pk").values_list("amount_fen", "status"))
    assert [status for _amount, status in amounts] == ["success"] * 3
    assert sum(amount for amount, _status in amounts) == 10_000
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == ("refunded", 10_000)
    assert findings() == set()


# --- Addresses, notes, reviews -------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_address_changes_until_the_parcel_leaves(shopper):
    order = builders.pay(builders.order(shopper, (builders.sku(), 1)))
    near = AddressInput("陈默", "13800000002", "上海市", "上海市", "徐汇区", "武康路 99 弄 2 号")
    far = AddressInput("陈默", "13800000002", "浙江省", "杭州市", "西湖区", "龙井路 1 号")
    services.change_address(order_id=order.pk, member_id=shopper.pk, address=near)
    with pytest.raises(WrongState):
        services.change_address(order_id=order.pk, member_id=shopper.pk, address=far)
    with pytest.raises(NoSuchOrder):
        services.change_address(order_id=order.pk, member_id=builders.member().pk, address=near)
    services.change_address(order_id=order.pk, address=far, by="小运")
    order.refresh_from_db()
    assert (order.receiver, order.region, order.log.filter(action="address_changed").count()) == (
        "陈默",
        "浙江省 杭州市 西湖区",
        2,
    )
    assert "13800000001" not in str(list(order.log.values_list("note", flat=True)))
    services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    with pytest.raises(WrongState):
        services.change_address(order_id=order.pk, address=near, by="小运")


@pytest.mark.django_db
def test_a_received_order_asks_for_a_review_once():
    order, *_lines = shipped_order()
    services.receive_order(order_id=order.pk)
    assert services.ask_for_reviews() == 0
    with clock.travel(rules.REVIEW_AFTER + timedelta(minutes=1)):
        assert (services.ask_for_reviews(), services.ask_for_reviews()) == (1, 0)
    assert DomainEvent.objects.filter(name="shop.OrderReviewDue").count() == 1


@pytest.mark.django_db
def test_she_is_asked_for_a_review_within_the_touch_policy_and_not_of_what_she_reviewed():
    with clock.travel(booking.MONDAY + timedelta(hours=3)):
        prepare_months_ahead(1)
        order, first, second = shipped_order(buyer=booking.reachable(), quantity=1)
        services.receive_order(order_id=order.pk)
    night = booking.MONDAY + rules.REVIEW_AFTER + timedelta(hours=15)  # midnight: it waits for the morning
    with clock.travel(night):
        assert services.ask_for_reviews() == 0
    with clock.travel(night + timedelta(hours=11)):
        apps.get_model("wechat", "ReplyWindow").objects.update(expires_at=clock.now() + timedelta(hours=1))
        assert services.ask_for_reviews() == 1
        deliver_due()
        told = apps.get_model("wechat", "OutboundMessage").objects.get(origin="shop-review")
        assert f"/orders/{order.number}/review/" in told.body.content["text"]
        services.ask_for_review(order_id=order.pk)
        assert booking.sent("shop-review") == 1
        for line in (first, second):
            services.write_review(line_id=line.pk, member_id=order.member_id, stars=5)
        assert services.ask_for_review(order_id=order.pk) == ""


# --- Invoices ------------------------------------------------------------------------------------------------------
def test_tax_numbers_are_checked_for_their_form():
    assert invoices_rules.is_tax_number(invoices_rules.cleaned_tax_number("９１３10000 ma1fl1tx7a")) is (
        invoices_rules.is_tax_number(COMPANY)
    )
    assert invoices_rules.is_tax_number("91350100M000100Y43")  # the example of GB 32100-2015
    assert not invoices_rules.is_tax_number("91350100M000100Y44")
    assert invoices_rules.is_tax_number("310105123456789")
    for wrong in ("", "1", "91350100M000100Y4", "I" * 18, "🙂" * 18, "9" * 10_000):
        assert not invoices_rules.is_tax_number(wrong)


@pytest.mark.django_db
def test_an_invoice_is_asked_for_corrected_issued_and_fetched(phone, shopper, operator):
    order = paid_order(buyer=shopper)[0]
    page = reverse("shop:invoices_request", args=[order.number])
    wrong = phone.post(page, {"kind": "company", "title": "", "tax_number": "🙂" * 9_000})
    assert (wrong.status_code, Invoice.objects.count()) == (422, 0)
    phone.post(page, {"kind": "company", "title": "池塘香氛", "tax_number": "91350100m000100y43"})
    phone.post(page, {"kind": "company", "title": "池塘香氛有限公司", "tax_number": "91350100m000100y43"})
    invoice = Invoice.objects.get()
    assert (invoice.title, invoice.amount_fen) == ("池塘香氛有限公司", order.paid_fen)
    change = reverse("admin:shop_invoice_change", args=[invoice.pk])
    assert operator.get(change).status_code == 200
    no_pdf = SimpleUploadedFile("a.pdf", b"<html>", content_type="application/pdf")
    operator.post(change, {"number": "25312000000001", "file": no_pdf})
    assert Invoice.objects.get().status == "requested"
    pdf = SimpleUploadedFile("a.pdf", b"%PDF-1.7 x", content_type="application/pdf")
    assert operator.post(change, {"number": "25312000000001", "file": pdf}).status_code == 302
    invoice.refresh_from_db()
    assert (invoice.status, invoice.actor) == ("issued", "小运")
    assert "25312000000001" in phone.get(page).content.decode()
    assert phone.get(reverse("shop:invoices_file", args=[order.number])).content == b"%PDF-1.7 x"
    assert operator.get(reverse("admin:shop_invoice_file", args=[invoice.pk])).status_code == 200
    with pytest.raises(WrongState):
        services.refuse_invoice(invoice_id=invoice.pk, reason="晚了", by="小运")
    services.refund_lines(order_id=order.pk, parts=[(order.lines.first().pk, 1)], reason="破损", by="小运")
    money_is_back()
    assert 'data-test="invoice-outdated"' in phone.get(page).content.decode()
    dialog = reverse("admin:shop_invoice_mark_reversed", args=[invoice.pk])
    operator.post(dialog, {"_form_submitted": "on", "reason": "退款后红冲"})
    after = phone.get(page).content.decode()
    assert "发票 25312000000001 已红冲：退款后红冲<br>您可以重新申请。" in after
    assert "发票：已红冲" in phone.get(reverse("shop:order", args=[order.number])).content.decode()
    phone.post(page, {"kind": "person", "title": "池小香"})
    order.refresh_from_db()
    assert Invoice.objects.get(status="requested").amount_fen == order.paid_fen - order.refunded_fen
    with pytest.raises(WrongState):
        services.reverse_invoice(
            invoice_id=Invoice.objects.get(status="requested").pk, reason="早了", by="小运"
        )
    assert 'data-test="invoice-waits"' in phone.get(page).content.decode()
    other = Invoice.objects.create(
        order=paid_order()[0], kind="person", title="甲乙", amount_fen=1, requested_at=clock.now()
    )
    with pytest.raises(BadInvoice):
        services.issue_invoice(invoice_id=other.pk, number="25312000000001", by="小运")


# --- The shopper's pages -------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_shopper_applies_sends_back_and_follows_it_on_her_pages(phone, shopper, operator):
    order, first, second = shipped_order(buyer=shopper)
    page = phone.get(reverse("shop:order", args=[order.number])).content.decode()
    apply = reverse("shop:aftersales_apply", args=[order.number])
    assert apply in page
    assert "return_refund" in phone.get(apply).content.decode()
    form = phone.get(f"{apply}?kind=return_refund").content.decode()
    key = re.search(r'name="key" value="([\w-]+)"', form)
    assert key
    sent = {
        "kind": "return_refund",
        "key": key[1],
        "line": [str(first.pk)],
        f"quantity-{first.pk}": "2",
        "reason": "尺码不合适",
        "description": "袖子太长 🙂",
    }
    nothing = phone.post(apply, {**sent, "line": []})
    assert (nothing.status_code, AfterSale.objects.count()) == (409, 0)
    photo = SimpleUploadedFile("a.png", picture().getvalue(), content_type="image/png")
    answer = phone.post(apply, {**sent, "photos": [photo]})
    aftersale = AfterSale.objects.get()
    state = reverse("shop:aftersales_state", args=[aftersale.number])
    assert answer.headers["Location"] == state
    picture_page = reverse("shop:aftersales_photo", args=[aftersale.photos.get().pk])
    assert phone.get(picture_page).headers["Content-Type"] == "image/jpeg"
    stranger = Client()
    carrier = HttpResponse()
    sessions.log_in(carrier, builders.member())
    stranger.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    for address in (state, picture_page, apply):
        assert stranger.get(address).status_code == 404
    detail = reverse("admin:shop_aftersale_change", args=[aftersale.pk])
    shown = operator.get(detail).content.decode()
    assert "袖子太长" in shown
    assert reverse("admin:shop_aftersale_photo", args=[aftersale.photos.get().pk]) in shown
    operator.post(
        reverse("admin:shop_aftersale_approve", args=[aftersale.pk]),
        {"_form_submitted": "on", "answer": "好的", "return_address": "上海市延平路 1 号"},
    )
    assert "上海市延平路 1 号" in phone.get(state).content.decode()
    phone.post(f"{state}parcel/", {"carrier": "中通快递", "tracking_number": "ZT 88"})
    operator.post(
        reverse("admin:shop_aftersale_receive", args=[aftersale.pk]),
        {"_form_submitted": "on", "is_sellable": "on", "note": ""},
    )
    aftersale.refresh_from_db()
    assert (aftersale.status, builders.stock_of(first.sku)) == ("refunding", (9, 0))
    money_is_back()
    assert 'data-status="refunded"' in phone.get(state).content.decode()
    assert aftersale.number in phone.get(reverse("shop:aftersales")).content.decode()
    late = applied(order, rules.RETURN_REFUND, (second, 1), idempotency_key="another-key-here")
    phone.post(reverse("shop:aftersales_cancel", args=[late.number]))
    late.refresh_from_db()
    assert (late.status, findings()) == ("closed", set())


@pytest.mark.django_db
def test_the_address_of_an_order_is_changed_on_its_page(phone, shopper):
    order = builders.pay(builders.order(shopper, (builders.sku(), 1)))
    saved = services.save_address(
        member_id=shopper.pk,
        address=AddressInput("陈默", "13800000002", "上海市", "上海市", "徐汇区", "武康路 99 弄 2 号"),
    )
    foreign = services.save_address(member_id=builders.member().pk, address=builders.ADDRESS)
    page = reverse("shop:desk_address", args=[order.number])
    assert "武康路" in phone.get(page).content.decode()
    assert phone.post(page, {"address": foreign.pk}).status_code == 400
    assert phone.post(page, {"address": saved.pk}).status_code == 302
    order.refresh_from_db()
    assert order.street == "武康路 99 弄 2 号"


# --- The operator's pages ------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_staff_refunds_a_part_once_however_often_she_clicks(operator):
    order, first, _second = shipped_order()
    address = reverse("admin:shop_order_refund_part", args=[order.pk])
    token = re.search(r'name="token" value="(\w+)"', operator.get(address).content.decode())
    assert token
    form = {
        "_form_submitted": "on",
        f"line_{first.pk}": "1",
        "shipping_fen": "8.00",
        "reason": "破损",
        "token": token[1],
    }
    for _ in range(2):
        operator.post(address, form)
    assert Refund.objects.get().amount_fen == 28_699 // 3 + 800


@pytest.mark.django_db
def test_a_price_needs_its_permission_and_a_note_stays_inside(client, phone, shopper):
    order = builders.order(shopper, (builders.sku(price_fen=9_900), 1))
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=["view_order", "change_order"]))
    client.force_login(clerk)
    price = reverse("admin:shop_order_change_price", args=[order.pk])
    form = {"_form_submitted": "on", "goods_fen": "80.00", "shipping_fen": "0", "reason": "老客户"}
    assert client.post(price, form).status_code == 403
    client.post(
        reverse("admin:shop_order_write_note", args=[order.pk]), {"_form_submitted": "on", "note": "会员生日"}
    )
    assert Order.objects.get().merchant_note == "会员生日"
    assert "会员生日" not in phone.get(reverse("shop:order", args=[order.number])).content.decode()
    clerk.user_permissions.add(Permission.objects.get(codename="change_order_price"))
    client.force_login(User.objects.get(pk=clerk.pk))
    client.post(price, form)
    assert Order.objects.get().total_fen == 8_000


@pytest.mark.django_db
def test_orders_that_can_travel_together_are_named(operator, shopper):
    one, two = (builders.pay(builders.order(shopper, (builders.sku(), 1))) for _ in range(2))
    elsewhere = builders.pay(builders.order(builders.member(), (builders.sku(), 1)))
    page = operator.get(reverse("admin:shop_order_change", args=[one.pk])).content.decode()
    assert two.number in page
    assert elsewhere.number not in page


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["aftersale", "invoice"])
def test_queues_are_filtered_and_cost_few_queries(operator, name, django_assert_max_num_queries):
    for _ in range(4):
        order, first, _second = shipped_order()
        applied(order, rules.RETURN_REFUND, (first, 1), files=[io.BytesIO(picture().getvalue())])
        assert order.member_id is not None
        services.request_invoice(order_id=order.pk, member_id=order.member_id, kind="person", title="林小满")
    lists = reverse(f"admin:shop_{name}_changelist")
    operator.get(lists)
    with django_assert_max_num_queries(13):
        assert order.number[:12] in operator.get(lists).content.decode()
    own = {
        "aftersale": ["waits=shop", "waits=late", "waits=over", "waits=shopper"],
        "invoice": ["refunded=yes"],
    }
    for query in (*own[name], "q=甲"):
        assert operator.get(f"{lists}?{query}").status_code == 200
    row = (AfterSale if name == "aftersale" else Invoice).objects.order_by("pk").last()
    assert row is not None
    with django_assert_max_num_queries(22):
        assert operator.get(reverse(f"admin:shop_{name}_change", args=[row.pk])).status_code == 200
