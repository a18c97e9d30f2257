"""The base of every admin page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from unfold.admin import ModelAdmin
from unfold.admin import StackedInline as UnfoldStackedInline
from unfold.admin import TabularInline as UnfoldTabularInline

from core.admin.edits import Edited
from core.admin.forged import Guarded, RelatedFields


class TabularInline(RelatedFields, UnfoldTabularInline):
    """A table of rows in another row's page."""


class StackedInline(RelatedFields, UnfoldStackedInline):
    """Forms of rows in another row's page."""


class BaseAdmin(Edited, Guarded, ModelAdmin):
    """unfold's page with our habits: no full counts on big tables, filters that stay, compressed fields."""

    empty_hint: Any = ""
    """What an empty list says of how its first row comes to be."""

    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = False
    warn_unsaved_form = True
    compressed_fields = True
    preserve_filters = True

    def to_page(self, object_id: object) -> HttpResponse:
        """What a dialog answers when its work is done: the browser goes to this record's own page, read anew."""
        address = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseClientRedirect(reverse(address, args=[object_id]))


class ReadOnlyAdmin(BaseAdmin):
    """Facts: to look at, never to edit."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
