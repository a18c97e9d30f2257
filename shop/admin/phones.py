"""Whole phone numbers on the shop's pages of facts: for whom may see them, and every look is kept."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from core.admin import ReadOnlyAdmin
from core.secrets import masked_phone
from crm import services as crm_services


def note_look(request: HttpRequest, *, subject: str, member_id: int | None) -> None:
    """A whole number is shown to this user: who saw it is kept."""
    crm_services.record_phone_look(user=request.user, subject=subject, page=request.path, member_id=member_id)


class PhonesAdmin(ReadOnlyAdmin):
    """Rows with `phone` and `member`. Who may see it is said on the row: the page itself is one for all threads."""

    def phone_subject(self, row: Any) -> str:
        """What the number stands on, as a subject of the timeline."""
        raise NotImplementedError

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None and row.phone and request.user.has_perm("crm.view_phone"):
            row.shows_phone = True
            request.__dict__["_shows_phone"] = row
        return row

    @admin.display(description=_("phone"))
    def phone_shown(self, row: Any) -> str:
        if not row.phone:
            return "–"
        return str(row.phone) if getattr(row, "shows_phone", False) else masked_phone(row.phone)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().changeform_view(request, *args, **kwargs)
        row = request.__dict__.pop("_shows_phone", None)
        if row is not None and response.status_code == 200:
            note_look(request, subject=self.phone_subject(row), member_id=row.member_id)
        return response
