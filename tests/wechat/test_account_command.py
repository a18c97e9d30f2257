"""`manage.py wechat_account`: idempotent, strict, silent about secrets."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from tests.wechat.conftest import AES_KEY, RECEIVE_ID, TOKEN
from wechat.models import AccessToken, Account

SERVICE = (
    "--appid",
    RECEIVE_ID,
    "--secret",
    "s" * 32,
    "--token",
    TOKEN,
    "--aes-key",
    AES_KEY,
    "--mode",
    "safe",
)


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("wechat_account", *arguments, stdout=output)
    return output.getvalue()


def test_set_twice_is_one_account_and_only_named_fields_change(db: Any) -> None:
    assert "/wechat/oa/brand/" in run("set", "service", "brand", *SERVICE)
    run("set", "service", "brand", *SERVICE)
    run("set", "service", "brand", "--mode", "compatible", "--api-base", "http://127.0.0.1:8100")
    run("set", "service", "brand", "--role", "store")
    account = Account.objects.get()
    assert (account.role, account.secret, account.mode, account.api_base) == (
        "store",
        "s" * 32,
        "compatible",
        "http://127.0.0.1:8100",
    )


def test_another_secret_forgets_the_token(db: Any) -> None:
    run("set", "service", "brand", *SERVICE)
    AccessToken.objects.create(account=Account.objects.get(), kind="access", value="old")
    run("set", "service", "brand", "--name", "香氛")
    assert AccessToken.objects.exists()
    run("set", "service", "brand", "--secret", "t" * 32)
    assert not AccessToken.objects.exists()


def test_pay_reads_its_keys_from_files(db: Any, tmp_path: Path, rsa_keys: dict[str, Any]) -> None:
    merchant, public = tmp_path / "apiclient_key.pem", tmp_path / "pub_key.pem"
    merchant.write_text(rsa_keys["merchant_pem"])
    public.write_text(rsa_keys["platform_public_pem"])
    given = [
        *("--appid", RECEIVE_ID, "--mchid", "1900000001", "--apiv3-key", "k" * 32),
        *("--merchant-serial", "5A" * 20, "--public-key-id", "PUB_KEY_ID_1"),
    ]
    keys = ["--merchant-key", str(merchant), "--public-key", str(public)]
    run("set", "pay", "pay", *given, *keys)
    assert Account.objects.get().merchant_key == rsa_keys["merchant_pem"]
    swapped = ["--merchant-key", str(public), "--public-key", str(merchant)]
    for wrong in (
        swapped,
        ["--merchant-key", str(tmp_path / "missing.pem")],
        ["--public-key", str(merchant)],
    ):
        with pytest.raises(CommandError):
            run("set", "pay", "other", *given, *keys, *wrong)
    assert Account.objects.count() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "service", "x"),
        ("set", "service", "x", *SERVICE, "--aes-key", "short"),
        ("set", "service", "x", *SERVICE, "--aes-key", "!" * 43),
        ("set", "service", "x", *SERVICE, "--token", "a b"),
        ("set", "service", "x", *SERVICE, "--mchid", "1900000001"),
        ("set", "service", "x", *SERVICE, "--api-base", "ftp://x"),
        ("set", "service", "a/b", *SERVICE),
        ("set", "subscription", "brand", *SERVICE),
        ("set", "work", "corp", "--corpid", "ww1", "--secret", "s"),
        ("set", "pay", "pay", "--appid", RECEIVE_ID, "--apiv3-key", "short"),
        ("set", "service", "brand", "--role", "boss"),
        ("set", "pay", "pay", "--role", "store"),
        ("set", "shop", "x"),
    ],
)
def test_what_could_never_work_is_refused_and_nothing_is_written(db: Any, arguments: tuple[str, ...]) -> None:
    run("set", "service", "brand", *SERVICE)
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert str(caught.value)
    assert Account.objects.count() == 1


def test_the_list_shows_no_secret(db: Any) -> None:
    run("set", "service", "brand", *SERVICE)
    listed = run("list")
    assert RECEIVE_ID in listed
    assert "role=official" in listed
    for secret in ("s" * 32, TOKEN, AES_KEY):
        assert secret not in listed


@pytest.mark.parametrize(("kind", "role"), [("service", "boss"), ("pay", "store"), ("service", "")])
def test_the_database_holds_the_role(db: Any, kind: str, role: str) -> None:
    with pytest.raises(IntegrityError):
        Account.objects.create(kind=kind, key="x", role=role)
