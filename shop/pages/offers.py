"""The waiting list of a sold-out offer."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from core.errors import Refusal
from shop import services
from shop.pages.browse import product_shown
from shop.pages.frame import members_only


@require_POST
@members_only
def offer_waiting(request: HttpRequest, pk: int, offer_id: int) -> HttpResponse:
    """Join the waiting list of an offer of this product, or (`leave`) leave it."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        if request.POST.get("leave"):
            services.stop_waiting(offer_id=offer_id, member_id=member_id)
        else:
            services.wait_for_offer(offer_id=offer_id, member_id=member_id)
    except Refusal as refusal:
        return product_shown(request, pk, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:product', args=[pk])}#offers")
