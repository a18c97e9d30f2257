"""The published vectors of contract section C and D3, and everything that must not open."""

import base64
import secrets

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from wechatpy.crypto import WeChatCrypto

from tests.wechat.conftest import AES_KEY, RECEIVE_ID, TOKEN
from wechat import crypto, envelopes
from wechat.crypto import CallbackCipher, NotAuthentic

V1 = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="


def sealed(plain: bytes) -> str:
    key = base64.b64decode(AES_KEY + "=")
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def framed(message: bytes, receiver: bytes = RECEIVE_ID.encode(), length: int | None = None) -> bytes:
    size = len(message) if length is None else length
    return secrets.token_bytes(16) + size.to_bytes(4, "big") + message + receiver


def padded(plain: bytes) -> bytes:
    pad = 32 - len(plain) % 32
    return plain + bytes((pad,)) * pad


def test_vector_1_opens() -> None:
    crypto.check_signature("5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3", TOKEN, "1409659589", "263014780", V1)
    assert CallbackCipher(AES_KEY).decrypt(V1, RECEIVE_ID) == b"1616140317555161061"


def test_what_wechatpy_seals_opens_here_and_back() -> None:
    sdk = WeChatCrypto(TOKEN, AES_KEY, RECEIVE_ID)
    xml = sdk.encrypt_message("<xml><Content>你好</Content></xml>", "nonce", "1409659589")
    encrypted = envelopes.parse_xml(xml.encode())["Encrypt"]
    assert (
        CallbackCipher(AES_KEY).decrypt(encrypted, RECEIVE_ID).decode()
        == "<xml><Content>你好</Content></xml>"
    )
    reply = CallbackCipher(AES_KEY).encrypt("<xml><Content>好</Content></xml>", RECEIVE_ID)
    signature = crypto.sha1_of_sorted(TOKEN, "1", "n", reply)
    assert "好" in sdk.decrypt_message(f"<xml><Encrypt>{reply}</Encrypt></xml>", signature, "1", "n")


def test_every_padding_byte_counts() -> None:
    plain = padded(framed(b"x" * 10))
    pad = plain[-1]
    assert pad > 2
    for place in range(2, pad + 1):
        spoiled = bytearray(plain)
        spoiled[-place] ^= 1
        with pytest.raises(NotAuthentic):
            CallbackCipher(AES_KEY).decrypt(sealed(bytes(spoiled)), RECEIVE_ID)


@pytest.mark.parametrize(
    "plain",
    [
        padded(framed(b"hello", b"someone-else")),
        padded(framed(b"hello", b"")),
        padded(framed(b"hello", length=500)),
        padded(framed(b"hello", length=2**31)),
        padded(framed(b"hello", length=4)),
        framed(b"hello") + b"\x00" * (64 - len(framed(b"hello"))),
        b"\x21" * 64,
    ],
    ids=["receiver", "no receiver", "length", "huge length", "short length", "zero padding", "padding 33"],
)
def test_a_wrong_frame_does_not_open(plain: bytes) -> None:
    with pytest.raises(NotAuthentic):
        CallbackCipher(AES_KEY).decrypt(sealed(plain), RECEIVE_ID)


@pytest.mark.parametrize("encrypted", ["", "not base64!", "AAAA", "A" * 44])
def test_garbage_does_not_open(encrypted: str) -> None:
    with pytest.raises(NotAuthentic):
        CallbackCipher(AES_KEY).decrypt(encrypted, RECEIVE_ID)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        CallbackCipher(AES_KEY[:-1])


def test_the_pay_vector_opens() -> None:
    resource = {
        "nonce": "wCq51qZv4Yfg",
        "associated_data": "Dl56FrqWQJF1t9LtC3vEUsniZKvbqdR8",
        "ciphertext": "FsdXzxryWfKwvLJKf8LG/ToRPTRh8RN9wROC",
    }
    assert crypto.open_resource(resource, "testAPIv3Key0000") == b"Hello World"
    with pytest.raises(NotAuthentic):
        crypto.open_resource(resource, "testAPIv3Key0001")


def test_the_published_js_signature() -> None:
    from wechat.gateway.official import jssdk_signature

    ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
    for url in ("http://mp.weixin.qq.com?params=value", "http://mp.weixin.qq.com?params=value#part"):
        assert (
            jssdk_signature(ticket, "Wm3WZYTPz0wzccnW", "1414587457", url)
            == "0f9de62fce790f9a083d5c99e95740ceb90c27ed"
        )
    assert (
        jssdk_signature(ticket, "Wm3WZYTPz0wzccnW", "1414587457", "http://mp.weixin.qq.com")
        == "f4d90daf4b3bca3078ab155816175ba34c443a7b"
    )


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><xml><A>&b;</A></xml>',
        b'<!DOCTYPE x SYSTEM "file:///etc/hostname"><xml><A>1</A></xml>',
        b"<xml><A>1</A>",
        b"<xml>text only</xml>",
        b"<a>" * 5000 + b"</a>" * 5000,
        b"[1, 2]",
        b'{"a": ',
        b"plain words",
        b"",
        b"<xml><A>&unknown;</A></xml>",
        b'<?xml version="1.0" encoding="utf-99"?><xml><A>1</A></xml>',
    ],
)
def test_a_body_that_no_platform_sends_is_malformed(body: bytes) -> None:
    with pytest.raises(envelopes.Malformed):
        envelopes.parse(body)


def test_nested_and_repeated_fields() -> None:
    fields = envelopes.parse(
        b"<xml><Event><![CDATA[x]]></Event><Box><List><A>1</A></List><List><A>2</A></List></Box></xml>"
    )
    assert fields == {"Event": "x", "Box": {"List": [{"A": "1"}, {"A": "2"}]}}
    assert envelopes.as_list({"A": "1"}) == [{"A": "1"}]
