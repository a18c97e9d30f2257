"""The doors of the platforms: what is let in, what is refused with which status, and that refusals write nothing."""

import json
import secrets
import threading
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection
from django.test import Client
from wechatpy.crypto import WeChatCrypto
from wechatpy.work.crypto import WeChatCrypto as WorkCrypto

from core import clock
from tests.wechat.conftest import AES_KEY, RECEIVE_ID, TOKEN, b64
from wechat.crypto import CallbackCipher, sha1_of_sorted
from wechat.models import Account, Notice

V1_ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
V2_ENCRYPT = (
    "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvu"
    "JTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwG"
    "c2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9"
    "EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0"
    "lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q=="
)
OA, WORK, PAY = (f"/wechat/{door}/" for door in ("oa/brand", "work/corp", "pay/pay/notify"))


def event_xml(openid: str = "o1", at: int = 1700000000, event: str = "subscribe", extra: str = "") -> str:
    return (
        f"<xml><ToUserName>gh_1</ToUserName><FromUserName>{openid}</FromUserName><CreateTime>{at}</CreateTime>"
        f"<MsgType>event</MsgType><Event>{event}</Event>{extra}</xml>"
    )


def text_xml(msg_id: str = "1", content: str = "你好") -> str:
    return (
        "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1700000000</CreateTime>"
        f"<MsgType>text</MsgType><Content>{content}</Content><MsgId>{msg_id}</MsgId></xml>"
    )


def encrypted_post(
    xml: str, path: str = OA, *, token: str = TOKEN, tamper: bool = False, clear: str = "", **query: str
) -> Any:
    """A delivery in safe mode; with `clear`, in compatible mode."""
    sealed = CallbackCipher(AES_KEY).encrypt(xml, RECEIVE_ID)
    timestamp, nonce = "1700000001", secrets.token_hex(5)
    signed = sha1_of_sorted(token, timestamp, nonce, sealed)
    if tamper:
        sealed = ("B" if sealed[0] != "B" else "C") + sealed[1:]
    params = {
        "signature": sha1_of_sorted(token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
        "encrypt_type": "aes",
        "msg_signature": signed,
        **query,
    }
    body = f"<xml><ToUserName>gh_1</ToUserName>{clear}<Encrypt>{sealed}</Encrypt></xml>"
    return Client().post(path, body, content_type="text/xml", QUERY_STRING=_query(params))


def plain_post(body: str | bytes, *, token: str = TOKEN, content_type: str = "text/xml", **query: str) -> Any:
    timestamp, nonce = "1700000001", "n1"
    params = {
        "signature": sha1_of_sorted(token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
        **query,
    }
    return Client().post(OA, body, content_type=content_type, QUERY_STRING=_query(params))


def _query(params: dict[str, str]) -> str:
    from urllib.parse import urlencode

    return urlencode(params)


def use_mode(account: Account, mode: str) -> None:
    account.mode = mode
    account.save()


# Published vectors, GET verification


def test_vector_1_verifies_the_wecom_address(corp: Account) -> None:
    answer = Client().get(
        WORK,
        {
            "msg_signature": "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
            "timestamp": "1409659589",
            "nonce": "263014780",
            "echostr": V1_ECHO,
        },
    )
    assert (answer.status_code, answer.content) == (200, b"1616140317555161061")


@pytest.mark.parametrize("path", [WORK, OA])
def test_vector_2_is_stored(path: str, official: Account, corp: Account) -> None:
    body = f"<xml><ToUserName>{RECEIVE_ID}</ToUserName><Encrypt>{V2_ENCRYPT}</Encrypt><AgentID>218</AgentID></xml>"
    query = {
        "msg_signature": "477715d11cdb4164915debcba66cb864d751f3e6",
        "timestamp": "1409659813",
        "nonce": "1372623149",
    }
    answer = Client().post(path, body, content_type="text/xml", QUERY_STRING=_query(query))
    assert answer.status_code == 200
    notice = Notice.objects.get()
    assert notice.topic == "message.text"
    assert notice.sender == "mycreate"
    assert "hello" in notice.content
    assert bytes(notice.body).decode() == body


def test_the_official_address_verifies_with_a_plain_echo(official: Account) -> None:
    query = {"timestamp": "1", "nonce": "2", "echostr": "<b>4711</b>"}
    answer = Client().get(OA, {**query, "signature": sha1_of_sorted(TOKEN, "1", "2")})
    assert (answer.status_code, answer.content) == (200, b"<b>4711</b>")
    assert answer["Content-Type"].startswith("text/plain")
    assert Client().get(OA, {**query, "signature": "0" * 40}).status_code == 403
    assert Client().get(OA).status_code == 403


def test_messages_sealed_by_wechatpy_come_in(official: Account, corp: Account) -> None:
    from wechat.envelopes import parse_xml

    for path, sdk in (
        (OA, WeChatCrypto(TOKEN, AES_KEY, RECEIVE_ID)),
        (WORK, WorkCrypto(TOKEN, AES_KEY, RECEIVE_ID)),
    ):
        xml = sdk.encrypt_message(text_xml(msg_id=path), "n9", "1700000009")
        query = {
            "timestamp": "1700000009",
            "nonce": "n9",
            "msg_signature": parse_xml(xml.encode())["MsgSignature"],
        }
        assert (
            Client().post(path, xml, content_type="text/xml", QUERY_STRING=_query(query)).status_code == 200
        )
    assert Notice.objects.count() == 2


# Modes


def test_safe_mode_stores_the_notice_and_wakes_a_worker_once(
    official: Account, no_wake_ups: list[str]
) -> None:
    assert encrypted_post(event_xml()).content == b"success"
    assert encrypted_post(event_xml()).status_code == 200
    notice = Notice.objects.get()
    assert (notice.topic, notice.deliveries, notice.status) == ("event.subscribe", 2, "new")
    assert "signature" not in json.dumps(notice.headers)
    assert no_wake_ups == ["notices"]


def test_compatible_mode_believes_only_what_is_encrypted(official: Account) -> None:
    use_mode(official, "compatible")
    forged = "<FromUserName>somebody-else</FromUserName><MsgType>event</MsgType>"
    assert encrypted_post(event_xml("o1"), clear=forged).status_code == 200
    assert Notice.objects.get().sender == "o1"


def test_plain_mode_and_json_push(official: Account) -> None:
    use_mode(official, "plain")
    assert plain_post(event_xml()).status_code == 200
    pushed = {
        "ToUserName": "gh_1",
        "FromUserName": "o2",
        "CreateTime": 1700000000,
        "MsgType": "event",
        "Event": "subscribe",
    }
    assert plain_post(json.dumps(pushed), content_type="application/json").status_code == 200
    assert sorted(Notice.objects.values_list("sender", flat=True)) == ["o1", "o2"]


@pytest.mark.parametrize("mode", ["safe", "compatible"])
def test_clear_text_is_refused_where_encryption_is_agreed(official: Account, mode: str) -> None:
    use_mode(official, mode)
    assert plain_post(event_xml()).status_code == 400
    assert not Notice.objects.exists()


# Refusals


def test_refusals_write_nothing(official: Account) -> None:
    assert encrypted_post(event_xml(), token="wrong").status_code == 403
    assert encrypted_post(event_xml(), tamper=True).status_code == 403
    assert encrypted_post(event_xml(), signature="0" * 40).status_code == 403
    assert encrypted_post("not xml").status_code == 400
    assert encrypted_post("<xml><A>1</A></xml>").status_code == 400
    assert encrypted_post(event_xml(), path="/wechat/oa/nobody/").status_code == 404
    assert encrypted_post(event_xml(), path=WORK.replace("corp", "brand")).status_code == 404
    assert Client().put(OA, "x").status_code == 405
    assert Client().post(OA, "x" * 10, content_type="image/png").status_code == 415
    assert Client().post(OA, "x" * (1024 * 1024 + 1), content_type="text/xml").status_code == 413
    bomb = b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><xml><Encrypt>&b;</Encrypt></xml>'
    assert Client().post(OA, bomb, content_type="text/xml").status_code == 400
    assert Client().post(OA, b"\xff\xfe\x00garbage", content_type="text/xml").status_code == 400
    use_mode(official, "plain")
    assert plain_post(event_xml(), token="wrong").status_code == 403
    assert plain_post(bomb).status_code == 400
    assert not Notice.objects.exists()


def test_a_notice_for_another_receiver_is_refused(official: Account) -> None:
    official.appid = "wx0000000000000000"
    official.save()
    assert encrypted_post(event_xml()).status_code == 403
    assert not Notice.objects.exists()


def test_an_inactive_account_is_unknown(official: Account) -> None:
    official.is_active = False
    official.save()
    assert encrypted_post(event_xml()).status_code == 404


# Deduplication


def test_messages_are_known_by_their_id_and_events_by_all_their_fields(
    official: Account, corp: Account
) -> None:
    encrypted_post(text_xml("7", "你好"))
    encrypted_post(text_xml("7", "你好 "))
    encrypted_post(text_xml("8"))
    assert Notice.objects.filter(account=official).count() == 2
    for external in ("wm1", "wm2"):
        extra = f"<ChangeType>add_external_contact</ChangeType><ExternalUserID>{external}</ExternalUserID>"
        for _ in range(2):
            encrypted_post(event_xml("sys", event="change_external_contact", extra=extra), path=WORK)
    assert list(
        Notice.objects.filter(account=corp).values_list("sender", "deliveries").order_by("sender")
    ) == [
        ("wm1", 2),
        ("wm2", 2),
    ]


@pytest.mark.django_db(transaction=True)
def test_four_simultaneous_deliveries_are_one_notice() -> None:
    account = Account.objects.create(
        kind="service", key="brand", appid=RECEIVE_ID, secret="s", token=TOKEN, aes_key=AES_KEY
    )
    start = threading.Barrier(4)
    statuses: list[int] = []

    def deliver() -> None:
        try:
            start.wait()
            for number in range(5):
                statuses.append(encrypted_post(event_xml(f"o{number}")).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20
    assert list(Notice.objects.filter(account=account).values_list("deliveries", flat=True)) == [4] * 5


# WeChat Pay


def pay_post(
    rsa_keys: dict[str, Any],
    *,
    notice: dict[str, Any] | None = None,
    signer: Any = None,
    age_seconds: int = 0,
    serial: str = "PUB_KEY_ID_0000000001",
    signature: str = "",
    body: bytes | None = None,
    signed: bytes | None = None,
    **headers: str,
) -> Any:
    transaction = {
        "appid": RECEIVE_ID,
        "mchid": "1900000001",
        "out_trade_no": "P1",
        "transaction_id": "42000001",
        "trade_state": "SUCCESS",
        "success_time": "2026-11-21T10:00:00+08:00",
        "payer": {"openid": "o1"},
        "amount": {"total": 12345, "payer_total": 12345, "currency": "CNY"},
    }
    nonce, aad = secrets.token_hex(6), "transaction"
    sealed = AESGCM(b"k" * 32).encrypt(nonce.encode(), json.dumps(transaction).encode(), aad.encode())
    document = {
        "id": "EV-1",
        "create_time": "2026-11-21T10:00:00+08:00",
        "resource_type": "encrypt-resource",
        "event_type": "TRANSACTION.SUCCESS",
        "resource": {
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": b64(sealed),
            "nonce": nonce,
            "associated_data": aad,
            "original_type": "transaction",
        },
        **(notice or {}),
    }
    body = json.dumps(document).encode() if body is None else body
    timestamp = str(int(clock.now().timestamp()) - age_seconds)
    text = f"{timestamp}\nn\n".encode() + (signed if signed is not None else body) + b"\n"
    made = (signer or rsa_keys["platform"]).sign(text, padding.PKCS1v15(), hashes.SHA256())
    given = {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": "n",
        "Wechatpay-Signature": signature or b64(made),
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        **headers,
    }
    return Client().post(PAY, body, content_type="application/json", headers=given)


def test_a_payment_notice_is_stored_once_and_answered_204(
    merchant: Account, rsa_keys: dict[str, Any]
) -> None:
    answers = [pay_post(rsa_keys).status_code for _ in range(3)]
    assert answers == [204, 204, 204]
    notice = Notice.objects.get()
    assert (notice.topic, notice.deliveries, notice.sender) == ("TRANSACTION.SUCCESS", 3, "EV-1")


def test_forged_stale_and_probing_payment_notices_are_refused(
    merchant: Account, rsa_keys: dict[str, Any]
) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    refused = [
        pay_post(rsa_keys, signer=stranger),
        pay_post(rsa_keys, signer=rsa_keys["merchant"]),
        pay_post(rsa_keys, age_seconds=301),
        pay_post(rsa_keys, age_seconds=-302),  # whole seconds: the next may begin meanwhile
        pay_post(rsa_keys, serial="7" * 40),
        pay_post(rsa_keys, serial="PUB_KEY_ID_0000000002"),
        pay_post(rsa_keys, serial=""),
        pay_post(rsa_keys, signature="WECHATPAY/SIGNTEST/" + "A" * 300),
        pay_post(rsa_keys, signature="not base64"),
        pay_post(rsa_keys, signed=b'{"id": "other"}'),
        pay_post(rsa_keys, **{"Wechatpay-Timestamp": "soon"}),
        pay_post(rsa_keys, **{"Wechatpay-Signature-Type": "MD5"}),
    ]
    assert [answer.status_code for answer in refused] == [401] * len(refused)
    assert refused[0].json()["code"] == "FAIL"
    assert refused[0].json()["message"]
    malformed = [
        pay_post(rsa_keys, body=b"no json"),
        pay_post(rsa_keys, body=b'{"resource": {}}'),
        pay_post(rsa_keys, notice={"resource_type": "other"}),
    ]
    assert [answer.status_code for answer in malformed] == [400] * len(malformed)
    assert Client().get(PAY).status_code == 405
    assert (
        Client().post("/wechat/pay/nobody/notify/", b"{}", content_type="application/json").status_code == 404
    )
    large = Client().post(PAY, b"x" * (1024 * 1024 + 1), content_type="application/json")
    assert large.status_code == 413
    assert not Notice.objects.exists()


def test_a_notice_just_within_five_minutes_is_taken(merchant: Account, rsa_keys: dict[str, Any]) -> None:
    assert pay_post(rsa_keys, age_seconds=290).status_code == 204


# The answer does not depend on workers or the broker


def test_the_answer_is_fast_when_the_broker_is_away(
    official: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery import current_app

    from core import wakeups

    monkeypatch.setattr(current_app.conf, "broker_url", "redis://127.0.0.1:1/0")
    monkeypatch.setattr("wechat.webhooks.wake_now", wakeups.wake_now)
    took = []
    while not took or (
        took[-1] > 1 and len(took) < 3
    ):  # a machine that is busy elsewhere is given another go
        started = time.monotonic()
        assert encrypted_post(event_xml()).status_code == 200
        took.append(time.monotonic() - started)
    assert took[-1] < 1, took
    assert Notice.objects.get().status == "new"


def test_a_delivery_costs_one_statement(official: Account, django_assert_num_queries: Any) -> None:
    encrypted_post(event_xml("warm"))
    with django_assert_num_queries(1):
        encrypted_post(event_xml("o2"))
