"""The admin of this room: secrets never come back, lists cost few queries, buttons say what is wrong."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from core import clock
from tests.conftest_sandbox import Sandbox
from tests.wechat.conftest import AES_KEY, RECEIVE_ID, TOKEN
from tests.wechat.test_webhooks import encrypted_post, event_xml, pay_post
from wechat import services
from wechat.models import Account, ChannelUse, Notice, OutboundMessage, ReplyWindow
from wechat.services import notices


@pytest.fixture
def operator(db: Any) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="a-long-password"))
    return client


def form_of(account: Account, **changes: str) -> dict[str, str]:
    names = (
        "name",
        "role",
        "appid",
        "corpid",
        "agentid",
        "mode",
        "mchid",
        "merchant_serial",
        "public_key",
        "public_key_id",
    )
    kept = {name: str(getattr(account, name)) for name in names}
    return {**kept, "is_active": "on", "api_base": account.api_base, "daily_limits": "{}", **changes}


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_secrets_are_never_rendered_and_empty_keeps_them(operator: Client, official: Account) -> None:
    page = reverse("admin:wechat_account_change", args=[official.pk])
    html = operator.get(page).content.decode()
    for secret in ("s" * 32, TOKEN, AES_KEY):
        assert secret not in html
    assert "/wechat/oa/brand/" in html
    answer = operator.post(page, form_of(official, name="香氛"))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    official.refresh_from_db()
    assert (official.name, official.secret, official.aes_key) == ("香氛", "s" * 32, AES_KEY)
    operator.post(page, form_of(official, secret="n" * 32))
    official.refresh_from_db()
    assert official.secret == "n" * 32


def test_a_wrong_key_is_refused_next_to_its_field(operator: Client, official: Account) -> None:
    page = reverse("admin:wechat_account_change", args=[official.pk])
    answer = operator.post(page, form_of(official, aes_key="short"))
    assert answer.status_code == 200
    assert "aes_key" in answer.context["adminform"].form.errors
    official.refresh_from_db()
    assert official.aes_key == AES_KEY


def test_secrets_stay_out_of_the_edit_history(official: Account) -> None:
    event = official._meta.apps.get_model("wechat", "AccountEvent")
    names = {field.name for field in event._meta.get_fields()}
    assert not names & set(Account.SECRET_FIELDS)


def test_the_connection_test_says_what_is_wrong(operator: Client, sandbox: Sandbox) -> None:
    brand = sandbox.account("brand")
    button = reverse("admin:wechat_account_test_connection", args=[brand.pk])
    assert "40" not in messages_of(operator.get(button, follow=True))
    sandbox.fault(match="/cgi-bin/stable_token", errcode=40164, times=1)
    assert "40164" in messages_of(operator.get(button, follow=True))
    sandbox.fault(match="/cgi-bin/user/get", errcode=48001, times=1)
    assert "48001" in messages_of(operator.get(button, follow=True))
    brand.secret = "0" * 32
    brand.save()
    assert "40125" in messages_of(operator.get(button, follow=True))
    brand.api_base = "http://127.0.0.1:1"
    brand.save()
    assert "not_reached" in messages_of(operator.get(button, follow=True))


def test_connection_reports_of_wecom_and_pay(sandbox: Sandbox, db: Any, rsa_keys: dict[str, Any]) -> None:
    corp, pay = sandbox.account("corp"), sandbox.account("pay")
    assert services.test_connection(account_id=corp.pk).ok
    assert services.test_connection(account_id=pay.pk).ok
    sandbox.fault(match="/cgi-bin/gettoken", errcode=60020, times=1)
    report = services.test_connection(account_id=corp.pk)
    assert (report.ok, report.code) == (False, "60020")
    assert "127.0.0.1" in report.detail
    pay.merchant_key = rsa_keys["merchant_pem"]
    pay.save()
    assert services.test_connection(account_id=pay.pk).code == "SIGN_ERROR"
    pay = sandbox.account("pay")
    pay.public_key = rsa_keys["platform_public_pem"]
    pay.save()
    assert services.test_connection(account_id=pay.pk).code == "bad_signature"


def test_notices_are_listed_shown_and_replayed(
    operator: Client,
    official: Account,
    merchant: Account,
    rsa_keys: dict[str, Any],
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(30):
        encrypted_post(event_xml(f"o{number}"))
    encrypted_post(event_xml("o1"))
    pay_post(rsa_keys)
    notices.handle_due()
    with django_assert_max_num_queries(12):
        listed = operator.get(reverse("admin:wechat_notice_changelist")).content.decode()
    assert "o29" in listed
    notice = Notice.objects.get(sender="o1")
    with django_assert_max_num_queries(10):
        shown = operator.get(reverse("admin:wechat_notice_change", args=[notice.pk])).content.decode()
    assert "&lt;FromUserName&gt;o1" in shown or "FromUserName" in shown
    paid = Notice.objects.get(topic="TRANSACTION.SUCCESS")
    shown = operator.get(reverse("admin:wechat_notice_change", args=[paid.pk])).content.decode()
    assert "k" * 32 not in shown
    operator.get(reverse("admin:wechat_notice_replay_one", args=[notice.pk]))
    notice.refresh_from_db()
    assert notice.status == "new"
    operator.post(
        reverse("admin:wechat_notice_changelist"), {"action": "replay", "_selected_action": [str(paid.pk)]}
    )
    paid.refresh_from_db()
    assert paid.status == "new"


def test_messages_are_listed_with_their_reasons(
    operator: Client, official: Account, django_assert_max_num_queries: Any
) -> None:
    services.enqueue_messages(
        account_id=official.pk,
        channel="custom",
        body_id=services.make_body(content={"kind": "text", "text": "上新"}),
        rows=[(f"o{number}", number) for number in range(40)],
        origin="broadcast:1",
    )
    OutboundMessage.objects.filter(to="o1").update(state="failed", reason_code="45015", reason="窗口已关闭")
    with django_assert_max_num_queries(12):
        listed = operator.get(reverse("admin:wechat_outboundmessage_changelist")).content.decode()
    assert "窗口已关闭" in listed
    message = OutboundMessage.objects.get(to="o1")
    with django_assert_max_num_queries(10):
        operator.get(reverse("admin:wechat_outboundmessage_change", args=[message.pk]))
    operator.post(
        reverse("admin:wechat_outboundmessage_changelist"),
        {"action": "send_again", "_selected_action": [str(message.pk)]},
    )
    message.refresh_from_db()
    assert (message.state, message.reason) == ("pending", "")


def test_the_other_lists_open(
    operator: Client, official: Account, django_assert_max_num_queries: Any
) -> None:
    ChannelUse.objects.create(account=official, channel="custom", day=clock.today(), used=3)
    ReplyWindow.objects.create(
        account=official,
        openid="o1",
        trigger="scan",
        opened_at=clock.now(),
        expires_at=clock.now(),
        remaining=3,
    )
    for name in ("account", "channeluse", "replywindow", "subscriptionquota", "outboundbatch", "massuse"):
        with django_assert_max_num_queries(12):
            assert operator.get(reverse(f"admin:wechat_{name}_changelist")).status_code == 200
    assert operator.get(reverse("admin:wechat_account_add")).status_code == 200


def test_an_account_is_made_in_the_admin(operator: Client) -> None:
    given = {
        "kind": "service",
        "key": "new",
        "name": "新号",
        "role": "store",
        "appid": RECEIVE_ID,
        "secret": "s" * 32,
        "token": TOKEN,
        "aes_key": AES_KEY,
        "mode": "safe",
        "is_active": "on",
        "daily_limits": "{}",
    }
    answer = operator.post(reverse("admin:wechat_account_add"), given)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    made = Account.objects.get(key="new")
    assert (made.token, made.role) == (TOKEN, Account.STORE)


def test_a_reader_may_not_replay(db: Any, official: Account) -> None:
    from django.contrib.auth.models import Permission

    reader = User.objects.create_user("reader", password="a-long-password", is_staff=True)
    reader.user_permissions.add(
        Permission.objects.get(codename="view_notice", content_type__app_label="wechat")
    )
    client = Client()
    client.force_login(reader)
    encrypted_post(event_xml())
    notices.handle_due()
    notice = Notice.objects.get()
    assert client.get(reverse("admin:wechat_notice_changelist")).status_code == 200
    answer = client.get(reverse("admin:wechat_notice_replay_one", args=[notice.pk]))
    assert answer.status_code in (302, 403)
    notice.refresh_from_db()
    assert notice.status == "done"
