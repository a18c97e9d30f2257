"""Middleware that only the whole house can decide: which page gets which content policy, whose edits are recorded."""

from collections.abc import Callable
from typing import Any

import pghistory.middleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse

RECORDED_PREFIXES = ("/admin/", "/api/", "/guide/")


def policy_header(policy: dict[str, list[str]]) -> str:
    return "; ".join(f"{directive} {' '.join(sources)}" for directive, sources in policy.items())


class ContentPolicy:
    """A strict Content-Security-Policy for pages of members and guides, a looser one for the admin's widgets."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.page_policy = policy_header(settings.PAGE_POLICY)
        self.admin_policy = policy_header(settings.ADMIN_POLICY)
        self.framed = bool(settings.SANDBOX_URL)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        staff = request.path_info.startswith(("/admin/", "/api/docs"))
        response.headers.setdefault(
            "Content-Security-Policy", self.admin_policy if staff else self.page_policy
        )
        if staff or not self.framed:
            response.headers.setdefault("X-Frame-Options", "SAMEORIGIN" if staff else "DENY")
        response.headers.setdefault("Permissions-Policy", "geolocation=(), camera=(), microphone=()")
        return response


class EditHistory(pghistory.middleware.HistoryMiddleware):
    """pghistory's context (who, which page) for staff doors only: a shopper's checkout does not pay for it."""

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(RECORDED_PREFIXES):
            return super().__call__(request)
        return self.get_response(request)
