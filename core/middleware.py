"""One log line per request, with the id that every other line of the request carries too."""

import logging
import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from core import errors, metrics

log = structlog.get_logger("request")
written = logging.getLogger("request")  # asked first: a line that nobody keeps is not put together
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


STAFF = ("/admin/", "/guide/")


class RequestLog:
    """Bind a request id (the proxy's `X-Request-ID` when it is well-formed), log the outcome, feed the metrics.

    What was refused on the way stands in the line by its codes; for staff there is a line even where the page said it
    and went on.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.bind_contextvars(request_id=request_id)
        codes: list[str] = []
        noting = errors.raised.set(codes)
        started = time.perf_counter()
        try:
            response = self.get_response(request)
            seconds = time.perf_counter() - started
            response.headers["X-Request-ID"] = request_id
            view = request.resolver_match.view_name if request.resolver_match else "unmatched"
            metrics.observe_request(
                method=request.method or "", view=view, status=response.status_code, seconds=seconds
            )
            is_said = bool(codes) and request.path_info.startswith(STAFF)
            level = logging.WARNING if response.status_code >= 400 or is_said else logging.DEBUG
            if written.isEnabledFor(level):
                log.log(
                    level,
                    "answered"
                    if level == logging.DEBUG
                    else "refused"
                    if response.status_code < 500
                    else "failed",
                    method=request.method,
                    path=request.path,
                    status=response.status_code,
                    ms=round(seconds * 1000, 1),
                    **({"codes": codes} if codes else {}),
                )
            return response
        finally:
            errors.raised.reset(noting)
            structlog.contextvars.unbind_contextvars("request_id")
