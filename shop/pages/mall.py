"""The points mall: what she can have for her points, one of it, and what she had."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from core.errors import Refusal
from crm import queries as crm_queries
from shop import queries, services
from shop.errors import NoSuchOffer
from shop.forms import whole_number
from shop.models import DirectPayment
from shop.pages import direct, tenders
from shop.pages.frame import members_only, problem, sdk_for, show


@require_GET
@members_only
def mall(request: HttpRequest) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    return show(
        request,
        "shop/mall.html",
        tab="me",
        points=crm_queries.points_of(member_id).spendable,
        offers=queries.mall_offers(member_id),
    )


@require_http_methods(["GET", "POST"])
@members_only
def mall_item(request: HttpRequest, pk: int) -> HttpResponse:
    """One item; posted, it is exchanged. The form's key makes a double tap one exchange."""
    if request.method == "GET":
        return _shown(request, pk)
    member_id = request.member.pk  # type: ignore[attr-defined]
    key = request.POST.get("key", "").replace("\x00", "")[:40] or uuid.uuid4().hex
    address_id = whole_number(request.POST.get("address")) or None
    terms = request.POST.get("shown", "")
    if "way" in request.POST:  # the form of an item that takes money as well

        def begin(way: str, client_ip: str) -> dict[str, Any]:
            return services.start_exchange(
                item_id=pk,
                member_id=member_id,
                key=key,
                address_id=address_id,
                shown=terms,
                way=way,
                client_ip=client_ip,
            )

        def shown(**extra: Any) -> HttpResponse:
            return _shown(request, pk, **extra)

        return direct.start(request, begin, shown, done=f"{reverse('shop:mall_exchanges')}?done=1")
    try:
        services.exchange_points(item_id=pk, member_id=member_id, key=key, address_id=address_id, shown=terms)
    except Refusal as refusal:
        return _shown(request, pk, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:mall_exchanges')}?done=1")


def _shown(
    request: HttpRequest,
    pk: int,
    *,
    refusal: str = "",
    status: int = 200,
    picture: str = "",
    h5_url: str = "",
    going: bool = False,
) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    offers = queries.mall_offers(member_id, item_id=pk)
    if not offers:
        gone = NoSuchOffer(_("This is not on offer any more."))
        return problem(request, gone, symbol="gift", link=reverse("shop:mall"), label=_("To the points mall"))
    unpaid = queries.unpaid_exchange(member_id, pk) if offers[0].price else None
    return show(
        request,
        "shop/mall_item.html",
        tab="me",
        status=status,
        refusal=refusal,
        offer=offers[0],
        points=crm_queries.points_of(member_id).spendable,
        addresses=queries.addresses_of(member_id) if offers[0].is_goods else [],
        # Who left the sheet goes on paying for what is kept for her.
        unpaid=unpaid,
        key=unpaid.key.partition(":")[2] if unpaid else uuid.uuid4().hex,
        picture=picture,
        h5_url=h5_url,
        state="scan" if picture else "ready",
        chosen_fen=offers[0].price,
        came_back=bool(request.GET.get("back")),
        going=going,
        way=tenders.way_for(request),
        sdk=sdk_for(request) if offers[0].price else None,
    )


@require_GET
@members_only
def mall_state(request: HttpRequest) -> HttpResponse:
    return direct.state(request, DirectPayment.MALL)


@require_GET
@members_only
def mall_exchanges(request: HttpRequest) -> HttpResponse:
    return show(
        request,
        "shop/mall_exchanges.html",
        tab="me",
        notice=_("Exchanged. It is yours.") if request.GET.get("done") else "",
        exchanges=queries.exchanges_of(request.member.pk),  # type: ignore[attr-defined]
    )
