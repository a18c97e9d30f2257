"""Booking and queue in real browsers: the member's phone and the clerk's, side by side."""

import os
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from core import clock
from crm import sessions
from crm.services import prepare_months_ahead
from shop.models import Booking, QueueTicket
from shop.pages import frame
from tests.shop import booking_builders as make
from tests.shop import builders
from tests.shop.stage import note_complaints

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LOOK_AGAIN = "htmx.ajax('GET', location.pathname, { source: '#desk', target: '#desk', swap: 'outerHTML' })"


def opened(browser: Any, live_server: Any, name: str, value: str, complaints: list[str]) -> Any:
    """A narrow phone with one cookie; every complaint of the browser is kept."""
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, has_touch=True, locale="zh-CN", base_url=live_server.url
    )
    context.add_cookies([{"name": name, "value": value, "url": live_server.url}])
    page = context.new_page()
    note_complaints(page, complaints)
    return page


def test_she_books_checks_in_and_sees_her_turn_when_the_clerk_calls(browser: Any, live_server: Any) -> None:
    frame.forget_fragments()
    complaints: list[str] = []
    with clock.travel(make.MONDAY):
        prepare_months_ahead(1)
        store = make.store()
        service = make.service(store, capacity=2)
        member, clerk = builders.member(name="林小满"), make.clerk(store)
        carrier, login = HttpResponse(), Client()
        sessions.log_in(carrier, member)
        login.force_login(clerk.user)
        hers = opened(
            browser, live_server, sessions.COOKIE, carrier.cookies[sessions.COOKIE].value, complaints
        )
        desk = opened(browser, live_server, "sessionid", login.cookies["sessionid"].value, complaints)

        hers.goto("/book/")
        hers.click("[data-test=service]")
        hers.locator("[data-test=slot]", has_text="10:00").click()
        hers.click("[data-test=book]")
        expect(hers.locator("[data-test=booking-state]")).to_have_attribute("data-state", "booked")
        for address in ("/book/", f"/book/{service.pk}/", "/bookings/", f"/q/{store.code}/"):
            hers.goto(address)
            assert hers.evaluate("document.documentElement.scrollWidth") <= 320, address
        hers.click("[data-test=check-in]")
        expect(hers.locator("[data-test=ticket-number]")).to_have_text("Y001")
        assert "下一位就是您" in hers.locator("[data-test=place]").inner_text()

        desk.goto("/staff/queue/")
        assert desk.evaluate("document.documentElement.scrollWidth") <= 320
        desk.click("[data-test=call-next]")
        expect(desk.locator("[data-test=called-number]")).to_have_text("Y001")
        expect(hers.locator("[data-test=place]")).to_have_attribute("data-state", "called")
        desk.hover("[data-test=done]")
        desk.mouse.down()
        desk.evaluate(LOOK_AGAIN)  # in the middle of her tap: nothing is redrawn under her finger
        desk.route("**/staff/queue/", lambda route: None)
        desk.evaluate(f"void {LOOK_AGAIN}.catch(() => 0)")
        with desk.expect_event(
            "requestfailed"
        ):  # what is late would undo on the page what she does: it is given up
            desk.mouse.up()
        expect(desk.locator("[data-test=called-number]")).to_have_count(0)
    assert (QueueTicket.objects.get().state, Booking.objects.get().state) == ("served", "served")
    assert complaints == []
    for page in (hers, desk):
        page.context.close()
