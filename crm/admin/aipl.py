"""AIPL as a page: how near members are, who moved, day by day; what the steps mean."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget

from core import clock
from core.money import fen_from_yuan, yuan
from crm import queries, services
from crm.admin.definitions import OUTSIDE, DefinitionAdmin, balance, beside, matrix, move_lines
from crm.admin.lifecycle import funnel
from crm.models import AiplDefinition
from crm.models.aipl import INTERESTS, STEPS
from crm.services.aipl import meaning_of

DAYS_SHOWN = 30


def number(label: Any, low: int, high: int, help_text: Any = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        min_value=low,
        max_value=high,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )


class AiplForm(forms.Form):
    interest_kinds = forms.MultipleChoiceField(
        label=gettext_lazy("What shows interest"), choices=INTERESTS, widget=forms.CheckboxSelectMultiple
    )
    interest_facts = number(gettext_lazy("Interested: so many times"), 1, 100)
    interest_days = number(gettext_lazy("Interested: within so many days"), 1, 730)
    bought_days = number(
        gettext_lazy("Bought: within so many days"),
        *(1, 3650),
        gettext_lazy("After that she is interested or aware again, by what she does."),
    )
    loyal_purchases = number(
        gettext_lazy("Loyal: from so many purchases"),
        *(2, 100),
        gettext_lazy("Orders of one day are one purchase; one refunded in full is none."),
    )
    loyal_days = number(gettext_lazy("Loyal: within so many days"), 1, 3650)
    loyal_yuan = forms.CharField(
        label=gettext_lazy("Loyal: and paid at least, in yuan"),
        max_length=16,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text=gettext_lazy("0: the amount does not matter."),
    )
    note = forms.CharField(
        label=gettext_lazy("Why"), max_length=200, required=False, widget=UnfoldAdminTextInputWidget()
    )

    def clean_loyal_yuan(self) -> int:
        try:
            return fen_from_yuan(self.cleaned_data["loyal_yuan"])
        except ValueError:
            raise forms.ValidationError(_("Give an amount in yuan, for example 500.")) from None

    def values(self) -> dict[str, Any]:
        """What `define_aipl` takes."""
        given = dict(self.cleaned_data)
        given["loyal_fen"] = given.pop("loyal_yuan")
        return given


def initial_of(rule: AiplDefinition) -> dict[str, Any]:
    meaning = meaning_of(rule)
    return {**meaning, "loyal_yuan": plain_yuan(meaning.pop("loyal_fen"))}


def plain_yuan(fen: int) -> str:
    return yuan(fen).replace(",", "").removesuffix(".00")


@admin.register(AiplDefinition)
class AiplAdmin(DefinitionAdmin):
    noun = "aipl"
    define_title = gettext_lazy("What the AIPL steps mean")
    define_success = gettext_lazy("The definition is in force. Everybody is judged by it in a minute.")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        shared, today, rule = self.overview(request), clock.today(), queries.aipl_in_force()
        since, until = shared["since"], shared["until"]
        moves = queries.aipl_moves(since=since, until=until)
        counts = queries.aipl_counts()
        context = {
            **shared,
            "title": _("AIPL"),
            "tab": "aipl",
            "funnel": funnel(counts, moves),
            "everybody": sum(counts.values()),
            "matrix": matrix(moves, STEPS),
            "balance": balance(STEPS, counts, moves=moves, **beside(queries.aipl_moves, since, until)),
            "step_words": [*STEPS, ("", OUTSIDE)],
            "by_day": queries.aipl_days(since=today - dt.timedelta(days=DAYS_SHOWN - 1), until=today),
            "rule": rule,
            "loyal_yuan": plain_yuan(rule.loyal_fen) if rule.loyal_fen else "",
            "interests": [label for kind, label in INTERESTS if kind in rule.interest_kinds],
        }
        return TemplateResponse(request, "crm/admin/aipl.html", context)

    def form_for(self, data: Any) -> AiplForm:
        return AiplForm(data, initial=initial_of(queries.aipl_in_force()))

    def put_in_force(self, form: AiplForm, by_id: int | None) -> None:
        services.define_aipl(**form.values(), by_id=by_id)

    def preview(self, form: AiplForm) -> dict[str, Any]:
        found = queries.moves_of_aipl(AiplDefinition(**form.values()))
        return {
            "moves": move_lines(found.moves, STEPS),
            "moved": sum(found.moves.values()),
            "is_about": not found.is_whole,
        }
