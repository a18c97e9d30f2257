"""Orders that stop before the payment: one reminder, promises, and the funnel as facts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from core import clock
from crm import sessions
from crm.models import Touch
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.models import FunnelStep, Order, OrderMessage, PaymentReminder, ServiceRules
from shop.pages import frame
from shop.services import AddressInput
from tests.shop import builders

pytestmark = pytest.mark.django_db
LATE = timedelta(minutes=21)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    frame._noted.clear()
    frame.forget_fragments()


@pytest.fixture
def buyer() -> Any:
    """A follower who wrote to the account a moment ago."""
    prepare_months_ahead(1)
    member = builders.member(openid="o-late")
    open_window("o-late")
    follows("o-late")
    return member


def follows(openid: str, following: bool = True) -> None:
    apps.get_model("crm", "Identity").objects.filter(value=openid).update(is_following=following)


def open_window(openid: str) -> None:
    apps.get_model("wechat", "ReplyWindow").objects.create(
        account=builders.official_account(),
        openid=openid,
        trigger="message",
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=48),
        remaining=5,
    )


def phone_of(member: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, member)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def messages() -> Any:
    return apps.get_model("wechat", "OutboundMessage").objects.filter(origin="shop-unpaid")


def test_an_unpaid_order_is_reminded_of_once_before_its_time_ends(buyer: Any) -> None:
    order = builders.order(buyer, (builders.sku(product_name="白茶与雪"), 1))
    assert services.remind_unpaid() == 0  # there is still time
    with clock.travel(LATE):
        assert services.remind_unpaid() == 1
        assert services.remind_unpaid() == 0
        assert not services.remind_of_payment(order_id=order.pk)
    said = messages().select_related("body").get().body.content["text"]
    assert "白茶与雪" in said
    assert f"/pay/{order.number}/" in said
    touch = Touch.objects.get(origin=f"unpaid:{order.pk}")
    assert (touch.purpose, touch.answer) == ("service", "send")
    assert PaymentReminder.objects.get().channel == "custom"


def test_nobody_is_reminded_who_paid_cancelled_or_has_no_time_left(buyer: Any) -> None:
    dress = builders.sku(stock=50)
    builders.pay(builders.order(buyer, (dress, 1)))
    builders.release(builders.order(buyer, (dress, 1)))
    builders.order(buyer, (dress, 1))
    with clock.travel(timedelta(minutes=29, seconds=30)):
        assert services.remind_unpaid() == 0
    assert not PaymentReminder.objects.exists()


def test_the_rule_says_whether_and_when(buyer: Any) -> None:
    builders.order(buyer, (builders.sku(), 1))
    rules = ServiceRules.objects.create(reminds=False)
    with clock.travel(LATE):
        assert services.remind_unpaid() == 0
    rules.reminds, rules.remind_minutes = True, 5
    rules.save()
    with clock.travel(LATE):
        assert services.remind_unpaid() == 0
    with clock.travel(timedelta(minutes=26)):
        assert services.remind_unpaid() == 1


def test_a_reminder_longer_than_the_time_to_pay_does_not_come_at_once(buyer: Any) -> None:
    ServiceRules.objects.create(remind_minutes=600)
    builders.order(buyer, (builders.sku(), 1))
    assert services.remind_unpaid() == 0
    with clock.travel(timedelta(minutes=16)):
        assert services.remind_unpaid() == 1


@pytest.mark.parametrize(
    ("following", "has_window", "reason"), [(False, True, "unfollowed"), (True, False, "no_way")]
)
def test_why_there_was_no_reminder_is_kept_and_it_is_not_tried_again(
    following: bool, has_window: bool, reason: str
) -> None:
    prepare_months_ahead(1)
    member = builders.member(openid="o-silent")
    follows("o-silent", following)
    if has_window:
        open_window("o-silent")
    builders.order(member, (builders.sku(), 1))
    for _time in range(2):
        with clock.travel(LATE):
            assert services.remind_unpaid() == 0
    kept = PaymentReminder.objects.get()
    assert (kept.state, kept.reason) == ("skipped", reason)
    assert not messages().exists()


def test_an_accepted_subscription_is_used_before_the_chat(buyer: Any) -> None:
    OrderMessage.objects.create(kind="unpaid", subscribe_template="TPL-U", fields={"thing1": "{goods}"})
    apps.get_model("wechat", "SubscriptionQuota").objects.create(
        account=builders.official_account(),
        openid="o-late",
        template_id="TPL-U",
        remaining=1,
        accepted_ats=[clock.now()],
    )
    builders.order(buyer, (builders.sku(), 1))
    with clock.travel(LATE):
        services.remind_unpaid()
    assert messages().get().channel == "subscribe"


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_remind_once(buyer: Any) -> None:
    order = builders.order(buyer, (builders.sku(), 1))

    def remind(_number: int) -> bool:
        try:
            return services.remind_of_payment(order_id=order.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(remind, range(4))) == [False, False, False, True]
    assert messages().count() == PaymentReminder.objects.count() == 1


# --- Promises ------------------------------------------------------------------------------------------------------
def test_checkout_and_till_show_the_promises_that_the_operator_wrote(buyer: Any) -> None:
    sku = builders.sku()
    mine = phone_of(buyer)
    assert "正品保证" in mine.get(f"/checkout/?line={sku.pk}:1").content.decode()
    ServiceRules.objects.create(
        guarantees="<b>假一赔十</b>\n\n" + "\n".join(f"承诺{number}" for number in range(9))
    )
    order = builders.order(buyer, (sku, 1))
    page = mine.get(f"/pay/{order.number}/").content.decode()
    assert "&lt;b&gt;假一赔十" in page
    assert "承诺3" in page
    assert "承诺4" not in page
    ServiceRules.objects.update(guarantees="")
    assert 'data-test="guarantees"' not in mine.get(f"/checkout/?line={sku.pk}:1").content.decode()


# --- The funnel ----------------------------------------------------------------------------------------------------
def test_every_step_is_a_fact_once(buyer: Any) -> None:
    sku = builders.sku()
    services.add_to_cart(member_id=buyer.pk, sku_id=sku.pk)
    mine = phone_of(buyer)
    for _time in range(2):
        frame._noted.clear()  # another process
        mine.get("/cart/")
        mine.get("/checkout/?from=cart")
    services.save_address(member_id=buyer.pk, address=AddressInput(**vars(builders.ADDRESS)))
    mine.get("/checkout/?from=cart")
    order = builders.order(buyer, (sku, 1))
    for _time in range(2):
        frame._noted.clear()
        mine.get(f"/pay/{order.number}/state/?left=cancelled")
    mine.get(f"/pay/{order.number}/state/?left=%3Cscript%3E")
    steps = (
        FunnelStep.objects.filter(member_id=buyer.pk).order_by("pk").values_list("step", "reason", "order_id")
    )
    assert list(steps) == [
        ("cart", "", None),
        ("no_address", "", None),
        ("address", "", None),
        ("left", "cancelled", order.pk),
    ]
    with clock.travel(timedelta(days=1)):
        mine.get("/cart/")
    assert FunnelStep.objects.filter(step="cart").count() == 2


def test_the_funnel_never_grows_and_says_why_people_stopped(
    django_assert_num_queries: Callable[..., Any],
) -> None:
    prepare_months_ahead(1)
    sku, today = builders.sku(stock=50), clock.today()
    buyers = [builders.member() for _ in range(5)]
    for member in buyers:
        services.note_step(member_id=member.pk, step="cart")
    services.note_step(member_id=buyers[0].pk, step="no_address")
    services.note_step(member_id=buyers[1].pk, step="refused", reason="sold_out")
    left = builders.order(buyers[2], (sku, 1))
    services.note_step(member_id=buyers[2].pk, step="sheet", order_id=left.pk)
    services.note_step(member_id=buyers[2].pk, step="left", order_id=left.pk, reason="cancelled")
    builders.pay(builders.order(buyers[3], (sku, 1)))
    builders.pay(builders.order(builders.member(), (sku, 1)))  # bought at once
    builders.release(builders.order(buyers[4], (sku, 1)), "拍错了")
    with django_assert_num_queries(2):
        counts, reasons = queries.funnel_counts(today, today), queries.funnel_reasons(today, today)
    assert counts == [6, 6, 4, 4, 3, 2]
    found = {(row.kind, row.reason): row.count for row in reasons}
    assert found == {
        ("no_address", ""): 1,
        ("refused", "sold_out"): 1,
        ("left", "cancelled"): 1,
        ("never_opened", ""): 1,
        ("cancelled", "拍错了"): 1,
    }
    yesterday = today - timedelta(days=1)
    assert queries.funnel_counts(yesterday, yesterday) == [0] * 6


@pytest.mark.parametrize(
    "query", ["", "?days=7", "?from=2026-01-01&until=2026-02-01", "?from=x&until=9999-99-99", "?days=1e9"]
)
def test_the_funnels_page_needs_few_queries_and_reads_odd_dates_forgivingly(
    client: Client, query: str, buyer: Any, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    services.note_step(member_id=buyer.pk, step="cart")
    client.force_login(User.objects.create_superuser("yunying"))
    address = reverse("admin:shop_funnelstep_changelist")
    client.get(address)
    with django_assert_max_num_queries(8):
        assert client.get(address + query).status_code == 200
    if not query:
        text = client.get(address).content.decode()
        assert 'class="chart"' in text
        assert "打开结算页" in text
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(address).status_code == 403


def test_the_facts_of_a_merged_member_follow_her() -> None:
    kept, merged = builders.member(), builders.member()
    for member in (kept, merged):
        services.note_step(member_id=member.pk, step="cart")
    services.note_step(member_id=merged.pk, step="address")
    for _time in range(2):
        services.move_member(kept_id=kept.pk, merged_id=merged.pk)
    assert sorted(FunnelStep.objects.filter(member_id=kept.pk).values_list("step", flat=True)) == [
        "address",
        "cart",
    ]
    assert not FunnelStep.objects.filter(member_id=merged.pk).exists()
    assert Order.objects.count() == 0
