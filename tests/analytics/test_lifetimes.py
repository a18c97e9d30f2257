"""Customer lifetimes: every member in one row of each table, seen by whom it concerns, taken out on record."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from analytics import lifetimes, queries
from analytics.models import LifetimeCount, LifetimeExport, LifetimeRow
from core import clock
from core.audits import run_check
from crm.models import ChannelCode, Contact, Identity, LifeFit, Member, MemberLife, MemberStats, Staff, Store
from shop.models import Order, OrderLine, Product, Sku
from tests.campaigns import house

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon():
    with clock.travel(house.NOON):
        yield


@pytest.fixture
def town() -> dict[str, Any]:
    """甲 bought rose first in the north store and has a guide, 乙 came by a code of the south store, 丙 by import."""
    moment, today = clock.now(), clock.today()
    north, south = (
        Store.objects.create(code=code, name=name) for code, name in (("n", "北店"), ("s", "=南店"))
    )
    _lina, mei = (Staff.objects.create(name=name, work_userid=name, store=south) for name in ("lina", "mei"))
    code = ChannelCode.objects.create(
        name="收银台", account=house.service_account(), scene="c-1", store=south, staff=mei, created_at=moment
    )
    one, two, three = (house.follower(name) for name in ("甲", "乙", "丙"))
    Member.objects.filter(pk=two.pk).update(source=code)
    Member.objects.filter(pk=three.pk).update(joined_via="import")
    Contact.objects.create(identity=Identity.objects.get(member=one), userid="lina", added_at=moment)
    skus = []
    for name in ("玫瑰", "木质"):
        product = Product.objects.create(name=name, status="on_sale", created_at=moment, updated_at=moment)
        skus.append(Sku.objects.create(product=product, code=name, price_fen=100))
    for days, store, prices in ((9, north, (300, 100)), (2, south, (10, 500))):
        order = Order.objects.create(
            number=f"N{days}", member=one, status="paid", items_fen=sum(prices), total_fen=sum(prices),
            paid_fen=sum(prices), store=store, placed_at=moment - timedelta(days=days),
            paid_at=moment - timedelta(days=days),
        )  # fmt: skip
        for sku, fen in zip(skus, prices, strict=True):
            OrderLine.objects.create(
                order=order, sku=sku, product_name="x", unit_price_fen=fen, quantity=1, total_fen=fen
            )
    MemberStats.objects.filter(member=one).update(orders_count=2, paid_fen=910, refunded_fen=10)
    MemberLife.objects.create(
        member=one, frequency=1, first_day=today - timedelta(days=9), last_day=today - timedelta(days=2), spent_fen=900,
        repeat_fen=500, chance_bps=9000, vigour_bps=9000, orders_milli=1500, value_fen=1234, rfm=555, stage="active",
        since=today, scored_on=today,
    )  # fmt: skip
    return {"north": north, "south": south}


def table(dimension: str) -> dict[str, tuple[int, int, int, int, int, int]]:
    return {
        queries.lifetime_name(row): (
            *(row.members, row.buyers, row.orders, row.kept_fen, row.expected_orders_milli, row.expected_fen),
        )
        for row in queries.lifetimes(dimension=dimension, sort="members")
    }


def test_every_member_is_in_one_row_of_each_table(town: dict[str, Any]) -> None:
    lifetimes.count_lifetimes()
    one, nothing = (1, 1, 2, 900, 1500, 1234), (1, 0, 0, 0, 0, 0)
    assert table("channel") == {"关注": one, "收银台": nothing, "已导入": nothing}
    assert table("store") == {"北店": one, "=南店": nothing, "暂无": nothing}
    assert table("guide") == {"lina": one, "mei": nothing, "暂无": nothing}
    assert table("product") == {"玫瑰": one, "暂无": (2, 0, 0, 0, 0, 0)}
    assert run_check("analytics.lifetimes") == []
    # Purchases were taken from her (a merge was undone), and the lifecycle has not run since.
    lone = Member.objects.get(joined_via="import")
    MemberLife.objects.create(
        member=lone, frequency=0, first_day=clock.today(), last_day=clock.today(), spent_fen=0, repeat_fen=0,
        chance_bps=9000, vigour_bps=9000, orders_milli=0, rfm=111, stage="new", since=clock.today(),
        scored_on=clock.today(),
    )  # fmt: skip
    lifetimes.count_lifetimes()
    assert LifetimeRow.objects.count() == 11
    assert LifetimeCount.objects.get().members_count == 3
    with connection.cursor() as cursor:
        cursor.execute("UPDATE analytics_lifetimerow SET members = members + 1 WHERE dimension = 'store'")
    assert [one.subject for one in run_check("analytics.lifetimes")] == ["table store"]


def test_the_night_counts_once_and_what_died_is_done_again(
    town: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifetimes.count_due_lifetimes() == 11
    assert lifetimes.count_due_lifetimes() == 0
    with clock.travel(clock.now() + timedelta(minutes=1)):
        LifeFit.objects.create(
            as_of=clock.today(), fitted_at=clock.now(), r=1, alpha=1, a=1, b=1, log_likelihood=0, converged=True,
            members_count=1, repeaters_count=1,
        )  # fmt: skip
        assert lifetimes.count_due_lifetimes() == 11, "what is expected has been counted anew"
        assert lifetimes.count_due_lifetimes() == 0
    tomorrow = clock.day_start(clock.today() + timedelta(days=1))
    with clock.travel(tomorrow + timedelta(hours=3)):
        assert lifetimes.count_due_lifetimes() == 0, "before four nobody counts"
    with clock.travel(tomorrow + timedelta(hours=5)):
        with monkeypatch.context() as broken:
            broken.setattr("analytics.lifetimes.LifetimeCount.objects.update_or_create", lambda **_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                lifetimes.count_due_lifetimes()
        assert LifetimeRow.objects.count() == 11, "yesterday's rows still stand"
        assert lifetimes.count_due_lifetimes() == 11


def test_the_operator_sees_sorts_and_takes_it_out_on_record(
    client: Client, town: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    boss = User.objects.create_superuser("boss")
    client.force_login(boss)
    home, export = (
        reverse(f"admin:analytics_{name}") for name in ("lifetimerow_changelist", "lifetime_export")
    )
    assert "life-empty" in client.get(home).content.decode()
    lifetimes.count_lifetimes()
    with django_assert_max_num_queries(9):
        shown = client.get(f"{home}?by=store&sort=kept_fen")
    text = shown.content.decode()
    assert text.index("北店") < text.index("=南店")
    whole = shown.context["total"]["row"]
    assert (whole.members, whole.buyers, whole.orders, whole.kept_fen) == (3, 1, 2, 900)
    assert client.get(f"{home}?by=💥&sort=id;drop&page=-9").status_code == 200
    assert client.get(export)["Location"] == home
    file = b"".join(client.post(export, {"by": "store"}).streaming_content).decode()  # type: ignore[attr-defined]
    assert "'=南店" in file
    assert "北店,1,1,2,9.00" in file
    assert list(LifetimeExport.objects.values_list("dimension", "rows_count", "by")) == [
        ("store", 3, boss.pk)
    ]
    manager = User.objects.create_user("dianzhang", is_staff=True)
    Staff.objects.create(name="店长", user=manager, store=town["north"])
    manager.user_permissions.set(Permission.objects.filter(codename="view_lifetimerow"))
    client.force_login(manager)
    text = client.get(f"{home}?by=store").content.decode()
    assert "北店" in text
    assert "=南店" not in text
    assert "lina" not in client.get(f"{home}?by=guide").content.decode()
    assert client.post(export, {"by": "store"}).status_code == 403
    assert LifetimeExport.objects.count() == 1
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(home).status_code == 403
