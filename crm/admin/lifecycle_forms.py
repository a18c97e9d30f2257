"""The form in which an operator says what the stages mean."""

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.money import fen_from_yuan, yuan
from crm.models import LifeDefinition


def level(label: Any, help_text: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        min_value=Decimal("0.01"),
        max_value=100,
        decimal_places=2,
        max_digits=5,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )


def ends(label: Any, help_text: Any) -> forms.CharField:
    return forms.CharField(
        label=label, help_text=help_text, max_length=80, required=False, widget=UnfoldAdminTextInputWidget()
    )


class DefinitionForm(forms.Form):
    """Levels in percent, ends as four numbers; what they mean is decided by `crm.lifecycle.check_definition`."""

    cooling = level(
        gettext_lazy("Cooling below, %"), gettext_lazy("At or above it: active, or new after one purchase.")
    )
    dormant = level(gettext_lazy("Dormant below, %"), "")
    lost = level(gettext_lazy("Lost below, %"), "")
    bands = forms.ChoiceField(
        label=gettext_lazy("Bands of RFM"), choices=LifeDefinition.METHODS, widget=UnfoldAdminSelectWidget()
    )
    days_ends = ends(
        gettext_lazy("Days since the last purchase"),
        gettext_lazy("Four ends, smallest first. Only for fixed ends."),
    )
    purchases_ends = ends(gettext_lazy("Number of purchases"), "")
    spend_ends = ends(gettext_lazy("Amount in yuan"), "")
    note = forms.CharField(
        label=gettext_lazy("Why"), max_length=200, required=False, widget=UnfoldAdminTextInputWidget()
    )

    def clean_days_ends(self) -> list[int]:
        return self._numbers("days_ends", int)

    def clean_purchases_ends(self) -> list[int]:
        return self._numbers("purchases_ends", int)

    def clean_spend_ends(self) -> list[int]:
        return self._numbers("spend_ends", fen_from_yuan)

    def _numbers(self, name: str, read: Any) -> list[int]:
        words = str(self.cleaned_data[name]).replace("，", " ").replace(",", " ").split()
        try:
            numbers = [read(word) for word in words]
        except ValueError:
            raise forms.ValidationError(_("Give four numbers, with blanks between them.")) from None
        if len(numbers) not in (0, 4):
            raise forms.ValidationError(_("Give four numbers, with blanks between them."))
        return numbers

    def values(self) -> dict[str, Any]:
        """What `define_stages` takes."""
        given = self.cleaned_data

        def bps(name: str) -> int:
            return int(given[name] * 100)

        return {
            "cooling_below_bps": bps("cooling"),
            "dormant_below_bps": bps("dormant"),
            "lost_below_bps": bps("lost"),
            "bands": given["bands"],
            "days_ends": given["days_ends"] or None,
            "purchases_ends": given["purchases_ends"] or None,
            "spend_ends_fen": given["spend_ends"] or None,
            "note": given["note"],
        }


def initial_of(definition: LifeDefinition) -> dict[str, Any]:
    def percent(bps: int) -> str:
        return f"{Decimal(bps) / 100:f}".rstrip("0").rstrip(".") if bps % 100 else str(bps // 100)

    return {
        "cooling": percent(definition.cooling_below_bps),
        "dormant": percent(definition.dormant_below_bps),
        "lost": percent(definition.lost_below_bps),
        "bands": definition.bands,
        "days_ends": " ".join(map(str, definition.days_ends)),
        "purchases_ends": " ".join(map(str, definition.purchases_ends)),
        "spend_ends": " ".join(
            yuan(end).replace(",", "").removesuffix(".00") for end in definition.spend_ends_fen
        ),
    }
