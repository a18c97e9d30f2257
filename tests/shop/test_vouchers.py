"""Virtual goods and services: counted when ordered, delivered when paid, redeemed or given back once."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.test import Client

from core import clock, tokens
from core.audits import run_audit
from core.models import DomainEvent
from crm import sessions
from crm.models import Staff
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.errors import AfterSaleRefused, BadAddress, NothingToRefund, SoldOut, TermsRefused, VoucherRefused
from shop.models import GoodsTerms, Order, Product, VirtualCode, Voucher
from tests.shop import builders
from tests.shop.goods import codes, ordered, product, service
from tests.shop.stores import HUBIN, XINTIANDI, store
from tests.shop.test_aftersales import money_is_back
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db


def clean() -> bool:
    return run_audit()[1] == []


def redeemed(voucher: Voucher, where: Any) -> Voucher:
    return services.redeem_voucher(code=voucher.code, store_id=where.pk, by="李娜")


def terms_of(sku: Any) -> GoodsTerms:
    return GoodsTerms.objects.get(sku=sku)


def test_an_order_of_services_needs_no_address_and_is_done_when_it_is_paid() -> None:
    buyer, care = builders.member(), service(price_fen=9_800, quota=5)
    order = ordered(buyer, (care, 2))
    assert (order.receiver, order.shipping_fen, order.total_fen, order.delivery) == ("", 0, 19_600, "ship")
    assert not Voucher.objects.exists()
    assert terms_of(care).taken == 2
    builders.pay(order)
    order.refresh_from_db()
    assert (order.status, order.received_at is not None) == (Order.RECEIVED, True)
    assert not order.fulfilments.exists()
    assert [one.number for one in Voucher.objects.filter(line__order=order).order_by("number")] == [1, 2]
    assert len(set(Voucher.objects.values_list("code", flat=True))) == 2
    assert list(order.log.filter(action="delivered").values_list("actor", flat=True)) == ["system"]
    assert DomainEvent.objects.filter(name="shop.OrderReceived").count() == 1
    assert clean()


def test_a_mixed_order_sends_the_rest_and_keeps_its_address() -> None:
    buyer, care, cream = builders.member(), service(), builders.sku(stock=3)
    with pytest.raises(BadAddress):
        ordered(buyer, (care, 1), (cream, 1))
    assert terms_of(care).taken == 0
    order = builders.pay(builders.order(buyer, (care, 1), (cream, 1)))
    assert (order.status, order.receiver) == (Order.PAID, "王小池")
    assert Voucher.objects.count() == 1
    assert order.fulfilments.count() == 1
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1")
    order.refresh_from_db()
    assert order.status == Order.SHIPPED
    assert clean()


def test_a_mixed_order_whose_parcel_goes_back_is_done_with_what_was_delivered() -> None:
    buyer, care, cream = builders.member(), service(), builders.sku(stock=3)
    order = builders.pay(builders.order(buyer, (care, 1), (cream, 1)))
    line = order.lines.get(sku=cream)
    services.refund_lines(order_id=order.pk, parts=[(line.pk, 1)], reason="不要了")
    money_is_back()
    order.refresh_from_db()
    assert (order.status, builders.stock_of(cream)) == (Order.RECEIVED, (3, 0))
    assert clean()


def test_a_cancelled_order_frees_its_pieces_and_late_money_takes_them_again() -> None:
    care = service(quota=1)
    order = ordered(builders.member(), (care, 1))
    payment = builders.payment(order)
    with pytest.raises(SoldOut) as refusal:
        ordered(builders.member(), (care, 1))
    assert refusal.value.shortages[0].available == 0
    builders.release(order)
    assert terms_of(care).taken == 0
    builders.confirm(payment)
    order.refresh_from_db()
    assert order.status == Order.RECEIVED
    assert terms_of(care).taken == 1
    assert Voucher.objects.count() == 1
    assert clean()


def test_codes_are_given_once_in_order_and_a_refunded_one_is_not_sold_again() -> None:
    card = codes("AAAA-1111", "BBBB-2222")
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(code, '') FROM shop_virtualcode")
        assert "1111" not in cursor.fetchone()[0]
    order = builders.pay(ordered(builders.member(), (card, 1)))
    (row,) = queries.delivered_of(Order.objects.get(pk=order.pk))
    assert row.codes == ["AAAA-1111"]
    assert services.add_codes(sku_id=card.pk, codes=["BBBB-2222", " CCCC-3333 "]) == (1, 1)
    assert terms_of(card).quota == 3
    assert clean()
    services.refund_order(order_id=order.pk, reason="发错了")
    assert clean()
    money_is_back()
    assert (terms_of(card).taken, terms_of(card).quota) == (0, 2)
    assert VirtualCode.objects.get(state="void").code == "AAAA-1111"
    assert clean()
    free = VirtualCode.objects.filter(state="free")
    ordered(builders.member(), (card, 1))
    with pytest.raises(TermsRefused):
        services.drop_codes(code_ids=[one.pk for one in free])
    assert services.drop_codes(code_ids=[free[0].pk]) == 1
    assert clean()


def test_a_voucher_is_redeemed_once_in_its_store_and_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = store(XINTIANDI), store(HUBIN)
    order = builders.pay(ordered(builders.member(), (service(stores=(here,), valid_days=10), 2)))
    one, two = Voucher.objects.filter(line__order=order).order_by("number")
    for code, where, why in (
        ("000000000000", here, "unknown_code"),
        ("", here, "unknown_code"),
        (one.code, there, "wrong_store"),
    ):
        with pytest.raises(VoucherRefused) as refusal:
            services.redeem_voucher(code=code, store_id=where.pk, by="李娜")
        assert refusal.value.code == why
    done = redeemed(one, here)
    assert (done.state, done.store, done.actor) == ("redeemed", here, "李娜")
    with pytest.raises(VoucherRefused, match="新天地店"):
        redeemed(one, here)
    later = clock.now() + timedelta(days=12)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(VoucherRefused) as late:
        redeemed(two, here)
    assert late.value.code == "expired"
    assert (services.expire_vouchers(), services.expire_vouchers()) == (1, 0)
    assert services.extend_vouchers(voucher_ids=[one.pk, two.pk], days=3) == 1
    assert redeemed(two, here).state == "redeemed"
    assert list(order.log.filter(action="redeemed").values_list("actor", flat=True)) == ["李娜", "李娜"]
    assert DomainEvent.objects.filter(name="shop.VoucherRedeemed").count() == 2
    assert clean()


def test_unused_vouchers_go_back_and_redeemed_ones_never() -> None:
    shop, buyer, care = store(XINTIANDI), builders.member(), service(price_fen=3_333, quota=3)
    order = builders.pay(ordered(buyer, (care, 3)))
    line = order.lines.get()
    used = Voucher.objects.filter(line=line).order_by("number")[0]
    redeemed(used, shop)
    asked: dict[str, Any] = {"order_id": order.pk, "member_id": buyer.pk, "reason": "来不了"}
    with pytest.raises(AfterSaleRefused):
        services.apply_for_aftersale(
            **asked, kind="return_refund", parts=[(line.pk, 1)], idempotency_key="the-key-of-a-form"
        )
    with pytest.raises(NothingToRefund):
        services.apply_for_aftersale(
            **asked, kind="refund_only", parts=[(line.pk, 3)], idempotency_key="the-key-of-a-form"
        )
    aftersale = services.apply_for_aftersale(
        **asked, kind="refund_only", parts=[(line.pk, 1)], idempotency_key="the-key-of-a-form"
    )
    services.approve_aftersale(aftersale_id=aftersale.pk, by="客服")
    states = list(Voucher.objects.filter(line=line).order_by("number").values_list("state", flat=True))
    assert states == ["redeemed", "unused", "void"]
    assert clean()
    gone = Voucher.objects.get(line=line, number=3)
    with pytest.raises(VoucherRefused) as refusal:
        redeemed(gone, shop)
    assert refusal.value.code == "void"
    money_is_back()
    assert (terms_of(care).taken, terms_of(care).quota) == (2, 3)
    assert clean()
    services.refund_order(order_id=order.pk, reason="门店停业")
    money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen, order.paid_fen) == (Order.RECEIVED, 6_666, 9_999)
    with pytest.raises(NothingToRefund):
        services.refund_order(order_id=order.pk, reason="再来一次")
    assert clean()


def test_a_refund_that_wechat_closes_makes_the_voucher_good_again() -> None:
    order = builders.pay(ordered(builders.member(), (service(), 1)))
    services.refund_order(order_id=order.pk, reason="来不了")
    voucher = Voucher.objects.get()
    assert voucher.state == "void"
    money_is_back(status="CLOSED")
    assert redeemed(voucher, store(XINTIANDI)).state == "redeemed"
    assert clean()


def test_unused_vouchers_may_be_given_back_long_after_the_payment(monkeypatch: pytest.MonkeyPatch) -> None:
    buyer = builders.member()
    order = builders.pay(ordered(buyer, (service(valid_days=90), 1)))
    later = clock.now() + timedelta(days=60)
    monkeypatch.setattr(clock, "now", lambda: later)
    made = services.apply_for_aftersale(
        order_id=order.pk, member_id=buyer.pk, kind="refund_only", parts=[(order.lines.get().pk, 1)],
        reason="来不了", idempotency_key="the-key-of-a-form",
    )  # fmt: skip
    assert made.amount_fen == 9_800


@pytest.mark.parametrize(
    "values",
    [
        {"delivers": "text", "text": "链接"},
        {"delivers": "voucher"},
        {"delivers": "voucher", "valid_days": 30, "valid_until": "end"},
        {"delivers": "voucher", "valid_days": 4_000},
        {"delivers": "voucher", "valid_days": 30, "quota": 0},
    ],
)
def test_terms_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    care = service()
    ordered(builders.member(), (care, 1))
    if values.get("valid_until"):
        values = {**values, "valid_until": clock.now() + timedelta(days=9)}
    before = GoodsTerms.objects.values().get()
    with pytest.raises(TermsRefused):
        services.save_terms(sku_id=care.pk, **values)
    assert GoodsTerms.objects.values().get() == before


def test_the_kind_of_what_was_sold_stays() -> None:
    care = service()
    ordered(builders.member(), (care, 1))
    assert services.is_kind_settled(care.product_id)
    Product.objects.filter(pk=care.product_id).update(kind="goods")
    with pytest.raises(IntegrityError), transaction.atomic():
        services.refresh_products(product_ids=[care.product_id])


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE shop_voucher SET state = 'void', voided_at = now()",
        "UPDATE shop_voucher SET state = 'unused'",
        "UPDATE shop_goodsterms SET taken = 9",
    ],
)
def test_the_database_itself_refuses_to_mix_redeemed_and_given_back(sql: str) -> None:
    order = builders.pay(ordered(builders.member(), (service(quota=1), 1)))
    redeemed(Voucher.objects.get(line__order=order), store(XINTIANDI))
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """They fail without their guards: order lock and state of the voucher, quota of the terms, SKIP LOCKED."""

    def test_two_colleagues_redeem_one_voucher_once(self) -> None:
        shop = store(XINTIANDI)
        order = builders.pay(ordered(builders.member(), (service(), 1)))
        voucher = Voucher.objects.get(line__order=order)
        results = at_once(*[lambda: redeemed(voucher, shop)] * 4)
        assert sorted(type(one).__name__ for one in results) == ["Voucher", *["VoucherRefused"] * 3]
        assert order.log.filter(action="redeemed").count() == 1
        assert clean()

    def test_a_voucher_is_redeemed_or_refunded(self) -> None:
        shop = store(XINTIANDI)
        order = builders.pay(ordered(builders.member(), (service(), 1)))
        voucher = Voucher.objects.get(line__order=order)
        results = at_once(
            lambda: redeemed(voucher, shop),
            lambda: services.refund_order(order_id=order.pk, reason="来不了"),
        )
        refused = [one for one in results if isinstance(one, VoucherRefused | NothingToRefund)]
        assert len(refused) == 1
        assert clean()

    def test_the_last_pieces_and_codes_are_sold_once(self) -> None:
        card = codes("A1", "B2", "C3")
        buyers = [builders.member() for _ in range(8)]
        results = at_once(*[lambda buyer=buyer: ordered(buyer, (card, 1)) for buyer in buyers])
        made = [one for one in results if isinstance(one, Order)]
        assert len(made) == 3
        assert sum(isinstance(one, SoldOut) for one in results) == 5
        payments = [builders.payment(order) for order in made]
        at_once(*[lambda payment=payment: builders.confirm(payment) for payment in payments])
        assert VirtualCode.objects.filter(state="given").values("line").distinct().count() == 3
        assert clean()


def phone_of(member: Any) -> Client:
    prepare_months_ahead(1)
    carrier, client = HttpResponse(), Client()
    sessions.log_in(carrier, member)
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def counter(where: Any, name: str = "lina") -> Client:
    user = User.objects.create_user(name, is_staff=True)
    Staff.objects.create(work_userid=name, name="李娜", store=where, user=user)
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_from_the_checkout_without_an_address_to_the_counter() -> None:
    shop, buyer = store(XINTIANDI), builders.member(name="林小满")
    care, phone = service(text="请提前一天预约 https://pond.example/how"), phone_of(buyer)
    page = text_of(phone.get(f"/checkout/?line={care.pk}:1"))
    assert 'data-test="no-parcel"' in page
    assert "收货地址" not in page
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    answer = phone.post("/checkout/", {**sent, "line": f"{care.pk}:1"})
    assert answer.status_code == 302
    order = Order.objects.get()
    builders.pay(order)
    page = text_of(phone.get(f"/orders/{order.number}/"))
    voucher = Voucher.objects.get()
    assert voucher.shown_code in page
    assert 'href="https://pond.example/how"' in page
    assert voucher.line.product_name in text_of(phone.get("/vouchers/"))
    assert 'class="qr"' in text_of(phone.get(f"/vouchers/{voucher.pk}/"))
    stranger = phone_of(builders.member())
    assert stranger.get(f"/vouchers/{voucher.pk}/").status_code == 404

    assert Client().get(f"/staff/vouchers/?code={voucher.code}").status_code == 302
    desk = counter(shop)
    assert 'data-test="found"' in text_of(desk.get(f"/staff/vouchers/?code={voucher.shown_code}"))
    assert desk.post("/staff/vouchers/", {"code": voucher.code}).status_code == 302
    again = desk.post("/staff/vouchers/", {"code": voucher.code})
    assert again.status_code == 409
    assert 'data-test="refused"' in text_of(again)
    assert desk.get("/staff/vouchers/?code=😀" + "9" * 5_000).status_code == 409
    assert Voucher.objects.get().state == "redeemed"
    assert clean()


def test_operators_see_kinds_terms_codes_and_vouchers(admin_client: Client) -> None:
    bare = builders.sku(product=product("virtual"), stock=0)
    adding = {
        "sku": bare.pk, "delivers": "text", "text": "下载链接", "quota": "", "valid_days": "",
        "valid_from_0": "", "valid_from_1": "", "valid_until_0": "", "valid_until_1": "",
    }  # fmt: skip
    wrong = admin_client.post("/admin/shop/goodsterms/add/", {**adding, "delivers": "voucher"})
    assert wrong.status_code == 200
    assert not GoodsTerms.objects.exists()
    assert admin_client.post("/admin/shop/goodsterms/add/", adding).status_code == 302
    assert terms_of(bare).text == "下载链接"
    card = codes("AAAA-1111")
    builders.pay(ordered(builders.member(), (card, 1), (service(), 1)))
    for page in ("goodsterms", "virtualcode", "voucher", "product", "sku"):
        shown = admin_client.get(f"/admin/shop/{page}/")
        assert shown.status_code == 200
        assert "AAAA-1111" not in text_of(shown)
        model = apps.get_model("shop", page)
        assert (
            admin_client.get(f"/admin/shop/{page}/{model.objects.latest('pk').pk}/change/").status_code == 200
        )
    page = text_of(admin_client.get(f"/admin/shop/product/{card.product_id}/change/"))
    assert 'name="kind"' in page
    _token, secret = tokens.issue_token(name="ERP", scopes=["products:read"])
    answer = Client().get(
        f"/api/v1/products/{card.product_id}/", headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.json()["kind"] == "virtual"
