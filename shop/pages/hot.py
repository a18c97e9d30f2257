"""Buying a hot offer with one tap. The answers are redirects or JSON, never a page: a crowd comes at one moment.

Served by a short way in (`config.wsgi`) that has no session, user or messages; everything asked here is asked by
this page itself: the member's signed cookie, the form's token, her rights.
"""

import re
from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST

from crm import queries as crm_queries
from shop import services
from shop.pages.frame import came_from, login_address
from shop.services.hot import BEFORE, CHECKOUT, CLOSED, GONE, LIMIT, LOGIN, PLACED, HotAnswer
from shop.services.hot_gone import find_gone

_KEY = re.compile(r"[A-Za-z0-9_-]{16,40}")
_STATUS = {PLACED: 201, BEFORE: 200, GONE: 409, LIMIT: 409, CLOSED: 409, CHECKOUT: 409, LOGIN: 401}


# Without the middleware's check, because one way in has no middleware: what is below checks in both.
@csrf_exempt
@require_POST
def buy(request: HttpRequest, offer_id: int) -> HttpResponse:
    """Order one piece of a flash offer: on to the till, or back to the product with the reason."""
    login = crm_queries.login_of(request)
    if login is None:
        return _told(request, HotAnswer(LOGIN))
    if gone := find_gone(offer_id, login.member_id):  # changes nothing, and is what a crowd mostly hears
        return _told(request, HotAnswer(GONE, "", gone.product_id))
    if request.META.get("HTTP_ORIGIN") == f"{request.scheme}://{request.get_host()}":
        return _bought(
            request, offer_id, login
        )  # browsers say where a form stands, and let no page say otherwise
    return _bought_by_token(request, offer_id, login)


def _bought(request: HttpRequest, offer_id: int, login: crm_queries.Login) -> HttpResponse:
    key = request.POST.get("key", "")
    if not _KEY.fullmatch(key):
        return _told(request, HotAnswer(CLOSED), status=400)
    answer = services.buy_offer(
        offer_id=offer_id, member_id=login.member_id, session_version=login.session_version, key=key
    )
    if answer.state == CLOSED and not answer.product_id:
        raise Http404
    return _told(request, answer)


_bought_by_token = csrf_protect(_bought)


def _told(request: HttpRequest, answer: HotAnswer, *, status: int = 0) -> HttpResponse:
    """Bytes and paths as they are: building addresses by name and text by charset is half of such an answer."""
    there = _way_on(request, answer)
    if "application/json" not in request.META.get("HTTP_ACCEPT", ""):
        redirect = HttpResponse(status=303)
        redirect.headers["Location"] = there
        return redirect
    told: dict[str, Any] = {"state": answer.state, "message": refusal_words(answer.state), "next": there}
    if answer.number:
        told["number"] = answer.number
    response = HttpResponse(
        orjson.dumps(told), content_type="application/json", status=status or _STATUS[answer.state]
    )
    # The request has a line of its own; a crowd need not be written down twice.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _way_on(request: HttpRequest, answer: HotAnswer) -> str:
    if answer.number:
        return f"/pay/{answer.number}/"
    if answer.state == LOGIN:
        return login_address(came_from(request, "/"))
    if answer.state == CHECKOUT:
        return f"/checkout/?from=product&line={answer.sku_id}:1"
    if not answer.product_id:
        return came_from(request, "/")
    return f"/p/{answer.product_id}/?hot={answer.state}#refusal"


def refusal_words(state: str) -> str:
    """What she reads, on the product page or from JSON; "" for what is no refusal, and for words not ours."""
    if state == GONE:
        return _("Gone before you could get one. Join the waiting list: unpaid pieces come back.")
    if state == LIMIT:
        return _("You have as many as one person may. Look into your orders.")
    if state == CLOSED:
        return _("This offer is not open at the moment.")
    if state == LOGIN:
        return _("Please log in first.")
    if state == CHECKOUT:
        return _("Please fill in the checkout for this one.")
    return ""
