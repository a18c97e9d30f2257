"""From the stored notice to events and quotas: once, in any order, and again on Replay."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from core import clock
from core.models import DomainEvent
from tests.wechat.test_webhooks import WORK, encrypted_post, event_xml, pay_post, text_xml
from wechat import queries
from wechat.models import Account, Notice, ReplyWindow, SubscriptionQuota
from wechat.outbound import windows
from wechat.services import notices, replay_notices

AT = 1_700_000_000
MOMENT = datetime.fromtimestamp(AT, UTC)


def events(name: str) -> list[dict[str, Any]]:
    return list(
        DomainEvent.objects.filter(name=f"wechat.{name}").order_by("pk").values_list("payload", flat=True)
    )


def test_a_follow_through_a_code_opens_a_window_and_is_announced_once(official: Account) -> None:
    for _ in range(4):
        encrypted_post(event_xml("o1", AT, extra="<EventKey>qrscene_store-7</EventKey><Ticket>t</Ticket>"))
    assert notices.handle_due() == 1
    assert notices.handle_due() == 0
    [followed] = events("Followed")
    assert (followed["openid"], followed["scene"]) == ("o1", "store-7")
    assert datetime.fromisoformat(followed["at"]) == MOMENT
    window = ReplyWindow.objects.get()
    assert (window.trigger, window.remaining, window.expires_at) == (
        "follow",
        3,
        MOMENT + timedelta(minutes=1),
    )
    notice = Notice.objects.get()
    assert (notice.status, notice.handler, notice.deliveries) == ("done", "follow", 4)


def test_a_payment_scene_is_no_scene(official: Account) -> None:
    encrypted_post(event_xml(extra="<EventKey>last_trade_no_4200001</EventKey>"))
    notices.handle_due()
    assert events("Followed")[0]["scene"] == ""


def test_messages_menus_scans_and_leaving(official: Account) -> None:
    encrypted_post(text_xml("1", "有货吗"))
    encrypted_post(event_xml("o1", AT + 1, "CLICK", "<EventKey>new</EventKey>"))
    encrypted_post(event_xml("o1", AT + 2, "VIEW", "<EventKey>https://example.com/</EventKey>"))
    encrypted_post(event_xml("o1", AT + 3, "SCAN", "<EventKey>store-7</EventKey>"))
    encrypted_post(event_xml("o2", AT + 4, "unsubscribe"))
    encrypted_post(event_xml("o2", AT + 5, "LOCATION", "<Latitude>1</Latitude>"))
    notices.handle_due()
    assert events("MessageReceived")[0]["text"] == "有货吗"
    assert [event["key"] for event in events("MenuClicked")] == ["new", "https://example.com/"]
    assert events("Scanned")[0]["scene"] == "store-7"
    assert events("Unfollowed")[0]["openid"] == "o2"
    assert set(ReplyWindow.objects.values_list("trigger", flat=True)) == {"message", "menu", "scan"}
    assert list(queries.open_reply_windows(official.pk, MOMENT + timedelta(hours=1))) == ["o1"]
    assert list(queries.open_reply_windows(official.pk, MOMENT + timedelta(hours=49))) == []
    assert Notice.objects.get(topic="event.location").status == "ignored"


def test_windows_end_the_same_in_any_order(official: Account) -> None:
    for order in ((1, 2), (2, 1)):
        ReplyWindow.objects.all().delete()
        for minute in order:
            windows.open_reply_window(
                account_id=official.pk, openid="o1", trigger="message", at=MOMENT + timedelta(minutes=minute)
            )
        assert ReplyWindow.objects.get().opened_at == MOMENT + timedelta(minutes=2)


def test_sent_messages_use_the_window_that_ends_first(official: Account) -> None:
    moment = clock.now()
    for trigger in ("message", "scan"):
        windows.open_reply_window(account_id=official.pk, openid="o1", trigger=trigger, at=moment)
    windows.use_reply_windows(account_id=official.pk, openids=["o1", "o1", "o2"])
    assert dict(ReplyWindow.objects.values_list("trigger", "remaining")) == {"message": 5, "scan": 1}
    windows.close_reply_windows(account_id=official.pk, openid="o1", at=moment)
    assert not queries.open_reply_windows(official.pk, moment).exists()


def answer_xml(at: int, status: str, event: str = "subscribe_msg_popup_event") -> str:
    box = "SubscribeMsgPopupEvent" if "popup" in event else "SubscribeMsgChangeEvent"
    row = f"<List><TemplateId>T1</TemplateId><SubscribeStatusString>{status}</SubscribeStatusString></List>"
    return event_xml("o1", at, event, f"<{box}>{row}</{box}>")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_accepts_add_up_and_a_late_refusal_takes_back_only_what_came_before(
    official: Account, order: tuple[int, ...]
) -> None:
    said = [
        answer_xml(AT, "accept"),
        answer_xml(AT + 5, "reject", "subscribe_msg_change_event"),
        answer_xml(AT + 9, "accept"),
    ]
    for place in order:
        encrypted_post(said[place])
        encrypted_post(said[place])
        notices.handle_due()
    quota = SubscriptionQuota.objects.get()
    assert (quota.remaining, quota.accepted_ats) == (1, [MOMENT + timedelta(seconds=9)])
    assert list(queries.subscription_quotas(official.pk, "T1")) == ["o1"]
    windows.use_subscriptions(account_id=official.pk, template_id="T1", openids=["o1"])
    assert not queries.subscription_quotas(official.pk, "T1").exists()


def test_wecom_events(corp: Account) -> None:
    path = WORK
    common = "<UserID>lina</UserID><ExternalUserID>wm1</ExternalUserID>"

    def send(event: str, change: str, extra: str) -> None:
        encrypted_post(event_xml("sys", AT, event, f"<ChangeType>{change}</ChangeType>{extra}"), path=path)

    send(
        "change_external_contact",
        "add_external_contact",
        f"{common}<State>s7</State><WelcomeCode>w1</WelcomeCode>",
    )
    send("change_external_contact", "del_follow_user", common)
    send("change_external_contact", "del_external_contact", common)
    send("change_external_contact", "edit_external_contact", common)
    send("change_external_chat", "update", "<ChatId>c1</ChatId><UpdateDetail>add_member</UpdateDetail>")
    send("change_external_tag", "create", "<Id>t1</Id><TagType>tag</TagType>")
    send("change_external_contact", "something_new", common)
    assert notices.handle_due() == 7
    [added] = events("ContactAdded")
    assert (added["userid"], added["state"], added["welcome_code"]) == ("lina", "s7", "w1")
    assert [event["by"] for event in events("ContactRemoved")] == ["customer", "staff"]
    assert events("ContactEdited")[0]["external_userid"] == "wm1"
    assert (events("GroupChanged")[0]["chat_id"], events("GroupChanged")[0]["detail"]) == ("c1", "add_member")
    assert events("WorkTagChanged")[0]["tag_id"] == "t1"
    assert Notice.objects.filter(status="ignored").count() == 1


def test_a_payment_is_announced_with_its_amount(merchant: Account, rsa_keys: dict[str, Any]) -> None:
    pay_post(rsa_keys)
    notices.handle_due()
    [paid] = events("PaymentNotified")
    assert (paid["out_trade_no"], paid["paid_fen"], paid["trade_state"]) == ("P1", 12345, "SUCCESS")
    assert datetime.fromisoformat(paid["success_at"]) == datetime(2026, 11, 21, 2, tzinfo=UTC)


def test_a_wrong_apiv3_key_waits_for_the_operator_and_replay_heals_it(
    merchant: Account, rsa_keys: dict[str, Any]
) -> None:
    merchant.apiv3_key = "x" * 32
    merchant.save()
    pay_post(rsa_keys)
    for _ in range(8):
        Notice.objects.update(next_attempt_at=clock.now())
        notices.handle_due()
    notice = Notice.objects.get()
    assert (notice.status, notice.attempts) == ("failed", 8)
    assert "APIv3" in notice.error
    assert not events("PaymentNotified")
    merchant.apiv3_key = "k" * 32
    merchant.save()
    assert replay_notices(notice_ids=[notice.pk]) == 1
    notices.handle_due()
    assert len(events("PaymentNotified")) == 1


def test_a_notice_of_another_merchant_is_not_announced(merchant: Account, rsa_keys: dict[str, Any]) -> None:
    merchant.mchid = "1900000099"
    merchant.save()
    pay_post(rsa_keys)
    notices.handle_due()
    assert not events("PaymentNotified")
    assert "mchid" in Notice.objects.get().error


def test_a_failing_handler_writes_nothing_and_backs_off(
    official: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wechat.handlers import official as handlers

    def broken(notice: Notice) -> None:
        handlers.follow(notice)
        raise RuntimeError("broken half-way")

    monkeypatch.setitem(handlers.OFFICIAL, "event.subscribe", broken)
    encrypted_post(event_xml())
    encrypted_post(event_xml("o2", event="unsubscribe"))
    assert notices.handle_due() == 2
    assert not events("Followed")
    assert not ReplyWindow.objects.exists()
    assert len(events("Unfollowed")) == 1
    notice = Notice.objects.get(topic="event.subscribe")
    assert notice.status == "new"
    assert notice.next_attempt_at > clock.now()
    assert "broken half-way" in notice.error


@pytest.mark.django_db(transaction=True)
def test_several_workers_handle_each_notice_once() -> None:
    from tests.wechat.conftest import AES_KEY, RECEIVE_ID, TOKEN

    Account.objects.create(
        kind="service", key="brand", appid=RECEIVE_ID, secret="s", token=TOKEN, aes_key=AES_KEY
    )
    for number in range(12):
        encrypted_post(event_xml(f"o{number}"))
    handled: list[int] = []

    def work() -> None:
        try:
            handled.append(notices.handle_due())
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(handled) == 12
    assert len(events("Followed")) == 12


def test_old_handled_notices_are_forgotten(official: Account) -> None:
    encrypted_post(event_xml())
    encrypted_post(event_xml("o2"))
    notices.handle_due(limit=1)
    Notice.objects.update(received_at=clock.now() - timedelta(days=100))
    assert notices.forget_old_notices(older_than=timedelta(days=90)) == 1
    assert Notice.objects.get().status == "new"
