"""Tag rules: each kind is true for whom it says, by events and over everybody, twice as well as once."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from core import clock
from crm import services, tagrules
from crm.errors import WrongTagRule
from crm.models import Activity, ChannelCode, Member, MemberTag, TagRule
from crm.services import arrivals
from crm.services import tagrules as services_tagrules
from tests.crm.conftest import MORNING
from wechat.models import Account


@pytest.fixture
def rule(tag: Callable[[str], Any], morning: datetime) -> Callable[..., TagRule]:
    def make(**more: Any) -> TagRule:
        values = {"name": "规则", "tag": tag("命中"), "kind": "spend", "amount_fen": 500_00, **more}
        return services.save_tag_rule(rule=TagRule(**values))

    return make


def carriers(rule: TagRule) -> set[int]:
    return set(
        MemberTag.objects.filter(tag=rule.tag_id, origin=rule.origin).values_list("member_id", flat=True)
    )


def paid(member: Member, fen: int, days_ago: int = 0) -> None:
    at = MORNING - timedelta(days=days_ago)
    services.book_purchase(member_id=member.pk, paid_fen=fen, at=at)
    services.record_activity(member_id=member.pk, kind="paid", at=at, amount_fen=fen)


@pytest.mark.django_db
def test_spend_counts_what_was_kept_in_the_window_and_the_tag_goes_when_it_is_no_longer_true(
    rule: Callable[..., TagRule], follower: Callable[..., Member]
) -> None:
    rich, once, poor = (follower(f"o-{number}") for number in range(3))
    paid(rich, 600_00)
    paid(once, 600_00, days_ago=40)
    paid(poor, 499_99)
    ever, lately = rule(), rule(name="近 30 天", days=30, removes=True)
    assert services.run_tag_rules() == 2
    assert carriers(ever) == {rich.pk, once.pk}
    assert carriers(lately) == set(), "the tag is there already; the first origin stays"
    assert services.run_tag_rules() == 0, "once a day"
    services.book_refund(member_id=rich.pk, refunded_fen=200_00, at=clock.now())
    services.record_activity(member_id=rich.pk, kind="refunded", at=clock.now(), amount_fen=200_00)
    TagRule.objects.filter(pk=ever.pk).update(removes=True)
    services.judge_tag_rules(member_id=rich.pk, kinds=services.BY_PURCHASE)
    assert not MemberTag.objects.filter(member=rich).exists()
    facts = Activity.objects.filter(member=rich, kind="tagged").order_by("pk")
    assert [fact.data["change"] for fact in facts] == ["added", "removed"]
    back = follower("o-back")
    services.record_activity(
        member_id=back.pk, kind="paid", at=MORNING - timedelta(days=40), amount_fen=900_00, subject="order:1"
    )
    services.record_activity(member_id=back.pk, kind="paid", at=MORNING, amount_fen=600_00, subject="order:2")
    services.record_activity(
        member_id=back.pk, kind="refunded", at=MORNING, amount_fen=900_00, subject="order:1"
    )
    recent = rule(name="近 30 天实付", days=30)
    assert services.tag_rule_preview(recent)[0] == 1, "what was paid before the window is not taken off it"


@pytest.mark.django_db
def test_a_tag_that_one_rule_takes_off_stays_by_another_that_is_true(
    rule: Callable[..., TagRule], follower: Callable[..., Member]
) -> None:
    her = follower("o-1")
    paid(her, 600_00)
    first = rule(removes=True)
    services.run_tag_rule(rule_id=first.pk)
    second = rule(name="入会", kind="time", moment="joined", days=1, amount_fen=0)
    TagRule.objects.filter(pk=first.pk).update(amount_fen=900_00)
    with clock.travel(MORNING + timedelta(days=1)):
        assert services.run_tag_rules() == 2
        assert services.run_tag_rules() == 0
    assert carriers(second) == {her.pk}
    assert MemberTag.objects.get(member=her).origin == second.origin


@pytest.mark.django_db
def test_words_in_the_chat_and_opened_links_tag_at_once(
    rule: Callable[..., TagRule], follower: Callable[..., Member], brand: Account
) -> None:
    keyword = rule(kind="keyword", words="礼盒，送礼", amount_fen=0)
    link = rule(name="点了两次", kind="link", times=2, amount_fen=0)
    her, other = follower("o-1"), follower("o-2")

    def say(openid: str, text: str) -> None:
        arrivals.speak(account_id=brand.pk, openid=openid, msg_type="text", text=text, at=clock.now())

    say("o-1", "有没有适合送礼的" + "？" * 300)
    say("o-2", "你好 100%_")
    assert carriers(keyword) == {her.pk}
    for number in range(2):
        assert not carriers(link)
        services.record_activity(
            member_id=other.pk, kind="opened", at=clock.now(), subject=f"broadcast:{number}"
        )
        services.judge_tag_rules(member_id=other.pk, kinds=services.BY_LINK)
    assert carriers(link) == {other.pk}


@pytest.mark.django_db
def test_scanned_codes_tag_at_once_and_everybody_who_scanned_before(
    rule: Callable[..., TagRule], follower: Callable[..., Member], brand: Account, tag: Callable[[str], Any]
) -> None:
    desk, window = (
        ChannelCode.objects.create(name=name, account=brand, scene=name, created_at=MORNING)
        for name in ("收银台", "橱窗")
    )
    before, her = follower("o-0"), follower("o-1")
    arrivals.scan(account_id=brand.pk, openid="o-0", scene="橱窗", at=MORNING)
    with pytest.raises(WrongTagRule):
        rule(kind="scan", choice="code:0", amount_fen=0)
    twice = rule(kind="scan", choice=f"code:{window.pk}", times=2, amount_fen=0)
    any_code = rule(name="扫过码", tag=tag("扫过码"), kind="scan", amount_fen=0)
    assert services.tag_rule_preview(any_code) == (1, 1, 0)
    services.run_tag_rules()
    assert (carriers(twice), carriers(any_code)) == (set(), {before.pk})
    for scene in ("橱窗", "收银台", "橱窗"):
        assert not carriers(twice)
        arrivals.scan(account_id=brand.pk, openid="o-1", scene=scene, at=MORNING)
    assert carriers(twice) == {her.pk}
    assert carriers(any_code) == {before.pk, her.pk}
    assert desk.name not in tagrules.in_words(twice)


@pytest.mark.django_db
def test_a_run_that_died_is_run_again_and_only_a_finished_one_is_booked(
    rule: Callable[..., TagRule], follower: Callable[..., Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    rich = [follower(f"o-{number}") for number in range(3)]
    for her in rich:
        paid(her, 600_00)
    made = rule()
    monkeypatch.setattr(services_tagrules, "AT_ONCE", 2)
    put = services_tagrules.add_tags
    pieces: list[int] = []

    def dies(**what: Any) -> int:
        pieces.append(len(what["member_ids"]))
        if len(pieces) == 2:
            raise KeyboardInterrupt  # the worker is killed between two pieces
        return put(**what)

    monkeypatch.setattr(services_tagrules, "add_tags", dies)
    with pytest.raises(KeyboardInterrupt):
        services.run_tag_rules()
    assert TagRule.objects.get().ran_at is None
    assert services.run_tag_rules() == 0, "its lease has not ended yet"
    with clock.travel(MORNING + timedelta(minutes=6)):
        assert services.run_tag_rules() == 1
        assert carriers(made) == {her.pk for her in rich}
        booked = TagRule.objects.get()
        assert (booked.ran_at, booked.running_until, booked.members_count) == (clock.now(), None, 3)
        assert services.run_tag_rules() == 0
    assert pieces == [2, 1, 1]
    monkeypatch.setattr(services_tagrules, "_put_aside", lambda rule: 1 / 0)
    tomorrow = MORNING + timedelta(days=1)
    with clock.travel(tomorrow):
        services.run_tag_rules()
        assert "ZeroDivisionError" in TagRule.objects.get().error
        assert services.run_tag_rules() == 0, "not again at once"
    monkeypatch.undo()
    with clock.travel(tomorrow + timedelta(hours=2)):
        assert services.run_tag_rules() == 1
        assert TagRule.objects.get().error == ""


@pytest.mark.django_db
def test_who_buys_while_a_run_is_under_way_is_not_tagged_as_a_sleeper(
    rule: Callable[..., TagRule], follower: Callable[..., Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    her, other = follower("o-1"), follower("o-2")
    for member in (her, other):
        paid(member, 100, days_ago=40)
    asleep = rule(kind="time", moment="order", days=30, removes=True)
    put_aside = services_tagrules._put_aside

    def buys(*args: Any) -> None:
        put_aside(*args)
        paid(her, 100)
        services.judge_tag_rules(member_id=her.pk, kinds=services.BY_PURCHASE)

    monkeypatch.setattr(services_tagrules, "_put_aside", buys)
    services.run_tag_rules()
    assert carriers(asleep) == {other.pk}


@pytest.mark.django_db
def test_time_rules_follow_the_shops_calendar(
    rule: Callable[..., TagRule], follower: Callable[..., Member]
) -> None:
    her = follower("o-1")
    paid(her, 100)
    asleep = rule(kind="time", moment="order", days=30, amount_fen=0, removes=True)
    midnight = clock.day_start(clock.local(MORNING).date() + timedelta(days=30))
    for moment, there in ((midnight - timedelta(seconds=1), False), (midnight, True)):
        with clock.travel(moment):
            services.run_tag_rule(rule_id=asleep.pk)
        assert bool(carriers(asleep)) is there
    with clock.travel(midnight):
        services.book_purchase(member_id=her.pk, paid_fen=100, at=midnight)
        services.judge_tag_rules(member_id=her.pk, kinds=services.BY_PURCHASE)
        assert not carriers(asleep), "she came back"


@pytest.mark.django_db
def test_who_bought_from_a_category_or_below_it_is_tagged_by_the_event(
    rule: Callable[..., TagRule], follower: Callable[..., Member]
) -> None:
    from shop.events import OrderPaid
    from shop.models import Category, Order, OrderLine, Product, Sku
    from shop.subscriptions import tag_buyer

    scents = Category.objects.create(name="香水")
    roses = Category.objects.create(name="玫瑰", parent=scents)
    product = Product.objects.create(
        name="雾玫瑰", category=roses, status="on_sale", created_at=clock.now(), updated_at=clock.now()
    )
    sku = Sku.objects.create(product=product, code="R-1", price_fen=100)
    her = follower("o-1")
    order = Order.objects.create(
        number="1", member=her, status="paid", items_fen=100, total_fen=100, paid_fen=100,
        placed_at=MORNING, paid_at=MORNING,
    )  # fmt: skip
    line = OrderLine.objects.create(
        order=order, sku=sku, product_name="雾玫瑰", unit_price_fen=100, quantity=1, total_fen=100
    )
    with pytest.raises(WrongTagRule):
        rule(kind="purchase", choice="999", amount_fen=0)
    bought = rule(kind="purchase", choice=str(scents.pk), amount_fen=0, removes=True)
    paid_event = OrderPaid(order_id=order.pk, member_id=her.pk, paid_fen=100, at=MORNING)
    for _ in range(2):
        tag_buyer(paid_event)
        assert carriers(bought) == {her.pk}
    OrderLine.objects.filter(pk=line.pk).update(refunded_quantity=1)
    tag_buyer(paid_event)
    assert not carriers(bought), "given back is not bought"


@pytest.mark.django_db
def test_the_page_counts_before_it_saves_and_refuses_what_says_nothing(
    client: Client, rule: Callable[..., TagRule], follower: Callable[..., Member], tag: Callable[[str], Any]
) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    paid(follower("o-1"), 600_00)
    form = {
        "name": "高消费", "tag": tag("贵客").pk, "kind": "spend", "amount": "500", "times": "1",
        "moment": "order", "is_active": "on",
    }  # fmt: skip
    preview = client.post(reverse("admin:crm_tagrule_preview"), form).content.decode()
    assert "<strong>1</strong>" in preview
    assert not TagRule.objects.exists()
    for wrong in (
        {"amount": "0"}, {"amount": "-5"}, {"amount": "很多"}, {"kind": "keyword", "words": " ，,"},
        {"kind": "time"}, {"kind": "time", "days": "99999"}, {"times": "0", "kind": "link"},
        {"kind": "purchase", "category": "7"}, {"kind": "scan", "code": "code:7"},
    ):  # fmt: skip
        assert client.post(reverse("admin:crm_tagrule_add"), {**form, **wrong}).status_code == 200, wrong
        assert client.post(reverse("admin:crm_tagrule_preview"), {**form, **wrong}).status_code == 200
    assert not TagRule.objects.exists()
    assert client.post(reverse("admin:crm_tagrule_add"), form).status_code == 302
    made = TagRule.objects.get()
    assert (made.amount_fen, made.created_by) == (500_00, User.objects.get())
    services.run_tag_rules()
    shown = client.get(reverse("admin:crm_tagrule_changelist")).content.decode()
    assert "500.00" in shown
    assert client.get(reverse("admin:crm_tagrule_change", args=[made.pk])).status_code == 200
    assert (
        client.post(reverse("admin:crm_tagrule_delete", args=[made.pk]), {"post": "yes"}).status_code == 403
    )


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_run_a_rule_once_and_tag_once(
    rule: Callable[..., TagRule], follower: Callable[..., Member]
) -> None:
    for number in range(3):
        paid(follower(f"o-{number}"), 600_00)
    made = rule()
    ran: list[int] = []
    gate = threading.Barrier(3)

    def work() -> None:
        gate.wait()
        ran.append(services.run_tag_rules())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ran) == 1
    assert len(carriers(made)) == 3
    assert Activity.objects.filter(kind="tagged").count() == 3
