"""The Jinja2 environment of the mobile pages."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.templatetags.static import static
from django.urls import get_urlconf, reverse
from django.utils import translation
from jinja2 import Environment, StrictUndefined
from lucide.jinja import lucide
from markupsafe import Markup

from core import clock, money


# What a page asks for twenty times is worked out once: an icon is parsed and written as XML each time (60 µs), an
# address is looked for among all of the house, a file's name is joined and quoted, a word goes through every catalogue.
@cache
def icon(name: str, **attributes: Any) -> Markup:
    return Markup(lucide(name, **attributes))  # noqa: S704  an icon of the library


@lru_cache(maxsize=4096)
def _address(name: str, args: tuple[Any, ...], urlconf: str | None) -> str:
    return reverse(name, args=args, urlconf=urlconf)


def url(name: str, args: Sequence[Any] = ()) -> str:
    return _address(name, tuple(args), get_urlconf())


@lru_cache(maxsize=8192)
def _words(language: str | None, text: str) -> Markup:
    return Markup(translation.gettext(text)) % {}  # noqa: S704  our own words; %% is one %


def words(text: str, **values: Any) -> Markup:
    """`_` in templates: the text in the language of now; values are escaped as they are put in."""
    if values:
        return Markup(translation.gettext(text)) % values  # noqa: S704  our own words
    return _words(translation.get_language(), text)


def environment(**options: Any) -> Environment:
    """Strict about unknown names; `_` translates; filters: yuan, local_time, local_day."""
    # Django's backend brings an `undefined` of its own, by DEBUG: ours wins, in every house.
    env = Environment(**{**options, "undefined": StrictUndefined})  # noqa: S701  Django's backend passes autoescape=True
    env.install_gettext_callables(translation.gettext, translation.ngettext, newstyle=True)  # type: ignore[attr-defined]
    env.globals.update(
        static=static if settings.DEBUG else cache(static), url=url, icon=icon, settings=settings, _=words
    )
    env.filters.update(
        yuan=money.yuan,
        local_time=lambda moment: f"{clock.local(moment):%Y-%m-%d %H:%M}",
        local_day=lambda moment: f"{clock.local(moment):%Y-%m-%d}",
    )
    return env
