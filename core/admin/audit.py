"""The audit as a page: press the button, see every check and what it found."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _

from core import clock
from core.audits import check_names, run_checks

MOST_SHOWN = 50


def audit(request: HttpRequest) -> HttpResponse:
    """GET shows what would be checked, POST checks. Reads only."""
    if not request.user.has_perm("core.view_job"):
        raise PermissionDenied
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Audit"),
        "checks": [{"name": name, "label": label} for name, label in check_names()],
        "ran_at": None,
    }
    if request.method == "POST":
        results = list(run_checks())
        context |= {
            "checks": [
                {"name": name, "label": label, "findings": found[:MOST_SHOWN], "count": len(found)}
                for name, label, found in results
            ],
            "total": sum(len(found) for *_rest, found in results),
            "ran_at": clock.local(clock.now()),
        }
    return TemplateResponse(request, "core/admin/audit.html", context)


def with_audit(get_urls: Any) -> Any:
    """The site's addresses with ours in front of its catch-all."""

    def urls() -> list[Any]:
        return [path("audit/", admin.site.admin_view(audit), name="audit"), *get_urls()]

    return urls


admin.site.get_urls = with_audit(admin.site.get_urls)  # type: ignore[method-assign]
