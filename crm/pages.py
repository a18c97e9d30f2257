"""Login with WeChat, logout, and a member's say over her data. The rules are in services; here is the walk."""

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

import segno
import structlog
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from core import clock
from crm import services, sessions
from crm.models import Consent, Member
from crm.queries.consent import channels_of, consent_answers
from crm.services import CONSENT_TEXT
from wechat import queries as wechat_queries
from wechat import services as wechat
from wechat.errors import CodeRejected, PlatformError

log = structlog.get_logger(__name__)

STATE_COOKIE = "pond_login"
STATE_SALT = "crm.login"
STATE_SECONDS = 600  # WeChat's code lives 5 minutes; a slow consent page may take longer
MOST_STATES = 5  # several pages opened at once each begin a login of their own


def login_required_member(page: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Only for members: others are sent to the login and come back to this page."""

    @wraps(page)
    def ask(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.member is not None:  # type: ignore[attr-defined]
            return page(request, *args, **kwargs)
        back = request.get_full_path() if request.method == "GET" else "/"
        address = f"{reverse('crm:login')}?{urlencode({'next': back})}"
        if request.headers.get("HX-Request"):
            response = HttpResponse(status=204)
            response.headers["HX-Redirect"] = address
            return response
        if "application/json" in request.headers.get("Accept", ""):
            return JsonResponse({"code": "login_required", "login": address}, status=401)
        return HttpResponseRedirect(address)

    return ask


def local_path(address: str | None) -> str:
    """The address when it leads to a page of ours, else the front page. Nobody is sent elsewhere by a login link."""
    if address and address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None):
        return address
    return "/"


def is_in_wechat(request: HttpRequest) -> bool:
    return "MicroMessenger" in request.headers.get("User-Agent", "")


@never_cache
@require_GET
def login(request: HttpRequest) -> HttpResponse:
    """Begin: to WeChat's authorize page, with a one-time state in a signed cookie.

    `next`: a path of ours. `scope=userinfo` asks for name and picture; otherwise WeChat asks nothing (snsapi_base).
    """
    back = local_path(request.GET.get("next"))
    account = wechat_queries.find_account("service")
    if account is None:
        return _message(
            request,
            503,
            _("The shop is not connected to WeChat yet"),
            _("Please come back later, or tell the shop."),
        )
    if not is_in_wechat(request) and not settings.SANDBOX_URL:
        return _open_in_wechat(request, back)
    state = secrets.token_urlsafe(18)
    states = _states(request)
    states[state] = {"next": back, "at": int(clock.now().timestamp())}
    scope = "snsapi_userinfo" if request.GET.get("scope") == "userinfo" else "snsapi_base"
    response = HttpResponseRedirect(
        wechat.oauth_login_url(
            account_id=account.pk,
            redirect_uri=request.build_absolute_uri(reverse("crm:login_callback")),
            scope=scope,
            state=state,
        )
    )
    _keep_states(response, dict(list(states.items())[-MOST_STATES:]))
    return response


@never_cache
@require_GET
def login_callback(request: HttpRequest) -> HttpResponse:
    """End: WeChat sends the person back with a code; it is exchanged once, and only for a state that we gave out."""
    states = _states(request)
    begun = states.pop(request.GET.get("state", ""), None)
    if begun is None:
        log.warning("login with an unknown state")
        return _try_again(
            request, 403, _("This login link has been used or is too old"), _("Please begin again."), "/"
        )
    back = local_path(str(begun["next"]))
    code = request.GET.get("code", "")
    account = wechat_queries.find_account("service")
    if not code or account is None:
        response = _try_again(
            request,
            403,
            _("You did not allow the login"),
            _("The shop needs to know you to show this page."),
            back,
        )
    else:
        response = _exchange(request, account.pk, code, back)
    _keep_states(response, states)
    return response


def _exchange(request: HttpRequest, account_id: int, code: str, back: str) -> HttpResponse:
    try:
        person = wechat.oauth_person(account_id=account_id, code=code)
    except CodeRejected:
        return _try_again(
            request, 403, _("This login link has been used or is too old"), _("Please begin again."), back
        )
    except PlatformError as error:
        log.warning("login failed", code=error.code)
        return _try_again(
            request, 503, _("WeChat does not answer just now"), _("Please try again in a moment."), back
        )
    if person.is_snapshot:
        return _message(
            request,
            403,
            _("You are looking at a snapshot of this page"),
            _("Tap “use the full service” at the bottom of the screen, then open the page again."),
        )
    member = services.member_for_openid(
        account_id=account_id,
        openid=person.openid,
        unionid=person.unionid,
        name=person.nickname,
        avatar_url=person.avatar_url,
        via=Member.LOGIN,
    )
    response = HttpResponseRedirect(back)
    sessions.log_in(response, member)
    return response


@never_cache
@require_http_methods(["GET", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    """Ends this browser's login on POST; a GET shows the button, so that no picture or link logs anybody out."""
    if request.method == "POST":
        response: HttpResponse = HttpResponseRedirect("/")
        sessions.log_out(response)
        return response
    return render(request, "crm/logout.html", using="jinja2")


@never_cache
@require_http_methods(["GET", "POST"])
@login_required_member
def privacy(request: HttpRequest) -> HttpResponse:
    """What she agreed to, each with a switch: withdrawing is as easy as giving (personal information law, 15)."""
    member = request.member  # type: ignore[attr-defined]
    if request.method == "POST":
        purpose, account = request.POST.get("purpose", ""), request.POST.get("account", "")
        channels = {str(one.account_id): one.account_id for one in channels_of(member.pk)}
        if purpose in dict(Consent.PURPOSES) and (not account or account in channels):
            change = (
                services.give_consent if request.POST.get("answer") == "yes" else services.withdraw_consent
            )
            change(
                member_id=member.pk,
                purpose=Consent.MARKETING if account else purpose,
                channel="page",
                text_version=CONSENT_TEXT,
                proof=request.headers.get("User-Agent", "")[:200],
                account_id=channels.get(account),
            )
        return HttpResponseRedirect(reverse("crm:privacy"))
    answers = consent_answers(member.pk)
    rows = [
        {
            "purpose": purpose,
            "label": label,
            "explanation": EXPLANATIONS[purpose](),
            "answer": answers.get(purpose),
            "channels": channels_of(member.pk)
            if purpose == Consent.MARKETING and answers.get(purpose) is not False
            else [],
        }
        for purpose, label in Consent.PURPOSES
    ]
    return render(request, "crm/privacy.html", {"rows": rows, "version": CONSENT_TEXT}, using="jinja2")


EXPLANATIONS: dict[str, Callable[[], str]] = {
    Consent.MARKETING: lambda: _("News, offers and reminders in WeChat. Order notices come in any case."),
    Consent.PERSONALISATION: lambda: _("Recommendations that fit what you bought and looked at."),
    Consent.PHONE: lambda: _("We may call you about your parcel or an appointment in a store."),
}


def _states(request: HttpRequest) -> dict[str, dict[str, Any]]:
    """The logins that this browser has begun and not ended, by state."""
    try:
        kept = signing.loads(request.COOKIES.get(STATE_COOKIE, ""), salt=STATE_SALT)
        oldest = int(clock.now().timestamp()) - STATE_SECONDS
        return {state: begun for state, begun in kept.items() if begun["at"] >= oldest}
    except (signing.BadSignature, AttributeError, KeyError, TypeError):
        return {}


def _keep_states(response: HttpResponse, states: dict[str, dict[str, Any]]) -> None:
    if not states:
        response.delete_cookie(STATE_COOKIE, samesite="Lax")
        return
    response.set_cookie(
        STATE_COOKIE,
        signing.dumps(states, salt=STATE_SALT),
        max_age=STATE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.COOKIE_SECURE,
    )


def _open_in_wechat(request: HttpRequest, back: str) -> HttpResponse:
    address = request.build_absolute_uri(back)
    picture = segno.make(address, error="m").png_data_uri(scale=8, border=2)
    context = {"picture": picture, "address": address}
    return render(request, "crm/open_in_wechat.html", context, status=403, using="jinja2")


def _try_again(request: HttpRequest, status: int, title: str, advice: str, back: str) -> HttpResponse:
    again = f"{reverse('crm:login')}?{urlencode({'next': back})}"
    return _message(request, status, title, advice, link=again, label=_("Log in again"))


def _message(
    request: HttpRequest, status: int, title: str, advice: str, *, link: str = "/", label: str = ""
) -> HttpResponse:
    context = {"title": title, "advice": advice, "link": link, "label": label or _("To the shop")}
    return render(request, "crm/message.html", context, status=status, using="jinja2")
