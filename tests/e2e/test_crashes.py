"""`kill -9` of every program and service while orders and broadcasts are under way: nothing is lost, nothing twice.

Chance picks the moments and a third of the deaths, its seed is printed; the verdict does not depend on it.
`POND_EVERY_DEATH=1` lets everything die.
"""

import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e.shopper import Bought, Shopper
from tests.house import House, wait_until
from wechat.outbound.sender import LARGEST_BATCH

pytestmark = pytest.mark.processes

SHOPPERS = 3
EVERYTHING = ("web", "worker", "worker-bulk", "beat", "valkey", "postgres")
EVERY = os.environ.get("POND_EVERY_DEATH") == "1"
RECIPIENTS = 1_200 if EVERY else 400  # enough to be under way still when the last one dies
PATIENCE = 240.0
MOST_IN_FLIGHT = 2 * LARGEST_BATCH  # of one sender: what waits behind its connections counts, too


@pytest.fixture(scope="module")
def house(house_with_shop: House) -> House:
    assert house_with_shop.rows_left() == {}
    assert house_with_shop.value("SELECT count(*) FROM shop_order") == 0, "every order here is counted"
    return house_with_shop


@pytest.fixture(scope="module")
def chance() -> random.Random:
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10**6))
    tell(f"CRASH_SEED={seed}")
    return random.Random(seed)


def some(names: tuple[str, ...], chance: random.Random) -> list[str]:
    """A third of them, at least one, in any order; all when asked."""
    shuffled = chance.sample(names, len(names))
    return shuffled if EVERY else shuffled[: (len(names) + 2) // 3]


def tell(line: str) -> None:
    """For people who read the output of a failed run."""
    sys.stdout.write(line + "\n")


# --- Orders ---------------------------------------------------------------------------------------------------------


class Crowd:
    """Shoppers who order and pay in a loop, each in a thread of her own, until told to stop."""

    def __init__(self, house: House, chance: random.Random) -> None:
        self.house = house
        self.shoppers = [Shopper.arrives(house, f"顾客{number}") for number in range(SHOPPERS)]
        self.stopping = threading.Event()
        self.problems: list[BaseException] = []
        self.skus = [row[0] for row in house.sql("SELECT id FROM shop_sku ORDER BY id")]
        seeds = [chance.randrange(10**6) for _ in self.shoppers]
        self.threads = [
            threading.Thread(target=self._shop, args=(shopper, random.Random(seed)), daemon=True)
            for shopper, seed in zip(self.shoppers, seeds, strict=True)
        ]

    def __enter__(self) -> "Crowd":
        for shopper in self.shoppers:
            shopper.follow()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def _shop(self, shopper: Shopper, chance: random.Random) -> None:
        try:
            shopper.log_in()
            shopper.save_address()
            while not self.stopping.is_set():
                wish = shopper.order(chance.choice(self.skus), chance.randint(1, 3))
                # Some change their mind at the till: their goods must come free again.
                if chance.random() < 0.8:
                    shopper.pay(wish)
                time.sleep(chance.random() * 0.3)
        except BaseException as problem:
            self.problems.append(problem)
            raise

    @property
    def wishes(self) -> list[Bought]:
        return [wish for shopper in self.shoppers for wish in shopper.bought]

    def paid(self) -> int:
        return sum(wish.paid for wish in self.wishes)

    def go_on(self) -> None:
        """Wait until somebody who began after this moment has paid: the house serves."""
        assert not self.problems, self.problems
        enough = self.paid() + SHOPPERS + 1
        wait_until(lambda: self.problems or self.paid() >= enough, seconds=PATIENCE, what="orders to go on")
        assert not self.problems, self.problems


def test_orders_survive_the_death_of_everything(house: House, chance: random.Random) -> None:
    deaths = some(EVERYTHING, chance)
    with Crowd(house, chance) as crowd:
        crowd.go_on()
        house.api("faults", {"callback": True, "match": "TRANSACTION.SUCCESS", "lose": True, "times": 2})
        house.api("faults", {"callback": True, "match": "TRANSACTION.SUCCESS", "duplicate": 3, "times": 6})
        for name in deaths:
            time.sleep(chance.random() * 0.5)
            house.crash(name, down_seconds=chance.random())
            crowd.go_on()
    assert not crowd.problems, crowd.problems
    repeats = sum(shopper.repeats for shopper in crowd.shoppers)
    tell(f"deaths {deaths}; {len(crowd.wishes)} orders, {crowd.paid()} paid, {repeats} requests repeated")

    house.advance(35 * 60)  # who has not paid by now loses the reservation; lost notices are asked about
    house.settle(seconds=PATIENCE)
    assert_every_order_is_right(house, crowd.wishes)
    assert_the_house_is_in_order(house)


def assert_every_order_is_right(house: House, wishes: list[Bought]) -> None:
    # What a shopper was told exists, once for each time she tapped the button, as she left it.
    ours = {
        number: (key, status)
        for number, key, status in house.sql("SELECT number, idempotency_key, status FROM shop_order")
    }
    assert len({wish.number for wish in wishes}) == len(wishes) == len(ours)
    assert ours == {wish.number: (wish.key, "paid" if wish.paid else "cancelled") for wish in wishes}

    # The money that WeChat took is the money that is booked, payment by payment.
    taken = {
        order["out_trade_no"]: (order["transaction_id"], order["total"])
        for order in house.api("orders")
        if order["state"] == "SUCCESS"
    }
    booked = house.sql(
        "SELECT out_trade_no, transaction_id, paid_fen FROM shop_payment WHERE status = 'paid'"
    )
    assert taken == {number: (transaction, fen) for number, transaction, fen in booked}
    assert len(taken) == sum(wish.paid for wish in wishes)
    assert house.value("SELECT count(*) FROM shop_refund") == 0

    # Every effect of every order happened, and happened once.
    facts = Counter(
        (kind, subject)
        for kind, subject in house.sql(
            "SELECT kind, subject FROM crm_activity WHERE kind IN ('ordered', 'paid', 'cancelled')"
        )
    )
    expected = Counter()
    for pk, status in house.sql("SELECT id, status FROM shop_order"):
        expected.update({("ordered", f"order:{pk}"): 1, (status, f"order:{pk}"): 1})
    assert facts == expected
    assert (
        house.sql(
            """
            SELECT s.member_id, s.orders_count, s.paid_fen, o.n, o.fen FROM crm_memberstats s
            JOIN (SELECT member_id, count(*) AS n, sum(paid_fen) AS fen FROM shop_order
                  WHERE status = 'paid' GROUP BY 1) o ON o.member_id = s.member_id
            WHERE (s.orders_count, s.paid_fen) <> (o.n, o.fen)
            """
        )
        == []
    )
    stock = house.sql(
        """
        SELECT s.on_hand, s.reserved, sum(m.on_hand_change), sum(m.reserved_change),
               (SELECT sum(l.quantity) FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id
                WHERE l.sku_id = s.sku_id AND o.status = 'paid')
        FROM shop_stock s JOIN shop_stockmovement m ON m.stock_id = s.id GROUP BY s.id
        """
    )
    assert stock
    for on_hand, reserved, put, kept, sold in stock:
        assert (on_hand, reserved, reserved) == (put, kept, sold or 0)


def assert_the_house_is_in_order(house: House) -> None:
    assert house.sql("SELECT handler, last_error FROM core_eventdelivery WHERE status <> 'done'") == []
    assert house.sql("SELECT topic, error FROM wechat_notice WHERE status <> 'done'") == []
    audit = house.manage("audit", check=False)
    assert ", 0 findings" in audit, audit


# --- Broadcasts -----------------------------------------------------------------------------------------------------

FOLLOWERS = """
from core import clock
from crm.models import Identity
from crm.services import member_for_openid
from wechat.outbound.windows import open_reply_window
from wechat.queries import find_account

brand, moment = find_account("service", "brand"), clock.now()
for openid in OPENIDS:
    member_for_openid(account_id=brand.pk, openid=openid, name="粉丝", via="follow", at=moment)
    open_reply_window(account_id=brand.pk, openid=openid, trigger="message", at=moment)
Identity.objects.filter(kind="openid", account=brand).update(is_following=True, followed_at=moment)
"""
BROADCAST = """
from campaigns import services
from campaigns.models import Broadcast
from core import clock
from wechat.queries import find_account

broadcast = Broadcast.objects.create(name="周二上新", kind="text", text="{{name}}，新香上架：{{url}}", url="/p/1/",
    account=find_account("service", "brand"), channel=CHANNEL, created_at=clock.now())
services.plan_broadcast(broadcast_id=broadcast.pk)
services.start_broadcast(broadcast_id=broadcast.pk)
print("broadcast", broadcast.pk)
"""
HANDLED = (
    "SELECT count(*) FROM wechat_outboundmessage WHERE origin = %s AND state IN ('sent', 'failed', 'unknown')"
)
SENT = "SELECT count(*) FROM wechat_outboundmessage WHERE origin = %s AND state = 'sent'"
IN_FLIGHT = "SELECT id FROM wechat_outboundmessage WHERE origin = %s AND state = 'sending' ORDER BY id"


def start_broadcast(house: House, channel: str) -> str:
    said = house.python(BROADCAST.replace("CHANNEL", repr(channel)))
    return f"broadcast:{int(said.split()[-1])}"


@pytest.fixture(scope="module")
def fans(house: House) -> list[dict[str, Any]]:
    """People who wrote to the brand within two days."""
    asked = {"count": RECIPIENTS, "name": "粉丝", "message": ["brand"]}
    return list(house.api("people", asked)["people"])


@pytest.fixture(scope="module")
def openids(house: House, fans: list[dict[str, Any]]) -> list[str]:
    brand = next(one for one in house.api("accounts") if one["key"] == "brand")
    found = [person["openids"][brand["appid"]] for person in fans]
    house.python(FOLLOWERS.replace("OPENIDS", repr(found)))
    return found


def test_a_broadcast_reaches_nobody_twice_whatever_dies(
    house: House, chance: random.Random, fans: list[dict[str, Any]], openids: list[str]
) -> None:
    set_pace(house, delay_ms=500)
    deaths = some(("web", "beat", "valkey"), chance) + some(("worker-bulk", "postgres"), chance)
    chance.shuffle(deaths)
    origin = start_broadcast(house, "custom")
    in_doubt: set[int] = set()
    for number, name in enumerate(deaths):
        goal = 10 + 40 * number
        what = f"message {goal} to leave, before the death of {name} in {deaths}"
        wait_until(
            lambda goal=goal: sending_went_on(house, origin, SENT, goal, in_doubt),
            seconds=PATIENCE,
            what=what,
        )
        set_pace(house, delay_ms=4000)  # the death falls into the middle, however slow this machine is
        time.sleep(chance.random() * 0.3)
        wait_until(lambda: house.sql(IN_FLIGHT, origin), seconds=PATIENCE, what=f"{what}, in the middle")
        if name in ("web", "beat"):
            house.kill(name)  # the sending goes on; so does the test
        else:
            house.crash(name, down_seconds=chance.random())
        set_pace(house, delay_ms=500)
    house.api("faults", method="DELETE")
    wait_until(
        lambda: sending_went_on(house, origin, HANDLED, RECIPIENTS, in_doubt),
        seconds=PATIENCE,
        what="the last message",
    )
    house.settle(seconds=PATIENCE)
    wait_until(
        lambda: house.sql("SELECT DISTINCT status FROM campaigns_broadcast") == [("done",)], what="its end"
    )

    rows = house.sql(
        "SELECT id, recipient, state, reason_code FROM wechat_outboundmessage WHERE origin = %s", origin
    )
    tell(f"deaths {deaths}; {Counter(row[2] for row in rows)}, {len(in_doubt)} in flight at deaths")
    assert sorted(row[1] for row in rows) == sorted(openids)
    arrived = dict(zip(openids, (inbox(house, one, "custom") for one in fans), strict=True))
    for pk, recipient, state, reason_code in rows:
        assert state in ("sent", "failed", "unknown")
        assert state == "sent" or reason_code
        if state == "sent":
            assert arrived[recipient] == 1, (pk, state)
        elif state == "unknown":
            assert arrived[recipient] <= 1, (pk, reason_code)
            assert pk in in_doubt, (pk, reason_code)
        else:
            assert arrived[recipient] == 0, (pk, reason_code)
    assert not [row for row in rows if row[2] == "failed"]
    # One sender died; one that outlives the database forgets nothing.
    assert sum(row[2] == "unknown" for row in rows) <= MOST_IN_FLIGHT
    assert house.sql("SELECT count(*) FROM campaigns_broadcastrecipient WHERE status = 'released'") == [
        (RECIPIENTS,)
    ]
    assert (
        house.sql("SELECT 1 FROM campaigns_broadcastrecipient WHERE status <> 'released' AND reason = ''")
        == []
    )
    assert_the_house_is_in_order(house)


def set_pace(house: House, *, delay_ms: int) -> None:
    """How long the platform takes for a message; sixty-four are on the wire at once."""
    house.api("faults", method="DELETE")
    house.api("faults", {"match": "/cgi-bin/message/custom/send", "delay_ms": delay_ms, "times": -1})


def sending_went_on(house: House, origin: str, count: str, goal: int, in_doubt: set[int]) -> bool:
    """Whether the count is reached. When nothing moves any more, the leases of the dead run out."""
    seen = house.sql(IN_FLIGHT, origin)
    for _look in range(3):
        if house.value(count, origin) >= goal:
            return True
        time.sleep(0.5)
        if house.sql(IN_FLIGHT, origin) != seen:
            return False
    in_doubt.update(pk for (pk,) in seen)
    house.advance(15)  # a small step: the lease of what has just begun must not run out with the others
    return False


def inbox(house: House, person: dict[str, Any], channel: str) -> int:
    return len(house.api(f"people/{person['id']}/inbox?channel={channel}"))


def test_a_mass_message_goes_once_though_its_worker_dies_in_the_call(
    house: House, chance: random.Random, fans: list[dict[str, Any]], openids: list[str]
) -> None:
    house.api("faults", {"match": "/cgi-bin/message/mass/send", "delay_ms": 1500, "times": 1})
    origin = start_broadcast(house, "mass")
    wait_until(lambda: house.sql(IN_FLIGHT, origin), seconds=PATIENCE, what="the call")
    time.sleep(chance.random())
    house.crash("worker-bulk")
    house.advance(91)
    wait_until(lambda: not house.sql(IN_FLIGHT, origin), seconds=PATIENCE, what="the call to be repeated")
    house.settle(seconds=PATIENCE)

    # The platform knows the call's key, so the repetition is safe and nobody stays in doubt.
    states = house.sql(
        "SELECT state, count(*) >= %s FROM wechat_outboundmessage WHERE origin = %s GROUP BY 1",
        RECIPIENTS,
        origin,
    )
    assert states == [("sent", True)]
    batches = "SELECT state FROM wechat_outboundbatch WHERE recipients > 0"
    wait_until(lambda: house.sql(batches) == [("done",)], seconds=PATIENCE, what="the platform's result")
    assert {inbox(house, person, "mass") for person in fans} == {1}
    assert_the_house_is_in_order(house)
