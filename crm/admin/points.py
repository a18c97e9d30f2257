"""Points in the admin: the rules of earning, what staff gave or took, each earning with what was taken back."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from core import money
from core.admin import BaseAdmin, ReadOnlyAdmin, TabularInline
from core.errors import Refusal
from crm import queries, services
from crm.admin.lists import CappedPaginator
from crm.admin.subjects import subject_link
from crm.models import Earning, EarningTake, Member, PointsAdjustment, PointsRules
from crm.models.points import GROWTH, POINTS

PAGE = 50


class PointsRulesForm(forms.ModelForm):
    least_yuan = forms.CharField(
        label=_("least amount (¥)"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text=_("Orders whose goods cost less earn nothing. Empty: every order earns."),
    )
    birthday_percent = forms.IntegerField(
        label=_("on birthdays (per cent)"),
        min_value=100,
        max_value=1_000,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("200: twice the points. Growth is not multiplied."),
    )

    class Meta:
        model = PointsRules
        exclude = ["least_fen", "birthday_bps"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["least_yuan"] = money.yuan(self.instance.least_fen).replace(",", "")
        self.initial["birthday_percent"] = self.instance.birthday_bps // 100

    def clean_least_yuan(self) -> int:
        text = self.cleaned_data["least_yuan"] or "0"
        try:
            fen = money.fen_from_yuan(text)
        except ValueError:
            raise forms.ValidationError(
                _("Enter an amount in yuan with at most two decimals, such as 129.00.")
            ) from None
        if fen < 0:
            raise forms.ValidationError(_("An amount cannot be negative."))
        return fen

    def save(self, commit: bool = True) -> Any:
        self.instance.least_fen = self.cleaned_data["least_yuan"]
        self.instance.birthday_bps = self.cleaned_data["birthday_percent"] * 100
        return super().save(commit)


@admin.register(PointsRules)
class PointsRulesAdmin(BaseAdmin):
    form = PointsRulesForm
    fieldsets = [
        (None, {"fields": ["is_active"]}),
        (
            _("Orders"),
            {"fields": [("points_per_100_yuan", "growth_per_100_yuan"), "least_yuan", "freeze_days"]},
        ),
        (_("Birthdays"), {"fields": [("birthday_percent", "birthday_when")]}),
        (_("Expiry"), {"fields": [("months", "remind_days")]}),
        (_("Daily sign-in"), {"fields": ["signin_points", ("streak_days", "streak_points")]}),
        (_("Once"), {"fields": [("review_points", "profile_points")]}),
    ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row: the list is its page. Nothing is earned before somebody has saved it."""
        if PointsRules.objects.filter(pk=1).exists():
            return HttpResponseRedirect(reverse("admin:crm_pointsrules_change", args=[1]))
        return HttpResponseRedirect(reverse("admin:crm_pointsrules_add"))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Here and not as a permission, which every page of the admin asks for its menu."""
        if PointsRules.objects.filter(pk=1).exists():
            raise PermissionDenied
        return super().add_view(request, form_url, extra_context)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AdjustmentForm(forms.ModelForm):
    """The token makes a double click one adjustment."""

    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)

    class Meta:
        model = PointsAdjustment
        fields = ["member", "kind", "amount", "reason"]
        help_texts = {"reason": _("The member reads it in her statement.")}


@admin.register(PointsAdjustment)
class PointsAdjustmentAdmin(ReadOnlyAdmin):
    """Add permission is enough to give and take; nobody changes an adjustment afterwards."""

    empty_hint = _("Points that staff gave or took appear here.")

    form = AdjustmentForm
    list_display = ["member_link", "kind", "signed", "reason", "actor", "at"]
    list_display_links = ["signed"]
    list_filter = ["kind", ("at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["reason", "member__name", "=member__id"]
    search_help_text = _("Reason, member's name or number")
    autocomplete_fields = ["member"]
    ordering = ["-pk"]
    paginator = CappedPaginator

    @display(description=_("member"))
    def member_link(self, row: PointsAdjustment) -> str:
        return statement_link(row.member)

    @display(description=_("amount"), ordering="amount")
    def signed(self, row: PointsAdjustment) -> str:
        return f"{row.amount:+,}"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return (
            ["member", ("kind", "amount"), "reason", "token"]
            if obj is None
            else ["member_link", ("kind", "signed"), "reason", ("actor", "at")]
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["member_link", "signed"]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"member": request.GET.get("member", ""), "kind": request.GET.get("kind", POINTS)}

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("crm.add_pointsadjustment"))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """What the service refuses is said at the form: it is asked inside of its validation, in one transaction
        with the save.
        """
        form = super().get_form(request, obj, change=change, **kwargs)

        class Asking(form):  # type: ignore[valid-type, misc]
            def clean(self) -> dict[str, Any]:
                given: dict[str, Any] = super().clean() or self.cleaned_data
                if obj is None and not self.errors:
                    try:
                        self.booked = services.adjust_points(
                            member_id=given["member"].pk,
                            kind=given["kind"],
                            amount=given["amount"],
                            reason=given["reason"],
                            idempotency_key=given["token"],
                            by=(request.user.get_full_name() if request.user.is_authenticated else "")
                            or request.user.get_username(),
                            user_id=request.user.pk,
                        )
                    except Refusal as refusal:
                        raise forms.ValidationError(refusal.message) from refusal
                return given

        return Asking

    def save_model(self, request: HttpRequest, obj: PointsAdjustment, form: Any, change: bool) -> None:
        obj.pk = form.booked.pk
        messages.success(
            request,
            _("%(amount)s were booked for %(member)s.")
            % {"amount": f"{form.booked.amount:+,}", "member": form.booked.member},
        )

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """The sentence above says more than "was added successfully"."""


class TakeInline(TabularInline):
    model = EarningTake
    fields = ["cause", "from_frozen", "from_balance", "left_owed", "at"]
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OwedFilter(admin.SimpleListFilter):
    title, parameter_name = _("state"), "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("frozen", _("frozen")), ("taken", _("partly taken back")), ("owed", _("owed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Earning]) -> QuerySet[Earning]:
        asked = self.value()
        return queryset.filter(**{f"{asked}__gt": 0}) if asked in ("frozen", "taken", "owed") else queryset


@admin.register(Earning)
class EarningAdmin(ReadOnlyAdmin):
    empty_hint = _("What members earn appears here, once the rules of earning are switched on.")

    list_display = ["member_link", "kind", "about", "given", "taken", "frozen", "owed", "earned_at"]
    list_display_links = ["given"]
    list_filter = ["kind", "source", OwedFilter, ("earned_at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["=cause", "=member__id"]
    search_help_text = _("Cause (order:3) or member number")
    ordering = ["-pk"]
    paginator = CappedPaginator
    inlines = [TakeInline]
    fields = [
        "member_link",
        ("kind", "about"),
        ("given", "taken"),
        ("frozen", "owed"),
        ("earned_at", "due_at"),
        ("months", "basis"),
    ]
    readonly_fields = ["member_link", "about"]

    class Media:
        css = {"all": ["crm/admin.css"]}

    def get_urls(self) -> list[Any]:
        statement = path(
            "of/<int:member_id>/", self.admin_site.admin_view(self.statement), name="crm_earning_statement"
        )
        return [statement, *super().get_urls()]

    @display(description=_("member"))
    def member_link(self, row: Earning) -> str:
        return statement_link(row.member)

    @display(description=_("for"))
    def about(self, row: Earning) -> str:
        link = subject_link(row.cause) if row.source == Earning.ORDER else None
        if link is None or not link.address:
            return row.get_source_display()
        return format_html('<a class="crm-link" href="{}">{}</a>', link.address, link.label)

    def statement(self, request: HttpRequest, member_id: int) -> HttpResponse:
        """A member's points (or `?kind=growth`) line by line, with the balance after each."""
        if not (self.has_view_permission(request) and request.user.has_perm("crm.view_member")):
            raise PermissionDenied
        member = Member.objects.filter(pk=member_id).first()
        if member is None:
            raise Http404
        kind = GROWTH if request.GET.get("kind") == GROWTH else POINTS
        asked = request.GET.get("before", "")
        before = int(asked) if asked.isdecimal() and len(asked) < 18 else None
        rows = queries.points_statement(member.pk, kind=kind, before=before, limit=PAGE + 1)
        lines = [{"move": row, "link": subject_link(row.subject)} for row in rows[:PAGE]]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Points of %(member)s") % {"member": member},
            "opts": self.opts,
            "member": member,
            "kind": kind,
            "balance": queries.points_of(member.pk),
            "lines": lines,
            "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
            "may_adjust": request.user.has_perm("crm.add_pointsadjustment"),
        }
        return TemplateResponse(request, "crm/admin/points_statement.html", context)


def statement_link(member: Member) -> str:
    address = reverse("admin:crm_earning_statement", args=[member.pk])
    return format_html('<a class="crm-link" href="{}">{}</a>', address, member)
