"""Grabbing a hot offer: the order is the checkout's, the door keeps everybody out who has no right, nobody gets what
is not there.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from config.wsgi import application
from core import clock
from core.audits import run_audit
from core.batching import Batcher
from core.models import DomainEvent, EventDelivery
from crm import sessions
from crm.models import MemberStats
from shop import services
from shop.models import (
    Address,
    Offer,
    OfferTake,
    OfferTally,
    OfferWaiting,
    Order,
    OrderDiscount,
    OrderLine,
    OrderLog,
    Product,
    ProductTally,
    Refund,
    ShippingRate,
    StockMovement,
)
from shop.services import hot, hot_gone
from tests.shop import builders, instruments
from tests.shop.test_races import at_once, one_holds_while_other_waits

CSRF = "b" * 32


def address_of(member: Any, **changes: str) -> Any:
    services.save_address(member_id=member.pk, address=builders.ADDRESS)
    if changes:
        Address.objects.filter(member_id=member.pk).update(**changes)
    return member


def buyer() -> Any:
    return address_of(builders.member())


def grab(offer: Offer, member: Any, key: str = "") -> hot.HotAnswer:
    return services.buy_offer(offer_id=offer.pk, member_id=member.pk, key=key or f"key-of-{member.pk:016d}")


def states(answers: list[Any]) -> dict[str, int]:
    return dict(Counter(getattr(answer, "state", repr(answer)) for answer in answers))


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    yield
    hot_gone._known.clear()
    hot._plans.clear()


# --- The order -----------------------------------------------------------------------------------------------------
OWN = {"id", "pk", "number", "member_id", "idempotency_key", "order_id", "line_id", "event_id", "cause"}


def written(order: Order) -> list[Any]:
    """All rows of an order without what differs between any two orders."""

    def rows(queryset: Any) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in row.items() if name not in OWN and not name.endswith("_after")}
            for row in queryset.order_by("pk").values()
        ]

    event = DomainEvent.objects.get(key=f"order:{order.pk}")
    assert event.payload["order_id"] == order.pk
    assert (event.payload["member_id"], event.payload["total_fen"]) == (order.member_id, order.total_fen)
    assert order.stock_movements.get().cause == f"order:{order.pk}:reserve"
    return [
        rows(Order.objects.filter(pk=order.pk)),
        rows(OrderLine.objects.filter(order=order)),
        rows(OrderDiscount.objects.filter(order=order)),
        rows(OrderLog.objects.filter(order=order)),
        rows(StockMovement.objects.filter(order=order)),
        rows(OfferTake.objects.filter(order=order)),
        list(OfferTally.objects.filter(member_id=order.member_id).values_list("offer_id", "taken")),
        (event.name, sorted(event.payload), event.payload["at"]),
        sorted(
            EventDelivery.objects.filter(event=event).values_list("handler", "queue", "status", "attempts")
        ),
    ]


@pytest.mark.django_db
def test_the_order_is_the_one_that_the_checkout_would_write() -> None:
    dress = builders.sku(stock=10)
    flash = instruments.offer(dress)
    ShippingRate.objects.create(province="", base_fen=800)
    at_checkout, at_once_ = buyer(), buyer()
    with clock.travel(clock.now()):
        usual = builders.order(at_checkout, (dress, 1))
        answer = grab(flash, at_once_)
    assert answer.state == "placed"
    quick = Order.objects.get(number=answer.number)
    assert (quick.member_id, quick.total_fen) == (at_once_.pk, 990 + 800)
    assert written(quick) == written(usual)
    assert OrderDiscount.objects.filter(order=quick).count() == 1
    flash.refresh_from_db()
    assert (flash.taken, builders.stock_of(dress)) == (2, (10, 2))
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_it_can_be_paid_and_refunded_or_released_like_any_other() -> None:
    dress = builders.sku(stock=10)
    flash = instruments.offer(dress, quota=2)
    paid, left = (Order.objects.get(number=grab(flash, buyer()).number) for _ in range(2))
    assert builders.pay(paid).status == Order.PAID
    builders.release(left)
    flash.refresh_from_db()
    assert (flash.taken, builders.stock_of(dress)) == (1, (10, 1))
    assert grab(flash, buyer()).state == "placed"  # what came back is for sale again
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_one_key_is_one_order_and_the_limit_holds() -> None:
    flash, member = instruments.offer(builders.sku(stock=10), per_member_limit=2), buyer()
    first = grab(flash, member)
    again = grab(flash, member)
    assert (first.state, again.state, again.number) == ("placed", "before", first.number)
    assert grab(flash, member, "another-key-of-hers").state == "placed"
    assert grab(flash, member, "and-another-key-of-hers").state == "limit"
    assert Order.objects.count() == 2


@pytest.mark.django_db
def test_what_the_offer_alone_does_not_decide_goes_to_the_checkout() -> None:
    nowhere = builders.member()
    flash = instruments.offer(builders.sku(stock=10))
    assert grab(flash, nowhere).state == "checkout"
    free = instruments.offer(builders.sku(stock=10), price_fen=0)
    assert grab(free, buyer()).state == "checkout"
    usual = builders.sku(stock=10, price_fen=900)  # less than the offer asks for
    assert grab(instruments.offer(usual), buyer()).state == "checkout"
    counted = builders.sku(stock=10)
    Product.objects.filter(pk=counted.product_id).update(limit_per_member=1)
    assert grab(instruments.offer(counted), buyer()).state == "checkout"
    assert Order.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        {"is_active": False},
        {"starts_at": clock.now() + timedelta(hours=1), "ends_at": clock.now() + timedelta(hours=2)},
        {"starts_at": clock.now() - timedelta(hours=2), "ends_at": clock.now() - timedelta(hours=1)},
        {"kind": "group"},
        {"kind": "first_order"},
    ],
    ids=["off", "soon", "over", "group", "first order"],
)
def test_an_offer_that_is_not_open_sells_nothing(changes: dict[str, Any]) -> None:
    flash = instruments.offer(builders.sku(stock=10), **changes)
    assert grab(flash, buyer()).state == "closed"
    assert Order.objects.count() == 0


@pytest.mark.django_db
def test_a_price_that_changes_meanwhile_is_the_one_she_pays(settings: Any) -> None:
    settings.HOT_SECONDS = 60
    flash = instruments.offer(builders.sku(stock=10))
    grab(flash, buyer())
    Offer.objects.filter(pk=flash.pk).update(price_fen=1_990)
    assert Order.objects.get(number=grab(flash, buyer()).number).total_fen == 1_990


# --- The door ------------------------------------------------------------------------------------------------------
def cookie_of(member: Any) -> str:
    carrier = HttpResponse()
    sessions.log_in(carrier, member)
    return f"{sessions.COOKIE}={carrier.cookies[sessions.COOKIE].value}; csrftoken={CSRF}"


def tap(offer_id: int, cookie: str = "", *, token: str = CSRF, key: str = "k" * 20, accept: str = "text/html",
        method: str = "POST", **headers: str) -> tuple[int, dict[str, str], str]:  # fmt: skip
    """Through the server's own door: status, headers, body."""
    body = urlencode({"csrfmiddlewaretoken": token, "key": key}).encode()
    environ = RequestFactory()._base_environ(
        PATH_INFO=f"/buy/{offer_id}/",
        REQUEST_METHOD=method,
        CONTENT_TYPE="application/x-www-form-urlencoded",
        CONTENT_LENGTH=str(len(body)),
        HTTP_ACCEPT=accept,
        HTTP_COOKIE=cookie,
        **{"wsgi.input": BytesIO(body)},
        **headers,
    )
    told: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], *_rest: Any) -> None:
        told.update(status=int(status[:3]), headers=dict(headers))

    text = b"".join(application(environ, start)).decode()
    return told["status"], told["headers"], text


@pytest.mark.django_db
def test_the_button_leads_to_the_till_and_a_crowd_back_to_the_product() -> None:
    dress = builders.sku(stock=10)
    flash, member, late = instruments.offer(dress, quota=1), buyer(), buyer()
    phone = Client(headers={"cookie": cookie_of(member)})
    page = phone.get(f"/p/{dress.product_id}/").content.decode()
    form = page.split(f'action="/buy/{flash.pk}/"', 1)[1].split("</form>", 1)[0]
    assert 'data-test="grab"' in form
    key = re.search(r'name="key" value="([\w-]+)"', form)
    assert key is not None
    status, headers, _text = tap(flash.pk, cookie_of(member), key=key[1])
    order = Order.objects.get()
    assert (status, headers["Location"]) == (303, f"/pay/{order.number}/")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Request-ID" in headers
    status, headers, _text = tap(flash.pk, cookie_of(member), key=key[1])
    assert headers["Location"] == f"/pay/{order.number}/"  # tapped twice
    status, headers, _text = tap(flash.pk, cookie_of(late))
    assert (status, headers["Location"]) == (303, f"/p/{dress.product_id}/?hot=gone#refusal")
    page = Client(headers={"cookie": cookie_of(late)}).get(headers["Location"]).content.decode()
    assert "晚了一步" in page
    assert 'data-test="offer-wait"' in page
    status, _headers, text = tap(flash.pk, cookie_of(late), accept="application/json")
    assert (status, '"gone"' in text) == (409, True)
    assert Order.objects.count() == 1


@pytest.mark.django_db
def test_the_door_refuses_who_has_no_right() -> None:
    dress = builders.sku(stock=10)
    flash, member = instruments.offer(dress), buyer()
    mine = cookie_of(member)
    assert tap(flash.pk)[0] == 303
    assert tap(flash.pk)[1]["Location"].startswith("/login/")
    assert tap(flash.pk, accept="application/json")[0] == 401
    assert tap(flash.pk, mine.replace("pond_member=", "pond_member=9"))[1]["Location"].startswith("/login/")
    assert tap(flash.pk, mine, token="c" * 32)[0] == 403
    assert tap(flash.pk, mine, token="")[0] == 403
    assert tap(flash.pk, mine, HTTP_ORIGIN="https://elsewhere.example")[0] == 403
    assert tap(flash.pk, mine, token="", HTTP_ORIGIN="null")[0] == 403
    assert tap(flash.pk, mine, method="GET")[0] == 405
    for key in ("", "short", "k" * 41, "🙂" * 20, "k" * 10_000):
        assert tap(flash.pk, mine, key=key, accept="application/json")[0] == 400
    assert tap(flash.pk + 999, mine)[0] == 404
    member.session_version += 1
    member.save(update_fields=["session_version"])
    assert tap(flash.pk, mine)[1]["Location"].startswith("/login/")
    assert Order.objects.count() == 0


# --- Money back ----------------------------------------------------------------------------------------------------
def money_is_back(refunds: list[Refund]) -> None:
    """As WeChat says it, twice."""
    for refund in refunds * 2:
        services.confirm_refund(
            out_refund_no=refund.out_refund_no,
            refund_id=f"r-{refund.pk}",
            status="SUCCESS",
            refund_fen=refund.amount_fen,
        )


@pytest.mark.django_db
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "in parts"])
def test_with_its_money_everything_comes_back(is_whole: bool) -> None:
    dress = builders.sku(stock=10)
    flash, member = instruments.offer(dress, quota=1), buyer()
    instruments.give_points(member, 600)
    ShippingRate.objects.create(province="", base_fen=800)
    assert tap(flash.pk, cookie_of(member))[0] == 303
    order = builders.pay(Order.objects.get())
    Product.objects.filter(pk=dress.product_id).update(limit_per_member=1)  # counts what she has by now

    def taken() -> tuple[Any, ...]:
        """Pieces: of the offer, by her, of her limit, on hand and reserved; her points."""
        flash.refresh_from_db()
        tally = OfferTally.objects.get(offer=flash, member=member).taken
        limit = ProductTally.objects.get(product_id=dress.product_id, member=member).taken
        return flash.taken, tally, limit, builders.stock_of(dress), instruments.points_of(member)

    assert (order.paid_fen, taken()) == (990 + 800, (1, 1, 1, (10, 1), (600, 0)))
    if is_whole:
        money_is_back([services.refund_order(order_id=order.pk, reason="不想要了")])
    else:
        line = order.lines.get()
        money_is_back(
            services.refund_lines(order_id=order.pk, cuts={line.pk: 290}, reason="降价", cause="cut")
        )
        order.refresh_from_db()
        assert (order.status, order.refunded_fen) == (Order.PAID, 290)
        assert taken() == (1, 1, 1, (10, 1), (600, 0))  # she keeps the piece
        assert run_audit()[1] == []
        money_is_back(
            services.refund_lines(order_id=order.pk, parts=[(line.pk, 1)], reason="不想要了", cause="rest")
        )
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == (Order.REFUNDED, 990 + 800)
    assert taken() == (0, 0, 0, (10, 0), (600, 0))
    assert OfferTake.objects.get().released_at is not None
    assert run_audit()[1] == []
    assert tap(flash.pk, cookie_of(member), key="j" * 20)[1]["Location"].startswith(
        "/checkout/"
    )  # now counted
    assert (
        tap(flash.pk, cookie_of(member))[1]["Location"] == f"/pay/{order.number}/"
    )  # that order, not a new one


# --- Sold out ------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_sold_out_is_said_without_asking_until_a_piece_comes_back(
    settings: Any, django_assert_num_queries: Any
) -> None:
    settings.HOT_SECONDS = 60
    flash, first, late = instruments.offer(builders.sku(stock=10), quota=1), buyer(), buyer()
    placed = grab(flash, first)
    assert grab(flash, late).state == "gone"
    with django_assert_num_queries(0):
        assert grab(flash, late).state == "gone"
    hot_gone._known.clear()
    with django_assert_num_queries(0):  # another process asks the cache
        assert grab(flash, late).state == "gone"
    assert grab(flash, first).number == placed.number  # who has hers is not told that it is gone
    services.wait_for_offer(offer_id=flash.pk, member_id=late.pk)
    builders.release(Order.objects.get(number=placed.number))
    assert DomainEvent.objects.filter(name="shop.OfferFreed").count() == 1  # who waits hears of it
    assert OfferWaiting.objects.get().told_at is None
    assert grab(flash, late).state == "placed"
    assert run_audit()[1] == []


# --- Races ---------------------------------------------------------------------------------------------------------
def every_buyer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each came to another process: no batch is shared, the database alone decides."""
    monkeypatch.setattr(hot, "_batcher", lambda _offer_id: Batcher(hot._answer))


def crowd(flash: Offer, members: list[Any], threads: int = 10) -> list[Any]:
    """Each of a few threads taps for its share of the members, one after the other."""

    def taps(mine: list[Any]) -> Callable[[], list[Any]]:
        return lambda: [grab(flash, member) for member in mine]

    results = at_once(*[taps(members[place::threads]) for place in range(threads)])
    return [answer for answers in results for answer in answers]


def buyers(count: int) -> list[Any]:
    """Members with an address each, made in two statements."""
    model = type(builders.member())
    made = model.objects.bulk_create(model(name="买家", created_at=clock.now()) for _ in range(count))
    MemberStats.objects.bulk_create(MemberStats(member=member) for member in made)
    values = {
        name: getattr(builders.ADDRESS, name)
        for name in ("receiver", "phone", "province", "city", "district", "street")
    }
    Address.objects.bulk_create(
        Address(member=member, is_default=True, used_at=clock.now(), **values) for member in made
    )
    return made


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("alone", "quota", "stock"), [(False, 20, 100), (True, 30, 20)], ids=["in batches", "each alone"]
)
def test_two_hundred_buyers_of_twenty_pieces(
    monkeypatch: pytest.MonkeyPatch, alone: bool, quota: int, stock: int
) -> None:
    """Twenty in the offer, or twenty on the shelf."""
    if alone:
        every_buyer_alone(monkeypatch)
    dress = builders.sku(stock=stock)
    flash = instruments.offer(dress, quota=quota)
    assert states(crowd(flash, buyers(200))) == {"placed": 20, "gone": 180}
    flash.refresh_from_db()
    assert (flash.taken, OfferTake.objects.count(), Order.objects.count()) == (20, 20, 20)
    assert builders.stock_of(dress) == (stock, 20)
    assert StockMovement.objects.filter(reserved_after=20, reason="reserve").count() == 1
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_in_one_batch_everybody_is_answered_for_herself() -> None:
    dress = builders.sku(stock=100)
    flash = instruments.offer(dress, quota=4, per_member_limit=2)
    greedy, nowhere, others = buyer(), builders.member(), [buyer() for _ in range(3)]
    earlier = grab(flash, others[0])

    def ask(member: Any, key: str = "") -> Any:
        return hot._Ask(flash.pk, member.pk, None, f"hot:{flash.pk}:{key or f'key-of-{member.pk:016d}'}")

    asks = [ask(greedy, "one"), ask(greedy, "one"), ask(greedy, "two"), ask(greedy, "three"), ask(nowhere),
            ask(others[0]), ask(others[1]), ask(others[2]), hot._Ask(flash.pk, 999_999, None, "nobody")]  # fmt: skip
    answers = hot._take(asks)
    assert [answer.state for answer in answers] == [
        *("placed", "placed", "placed", "limit", "checkout", "before", "placed", "gone", "login")
    ]
    assert answers[0].number == answers[1].number != answers[2].number
    assert answers[5].number == earlier.number
    assert builders.stock_of(dress) == (100, 4)
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
def test_however_fast_she_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    every_buyer_alone(monkeypatch)
    flash, member = instruments.offer(builders.sku(stock=100), per_member_limit=2), buyer()
    same = at_once(*[lambda: grab(flash, member) for _ in range(6)])
    assert len({answer.number for answer in same}) == 1
    other = at_once(*[lambda turn=turn: grab(flash, member, f"another-key-{turn:08d}") for turn in range(6)])
    assert states(other) == {"placed": 1, "limit": 5}
    assert OfferTally.objects.get().taken == Order.objects.count() == 2
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
def test_the_checkout_and_the_button_share_one_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    every_buyer_alone(monkeypatch)
    dress = builders.sku(stock=100)
    flash = instruments.offer(dress, quota=6)
    members = buyers(12)
    results = at_once(
        *[lambda member=member: grab(flash, member) for member in members[:6]],
        *[lambda member=member: builders.order(member, (dress, 1)) for member in members[6:]],
    )
    flash.refresh_from_db()
    assert flash.taken == OfferTake.objects.count() == 6
    assert not [one for one in results if isinstance(one, Exception) and not hasattr(one, "code")]
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_first", [True, False], ids=["the order first", "the limit first"])
def test_the_first_limit_per_member_and_an_order_of_that_instant(is_first: bool) -> None:
    """Whoever is second waits for the other's commit: the count sees the order, or the order the limit."""
    dress = builders.sku(stock=10)
    flash, member = instruments.offer(dress), buyer()

    def limit() -> int:
        return Product.objects.filter(pk=dress.product_id).update(limit_per_member=3)

    def order() -> str:
        return grab(flash, member).state

    if is_first:
        assert one_holds_while_other_waits(order, limit) == ("placed", 1)
        assert ProductTally.objects.get().taken == 1
    else:
        assert one_holds_while_other_waits(limit, order) == (1, "checkout")
        assert Order.objects.count() == 0
    assert run_audit()[1] == []


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_crowd_again_and_again_leaves_exactly_as_many_orders_as_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In small; `bench order-http-hot` does it with 10,000 buyers through HTTP."""
    members = buyers(120)
    for turn in range(3):
        if turn == 1:
            every_buyer_alone(monkeypatch)
        flash = instruments.offer(builders.sku(stock=100), quota=15)
        assert states(crowd(flash, members)) == {"placed": 15, "gone": 105}
        assert run_audit()[1] == []
