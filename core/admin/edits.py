"""Two people edit one record at the same time: who saves second is told so, and nothing of hers is written.

A page that is drawn carries what was read for it: a keyed digest of the values of its own fields, also of the rows
below that can be edited. When the page comes back, the record is locked, read anew and compared. What changes by
itself (counters, derived columns) is no field of the page and does not count. A form without the digest, as scripts
send it, is taken as it comes.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pghistory.core
from django import forms
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import User
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from core import clock

SEEN = "_seen"
"""The hidden input: seconds since 1970 when the page was drawn, a full stop, the digest."""

SLACK = timedelta(minutes=5)
"""A history's moments are the beginnings of transactions, by the database's own clock."""

BY_THEMSELVES = frozenset({"last_login"})
"""Fields of forms that nobody edits."""


def _plain(value: Any) -> Any:
    """A value as text that is the same however often it is read; of related rows their keys."""
    if isinstance(value, list | tuple | QuerySet):
        return [_plain(one) for one in value]
    return str(getattr(value, "pk", value))


def values_of(form: Any) -> list[Any]:
    """What stood in the record when the form was made, of the fields that can be edited: (name, value)."""
    return [
        (name, _plain(form.get_initial_for_field(field, name)))
        for name, field in sorted(form.fields.items())
        if not (field.disabled or name in BY_THEMSELVES)
        and (
            name in form.initial or not callable(field.initial)
        )  # a callable makes a new value for each page
    ]


def digest(model: Any, values: Any) -> str:
    return salted_hmac(f"core.admin.edits.{model._meta.label_lower}", repr(values)).hexdigest()[:32]


def words(since: datetime | None, rows: list[tuple[Any, list[Any]]]) -> str:
    """Whose change it was and when, if a history is kept; rows: (model, keys)."""
    found: list[Any] = []
    if since:
        for model, keys in rows:
            for events in pghistory.core.event_models(tracks_model=model):
                later: Any = events._default_manager.filter(pgh_obj_id__in=keys, pgh_created_at__gte=since)
                found += later.select_related("pgh_context").order_by("-pgh_created_at", "-pgh_id")[:1]
    if not found:
        return _(
            "This record was changed after you opened the page, and what you entered was not saved. "
            "Load the page again to see how it is now, then make your change."
        )
    last = max(found, key=lambda event: event.pgh_created_at)
    key = (last.pgh_context.metadata or {}).get("user") if last.pgh_context else None
    user = User.objects.filter(pk=key).first() if key else None
    return _(
        "This record was changed by %(who)s at %(when)s, after you opened the page, and what you entered was not "
        "saved. Load the page again to see how it is now, then make your change."
    ) % {
        "who": (user.get_full_name() or user.get_username()) if user else _("the system"),
        "when": date_format(clock.local(last.pgh_created_at), "Y-m-d H:i:s"),
    }


class Rows:
    """The rows below a record that this person may edit."""

    def __init__(self, formsets: list[Any]) -> None:
        self.formsets = [one for one in formsets if one.form.base_fields]
        self.forms = [(one.model, form) for one in self.formsets for form in one.initial_forms]
        self.values = [
            (model._meta.label_lower, form.instance.pk, values_of(form)) for model, form in self.forms
        ]

    def keys(self) -> list[tuple[Any, list[Any]]]:
        found: dict[Any, list[Any]] = {}
        for model, form in self.forms:
            found.setdefault(model, []).append(form.instance.pk)
        return list(found.items())


class ComesBack:
    """For the form of a page that says what was seen: refuses when the record is not so any more."""

    request: Any
    instance: Any
    add_error: Any
    has_changed: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.found = values_of(self)  # before cleaning, which writes into the record

    def full_clean(self) -> None:
        super().full_clean()  # type: ignore[misc]
        model, rows = type(self.instance), self.request.edited_rows
        drawn, _point, seen = self.request.POST[SEEN].partition(".")
        if constant_time_compare(seen, digest(model, (self.instance.pk, self.found, rows.values))):
            return
        if not self.has_changed() and not any(one.has_changed() for one in rows.formsets):
            return  # pressed twice: what was entered stands there already
        try:
            at = datetime.fromtimestamp(int(drawn), UTC) - SLACK
        except (ValueError, OverflowError, OSError):
            at = None
        keys = [(model, [self.instance.pk]), *rows.keys()]
        self.add_error(None, words(at, keys))


class ListRow(forms.ModelForm):
    """A row of a list that is edited in the list: each of its fields carries what stood there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.carried = [
            name for name in self.fields if not self.is_bound or self.add_initial_prefix(name) in self.data
        ]
        for name in self.carried:
            self.fields[name].show_hidden_initial = True

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and self.has_changed() and any(self._crossed(name) for name in self.carried):
            self.add_error(None, words(None, []))

    def _crossed(self, name: str) -> bool:
        """Whether somebody else wrote another value meanwhile, which saving this row would overwrite."""
        field, now = self.fields[name], self.initial.get(name)
        seen = field.hidden_widget().value_from_datadict(self.data, self.files, self.add_initial_prefix(name))
        sent = self[name].data
        return field.has_changed(now, seen) and field.has_changed(now, sent)


class Edited:
    """For pages of the admin. Comes before the page's other bases."""

    def _lock(self, keys: list[Any]) -> None:
        model = self.model  # type: ignore[attr-defined]
        if model._meta.managed:
            rows = model._base_manager.using(router.db_for_write(model)).filter(pk__in=keys).order_by("pk")
            list(rows.select_for_update(no_key=True).values_list("pk"))

    def _changeform_view(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: Any
    ) -> HttpResponse:
        """Locks: the record, when it comes back."""
        if object_id is not None and self._comes_back(request):
            self._lock([unquote(object_id)])
        answer: HttpResponse = super()._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[misc]
        return answer

    def _comes_back(self, request: HttpRequest) -> bool:
        return request.method == "POST" and SEEN in request.POST

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        if change and obj is not None and self._comes_back(request):
            return type(form)(form.__name__, (ComesBack, form), {"request": request})
        return form

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)  # type: ignore[misc]
        if change and (request.method != "POST" or SEEN in request.POST):
            pairs = zip(formsets, inlines, strict=True)
            request.edited_rows = Rows(  # type: ignore[attr-defined]
                [one for one, inline in pairs if inline.has_change_permission(request, obj)]
            )
        return formsets, inlines

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """What was refused keeps the digest it came with: it stays refused until the page is read anew."""
        form, obj = context["adminform"].form, context.get("original")
        if request.method == "POST":
            context["seen"] = request.POST.get(SEEN, "") if obj else ""
        elif (
            obj is not None
            and (rows := getattr(request, "edited_rows", None))
            and (form.fields or rows.formsets)
        ):
            values = (obj.pk, values_of(form), rows.values)
            context["seen"] = f"{int(clock.now().timestamp())}.{digest(type(form.instance), values)}"
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[misc]

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return super().get_changelist_form(request, **{"form": ListRow, **kwargs})  # type: ignore[misc]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Locks: the rows that are edited in the list, by key."""
        if request.method != "POST" or "_save" not in request.POST or not self.list_editable:  # type: ignore[attr-defined]
            return super().changelist_view(request, extra_context)  # type: ignore[misc]
        with transaction.atomic(using=router.db_for_write(self.model)):  # type: ignore[attr-defined]
            return super().changelist_view(request, extra_context)  # type: ignore[misc]

    def _get_list_editable_queryset(self, request: HttpRequest, prefix: str) -> Any:
        rows = super()._get_list_editable_queryset(request, prefix)  # type: ignore[misc]
        self._lock(list(rows.values_list("pk", flat=True)))
        return rows.all()
