"""Health, metrics and the pages for what went wrong."""

from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from core import metrics as figures

_migrated = False


def healthz(request: HttpRequest) -> HttpResponse:
    """This process is alive; asks nobody."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """Can this process serve: database, cache and migrations, each with its own verdict; 503 when one is not."""
    global _migrated
    checks: dict[str, str] = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        checks["database"] = "ok"
        if not _migrated:
            executor = MigrationExecutor(connection)
            _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        checks["migrations"] = "ok" if _migrated else "pending"
    except Exception as error:
        checks["database"] = type(error).__name__
    try:
        cache.set("readyz", 1, 5)
        checks["cache"] = "ok"
    except Exception as error:
        checks["cache"] = type(error).__name__
    ready = all(verdict == "ok" for verdict in checks.values())
    return JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(figures.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _problem(
        request, 404, _("This page is not here"), _("The link may be old. The shop itself is open.")
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _problem(
        request, 403, _("This is not open to you"), _("Log in with another account, or ask the shop.")
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form's token is missing or old: a page left open over night, a login in another window, cookies off."""
    return _problem(
        request,
        403,
        _("This page was open for too long"),
        _("Nothing was done. Go back, reload the page and try again; cookies must be allowed."),
    )


def server_error(request: HttpRequest) -> HttpResponse:
    return _problem(
        request,
        500,
        _("Something went wrong on our side"),
        _("Nothing was charged by this page. Please try again."),
    )


def _problem(request: HttpRequest, status: int, title: str, advice: str) -> HttpResponse:
    request_id = getattr(request, "request_id", "")
    if request.path.startswith("/api/"):
        return JsonResponse({"code": str(status), "message": title, "request_id": request_id}, status=status)
    context = {"title": title, "advice": advice, "request_id": request_id}
    return render(request, "core/problem.html", context, status=status, using="jinja2")
