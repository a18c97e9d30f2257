"""Where one of several things is chosen and paid at WeChat: a recharge, a membership. Its page and its answers.

`pay.js` understands the answers, as it does those of an order's payment.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from core.errors import Refusal
from shop import services
from shop.forms import whole_number
from shop.models import DirectPayment
from shop.pages import tenders
from shop.pages.frame import sdk_for, show


class Shelf(NamedTuple):
    """What lies there for her: what each id that can be chosen costs (fen), and what the page shows of them."""

    choices: Mapping[int, int]
    shown: dict[str, Any]


def till(
    request: HttpRequest,
    name: str,
    field: str,
    *,
    begin: Callable[[int, str, str, str], dict[str, Any]],
    shelf: Callable[[], Shelf],
    paid: str,
) -> HttpResponse:
    """The page `name` (of its address and template); posted, it starts the payment of the chosen `field`.

    `begin` gets the chosen id, the terms that she was shown of it (`shown-ID`), the way and the payer's address; `paid`
    is said when she has paid.
    """
    chosen = whole_number(request.POST.get(field)) or 0

    def shown(
        *, refusal: str = "", status: int = 200, picture: str = "", h5_url: str = "", going: bool = False
    ) -> HttpResponse:
        choices, values = shelf()
        marked = chosen if chosen in choices else next(iter(choices), 0)
        return show(
            request,
            f"shop/{name}.html",
            tab="me",
            status=status,
            notice=paid if request.GET.get("done") else "",
            refusal=refusal,
            picture=picture,
            h5_url=h5_url,
            state="scan" if picture else "ready",
            came_back=bool(request.GET.get("back")),
            going=going,
            way=tenders.way_for(request),
            chosen=marked,
            chosen_fen=choices.get(marked, 0),
            sdk=sdk_for(request),
            **values,
        )

    if request.method == "GET":
        return shown()
    done = f"{reverse(f'shop:{name}')}?done=1"
    terms = request.POST.get(f"shown-{chosen}", "")
    return start(request, lambda way, client_ip: begin(chosen, terms, way, client_ip), shown, done=done)


def start(
    request: HttpRequest,
    begin: Callable[[str, str], dict[str, Any]],
    shown: Callable[..., HttpResponse],
    *,
    done: str,
) -> HttpResponse:
    """Start a payment by `begin(way, client_ip)`. To scripts in JSON: {"paid"}, {"parameters"} for WeChat's sheet,
    {"qr"} as SVG or {"h5_url"} to go to; else the page (`shown`) once more.
    """
    wants_json = "application/json" in request.headers.get("Accept", "")
    try:
        started = begin(tenders.choice_of(request).way, tenders.client_ip(request))
    except Refusal as refusal:
        if wants_json:
            return JsonResponse({"message": refusal.message, "code": refusal.code}, status=refusal.status)
        return shown(refusal=refusal.message, status=refusal.status)
    if started.get("paid"):
        return JsonResponse({"paid": True}) if wants_json else HttpResponseRedirect(done)
    if "code_url" in started:
        picture = tenders.drawn(started["code_url"])
        return JsonResponse({"qr": picture}) if wants_json else shown(picture=picture)
    if "h5_url" in started:
        here = request.build_absolute_uri("?back=1")
        address = f"{started['h5_url']}&{urlencode({'redirect_url': here})}"
        return JsonResponse({"h5_url": address}) if wants_json else shown(h5_url=address)
    # WeChat's sheet is opened by a script: one that came later than she pressed goes on from here.
    return JsonResponse({"parameters": started}) if wants_json else shown(going=True)


def state(request: HttpRequest, kind: str) -> HttpResponse:
    """Whether her latest payment of a kind is paid; with `look` WeChat itself is asked, should its notice be lost."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    find = services.check_direct if request.GET.get("look") else services.latest_direct
    payment = find(member_id=member_id, kind=kind)
    status = payment.status if payment else ""
    return JsonResponse({"paid": status == DirectPayment.PAID, "closed": False, "status": status})
