"""Tags and their groups, each with the number of members who carry it."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import display

from core.admin import BaseAdmin
from crm.models import MemberTag, Tag, TagGroup


class TagInline(TabularInline):
    model = Tag
    fields = ["name", "sort", "is_shared"]
    extra = 1


@admin.register(TagGroup)
class TagGroupAdmin(BaseAdmin):
    list_display = ["name", "sort", "tags_count"]
    search_fields = ["name"]
    inlines = [TagInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TagGroup]:
        return super().get_queryset(request).annotate(_tags=Count("tags"))

    @display(description=_("tags"))
    def tags_count(self, group: Any) -> int:
        return int(group._tags)


@admin.register(Tag)
class TagAdmin(BaseAdmin):
    list_display = ["name", "group", "members_link", "is_shared", "sort"]
    list_filter = ["group", "is_shared"]
    list_select_related = ["group"]
    search_fields = ["name", "group__name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tag]:
        carried = MemberTag.objects.filter(tag=OuterRef("pk")).order_by().values("tag")
        counted = carried.annotate(n=Count("pk")).values("n")
        return (
            super()
            .get_queryset(request)
            .annotate(_members=Coalesce(Subquery(counted, output_field=IntegerField()), 0))
        )

    @display(description=_("members"))
    def members_link(self, tag: Any) -> str:
        address = reverse("admin:crm_member_changelist") + f"?tag={tag.pk}"
        return format_html('<a class="crm-link" href="{}">{}</a>', address, tag._members)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A tag that somebody carries is taken off first: deleting would silently change segments."""
        if obj is not None and MemberTag.objects.filter(tag=obj).exists():
            return False
        return super().has_delete_permission(request, obj)
