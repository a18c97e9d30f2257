"""Which store serves what: the pure rules against all arrangements, and the plan against a real shop."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.models import Store
from shop import queries, services
from shop.errors import NotForSale, SoldOut
from shop.models import Stock
from shop.pricing.types import Choices
from shop.routing import CannotServe, Line, NoPickupThere, Place, Rules, route, serving
from tests.shop import builders

HOME = Place(1, rank=0, is_warehouse=True, province="上海市", city="上海市")
HANGZHOU = Place(2, province="浙江省", city="杭州市")
CHENGDU = Place(3, province="四川省", city="成都市", latitude=30.65, longitude=104.08)
WUHAN = Place(4, province="湖北省", city="武汉市")
ALL = [HOME, HANGZHOU, CHENGDU, WUHAN]


def served(lines, stocks, **rules):
    return [
        (one.sku_id, one.store_id, one.quantity, one.reason)
        for one in route([Line(*line) for line in lines], stocks, Rules(ALL, **rules))
    ]


def test_the_warehouse_comes_first_when_it_has_everything():
    assert served([(7, 2)], {(7, 1): 2, (7, 3): 9}, region="四川省 成都市 锦江区") == [(7, 1, 2, "warehouse")]


@pytest.mark.parametrize(
    ("region", "store"),
    [
        ("四川省 成都市 锦江区", 3),
        ("浙江省 宁波市 鄞州区", 2),
        ("湖南省 长沙市 岳麓区", 4),
        ("西藏自治区 拉萨市 城关区", 3),
    ],
)
def test_else_the_nearest_store_that_has_it(region, store):
    assert served([(7, 1)], {(7, 2): 1, (7, 3): 1, (7, 4): 1}, region=region) == [(7, store, 1, "nearest")]


def test_one_far_store_with_everything_beats_two_near_ones():
    stocks = {(7, 1): 1, (8, 2): 1, (7, 3): 1, (8, 3): 1}
    assert served([(7, 1), (8, 1)], stocks, region="上海市 上海市 静安区") == [
        (7, 3, 1, "only_here"),
        (8, 3, 1, "only_here"),
    ]


def test_one_sku_may_come_from_two_stores():
    assert served([(7, 5)], {(7, 1): 3, (7, 4): 4}) == [(7, 1, 3, "split"), (7, 4, 2, "split")]


def test_collecting_needs_a_store_that_does_it_and_has_it():
    store = Place(9, ships=False, allows_pickup=True)
    rules = Rules([*ALL, store], pickup_store_id=9)
    assert route([Line(7, 1)], {(7, 9): 1}, rules)[0].reason == "pickup"
    with pytest.raises(CannotServe) as short:
        route([Line(7, 2)], {(7, 9): 1, (7, 1): 5}, rules)
    assert short.value.available == {7: 1}
    with pytest.raises(NoPickupThere):
        route([Line(7, 1)], {(7, 1): 5}, Rules(ALL, pickup_store_id=1))


places = st.lists(
    st.builds(
        Place,
        st.integers(1, 6),
        rank=st.integers(0, 2),
        ships=st.booleans(),
        province=st.sampled_from(["", "上海市", "四川省", "新疆维吾尔自治区", "Atlantis"]),
    ),
    unique_by=lambda place: place.store_id,
    max_size=5,
)
wishes = st.lists(st.builds(Line, st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=5)
shelves = st.dictionaries(st.tuples(st.integers(1, 3), st.integers(1, 6)), st.integers(-1, 4), max_size=15)


@settings(max_examples=150, deadline=None)
@given(places, wishes, shelves, st.sampled_from(["", "上海市 上海市 静安区", "🐟"]))
def test_every_piece_is_served_once_by_as_few_stores_as_possible(stores, lines, stocks, region):
    rules = Rules(stores, region)
    wanted = {}
    for line in lines:
        wanted[line.sku_id] = wanted.get(line.sku_id, 0) + line.quantity
    ships = serving(rules)

    def enough(some):
        return all(
            sum(max(stocks.get((sku, place.store_id), 0), 0) for place in some) >= quantity
            for sku, quantity in wanted.items()
        )

    if not enough(ships):
        with pytest.raises(CannotServe) as short:
            route(lines, stocks, rules)
        assert all(count < wanted[sku] for sku, count in short.value.available.items())
        return
    decisions = route(lines, stocks, rules)
    assert decisions == route(list(reversed(lines)), stocks, rules)
    for sku, quantity in wanted.items():
        assert sum(one.quantity for one in decisions if one.sku_id == sku) == quantity
    for one in decisions:
        assert 0 < one.quantity <= stocks[one.sku_id, one.store_id]
    assert len({(one.sku_id, one.store_id) for one in decisions}) == len(decisions)
    fewest = next(size for size in range(1, 7) if any(enough(some) for some in combinations(ships, size)))
    assert len({one.store_id for one in decisions}) == fewest


def test_a_hundred_stores_are_routed_without_trying_every_set():
    many = [Place(number) for number in range(1, 101)]
    stocks = {(sku, sku * 3): 1 for sku in range(1, 31)}
    decisions = route([Line(sku, 1) for sku in range(1, 31)], stocks, Rules(many))
    assert len(decisions) == 30


@pytest.fixture
def city(db):
    return Store.objects.create(
        code="hubin", name="湖滨店", province="浙江省", city="杭州市", ships_online=True, safety_stock=2
    )


def laid(sku, store, pieces):
    services.adjust_stock(sku_id=sku.pk, store_id=store.pk, change=pieces, cause=f"laid:{sku.pk}:{store.pk}")


def test_the_plan_keeps_the_safety_stock_of_stores(city, django_assert_num_queries):
    dress, home = builders.sku(stock=3), services.warehouse_id()
    laid(dress, city, 5)
    with django_assert_num_queries(1):
        parts = services.routing.plan(lines=[(dress.pk, 4), (dress.pk, 2)], region="上海市 上海市 静安区")
    assert [(part.store_id, part.quantity) for part in parts] == [(home, 3), (city.pk, 3)]
    assert "包裹" in services.reason_words(parts[0].reason)
    with pytest.raises(SoldOut) as refusal:
        services.routing.plan(lines=[(dress.pk, 7)])
    assert refusal.value.shortages[0].available == 6
    Stock.objects.filter(store=city).update(safety=0)
    assert services.routing.plan(lines=[(dress.pk, 8)])[1].quantity == 5
    Store.objects.filter(pk=city.pk).update(is_active=False)
    with pytest.raises(SoldOut):
        services.routing.plan(lines=[(dress.pk, 4)])


def test_the_plan_for_collecting_names_what_is_wrong(city):
    dress = builders.sku(stock=5)
    for choice in (None, city.pk, 10**9):
        with pytest.raises(NotForSale):
            services.routing.plan(
                lines=[(dress.pk, 1)], choices=Choices(delivery="pickup", pickup_store_id=choice)
            )
    Store.objects.filter(pk=city.pk).update(allows_pickup=True)
    laid(dress, city, 1)
    chosen = Choices(delivery="pickup", pickup_store_id=city.pk)
    assert services.routing.plan(lines=[(dress.pk, 1)], choices=chosen)[0].store_id == city.pk
    with pytest.raises(SoldOut):
        services.routing.plan(lines=[(dress.pk, 2)], choices=chosen)


def test_the_shelf_and_the_cart_count_what_the_plan_can_give(city):
    dress, member = builders.sku(stock=1), builders.member()
    laid(dress, city, 5)
    assert queries.product_page(dress.product_id).skus[0].available == 4
    services.add_to_cart(member_id=member.pk, sku_id=dress.pk, quantity=4)
    assert queries.cart_of(member.pk).lines[0].problem == ""
    services.add_to_cart(member_id=member.pk, sku_id=dress.pk, quantity=1)
    assert queries.cart_of(member.pk).lines[0].problem == "short"
    Store.objects.filter(pk=city.pk).update(ships_online=False)
    assert queries.product_page(dress.product_id).skus[0].available == 1
    services.adjust_stock(sku_id=dress.pk, change=-1, cause="gone")
    assert queries.product_list().rows[0].is_sold_out
