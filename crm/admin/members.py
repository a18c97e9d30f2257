"""Members in the admin: the list that finds anybody, the page that shows everything about one."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import F, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from core.admin import BaseAdmin
from crm import queries, services
from crm.admin import days, fields, filters, picture
from crm.admin.lifecycle_filters import CellFilter, StageFilter, StepFilter
from crm.admin.lists import CappedPaginator, ago, chips, money
from crm.models import Identity, Member, MemberTag, Tag
from crm.queries.touch import zone_named

MOST_AT_ONCE = 5_000
MOST_FOUND = 50
WHOLE_PHONE = 11


class MemberForm(forms.ModelForm):
    """A tier is chosen among the words that have a meaning: a mistyped one would silently give her nothing."""

    tier = forms.ChoiceField(
        label=_("member tier"),
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text=_("Member prices and promotions that name this tier are hers."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        words = [(word, word) for word in services.tier_words()]
        cast(forms.ChoiceField, self.fields["tier"]).choices = [("", _("none")), *words]

    def clean_time_zone(self) -> str:
        name = str(self.cleaned_data["time_zone"]).strip()
        if name and zone_named(name).key != name:
            raise forms.ValidationError(_("There is no such time zone. Example: Asia/Urumqi"))
        return name


@admin.register(Member)
class MemberAdmin(BaseAdmin):
    form = MemberForm
    list_display = [
        "person",
        "orders",
        "paid",
        "last_order",
        "last_active",
        "tag_names",
        "source_name",
        "joined",
    ]
    list_display_links = ["person"]
    list_filter = [
        filters.SegmentFilter,
        filters.TagFilter,
        filters.FollowingFilter,
        filters.RoleFilter,
        filters.SourceFilter,
        filters.LastOrderFilter,
        filters.SpendFilter,
        filters.DormantFilter,
        "joined_via",
        filters.TierFilter,
        StageFilter,
        CellFilter,
        StepFilter,
        days.BirthdayFilter,
        days.AnniversaryFilter,
        days.ProvinceFilter,
        days.DeviceFilter,
    ]
    search_fields = ["name"]
    search_help_text = _("Name, #member number, openid, WeCom number, or a whole phone number")
    ordering = ["-pk"]
    paginator = CappedPaginator
    actions = ["tag_them", "untag_them", "end_their_sessions", "merge_two"]
    fields = ["name", "birthday", "tier", "time_zone", "note"]

    class Media:
        css = {"all": ["crm/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # members are born from what people do

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        tags = MemberTag.objects.select_related("tag").order_by("pk")
        return (
            super()
            .get_queryset(request)
            .filter(merged_into__isnull=True)
            .select_related("stats", "source")
            .prefetch_related(Prefetch("member_tags", queryset=tags))
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Member], search_term: str
    ) -> tuple[QuerySet[Member], bool]:
        """By her number (#42), by an identity's whole value, else by name: only a name reads the whole table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term[0] in "#＃" and term[1:].isdecimal() and len(term) < 19:
            return queryset.filter(pk=int(term[1:])), False
        phone = services.cleaned_phone(term)
        values = [term, *([phone] if phone else [])]
        owners = list(
            Identity.objects.filter(value__in=values).values_list("member_id", flat=True)[:MOST_FOUND]
        )
        if owners or len(phone) >= WHOLE_PHONE:
            return queryset.filter(pk__in=owners), False
        return queryset.filter(name__icontains=term), False

    # --- Columns ---------------------------------------------------------------------------------------------------
    @display(description=_("member"), header=True, ordering="name")
    def person(self, member: Member) -> list[Any]:
        picture = {"path": member.avatar_url, "squared": False} if member.avatar_url else None
        name = member.name or str(_("no name yet"))
        return [
            name,
            f"#{member.pk} · {member.get_joined_via_display()}",
            name[:1],
            *([picture] if picture else []),
        ]

    @display(description=_("orders"), ordering="stats__orders_count")
    def orders(self, member: Member) -> int:
        return member.stats.orders_count

    @display(description=_("paid in all"), ordering="stats__paid_fen")
    def paid(self, member: Member) -> str:
        return money(member.stats.paid_fen)

    @display(description=_("last order"), ordering=F("stats__last_paid_at").desc(nulls_last=True))
    def last_order(self, member: Member) -> str:
        return ago(member.stats.last_paid_at)

    @display(description=_("last active"), ordering=F("stats__last_active_at").desc(nulls_last=True))
    def last_active(self, member: Member) -> str:
        return ago(member.stats.last_active_at)

    @display(description=_("tags"))
    def tag_names(self, member: Member) -> str:
        return chips([carried.tag.name for carried in member.member_tags.all()])

    @display(description=_("source"))
    def source_name(self, member: Member) -> str:
        return member.source.name if member.source else "–"

    @display(description=_("member since"), ordering="created_at")
    def joined(self, member: Member) -> str:
        return ago(member.created_at)

    # --- Actions ---------------------------------------------------------------------------------------------------
    @admin.action(description=_("Add tags…"), permissions=["change"])
    def tag_them(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        return self._change_tags(request, queryset, "tag_them", _("Add tags"), adding=True)

    @admin.action(description=_("Remove tags…"), permissions=["change"])
    def untag_them(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        return self._change_tags(request, queryset, "untag_them", _("Remove tags"), adding=False)

    def _change_tags(
        self, request: HttpRequest, queryset: QuerySet[Member], action: str, title: Any, *, adding: bool
    ) -> HttpResponse | None:
        member_ids = list(queryset.order_by().values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
        if len(member_ids) > MOST_AT_ONCE:
            self.message_user(
                request,
                _("These are more than %(most)d members. Narrow the list by a filter first.")
                % {"most": MOST_AT_ONCE},
                messages.WARNING,
            )
            return None
        chosen = [int(pk) for pk in request.POST.getlist("tags") if pk.isdecimal()]
        if request.POST.get("confirmed") and chosen:
            origin = f"staff:{request.user.pk}"
            change = services.add_tags if adding else services.remove_tags
            count = change(member_ids=member_ids, tag_ids=chosen, origin=origin)
            message = ngettext("%(count)d tag was changed.", "%(count)d tags were changed.", count)
            self.message_user(request, message % {"count": count}, messages.SUCCESS)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "action": action,
            "adding": adding,
            "members_count": len(member_ids),
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
            "tags": Tag.objects.select_related("group"),
            "nothing_chosen": bool(request.POST.get("confirmed")),
        }
        return TemplateResponse(request, "crm/admin/tag_members.html", context)

    @admin.action(description=_("End their logins"), permissions=["change"])
    def end_their_sessions(self, request: HttpRequest, queryset: QuerySet[Member]) -> None:
        count = services.end_sessions(
            member_ids=list(queryset.order_by().values_list("pk", flat=True)[:MOST_AT_ONCE])
        )
        message = ngettext("%(count)d member is logged out.", "%(count)d members are logged out.", count)
        self.message_user(request, message % {"count": count}, messages.SUCCESS)

    @admin.action(description=_("Merge two members…"), permissions=["merge"])
    def merge_two(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        pair = list(queryset.order_by("pk").values_list("pk", flat=True)[:3])
        if len(pair) != 2:
            self.message_user(request, _("Choose exactly two members."), messages.WARNING)
            return None
        query = urlencode({"one": pair[0], "other": pair[1]})
        return HttpResponseRedirect(f"{reverse('admin:crm_membermerge_preview')}?{query}")

    def has_merge_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("crm.add_membermerge"))

    # --- One member ------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        def page(address: str, view: Callable[..., HttpResponse], name: str) -> Any:
            return path(
                f"<int:member_id>/{address}/",
                self.admin_site.admin_view(partial(view, self)),
                name=f"crm_member_{name}",
            )

        return [
            page("tags", picture.change_her_tags, "tags"),
            page("note", picture.note_on_her, "note"),
            page("consent", picture.answer_of_hers, "consent"),
            page("fields", fields.change_her_fields, "fields"),
            page("days", days.change_her_days, "days"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Everything about her; with `?edit` the form of what people write themselves."""
        if request.method != "GET" or "edit" in request.GET:
            return super().change_view(request, object_id, form_url, extra_context)
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        number = int(object_id) if object_id.isascii() and object_id.isdigit() and len(object_id) < 19 else 0
        member = Member.objects.living().select_related("stats", "source").filter(pk=number).first()
        if member is not None:
            return picture.picture_page(self, request, member)
        living = queries.find_member(number)
        if living is not None and living.pk != number:
            self.message_user(request, _("She was merged; this is the living member."), messages.INFO)
            return HttpResponseRedirect(reverse("admin:crm_member_change", args=[living.pk]))
        return super().change_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:
        """A birthday that staff write is the shop's: a guide does not change it."""
        if "birthday" in form.changed_data:
            obj.birthday_from = ""
        super().save_model(request, obj, form, change)

    def response_change(self, request: HttpRequest, obj: Member) -> HttpResponse:
        answer = super().response_change(request, obj)
        if "_continue" in request.POST or "_addanother" in request.POST:
            return answer
        return HttpResponseRedirect(reverse("admin:crm_member_change", args=[obj.pk]))
