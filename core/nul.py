"""The one character that text may hold and Postgres may not: it means nothing, so it is left out at the door."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict

NUL = "\x00"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class WithoutNul:
    """Leave U+0000 out of a request's path, query and form.

    Doors for machines (those without a CSRF token) read and judge their bodies themselves.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if NUL in request.path_info:
            request.path_info = request.path_info.replace(NUL, "")
            request.path = request.path.replace(NUL, "")
        if "%00" in request.META.get("QUERY_STRING", ""):
            request.GET = _cleaned(request.GET)  # type: ignore[assignment]
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        if (
            request.method != "POST"
            or request.content_type not in FORMS
            or getattr(view, "csrf_exempt", False)
        ):
            return
        if any(NUL in text for _name, texts in request.POST.lists() for text in texts):
            request.POST = _cleaned(request.POST)  # type: ignore[assignment]


def _cleaned(values: QueryDict) -> QueryDict:
    fresh = values.copy()
    for name, texts in values.lists():
        fresh.setlist(name, [text.replace(NUL, "") for text in texts])
    return fresh
