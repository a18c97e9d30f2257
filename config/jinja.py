"""The Jinja2 environment of the mobile pages."""

from typing import Any

from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse
from django.utils import translation
from jinja2 import Environment, StrictUndefined
from lucide.jinja import lucide

from core import clock, money


def environment(**options: Any) -> Environment:
    """Strict about unknown names; `_` translates; filters: yuan, local_time, local_day."""
    # Django's backend brings an `undefined` of its own, by DEBUG: ours wins, in every house.
    env = Environment(**{**options, "undefined": StrictUndefined})  # noqa: S701  Django's backend passes autoescape=True
    env.globals.update(static=static, url=reverse, icon=lucide, settings=settings)
    env.install_gettext_callables(translation.gettext, translation.ngettext, newstyle=True)  # type: ignore[attr-defined]
    env.filters.update(
        yuan=money.yuan,
        local_time=lambda moment: f"{clock.local(moment):%Y-%m-%d %H:%M}",
        local_day=lambda moment: f"{clock.local(moment):%Y-%m-%d}",
    )
    return env
