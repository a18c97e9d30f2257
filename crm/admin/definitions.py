"""State machines of members as pages: what the states mean in versions, who moved between them."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy

from core import clock
from core.admin import BaseAdmin
from core.errors import Refusal
from crm.models import LifeMove

PERIODS = (1, 7, 30)
OUTSIDE = gettext_lazy("outside")
HEATS = 8
VERSIONS_SHOWN = 6

Moves = dict[tuple[str, str], int]
"""(before, after) → members; "" is outside."""


class DefinitionAdmin(BaseAdmin):
    """The list is the overview; a definition is made on a page of its own (`crm_<noun>_define`), never changed."""

    noun: ClassVar[str]
    define_title: ClassVar[Any]
    define_success: ClassVar[Any]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        return [self.page("define", self.define), *super().get_urls()]

    def page(self, name: str, view: Any) -> Any:
        return path(f"{name}/", self.admin_site.admin_view(view), name=f"crm_{self.noun}_{name}")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return HttpResponseRedirect(reverse(f"admin:crm_{self.noun}_define"))

    @property
    def home(self) -> str:
        return reverse(f"admin:crm_{self.opts.model_name}_changelist")

    def overview(self, request: HttpRequest) -> dict[str, Any]:
        """What each overview shows: the period, or the one `day`, that was asked for, the newest versions."""
        asked, today = request.GET.get("days", "30"), clock.today()
        days = int(asked) if asked in {str(period) for period in PERIODS} else 30
        day = _past_day(request.GET.get("day", ""), today)
        since, until = (day, day) if day else (today - dt.timedelta(days=days - 1), today)
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "versions": self.model.objects.select_related("created_by").order_by("-pk")[:VERSIONS_SHOWN],
            "may_define": self.has_add_permission(request),
            "days": None if day else days,
            "day": day,
            "day_before": until - dt.timedelta(days=1),
            "day_after": until + dt.timedelta(days=1) if until < today else None,
            "since": since,
            "until": until,
            "periods": PERIODS,
        }

    def form_for(self, data: Any) -> forms.Form:
        """The form with the definition in force as its beginning."""
        raise NotImplementedError

    def put_in_force(self, form: Any, by_id: int | None) -> None:
        """The command. Raises Refusal."""
        raise NotImplementedError

    def preview(self, form: Any) -> dict[str, Any]:
        """`moves` (lines for the page), `moved` (members), and what else the page says before it is saved. Raises
        Refusal.
        """
        raise NotImplementedError

    def define(self, request: HttpRequest) -> HttpResponse:
        """GET the form; POST looks at how many members would move, POST with `save` puts it in force."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = self.form_for(request.POST or None)
        shown: dict[str, Any] = {"moves": None, "moved": 0}
        if request.method == "POST" and form.is_valid():
            try:
                if "save" in request.POST:
                    self.put_in_force(form, request.user.pk)
                    self.message_user(request, self.define_success, messages.SUCCESS)
                    return HttpResponseRedirect(self.home)
                shown = self.preview(form)
            except Refusal as refusal:
                form.add_error(None, refusal.message)
        context = {
            **self.admin_site.each_context(request),
            "title": self.define_title,
            "opts": self.opts,
            "form": form,
            "home": self.home,
            **shown,
        }
        status = 400 if form.errors else 200
        return TemplateResponse(request, "crm/admin/lifecycle_define.html", context, status=status)


def matrix(moves: Moves, states: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """A line for each state that was left (the last: from outside), a cell for each that was entered; who stayed has no
    heat.
    """
    most = max((count for (before, after), count in moves.items() if before != after), default=0)
    return [
        {
            "label": label,
            "cells": [
                {
                    "count": moves.get((before, after), 0),
                    "same": before == after,
                    "heat": 0 if before == after else heat(moves.get((before, after), 0), most),
                }
                for after in [*(state for state, _label in states), ""]
            ],
        }
        for before, label in [*states, ("", OUTSIDE)]
    ]


def _past_day(typed: str, today: dt.date) -> dt.date | None:
    try:
        day = dt.date.fromisoformat(typed)
    except ValueError:
        return None
    return min(day, today) if day.year > 2000 else None


def balance(
    states: Sequence[tuple[str, Any]], now: dict[str, int], *, moves: Moves, ruled: Moves, later: Moves
) -> list[dict[str, Any]]:
    """A line a state: who stood there at the beginning, came, went, was moved by new definitions (net), stood there at
    the end. `now` less what moved `later` is the end; the beginning follows.
    """

    def net(moved: Moves, state: str) -> int:
        came = sum(count for (_before, after), count in moved.items() if after == state)
        return came - sum(count for (before, _after), count in moved.items() if before == state)

    lines = []
    for state, label in states:
        came = sum(count for (before, after), count in moves.items() if after == state != before)
        end, by_rules = now[state] - net(later, state), net(ruled, state)
        went = came - net(moves, state)
        line = {"label": label, "came": came, "went": went, "ruled": by_rules, "end": end}
        lines.append({**line, "begin": end - by_rules - came + went})
    return lines


def beside(moves_between: Callable[..., Moves], since: dt.date, until: dt.date) -> dict[str, Moves]:
    """What `balance` needs besides what members did: the moves by new definitions, and all that came later."""
    return {
        "ruled": moves_between(since=since, until=until, causes=[LifeMove.RULES]),
        "later": moves_between(since=until + dt.timedelta(days=1), causes=[LifeMove.TIME, LifeMove.RULES]),
    }


def move_lines(moves: Moves, states: Sequence[tuple[str, Any]]) -> list[tuple[Any, Any, int]]:
    """(before, after, members) in words, by the order of the states; who comes from outside first."""
    labels = {**dict(states), "": OUTSIDE}
    ranks = {state: rank for rank, (state, _label) in enumerate(states)}
    ordered = sorted(moves.items(), key=lambda move: (ranks.get(move[0][0], -1), ranks.get(move[0][1], -1)))
    return [(labels[before], labels[after], count) for (before, after), count in ordered]


def heat(count: int, most: int) -> int:
    """0 (nothing) to HEATS, by the square root, so that small squares still differ."""
    return 0 if not count else max(1, round(HEATS * (count / most) ** 0.5))
