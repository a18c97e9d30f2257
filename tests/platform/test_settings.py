"""Production refuses to start open; development starts with nothing set."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import embedded

Load = Callable[[dict[str, str]], dict[str, Any]]

SERVERS = {"DATABASE_URL": "postgresql://pond:pw@db/pond", "REDIS_URL": "redis://cache:6379/0"}
SAFE = {
    "POND_ENV": "production",
    "SECRET_KEY": "a-long-random-key-of-more-than-forty-characters-0123",
    "ALLOWED_HOSTS": "shop.example.com",
    "PUBLIC_URL": "https://shop.example.com",
    **SERVERS,
}


def test_production_starts_when_everything_is_safe(load_settings: Load) -> None:
    settings = load_settings(SAFE)
    assert settings["DEBUG"] is False
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["CSRF_COOKIE_SECURE"] is True
    assert settings["SESSION_COOKIE_HTTPONLY"] is True
    assert settings["SECURE_HSTS_SECONDS"] > 0
    assert settings["SERVE_MEDIA"] is False
    assert settings["PAGE_POLICY"]["frame-ancestors"] == ["'none'"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"DEBUG": "1"}, "DEBUG must be off"),
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SANDBOX_URL": "http://127.0.0.1:8100"}, "sandbox"),
        ({"CLOCK_FILE": "var/clock.json"}, "sandbox"),
        ({"COOKIE_SECURE": "0"}, "COOKIE_SECURE"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS"),
        ({"PUBLIC_URL": "http://shop.example.com"}, "https"),
        ({"SMS_PROVIDER": "sandbox"}, "SMS_PROVIDER must be tencent"),
        (
            {"SMS_PROVIDER": "tencent", "TENCENT_SMS_URL": "http://sms"},
            "SIGN_NAME must be set.* https address",
        ),
        ({"DATABASE_URL": ""}, "DATABASE_URL and REDIS_URL"),
        ({"REDIS_URL": ""}, "DATABASE_URL and REDIS_URL"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_production_refuses(load_settings: Load, change: dict[str, str], complaint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=complaint):
        load_settings({**SAFE, **change})


@pytest.mark.parametrize("name", [name for name in SAFE if name != "POND_ENV"])
def test_production_refuses_what_is_not_set_at_all(load_settings: Load, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="refuses to start in production"):
        load_settings({key: value for key, value in SAFE.items() if key != name})


def test_the_key_of_development_is_refused_in_production(load_settings: Load) -> None:
    default = load_settings(SERVERS)["SECRET_KEY"]
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        load_settings({**SAFE, "SECRET_KEY": default})


def test_a_refusal_names_every_fault_at_once_and_no_secret(load_settings: Load) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        load_settings({**SAFE, "SECRET_KEY": "geheim", "DEBUG": "1", "ALLOWED_HOSTS": "*"})
    told = str(refusal.value)
    assert all(word in told for word in ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"))
    assert "geheim" not in told


def test_switching_debug_off_without_a_word_about_where_means_production(load_settings: Load) -> None:
    with pytest.raises(ImproperlyConfigured):
        load_settings({**SERVERS, "DEBUG": "0"})
    assert load_settings({**SERVERS, "DEBUG": "0", "POND_ENV": "demo"})["DEBUG"] is False


def test_development_starts_with_nothing_set_on_the_embedded_servers(
    load_settings: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def ensure(var: Path) -> embedded.Services:
        asked.append(var)
        return embedded.Services("postgresql://postgres@/pond?host=%2Frun%2Fpg", "unix:///run/v.sock")

    monkeypatch.setattr(embedded, "ensure", ensure)
    settings = load_settings({"POND_VAR": str(tmp_path)})
    assert asked == [tmp_path]
    assert settings["DEBUG"] is True
    assert settings["DATABASES"]["default"]["NAME"] == "pond"
    assert settings["DATABASES"]["default"]["OPTIONS"]["host"] == "/run/pg"
    assert settings["CELERY_BROKER_URL"].startswith("redis+socket:///run/v.sock")
    assert settings["CACHES"]["default"]["LOCATION"] == "unix:///run/v.sock?db=1"


def test_real_servers_are_used_and_nothing_is_started(
    load_settings: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(var: Path) -> embedded.Services:
        raise AssertionError("the embedded servers were asked for")

    monkeypatch.setattr(embedded, "ensure", ensure)
    settings = load_settings(SERVERS)
    assert settings["DATABASES"]["default"]["HOST"] == "db"
    assert settings["CELERY_BROKER_URL"] == "redis://cache:6379/0"


def test_this_very_run_is_a_test_run_and_cannot_reach_a_sandbox() -> None:
    from django.conf import settings

    assert settings.TESTING is True
    assert settings.SANDBOX_URL == ""
    assert os.environ["POND_ENV"] == "test"
