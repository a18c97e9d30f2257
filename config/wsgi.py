"""The web server's door. Platforms' notices take a short way in: they have no session, user, message or page."""

import gc
import os
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

NOTICES = "/wechat/"

everything = get_wsgi_application()

from core.middleware import RequestLog  # noqa: E402  settings must be loaded before it


class NoticeHandler(WSGIHandler):
    """Django without the middleware that only pages need; every request is still logged and counted."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        self._middleware_chain = convert_exception_to_response(RequestLog(view))  # type: ignore[arg-type]


notices = NoticeHandler()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    handler = notices if environ["PATH_INFO"].startswith(NOTICES) else everything
    return handler(environ, start_response)


# What is loaded by now stays until the process ends: the collector need not walk through it again and again, for
# each walk holds up the requests of this process.
gc.collect()
gc.freeze()
