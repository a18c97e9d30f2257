"""Actions on many rows that cannot be undone ask once more, with how many rows it is about."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]


def asks_first(advice: Any, *, stays: bool = False) -> Callable[[Action], Action]:
    """For what stands below `@admin.action`: first a page says what will happen (`advice`) and to how many rows; what
    is sent from there carries it out. `stays`: it answers with a file, and the browser stays on that page.
    """

    def decorate(action: Action) -> Action:
        @wraps(action)
        def ask(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
            if request.POST.get("confirmed"):
                return action(model_admin, request, rows)
            name = request.POST.get("action", "")
            context = {
                **model_admin.admin_site.each_context(request),
                "title": dict(model_admin.get_action_choices(request)).get(name, ""),
                "opts": model_admin.opts,
                "advice": advice,
                "stays": stays,
                "count": rows.count(),
                "some": [str(row) for row in rows[:5]],
                "action": name,
                "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "select_across": request.POST.get("select_across", "0"),
                "back": request.get_full_path(),
            }
            return TemplateResponse(request, "core/admin/asks_first.html", context)

        return ask

    return decorate
