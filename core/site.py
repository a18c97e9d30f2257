"""The admin site."""

from typing import Any

from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import PermissionDenied
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest
from django.utils.functional import SimpleLazyObject
from unfold.sites import UnfoldAdminSite


class Choices(AutocompleteJsonView):
    """Django's, for fields that choose: a relation seen from its other end has no choices, and breaks it."""

    def process_request(self, request: HttpRequest) -> Any:
        found = super().process_request(request)
        if not hasattr(found[2], "get_limit_choices_to"):
            raise PermissionDenied
        return found


class Site(UnfoldAdminSite):
    """unfold's, which lists and sorts every model only for the pages that show that list."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """As Django's, worked out when it is first looked at: of our pages only the home without figures does."""
        ask = super().get_app_list
        return SimpleLazyObject(lambda: ask(request, app_label))

    def search(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """unfold's; a page of results that there is not is not found."""
        try:
            return super().search(request, extra_context)
        except InvalidPage as problem:
            raise Http404(str(problem)) from problem

    def autocomplete_view(self, request: HttpRequest) -> Any:
        return Choices.as_view(admin_site=self)(request)
