"""The main job, end to end, as people do it: on the phone, in the shop, in the admin.

It comes last in the house of the killed programs and disturbed notices: a shop that has been through something.
"""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.shopper import Shopper
from tests.house import House, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.processes]

DAY = 86_400
CARE_TEMPLATE = "tmpl-new-arrivals"

SEED = """
from django.contrib.auth.models import User
from crm.services import make_qr_code
from crm.models import ChannelCode, Tag, TagGroup
from campaigns.models import WinBackRule
from core import clock
from wechat.queries import find_account
from wechat.services import set_menu

User.objects.create_superuser("admin", password="chain-test-password")
moment = clock.now()
brand = find_account("service", "brand")
tag = Tag.objects.create(group=TagGroup.objects.create(name="街区"), name="徐汇扫码")
code = ChannelCode.objects.create(name="徐汇店收银台", account=brand, kind="oa", scene="store-xuhui",
    welcome_text="欢迎来到池塘，新品每周二上架。", created_at=moment)
code.tags.add(tag)
make_qr_code(code_id=code.pk)
set_menu(account_id=brand.pk, buttons=[{"type": "view", "name": "逛商城", "url": "SHOP/"}])
WinBackRule.objects.create(name="沉睡 60 天唤醒", is_active=True, silent_days=60, account=brand,
    channels=["subscribe", "mass"], kind="link", title="好久不见，给你留了一支香", description="新品已上架",
    url="SHOP/", template_id="TEMPLATE", template_fields={"thing1": "好久不见，新品已上架"}, created_at=moment)
"""


@pytest.fixture(scope="module")
def house(house_with_shop: House) -> House:
    """On a day of its own: what the operator reads about today is about her."""
    house = house_with_shop
    house.api("faults", method="DELETE")
    house.advance(40 * DAY)
    house.python(SEED.replace("SHOP", house.shop).replace("TEMPLATE", CARE_TEMPLATE))
    return house


OF_HERS = """
    SELECT DISTINCT coalesce(m.merged_into_id, m.id) FROM crm_identity i JOIN crm_member m ON m.id = i.member_id
    WHERE i.value = ANY(%s)
"""


def buy(page: Page) -> None:
    """Inside the phone, from a product page on: choose, check out with an address of WeChat, pay, see it paid."""
    shop = page.frame_locator("iframe[name=phone-browser]")
    shop.locator('[data-test="buy-now"]').first.click()
    shop.locator('[data-test="sku-option"]').filter(has_text="50ml").click()
    shop.locator('[data-test="sku-confirm"]').click()
    submit = shop.locator('[data-test="checkout-submit"]')
    submit.wait_for()
    if not submit.is_enabled():  # she has no address yet
        shop.locator('[data-test="address-wechat"]').first.click()
        page.locator('[data-test="address-pick"]').first.click()
    expect(submit).to_be_enabled()
    submit.click()
    shop.locator('[data-test="pay-button"]').click()
    expect(page.locator('[data-test="pay-amount"]')).to_contain_text("299")
    page.click('[data-test="pay-confirm"]')
    expect(shop.locator('[data-test="pay-success"]')).to_be_visible()


def test_she_scans_buys_goes_quiet_is_won_back_and_the_operator_sees_it(
    house: House, page: Page, context: Any
) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.set_viewport_size({"width": 1280, "height": 900})
    she = house.api("people", {"name": "小雨"})
    openid = Shopper(house, she).openid
    names = [*she["openids"].values(), she["unionid"]]
    everybody = "SELECT count(*) FROM crm_member WHERE merged_into_id IS NULL"
    others = house.value(everybody)

    # The code on the counter was made by Pond itself, so it stands among the codes to scan.
    page.goto(f"{house.sandbox}/?person={she['id']}")
    page.click('[data-test="scan-open"], [data-test="scan-open-empty"]')
    page.click('[data-test="code"][data-note="store-xuhui"]')
    page.wait_for_selector('[data-test="message"]:has-text("欢迎来到池塘")')

    # She opens the shop from the menu, buys and pays.
    page.click('[data-test="menu-item"]:has-text("逛商城")')
    shop = page.frame_locator("iframe[name=phone-browser]")
    shop.locator('[data-test="product-card"]').first.click()
    buy(page)

    # She is one member with a history, in the admin too.
    admin = context.new_page()
    admin.goto(f"{house.shop}/admin/")
    admin.fill("input[name=username]", "admin")
    admin.fill("input[name=password]", "chain-test-password")
    admin.click("button[type=submit]")
    expect(admin.locator("body")).to_contain_text("299.00")
    assert house.value(everybody) == others + 1
    ((member,),) = house.sql(OF_HERS, names)
    figures = "SELECT orders_count, paid_fen FROM crm_memberstats WHERE member_id = %s"
    assert house.sql(figures, member) == [(1, 29900)]
    tags = "SELECT t.name FROM crm_membertag m JOIN crm_tag t ON t.id = m.tag_id WHERE m.member_id = %s"
    assert house.sql(tags, member) == [("徐汇扫码",)]
    house.api(
        f"people/{she['id']}/subscribe", {"account": "brand", "template_id": CARE_TEMPLATE, "accept": True}
    )
    wait_until(
        lambda: house.sql(
            "SELECT 1 FROM wechat_subscriptionquota WHERE openid = %s AND remaining > 0", openid
        ),
        what="her consent",
    )

    # The operator ships.
    admin.goto(f"{house.shop}/admin/shop/order/")
    admin.locator("#result_list tbody tr a").first.click()
    expect(admin.locator("body")).to_contain_text("小雨")

    # Sixty days of silence, in a moment; a scheduled job finds her and sends what she allowed.
    control = context.new_page()
    control.goto(f"{house.sandbox}/control")
    for _ in range(3):
        control.click('[data-test="advance-month"]')
    wait_until(lambda: house.api("clock")["offset_seconds"] >= 90 * DAY, what="the third month")

    def win_backs() -> list[Any]:
        return [
            one for one in house.api(f"people/{she['id']}/inbox") if one["channel"] in ("subscribe", "mass")
        ]

    wait_until(win_backs, what="the win-back")
    page.bring_to_front()  # what lies behind another page is drawn once a second
    page.goto(f"{house.sandbox}/?person={she['id']}")
    page.click('[data-test="chat-brand"]')
    card = page.locator('[data-test="message"]').filter(has_text="好久不见")
    expect(card).to_have_count(1)
    assert house.sql("SELECT status FROM campaigns_winbackspell WHERE member_id = %s", member) == [("sent",)]

    # She taps it, comes back and buys again.
    card.click()
    shop.locator('[data-test="product-card"]').first.click()
    buy(page)
    assert house.sql(figures, member) == [(2, 59800)]

    # The operator sees all of it.
    admin.goto(f"{house.shop}/admin/crm/member/")
    admin.locator("#result_list tbody tr a").first.click()
    expect(admin.locator("body")).to_contain_text("598.00")
    expect(admin.locator("body")).to_contain_text("徐汇扫码")
    admin.goto(f"{house.shop}/admin/campaigns/winbackrule/")
    expect(admin.locator("body")).to_contain_text("沉睡 60 天唤醒")
    assert "0 findings" in house.manage("audit")
    assert problems == []
