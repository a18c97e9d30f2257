"""Channel codes: made here, shown and downloaded as a PNG, with what came through them day by day."""

import datetime as dt
import io
from typing import Any

import segno
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from core import clock
from core.admin import BaseAdmin
from core.errors import Refusal
from core.wakeups import wake
from crm import queries, services
from crm.models import ChannelCode, ChannelScan

DAYS_SHOWN = 30


class ChannelCodeForm(forms.ModelForm):
    class Meta:
        widgets = {"welcome_text": UnfoldAdminTextareaWidget(attrs={"rows": 3})}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        account = values.get("account")
        if account is not None:
            self.instance.kind = ChannelCode.WORK if account.kind == "work" else ChannelCode.OA
        if self.instance.kind == ChannelCode.WORK:
            staff = values.get("staff")
            if staff is None:
                self.add_error("staff", _("A WeCom code needs the guide whom the customer adds."))
            elif not staff.work_userid:
                self.add_error("staff", _("This guide has no WeCom userid yet."))
        if values.get("welcome_title") and not values.get("welcome_url"):
            self.add_error("welcome_url", _("A link needs an address."))
        return values


@admin.register(ChannelCode)
class ChannelCodeAdmin(BaseAdmin):
    form = ChannelCodeForm
    list_display = ["name", "account", "place", "people", "new_people", "qr_state", "is_active"]
    list_filter = ["account", "store", "is_active"]
    list_select_related = ["account", "store", "staff"]
    search_fields = ["name", "=scene"]
    autocomplete_fields = ["store", "staff", "tags"]
    ordering = ["-pk"]
    actions = ["make_codes"]
    change_form_outer_before_template = "crm/admin/channel_code.html"
    fieldsets = [
        (None, {"fields": [("name", "account"), ("store", "staff"), "tags", "is_active"]}),
        (
            _("Welcome"),
            {
                "fields": [
                    "welcome_text",
                    ("welcome_title", "welcome_description"),
                    ("welcome_url", "welcome_image_url"),
                ],
                "description": _("Sent right after the scan. A text, a link with a picture, or both."),
            },
        ),
    ]

    class Media:
        css = {"all": ["crm/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChannelCode]:
        scans = ChannelScan.objects.filter(code=OuterRef("pk")).order_by().values("code")

        def counted(**only: Any) -> Coalesce:
            number = scans.annotate(n=Count("member", distinct=True, filter=Q(**only))).values("n")
            return Coalesce(Subquery(number, output_field=IntegerField()), 0)

        return super().get_queryset(request).annotate(_people=counted(), _new=counted(is_new=True))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["account", "staff"] if obj is not None and obj.qr_url else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its scans stay facts; switch it off instead

    def save_model(self, request: HttpRequest, obj: ChannelCode, form: Any, change: bool) -> None:
        if not change:
            obj.scene, obj.created_at = services.new_scene(), clock.now()
        super().save_model(request, obj, form, change)
        if not obj.qr_url:
            wake("crm.tasks.make_qr_codes")

    # --- Columns ---------------------------------------------------------------------------------------------------
    @display(description=_("store or guide"))
    def place(self, code: ChannelCode) -> str:
        return " · ".join(str(part) for part in (code.store, code.staff) if part) or "–"

    @display(description=_("people"), ordering="_people")
    def people(self, code: Any) -> str:
        address = reverse("admin:crm_member_changelist") + f"?source={code.pk}"
        return format_html('<a class="crm-link" href="{}">{}</a>', address, code._people)

    @display(description=_("new followers"), ordering="_new")
    def new_people(self, code: Any) -> int:
        return int(code._new)

    @display(description=_("QR code"), label={"ready": "success", "waiting": "info", "refused": "danger"})
    def qr_state(self, code: ChannelCode) -> tuple[str, Any]:
        if code.qr_url:
            return "ready", _("ready")
        return ("refused", _("refused")) if code.qr_error else ("waiting", _("being made"))

    # --- The picture -----------------------------------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=name)

        return [
            page("<int:code_id>/qr.png", self.picture, "crm_channelcode_picture"),
            page("<int:code_id>/make/", self.make, "crm_channelcode_make"),
            *super().get_urls(),
        ]

    def picture(self, request: HttpRequest, code_id: int) -> HttpResponse:
        """The code as a PNG for print (about 1,000 pixels); `?small` for the page."""
        code = ChannelCode.objects.filter(pk=code_id).first()
        if not self.has_view_permission(request, code):
            raise PermissionDenied
        if code is None or not code.qr_url:
            return HttpResponseNotFound(_("This QR code has not been made yet."))
        small = "small" in request.GET
        data = io.BytesIO()
        segno.make(code.qr_url, error="m").save(data, kind="png", scale=8 if small else 28, border=3)
        response = HttpResponse(data.getvalue(), content_type="image/png")
        if not small:
            response.headers["Content-Disposition"] = f'attachment; filename="channel-code-{code.pk}.png"'
        return response

    def make(self, request: HttpRequest, code_id: int) -> HttpResponse:
        """Ask the platform for the code now; this view opens no transaction, the call is not inside one."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            self._make(request, [code_id])
        return HttpResponseRedirect(reverse("admin:crm_channelcode_change", args=[code_id]))

    @admin.action(description=_("Make the QR codes now"), permissions=["change"])
    def make_codes(self, request: HttpRequest, queryset: QuerySet[ChannelCode]) -> None:
        self._make(request, list(queryset.order_by("pk").values_list("pk", flat=True)[:50]))

    def _make(self, request: HttpRequest, code_ids: list[int]) -> None:
        made = 0
        for code_id in code_ids:
            try:
                services.make_qr_code(code_id=code_id)
                made += 1
            except Refusal as error:
                self.message_user(request, error.message, messages.ERROR)
        if made:
            message = ngettext("%(count)d QR code is ready.", "%(count)d QR codes are ready.", made)
            self.message_user(request, message % {"count": made}, messages.SUCCESS)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        code = ChannelCode.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        if code is not None:
            today = clock.today()
            days = queries.code_counts_by_day(
                code.pk, since=today - dt.timedelta(days=DAYS_SHOWN - 1), until=today
            )
            most = max((day.scans for day in days), default=1)
            extra_context = {
                **(extra_context or {}),
                "code": code,
                "days": [{"day": day, "width": round(100 * day.scans / most)} for day in days],
                "days_shown": DAYS_SHOWN,
                "members_address": reverse("admin:crm_member_changelist") + f"?source={code.pk}",
            }
        return super().change_view(request, object_id, form_url, extra_context)
