"""A shopper without a browser: plain HTTP, the cookies and forms of a phone, and a browser's patience.

What fails on the way (no connection, a 5xx) is sent again exactly as it was, form, key and all, as when she taps
"reload": the shop must make that harmless.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.house import House

INSIDE_WECHAT = "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 MicroMessenger/8.0.50"
HOME = {
    "receiver": "小满",
    "phone": "13800000001",
    "province": "上海市",
    "city": "上海市",
    "district": "静安区",
    "street": "南京西路 1 号",
}
PATIENCE_SECONDS = 180.0
PAUSE_SECONDS = 0.3


class GaveUp(Exception):
    """The shop did not answer within her patience, or refused what it should have taken."""


@dataclass
class Bought:
    """One wish of hers: `key` is the form's, `number` what the shop called the order, `paid` what WeChat told her."""

    key: str
    number: str = ""
    paid: bool = False


@dataclass
class Shopper:
    """Drives the shop at `house.shop` as the sandbox's person `person`."""

    house: House
    person: dict[str, Any]
    bought: list[Bought] = field(default_factory=list)
    repeats: int = 0

    def __post_init__(self) -> None:
        self.browser = requests.Session()
        self.browser.trust_env = False
        self.browser.headers["User-Agent"] = INSIDE_WECHAT
        # WeChat knows who she is; cookies ignore ports, so this one is told to the sandbox as well as to the shop.
        self.browser.cookies.set("sandbox_person", self.person["id"], domain="127.0.0.1", path="/")

    @classmethod
    def arrives(cls, house: House, name: str) -> "Shopper":
        """A new person."""
        return cls(house, house.api("people", {"name": name}))

    @property
    def openid(self) -> str:
        """Hers at the brand's account."""
        brand = next(one for one in self.house.api("accounts") if one["key"] == "brand")
        return str(self.person["openids"][brand["appid"]])

    # What she does

    def follow(self, **how: str) -> None:
        """Follow the brand; `scene` or `ticket` when she scanned a code."""
        self.house.api(f"people/{self.person['id']}/follow", {"account": "brand", **how})

    def log_in(self) -> None:
        """Open a page for members: to WeChat, back with a code, and in."""
        self._until(lambda: self._get("/me/"), lambda page: page.status_code == 200 and self.is_known)

    @property
    def is_known(self) -> bool:
        return "pond_member" in self.browser.cookies

    def save_address(self) -> None:
        """Type her address, once."""
        form = self._until(
            lambda: self._get("/addresses/new/"), lambda page: "csrfmiddlewaretoken" in page.text
        )
        document = {**HOME, "csrfmiddlewaretoken": value_of(form.text, "csrfmiddlewaretoken"), "default": "1"}
        self._post("/addresses/new/", document)

    def order(self, sku_id: int, quantity: int = 1) -> Bought:
        """Confirm an order on the checkout page; sent again with the same key until the shop has answered."""
        page = self._until(
            lambda: self._get(f"/checkout/?line={sku_id}:{quantity}"), lambda page: 'name="key"' in page.text
        )
        names = ("csrfmiddlewaretoken", "key", "total", "from", "address")
        document = {name: value_of(page.text, name) for name in names}
        document["line"] = f"{sku_id}:{quantity}"
        wish = Bought(key=document["key"])
        self.bought.append(wish)
        answer = self._post("/checkout/", document)
        wish.number = urlsplit(answer.headers["Location"]).path.strip("/").rpartition("/")[2]
        return wish

    def pay(self, wish: Bought) -> None:
        """Open WeChat's sheet and pay there: what it takes, it takes once."""
        while not wish.paid:
            parameters = self.start_payment(wish)
            if parameters is None:
                wish.paid = True
                return
            sheet = self.house.api(f"people/{self.person['id']}/pay", {**parameters, "outcome": "success"})
            if not sheet["err_msg"].endswith(":ok") and sheet.get("reason") != "该订单已支付":
                raise GaveUp(f"the sheet refused: {sheet}")
            wish.paid = True

    def start_payment(self, wish: Bought) -> dict[str, str] | None:
        """The till's parameters for WeChat's sheet; None when the shop says that it is paid."""
        path = f"/pay/{wish.number}/"
        headers = {"Accept": "application/json"}

        def post() -> requests.Response:
            token = self.browser.cookies.get("csrftoken") or ""
            return self._send("POST", path, headers={**headers, "X-CSRFToken": token})

        answer = self._until(post, lambda one: one.status_code == 200).json()
        return None if answer.get("paid") else answer["parameters"]

    # HTTP as a browser does it

    def _get(self, path: str) -> requests.Response:
        return self._send("GET", path, allow_redirects=True)

    def _post(self, path: str, document: dict[str, str]) -> requests.Response:
        return self._until(
            lambda: self._send("POST", path, data=document), lambda answer: answer.status_code == 302
        )

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        more.setdefault("allow_redirects", False)
        return self.browser.request(method, self.house.shop + path, timeout=30, **more)

    def _until(
        self, send: Callable[[], requests.Response], is_well: Callable[[requests.Response], bool]
    ) -> requests.Response:
        """Send until it went well; raises GaveUp with what came last."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = send()
                if is_well(answer):
                    return answer
                last = f"{answer.request.method} {answer.url} {answer.status_code} {words_of(answer.text)}"
                if 400 <= answer.status_code < 500 and answer.status_code not in (403, 409, 429):
                    raise GaveUp(last)
            except requests.RequestException as error:
                last = f"{type(error).__name__}: {error}"
            if time.monotonic() > give_up_at:
                raise GaveUp(last)
            self.repeats += 1
            time.sleep(PAUSE_SECONDS)


def value_of(page: str, name: str) -> str:
    """The value of a form's input; raises GaveUp when the page has none."""
    found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', page)
    if found is None:
        raise GaveUp(f"no input named {name} on the page: {words_of(page)}")
    return found[1]


def words_of(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]+>", " ", page, flags=re.S).split())[
        :300
    ]
