"""What nobody can send from a page of the admin, but an address, a script or a hand-made form can: numbers that name
no row, filters that are none. Django answers most of it; what it answers with a 500 is answered here.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, PAGE_VAR
from django.contrib.admin.widgets import AutocompleteMixin, AutocompleteSelect, AutocompleteSelectMultiple
from django.core.exceptions import FieldError, ValidationError
from django.db import models
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext_lazy as _

from core.errors import Refusal

NOT_THERE = _("That is not there. Perhaps it was deleted.")


def may_name(field: Any, value: Any) -> bool:
    """Whether a row could be called so in this column: "abc", "²" and a number of thirty digits name no row."""
    while field.remote_field:
        field = field.target_field
    try:
        found = field.to_python(value)
        field.run_validators(found)
    except (ValidationError, ValueError, TypeError, OverflowError):
        return False
    return found is not None and not (isinstance(found, int) and found < 1)


class _OnlyPossible(AutocompleteMixin):
    """A choice from very many. Django looks up whatever was sent when it draws a refused form again, "abc" too."""

    def optgroups(self, name: str, value: Iterable[Any], attr: Any = None) -> list[Any]:
        return list(super().optgroups(name, [one for one in value if may_name(self.field, one)], attr))


class PossibleSelect(_OnlyPossible, AutocompleteSelect):
    pass


class PossibleSelectMultiple(_OnlyPossible, AutocompleteSelectMultiple):
    pass


class JSONField(forms.JSONField):
    """A number of five thousand digits is no JSON that Python reads; it says so in another way than Django expects."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except ValueError:
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": value})

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except ValueError:
            return InvalidJSONInput(data)


class RelatedFields:
    """For pages and the tables in them: related rows are chosen with the widgets from above."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if "widget" not in kwargs and db_field.name in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            kwargs["widget"] = PossibleSelect(db_field, self.admin_site, using=kwargs.get("using"))  # type: ignore[attr-defined]
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if "widget" not in kwargs and db_field.name in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            kwargs["widget"] = PossibleSelectMultiple(db_field, self.admin_site, using=kwargs.get("using"))  # type: ignore[attr-defined]
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]


class Guarded(RelatedFields):
    """A page of the admin whose every address refuses what is forged. Comes before the page's other bases."""

    formfield_overrides: Any = {models.JSONField: {"form_class": JSONField}}

    @property
    def urls(self) -> list[Any]:
        addresses = self.get_urls()  # type: ignore[attr-defined]
        for one in addresses:
            if isinstance(one, URLPattern):
                one.callback = self._guarded(one.callback, one.name or "")
        return list(addresses)

    def _guarded(self, view: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The view; a row that cannot be is missed as Django misses one; a refusal that nobody caught is said."""

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            page: Any = self
            if not page.admin_site.has_permission(request):
                return view(request, *args, **kwargs)  # which asks for a login
            asked = kwargs.get("object_id")
            if asked is not None and not may_name(page.opts.pk, asked):
                messages.warning(request, NOT_THERE)
                return HttpResponseRedirect(reverse("admin:index"))  # as Django does
            try:
                return view(request, *args, **kwargs)
            except Refusal as refusal:
                words = refusal.message if refusal.message != refusal.code else NOT_THERE
                messages.error(request, words)
                at_list = name.endswith("_changelist")
                return HttpResponseRedirect(reverse("admin:index") if at_list else self._list_address())

        return guarded

    def _list_address(self) -> str:
        opts = self.opts  # type: ignore[attr-defined]
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Django leads filters that are none to the whole list without a word, and twice to "Database error"."""
        if ERROR_FLAG in request.GET and request.method == "GET":
            if len(request.GET) > 1:
                return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
            messages.warning(
                request, _("The address asked for something that this list cannot show. Here is all of it.")
            )
        answer: HttpResponse = super().changelist_view(request, extra_context)  # type: ignore[misc]
        return answer

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)  # type: ignore[misc]
        except (ValueError, LookupError, FieldError, ValidationError, OverflowError) as problem:
            if set(request.GET) - {PAGE_VAR, ERROR_FLAG}:
                raise IncorrectLookupParameters(problem) from problem
            raise  # nobody asked for anything: the fault is ours

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        key = self.opts.pk  # type: ignore[attr-defined]
        if not all(may_name(key, one) for one in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            messages.warning(request, _("What was chosen is not in this list. Nothing has been changed."))
            return None
        return super().response_action(request, queryset)  # type: ignore[misc]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A form's first values may stand in its address; a moment is read, what is none is left out."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)  # type: ignore[misc]
        moments = {one.name: one for one in self.opts.fields if isinstance(one, models.DateField)}  # type: ignore[attr-defined]
        for name in moments.keys() & initial.keys():
            try:
                initial[name] = moments[name].to_python(initial[name])
            except ValidationError:
                del initial[name]
        return initial
