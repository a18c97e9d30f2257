"""The web server's door. Platforms' notices, and buyers of hot offers, take a short way in: they need no session, user,
message or page.
"""

import gc
import os
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

NOTICES, HOT = "/wechat/", "/buy/"

everything = get_wsgi_application()

from django.middleware.security import SecurityMiddleware  # noqa: E402

from core.middleware import RequestLog  # noqa: E402  settings must be loaded before it


class NoticeHandler(WSGIHandler):
    """Django without the middleware that only pages need; every request is still logged and counted."""

    within: type | None = None

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        if self.within is not None:
            view = self.within(view)
        self._middleware_chain = convert_exception_to_response(RequestLog(view))  # type: ignore[arg-type]


class HotHandler(NoticeHandler):
    """For `shop.pages.hot`, which checks cookie and token itself; browsers get the headers of every other page."""

    within = SecurityMiddleware


notices, hot = NoticeHandler(), HotHandler()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    handler = notices if path.startswith(NOTICES) else hot if path.startswith(HOT) else everything
    return handler(environ, start_response)


# What is loaded by now stays until the process ends: the collector need not walk through it again and again, for
# each walk holds up the requests of this process.
gc.collect()
gc.freeze()
