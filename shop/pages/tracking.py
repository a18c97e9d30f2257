"""物流查询: where the parcels of an order are."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from core.secrets import masked_phone
from shop import queries
from shop.errors import NoSuchOrder
from shop.models import Order
from shop.pages.frame import members_only, problem, sdk_for, show
from shop.pages.words import place


@require_GET
@members_only
def tracking(request: HttpRequest, number: str) -> HttpResponse:
    try:
        order = queries.order_for(number, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchOrder as missing:
        return problem(request, missing, symbol="truck", link=reverse("shop:orders"), label=_("My orders"))
    asked = queries.asked_templates(order)
    return show(
        request,
        "shop/tracking.html",
        tab="me",
        order={
            "number": order.number,
            "address": reverse("shop:order", args=[order.number]),
            "receiver": order.receiver,
            "masked_phone": masked_phone(order.phone) if order.phone else "",
            "full_address": place(order.region, order.street),
            "is_paid": order.status == Order.PAID,
        },
        parcels=[_shown(parcel) for parcel in queries.parcels_of(order)],
        asked=asked,
        templates=[template for template, _words in asked],
        sdk=sdk_for(request) if asked else None,
    )


def _shown(parcel: queries.ParcelRow) -> dict[str, Any]:
    return {
        "carrier": parcel.carrier,
        "phone": parcel.carrier_phone,
        "url": parcel.carrier_url,
        "number": parcel.number,
        "state": parcel.state,
        "state_label": parcel.state_label,
        "shipped_at": parcel.shipped_at,
        "events": parcel.events,
        "others": [(number, reverse("shop:order", args=[number])) for number in parcel.others],
    }
