"""The base of every admin page."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin


class BaseAdmin(ModelAdmin):
    """unfold's page with our habits: no full counts on big tables, filters that stay, compressed fields."""

    empty_hint: Any = ""
    """What an empty list says of how its first row comes to be."""

    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = False
    warn_unsaved_form = True
    compressed_fields = True
    preserve_filters = True


class ReadOnlyAdmin(BaseAdmin):
    """Facts: to look at, never to edit."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
