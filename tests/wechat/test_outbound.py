"""Messages leave the house once: states, reasons, quotas, pauses and crashes, against the real sandbox."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from core import clock
from tests import databases
from tests.conftest_sandbox import Sandbox
from tests.wechat.test_gateway import follow
from wechat import queries, services
from wechat.models import (
    Account,
    ChannelUse,
    OutboundBatch,
    OutboundBody,
    OutboundMessage,
    ReplyWindow,
    SubscriptionQuota,
)
from wechat.outbound import batches, sender
from wechat.services import notices

TEXT = {"kind": "text", "text": "你好 {{name}}"}
TEMPLATE = {"kind": "template", "template_id": "T_ORDER_SHIPPED", "url": "", "data": {"thing1": "桂花香水"}}


def enqueue(
    account: Account, openids: list[str], channel: str = "custom", body: Any = TEXT, **more: Any
) -> int:
    return services.enqueue_messages(
        account_id=account.pk,
        channel=channel,
        body_id=services.make_body(content=body),
        rows=[(openid, number) for number, openid in enumerate(openids, 1)],
        origin=more.get("origin", "broadcast:1"),
    )


def state_of(origin: str = "broadcast:1") -> dict[str, int]:
    return queries.outbound_counts(origin)


@pytest.fixture
def brand(db: Any, sandbox: Sandbox) -> Account:
    return sandbox.account("brand")


def followers(sandbox: Sandbox, count: int) -> list[tuple[dict[str, Any], str]]:
    return [follow(sandbox) for _ in range(count)]


# The queue


def test_a_row_of_an_origin_is_queued_once(brand: Account) -> None:
    assert enqueue(brand, ["o1", "o2"]) == 2
    assert enqueue(brand, ["o1", "o2", "o3"]) == 1
    first = services.enqueue_message(
        account_id=brand.pk, channel="custom", to="o1", body=TEXT, origin="hello", origin_id=1, dedupe_key="a"
    )
    for number in (1, 2):
        same = services.enqueue_message(
            account_id=brand.pk,
            channel="custom",
            to="o1",
            body=TEXT,
            origin="hello",
            origin_id=number,
            dedupe_key="a",
        )
        assert same == first
    assert OutboundMessage.objects.count() == 4
    assert OutboundBody.objects.count() == 3


def test_a_select_becomes_messages_in_one_statement(
    brand: Account, django_assert_max_num_queries: Any
) -> None:
    body_id = services.make_body(content=TEXT)
    with django_assert_max_num_queries(2):
        added = services.enqueue_from_select(
            account_id=brand.pk,
            channel="custom",
            body_id=body_id,
            origin="broadcast:2",
            sql="SELECT 'o' || n, n, jsonb_build_object('name', n) FROM generate_series(1, %(count)s) AS n",
            params={"count": 1000},
        )
    assert added == 1000
    row = OutboundMessage.objects.get(origin_id=7)
    assert (row.to, row.vars, row.state) == ("o7", {"name": 7}, "pending")
    again = services.enqueue_from_select(
        account_id=brand.pk,
        channel="custom",
        body_id=body_id,
        origin="broadcast:2",
        sql="SELECT 'o' || n, n FROM generate_series(1, 1001) AS n",
        params={},
    )
    assert again == 1


def test_content_that_cannot_be_sent_is_refused(brand: Account) -> None:
    for content in ({"kind": "text", "text": " "}, {"kind": "link", "title": "x"}, {"kind": "film"}, {}):
        with pytest.raises(services.BadContent) as caught:
            services.make_body(content=content)
        assert caught.value.message
    with pytest.raises(services.BadContent):
        enqueue(brand, ["o1"], channel="pigeon")
    assert not OutboundMessage.objects.exists()


def test_hold_release_cancel(brand: Account) -> None:
    enqueue(brand, ["o1", "o2"])
    assert services.hold_messages(origin="broadcast:1") == 2
    assert sender.due_groups(["custom"]) == []
    assert services.release_messages(origin="broadcast:1") == 2
    assert sender.due_groups(["custom"]) == [(brand.pk, "custom")]
    assert services.cancel_messages(origin="broadcast:1") == 2
    assert state_of() == {"cancelled": 2}


# Sending


@pytest.mark.django_db(transaction=True)
def test_custom_messages_arrive_with_the_receivers_own_words(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    people = followers(sandbox, 3)
    services.enqueue_messages(
        account_id=brand.pk,
        channel="custom",
        body_id=services.make_body(content=TEXT),
        rows=[(openid, number, {"name": f"第{number}位"}) for number, (_, openid) in enumerate(people)],
        origin="broadcast:1",
    )
    sandbox.deliver()
    notices.handle_due()
    assert ReplyWindow.objects.filter(remaining=3).count() == 3
    assert sender.send_due() == 3
    assert [sandbox.inbox(her, "custom")[0]["text"] for her, _ in people] == [
        "你好 第0位",
        "你好 第1位",
        "你好 第2位",
    ]
    assert state_of() == {"sent": 3}
    message = OutboundMessage.objects.first()
    assert message is not None
    assert message.sent_at
    assert message.attempts == 1
    assert ReplyWindow.objects.filter(remaining=2).count() == 3
    assert sender.send_due() == 0


@pytest.mark.django_db(transaction=True)
def test_a_link_and_a_refusal_with_its_reason(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    her, openid = follow(sandbox)
    gone, gone_openid = follow(sandbox)
    sandbox.post(f"people/{gone['id']}/unfollow", account="brand")
    link = {"kind": "link", "title": "新品", "description": "桂花", "url": "https://shop.example/{{url}}"}
    enqueue(brand, [openid, gone_openid, "nobody"], body=link)
    assert sender.send_due() == 3
    assert sandbox.inbox(her, "custom")[0]["text"] == "新品"
    assert state_of() == {"sent": 1, "failed": 2}
    reasons = dict(OutboundMessage.objects.filter(state="failed").values_list("to", "reason_code"))
    assert reasons == {gone_openid: "45015", "nobody": "40003"}
    assert all(OutboundMessage.objects.filter(state="failed").values_list("reason", flat=True))


@pytest.mark.django_db(transaction=True)
def test_a_token_that_died_is_replaced_once_for_the_whole_crowd(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    openids = [openid for _, openid in followers(sandbox, 5)]
    from wechat.gateway.official import OfficialClient

    OfficialClient(brand).token()
    sandbox.post("tokens", account="brand", state="replaced")
    enqueue(brand, openids)
    sender.send_due()
    assert state_of() == {"sent": 5}
    assert sandbox.calls("/cgi-bin/stable_token") <= 3


@pytest.mark.django_db(transaction=True)
def test_busy_waits_and_a_limit_pauses_the_channel(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    _, openid = follow(sandbox)
    enqueue(brand, [openid])
    sandbox.fault(match="/cgi-bin/message/custom/send", errcode=-1, times=1)
    sender.send_due()
    message = OutboundMessage.objects.get()
    assert (message.state, message.reason_code) == ("pending", "-1")
    assert message.next_attempt_at > clock.now()
    OutboundMessage.objects.update(next_attempt_at=clock.now())
    sandbox.fault(match="/cgi-bin/message/custom/send", errcode=45011, times=1)
    sender.send_due()
    assert sender.due_groups(["custom"]) == []
    assert OutboundMessage.objects.get().state == "pending"
    assert ChannelUse.objects.get().used == 0
    OutboundMessage.objects.update(next_attempt_at=clock.now())
    ChannelUse.objects.update(paused_until=None)
    sender.send_due()
    assert state_of() == {"sent": 1}
    assert ChannelUse.objects.get().used == 1


@pytest.mark.django_db(transaction=True)
def test_a_lost_answer_is_unknown_and_never_sent_again(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    her, openid = follow(sandbox)
    enqueue(brand, [openid])
    sandbox.fault(match="/cgi-bin/message/custom/send", drop=True, effect="after", times=1)
    sender.send_due()
    assert state_of() == {"unknown": 1}
    OutboundMessage.objects.update(next_attempt_at=clock.now(), lease_until=clock.now() - timedelta(hours=1))
    sender.recover_expired()
    sender.send_due()
    assert len(sandbox.inbox(her, "custom")) == 1


@pytest.mark.django_db(transaction=True)
def test_a_template_message_is_repeated_with_its_key_and_arrives_once(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    sandbox.post(
        "templates", account="brand", template_id="T_ORDER_SHIPPED", title="发货", content="{{thing1.DATA}}"
    )
    her, openid = follow(sandbox)
    enqueue(brand, [openid], channel="template", body=TEMPLATE)
    sandbox.fault(match="/cgi-bin/message/template/send", drop=True, effect="after", times=1)
    sender.send_due()
    assert OutboundMessage.objects.get().state == "pending"
    OutboundMessage.objects.update(next_attempt_at=clock.now())
    sender.send_due()
    message = OutboundMessage.objects.get()
    assert (message.state, bool(message.platform_id)) == ("sent", True)
    assert len(sandbox.inbox(her, "template")) == 1


@pytest.mark.django_db(transaction=True)
def test_a_template_that_the_person_blocked_fails_later(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    sandbox.post(
        "templates", account="brand", template_id="T_ORDER_SHIPPED", title="发货", content="{{thing1.DATA}}"
    )
    her, openid = follow(sandbox)
    sandbox.post(f"people/{her['id']}/block", account="brand", blocked=True)
    enqueue(brand, [openid], channel="template", body=TEMPLATE)
    sender.send_due()
    assert state_of() == {"sent": 1}
    sandbox.advance(2)
    sandbox.deliver(times=2)
    notices.handle_due()
    message = OutboundMessage.objects.get()
    assert (message.state, message.reason_code) == ("failed", "user_block")


@pytest.mark.django_db(transaction=True)
def test_a_subscription_notification_uses_up_its_accept(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    sandbox.post(
        "templates",
        account="brand",
        template_id="S_BACK_IN_STOCK",
        title="到货",
        content="{{thing1.DATA}}",
        family="subscribe",
    )
    her, openid = follow(sandbox)
    sandbox.post(f"people/{her['id']}/subscribe", account="brand", template_id="S_BACK_IN_STOCK", accept=True)
    sandbox.deliver()
    notices.handle_due()
    assert SubscriptionQuota.objects.get().remaining == 1
    body = {"kind": "template", "template_id": "S_BACK_IN_STOCK", "data": {"thing1": "桂花香水"}}
    enqueue(brand, [openid], channel="subscribe", body=body)
    sender.send_due()
    assert SubscriptionQuota.objects.get().remaining == 0
    assert len(sandbox.inbox(her, "subscribe")) == 1
    enqueue(brand, [openid], channel="subscribe", body=body, origin="broadcast:2")
    sender.send_due()
    assert OutboundMessage.objects.get(origin="broadcast:2").reason_code == "43101"


@pytest.mark.django_db(transaction=True)
def test_the_daily_number_is_kept_and_the_rest_goes_tomorrow(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    brand.daily_limits = {"custom": 2}
    brand.save()
    openids = [openid for _, openid in followers(sandbox, 3)]
    sandbox.deliver()
    enqueue(brand, openids)
    sender.send_due()
    assert state_of() == {"sent": 2, "pending": 1}
    waiting = OutboundMessage.objects.get(state="pending")
    assert waiting.reason_code == "daily_quota"
    assert waiting.next_attempt_at == clock.day_start(clock.today() + timedelta(days=1))
    assert sender.send_due() == 0


def test_a_claim_takes_its_number_whatever_the_planner_does(brand: Account) -> None:
    """A subselect of WHERE … IN with LIMIT and SKIP LOCKED is run again for every row of a loop and takes all."""
    enqueue(brand, ["o1", "o2", "o3"])
    OutboundMessage.objects.update(is_urgent=True)
    moment = clock.now()
    group = {"account": brand.pk, "channel": "custom", "moment": moment, "until": moment, "rows": 2}
    urgent = {"moment": moment, "until": moment, "channels": ["custom"]}
    with databases.looping_plans(), connection.cursor() as cursor:
        cursor.execute(sender._CLAIM, group)
        assert len(cursor.fetchall()) == 2
        cursor.execute(sender._CLAIM_URGENT, urgent)
        assert len(cursor.fetchall()) == 1
    assert OutboundMessage.objects.filter(state="sending").count() == 1


def test_a_batch_has_the_content_of_its_messages_also_when_another_worker_takes_those_before(
    brand: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ({"kind": "text", "text": words} for words in ("上新", "会员日"))
    enqueue(brand, ["o1", "o2"], channel="mass", body=old)
    enqueue(brand, ["o3", "o4"], channel="mass", body=new, origin="broadcast:2")
    first, make_id = OutboundMessage.objects.filter(origin="broadcast:1"), batches.uuid.uuid4

    def meanwhile() -> Any:
        first.update(state=OutboundMessage.SENDING)  # between the look at the head and the claim
        return make_id()

    monkeypatch.setattr(batches.uuid, "uuid4", meanwhile)
    batch = batches._claim(brand, "mass")
    assert batch is not None
    assert [message.to for message in OutboundMessage.objects.filter(batch=batch).order_by("to")] == [
        "o3",
        "o4",
    ]
    assert OutboundBatch.objects.get(pk=batch.pk).body.content == batch.body.content == new


@pytest.mark.django_db(transaction=True)
def test_several_workers_send_each_message_once(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    people = sandbox.post("people", count=150, name="人")
    made = people["people"] if isinstance(people, dict) else people
    for her in made:
        sandbox.post(f"people/{her['id']}/follow", account="brand")
    appid = sandbox.credentials("brand")["appid"]
    enqueue(brand, [her["openids"][appid] for her in made])

    def work() -> None:
        try:
            sender.send_due()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state_of() == {"sent": 150}
    assert sandbox.calls("/cgi-bin/message/custom/send") == 150


@pytest.mark.django_db(transaction=True)
def test_a_message_held_after_its_claim_does_not_go(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand = sandbox.account("brand")
    her, openid = follow(sandbox)
    enqueue(brand, [openid])
    claim = sender.GroupSender._claim

    def claim_then_hold(self: sender.GroupSender) -> None:
        claim(self)
        services.hold_messages(origin="broadcast:1")

    monkeypatch.setattr(sender.GroupSender, "_claim", claim_then_hold)
    sender.send_due()
    assert state_of() == {"held": 1}
    assert sandbox.inbox(her, "custom") == []


@pytest.mark.django_db(transaction=True)
def test_a_sender_whose_time_is_over_asks_for_another(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand = sandbox.account("brand")
    openids = [openid for _, openid in followers(sandbox, 3)]
    enqueue(brand, openids)
    woken: list[str] = []
    monkeypatch.setattr(sender, "CLAIM_ROWS", 1)
    monkeypatch.setattr(sender, "wake", lambda task, **_: woken.append(task))
    claim = sender.GroupSender._claim

    def claim_once(self: sender.GroupSender) -> None:
        claim(self)
        self.give_up_at = 0

    monkeypatch.setattr(sender.GroupSender, "_claim", claim_once)
    assert sender.send_due() == 1
    assert woken == ["wechat.tasks.send_outbound"]
    monkeypatch.undo()
    sender.send_due()
    assert state_of() == {"sent": 3}


# A worker that dies


def test_what_a_dead_worker_was_sending_becomes_unknown_or_is_repeated_by_key(brand: Account) -> None:
    enqueue(brand, ["o1"])
    enqueue(brand, ["o2"], channel="template", body=TEMPLATE, origin="broadcast:2")
    past = clock.now() - timedelta(seconds=1)
    OutboundMessage.objects.update(state="sending", lease_until=past, attempts=1)
    assert sender.recover_expired() == 2
    assert state_of() == {"unknown": 1}
    assert OutboundMessage.objects.get(origin="broadcast:1").reason_code == "worker_lost"
    assert state_of("broadcast:2") == {"pending": 1}


def test_a_claim_that_never_started_comes_back_by_itself(brand: Account) -> None:
    enqueue(brand, ["o1"])
    group = sender.GroupSender(brand, "custom", seconds=10)
    group._claim()
    assert sender.due_groups(["custom"]) == []
    with_later_clock = OutboundMessage.objects.filter(
        state="pending", next_attempt_at__lte=clock.now() + sender.CLAIM_LASTS
    )
    assert with_later_clock.count() == 1


# Urgent


def test_an_urgent_welcome_goes_at_once(brand: Account, sandbox: Sandbox) -> None:
    corp = sandbox.account("corp")
    her = sandbox.person()
    sandbox.post(f"people/{her['id']}/add_contact", account="corp", userid="lina")
    sandbox.deliver()
    notices.handle_due()
    from core.models import DomainEvent

    code = DomainEvent.objects.get(name="wechat.ContactAdded").payload["welcome_code"]
    services.enqueue_message(
        account_id=corp.pk,
        channel="welcome",
        to=code,
        body={
            "kind": "text",
            "text": "欢迎 {{name}}",
            "link": {"title": "礼", "url": "https://shop.example/"},
        },
        origin="welcome",
        origin_id=1,
        dedupe_key=f"welcome:{code}",
        queue="fast",
        variables={"name": "小满"},
    )
    assert sender.send_urgent() == 1
    assert state_of("welcome") == {"sent": 1}
    assert sandbox.inbox(her, "welcome")


# Mass


@pytest.mark.django_db(transaction=True)
def test_a_mass_message_is_one_call_and_its_result_is_noted(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    people = followers(sandbox, 3)
    enqueue(brand, [openid for _, openid in people], channel="mass", body={"kind": "text", "text": "上新"})
    assert batches.send_due_batches() == 3
    assert sandbox.calls("/cgi-bin/message/mass/send") == 1
    assert state_of() == {"sent": 3}
    sandbox.advance(5)
    sandbox.deliver(times=2)
    notices.handle_due()
    batch = OutboundBatch.objects.get()
    assert (batch.state, batch.result["SentCount"]) == ("done", 3)
    assert [len(sandbox.inbox(her, "mass")) for her, _ in people] == [1, 1, 1]
    assert set(queries.mass_left(brand.pk, [openid for _, openid in people]).values()) == {3}


@pytest.mark.django_db(transaction=True)
def test_a_mass_call_whose_answer_was_lost_is_repeated_with_its_key(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    people = followers(sandbox, 2)
    enqueue(brand, [openid for _, openid in people], channel="mass", body={"kind": "text", "text": "上新"})
    sandbox.fault(match="/cgi-bin/message/mass/send", drop=True, effect="after", times=1)
    batches.send_due_batches()
    assert state_of() == {"sent": 2}
    assert OutboundBatch.objects.get().platform_id
    sandbox.advance(5)
    sandbox.deliver()
    assert [len(sandbox.inbox(her, "mass")) for her, _ in people] == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_a_mass_call_in_doubt_is_settled_after_its_lease(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    people = followers(sandbox, 2)
    enqueue(brand, [openid for _, openid in people], channel="mass", body={"kind": "text", "text": "上新"})
    sandbox.fault(match="/cgi-bin/message/mass/send", drop=True, effect="before", times=3)
    batches.send_due_batches()
    assert state_of() == {"sending": 2}
    assert batches.recover_batches() == 0
    OutboundMessage.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    assert batches.recover_batches() == 1
    assert state_of() == {"sent": 2}
    sandbox.advance(5)
    sandbox.deliver()
    assert [len(sandbox.inbox(her, "mass")) for her, _ in people] == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_the_fifth_mass_message_of_a_month_is_not_sent(sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    openids = [openid for _, openid in followers(sandbox, 2)]
    for number in range(1, 6):
        enqueue(
            brand, openids, channel="mass", body={"kind": "text", "text": str(number)}, origin=f"b:{number}"
        )
        batches.send_due_batches()
    assert state_of("b:4") == {"sent": 2}
    assert state_of("b:5") == {"failed": 2}
    assert set(OutboundMessage.objects.filter(origin="b:5").values_list("reason_code", flat=True)) == {
        "monthly_cap"
    }
    assert set(queries.mass_exhausted(brand.pk)) == set(openids)


@pytest.mark.django_db(transaction=True)
def test_a_wecom_mass_task_waits_for_the_members(sandbox: Sandbox) -> None:
    corp = sandbox.account("corp")
    people = [sandbox.person(name) for name in ("小满", "谷雨")]
    for her, userid in zip(people, ("lina", "wangwei"), strict=True):
        sandbox.post(f"people/{her['id']}/add_contact", account="corp", userid=userid)
    externals = [
        services.work_contacts(account_id=corp.pk, userid=userid)[0] for userid in ("lina", "wangwei")
    ]
    body = {"kind": "link", "title": "新品", "url": "https://shop.example/", "description": ""}
    enqueue(corp, [*externals, "wm_nobody"], channel="work_mass", body=body)
    batches.send_due_batches()
    assert state_of() == {"failed": 1, "sending": 2}
    [task] = sandbox.get("work_tasks")
    sandbox.advance(10)
    batches.poll_tasks()
    assert state_of() == {"failed": 1, "sending": 2}
    sandbox.post(f"work_tasks/{task['msgid']}/confirm", userid="lina")
    sandbox.advance(10)
    batches.poll_tasks()
    assert state_of() == {"failed": 1, "sending": 1, "sent": 1}
    [status] = queries.work_tasks("broadcast:1")
    assert status.confirmed == {"lina": True, "wangwei": False}
    sandbox.post(f"work_tasks/{task['msgid']}/confirm", userid="wangwei")
    sandbox.advance(10)
    batches.poll_tasks()
    assert state_of() == {"failed": 1, "sent": 2}
    assert OutboundBatch.objects.get().state == "done"


def test_quotas_are_never_exceeded(brand: Account) -> None:
    from wechat.outbound.quotas import give_back, take_quota

    brand.daily_limits = {"custom": 10}
    assert take_quota(brand, "custom", 7) == 7
    assert take_quota(brand, "custom", 7) == 3
    assert take_quota(brand, "custom", 7) == 0
    give_back(brand, "custom", 2)
    assert take_quota(brand, "custom", 7) == 2
