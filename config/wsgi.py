"""The web server's door. Platforms' notices, and buyers of hot offers, take a short way in: they need no session, user,
message or page. So do the pages that shoppers see most: they know members, not staff, and nothing of the admin is laid
around them.
"""

import gc
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

NOTICES, HOT = "/wechat/", "/buy/"
HOT_PATH = re.compile(r"/buy/([0-9]{1,18})/")

everything = get_wsgi_application()

# Settings must be loaded before these.
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.middleware.security import SecurityMiddleware  # noqa: E402
from django.urls import ResolverMatch, resolve  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

from core.middleware import RequestLog  # noqa: E402
from shop.pages.hot import buy  # noqa: E402

HOT_MATCH = ResolverMatch(buy, (), {}, url_name="buy", namespaces=["shop"])

# Of settings.MIDDLEWARE, what a shopper's page needs, in the same order: not the staff's sessions, logins, messages
# and edit history, and not the static files, which have addresses of their own.
SHOPPING_LAYERS = (
    "core.middleware.RequestLog",
    "core.nul.WithoutNul",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.ContentPolicy",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "crm.middleware.MemberSession",
)
SHOPPING = frozenset({"", "category", "search", "p", "cart", "checkout"})  # first words of addresses
PLAIN = frozenset({"/", "/category/", "/search/", "/cart/", "/checkout/"})


@cache
def _where(path: str) -> ResolverMatch:
    return resolve(path)


class NoticeHandler(WSGIHandler):
    """Django without the middleware that only pages need; every request is still logged and counted."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        self._middleware_chain = convert_exception_to_response(RequestLog(view))  # type: ignore[arg-type]


class ShoppingHandler(WSGIHandler):
    """Django with the layers that shoppers' pages need; none of these pages knows `request.user` or a session."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        for layer in reversed(SHOPPING_LAYERS):
            made = import_string(layer)(handler)
            if hasattr(made, "process_view"):
                self._view_middleware.insert(0, made.process_view)
            handler = convert_exception_to_response(made)
        self._middleware_chain = handler

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Where addresses without a variable lead is looked up once, not among all addresses at each request."""
        if request.path_info not in PLAIN:
            return super().resolve_request(request)
        request.resolver_match = _where(request.path_info)
        return request.resolver_match


class HotHandler(WSGIHandler):
    """For `shop.pages.hot.buy`, which checks cookie and form itself; browsers get the headers of every other page.

    A crowd comes at one moment, so what Django does around a view is left out: the path is the only one of this door,
    nobody is told that a request begins and ends (`shop.services.hot` looks after its own connections), and its view
    belongs to no middleware.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        secured: Any = SecurityMiddleware(convert_exception_to_response(self._bought))
        self._middleware_chain = convert_exception_to_response(RequestLog(secured))

    def _bought(self, request: HttpRequest) -> HttpResponse:
        offer = HOT_PATH.fullmatch(request.path_info)
        if offer is None:
            return self._get_response(request)  # type: ignore[attr-defined]
        request.resolver_match = HOT_MATCH
        return buy(request, int(offer[1]))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        response: Any = self.get_response(self.request_class(environ))
        headers = [
            *response.items(),
            *(("Set-Cookie", one.OutputString()) for one in response.cookies.values()),
        ]
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        return [response.content]


notices, hot, shopping = NoticeHandler(), HotHandler(), ShoppingHandler()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith(NOTICES):
        handler: WSGIHandler = notices
    elif path.startswith(HOT):
        handler = hot
    else:
        handler = shopping if path[1:].partition("/")[0] in SHOPPING else everything
    return handler(environ, start_response)


# What is loaded by now stays until the process ends: the collector need not walk through it again and again, for
# each walk holds up the requests of this process.
gc.collect()
gc.freeze()
