"""Points by category."""

from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from core.admin import BaseAdmin
from shop.models import CategoryPoints


class CategoryPointsForm(forms.ModelForm):
    percent = forms.IntegerField(
        label=_("points (per cent)"),
        min_value=0,
        max_value=1_000,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=_("200: twice the points. 0: none. Growth is not multiplied."),
    )

    class Meta:
        model = CategoryPoints
        fields = ["category"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("percent", self.instance.points_bps // 100)

    def save(self, commit: bool = True) -> Any:
        self.instance.points_bps = self.cleaned_data["percent"] * 100
        return super().save(commit)


@admin.register(CategoryPoints)
class CategoryPointsAdmin(BaseAdmin):
    empty_hint = _("Without a row every category earns what the rules of earning say.")

    form = CategoryPointsForm
    list_display = ["category", "percent"]
    list_select_related = ["category"]
    fields = ["category", "percent"]
    ordering = ["category__position", "category_id"]

    @admin.display(description=_("points"), ordering="points_bps")
    def percent(self, row: CategoryPoints) -> str:
        return f"{row.points_bps // 100} %"
