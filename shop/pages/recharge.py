"""Recharging her stored value on the phone."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from shop import queries, services
from shop.models import DirectPayment
from shop.pages import direct
from shop.pages.frame import members_only


@require_http_methods(["GET", "POST"])
@members_only
def recharge(request: HttpRequest) -> HttpResponse:
    """What is offered; posted, it starts the payment of `offer`."""
    member_id = request.member.pk  # type: ignore[attr-defined]

    def begin(offer_id: int, terms: str, way: str, client_ip: str) -> dict[str, Any]:
        return services.start_recharge(
            offer_id=offer_id, member_id=member_id, shown=terms, way=way, client_ip=client_ip
        )

    def shelf() -> direct.Shelf:
        offers = queries.recharge_offers_for(member_id)
        return direct.Shelf(
            {offer.pk: offer.pay for offer in offers if not offer.is_used},
            {
                "offers": offers,
                "balance": queries.balance_for(member_id),
                "recharges": queries.recharges_of(member_id),
            },
        )

    paid = _("Your recharge is on your balance.")
    return direct.till(request, "recharge", "offer", begin=begin, shelf=shelf, paid=paid)


@require_GET
@members_only
def recharge_state(request: HttpRequest) -> HttpResponse:
    return direct.state(request, DirectPayment.RECHARGE)
