"""Tags and their groups, each with the number of members who carry it."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import BaseAdmin, TabularInline
from crm import services
from crm.models import MemberTag, OfficialTag, Tag, TagGroup, WorkTag


def is_kept_by_platforms(tag_id: int) -> bool:
    """Shared with WeCom or an official account: deleted here only, the next reading would bring it back."""
    return any(links._default_manager.filter(tag=tag_id).exists() for links in (WorkTag, OfficialTag))


class TagFormset(BaseInlineFormSet):
    def clean(self) -> None:
        super().clean()
        for form in self.deleted_forms:
            if form.instance.pk and is_kept_by_platforms(form.instance.pk):
                words = _(
                    "“%(name)s” is shared with WeCom or an official account. Stop sharing it, or delete it there first."
                )
                raise ValidationError(words % {"name": form.instance.name})


class TagInline(TabularInline):
    model = Tag
    formset = TagFormset
    fields = ["name", "sort", "is_shared"]
    extra = 1


@admin.register(TagGroup)
class TagGroupAdmin(BaseAdmin):
    """Renaming is told to the platforms that share the tags."""

    list_display = ["name", "sort", "tags_count"]
    search_fields = ["name"]
    inlines = [TagInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TagGroup]:
        return super().get_queryset(request).annotate(_tags=Count("tags"))

    def save_model(self, request: HttpRequest, obj: TagGroup, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "name" in form.changed_data:
            services.note_tags_renamed(group_ids=[obj.pk])

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        renamed = [tag.pk for tag, names in formset.changed_objects if "name" in names]
        if renamed:
            services.note_tags_renamed(tag_ids=renamed)

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

    def save_model(self, request: HttpRequest, obj: Tag, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "name" in form.changed_data:
            services.note_tags_renamed(tag_ids=[obj.pk])

    @display(description=_("members"))
    def members_link(self, tag: Any) -> str:
        address = reverse("admin:crm_member_changelist") + f"?tag={tag.pk}"
        return format_html('<a class="crm-link" href="{}">{}</a>', address, tag._members)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A tag that somebody carries is taken off first: deleting would silently change segments. One that is shared
        is deleted where it is shared.
        """
        if obj is not None and (MemberTag.objects.filter(tag=obj).exists() or is_kept_by_platforms(obj.pk)):
            return False
        return super().has_delete_permission(request, obj)
