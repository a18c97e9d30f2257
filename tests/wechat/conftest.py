"""Accounts whose secrets are known, for tests of the doors without a sandbox."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from wechat.models import Account

TOKEN = "QDG6eK"
AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
RECEIVE_ID = "wx5823bf96d3bd56c7"


@pytest.fixture
def official(db: Any) -> Account:
    """A service account in safe mode with the keys of the vendor's published example."""
    return Account.objects.create(
        kind="service",
        key="brand",
        appid=RECEIVE_ID,
        secret="s" * 32,
        token=TOKEN,
        aes_key=AES_KEY,
        mode="safe",
    )


@pytest.fixture
def corp(db: Any) -> Account:
    return Account.objects.create(
        kind="work",
        key="corp",
        corpid=RECEIVE_ID,
        agentid="218",
        secret="s" * 32,
        token=TOKEN,
        aes_key=AES_KEY,
    )


@pytest.fixture(scope="session")
def rsa_keys() -> dict[str, Any]:
    """The merchant's key, WeChat Pay's key, and both as PEM; made once, they are slow."""
    merchant = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    platform = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "merchant": merchant,
        "platform": platform,
        "merchant_pem": merchant.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "platform_public_pem": platform.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    }


@pytest.fixture
def merchant(db: Any, rsa_keys: dict[str, Any]) -> Account:
    return Account.objects.create(
        kind="pay",
        key="pay",
        appid=RECEIVE_ID,
        mchid="1900000001",
        apiv3_key="k" * 32,
        merchant_key=rsa_keys["merchant_pem"],
        merchant_serial="5A" * 20,
        public_key=rsa_keys["platform_public_pem"],
        public_key_id="PUB_KEY_ID_0000000001",
    )


@pytest.fixture(autouse=True)
def no_wake_ups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No worker listens here: wake-ups of notices are counted instead of sent."""
    woken: list[str] = []
    monkeypatch.setattr("wechat.webhooks.wake_now", lambda task, **_: woken.append("notices"))
    return woken


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
