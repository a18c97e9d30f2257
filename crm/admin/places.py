"""Stores and staff."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import BaseAdmin
from crm.models import Staff, Store


@admin.register(Store)
class StoreAdmin(BaseAdmin):
    list_display = ["name", "code", "city", "ships_online", "allows_pickup", "online_rank", "is_active"]
    list_filter = ["is_active", "ships_online", "allows_pickup"]
    search_fields = ["name", "code", "address"]
    ordering = ["name"]
    fieldsets = [
        (None, {"fields": [("name", "code"), "is_active"]}),
        (_("Where it is"), {"fields": [("province", "city"), "address", ("latitude", "longitude")]}),
        (
            _("Online orders"),
            {"fields": [("ships_online", "allows_pickup"), ("online_rank", "safety_stock")]},
        ),
    ]


@admin.register(Staff)
class StaffAdmin(BaseAdmin):
    list_display = ["name", "store_name", "work_userid", "user", "is_active"]
    list_filter = ["is_active", "store"]
    list_select_related = ["store", "user"]
    search_fields = ["name", "work_userid"]
    autocomplete_fields = ["store"]
    raw_id_fields = ["user"]
    ordering = ["name"]

    @display(description=_("store"))
    def store_name(self, staff: Staff) -> str:
        return staff.store.name if staff.store else "–"
