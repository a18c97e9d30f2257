"""The vectors of the contract, sections A4, C, D3 and the payment sheet's signature."""

import base64

import pytest

from wechat.sandbox import crypto

TOKEN, KEY, RECEIVER = "QDG6eK", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "wx5823bf96d3bd56c7"
ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
POST = (
    "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/s"
    "YYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJ"
    "YuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGU"
    "callcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDY"
    "A5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q=="
)


def test_the_published_echo_is_decrypted() -> None:
    signature = crypto.sha1_of_sorted(TOKEN, "1409659589", "263014780", ECHO)
    assert signature == "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"
    assert crypto.decrypt_message(ECHO, aes_key=KEY, receiver=RECEIVER) == "1616140317555161061"


def test_the_published_message_is_decrypted() -> None:
    signature = crypto.sha1_of_sorted(TOKEN, "1409659813", "1372623149", POST)
    assert signature == "477715d11cdb4164915debcba66cb864d751f3e6"
    text = crypto.decrypt_message(POST, aes_key=KEY, receiver=RECEIVER)
    assert "<Content><![CDATA[hello]]></Content>" in text
    assert "4561255354251345929" in text


def test_what_is_encrypted_here_is_read_by_wechatpy() -> None:
    from wechatpy.crypto import PrpCrypto

    for text in ("你好", "", "x" * 31, "x" * 32):
        encrypted = crypto.encrypt_message(text, aes_key=KEY, receiver=RECEIVER)
        assert crypto.decrypt_message(encrypted, aes_key=KEY, receiver=RECEIVER) == text
        assert PrpCrypto(base64.b64decode(KEY + "=")).decrypt(encrypted, RECEIVER) == text


@pytest.mark.parametrize("change", ["receiver", "byte", "short", "text"])
def test_what_does_not_fit_is_refused(change: str) -> None:
    encrypted = crypto.encrypt_message("hello", aes_key=KEY, receiver=RECEIVER)
    receiver = "wx0000000000000000" if change == "receiver" else RECEIVER
    if change == "byte":
        encrypted = encrypted[:-10] + ("A" if encrypted[-10] != "A" else "B") + encrypted[-9:]
    if change == "short":
        encrypted = encrypted[:20]
    if change == "text":
        encrypted = "not base64!"
    with pytest.raises(crypto.CryptoError):
        crypto.decrypt_message(encrypted, aes_key=KEY, receiver=receiver)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://mp.weixin.qq.com?params=value", "0f9de62fce790f9a083d5c99e95740ceb90c27ed"),
        ("http://mp.weixin.qq.com#part", "f4d90daf4b3bca3078ab155816175ba34c443a7b"),
    ],
)
def test_the_published_page_signature(url: str, wanted: str) -> None:
    ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
    given = crypto.js_signature(ticket=ticket, noncestr="Wm3WZYTPz0wzccnW", timestamp="1414587457", url=url)
    assert given == wanted


def test_the_published_pay_resource_is_opened() -> None:
    resource = {
        "nonce": "wCq51qZv4Yfg",
        "associated_data": "Dl56FrqWQJF1t9LtC3vEUsniZKvbqdR8",
        "ciphertext": "FsdXzxryWfKwvLJKf8LG/ToRPTRh8RN9wROC",
    }
    assert crypto.unseal(resource, apiv3_key="testAPIv3Key0000") == "Hello World"
    assert crypto.unseal(crypto.seal("你好", apiv3_key="k" * 32, aad="x"), apiv3_key="k" * 32) == "你好"


def test_a_text_cannot_leave_its_cdata() -> None:
    assert crypto.xml_of({"A": "]]><B>", "N": 1}).startswith(
        "<xml><A><![CDATA[]]]]><![CDATA[><B>]]></A><N>1</N>"
    )
