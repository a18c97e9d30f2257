"""WeChat's bills, and the queue of what differs from our books."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

from core import clock
from core.admin import ReadOnlyAdmin
from core.wakeups import wake
from shop import services
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models import Bill, BillDifference, BillLine


class BillForm(forms.ModelForm):
    class Meta:
        model = Bill
        fields = ["account", "day"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "account" in self.fields:
            self.fields["account"].queryset = self.fields["account"].queryset.filter(kind="pay")  # type: ignore[attr-defined]

    def clean_day(self) -> Any:
        day = self.cleaned_data["day"]
        if day >= clock.today() or (clock.today() - day).days > 90:
            raise forms.ValidationError(_("WeChat keeps bills for three months, and has today's tomorrow."))
        return day


@admin.register(Bill)
class BillAdmin(ReadOnlyAdmin):
    """Bills come by themselves; adding one fetches an earlier day."""

    empty_hint = _("WeChat's bill of a day is fetched the next morning and compared with the payments.")

    form = BillForm
    list_display = [
        "day",
        "account",
        "state",
        "payments_count",
        "paid",
        "refunds_count",
        "back",
        "fee",
        "open",
    ]
    list_filter = ["status", "account"]
    list_select_related = ["account"]
    ordering = ["-day", "-pk"]
    date_hierarchy = "day"
    actions = ["compare_again"]
    paid = yuan_column("payments_fen", _("sum paid"))
    back = yuan_column("refunds_fen", _("sum refunded"))
    fee = yuan_column("fee_fen", _("fee of WeChat Pay"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bill]:
        waiting = Count("differences", filter=Q(differences__resolved_at__isnull=True))
        return super().get_queryset(request).annotate(_open=waiting)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["account", "day"]
        return [
            ("day", "account"), ("status", "compared_at"), ("payments_count", "paid"), ("refunds_count", "back"),
            ("fee", "open"), ("attempts", "next_attempt_at"), "last_error",
        ]  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["paid", "back", "fee", "open"]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("shop.add_bill"))

    def save_model(self, request: HttpRequest, obj: Bill, form: Any, change: bool) -> None:
        bill, _new = services.open_bill(
            account_id=form.cleaned_data["account"].pk, day=form.cleaned_data["day"]
        )
        obj.pk = bill.pk
        wake("shop.tasks.reconcile", queue="bulk")

    @display(
        description=_("status"),
        ordering="status",
        label={"waiting": "warning", "read": "info", "compared": "success"},
    )
    def state(self, bill: Bill) -> tuple[str, str]:
        return bill.status, str(bill.get_status_display())

    @display(description=_("open differences"))
    def open(self, bill: Any) -> str:
        address = f"{reverse('admin:shop_billdifference_changelist')}?bill__id__exact={bill.pk}&open=all"
        return format_html('<a href="{}">{}</a>', address, bill._open)

    def has_compare_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.resolve_billdifference"))

    @admin.action(description=_("Compare again"), permissions=["compare"])
    def compare_again(self, request: HttpRequest, queryset: QuerySet[Bill]) -> None:
        still_open = 0
        with said(request):
            for pk in queryset.exclude(status=Bill.WAITING).values_list("pk", flat=True)[:50]:
                still_open += services.compare_bill(bill_id=pk)
            messages.success(
                request,
                ngettext("%(count)d difference is open.", "%(count)d differences are open.", still_open)
                % {"count": still_open},
            )


class OpenFilter(admin.SimpleListFilter):
    """The queue shows what is open unless asked otherwise."""

    title = _("state")
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("all", _("all")), ("no", _("resolved"))]

    def choices(self, changelist: Any) -> Any:
        shown = list(super().choices(changelist))
        shown[0]["display"] = _("open")
        return iter(shown)

    def queryset(self, request: HttpRequest, queryset: QuerySet[BillDifference]) -> QuerySet[BillDifference]:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() != "no")


class NoteForm(BaseDialogForm):
    note = forms.CharField(label=_("explanation"), max_length=300, widget=UnfoldAdminTextInputWidget())


@admin.register(BillDifference)
class BillDifferenceAdmin(ReadOnlyAdmin):
    empty_hint = _("No difference: WeChat's bills and the payments agree.")
    list_display = [
        "number",
        "bill",
        "what",
        "side",
        "ours",
        "theirs",
        "found_at",
        "resolved_at",
        "why",
    ]
    list_filter = [OpenFilter, "kind", "is_refund"]
    list_select_related = ["bill"]
    search_fields = ["=number"]
    ordering = ["-found_at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        ("number", "bill"), ("kind", "side"), ("ours", "theirs"), ("payment", "found_at"), "bill_line",
        ("resolved_at", "done_by"), "note",
    ]  # fmt: skip
    readonly_fields = ["ours", "theirs", "side", "done_by", "bill_line"]
    actions_detail = ["resolve"]
    ours = yuan_column("ours_fen", _("in the shop"))
    theirs = yuan_column("theirs_fen", _("on the bill"))
    done_by = actor_label

    @display(
        description=_("what"),
        ordering="kind",
        label={"missing_here": "danger", "missing_there": "warning", "amount": "danger"},
    )
    def what(self, difference: BillDifference) -> tuple[str, str]:
        return difference.kind, str(difference.get_kind_display())

    @display(description=_("about"), ordering="is_refund")
    def side(self, difference: BillDifference) -> str:
        return str(_("refund") if difference.is_refund else _("payment"))

    @display(description=_("explanation"))
    def why(self, difference: BillDifference) -> SafeString | str:
        """In one line: the last column of a full list has room for a letter a line."""
        if not difference.note:
            return "–"
        short = Truncator(difference.note).chars(16)
        return format_html('<span class="pond-nowrap" title="{}">{}</span>', difference.note, short)

    @display(description=_("line of the bill"))
    def bill_line(self, difference: BillDifference) -> str:
        name = "out_refund_no" if difference.is_refund else "out_trade_no"
        line = BillLine.objects.filter(bill_id=difference.bill_id, **{name: difference.number}).first()
        if line is None:
            return "–"
        return f"{clock.local(line.at):%Y-%m-%d %H:%M:%S} · {line.transaction_id} · {line.state}"

    def has_resolve_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            request.user.has_perm("shop.resolve_billdifference")
            and str(object_id).isdecimal()
            and BillDifference.objects.filter(pk=object_id, resolved_at__isnull=True).exists()
        )

    @action(
        description=_("Resolve"),
        url_path="resolve",
        icon="task_alt",
        permissions=["resolve"],
        dialog={
            "title": _("Resolve this difference"),
            "description": _("Write down what it was, for whoever looks at the books later."),
            "form_class": NoteForm,
            "form_submit_text": _("Resolve"),
        },
    )
    def resolve(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        with said(request):
            services.resolve_difference(
                difference_id=int(object_id),
                note=form.cleaned_data["note"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("The difference is resolved."))
        return self.to_page(object_id)
