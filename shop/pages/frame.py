"""What every page shares: rendering, tabs, WeChat's SDK values, the silent login, and the note that she was here."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache as remembered
from functools import lru_cache, wraps
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import structlog
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from lucide.jinja import lucide
from markupsafe import Markup, escape

from core import clock
from core.errors import Refusal
from crm.queries import device_of
from crm.services import record_activity
from shop import queries
from wechat import queries as wechat_queries
from wechat import services as wechat_services

log = structlog.get_logger("shop.pages")
Page = Callable[..., HttpResponse]

VISIT_GAP = timedelta(minutes=30)
GREETED_COOKIE = "pond_greeted"
GREETED_SECONDS = 1800
FRAGMENT_SECONDS = 2.0
RENDERED_SECONDS = 60.0  # what was rendered of values that did not change since
MAX_KEPT = 1000
MAX_PAGES = 32  # of one kept thing


class Tab(NamedTuple):
    key: str
    label: str
    address: str
    icon: Markup
    test: str


@remembered
def _tabs_in(language: str) -> tuple[Tab, ...]:
    def tab(key: str, label: str, symbol: str, test: str = "") -> Tab:
        picture = lucide(symbol, size=22, stroke_width=1.5, aria_hidden="true")
        name = {"home": "home", "categories": "categories", "cart": "cart", "me": "me"}[key]
        return Tab(key, label, reverse(f"shop:{name}"), Markup(picture), test)  # noqa: S704  our own icon

    return (
        tab("home", _("Home"), "house"),
        tab("categories", _("All categories"), "layout-grid"),
        tab("cart", _("Cart"), "shopping-bag", "tab-cart"),
        tab("me", _("Me"), "user-round", "tab-me"),
    )


def tabs() -> tuple[Tab, ...]:
    return _tabs_in(get_language() or "")


def member_id_of(request: HttpRequest) -> int | None:
    member = getattr(request, "member", None)
    return member.pk if member else None


def show(
    request: HttpRequest, template: str, *, tab: str = "", status: int = 200, **context: Any
) -> HttpResponse:
    """Render a whole page: the tab bar's cart count is one query, and only for members whom `greeted` did not meet."""
    if "cart_count" not in context:
        here = visitor_met(request)
        member_id = member_id_of(request) if here is None else None
        context["cart_count"] = here.cart_count if here else queries.cart_count(member_id) if member_id else 0
    frame = {
        "tab": tab,
        "tabs": tabs,
        "shop_name": settings.SHOP_NAME,
        "notice": context.pop("notice", ""),
        "cart_badge": _badge(get_language(), context["cart_count"]),
        "out_of_band": False,
    }
    return render(request, template, {**frame, **context}, status=status, using="jinja2")


@lru_cache(maxsize=1000)
def _badge(language: str | None, count: int) -> Markup:
    """The number at the cart's tab."""
    context = {"cart_count": count, "out_of_band": False}
    return Markup(render_to_string("shop/cart_count.html", context, using="jinja2"))  # noqa: S704  escaped by Jinja


def show_part(request: HttpRequest, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    """Render what htmx puts into a page."""
    frame = {"tab": "", "tabs": tabs, "shop_name": settings.SHOP_NAME, "out_of_band": False}
    return render(request, template, {**frame, **context}, status=status, using="jinja2")


def problem(
    request: HttpRequest,
    refusal: Refusal,
    *,
    symbol: str = "circle-alert",
    link: str = "",
    label: str = "",
) -> HttpResponse:
    """A refusal as a calm page of its own, with a way on."""
    return show(
        request,
        "shop/problem.html",
        status=refusal.status,
        title=_("That did not work out"),
        advice=refusal.message,
        symbol=symbol,
        link=link or reverse("shop:home"),
        label=label or _("To the front page"),
    )


# --- Pieces that are the same for everybody ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Kept:
    """What a page keeps for a moment: the values it was made of, its rendered parts by name, whole pages of them.

    A page is cut at its holes: text and the names of holes by turns.
    """

    values: dict[str, Any]
    parts: dict[str, Markup]
    rendered_at: float
    pages: dict[tuple[object, ...], list[bytes]] = field(default_factory=dict)


_kept: dict[tuple[object, ...], tuple[float, Kept]] = {}


def kept(
    key: tuple[object, ...], context: Callable[[], dict[str, Any]], *, fresh: bool = False, **templates: str
) -> Kept:
    """Values, and templates rendered with them, at most two seconds old in this process (ADR 12).

    Prices and stock shown here are looked at again by cart and checkout, so two seconds of age harm nobody. While
    one request renders anew, others get the old piece: an expiry never makes all of them render at once. Values that
    are what they were keep what was rendered of them, up to a minute, because templates say times of day. The
    templates are rendered without a request, so nothing of a person and no form's token can get into them. `fresh`:
    for who was just refused because of what changed.
    """
    lifetime = getattr(settings, "FRAGMENT_SECONDS", 0.0 if settings.TESTING else FRAGMENT_SECONDS)
    whole_key = (get_language(), *key)
    known = _kept.get(whole_key)
    present = time.monotonic()
    if known is not None and not fresh:
        if known[0] > present:
            return known[1]
        _kept[whole_key] = (present + 1.0, known[1])
    try:
        values = context()
        if (
            known is not None
            and present < known[1].rendered_at + RENDERED_SECONDS
            and values == known[1].values
        ):
            made = known[1]
        else:
            parts = {name: rendered(template, values) for name, template in templates.items()}
            made = Kept(values, parts, present)
    except BaseException:
        _kept.pop(whole_key, None)
        raise
    if lifetime:
        _make_room()
        _kept[whole_key] = (time.monotonic() + lifetime, made)
    return made


def rendered(template: str, values: Mapping[str, Any]) -> Markup:
    """A part of a page, made without a request."""
    frame = {"tabs": tabs, "shop_name": settings.SHOP_NAME}
    return Markup(render_to_string(template, {**frame, **values}, using="jinja2"))  # noqa: S704  escaped by Jinja


def _make_room() -> None:
    """What is over goes first; when all of it is wanted, everything."""
    if len(_kept) < MAX_KEPT:
        return
    present = time.monotonic()
    for key in [key for key, (until, _made) in list(_kept.items()) if until <= present]:
        _kept.pop(key, None)
    if len(_kept) >= MAX_KEPT:
        _kept.clear()


def kept_fragment(key: tuple[object, ...], template: str, context: Callable[[], dict[str, Any]]) -> Markup:
    """One such piece."""
    return kept(key, context, text=template).parts["text"]


_EDGE = "\x00"  # no text out of Postgres can contain it


def hole(name: str) -> Markup:
    """Where a kept page is left open for what is hers, to be filled by `show_kept`."""
    return Markup(f"{_EDGE}{name}{_EDGE}")  # noqa: S704  our own words


_OPEN = {
    "cart_badge": hole("cart"),
    "csrf_input": Markup('<input type="hidden" name="csrfmiddlewaretoken" value="%s">') % hole("token"),
}


def show_kept(
    request: HttpRequest,
    found: Kept,
    template: str,
    *,
    differing: tuple[object, ...] = (),
    context: Callable[[], dict[str, Any]] = dict,
    fills: Mapping[str, str] | None = None,
    tab: str = "",
    status: int = 200,
) -> HttpResponse:
    """A whole page made of what is kept, itself kept with it; the cart's number and the forms' token are put in.

    It is rendered without a request. Whatever of `context` is not the same for everybody stands in `differing`, or is
    a `hole` whose text is in `fills`.
    """
    key = (template, *differing)
    pieces = found.pages.get(key)
    if pieces is None:
        frame = {
            "tab": tab,
            "tabs": tabs,
            "shop_name": settings.SHOP_NAME,
            "notice": "",
            "out_of_band": False,
        }
        values = {**frame, **found.values, **found.parts, **context(), **_OPEN}
        text = render_to_string(template, values, using="jinja2")
        pieces = [piece.encode() for piece in str(text).split(_EDGE)]
        while len(found.pages) >= MAX_PAGES:
            found.pages.pop(next(iter(found.pages), key), None)
        found.pages[key] = pieces
    here = visitor_met(request)
    hers = {b"cart": _badge(get_language(), here.cart_count if here else 0).encode()}
    for name, words in (fills or {}).items():
        hers[name.encode()] = str(escape(words)).encode()
    whole = list(pieces)
    for place in range(1, len(whole), 2):
        if whole[place] == b"token" and b"token" not in hers:
            hers[b"token"] = get_token(request).encode()
        whole[place] = hers[whole[place]]
    return HttpResponse(b"".join(whole), status=status)


def forget_fragments() -> None:
    _kept.clear()


# --- Being here ----------------------------------------------------------------------------------------------------
_noted: dict[tuple[int, str, str], datetime] = {}


def note_once(request: HttpRequest, kind: str, subject: str = "") -> None:
    """Write to the member's timeline that she was here, at most once in 30 minutes; after the page is rendered.

    A page never fails or waits because of it: the process remembers first, the shared cache second.
    """
    member_id = member_id_of(request)
    if member_id is None:
        return
    moment = clock.now()
    key = (member_id, kind, subject)
    if _is_recent(_noted.get(key), moment):
        return
    if len(_noted) > 20_000:
        _noted.clear()
    _noted[key] = moment
    name = f"seen:{member_id}:{kind}:{subject}"
    try:
        if _is_recent(cache.get(name), moment):
            return
        cache.set(name, moment, int(VISIT_GAP.total_seconds()))
    except Exception as error:  # the cache is away: this process's own memory has to do
        log.info("visit_memory_away", error=type(error).__name__)
    device = device_of(request.headers.get("user-agent", "")) if kind == "visited" else ""
    note_activity(member_id, kind, subject, {"device": device} if device else None)


def note_activity(
    member_id: int, kind: str, subject: str = "", data: Mapping[str, Any] | None = None
) -> None:
    """One fact to the timeline, in its own transaction; what the page does has happened whether this works or not."""
    try:
        record_activity(member_id=member_id, kind=kind, at=clock.now(), subject=subject, data=data)
    except Exception as error:
        log.warning("visit_not_noted", kind=kind, error=type(error).__name__)


def _is_recent(before: datetime | None, moment: datetime) -> bool:
    return before is not None and abs(moment - before) < VISIT_GAP


def in_wechat(request: HttpRequest) -> bool:
    """Inside WeChat's browser, or inside the sandbox's phone (a frame on its page)."""
    if "MicroMessenger" in request.headers.get("User-Agent", ""):
        return "wxwork" not in request.headers.get("User-Agent", "")
    return bool(settings.SANDBOX_URL) and request.headers.get("Sec-Fetch-Dest") == "iframe"


def login_address(back: str) -> str:
    return f"{reverse('crm:login')}?{urlencode({'next': back})}"


def visitor_met(request: HttpRequest) -> queries.Visitor | None:
    """Who is here, when `greeted` asked."""
    return request.__dict__.get("visitor")


def _meet(request: HttpRequest, **_named: Any) -> queries.Visitor:
    return queries.visitor(request)


def greeted(page: Page, *, meet: Callable[..., queries.Visitor] = _meet) -> Page:
    """Pages that are open to everybody log a WeChat visitor in silently (snsapi_base asks nothing), once.

    `meet` reads what the page shows of her, with the request and what the address names. The cookie keeps a visitor
    whom WeChat would not name from going in circles. It says when she was asked: the browser's own clock is not the
    shop's, which tests and the demo move.
    """

    @wraps(page)
    def greet(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "GET" or request.headers.get("HX-Request"):
            return page(request, *args, **kwargs)
        here = request.__dict__["visitor"] = meet(request, *args, **kwargs)
        if here.member_id is None and in_wechat(request) and not _greeted_lately(request):
            response = HttpResponseRedirect(login_address(request.get_full_path()))
            response.set_cookie(
                GREETED_COOKIE,
                str(int(clock.now().timestamp())),
                max_age=GREETED_SECONDS,
                httponly=True,
                samesite="Lax",
                secure=settings.COOKIE_SECURE,
            )
            return response
        return page(request, *args, **kwargs)

    return greet


def _greeted_lately(request: HttpRequest) -> bool:
    asked_at = request.COOKIES.get(GREETED_COOKIE, "")
    # At most ten digits: what somebody else wrote there must not become a huge number.
    return bool(re.fullmatch(r"[0-9]{1,10}", asked_at)) and (
        abs(clock.now().timestamp() - int(asked_at)) < GREETED_SECONDS
    )


def members_only(page: Page) -> Page:
    """Pages about a person ask who she is; she comes back to the page she wanted, or to the one she came from."""

    @wraps(page)
    def ask(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if getattr(request, "member", None):
            return page(request, *args, **kwargs)
        if "application/json" in request.headers.get("Accept", ""):
            return JsonResponse(
                {"login": login_address(came_from(request, reverse("shop:home")))}, status=401
            )
        if request.method == "GET" and not request.headers.get("HX-Request"):
            return HttpResponseRedirect(login_address(request.get_full_path()))
        return go(request, login_address(came_from(request, reverse("shop:home"))))

    return ask


def came_from(request: HttpRequest, otherwise: str) -> str:
    """The path of our own page that this request was sent from."""
    parts = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer") or "")
    if parts.netloc != request.get_host():
        return otherwise
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def go(request: HttpRequest, address: str) -> HttpResponse:
    """Send the browser on, also when htmx asked."""
    if request.headers.get("HX-Request"):
        response = HttpResponse(status=204)
        response.headers["HX-Redirect"] = address
        return response
    return HttpResponseRedirect(address)


def own_address(request: HttpRequest, address: str, otherwise: str) -> str:
    """An address that came with a form, if it leads back into this shop."""
    if address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None):
        return address
    return otherwise


# --- WeChat --------------------------------------------------------------------------------------------------------
_official: tuple[float, Any] = (0.0, None)


def official_account() -> Any:
    """The service account that the shop lives in, looked up at most every 30 seconds; None when there is none."""
    global _official
    if settings.TESTING or _official[0] < time.monotonic():
        _official = (time.monotonic() + 30, wechat_queries.find_account("service"))
    return _official[1]


def sdk_for(request: HttpRequest) -> dict[str, Any] | None:
    """What wx.config needs for exactly this address; None outside of WeChat or when WeChat cannot be asked."""
    # On a plain http address browsers do not say that a page is in a frame: the sandbox's stand-in finds out itself.
    unsaid = bool(settings.SANDBOX_URL) and "Sec-Fetch-Dest" not in request.headers
    if not in_wechat(request) and not unsaid:
        return None
    account = official_account()
    if account is None:
        return None
    try:
        return {
            "config": wechat_services.jssdk_config(account_id=account.pk, url=request.build_absolute_uri()),
            "address": wechat_services.jssdk_url(account_id=account.pk),
        }
    except Refusal as error:
        log.warning("jssdk_unavailable", error=type(error).__name__)
        return None
