"""The ground of the journeys: one live server, one browser and one sandbox of WeChat for a whole file of tests.

The rows stay from test to test, as in a shop that is open all day: each journey brings its own people and goods, and
the last test audits the day. `POND_SHOTS=FOLDER` keeps a picture of every step.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from django.test.utils import override_settings
from pytest_django.live_server_helper import LiveServer

from core import events
from crm import sessions
from crm.models import Staff
from crm.services import prepare_months_ahead
from shop import services
from shop.pages import frame
from tests.shop import builders
from wechat import tasks as wechat_tasks
from wechat.gateway import tokens

# WeChat's own bridge, whose payment sheet is answered by the sandbox.
BRIDGE = """window.WeixinJSBridge = { invoke: (name, parameters, done) =>
  window.paymentSheet(parameters).then((message) => done({ err_msg: message })) };"""
QUIET = (
    *("status of 409", "status of 422"),  # a refusal is a page, and no fault of it
    *(
        "htmx:afterRequest",
        "htmx:sendAbort",
    ),  # she did the next thing before the answer to the last was there
)
_pictures = itertools.count(1)


@contextmanager
def before_the_scripts(page: Any) -> Iterator[None]:
    """A slow network: what is done to a page that is opened inside, is done before its scripts have come."""
    held: list[Any] = []
    came = False
    page.route("**/*.js", lambda route: route.continue_() if came else held.append(route))
    yield
    came = True
    for route in held:
        route.continue_()
    page.unroute("**/*.js")


def note_complaints(page: Any, complaints: list[str]) -> None:
    """What a page's scripts fail at, and what the browser finds wrong with it."""

    def note(line: Any) -> None:
        if line.type == "error" and not any(words in line.text for words in QUIET):
            complaints.append(f"{page.url}: {line.text}")

    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("console", note)


class Shopper:
    """A member with her phone."""

    def __init__(self, member: Any, page: Any) -> None:
        self.member, self.page = member, page

    @property
    def pk(self) -> int:
        return int(self.member.pk)


class Stage:
    def __init__(self, url: str, browser: Any, sandbox: Any) -> None:
        self.url, self.browser, self.sandbox = url, browser, sandbox
        self.complaints: list[str] = []
        self.brand = sandbox.account("brand")
        sandbox.account("pay")
        self.boss = self._desk(User.objects.create_superuser("yunying", first_name="小运"), 1280, 900)

    def shopper(self, name: str, *, has_address: bool = True) -> Shopper:
        """A person of the sandbox with a member's login, on a phone of 375 px."""
        person = self.sandbox.person(name)
        openid = person["openids"][self.brand.appid]
        self.sandbox.post(f"people/{person['id']}/follow", account="brand")
        member = builders.member(name=name, openid=openid)
        if has_address:
            services.save_address(member_id=member.pk, address=builders.ADDRESS)
        carrier = HttpResponse()
        sessions.log_in(carrier, member)
        context = self._context(375, 740)
        context.add_cookies([self._cookie(sessions.COOKIE, carrier.cookies[sessions.COOKIE].value)])

        def sheet(parameters: dict[str, str]) -> str:
            answer = self.sandbox.post(f"people/{person['id']}/pay", **parameters, outcome="success")
            return str(answer["err_msg"])

        context.expose_function("paymentSheet", sheet)
        context.add_init_script(BRIDGE)
        return Shopper(member, self._page(context))

    def clerk(self, store: Any, name: str = "李娜") -> Any:
        """A colleague of a store, on her phone."""
        user = User.objects.create_user(f"clerk-{store.code}", is_staff=True)
        Staff.objects.create(name=name, store=store, user=user, work_userid=user.username)
        return self._desk(user, 375, 740)

    def work(self) -> None:
        """What the workers do: callbacks come in, notices are handled, events delivered, refunds sent and ended."""
        for _round in range(2):
            self.sandbox.post("callbacks/flush")
            wechat_tasks.handle_notices()
            events.deliver_due()
            if services.send_refunds():
                self.sandbox.advance(2)  # the bank takes its time

    def press(self, button: str, submit: str, **values: str) -> None:
        """An action of the page that is open in the admin: its dialog is filled in and sent."""
        self.boss.wait_for_load_state()
        self.boss.locator("a[hx-get]", has_text=button).first.click()
        dialog = self.boss.locator("#dialog")
        for name, value in values.items():
            dialog.locator(f"[name={name}]").fill(value)
        self.look(self.boss, f"dialog-{submit}")
        dialog.get_by_role("button", name=submit).click()
        dialog.wait_for(state="hidden")

    def look(self, page: Any, name: str) -> None:
        if folder := os.environ.get("POND_SHOTS"):
            path = Path(folder) / f"{next(_pictures):02d}-{name}.png"
            page.screenshot(path=path, full_page=True)

    # Browsers

    def _desk(self, user: User, width: int, height: int) -> Any:
        login = Client()
        login.force_login(user)
        context = self._context(width, height)
        context.add_cookies([self._cookie("sessionid", login.cookies["sessionid"].value)])
        return self._page(context)

    def _context(self, width: int, height: int) -> Any:
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            has_touch=width < 500,
            locale="zh-CN",
            reduced_motion="reduce",  # a spinner that nobody sees is drawn sixty times a second
            base_url=self.url,
        )
        return context

    def _cookie(self, name: str, value: str) -> dict[str, str]:
        return {"name": name, "value": value, "url": self.url}

    def _page(self, context: Any) -> Any:
        page = context.new_page()
        note_complaints(page, self.complaints)
        return page

    def put_phones_away(self) -> None:
        """Pages that nobody looks at any more would go on drawing and asking."""
        for context in list(self.browser.contexts):
            if context != self.boss.context:
                context.close()

    def close(self) -> None:
        for context in list(self.browser.contexts):
            context.close()


@contextmanager
def opened(browser: Any, sandbox: Any, blocker: Any) -> Iterator[Stage]:
    """The stage, its database emptied afterwards."""
    with blocker.unblock():
        server = LiveServer("127.0.0.1")
        try:
            if not sandbox.clock_file.exists():
                sandbox.clock_file.write_text('{"offset_seconds": 0}')
            clock_file = str(sandbox.clock_file)
            with override_settings(PUBLIC_URL=server.url, ALLOWED_HOSTS=["*"], CLOCK_FILE=clock_file):
                sandbox.post("reset")
                sandbox.forward_to(server.url)
                tokens.forget_remembered()
                frame.forget_fragments()
                prepare_months_ahead(1)
                stage = Stage(server.url, browser, sandbox)
                try:
                    yield stage
                finally:
                    stage.close()
        finally:
            server.stop()
            sandbox.relay.target = ""
            tokens.forget_remembered()
            call_command("flush", verbosity=0, interactive=False)
