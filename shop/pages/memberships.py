"""Buying a membership on the phone."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from crm import queries as crm_queries
from shop import services
from shop.models import DirectPayment
from shop.pages import direct
from shop.pages.frame import members_only


@require_http_methods(["GET", "POST"])
@members_only
def memberships(request: HttpRequest) -> HttpResponse:
    """What is for sale, with its benefits; posted, it starts the payment of `plan`."""
    member = request.member  # type: ignore[attr-defined]

    def begin(plan_id: int, terms: str, way: str, client_ip: str) -> dict[str, Any]:
        return services.start_membership(
            plan_id=plan_id, member_id=member.pk, shown=terms, way=way, client_ip=client_ip
        )

    def shelf() -> direct.Shelf:
        plans = crm_queries.plans_for_sale()
        card = crm_queries.tier_card(member)
        return direct.Shelf(
            {plan.pk: plan.price_fen for plan in plans},
            {
                "plans": plans,
                "terms": {plan.pk: services.membership_terms(plan) for plan in plans},
                "running": crm_queries.memberships_of(member.pk),
                "levels": {rule.name: rule for rule in card.rules} if card else {},
            },
        )

    paid = _("Welcome: your membership has begun.")
    return direct.till(request, "memberships", "plan", begin=begin, shelf=shelf, paid=paid)


@require_GET
@members_only
def memberships_state(request: HttpRequest) -> HttpResponse:
    return direct.state(request, DirectPayment.MEMBERSHIP)
