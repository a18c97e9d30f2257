"""Addresses: each app names its own pages, this page puts them together."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.static import serve
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from core import pages


def of_app(name: str, door: str = "urls") -> list[Any]:
    return import_module(f"{name}.{door}").urlpatterns if find_spec(f"{name}.{door}") else []


urlpatterns = [
    path("healthz", pages.healthz, name="healthz"),
    path("readyz", pages.readyz, name="readyz"),
    path("metrics", pages.metrics, name="metrics"),
    path("wechat/", include((of_app("wechat"), "wechat"))),
    path("", include((of_app("shop"), "shop"))),
    path("", include((of_app("crm"), "crm"))),
    path("", include((of_app("campaigns"), "campaigns"))),
    path("guide/", include((of_app("community"), "community"))),
    path("admin/", admin.site.urls),
    path(
        "api/v1/",
        include((of_app("crm", "api_urls") + of_app("shop", "api_urls"), "api")),
    ),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]
if settings.SERVE_MEDIA:
    urlpatterns += [path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT})]

handler404 = pages.not_found
handler500 = pages.server_error
handler403 = pages.forbidden
