"""The ledger to look at: accounts with their newest movements, transfers with their lots."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import clock, ledger
from core.admin.base import ReadOnlyAdmin
from core.models import LedgerAccount, LedgerTransfer


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    list_display = ["kind", "owner_id", "balance", "held"]
    list_filter = ["kind"]
    search_fields = ["=owner_id"]
    search_help_text = _("Number of the owner")
    ordering = ["-pk"]
    fields = ["kind", "owner_id", "total", "held", "movements"]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The page asks for each field several times: what takes a query is fetched once, here."""
        account = super().get_object(request, object_id, from_field)
        if account is not None:
            account.total = ledger.balance_of(kind=account.kind, owner_id=account.owner_id)
            account.newest = [] if account.is_system else ledger.statement(account=account, limit=20)
        return account

    @display(description=_("balance"))
    def total(self, account: Any) -> int:
        return int(account.total)

    @display(description=_("newest movements"))
    def movements(self, account: Any) -> SafeString | str:
        if account.is_system:
            return str(_("The house's account is the sum of its transfers."))
        lines = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            (
                (
                    f"{clock.local(line.posted_at):%Y-%m-%d %H:%M}",
                    line.cause,
                    f"{line.amount:+d}",
                    line.balance,
                )
                for line in account.newest
            ),
        )
        return format_html('<table class="pond-table">{}</table>', lines) if lines else "–"


@admin.register(LedgerTransfer)
class LedgerTransferAdmin(ReadOnlyAdmin):
    list_display = ["cause", "debit", "credit", "amount", "posted_at"]
    list_select_related = ["debit", "credit"]
    search_fields = ["cause__startswith"]
    search_help_text = _("Beginning of the cause")
    ordering = ["-pk"]

    def get_queryset(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        return super().get_queryset(request).select_related("reverses")
