"""The shop in a real browser under its strict content policy: what only a script or a layout can get wrong."""

import os
import re
from typing import Any

import pytest
from django.http import HttpResponse

from crm import sessions
from crm.services import prepare_months_ahead
from shop.models import Attribute, AttributeValue, CartLine, Category
from shop.pages import frame
from shop.services import refresh_products
from tests.shop import builders
from tests.shop.bank import Bank
from tests.shop.stage import before_the_scripts, note_complaints

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WATCH_SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.fixture
def shopper() -> Any:
    frame.forget_fragments()
    frame._noted.clear()
    prepare_months_ahead(1)
    return builders.member(name="林小满")


@pytest.fixture
def page(browser: Any, live_server: Any, shopper: Any) -> Any:
    """A narrow phone, logged in; every complaint of the browser fails the test."""
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, has_touch=True, locale="zh-CN", base_url=live_server.url
    )
    login = {"name": sessions.COOKIE, "value": carrier.cookies[sessions.COOKIE].value, "url": live_server.url}
    context.add_cookies([login])
    context.add_init_script(WATCH_SHIFTS)
    opened = context.new_page()
    complaints: list[str] = []
    note_complaints(opened, complaints)
    yield opened
    context.close()
    assert complaints == []


def test_choosing_counting_and_undoing_need_no_new_page(page: Any, shopper: Any) -> None:
    small = builders.sku(name="10 ml", price_fen=26_800)
    large = builders.sku(name="50 ml", price_fen=68_000, product=small.product, stock=3)
    with before_the_scripts(page):
        page.goto(f"/p/{small.product_id}/", wait_until="commit")
        page.click("[data-test=add-to-cart]")
        page.locator("[data-test=sku-option]", has_text="50 ml").click()
        assert page.locator("dialog").locator("[name=intent]:visible, [data-step]:visible").count() == 1
    expect(page.locator("dialog[open] [name=intent]:visible")).to_have_count(1)
    page.click("dialog [data-step='1']")
    expect(page.locator("dialog .price")).to_have_text("¥680")
    page.click("[data-test=sku-confirm]")
    expect(page.locator("#cart-count")).to_have_text("2")
    expect(page.locator("#toast")).to_contain_text("已加入购物车")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.click("[data-test=tab-cart]")
    more = page.get_by_label("增加一件")
    more.click()
    expect(page.locator(".cart-bar .sum")).to_contain_text("2,040")
    expect(more).to_be_disabled()  # three is all there is
    page.get_by_label("移除").click()
    page.click("[data-test=cart-undo]")
    page.wait_for_selector("[data-test=cart-line]")
    assert CartLine.objects.get(member_id=shopper.pk).quantity == 3
    with before_the_scripts(page):
        page.goto("/cart/", wait_until="commit")
        page.locator("[data-test=cart-line] input[type=checkbox]").click()
    expect(page.locator("[data-test=cart-checkout]")).to_be_disabled()
    assert CartLine.objects.get(sku=large).is_selected is False


def test_the_shelf_grows_while_she_scrolls_and_nothing_jumps_or_overflows(page: Any) -> None:
    shelf = Category.objects.create(name="香水")
    skus = [
        builders.sku(product_name=f"很长的名字让卡片换行的香水 {number}", category=shelf)
        for number in range(24)
    ]
    page.goto(f"/category/{shelf.pk}/")
    assert page.locator("[data-test=product-card]").count() == 20
    page.locator(".more").scroll_into_view_if_needed()
    expect(page.locator("[data-test=product-card]")).to_have_count(24)
    for address in ("/", f"/category/{shelf.pk}/", f"/p/{skus[0].product_id}/", "/cart/", "/me/", "/orders/"):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, address
        assert page.evaluate("window.shifted") < 0.02, address
        small = page.evaluate(
            """[...document.querySelectorAll("main a, main button, .foot a, .foot button")]
               .filter((one) => one.offsetParent && !one.closest("dialog") && one.getBoundingClientRect().height < 43.5)
               .map((one) => one.outerHTML.slice(0, 90))"""
        )
        assert small == [], address


def test_the_till_says_what_to_do_outside_of_wechat(
    page: Any, shopper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bank().answer_for(monkeypatch)
    builders.pay_account()
    order = builders.order(shopper, (builders.sku(), 1))
    page.set_extra_http_headers({"User-Agent": "MicroMessenger"})  # as the server sees it; there is no bridge
    with before_the_scripts(page):
        page.goto(f"/pay/{order.number}/", wait_until="commit")
        page.click("[data-test=pay-button]")
    expect(page.locator("#till")).to_have_attribute("data-state", "outside")
    expect(page.locator("#till .notice:visible")).to_contain_text("请在微信中打开本页完成支付")
    assert page.locator("[data-test=pay-button]").is_visible()


def test_from_a_slip_in_the_search_field_to_the_size_that_is_left(page: Any) -> None:
    silk = AttributeValue.objects.create(attribute=Attribute.objects.create(name="材质"), name="真丝")
    dress = builders.sku(
        product_name="法式雾蓝连衣裙", name="雾蓝 S", spec={"颜色": "雾蓝", "尺码": "S"}
    ).product
    for colour, size, left in (("雾蓝", "M", 0), ("米白", "S", 0), ("米白", "M", 4)):
        builders.sku(
            product=dress,
            name=f"{colour} {size}",
            spec={"颜色": colour, "尺码": size},
            stock=left,
            price_fen=8_800,
        )
    builders.sku(product_name="百褶连衣裙")
    dress.values.add(silk)
    refresh_products()
    with before_the_scripts(page):
        page.goto("/search/", wait_until="commit")
        page.fill("#words", "百褶")
    expect(page.locator("[data-test=guesses]")).to_contain_text("百褶连衣裙")
    page.fill("#words", "")
    page.locator("#words").press_sequentially("wulanlianyqun", delay=5)
    page.locator("[data-test=guesses] a", has_text="法式雾蓝连衣裙").click()
    expect(page.locator("[data-test=product-card]")).to_have_count(1)
    page.goto("/search/?q=裙子")
    expect(page.locator("[data-test=product-card]")).to_have_count(2)
    page.click("[data-test=filters]")
    page.locator("dialog .option", has_text="真丝").click()
    expect(page.locator("[data-test=apply-filters]")).to_contain_text("1")
    page.click("[data-test=apply-filters]")
    expect(page.locator("[data-test=product-card]")).to_have_count(1)
    assert f"a{silk.attribute_id}={silk.pk}" in page.url
    page.locator(".sorts a", has_text="人气").click()
    expect(page.locator("[data-test=filter-on]")).to_have_text(re.compile("真丝"))
    page.click("[data-test=product-card]")
    page.click("[data-test=add-to-cart]")
    choices = page.locator("[data-test=spec-option]:visible")
    expect(choices).to_have_count(4)
    choices.filter(has_text="米白").click()  # only M is left of it
    assert page.locator("[name=sku]:checked").get_attribute("data-name") == "米白 M"
    expect(page.locator("dialog .price")).to_have_text("¥88")
    page.click("[data-test=sku-confirm]")
    expect(page.locator("#cart-count")).to_have_text("1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
