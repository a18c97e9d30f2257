"""Long lists begin behind the last row of the page before: nothing twice, nothing left out, no matter what comes in."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings

from crm import sessions
from shop import queries, services
from shop.models import Category, Product
from shop.pages import frame
from tests.shop import builders

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


def test_a_kept_page_is_one_statement_for_a_member(django_assert_num_queries: Callable[..., Any]) -> None:
    frame.forget_fragments()
    shelf = Category.objects.create(name="香水")
    sku, viewer = builders.sku(category=shelf), phone_of(builders.member())
    with override_settings(FRAGMENT_SECONDS=60.0):
        for address in (f"/p/{sku.product_id}/", f"/category/{shelf.pk}/"):
            viewer.get(address)
            with django_assert_num_queries(1):
                assert viewer.get(address).status_code == 200
    frame.forget_fragments()
