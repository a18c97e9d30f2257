"""Members in the admin: the list that finds anybody, the page that shows everything about one."""

from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import F, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from core.admin import BaseAdmin
from core.secrets import masked_phone
from crm import queries, services
from crm.admin import filters
from crm.admin.lifecycle_filters import CellFilter, StageFilter, life_cards
from crm.admin.lists import CappedPaginator, ago, chips, money
from crm.admin.subjects import subject_link
from crm.models import Activity, Contact, Identity, Member, MemberTag, Staff, Tag, Touch
from crm.queries.consent import consent_answers
from crm.queries.touch import reason_label, zone_named

MOST_AT_ONCE = 5_000


def shown_value(identity: Identity, request: HttpRequest) -> str:
    """An identity as this user may see it."""
    if identity.kind == Identity.PHONE and not request.user.has_perm("crm.view_phone"):
        return masked_phone(identity.value)
    return identity.value


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
        filters.SourceFilter,
        filters.LastOrderFilter,
        filters.SpendFilter,
        filters.DormantFilter,
        "joined_via",
        filters.TierFilter,
        StageFilter,
        CellFilter,
    ]
    search_fields = ["name"]
    search_help_text = _("Name, openid, WeCom number, or a whole phone number")
    ordering = ["-pk"]
    paginator = CappedPaginator
    actions = ["tag_them", "untag_them", "end_their_sessions"]
    fields = ["name", "birthday", "tier", "time_zone", "note"]
    change_form_outer_before_template = "crm/admin/member.html"

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
        """By name, or by an identity's whole value: both without reading the big table row by row twice."""
        term = search_term.strip()
        if not term:
            return queryset, False
        phone = services.cleaned_phone(term)
        values = [term, *([phone] if phone else [])]
        owners = list(Identity.objects.filter(value__in=values).values_list("member_id", flat=True)[:50])
        return queryset.filter(Q(pk__in=owners) | Q(name__icontains=term)), False

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
        chosen = [int(pk) for pk in request.POST.getlist("tags") if pk.isdigit()]
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

    # --- One member ------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        tags = path(
            "<int:member_id>/tags/", self.admin_site.admin_view(self.change_her_tags), name="crm_member_tags"
        )
        return [tags, *super().get_urls()]

    def change_her_tags(self, request: HttpRequest, member_id: int) -> HttpResponse:
        """POST add=ID or remove=ID; back to the member's page."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        origin = f"staff:{request.user.pk}"
        if request.method == "POST":
            for word, change in (("add", services.add_tags), ("remove", services.remove_tags)):
                if (tag_id := request.POST.get(word, "")).isdigit():
                    change(member_ids=[member_id], tag_ids=[int(tag_id)], origin=origin)
        return HttpResponseRedirect(reverse("admin:crm_member_change", args=[member_id]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        member = self.get_object(request, object_id)
        if member is None and object_id.isdigit():
            living = queries.find_member(int(object_id))
            if living is not None and living.pk != int(object_id):
                self.message_user(request, _("She was merged; this is the living member."), messages.INFO)
                return HttpResponseRedirect(reverse("admin:crm_member_change", args=[living.pk]))
        if member is not None:
            extra_context = {**(extra_context or {}), **self._portrait(request, member)}
        return super().change_view(request, object_id, form_url, extra_context)

    def _portrait(self, request: HttpRequest, member: Member) -> dict[str, Any]:
        identities = list(member.identities.select_related("account").order_by("pk"))
        contacts = Contact.objects.filter(
            identity__in=[one for one in identities if one.kind == "external_userid"]
        )
        contact_rows = list(contacts) if any(one.kind == "external_userid" for one in identities) else []
        guides = dict(
            Staff.objects.filter(work_userid__in=[contact.userid for contact in contact_rows]).values_list(
                "work_userid", "name"
            )
        )
        carried = list(member.member_tags.all())
        kind = request.GET.get("kind", "")
        timeline = queries.timeline_of(
            member.pk, kinds=[kind] if kind else [], before=request.GET.get("before", ""), limit=15
        )
        answers = consent_answers(member.pk)
        stats = member.stats
        here = reverse("admin:crm_member_change", args=[member.pk])
        return {
            "member": member,
            "title": member.name or str(member),
            "subtitle": None,
            "cards": [
                (_("orders"), stats.orders_count),
                (_("paid in all"), money(stats.paid_fen)),
                (_("refunded"), money(stats.refunded_fen)),
                (_("last order"), ago(stats.last_paid_at)),
                (_("last active"), ago(stats.last_active_at)),
                (_("visits"), stats.visits_count),
                *life_cards(member.pk),
            ],
            "identities": [
                {
                    "kind": one.get_kind_display(),
                    "account": str(one.account) if one.account else "",
                    "value": shown_value(one, request),
                    "one": one,
                    "is_channel": one.kind in ("openid", "external_userid"),
                }
                for one in identities
            ],
            "contacts": [(guides.get(contact.userid, contact.userid), contact) for contact in contact_rows],
            "carried": carried,
            "tags_left": [
                tag
                for tag in Tag.objects.select_related("group")[:500]
                if tag.pk not in {one.tag_id for one in carried}
            ],
            "consents": list(member.consents.order_by("-at")[:10]),
            "answers": [(label, answers.get(purpose)) for purpose, label in member.consents.model.PURPOSES],
            "touches": [
                {"touch": touch, "link": subject_link(touch.origin), "reason": reason_label(touch.reason)}
                for touch in Touch.objects.filter(member=member).order_by("-at")[:8]
            ],
            "timeline": [{"fact": fact, "link": subject_link(fact.subject)} for fact in timeline.rows],
            "kinds": Activity.KINDS,
            "kind": kind,
            "older": f"{here}?{urlencode({'kind': kind, 'before': timeline.next_key})}"
            if timeline.next_key
            else "",
            "newest": f"{here}?{urlencode({'kind': kind})}" if request.GET.get("before") else "",
            "may_change": self.has_change_permission(request, member),
        }
