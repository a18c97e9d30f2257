"""What operators type: yuan instead of fen, and a variant's properties as text."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from core import money
from core.errors import Refusal


class YuanField(forms.CharField):
    """Shows and reads yuan ("129.00"); its value is fen."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "size": 9}))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return money.yuan(value).replace(",", "") if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            fen = money.fen_from_yuan(text)
        except ValueError:
            raise forms.ValidationError(
                _("Enter an amount in yuan with at most two decimals, such as 129.00.")
            )
        if fen < 0:
            raise forms.ValidationError(_("An amount cannot be negative."))
        return fen

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class SpecField(forms.CharField):
    """Shows and reads "颜色：雾蓝，尺码：M"; its value is {"颜色": "雾蓝", "尺码": "M"}."""

    def __init__(self, **options: Any) -> None:
        options.setdefault(
            "widget", UnfoldAdminTextInputWidget(attrs={"size": 22, "placeholder": "颜色：雾蓝，尺码：M"})
        )
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return (
            "，".join(f"{key}：{word}" for key, word in value.items()) if isinstance(value, dict) else value
        )

    def clean(self, value: Any) -> dict[str, str]:
        spec: dict[str, str] = {}
        for part in re.split(r"[，,；;]", super().clean(value) or ""):
            if not part.strip():
                continue
            key, found, word = re.sub("：", ":", part).partition(":")
            if not found or not key.strip() or not word.strip():
                raise forms.ValidationError(
                    _("Write property and value with a colon, such as 颜色：雾蓝，尺码：M.")
                )
            spec[key.strip()] = word.strip()
        return spec

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


@contextmanager
def said(request: HttpRequest) -> Iterator[None]:
    """A refusal becomes a message on the page; nothing was written then."""
    try:
        yield
    except Refusal as refusal:
        messages.error(request, refusal.message)


def who(request: HttpRequest) -> str:
    """The operator's name, as logs and movements keep it."""
    return (
        request.user.get_full_name() if request.user.is_authenticated else ""
    ) or request.user.get_username()


ACTORS = {"system": _("the system"), "member": _("buyer")}


@admin.display(description=_("by"))
def actor_label(_admin: Any, row: Any) -> str:
    """A column: an operator's name, or one of the two actors that have none."""
    return str(ACTORS.get(row.actor, row.actor)) or "–"


def yuan_column(name: str, description: Any) -> Callable[[Any, Any], str]:
    """A column or read-only field that shows a fen column in yuan, sortable by it."""

    def show(_admin: Any, row: Any) -> str:
        value = getattr(row, name)
        return "–" if value is None else f"¥{money.yuan(value)}"

    show.short_description = description  # type: ignore[attr-defined]
    show.admin_order_field = name  # type: ignore[attr-defined]
    return show
