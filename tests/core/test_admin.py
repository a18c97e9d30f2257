"""The system's own pages: in Chinese, cheap to open, and with the buttons that repair things."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from core import clock, jobs, ledger
from core.models import ApiToken, DomainEvent, EventDelivery, Job, LedgerAccount

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def delivery(number: int = 1, status: str = EventDelivery.DEAD) -> EventDelivery:
    event = DomainEvent.objects.create(
        name="shop.OrderPaid", key=f"order:{number}", payload={"order_id": number}, occurred_at=clock.now()
    )
    return EventDelivery.objects.create(
        event=event,
        handler="crm.subscriptions.on_paid",
        queue="fast",
        status=status,
        attempts=8,
        next_attempt_at=clock.now(),
        last_error="ValueError: 坏了",
    )


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def press(office: Client, page: str, action: str, *rows: Any) -> Any:
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return office.post(reverse(page), chosen, follow=True)


class TestDeliveries:
    def test_show_what_failed_and_why_with_few_queries(
        self, office: Client, django_assert_max_num_queries
    ) -> None:
        for number in range(30):
            delivery(number)
        with django_assert_max_num_queries(10):
            page = text(office.get(reverse("admin:core_eventdelivery_changelist")))
        assert "shop.OrderPaid order:7" in page
        assert "crm · on_paid" in page
        assert "已放弃" in page

    def test_are_tried_again_by_a_button(self, office: Client) -> None:
        row = delivery()
        page = text(press(office, "admin:core_eventdelivery_changelist", "retry", row))
        assert "已将 1 条投递重新排队" in page
        row.refresh_from_db()
        assert (row.status, row.attempts) == ("pending", 0)

    def test_open_and_cannot_be_edited(self, office: Client) -> None:
        row = delivery()
        address = reverse("admin:core_eventdelivery_change", args=[row.pk])
        assert "order_id" in text(office.get(address))
        assert office.post(address, {"status": "done"}).status_code == 403
        assert office.get(reverse("admin:core_eventdelivery_add")).status_code == 403


class TestJobs:
    def test_show_their_progress(self, office: Client, django_assert_max_num_queries) -> None:
        for number in range(20):
            Job.objects.create(kind="import", created_at=clock.now(), status="running", total=20, done=number)
        with django_assert_max_num_queries(10):
            page = text(office.get(reverse("admin:core_job_changelist")))
        assert 'aria-valuenow="35"' in page

    def test_are_cancelled_and_go_on_by_buttons(self, office: Client) -> None:
        job = jobs.enqueue(kind="import", params={})
        press(office, "admin:core_job_changelist", "cancel", job)
        job.refresh_from_db()
        assert job.status == "cancelled"
        press(office, "admin:core_job_changelist", "retry", job)
        job.refresh_from_db()
        assert job.status == "queued"
        assert "import" in text(office.get(reverse("admin:core_job_change", args=[job.pk])))


class TestLedger:
    def test_shows_accounts_with_their_movements(self, office: Client, django_assert_max_num_queries) -> None:
        house = ledger.open_account(kind="points", owner_id=0)
        for number in range(1, 21):
            account = ledger.open_account(kind="points", owner_id=number)
            ledger.transfer(cause=f"gift:{number}", debit=house, credit=account, amount=number)
        with django_assert_max_num_queries(10):
            assert "points" in text(office.get(reverse("admin:core_ledgeraccount_changelist")))
        with django_assert_max_num_queries(12):
            page = text(office.get(reverse("admin:core_ledgeraccount_change", args=[account.pk])))
        assert "gift:20" in page
        assert "-210" in text(office.get(reverse("admin:core_ledgeraccount_change", args=[house.pk])))
        assert "gift:3" in text(office.get(reverse("admin:core_ledgertransfer_changelist")))
        assert LedgerAccount.objects.count() == 21


class TestTokens:
    def test_show_their_key_once(self, office: Client) -> None:
        address = reverse("admin:core_apitoken_add")
        assert "读取会员" in text(office.get(address))
        page = text(
            office.post(address, {"name": "ERP", "scopes": ["stock:read", "stock:write"]}, follow=True)
        )
        token = ApiToken.objects.get()
        assert token.scopes == ["stock:read", "stock:write"]
        assert page.count(token.prefix) >= 1
        key = page.split('class="pond-key">')[1].split("<")[0]
        answer = office.get("/api/schema/", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        later = text(office.get(reverse("admin:core_apitoken_change", args=[token.pk])))
        assert key not in later
        assert key not in text(office.get(reverse("admin:core_apitoken_changelist")))

    def test_are_revoked_and_never_deleted(self, office: Client) -> None:
        office.post(reverse("admin:core_apitoken_add"), {"name": "ERP", "scopes": ["stock:read"]})
        token = ApiToken.objects.get()
        press(office, "admin:core_apitoken_changelist", "revoke", token)
        token.refresh_from_db()
        assert token.revoked_at is not None
        assert office.post(reverse("admin:core_apitoken_delete", args=[token.pk])).status_code == 403

    def test_refuse_unknown_scopes(self, office: Client) -> None:
        office.post(reverse("admin:core_apitoken_add"), {"name": "ERP", "scopes": ["everything"]})
        assert ApiToken.objects.count() == 0


class TestAudit:
    def test_is_run_by_a_button_and_says_what_is_wrong(self, office: Client) -> None:
        address = reverse("admin:audit")
        assert address == "/admin/audit/"
        assert "立即对账" in text(office.get(address))
        assert "全部账实相符" in text(office.post(address))
        account = ledger.open_account(kind="points", owner_id=5)
        LedgerAccount.objects.filter(pk=account.pk).update(balance=3)
        page = text(office.post(address))
        assert "points:5" in page
        assert "发现 2 处问题" in page

    def test_is_closed_to_those_who_may_not(self, client: Client) -> None:
        user = User.objects.create_user("xiaoli", is_staff=True)
        client.force_login(user)
        assert client.get(reverse("admin:audit")).status_code == 403
        user.user_permissions.add(Permission.objects.get(codename="view_job"))
        assert client.get(reverse("admin:audit")).status_code == 200


class TestHistory:
    def test_shows_who_changed_what(
        self, office: Client, admin_user: User, django_assert_max_num_queries
    ) -> None:
        with django_assert_max_num_queries(12):
            page = text(office.get(reverse("admin:pghistory_events_changelist")))
        assert "编辑历史" in page

    def test_is_closed_to_those_who_may_not(self, client: Client) -> None:
        client.force_login(User.objects.create_user("xiaoli", is_staff=True))
        assert client.get(reverse("admin:pghistory_events_changelist")).status_code == 403


def test_logins_and_roles_open_in_chinese(office: Client) -> None:
    Group.objects.create(name="运营")
    assert "运营" in text(office.get(reverse("admin:auth_group_changelist")))
    assert "用户" in text(office.get(reverse("admin:auth_user_changelist")))
    assert "欢迎回到" in text(Client().get(reverse("admin:login")))


def test_the_menu_leads_to_what_she_may_see_and_marks_where_she_is(client: Client) -> None:
    user = User.objects.create_user("xiaoli", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(user)
    jobs_page = reverse("admin:core_job_changelist")
    page = text(client.get(jobs_page))
    shown = re.findall(r'<a href="([^"]*)" class="flex h-\[38px\]([^"]*)"', page)
    assert [(place, " active" in look) for place, look in shown] == [
        ("/admin/", False),
        (jobs_page, True),
        ("/admin/audit/", False),
    ]
    assert "<span>后台任务</span>" in page


def test_every_page_of_the_system_is_chinese(office: Client) -> None:
    """What unfold leaves in English is translated by us."""
    page = text(office.get(reverse("admin:core_job_changelist")))
    for english in ["Type to search", "Apply Filters", "No results found", "Select all rows", "Search apps"]:
        assert english not in page


def test_an_empty_list_says_why(office: Client) -> None:
    page = reverse("admin:shop_voucher_changelist")
    nothing_yet, nothing_fits = text(office.get(page)), text(office.get(page, {"q": "404404404404"}))
    assert "还没有服务券" in nothing_yet
    assert "由店员在门店核销" in nothing_yet
    assert "没有符合条件的内容" in nothing_fits
    assert "没有符合搜索和筛选条件的记录" in nothing_fits
    assert "还没有服务券" not in nothing_fits
