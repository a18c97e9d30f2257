"""Points buy goods and coupons: within quota and limit, from what ends first, and back to where they came from."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_audit, run_check
from core.models import LedgerLot
from crm import queries as crm_queries
from crm import services as crm_services
from shop import queries, services
from shop.errors import BadAddress, CouponRefused, MallRefused, NoSuchOffer, WrongState
from shop.models import Coupon, CouponGrant, MallExchange, MallItem, Tally
from tests.shop import builders
from tests.shop.test_points import phone_of
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def timeline(db: Any) -> None:
    crm_services.prepare_timeline(since=clock.today(), until=clock.today() + timedelta(days=70))


def rich(points: int = 1_000, name: str = "小池") -> Any:
    buyer = builders.member(name)
    give(buyer, points)
    return buyer


def give(buyer: Any, points: int, months: int = 0) -> None:
    crm_services.earn(
        member_id=buyer.pk, cause=f"gift:{buyer.pk}:{points}:{months}", source="adjust", points=points, months=months
    )  # fmt: skip


def a_coupon(**more: Any) -> Coupon:
    wanted: dict[str, Any] = {
        "code": f"MALL-{Coupon.objects.count()}", "name": "满 100 减 10", "amount_fen": 1_000, "valid_days": 30,
        "per_member_limit": 99, "created_at": clock.now(),
    }  # fmt: skip
    return Coupon.objects.create(**{**wanted, **more})


def an_item(points: int = 300, **more: Any) -> MallItem:
    if "sku" in more:
        return MallItem.objects.create(name="香氛小样", kind="goods", points=points, **more)
    coupon = more.pop("coupon", None) or a_coupon()
    return MallItem.objects.create(name="十元券", points=points, coupon=coupon, **more)


def address_of(buyer: Any) -> int:
    return services.save_address(member_id=buyer.pk, address=builders.ADDRESS).pk


def points_of(buyer: Any) -> int:
    return crm_queries.points_of(buyer.pk).balance


def lots(buyer: Any) -> list[int]:
    rows = LedgerLot.objects.filter(account__kind="points", account__owner_id=buyer.pk)
    return list(rows.order_by("expires_at", "pk").values_list("remaining", flat=True))


def test_points_that_end_first_pay_and_return_to_their_lots() -> None:
    buyer = rich(200)
    give(buyer, 250, months=1)
    item = an_item(300)
    done = services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="one")
    assert services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="one") == done
    assert (lots(buyer), points_of(buyer)) == ([0, 150], 150)
    assert (CouponGrant.objects.get().member_id, CouponGrant.objects.get().state) == (buyer.pk, "held")
    for _ in range(2):
        services.take_back_exchange(exchange_id=done.pk, reason="发错了", by="小运")
    assert (lots(buyer), CouponGrant.objects.get().state) == ([250, 200], "revoked")
    item.refresh_from_db()
    assert (item.taken, Tally.objects.get().taken) == (0, 0)
    words = [(move.words, move.amount) for move in crm_queries.points_statement(buyer.pk)]
    assert words[:2] == [("积分商城退回", 300), ("积分商城兑换", -300)]
    assert sum(amount for _words, amount in words) == 450
    assert run_audit()[1] == []


def test_goods_leave_the_warehouse_are_sent_and_come_back() -> None:
    buyer, sample = rich(), builders.sku(stock=2)
    item = an_item(100, sku=sample, per_member=0)
    with pytest.raises(BadAddress):
        services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="a", address_id=10**9)
    stranger = address_of(rich(name="别人"))
    with pytest.raises(BadAddress):
        services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="a", address_id=stranger)
    address = address_of(buyer)
    first, second = [
        services.exchange_points(item_id=item.pk, member_id=buyer.pk, key=key, address_id=address)
        for key in ("a", "b")
    ]
    assert (builders.stock_of(sample), first.state, "延平路" in first.address) == ((0, 0), "waiting", True)
    with pytest.raises(MallRefused):
        services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="c", address_id=address)
    for _ in range(2):
        services.send_exchange(exchange_id=first.pk, carrier="顺丰速运", tracking_number="SF1", by="小运")
    services.take_back_exchange(exchange_id=second.pk, reason="不要了")
    assert (builders.stock_of(sample), points_of(buyer)) == ((1, 0), 900)
    with pytest.raises(WrongState):
        services.send_exchange(exchange_id=second.pk, carrier="顺丰速运", tracking_number="SF2")
    services.take_back_exchange(exchange_id=first.pk, reason="破损")  # it is not in the warehouse
    assert (builders.stock_of(sample), points_of(buyer), run_audit()[1]) == ((1, 0), 1_000, [])


def test_what_is_over_gone_had_or_too_dear_is_refused_and_changes_nothing() -> None:
    buyer, other = rich(), rich(name="小满")
    moment = clock.now()
    over, later = an_item(ends_at=moment - timedelta(hours=1)), an_item(starts_at=moment + timedelta(hours=1))
    dear, last, ended = an_item(1_001), an_item(10, quota=1), an_item(10, coupon=a_coupon(is_active=False))
    services.exchange_points(item_id=last.pk, member_id=other.pk, key="x")
    mine = an_item(10)
    services.exchange_points(item_id=mine.pk, member_id=buyer.pk, key="x")
    for item, refusal in (
        (over, NoSuchOffer), (later, NoSuchOffer), (dear, MallRefused), (last, MallRefused), (ended, CouponRefused),
        (mine, MallRefused),
    ):  # fmt: skip
        with pytest.raises(refusal):
            services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="y")
    states = {offer.pk: offer.state for offer in queries.mall_offers(buyer.pk)}
    assert [states.get(item.pk) for item in (over, dear, last, ended, mine)] == [
        None,
        "poor",
        "gone",
        "gone",
        "had",
    ]
    assert (points_of(buyer), MallExchange.objects.count(), CouponGrant.objects.count()) == (990, 2, 2)
    grant = CouponGrant.objects.get(member=buyer)
    order = builders.order(buyer, (builders.sku(), 1))
    CouponGrant.objects.filter(pk=grant.pk).update(state="used", order=order, used_at=clock.now())
    with pytest.raises(WrongState):
        services.take_back_exchange(exchange_id=MallExchange.objects.get(member=buyer).pk, reason="晚了")
    services.move_member(kept_id=other.pk, merged_id=buyer.pk)
    assert (
        MallExchange.objects.filter(member=other).count(),
        run_check("shop.mall_counts_its_exchanges"),
    ) == (2, [])


@pytest.mark.django_db(transaction=True)
def test_the_last_one_and_the_last_points_go_once() -> None:
    people = [rich(500, name) for name in ("小池", "小满", "小荷")]
    last, each = an_item(100, quota=1), an_item(400, per_member=1)
    answers = at_once(
        *[
            lambda who=who: services.exchange_points(item_id=last.pk, member_id=who.pk, key="k")
            for who in people
        ]
    )
    assert sorted(type(answer).__name__ for answer in answers) == [
        "MallExchange",
        "MallRefused",
        "MallRefused",
    ]
    buyer = people[0]
    again = [lambda: services.exchange_points(item_id=each.pk, member_id=buyer.pk, key="same")] * 2
    more = [lambda: services.exchange_points(item_id=each.pk, member_id=buyer.pk, key="other")]
    answers = at_once(*again, *more)
    assert {type(answer).__name__ for answer in answers} <= {"MallExchange", "MallRefused"}
    taken = MallExchange.objects.get(item=each)
    at_once(*[lambda: services.take_back_exchange(exchange_id=taken.pk, reason="撤回")] * 3)
    assert sum(points_of(one) for one in people) == 1_400
    assert run_audit()[1] == []


@pytest.mark.parametrize(
    ("check", "corruption"),
    [
        ("shop.mall_counts_its_exchanges", "UPDATE shop_mallitem SET taken = 0"),
        ("shop.mall_counts_its_exchanges", "UPDATE shop_tally SET taken = 5"),
        ("shop.exchanges_stand_in_the_ledger", "UPDATE shop_mallexchange SET points = 1"),
    ],
)
def test_the_audit_finds(check: str, corruption: str) -> None:
    services.exchange_points(item_id=an_item().pk, member_id=rich().pk, key="a")
    assert run_check(check) == []
    with connection.cursor() as cursor:
        cursor.execute(corruption)
    assert run_check(check) != []


def test_she_exchanges_on_her_phone(django_assert_max_num_queries: Any) -> None:
    buyer = rich()
    phone = phone_of(buyer)
    assert "还没有" in phone.get("/mall/").content.decode()
    goods, coupon = an_item(200, sku=builders.sku()), an_item(5_000)
    for _ in range(8):
        an_item(100)
    with django_assert_max_num_queries(22):
        page = phone.get("/mall/").content.decode()
    assert ("香氛小样" in page, "还差 4,000" in page) == (True, True)
    here = f"/mall/{goods.pk}/"
    assert 'data-test="mall-exchange"' in phone.get(here).content.decode()
    for sent in ({}, {"address": "😀"}, {"address": "-1"}, {"key": "x" * 10_000, "address": "9" * 30}):
        assert (phone.post(here, sent).status_code, MallExchange.objects.count()) == (400, 0)
    assert phone.post(f"/mall/{coupon.pk}/", {"key": "k"}).status_code == 409
    stale = {"key": "s", "address": address_of(buyer), "shown": "50+0"}  # it took 50 when she opened the page
    assert (phone.post(here, stale).status_code, MallExchange.objects.count()) == (404, 0)
    assert phone.get("/mall/999999/").status_code == 404
    for _ in range(2):
        answer = phone.post(here, {"key": "k", "address": address_of(buyer)})
    assert (answer.status_code, MallExchange.objects.count(), points_of(buyer)) == (302, 1, 800)
    assert "香氛小样" in phone.get("/mall/exchanges/?done=1").content.decode()
    assert "香氛小样" not in phone_of(rich(name="别人")).get("/mall/exchanges/").content.decode()
    assert "/mall/" in phone.get("/me/points/").content.decode()


def test_operators_offer_send_and_take_back_by_permission(client: Client) -> None:
    buyer, sample = rich(), builders.sku()
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    add = reverse("admin:shop_mallitem_add")
    assert client.get(add).status_code == 403
    words = [
        "view_mallitem",
        "add_mallitem",
        "change_mallitem",
        "view_mallexchange",
        "view_sku",
        "view_coupon",
    ]
    staff.user_permissions.add(*Permission.objects.filter(codename__in=words))
    form = {
        "name": "小样",
        "kind": "goods",
        "points": "100",
        "per_member": "1",
        "position": "0",
        "is_active": "on",
    }
    for wrong in ({}, {"sku": sample.pk, "points": "0"}, {"kind": "coupon"}):
        assert client.post(add, {**form, **wrong}).status_code == 200
    assert client.post(add, {**form, "sku": sample.pk}).status_code == 302
    done = services.exchange_points(
        item_id=MallItem.objects.get().pk, member_id=buyer.pk, key="a", address_id=address_of(buyer)
    )
    assert "小样" in client.get(reverse("admin:shop_mallitem_changelist")).content.decode()
    assert "小池" in client.get(reverse("admin:shop_mallexchange_changelist")).content.decode()
    send = reverse("admin:shop_mallexchange_send", args=[done.pk])
    back = reverse("admin:shop_mallexchange_take_back", args=[done.pk])
    carrier = {"_form_submitted": "on", "carrier": "顺丰速运", "tracking_number": "SF1"}
    client.post(send, carrier)
    assert MallExchange.objects.get().state == "waiting"
    staff.user_permissions.add(Permission.objects.get(codename="change_mallexchange"))
    client.post(send, carrier)
    assert (MallExchange.objects.get().state, MallExchange.objects.get().actor) == ("done", "staff")
    client.post(back, {"_form_submitted": "on", "reason": "破损", "is_back_in_stock": "on"})
    assert (MallExchange.objects.get().state, builders.stock_of(sample), points_of(buyer)) == (
        "returned",
        (10, 0),
        1_000,
    )
