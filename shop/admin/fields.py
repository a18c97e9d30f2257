"""What operators type: yuan instead of fen, and a variant's properties as text."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from core import money
from core.errors import Refusal
from crm import services as crm_services
from shop import queries


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


class TenthsField(forms.CharField):
    """Shows and reads what remains to be paid in tenths ("8.5" is 八五折); its value is the rate taken off in bps."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "size": 5}))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        return f"{(10_000 - value) / 1_000:.2f}".rstrip("0").rstrip(".") if value else ""

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        if not text:
            return 0
        try:
            tenths = Decimal(text)
        except InvalidOperation:
            tenths = Decimal(-1)
        if not tenths.is_finite() or not 0 <= tenths < 10 or tenths * 1_000 % 1:
            raise forms.ValidationError(
                _("Enter what remains to be paid, such as 8.5 for 15 % off, or 0 for free.")
            )
        return 10_000 - int(tenths * 1_000)

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


def category_field(field: Any, allowed: Collection[int] | None = None) -> Any:
    """A choice of categories, each named with its parents ("女装 / 裙装 / 连衣裙"); `allowed`: only these."""
    found = [(pk, path) for pk, path in queries.category_choices() if allowed is None or int(pk) in allowed]
    field.choices = [("", "–"), *sorted(found, key=lambda one: one[1])]
    return field


def tiers_named(field: Any) -> None:
    """A field in which tiers are typed says which words are in use: a price for a word that nobody carries is none."""
    words = "、".join(crm_services.tier_words()[:20])
    if words:
        field.help_text = _("%(help)s In use: %(words)s.") % {"help": field.help_text, "words": words}


def new_tiers_said(request: HttpRequest, words: Collection[str]) -> None:
    """Call before saving: warns of words that no member, level, price or promotion has had until now."""
    unknown = sorted(set(words) - set(crm_services.tier_words()))
    if unknown:
        messages.warning(
            request,
            _("No member carries this tier yet: %(words)s. Is it spelt right?")
            % {"words": "、".join(unknown)},
        )
