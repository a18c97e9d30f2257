"""The server's own door: notices take the short way in, everything else the long one."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from config.wsgi import SHOPPING_LAYERS, application


@pytest.fixture(autouse=True)
def no_closing_of_connections() -> Iterator[None]:
    """A real request closes old connections around itself; here that would be another test's."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def asked(path: str, method: str = "GET") -> tuple[str, dict[str, str]]:
    answer: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answer.update(status=status, headers=dict(headers))

    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    list(application(environ, start))
    return answer["status"], answer["headers"]


def test_a_notice_is_answered_logged_and_numbered_without_the_pages_middleware() -> None:
    status, headers = asked("/wechat/nowhere/")
    assert status.startswith("404")
    assert headers["X-Request-ID"]
    assert "Content-Security-Policy" not in headers


def test_buyers_of_hot_offers_come_in_without_them_too() -> None:
    status, headers = asked("/buy/1/")
    assert status.startswith("405")  # only a form may buy
    assert headers["X-Request-ID"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" not in headers


def test_everything_else_goes_through_all_of_it() -> None:
    status, headers = asked("/healthz")
    assert status.startswith("200")
    assert "Content-Security-Policy" in headers


def test_shoppers_pages_keep_every_guard_on_their_short_way() -> None:
    status, headers = asked("/checkout/")
    assert status.startswith("302")  # to the login, which comes back here
    long_status, long_headers = asked("/me/")
    assert long_status.startswith("302")
    assert headers.keys() == long_headers.keys()
    assert headers["Content-Security-Policy"] == long_headers["Content-Security-Policy"]
    assert asked("/checkout/", "POST")[0].startswith("403")  # without the form's token
    assert asked("/cart")[0].startswith("301")
    assert asked("/search/nowhere/")[0].startswith("404")


def test_a_new_layer_is_not_forgotten_on_the_short_way() -> None:
    for_staff = {
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django_htmx.middleware.HtmxMiddleware",
        "config.middleware.EditHistory",
        "axes.middleware.AxesMiddleware",
    }
    assert list(SHOPPING_LAYERS) == [layer for layer in settings.MIDDLEWARE if layer not in for_staff]
