"""Long lists begin behind the last row of the page before: nothing twice, nothing left out, no matter what comes in."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.middleware import csrf
from django.test import Client, override_settings

from core import clock
from crm import sessions
from shop import queries, services
from shop.models import Category, Favourite, Offer, OfferTally, Product, Review, Sku
from shop.pages import frame
from tests.shop import builders, goods, instruments
from tests.shop.test_presale import presale

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelf() -> Category:
    """Nine products, many of them equal in what they are sorted by."""
    made = Category.objects.create(name="香水")
    for number in range(9):
        builders.sku(
            product_name=f"香 {number}" if number % 3 else f"雾 {number}",
            price_fen=1_000 * (number % 2 + 1),
            category=made,
            sort=number % 4,
        )
    return made


def walked(read: Callable[[str], queries.ProductPage], between: Callable[[], Any] = bool) -> list[str]:
    """The names on all pages, one after the other."""
    names, after = [], ""
    for _page in range(9):
        page = read(after)
        names += [row.name for row in page.rows]
        if not page.after:
            return names
        after = page.after
        between()
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize("sort", ["default", "new", "price", "-price", "sold"])
def test_pages_of_a_shelf_join_without_a_seam(shelf: Category, sort: str) -> None:
    whole = [row.name for row in queries.product_list(category=shelf.pk, sort=sort).rows]
    assert len(whole) == 9

    def read(after: str) -> queries.ProductPage:
        return queries.product_list(category=shelf.pk, sort=sort, after=after, page_size=2)

    assert walked(read) == whole
    ahead = {"price": {"price_fen": 1}, "-price": {"price_fen": 99_000}}.get(sort, {})
    between = lambda: builders.sku(product_name="新", category=shelf, sort=9, **ahead)  # noqa: E731
    assert walked(read, between)[-7:] == whole[-7:]  # what came in at the top shifted nothing


def test_what_has_the_word_in_its_name_comes_first_and_the_rest_follows(
    shelf: Category, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [row.name for row in queries.product_list(search="香").rows]
    assert len(whole) == 9  # all by the category
    assert [name[0] for name in whole] == ["香"] * 6 + ["雾"] * 3

    def read(after: str) -> queries.ProductPage:
        return queries.product_list(search="香", after=after, page_size=2)

    assert walked(read) == whole
    monkeypatch.setattr("shop.queries.catalogue.ROWS_BY_NAME", 4)  # the rest as it stands on the shelf
    ranked = walked(read)
    assert sorted(ranked) == sorted(whole)
    shelved = [row.name for row in queries.product_list(category=shelf.pk).rows]
    assert ranked[4:] == shelved[4:]
    assert sorted(ranked[:4]) == sorted(shelved[:4])


def test_earlier_orders_follow_one_after_the_other_and_only_her_own() -> None:
    buyer, other, sku = builders.member(), builders.member(), builders.sku(stock=50)
    numbers = [builders.order(buyer, (sku, 1)).number for _order in range(12)]
    builders.order(other, (sku, 1))
    client = phone_of(buyer)
    first = client.get("/orders/").content.decode()
    assert f"/orders/{numbers[0]}/" not in first
    link = re.search(r'<a class="button" href="(/orders/\?after=[^"]*)"', first)  # works without script
    assert link
    builders.order(buyer, (sku, 1))
    second = client.get(link[1]).content.decode()
    assert re.findall(r'href="/orders/(\w+)/"', second) == [numbers[1], numbers[0]]
    for odd in ("x", "1", "9" * 18 + "_1", "1_2_3", "-1_-1"):
        assert client.get("/orders/", {"after": odd}).status_code == 200


def phone_of(member: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, member)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def counted(page: str) -> str:
    """The number at the cart."""
    found = re.search(r'id="cart-count"[^>]*>(\d*)<', page)
    assert found
    return found[1]


def test_kept_pages_show_each_person_only_what_is_hers() -> None:
    """Two members and a stranger look at the same kept product: hearts, carts and forms are their own."""
    frame.forget_fragments()
    shelf = Category.objects.create(name="香水")
    sku = builders.sku(category=shelf)
    fond, cool = builders.member(name="甲"), builders.member(name="乙")
    services.set_favourite(member_id=fond.pk, product_id=sku.product_id, wanted=True)
    services.add_to_cart(member_id=fond.pk, sku_id=sku.pk, quantity=7)
    token = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
    with override_settings(FRAGMENT_SECONDS=60.0):
        tokens: set[str] = set()
        for viewer, heart, count in (
            (phone_of(fond), "true", "7"),
            (phone_of(cool), "false", ""),
            (Client(), "false", ""),
            (phone_of(fond), "true", "7"),
        ):
            page = viewer.get(f"/p/{sku.product_id}/").content.decode()
            assert f'aria-pressed="{heart}"' in page
            assert counted(page) == count
            found = set(token.findall(page))
            assert found
            assert not found & tokens
            tokens |= found
            assert counted(viewer.get(f"/category/{shelf.pk}/").content.decode()) == count
        Product.objects.filter(pk=sku.product_id).update(name="改名")
        assert "改名" not in phone_of(cool).get(f"/p/{sku.product_id}/").content.decode()
        # Who is refused because of what changed sees what is there now.
        refused = phone_of(cool).post(f"/p/{sku.product_id}/choose/", {"sku": "987654321"})
        assert 400 <= refused.status_code < 500
        assert "改名" in refused.content.decode()
    frame.forget_fragments()


@pytest.fixture
def kept_a_minute() -> Iterator[None]:
    frame.forget_fragments()
    with override_settings(FRAGMENT_SECONDS=60.0):
        yield
    frame.forget_fragments()


def test_a_kept_page_is_one_statement_for_a_member(
    kept_a_minute: None, django_assert_num_queries: Callable[..., Any]
) -> None:
    """Also in a sale, with a limit or on presale, when her order of it is in the page, or a refusal."""
    shelf, buyer = Category.objects.create(name="香水"), builders.member()
    plain, flash, limited, (presold, _offer) = (
        *(builders.sku(category=shelf) for _sku in range(3)),
        presale(),
    )
    instruments.offer(flash)
    Product.objects.filter(pk=limited.product_id).update(limit_per_member=2)
    builders.order(buyer, (limited, 1))
    viewer = phone_of(buyer)
    for address, said in (
        (f"/category/{shelf.pk}/", plain.product.name),
        (f"/p/{plain.product_id}/", 'data-test="add-to-cart"'),
        (f"/p/{flash.product_id}/", 'data-test="grab"'),
        (f"/p/{flash.product_id}/?hot=gone", 'role="alert"'),
        (f"/p/{limited.product_id}/", "您还可以买 1 件"),
        (f"/p/{presold.product_id}/", 'data-test="presale-terms"'),
    ):
        viewer.get(address)
        with django_assert_num_queries(1):
            page = viewer.get(address)
        assert page.status_code == 200
        assert re.search(said, page.content.decode()), said


def test_kept_offers_follow_the_clock_and_are_hers(kept_a_minute: None) -> None:
    """Nothing is read anew, yet offers begin and end to the second, and each page has clocks and keys of its own."""
    moment = clock.now()
    red = builders.sku(name="红", price_fen=20_000)
    blue = builders.sku(name="蓝", price_fen=20_000, product=red.product)
    times = {"starts_at": moment + timedelta(hours=1), "ends_at": moment + timedelta(hours=2)}
    offers = [instruments.offer(sku, **times) for sku in (red, blue)]
    taker, waiter, stranger = builders.member(), builders.member(), builders.member()

    def seen(viewer: Any, later: timedelta) -> tuple[list[str], list[int], list[str]]:
        """States, seconds left and keys on the page."""
        with clock.travel(moment + later):
            page = phone_of(viewer).get(f"/p/{red.product_id}/").content.decode()
        states = re.findall(r'class="offer (\w+)"', page)
        return (
            states,
            [int(left) for left in re.findall(r'data-left="(\d+)"', page)],
            re.findall(r'name="key" value="([\w-]+)"', page),
        )

    assert seen(stranger, timedelta(minutes=59)) == (["soon"] * 2, [60] * 2, [])
    assert seen(stranger, timedelta(minutes=59, seconds=20))[1] == [40] * 2
    states, left, keys = seen(stranger, timedelta(hours=1))
    assert (states, left) == (["open"] * 2, [3600] * 2)
    more = seen(stranger, timedelta(hours=1))[2]
    assert len({*keys, *more}) == 4  # tapped in two places, or on two pages: two orders
    with clock.travel(moment + timedelta(hours=1)):
        OfferTally.objects.create(offer=offers[0], member=taker, taken=1)
        Offer.objects.filter(pk=offers[1].pk).update(taken=10)
        services.wait_for_offer(offer_id=offers[1].pk, member_id=waiter.pk)
    assert seen(taker, timedelta(hours=1))[0] == [
        "mine",
        "open",
    ]  # hers at once, the sold-out quota when read anew
    frame.forget_fragments()
    for viewer, states in (
        (taker, ["mine", "gone"]),
        (waiter, ["open", "gone"]),
        (stranger, ["open", "gone"]),
    ):
        assert seen(viewer, timedelta(hours=1))[0] == states
    with clock.travel(moment + timedelta(hours=1)):
        waits = 'data-test="offer-leave"'
        assert waits in phone_of(waiter).get(f"/p/{red.product_id}/").content.decode()
        assert waits not in phone_of(stranger).get(f"/p/{red.product_id}/").content.decode()
    assert seen(stranger, timedelta(hours=2)) == ([], [], [])


def test_a_limit_on_a_kept_page_counts_what_she_has(kept_a_minute: None) -> None:
    sku, buyer, other = builders.sku(stock=9), builders.member(), builders.member()
    Product.objects.filter(pk=sku.product_id).update(limit_per_member=3, limit_per_order=2)

    def seen(viewer: Any) -> tuple[str, str]:
        page = phone_of(viewer).get(f"/p/{sku.product_id}/").content.decode()
        words = re.search(r'data-test="limit">([^<]*)<', page)
        most = re.search(r'data-most="(\d+)"', page)
        return words[1] if words else "", most[1] if most else ""

    assert seen(buyer) == seen(other) == ("每人限购 3 件 · 一个订单最多 2 件", "2")
    builders.order(buyer, (sku, 2))
    assert seen(buyer) == ("每人限购 3 件，您还可以买 1 件 · 一个订单最多 2 件", "1")
    assert seen(other) == ("每人限购 3 件 · 一个订单最多 2 件", "2")
    builders.order(buyer, (sku, 1))
    assert seen(buyer)[1] == ""
    assert "您已买满" in seen(buyer)[0]


def test_a_change_of_the_product_shows_when_the_page_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Price, stock, a new offer, new terms: at most two seconds late, in every process by itself."""
    frame.forget_fragments()
    sku, viewer = builders.sku(price_fen=26_800, stock=9), phone_of(builders.member())
    address = f"/p/{sku.product_id}/"
    with override_settings(FRAGMENT_SECONDS=2.0):
        before = viewer.get(address).content.decode()
        Sku.objects.filter(pk=sku.pk).update(price_fen=19_900)
        Product.objects.filter(pk=sku.product_id).update(limit_per_order=4)
        services.refresh_products(product_ids=[sku.product_id])
        for pieces in (4, 2):
            builders.order(builders.member(), (sku, pieces))
        instruments.offer(sku, name="限时")
        assert "268" in viewer.get(address).content.decode()
        present = frame.time.monotonic()
        monkeypatch.setattr(frame.time, "monotonic", lambda: present + 2.1)
        after = viewer.get(address).content.decode()
        for words in ("199", "仅剩 3 件", "一个订单最多 4 件", "限时"):
            assert (words in before, words in after) == (False, True), words
    frame.forget_fragments()


def test_a_kept_form_can_be_sent_and_its_token_is_as_django_makes_it(kept_a_minute: None) -> None:
    sku, buyer = builders.sku(), builders.member()
    builders.sku(product=sku.product)
    viewer = Client(enforce_csrf_checks=True)
    viewer.cookies.update(phone_of(buyer).cookies)
    address = f"/p/{sku.product_id}/"
    token = re.compile(r'name="csrfmiddlewaretoken" value="(\w{64})"')
    first, second = (token.findall(viewer.get(address).content.decode()) for _page in range(2))
    assert len(set(first)) == len(set(second)) == len({*first[:1], *second[:1]}) - 1 == 1
    secret = viewer.cookies["csrftoken"].value
    assert [csrf._unmask_cipher_token(one) for one in (first[0], second[0])] == [secret] * 2
    for given, status in (("", 403), ("a" * 64, 403), (first[0], 302), (second[0], 302)):
        sent = {"wanted": "1", "csrfmiddlewaretoken": given}
        assert viewer.post(f"{address}favourite/", sent).status_code == status


# --- Hearts and reviews --------------------------------------------------------------------------------------------
def test_pages_of_hearts_join_without_a_seam() -> None:
    member, moment = builders.member(), clock.now()
    for number in range(9):  # three of each moment
        Favourite.objects.create(
            member=member,
            product=builders.sku(product_name=f"香 {number}").product,
            added_at=moment + timedelta(microseconds=number // 3),
        )
    Favourite.objects.create(member=builders.member(), product=builders.sku().product, added_at=moment)
    whole = [row.name for row in queries.favourites_of(member.pk).rows]
    assert whole == [f"香 {number}" for number in reversed(range(9))]

    def read(after: str) -> queries.ProductPage:
        return queries.favourites_of(member.pk, after=after, page_size=2)

    assert walked(read) == whole
    between = lambda: Favourite.objects.create(  # noqa: E731
        member=member, product=builders.sku().product, added_at=clock.now()
    )
    assert walked(read, between) == whole  # what she marks meanwhile shifts nothing
    viewer = phone_of(member)
    for _number in range(15):
        Favourite.objects.create(member=member, product=goods.product(Product.GOODS), added_at=moment)
    first = viewer.get("/favourites/").content.decode()
    link = re.search(r'<a class="button" href="(/favourites/\?after=[^"]*)"', first)
    assert link
    rest = viewer.get(link[1], HTTP_HX_REQUEST="true").content.decode()
    cards = 'data-test="product-card"'
    assert (first.count(cards), rest.count(cards), "<html" in rest) == (
        20,
        Favourite.objects.count() - 21,
        False,
    )
    for odd in ("x", "1", "9" * 18 + "_1", "1_2_3", "-1_-1"):
        assert viewer.get("/favourites/", {"after": odd}).status_code == 200


def test_pages_of_reviews_join_without_a_seam() -> None:
    buyer, moment = builders.member(name="林小满"), clock.now()
    sku = builders.sku(stock=50)
    for number in range(13):
        line = builders.order(buyer, (sku, 1)).lines.get()
        Review.objects.create(
            line=line,
            product=sku.product,
            member=buyer,
            stars=5,
            text=f"第 {number:02d} 次",
            state=Review.HIDDEN if number == 5 else Review.SHOWN,
            written_at=moment + timedelta(microseconds=number // 3),
        )
    shown = [f"第 {number:02d} 次" for number in reversed(range(13)) if number != 5]
    texts, after = [], ""
    for _page in range(6):
        page = queries.reviews_of(sku.product_id, after=after, page_size=2)
        texts, after = texts + [row.text for row in page.rows], page.after
    assert (texts, after) == (shown, "")
    here, viewer = f"/p/{sku.product_id}/reviews/", Client()
    first = viewer.get(here).content.decode()
    link = re.search(r'<a class="button" href="([^"]*after=[^"]*)"', first)
    assert link
    rest = viewer.get(link[1], HTTP_HX_REQUEST="true").content.decode()
    assert re.findall(r"第 \d\d 次", first + rest) == shown
    assert viewer.get(here, {"after": "9" * 18 + "_1"}).status_code == 200
