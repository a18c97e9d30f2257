"""What the shop is for, clicked from the first page to the last: by shoppers, at the counter, in the admin."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from core.audits import run_audit
from crm.models import MemberStats
from shop import services
from shop.models import (
    CouponGrant,
    Fulfilment,
    Offer,
    OfferWaiting,
    Order,
    OrderLine,
    Payment,
    PointsPolicy,
    Refund,
    Voucher,
)
from tests.shop import builders, goods, instruments
from tests.shop.stage import Stage, before_the_scripts, opened
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, store

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stage(
    browser: Any, sandbox_process: Any, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Stage]:
    with opened(browser, sandbox_process, django_db_blocker) as made:
        yield made


@pytest.fixture(autouse=True)
def phones_are_put_away(stage: Stage) -> Iterator[None]:
    yield
    stage.put_phones_away()


def credit(member_id: int, principal_fen: int, bonus_fen: int = 0) -> None:
    services.credit_stored_value(
        member_id=member_id,
        principal_fen=principal_fen,
        bonus_fen=bonus_fen,
        reason="门店充值",
        idempotency_key=f"journey-{member_id}",
    )


def pay_with_balance(page: Any) -> None:
    """From the checkout to the order's page, without WeChat."""
    page.click("[data-test=checkout-submit]")
    page.check("[data-test=use-balance]")
    page.click("[data-test=pay-button]")
    page.click("[data-test=pay-to-order]")


def order_of(member_id: int) -> Order:
    return Order.objects.filter(member_id=member_id).latest("pk")


def rows(page: Any, name: str) -> list[str]:
    """What each of some lines says, without breaks."""
    page.locator(f"[data-test={name}]").first.wait_for()
    page.wait_for_load_state("domcontentloaded")  # the last of them is there as well
    return ["".join(text.split()) for text in page.locator(f"[data-test={name}]").all_inner_texts()]


def test_she_searches_chooses_types_an_address_and_pays_with_wechat(stage: Stage) -> None:
    her = stage.shopper("林小满", has_address=False)
    shirt = builders.sku(name="M", price_fen=12_900, product_name="月白真丝衬衫")
    larger = builders.sku(name="L", price_fen=13_900, product=shirt.product)
    page = her.page
    page.goto("/")
    stage.look(page, "home")
    page.click(".seek")
    page.fill("#words", "zhensi")
    expect(page.locator("[data-test=guesses]")).to_contain_text("月白真丝衬衫")
    stage.look(page, "guesses")
    page.press("#words", "Enter")
    page.click("[data-test=product-card]")
    page.click("[data-test=buy-now]")
    page.locator("[data-test=sku-option]", has_text="L").click()
    stage.look(page, "choose")
    page.click("[data-test=sku-confirm]")
    page.click("[data-test=address-new]")
    page.fill("[data-test=address-paste]", "王小池 13800000001 上海市静安区延平路1号2室")
    page.click("[data-test=address-read]")
    expect(page.locator("#f-receiver")).to_have_value("王小池")
    stage.look(page, "address")
    page.click("[data-test=address-save]")
    expect(page.locator("[data-test=totals] .all")).to_contain_text("139")
    stage.look(page, "checkout")
    page.click("[data-test=checkout-submit]")
    stage.look(page, "till")
    page.click("[data-test=pay-button]")
    expect(page.locator("#till")).to_have_attribute("data-state", "waiting")
    stage.work()
    expect(page.locator("[data-test=pay-success]")).to_be_visible()
    stage.look(page, "paid")
    page.click("[data-test=pay-to-order]")
    expect(page.locator("[data-test=order-status]")).to_have_attribute("data-status", "paid")
    assert rows(page, "order-source") == ["微信支付¥139"]
    stage.look(page, "order")
    order = order_of(her.pk)
    assert (order.total_fen, order.paid_fen, order.receiver) == (13_900, 13_900, "王小池")
    assert list(order.payments.values_list("kind", "status", "paid_fen")) == [("jsapi", "paid", 13_900)]
    assert builders.stock_of(larger) == (10, 1)
    assert MemberStats.objects.get(pk=her.pk).orders_count == 1


def test_an_order_split_over_two_stores_is_sent_by_both(stage: Stage) -> None:
    lake, heaven = store(HUBIN), store(XINTIANDI)
    dress = builders.sku(stock=0, price_fen=9_900, product_name="茶绿亚麻长裙")
    scarf = builders.sku(stock=0, price_fen=3_900, product_name="睡莲真丝方巾", name="单件")
    lay(dress, lake, 2)
    lay(scarf, heaven, 2)
    her = stage.shopper("苏雨桐")
    credit(her.pk, 20_000)
    for sku in (dress, scarf):
        services.add_to_cart(member_id=her.pk, sku_id=sku.pk)
    page = her.page
    page.goto("/cart/")
    page.click("[data-test=cart-checkout]")
    pay_with_balance(page)
    expect(page.locator("[data-test=parts]")).to_contain_text("2 个包裹")
    stage.look(page, "split")
    order = order_of(her.pk)
    assert (level(dress, lake), level(scarf, heaven)) == ((2, 1), (2, 1))

    for number, part in enumerate(order.fulfilments.order_by("pk"), 1):
        stage.boss.goto(f"/admin/shop/fulfilment/{part.pk}/change/")
        stage.press("本店发货", "发货", tracking_number=f"SF10{number}")
        page.reload()
        expect(page.locator("[data-test=parts]")).to_contain_text(f"SF10{number}")
        is_last = number == 2
        status = "shipped" if is_last else "paid"
        expect(page.locator("[data-test=order-status]")).to_have_attribute("data-status", status)
    stage.look(page, "split-sent")
    stage.boss.goto("/admin/shop/fulfilment/")
    expect(stage.boss.locator("#result_list")).to_contain_text(order.number)
    stage.look(stage.boss, "admin-fulfilments")
    assert set(order.fulfilments.values_list("state", "reason")) == {("shipped", "split")}
    assert (level(dress, lake), level(scarf, heaven)) == ((1, 0), (1, 0))
    order.refresh_from_db()
    assert (order.status, order.shipments.count(), order.total_fen) == ("shipped", 2, 13_800)


def test_a_pickup_is_handed_over_at_the_counter_once(stage: Stage) -> None:
    heaven = store(XINTIANDI)
    candle = builders.sku(stock=3, price_fen=19_800, product_name="桂花大豆蜡烛", name="单件")
    lay(candle, heaven, 2)
    her, counter = stage.shopper("陈清欢"), stage.clerk(heaven)
    credit(her.pk, 20_000)
    page = her.page
    page.goto(f"/checkout/?line={candle.pk}:1&from=product")
    page.click("[data-test=choose-pickup]")
    stage.look(page, "pickup-stores")
    page.locator("[data-test=pickup-store]", has_text="新天地店").click()
    expect(page.locator("[data-test=choose-pickup]")).to_contain_text("到店自提：新天地店")
    stage.look(page, "checkout-pickup")
    pay_with_balance(page)
    code = page.locator("[data-test=pickup-code]").inner_text()
    stage.look(page, "pickup-code")

    counter.goto("/staff/pickup/")
    stage.look(counter, "counter")
    counter.click("[data-test=make-ready]")
    counter.fill("#code", code)
    counter.click("[data-test=look-up]")
    expect(counter.locator("[data-test=found]")).to_contain_text("桂花大豆蜡烛")
    stage.look(counter, "counter-found")
    counter.click("[data-test=hand-over]")
    expect(counter.locator("[data-test=handed-over]")).to_be_visible()
    counter.fill("#code", code)
    counter.click("[data-test=look-up]")
    expect(counter.locator("[data-test=refused]")).to_contain_text("请勿交货")
    stage.look(counter, "counter-refused")
    page.reload()
    expect(page.locator("[data-test=order-status]")).to_have_attribute("data-status", "received")
    stage.look(page, "collected")
    assert list(order_of(her.pk).fulfilments.values_list("kind", "state", "actor")) == [
        (Fulfilment.PICKUP, Fulfilment.HANDED_OVER, "李娜")
    ]
    assert (level(candle, heaven), level(candle, services.warehouse_id())) == ((1, 0), (3, 0))


def test_a_voucher_is_redeemed_at_the_counter_once(stage: Stage) -> None:
    lake = store(HUBIN)
    care = goods.service(price_fen=9_800, stores=(lake,))
    her, counter = stage.shopper("沈知夏"), stage.clerk(lake, "王敏")
    credit(her.pk, 9_800)
    order = goods.ordered(her.member, (care, 1))
    services.start_payment(order_id=order.pk, member_id=her.pk, stored_value_fen=9_800)
    page = her.page
    page.goto("/vouchers/")
    page.click("[data-test=voucher-row]")
    code = page.locator("[data-test=voucher-code]").inner_text()
    stage.look(page, "voucher")

    counter.goto("/staff/vouchers/")
    counter.fill("#code", code)
    counter.click("[data-test=look-up]")
    expect(counter.locator("[data-test=found]")).to_contain_text(order.number)
    stage.look(counter, "voucher-found")
    counter.click("[data-test=redeem]")
    expect(counter.locator("[data-test=redeemed]")).to_contain_text("核销成功")
    stage.look(counter, "voucher-redeemed")
    counter.fill("#code", code)
    counter.click("[data-test=look-up]")
    expect(counter.locator("[data-test=refused]")).to_contain_text("湖滨店")
    stage.look(counter, "voucher-refused")
    page.reload()
    expect(page.locator("[data-test=voucher-state]")).to_have_attribute("data-state", "redeemed")
    assert list(Voucher.objects.values_list("state", "store", "actor")) == [("redeemed", lake.pk, "王敏")]


def test_coupon_points_balance_and_wechat_pay_and_a_part_goes_back_to_each(stage: Stage) -> None:
    PointsPolicy.objects.create(pk=1, fen_per_100=100, cap_bps=5_000, least=100)
    dress = builders.sku(price_fen=9_900, product_name="雾蓝真丝衬衫裙")
    scarf = builders.sku(price_fen=6_800, product_name="羊绒围巾", name="单件")
    her = stage.shopper("周若溪")
    instruments.coupon(code="welcome-20", name="新人满 50 减 20")
    instruments.give_points(her.member, 600)
    credit(her.pk, 12_000, 5_000)
    services.add_to_cart(member_id=her.pk, sku_id=dress.pk, quantity=2)
    services.add_to_cart(member_id=her.pk, sku_id=scarf.pk)
    page = her.page

    page.goto("/coupons/")
    page.click("[data-test=open-coupon]")
    page.click("[data-test=claim-coupon]")
    stage.look(page, "coupon-taken")
    page.goto("/checkout/")
    page.click("[data-test=points-switch]")
    expect(page.locator("[data-test=totals] .all")).to_contain_text("240")
    assert [text.replace("−", "-") for text in rows(page, "saving")] == [
        "优惠券新人满50减20-¥20",
        "积分-¥6",
    ]
    stage.look(page, "checkout-savings")
    with before_the_scripts(page):
        page.click("[data-test=checkout-submit]")
        page.check("[data-test=use-balance]")
    expect(page.locator("[data-rest]")).to_have_text("¥70.00")
    stage.look(page, "till-balance")
    page.click("[data-test=pay-button]")
    expect(page.locator("#till")).to_have_attribute("data-state", "waiting")
    stage.work()
    page.click("[data-test=pay-to-order]")
    assert rows(page, "order-source") == ["储值余额¥170", "微信支付¥70"]
    stage.look(page, "order-money")
    order = order_of(her.pk)
    line = OrderLine.objects.get(order=order, sku=dress)
    assert (order.total_fen, order.points_used, line.total_fen) == (24_000, 600, 17_864)
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF77001", by="小运")

    page.reload()
    page.click("[data-test=aftersale-apply]")
    page.locator("[data-test=aftersale-kind]", has_text="退货退款").click()
    page.get_by_label("雾蓝真丝衬衫裙").check()
    page.fill(f"[name=quantity-{line.pk}]", "1")
    stage.look(page, "aftersale-form")
    page.click("[data-test=aftersale-send]")
    aftersale = order.aftersales.get()
    stage.boss.goto("/admin/shop/aftersale/")
    stage.look(stage.boss, "admin-aftersales")
    stage.boss.get_by_role("link", name=aftersale.number).click()
    stage.press("同意", "同意")
    page.reload()
    page.fill("[name=tracking_number]", "SF77002")
    page.fill("[name=carrier]", "顺丰速运")
    stage.look(page, "aftersale-parcel")
    page.click("[data-test=aftersale-parcel]")
    stage.boss.reload()
    stage.press("确认收货", "确认收货")
    stage.look(stage.boss, "admin-aftersale")
    stage.work()
    page.reload()
    expect(page.locator("[data-test=aftersale-status]")).to_have_attribute("data-status", "refunded")
    assert rows(page, "aftersale-back") == ["微信支付¥70", "储值余额¥19.32"]
    assert rows(page, "aftersale-points") == ["积分223"]
    stage.look(page, "aftersale-done")
    page.get_by_role("link", name=order.number).click()
    assert rows(page, "order-back") == ["微信支付¥70", "储值余额¥19.32"]
    stage.look(page, "order-part-back")

    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == ("shipped", 8_932)
    refunds = Refund.objects.filter(order=order).values_list("payment__kind", "amount_fen", "status")
    assert set(refunds) == {("jsapi", 7_000, "success"), ("stored_value", 1_932, "success")}
    assert set(order.payments.values_list("kind", "paid_fen", "refunded_fen")) == {
        (Payment.JSAPI, 7_000, 7_000),
        (Payment.STORED_VALUE, 17_000, 1_932),
    }
    page.goto("/me/balance/")
    expect(page.locator("[data-test=balance]")).to_have_text("¥19.32")
    stage.look(page, "balance")
    assert instruments.points_of(her.member) == (223, 0)
    assert CouponGrant.objects.get(member_id=her.pk).state == "used"
    assert (builders.stock_of(dress), builders.stock_of(scarf)) == ((9, 0), (9, 0))


def test_a_flash_offer_sells_out_and_its_waiting_list_is_told_when_a_piece_comes_back(stage: Stage) -> None:
    balm = builders.sku(price_fen=8_800, product_name="栀子香膏", name="单件")
    flash = instruments.offer(balm, name="十点秒杀", price_fen=990, quota=1)
    first, second = stage.shopper("郑安然"), stage.shopper("何南星")
    credit(second.pk, 5_000)
    here = f"/p/{balm.product_id}/"
    first.page.goto(here)
    stage.look(first.page, "flash")
    first.page.goto(f"/checkout/?line={balm.pk}:1&from=product")
    expect(first.page.locator("[data-test=totals] .all")).to_contain_text("9.90")
    first.page.click("[data-test=checkout-submit]")
    expect(first.page.locator("#till .sum")).to_contain_text("9.90")

    second.page.goto(here)
    expect(second.page.locator("[data-test=offer]")).to_contain_text("已售罄")
    second.page.click("[data-test=offer-wait]")
    expect(second.page.locator("[data-test=offer-leave]")).to_be_visible()
    stage.look(second.page, "waiting")
    assert OfferWaiting.objects.get(offer=flash).member_id == second.pk

    stage.work()  # the house knows by now that she follows, and may write to her
    first.page.goto(f"/orders/{order_of(first.pk).number}/")
    first.page.click("[data-test=order-cancel]")
    stage.look(first.page, "cancel")
    first.page.click("[data-test=order-cancel-confirm]")
    expect(first.page.locator("[data-test=order-status]")).to_have_attribute("data-status", "cancelled")
    stage.work()
    assert OfferWaiting.objects.get(offer=flash).told_at is not None

    second.page.goto(here)
    expect(second.page.locator("[data-test=offer]")).to_contain_text("1")
    second.page.goto(f"/checkout/?line={balm.pk}:1&from=product")
    pay_with_balance(second.page)
    assert rows(second.page, "order-saving") == ["活动价十点秒杀−¥78.10"]
    stage.look(second.page, "flash-order")
    assert Offer.objects.get(pk=flash.pk).taken == 1
    assert (order_of(second.pk).status, order_of(second.pk).paid_fen) == ("paid", 990)
    assert builders.stock_of(balm) == (10, 1)


def test_one_tap_is_an_order_and_who_gets_none_reads_why(stage: Stage) -> None:
    soap = builders.sku(price_fen=6_800, product_name="白茶手工皂", name="单件")
    flash = instruments.offer(soap, name="今晚秒杀", price_fen=990, quota=1)
    her, late = stage.shopper("沈知意"), stage.shopper("顾小舟")
    other_tab = her.page.context.new_page()
    for page in (her.page, other_tab, late.page):
        page.goto(f"/p/{soap.product_id}/")
    stage.look(her.page, "hot")
    her.page.tap("[data-test=grab]")
    expect(her.page.locator("#till .sum")).to_contain_text("9.90")
    stage.look(her.page, "hot-till")
    order = order_of(her.pk)
    assert (order.status, order.total_fen, order.receiver) == ("pending_payment", 990, "王小池")

    other_tab.tap("[data-test=grab]")
    expect(other_tab.locator("#refusal")).to_contain_text("每人限购的数量您已经抢到了")
    expect(other_tab.locator("[data-test=grab]")).to_have_count(0)
    stage.look(other_tab, "hot-limit")
    late.page.tap("[data-test=grab]")
    expect(late.page.locator("#refusal")).to_contain_text("晚了一步，已被抢光")
    expect(late.page.locator("[data-test=offer-wait]")).to_be_visible()
    stage.look(late.page, "hot-gone")
    assert Offer.objects.get(pk=flash.pk).taken == Order.objects.filter(lines__sku=soap).count() == 1


def test_the_whole_day_adds_up_and_no_page_complained(stage: Stage) -> None:
    assert run_audit()[1] == []
    assert stage.complaints == []
