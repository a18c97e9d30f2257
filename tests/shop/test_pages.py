"""The shopper's pages, through their addresses, as a phone asks for them."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings

from core import clock
from crm import sessions
from crm.models import Activity
from crm.services import prepare_months_ahead
from shop import services
from shop.models import Address, CartLine, Category, Order
from shop.pages import frame
from shop.services import AddressInput
from tests.shop import builders, instruments

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
TYPED = {
    "receiver": "陈默",
    "phone": "13800000002",
    "province": "上海市",
    "city": "上海市",
    "district": "徐汇区",
    "street": "武康路 99 弄 2 号",
}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    frame.forget_fragments()
    frame._noted.clear()


@pytest.fixture
def shopper() -> Any:
    prepare_months_ahead(1)
    return builders.member(name="林小满")


@pytest.fixture
def phone(shopper: Any) -> Client:
    """The shopper's browser, logged in."""
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def home_of(shopper: Any, **changes: str) -> Address:
    values = {**TYPED, **changes}
    return services.save_address(member_id=shopper.pk, address=AddressInput(**values))


def text_of(response: Any) -> str:
    return response.content.decode()


def form_of(page: str) -> dict[str, Any]:
    """The checkout form as the browser would send it."""
    form = page.split('id="order"', 1)[1].split("</form>", 1)[0]
    found: dict[str, Any] = {}
    for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form):
        found.setdefault(name, []).append(value)
    return found


def test_the_front_page_shows_new_and_popular_goods_to_everybody(client: Client) -> None:
    builders.sku(product_name="白茶与雪")
    builders.sku(product_name="<b>雾山</b>", stock=0)
    page = client.get("/")
    text = text_of(page)
    assert page.status_code == 200
    assert "白茶与雪" in text
    assert "&lt;b&gt;雾山" in text
    assert "已售罄" in text
    assert 'data-test="product-card"' in text
    assert 'data-test="tab-cart"' in text


def test_an_empty_shop_is_still_a_friendly_place(client: Client) -> None:
    for address in ("/", "/category/", "/search/", "/search/?q=白茶", "/search/?sort=new"):
        assert client.get(address).status_code == 200


def test_a_shelf_is_sorted_and_its_next_page_arrives_as_bare_cards(client: Client) -> None:
    scents = Category.objects.create(name="香水")
    below = Category.objects.create(name="木质调", parent=scents)
    for number in range(23):
        builders.sku(product_name=f"香 {number:02d}", price_fen=1000 + number, category=below)
    first = text_of(client.get(f"/category/{scents.pk}/?sort=price"))
    assert "<title>香水" in first
    assert first.index("香 00") < first.index("香 01")
    assert "香 20" not in first
    assert "木质调" in first
    link = re.search(r'<a class="button" href="([^"]*after=[^"]*)"', first)  # without script it leads on
    assert link
    more = client.get(link[1].replace("&amp;", "&"), **HTMX)
    assert "香 22" in text_of(more)
    assert "<html" not in text_of(more)
    dearest = text_of(client.get(f"/category/{scents.pk}/?sort=-price"))
    assert dearest.index("香 22") < dearest.index("香 21")


@pytest.mark.parametrize(
    "ending", ["?after=abc", "?after=-4", f"?after={'9' * 18}_1_1_1_1", "?sort=';--&after=1_2_3", "?after=２"]
)
def test_odd_addresses_of_a_shelf_are_read_forgivingly(client: Client, ending: str) -> None:
    shelf = Category.objects.create(name="配饰")
    assert client.get(f"/category/{shelf.pk}/{ending}").status_code == 200


def test_an_unknown_shelf_or_product_is_a_calm_404(client: Client) -> None:
    assert client.get("/category/987654/").status_code == 404
    missing = client.get("/p/987654/")
    assert missing.status_code == 404
    assert "返回首页" in text_of(missing)


def test_a_changed_price_is_on_the_shelf_two_seconds_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sku = builders.sku(price_fen=26_800)
    with override_settings(FRAGMENT_SECONDS=2.0):
        assert "268" in text_of(client.get("/"))
        sku.price_fen = 19_900
        sku.save(update_fields=["price_fen"])
        services.refresh_products(product_ids=[sku.product_id])
        assert "268" in text_of(client.get("/"))
        present = frame.time.monotonic()
        monkeypatch.setattr(frame.time, "monotonic", lambda: present + 2.1)
        assert "199" in text_of(client.get("/"))


def test_a_page_whose_values_stay_is_read_again_but_rendered_once_a_minute(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sku = builders.sku(price_fen=26_800, category=Category.objects.create(name="香水"))
    instruments.offer(sku)
    present, made = frame.time.monotonic(), []
    really = frame.render_to_string

    def counted(template: str, *more: Any, **named: Any) -> str:
        made.append(template)
        return really(template, *more, **named)

    monkeypatch.setattr(frame, "render_to_string", counted)
    with override_settings(FRAGMENT_SECONDS=2.0):
        for address in ("/", f"/category/{sku.product.category_id}/", f"/p/{sku.product_id}/"):
            for later, renders in ((0.0, True), (2.1, False), (58.0, False), (61.0, True)):
                monkeypatch.setattr(frame.time, "monotonic", lambda at=present + later: at)
                made.clear()
                assert client.get(address).status_code == 200
                assert bool(made) is renders, (address, later, made)


def test_search_finds_remembers_and_forgets_words(client: Client) -> None:
    builders.sku(product_name="白茶与雪")
    assert "白茶与雪" in text_of(client.get("/search/?q=白茶"))
    assert "白茶" in text_of(client.get("/search/"))
    nothing = text_of(client.get("/search/?q=<script>"))
    assert "没有找到“&lt;script&gt;”" in nothing
    assert "白茶与雪" in nothing  # what others like
    client.post("/search/forget/")
    assert "最近搜索" not in text_of(client.get("/search/"))


def test_a_broken_cookie_of_words_breaks_nothing(client: Client) -> None:
    client.cookies["pond_words"] = "%7Bnot json"
    assert client.get("/search/").status_code == 200


def test_the_product_page_offers_each_variant_with_its_stock(client: Client) -> None:
    small = builders.sku(name="10 ml", stock=3, list_price_fen=12_900)
    gone = builders.sku(name="50 ml", stock=0, product=small.product)
    page = text_of(client.get(f"/p/{small.product_id}/"))
    assert "仅剩 3 件" in page
    assert "¥129" in page
    options = re.findall(r'name="sku" value="(\d+)"[^>]*?( disabled)?( checked)?>', page)
    assert options == [(str(small.pk), "", " checked"), (str(gone.pk), " disabled", "")]


def test_a_product_taken_off_is_shown_without_anything_to_buy(client: Client) -> None:
    sku = builders.sku()
    services.set_products_status(product_ids=[sku.product_id], status="off")
    page = text_of(client.get(f"/p/{sku.product_id}/"))
    assert "已下架" in page
    assert 'data-test="add-to-cart"' not in page


def test_choosing_without_login_asks_who_she_is_and_keeps_the_choice(client: Client) -> None:
    sku = builders.sku(name="M")
    answer = client.post(
        f"/p/{sku.product_id}/choose/", {"sku": sku.pk, "quantity": 2, "intent": "buy"}, **HTMX
    )
    assert answer.headers["HX-Redirect"].startswith("/login/?next=%2Fp%2F")
    back = client.get(f"/p/{sku.product_id}/?sku={sku.pk}&quantity=2&ask=buy")
    assert 'data-ask="buy"' in text_of(back)
    assert "M × 2" in text_of(back)


def test_adding_to_the_cart_says_so_and_counts(phone: Client, shopper: Any) -> None:
    sku = builders.sku()
    given = {"sku": sku.pk, "quantity": 2, "intent": "cart"}
    answer = phone.post(f"/p/{sku.product_id}/choose/", given, **HTMX)
    assert 'id="cart-count" aria-label="2 件" hx-swap-oob="true">2<' in text_of(answer)
    assert "sheet:close" in answer.headers["HX-Trigger"]
    plain = phone.post(f"/p/{sku.product_id}/choose/", given)
    assert (plain.status_code, plain.headers["Location"]) == (302, "/cart/")
    assert CartLine.objects.get(member_id=shopper.pk).quantity == 4
    assert Activity.objects.filter(member_id=shopper.pk, kind="added_to_cart").count() == 2


@pytest.mark.parametrize("quantity", ["1000", "99999999999999999999", "-1", "０"])
def test_a_refused_quantity_leaves_the_cart_alone(phone: Client, quantity: str) -> None:
    sku = builders.sku()
    answer = phone.post(
        f"/p/{sku.product_id}/choose/", {"sku": sku.pk, "quantity": quantity, "intent": "cart"}
    )
    assert answer.status_code == 400
    assert 'role="alert"' in text_of(answer)
    assert not CartLine.objects.exists()


def test_the_cart_marks_what_changed_and_counts_only_what_can_be_had(phone: Client, shopper: Any) -> None:
    good, dearer = builders.sku(price_fen=10_000), builders.sku(price_fen=20_000)
    short, off = builders.sku(stock=1, price_fen=70_000), builders.sku(price_fen=90_000)
    for sku, quantity in ((good, 1), (dearer, 2), (short, 3), (off, 1)):
        services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk, quantity=quantity)
    CartLine.objects.filter(sku=dearer).update(seen_price_fen=15_000)
    services.set_products_status(product_ids=[off.product_id], status="off")
    page = text_of(phone.get("/cart/"))
    assert page.count('data-test="cart-line"') == 4
    assert "比加入时涨价 ¥50" in page
    assert "仅剩 1 件，请减少数量" in page
    assert "已下架" in page
    assert "已选 3 件" in page
    # What cannot be had does not stand in the way of the rest.
    checkout = phone.get("/checkout/?from=cart")
    assert checkout.context is None or checkout.status_code == 200
    assert sorted(form_of(text_of(checkout))["line"]) == sorted([f"{good.pk}:1", f"{dearer.pk}:2"])


def test_a_cart_line_is_changed_taken_out_and_brought_back(phone: Client, shopper: Any) -> None:
    sku = builders.sku(product_name="旧书房")
    services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk, quantity=1)
    more = phone.post(f"/cart/lines/{sku.pk}/", {"quantity": 3}, **HTMX)
    assert "已选 3 件" in text_of(more)
    assert "<html" not in text_of(more)
    gone = text_of(phone.post(f"/cart/lines/{sku.pk}/", {"quantity": 0}, **HTMX))
    assert "已移除：旧书房" in gone
    assert not CartLine.objects.exists()
    phone.post(f"/cart/lines/{sku.pk}/", {"quantity": 3}, **HTMX)
    assert CartLine.objects.get().quantity == 3
    plain = phone.post(f"/cart/lines/{sku.pk}/", {"quantity": 0})
    assert plain.headers["Location"] == f"/cart/?undo={sku.pk}:3"
    assert "撤销" in text_of(phone.get(plain.headers["Location"]))


def test_ticks_decide_what_goes_to_the_checkout(phone: Client, shopper: Any) -> None:
    one, two = builders.sku(), builders.sku()
    for sku in (one, two):
        services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk)
    phone.post("/cart/", {"sku": [one.pk]}, **HTMX)
    answer = phone.post("/cart/checkout/", {"sku": [one.pk]})
    assert form_of(text_of(phone.get(answer.headers["Location"])))["line"] == [f"{one.pk}:1"]
    phone.post("/cart/", {"all": "1", "sku": [one.pk]}, HTTP_HX_TRIGGER_NAME="all", **HTMX)
    assert len(form_of(text_of(phone.get("/checkout/?from=cart")))["line"]) == 2
    phone.post("/cart/", {"sku": [one.pk, two.pk]}, HTTP_HX_TRIGGER_NAME="all", **HTMX)
    assert phone.get("/checkout/?from=cart").status_code == 400


def test_the_checkout_places_one_order_however_often_it_is_sent(phone: Client, shopper: Any) -> None:
    sku = builders.sku(price_fen=26_800)
    home = home_of(shopper)
    services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk, quantity=2)
    page = text_of(phone.get("/checkout/?from=cart"))
    assert "138****0002" in page
    assert "13800000002" not in page
    assert "¥</small>536" in page
    sent = {**form_of(page), "note": "附 贺卡"}
    first, second = phone.post("/checkout/", sent), phone.post("/checkout/", sent)
    order = Order.objects.get()
    assert first.headers["Location"] == second.headers["Location"] == f"/pay/{order.number}/"
    assert (order.total_fen, order.note, order.street) == (53_600, "附 贺卡", home.street)
    assert not CartLine.objects.exists()
    assert builders.stock_of(sku) == (10, 2)


def test_buying_at_once_leaves_the_cart_as_it_is(phone: Client, shopper: Any) -> None:
    kept, bought = builders.sku(), builders.sku()
    home_of(shopper)
    services.add_to_cart(member_id=shopper.pk, sku_id=kept.pk)
    chosen = {"sku": bought.pk, "quantity": 2, "intent": "buy"}
    to = phone.post(f"/p/{bought.product_id}/choose/", chosen).headers["Location"]
    phone.post("/checkout/", form_of(text_of(phone.get(to))))
    assert Order.objects.get().lines.get().sku_id == bought.pk
    assert CartLine.objects.get().sku_id == kept.pk


def test_what_sold_out_meanwhile_is_said_at_its_line_and_nothing_is_ordered(
    phone: Client, shopper: Any
) -> None:
    sku = builders.sku(stock=2)
    home_of(shopper)
    sent = form_of(text_of(phone.get(f"/checkout/?line={sku.pk}:2")))
    builders.order(builders.member(), (sku, 1))
    answer = phone.post("/checkout/", sent)
    assert answer.status_code == 409
    line = text_of(answer).split('class="line', 1)[1].split("</li>", 1)[0]
    assert "仅剩 1 件" in line
    assert Order.objects.filter(member_id=shopper.pk).count() == 0
    assert form_of(text_of(answer))["key"] == sent["key"]


def test_a_price_that_changed_is_shown_before_anything_is_ordered(phone: Client, shopper: Any) -> None:
    sku = builders.sku(price_fen=10_000)
    home_of(shopper)
    sent = form_of(text_of(phone.get(f"/checkout/?line={sku.pk}:1")))
    sku.price_fen = 12_000
    sku.save(update_fields=["price_fen"])
    answer = phone.post("/checkout/", sent)
    assert answer.status_code == 409
    assert "价格刚刚有变动" in text_of(answer)
    assert not Order.objects.exists()
    phone.post("/checkout/", form_of(text_of(answer)))
    assert Order.objects.get().total_fen == 12_000


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"address": ["0"]}, 422),
        ({"key": ["short"]}, 400),
        ({"line": ["x:y"]}, 400),
        ({"line": ["999:1"]}, 400),
    ],
)
def test_a_tampered_checkout_orders_nothing(
    phone: Client, shopper: Any, change: dict[str, list[str]], status: int
) -> None:
    sku = builders.sku()
    home_of(shopper)
    sent = form_of(text_of(phone.get(f"/checkout/?line={sku.pk}:1")))
    assert phone.post("/checkout/", {**sent, **change}).status_code == status
    assert not Order.objects.exists()


def test_nobody_orders_to_the_address_of_another(phone: Client, shopper: Any) -> None:
    sku = builders.sku()
    home_of(shopper)
    foreign = home_of(builders.member())
    sent = form_of(text_of(phone.get(f"/checkout/?line={sku.pk}:1&address={foreign.pk}")))
    assert sent["address"] != [str(foreign.pk)]
    assert phone.post("/checkout/", {**sent, "address": [str(foreign.pk)]}).status_code == 422
    assert not Order.objects.exists()


def test_an_address_comes_back_to_the_checkout_chosen(phone: Client, shopper: Any) -> None:
    sku = builders.sku()
    page = text_of(phone.get(f"/checkout/?line={sku.pk}:1"))
    assert 'data-test="address-new"' in page
    assert 'data-test="checkout-submit" disabled' in page
    here = f"/checkout/?from=product&line={sku.pk}:1"
    answer = phone.post("/addresses/new/", {**TYPED, "next": here})
    saved = Address.objects.get(member_id=shopper.pk)
    assert answer.headers["Location"] == f"{here}&address={saved.pk}"
    assert form_of(text_of(phone.get(answer.headers["Location"])))["address"] == [str(saved.pk)]


def test_a_wrong_address_is_explained_field_by_field(phone: Client) -> None:
    answer = phone.post("/addresses/new/", {**TYPED, "phone": "1380000000", "city": " "})
    text = text_of(answer)
    assert answer.status_code == 422
    assert "手机号应为 11 位，您填写了 10 位" in text
    assert text.count('aria-invalid="true"') == 2
    assert "武康路" in text
    assert not Address.objects.exists()


def test_a_number_typed_in_full_width_with_country_code_is_understood(phone: Client) -> None:
    phone.post("/addresses/new/", {**TYPED, "phone": "+86 １３８-0000-0002"})
    assert Address.objects.get().phone == "13800000002"


def test_next_never_leads_out_of_the_shop(phone: Client) -> None:
    answer = phone.post("/addresses/new/", {**TYPED, "next": "//evil.example/"})
    assert answer.headers["Location"] == "/addresses/"


def test_addresses_are_listed_edited_made_default_and_deleted(phone: Client, shopper: Any) -> None:
    one, two = home_of(shopper), home_of(shopper, street="北山街 84 号")
    foreign = home_of(builders.member())
    assert text_of(phone.get("/addresses/")).count('data-test="address-row"') == 2
    phone.post(f"/addresses/{two.pk}/default/")
    two.refresh_from_db()
    assert two.is_default
    phone.post(f"/addresses/{one.pk}/", {**TYPED, "receiver": "林小满"})
    one.refresh_from_db()
    assert one.receiver == "林小满"
    assert phone.get(f"/addresses/{foreign.pk}/").status_code == 404
    assert phone.post(f"/addresses/{foreign.pk}/", TYPED).status_code == 404
    assert phone.post(f"/addresses/{foreign.pk}/default/").status_code == 404
    phone.post(f"/addresses/{foreign.pk}/delete/")
    phone.post(f"/addresses/{one.pk}/delete/")
    assert set(Address.objects.values_list("pk", flat=True)) == {two.pk, foreign.pk}


def test_the_till_waits_for_the_notice_and_not_for_the_phone(phone: Client, shopper: Any) -> None:
    order = builders.order(shopper, (builders.sku(), 1))
    page = text_of(phone.get(f"/pay/{order.number}/"))
    assert 'data-test="pay-button"' in page
    assert re.search(r'data-left="(17|18)\d\d"', page)
    assert phone.get(f"/pay/{order.number}/state/").json() == {
        "paid": False,
        "closed": False,
        "status": "pending_payment",
    }
    builders.pay(order)
    assert phone.get(f"/pay/{order.number}/state/?look=1").json()["paid"] is True
    with override_settings(ORDER_TEMPLATES=["TPL-1"]):
        thanks = text_of(phone.get(f"/pay/{order.number}/"))
    assert 'data-test="subscribe-ask"' in thanks
    assert 'data-test="pay-button"' not in thanks
    assert 'data-subscribe="[&#34;TPL-1&#34;]"' in thanks


def test_an_order_out_of_time_is_not_offered_for_payment(phone: Client, shopper: Any) -> None:
    order = builders.order(shopper, (builders.sku(), 1))
    with clock.travel(timedelta(minutes=31)):
        page = text_of(phone.get(f"/pay/{order.number}/"))
        assert "订单已关闭" in page
        assert phone.get(f"/pay/{order.number}/state/").json()["closed"] is True


def test_starting_a_payment_answers_its_parameters_or_says_why_not(phone: Client, shopper: Any) -> None:
    order = builders.order(shopper, (builders.sku(), 1))
    answer = phone.post(f"/pay/{order.number}/", HTTP_ACCEPT="application/json")
    assert answer.status_code == 409
    assert answer.json()["message"] == "本店暂时无法收款，请联系客服。" or answer.json()["message"]
    builders.pay(order)
    assert phone.post(f"/pay/{order.number}/", HTTP_ACCEPT="application/json").json() == {"paid": True}


def test_real_parameters_come_from_wechat_pay(buyer: dict[str, Any]) -> None:
    carrier = HttpResponse()
    sessions.log_in(carrier, buyer["member"])
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    order = builders.order(buyer["member"], (builders.sku(), 1))
    answer = client.post(f"/pay/{order.number}/", HTTP_ACCEPT="application/json").json()
    assert {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"} <= set(answer["parameters"])


def test_inside_wechat_the_checkout_carries_signed_values_for_the_sdk(buyer: dict[str, Any]) -> None:
    carrier = HttpResponse()
    sessions.log_in(carrier, buyer["member"])
    client = Client(headers={"user-agent": "Mozilla/5.0 MicroMessenger/8.0.50"})
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    page = text_of(client.get(f"/checkout/?line={builders.sku().pk}:1"))
    values = json.loads(page.split('id="wechat">', 1)[1].split("</script>", 1)[0])
    assert len(values["signature"]) == 40
    assert 'data-test="address-wechat"' in page


def test_orders_are_shown_by_state_and_only_to_their_member(phone: Client, shopper: Any) -> None:
    sku = builders.sku(stock=50)
    mine, paid = builders.order(shopper, (sku, 1)), builders.pay(builders.order(shopper, (sku, 2)))
    foreign = builders.order(builders.member(), (sku, 1))
    page = text_of(phone.get("/orders/"))
    assert page.count('data-test="order-row"') == 2
    assert foreign.number not in page
    only_paid = text_of(phone.get("/orders/?status=paid"))
    assert paid.number in only_paid
    assert mine.number not in only_paid
    assert "这里还没有订单" in text_of(phone.get("/orders/?status=shipped"))
    assert phone.get(f"/orders/{foreign.number}/").status_code == 404
    assert phone.get(f"/pay/{foreign.number}/").status_code == 404
    assert phone.get(f"/pay/{foreign.number}/state/").status_code == 404
    assert phone.post(f"/orders/{foreign.number}/cancel/").status_code == 404
    foreign.refresh_from_db()
    assert foreign.status == "pending_payment"


def test_an_order_is_cancelled_with_a_reason(phone: Client, shopper: Any) -> None:
    sku = builders.sku()
    order = builders.order(shopper, (sku, 1))
    page = text_of(phone.get(f"/orders/{order.number}/"))
    assert 'data-test="order-status" data-status="pending_payment"' in page
    phone.post(f"/orders/{order.number}/cancel/", {"reason": "拍错了"})
    order.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "拍错了")
    assert builders.stock_of(sku) == (10, 0)
    assert "拍错了" in text_of(phone.get(f"/orders/{order.number}/"))


def test_a_paid_order_is_not_cancelled_and_the_page_says_why(phone: Client, shopper: Any) -> None:
    order = builders.pay(builders.order(shopper, (builders.sku(), 1)))
    answer = phone.post(f"/orders/{order.number}/cancel/")
    assert answer.status_code == 409
    assert 'role="alert"' in text_of(answer)
    order.refresh_from_db()
    assert order.status == "paid"


def test_a_parcel_is_followed_and_confirmed(phone: Client, shopper: Any) -> None:
    order = builders.pay(builders.order(shopper, (builders.sku(), 1)))
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1234567890")
    page = text_of(phone.get(f"/orders/{order.number}/"))
    assert 'data-copy="SF1234567890"' in page
    assert 'data-test="order-receive"' in page
    assert "138****0001" in page
    assert "13800000001" not in page
    assert "上海市静安区延平路" in page  # a municipality is named once
    old_link = phone.get(f"/pay/{order.number}/")
    assert (old_link.status_code, old_link["Location"]) == (302, f"/orders/{order.number}/")
    phone.post(f"/orders/{order.number}/receive/")
    order.refresh_from_db()
    assert order.status == "received"


def test_my_page_counts_open_orders(phone: Client, shopper: Any) -> None:
    builders.order(shopper, (builders.sku(), 1))
    page = text_of(phone.get("/me/"))
    assert "林小满" in page
    assert 'aria-label="1 笔订单">1<' in page


@pytest.mark.parametrize("address", ["/me/", "/cart/", "/orders/", "/addresses/", "/checkout/", "/pay/1/"])
def test_pages_about_a_person_ask_who_she_is_and_lead_back(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/login/?next={address.replace('/', '%2F')}"


def test_inside_wechat_she_is_known_without_a_question_but_never_in_circles(client: Client) -> None:
    wechat = {"HTTP_USER_AGENT": "Mozilla/5.0 MicroMessenger/8.0.50"}
    first = client.get("/search/?q=茶", **wechat)
    assert first.headers["Location"].startswith("/login/?next=%2Fsearch%2F")
    assert client.get("/search/?q=茶", **wechat).status_code == 200
    assert Client().get("/search/?q=茶").status_code == 200


def test_visits_and_views_are_noted_once_in_half_an_hour(phone: Client, shopper: Any) -> None:
    sku = builders.sku()
    noted = Activity.objects.filter(member_id=shopper.pk)
    for _time in range(3):
        phone.get(f"/p/{sku.product_id}/")
        phone.get("/")
    frame._noted.clear()  # another process
    phone.get(f"/p/{sku.product_id}/")
    assert noted.filter(kind="viewed_product", subject=f"product:{sku.product_id}").count() == 1
    assert noted.filter(kind="visited").count() == 1
    with clock.travel(timedelta(minutes=31)):
        phone.get(f"/p/{sku.product_id}/")
    assert noted.filter(kind="viewed_product").count() == 2


def test_no_page_needs_inline_script_or_style(phone: Client, shopper: Any) -> None:
    sku = builders.sku()
    order = builders.order(shopper, (sku, 1))
    home_of(shopper)
    services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk)
    addresses = (
        *("/", "/category/", "/search/", f"/p/{sku.product_id}/", "/cart/", "/checkout/?from=cart", "/me/"),
        *(f"/pay/{order.number}/", "/orders/", f"/orders/{order.number}/", "/addresses/", "/addresses/new/"),
    )
    for address in addresses:
        answer = phone.get(address)
        text = text_of(answer)
        assert answer.status_code == 200, address
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), address
        for script in re.findall(r"<script([^>]*)>", text):
            assert " src=" in script or "application/json" in script, address
        assert not re.search(r"<img(?![^>]* width=)", text), address
        assert not re.search(r"<img(?![^>]* alt=)", text), address


@pytest.mark.parametrize(
    ("address", "most"),
    [
        ("/", 8),
        ("/category/{category}/", 3),
        ("/search/?sort=sold", 3),
        ("/search/?q=香", 3),
        ("/p/{product}/", 6),
        ("/cart/", 4),
        ("/checkout/?from=cart", 6),
        ("/pay/{order}/", 9),
        ("/me/balance/", 7),
        ("/orders/", 4),
        ("/orders/{order}/", 7),
        ("/me/", 6),
        ("/addresses/", 3),
    ],
)
def test_every_page_has_its_ceiling_of_queries(
    phone: Client,
    shopper: Any,
    django_assert_max_num_queries: Callable[..., Any],
    address: str,
    most: int,
) -> None:
    shelf = Category.objects.create(name="香水")
    skus = [builders.sku(product_name=f"香 {number}", category=shelf) for number in range(6)]
    for sku in skus:
        services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk)
    home_of(shopper)
    orders = [builders.order(shopper, *((sku, 1) for sku in skus)) for _number in range(3)]
    frame._noted.clear()
    for kind in ("visited", "viewed_product"):  # the notes themselves are measured elsewhere
        frame._noted[(shopper.pk, kind, "")] = clock.now()
    frame._noted[(shopper.pk, "viewed_product", f"product:{skus[0].product_id}")] = clock.now()
    for step in ("cart", "address"):
        frame._noted[(shopper.pk, f"funnel:{step}:", f"{clock.today()}")] = clock.now()
    target = address.format(category=shelf.pk, product=skus[0].product_id, order=orders[0].number)
    with django_assert_max_num_queries(most):
        assert phone.get(target).status_code == 200


def test_a_kept_shelf_costs_a_stranger_no_query_at_all(
    client: Client, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    shelf = Category.objects.create(name="香水")
    builders.sku(category=shelf)
    with override_settings(FRAGMENT_SECONDS=2.0):
        client.get(f"/category/{shelf.pk}/")
        with django_assert_max_num_queries(0):
            client.get(f"/category/{shelf.pk}/")


@pytest.mark.django_db
def test_a_visitor_is_greeted_once_in_half_an_hour_by_the_clock_of_the_shop() -> None:
    visitor = Client(HTTP_USER_AGENT="Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 MicroMessenger/8.0.50")
    assert visitor.get("/").status_code == 302
    assert visitor.get("/").status_code == 200
    with clock.travel(timedelta(days=60)):
        assert visitor.get("/").status_code == 302
    visitor.cookies["pond_greeted"] = "no number"
    assert visitor.get("/").status_code == 302
