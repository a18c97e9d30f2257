"""The home page says how the pond does: figures by day that equal the facts, in few queries."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from analytics import queries, rules, services
from analytics.models import DayFigures
from core import clock
from crm import services as crm_services
from shop.models import Order
from tests.campaigns import house


@pytest.fixture(autouse=True)
def noon():
    with clock.travel(house.NOON):
        yield


def order(member, *, days_ago: int = 0, fen: int = 19900, paid: bool = True, **changes) -> Order:
    moment = clock.now() - timedelta(days=days_ago)
    return Order.objects.create(
        number=f"N{Order.objects.count():06}",
        member=member,
        status="paid" if paid else "pending_payment",
        items_fen=fen,
        total_fen=fen,
        paid_fen=fen if paid else 0,
        placed_at=moment,
        paid_at=moment if paid else None,
        **changes,
    )


def fact(member, kind: str, *, days_ago: int = 0, fen: int = 0) -> None:
    crm_services.record_activity(
        member_id=member.pk, kind=kind, at=clock.now() - timedelta(days=days_ago), amount_fen=fen
    )


def test_changes_are_told_against_the_time_before():
    assert rules.change(150, 100) == rules.Change(50, "up", True)
    assert rules.change(50, 100) == rules.Change(-50, "down", False)
    assert rules.change(50, 100, more_is_good=False).is_good is True
    assert rules.change(5, 0) == rules.Change(None, "up", True)
    assert rules.change(0, 0) == rules.Change(None, "same", None)
    assert rules.change(100_000, 1).percent == 999


@pytest.mark.django_db
class TestFigures:
    def test_a_day_is_counted_from_its_facts(self):
        member, other = house.follower("甲"), house.follower("乙")
        for kind in ("followed", "visited", "visited", "viewed_product", "opened"):
            fact(member, kind, days_ago=1)
        fact(other, "visited", days_ago=1)
        fact(other, "unfollowed", days_ago=1)
        order(member, days_ago=1)
        order(other, days_ago=1, paid=False)

        services.refresh_figures()

        day = DayFigures.objects.get(day=clock.today() - timedelta(days=1))
        assert (day.followed, day.unfollowed, day.visitors, day.visits) == (1, 1, 2, 3)
        assert (day.orders, day.paid_orders, day.paid_fen, day.opened) == (2, 1, 19900, 1)

    def test_counting_twice_changes_nothing(self):
        order(house.follower("甲"), days_ago=3)
        services.refresh_figures()
        before = list(DayFigures.objects.order_by("day").values("day", "orders", "paid_fen"))
        services.refresh_figures()
        services.rebuild_figures(days=10)
        assert list(DayFigures.objects.order_by("day").values("day", "orders", "paid_fen")) == before

    def test_imported_history_of_an_old_day_is_found(self):
        services.refresh_figures()
        order(house.follower("甲"), days_ago=200, channel="import:pos", external_id="1")
        services.refresh_figures()
        assert DayFigures.objects.get(day=clock.today() - timedelta(days=200)).paid_fen == 19900

    def test_days_begin_at_the_shops_midnight(self):
        member = house.follower("甲")
        with clock.travel(house.NOON.replace(hour=0, minute=30)):
            fact(member, "followed")
            services.refresh_figures()
            assert DayFigures.objects.get(day=clock.today()).followed == 1

    def test_today_is_live_and_missing_days_are_zero(self):
        order(house.follower("甲"))
        days = queries.last_days(7)
        assert [day.paid_orders for day in days] == [0, 0, 0, 0, 0, 0, 1]

    def test_a_round_costs_few_statements(self, django_assert_max_num_queries):
        services.refresh_figures()
        with django_assert_max_num_queries(12):
            services.refresh_figures()


@pytest.mark.django_db
def test_the_funnel_follows_the_people_not_the_days():
    followed, bought, old = house.follower("甲"), house.follower("乙"), house.follower("丙")
    fact(followed, "followed", days_ago=5)
    fact(bought, "followed", days_ago=5)
    for kind in ("visited", "ordered", "paid"):
        fact(bought, kind, days_ago=2)
    fact(old, "followed", days_ago=50)
    fact(old, "paid", days_ago=1)
    today = clock.today()
    assert queries.funnel(today - timedelta(days=29), today) == queries.Funnel(2, 1, 1, 1)


@pytest.mark.django_db
def test_dormant_members_are_counted_by_their_silence():
    for days in (10, 40, 70, 100):
        house.buyer(f"{days}", days_ago=days)
    now = queries.members_now()
    assert (now.total, now.following, now.buyers) == (4, 4, 4)
    assert now.dormant == {30: 3, 60: 2, 90: 1}


@pytest.mark.django_db
class TestHomePage:
    def admin(self) -> Client:
        client = Client()
        client.force_login(User.objects.create_superuser("boss", "boss@example.com", "a-long-password"))
        return client

    def test_an_empty_pond_says_what_to_do_first(self):
        page = self.admin().get("/admin/").content.decode()
        assert "第一步" in page or "First steps" in page
        assert "pd-steps" in page

    @pytest.mark.parametrize("days", ["7", "30", "90", "nonsense"])
    def test_shows_figures_in_at_most_fifteen_queries(self, days, django_assert_max_num_queries):
        member = house.follower("甲", window=5)
        fact(member, "followed")
        order(member)
        broadcast = house.broadcast()
        from campaigns import services as campaign_services

        campaign_services.plan_broadcast(broadcast_id=broadcast.pk)
        campaign_services.start_broadcast(broadcast_id=broadcast.pk)
        campaign_services.release_broadcast(broadcast_id=broadcast.pk)
        services.refresh_figures()
        client = self.admin()
        client.get("/admin/")
        with django_assert_max_num_queries(17):  # two of them are the session and the user
            page = client.get(f"/admin/?days={days}").content.decode()
        assert "¥199.00" in page
        assert "周二上新" in page

    def test_loads_nothing_from_elsewhere(self):
        page = self.admin().get("/admin/").content.decode()
        import re

        addresses = re.findall(r"""(?:src|href)=["'](https?://[^"']+)""", page)
        assert not addresses

    def test_hides_figures_from_those_who_may_not_see_orders_or_members(self):
        order(house.follower("甲"))
        user = User.objects.create_user("clerk", password="a-long-password", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_job"))
        client = Client()
        client.force_login(user)
        page = client.get("/admin/").content.decode()
        assert "¥199.00" not in page
