"""Files that are brought in, worked through by a job, and kept with a report of what became of each line."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin.base import BaseAdmin
from core.admin.jobs import progress_bar


class UploadAdmin(BaseAdmin):
    """Rows with `job`, `report` and `created_by`; the form puts the row that its file was brought in as into `made`.

    A row is not changed and not deleted: it has pages of its own, `pages` (name → method), each for `/<pk>/NAME/`.
    """

    list_select_related = ["job"]
    ordering = ["-pk"]
    pages: tuple[str, ...] = ()

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One file at a time, and then its page: the other two ways to save would lead astray."""
        quiet = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **quiet})

    def get_urls(self) -> list[Any]:
        names = (*self.pages, "report")
        own = [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(getattr(self, name)),
                name=self._url_name(name),
            )
            for name in names
        ]
        return [*own, *super().get_urls()]

    def page_of(self, row: Any) -> str:
        """The name of the page on which a row is looked at now."""
        raise NotImplementedError

    def address(self, row: Any, name: str = "") -> str:
        return reverse(f"admin:{self._url_name(name or self.page_of(row))}", args=[row.pk])

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def found(self, request: HttpRequest, pk: int) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(self.model.objects.select_related("job"), pk=pk)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    @display(description=_("progress"))
    def bar(self, row: Any) -> SafeString | str:
        return progress_bar(row.job)

    def figures(self, row: Any, *names: str) -> list[tuple[Any, Any]]:
        """Label and value of columns, for the page of its progress."""
        return [(row._meta.get_field(name).verbose_name, getattr(row, name)) for name in names]

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        form.made.created_by_id = request.user.pk
        form.save_m2m = lambda: None  # there is nothing many-to-many to save
        return form.made

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.save(update_fields=["created_by"])

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(self.address(obj))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not object_id.isdecimal():
            raise Http404
        return HttpResponseRedirect(self.address(self.found(request, int(object_id))))

    def report(self, request: HttpRequest, pk: int) -> HttpResponse | FileResponse:
        row = self.found(request, pk)
        if not row.report:
            return HttpResponseRedirect(self.address(row))
        return FileResponse(row.report.open("rb"), as_attachment=True, filename=self.report_name(row))

    def report_name(self, row: Any) -> str:
        raise NotImplementedError
