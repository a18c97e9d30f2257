"""The marketing pages: Chinese, within their queries, with a look before anything goes, and only for those who may."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from campaigns import services
from campaigns.models import Broadcast, WinBackRule, WinBackSpell
from core import clock
from tests.campaigns import house
from wechat.models import OutboundMessage


@pytest.fixture(autouse=True)
def noon(db):
    with clock.travel(house.NOON):
        yield


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss", "b@example.com", "a-long-password"))
    return client


def clerk(*permissions: str) -> Client:
    user = User.objects.create_user("clerk", password="a-long-password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def page(broadcast: Broadcast, step: str = "change") -> str:
    return f"/admin/campaigns/broadcast/{broadcast.pk}/{step}/"


FORM = {
    "name": "周二上新",
    "audience": "everyone",
    "segment": "",
    "kind": "link",
    "text": "",
    "title": "桂花乌龙",
    "description": "今秋限定",
    "url": "/p/1/",
    "image_url": "",
    "template_id": "",
    "template_fields": "{}",
    "channel": "auto",
    "purpose": "marketing",
    "patience_hours": "24",
}


class TestBroadcastPages:
    def test_written_planned_confirmed_sent(self, boss):
        house.follower("甲", window=5)
        house.follower("乙", follows=False)
        account = house.service_account()
        response = boss.post("/admin/campaigns/broadcast/add/", {**FORM, "account": account.pk})
        broadcast = Broadcast.objects.get()
        assert response.headers["Location"] == page(broadcast)
        assert "还没有计划" in boss.get(page(broadcast)).content.decode()

        boss.post(page(broadcast, "do/plan"))
        confirm = boss.get(page(broadcast, "start")).content.decode()
        assert "将发送给" in confirm
        assert "<b>1</b> 人" in confirm
        assert not OutboundMessage.objects.exists()

        boss.post(page(broadcast, "start"), {"when": "now"})
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.SENDING
        services.release_broadcast(broadcast_id=broadcast.pk)
        shown = boss.get(page(broadcast)).content.decode()
        assert "hx-get" in shown
        assert "暂停" in shown
        assert 'name="_save"' not in shown

    def test_the_board_renews_itself_and_reloads_when_the_status_moved(self, boss):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        assert "HX-Refresh" not in boss.get(page(broadcast, "board") + "?was=sending").headers
        services.pause_broadcast(broadcast_id=broadcast.pk)
        assert boss.get(page(broadcast, "board") + "?was=sending").headers["HX-Refresh"] == "true"

    def test_a_moment_in_the_past_is_refused_on_the_page(self, boss):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        shown = boss.post(page(broadcast, "start"), {"when": "later", "at": "2020-01-01T10:00"})
        assert "请选一个将来的时间" in shown.content.decode()
        boss.post(page(broadcast, "start"), {"when": "later", "at": "2026-12-01T10:00"})
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.SCHEDULED
        assert clock.local(broadcast.scheduled_at).hour == 10

    def test_a_link_without_a_target_is_refused_in_chinese(self, boss):
        response = boss.post(
            "/admin/campaigns/broadcast/add/", {**FORM, "url": "", "account": house.service_account().pk}
        )
        assert "请填写此项" in response.content.decode()
        assert not Broadcast.objects.exists()

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "ftp://x"])
    def test_a_link_must_be_an_address(self, boss, url):
        boss.post(
            "/admin/campaigns/broadcast/add/", {**FORM, "url": url, "account": house.service_account().pk}
        )
        assert not Broadcast.objects.exists()

    def test_what_has_begun_cannot_be_edited_or_deleted(self, boss):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        boss.post(page(broadcast), {**FORM, "name": "改了", "account": broadcast.account_id})
        broadcast.refresh_from_db()
        assert (broadcast.name, broadcast.status) == ("周二上新", Broadcast.SENDING)
        assert boss.post(page(broadcast, "delete"), {"post": "yes"}).status_code == 403

    def test_only_those_who_may_send_can_send(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        client = clerk("view_broadcast", "change_broadcast")
        for step in ("start", "cancel", "preview"):
            assert client.get(page(broadcast, step)).status_code == 403
        for step in ("plan", "pause"):
            assert client.post(page(broadcast, f"do/{step}")).status_code == 403
        assert client.get(page(broadcast, "export")).status_code == 403
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.PLANNED

    def test_nothing_happens_by_looking(self, boss):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        for step in ("do/plan", "start", "cancel", "do/copy"):
            boss.get(page(broadcast, step))
        assert list(Broadcast.objects.values_list("status", flat=True)) == ["draft"]

    def test_the_export_has_each_recipient_and_no_formulas(self, boss):
        house.follower("=cmd()", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        response = boss.get(page(broadcast, "export"))
        lines = b"".join(response.streaming_content).decode().splitlines()
        assert lines[0].startswith("\ufeff会员编号,")
        assert "'=cmd()" in lines[1]

    def test_lists_and_details_stay_within_their_queries(self, boss, django_assert_max_num_queries):
        for number in range(15):
            house.follower(f"会员{number}", window=5)
        for number in range(4):
            broadcast = house.broadcast(name=f"群发{number}")
            services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_broadcast(broadcast_id=broadcast.pk)
        boss.get("/admin/campaigns/broadcast/")
        for address, ceiling in (
            ("/admin/campaigns/broadcast/", 8),
            (page(broadcast), 14),
            (page(broadcast, "board"), 9),
            (f"/admin/campaigns/broadcastrecipient/?broadcast__id__exact={broadcast.pk}", 9),
        ):
            with django_assert_max_num_queries(ceiling):
                assert boss.get(address).status_code == 200


class TestWinBackPages:
    def test_says_whom_it_would_reach_and_is_switched_on(self, boss):
        house.buyer("沉睡", days_ago=90)
        rule = house.rule(is_active=False)
        address = f"/admin/campaigns/winbackrule/{rule.pk}/"
        assert "现在会触达 <b>1</b> 人" in boss.get(address + "change/").content.decode()
        boss.get(address + "switch/on/")
        assert not WinBackRule.objects.get().is_active
        boss.post(address + "switch/on/")
        assert WinBackRule.objects.get().is_active
        services.run_win_back()
        assert "已发送" in boss.get(address + "change/").content.decode()

    def test_a_new_rule_is_off(self, boss):
        fields = {
            key: value
            for key, value in FORM.items()
            if key not in ("audience", "segment", "channel", "purpose")
        }
        boss.post(
            "/admin/campaigns/winbackrule/add/",
            {
                **fields,
                "account": house.service_account().pk,
                "silent_days": "60",
                "return_days": "7",
                "daily_limit": "100",
                "channels": ["mass", "custom"],
            },
        )
        rule = WinBackRule.objects.get()
        assert (rule.is_active, rule.channels) == (False, ["custom", "mass"])

    def test_pages_stay_within_their_queries(self, boss, django_assert_max_num_queries):
        for number in range(12):
            house.buyer(f"沉睡{number}", days_ago=90)
        rule = house.rule()
        services.run_win_back()
        spell = WinBackSpell.objects.first()
        boss.get("/admin/campaigns/winbackrule/")
        for address, ceiling in (
            ("/admin/campaigns/winbackrule/", 8),
            (f"/admin/campaigns/winbackrule/{rule.pk}/change/", 17),
            ("/admin/campaigns/winbackspell/", 9),
            (f"/admin/campaigns/winbackspell/{spell.pk}/change/", 10),
        ):
            with django_assert_max_num_queries(ceiling):
                assert boss.get(address).status_code == 200
