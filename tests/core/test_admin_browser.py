"""Pages of the admin in a real browser: no script fails, nothing is fetched from outside, nothing sticks out.

Of the pages that are all made the same way every sixteenth is visited; `POND_EVERY_PAGE=1` visits each of them.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from core import clock

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PHONE = {"width": 375, "height": 812}
STICKS_OUT = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss", password="admin-browser-password")


@pytest.fixture
def page(browser: Any, live_server: Any, boss: User) -> Iterator[Any]:
    client = Client()
    client.force_login(boss)
    context = browser.new_context(viewport=PHONE, locale="zh-CN", base_url=live_server.url)
    context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )
    opened = context.new_page()
    opened.complaints = []
    opened.on("pageerror", lambda error: opened.complaints.append(f"{opened.url}: {error}"))
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((live_server.url, "data:", "blob:"))
            else opened.complaints.append(f"{opened.url}: fetches {request.url}")
        ),
    )
    yield opened
    context.close()


EVERY = os.environ.get("POND_EVERY_PAGE") == "1"


def addresses(boss: User) -> list[str]:
    """The home, the audit, and of every registered model its list, its empty form and its newest row.

    Unless EVERY: rows with scripts of their own (see `some_rows`) all, lists and empty forms every sixteenth.
    """
    request = RequestFactory().get("/admin/")
    request.user = boss
    found = [reverse("admin:index"), reverse("admin:audit")]
    alike = []
    for model, page_of in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        alike.append(reverse(f"{name}_changelist"))
        if page_of.has_add_permission(request):
            alike.append(reverse(f"{name}_add"))
        if model._meta.app_label not in ("pghistory", "axes"):
            newest = page_of.get_queryset(request).order_by("-pk").first()
            if newest is not None:
                found.append(reverse(f"{name}_change", args=[newest.pk]))
    return found + (alike if EVERY else alike[::16])


def some_rows(boss: User) -> None:
    """One of each thing whose page has scripts of its own."""
    from campaigns.models import Broadcast
    from crm.models import ChannelCode, Segment, TouchPolicy
    from shop.models import Category
    from tests.shop import builders
    from wechat.models import Account

    account = Account.objects.create(kind="service", key="brand", name="池塘", appid="wx0000000000000001")
    TouchPolicy.objects.get_or_create(pk=1)
    Segment.objects.create(name="老客", created_at=clock.now())
    Category.objects.create(name="香水")
    builders.sku(price_fen=19_900)
    builders.member(name="林小满")
    ChannelCode.objects.create(
        name="橱窗", account=account, kind="oa", scene="s1", welcome_text="你好", created_at=clock.now()
    )
    for status in ("draft", "done"):
        Broadcast.objects.create(
            name=f"上新 {status}",
            account=account,
            status=status,
            kind="link",
            title="秋天",
            url="/",
            created_at=clock.now(),
            created_by=boss,
        )


def test_pages_run_without_a_fault_and_fits_a_phone(page: Any, boss: User) -> None:
    some_rows(boss)
    wide = []
    for address in addresses(boss):
        answer = page.goto(address)
        assert answer.status == 200, address
        if page.evaluate(STICKS_OUT) > 2:
            wide.append(address)
    assert page.complaints == []
    assert wide == []


def test_a_dialogs_button_pressed_before_the_scripts_came_opens_it(page: Any) -> None:
    """Held back are those that a browser runs last: until then htmx knows no button either."""
    from tests.shop import instruments

    address = reverse("admin:shop_coupon_change", args=[instruments.coupon().pk])
    held: list[Any] = []
    came = False
    page.route("**/alpine/*.js", lambda route: route.continue_() if came else held.append(route))
    page.goto(address, wait_until="commit")
    page.locator("a[hx-get]").first.dispatch_event("click")
    assert len(held) > 3
    came = True
    for route in held:
        route.continue_()
    page.locator("#modal-content #dialog").wait_for()
    assert page.url.endswith(address)
    assert page.complaints == []


def test_a_segment_is_built_counted_and_saved_in_the_browser(page: Any, boss: User) -> None:
    """Nest, remove, mistype: what is missing is named at its condition, and what is saved is what was shown."""
    from crm import services
    from crm.models import Segment, Tag, TagGroup
    from tests.shop import builders

    rose, _other = builders.member(name="林小满"), builders.member(name="周一")
    tag = Tag.objects.create(group=TagGroup.objects.create(name="香调"), name="玫瑰")
    services.add_tags(member_ids=[rose.pk], tag_ids=[tag.pk], origin="staff:1")
    page.goto(reverse("admin:crm_segment_add"))
    count, said = page.locator(".crm-count strong"), page.locator(".seg-said:visible")
    count.get_by_text("2", exact=True).wait_for()
    page.fill("[name=name]", "玫瑰客")
    page.click(".seg-foot .crm-button >> nth=0")
    said.wait_for()  # a tag is still to be chosen
    page.get_by_label("玫瑰").check()
    count.get_by_text("1", exact=True).wait_for()
    page.click(".seg-foot >> nth=-1 >> .crm-button >> nth=1")  # a group in the group
    inner = page.locator(".seg-group .seg-group")
    inner.locator("select >> nth=0").select_option("none")
    inner.locator(".seg-condition select >> nth=0").select_option("spend_fen")
    low, high = inner.locator("input >> nth=0"), inner.locator("input >> nth=1")
    low.fill("9.999")
    said.wait_for()
    assert low.get_attribute("aria-invalid") == "true"
    low.fill("10")
    high.fill("8")
    said.wait_for()
    high.fill("99.5")
    count.get_by_text("1", exact=True).wait_for()
    page.wait_for_function("!document.querySelector('.seg-old')")
    assert page.locator(".seg-sample tbody tr").count() == 1
    assert page.evaluate(STICKS_OUT) <= 2
    page.click(".seg-foot >> nth=-1 >> .crm-button >> nth=0")
    page.locator(".seg-condition > .seg-remove").last.click()  # and away again
    page.click("button[name=_save]")
    page.wait_for_url("**/segment/")
    assert Segment.objects.get().rules == {
        "all": [
            {"field": "tags", "op": "any", "value": [tag.pk]},
            {"not": {"field": "spend_fen", "op": "between", "value": [1_000, 9_950]}},
        ]
    }
    assert page.complaints == []
