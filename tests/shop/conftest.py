"""A sandbox of the platforms for the shop's tests, started once, and an open window for messages."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps

from core import clock
from tests.sandbox.conftest import Sandbox, free_port, start_sandbox
from tests.shop import builders


@pytest.fixture
def wechat_window(db: None) -> None:
    """The buyer "o-test" wrote to the account a moment ago."""
    apps.get_model("wechat", "ReplyWindow").objects.create(
        account=builders.official_account(),
        openid="o-test",
        trigger="message",
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=48),
        remaining=5,
    )


@pytest.fixture(scope="session")
def platform_server() -> Iterator[Sandbox]:
    port = free_port()
    process = start_sandbox(port, "--no-demo-accounts", shop_base=f"http://127.0.0.1:{free_port()}")
    yield Sandbox(f"http://127.0.0.1:{port}")
    process.terminate()
    process.wait(60)


@pytest.fixture
def platform(platform_server: Sandbox, db: None) -> Sandbox:
    """WeChat Pay and a service account at the sandbox, known to the shop under the key "brand"."""
    platform_server.post("reset", accounts=True)
    brand = platform_server.account(events=False)
    merchant = platform_server.account("pay", appid=brand["appid"])
    accounts = apps.get_model("wechat", "Account").objects
    accounts.create(
        kind="service",
        key="brand",
        appid=brand["appid"],
        secret=brand["secret"],
        api_base=platform_server.base,
    )
    fields = (
        *("appid", "mchid", "merchant_key", "merchant_serial"),
        *("apiv3_key", "public_key", "public_key_id"),
    )
    accounts.create(
        kind="pay",
        key="brand",
        api_base=platform_server.base,
        **{name: merchant[name] for name in fields},
    )
    return platform_server


@pytest.fixture
def buyer(platform: Sandbox) -> dict[str, Any]:
    """A person at the sandbox and the member she is: {"person", "member"}."""
    person = platform.person()
    appid = builders.official_account().appid
    return {"person": person, "member": builders.member(openid=person["openids"][appid])}
