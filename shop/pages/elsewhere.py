"""A guide on her phone orders for a member what her store does not have: look it up, say for whom, done."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from core.errors import Refusal
from crm import queries as crm_queries
from shop import queries, rules, services
from shop.errors import NotForSale, SoldOut
from shop.forms import whole_number
from shop.pages.frame import show
from shop.pages.fulfilment import qr_of
from shop.pages.pickup import called, colleague_here
from shop.services.routing import plan


@require_http_methods(["GET", "POST"])
def elsewhere(request: HttpRequest) -> HttpResponse:
    """`?q=` looks goods up, `?sku=` asks for whom; posted, they lie in the member's cart."""
    here = reverse("shop:elsewhere")
    staff = colleague_here(request, here)
    if isinstance(staff, HttpResponse):
        return staff
    if request.method == "GET":
        return _shown(request, staff)
    sku_id, quantity = (whole_number(request.POST.get(name)) for name in ("sku", "quantity"))
    try:
        services.order_elsewhere(
            member_id=services.guest_named(request.POST.get("guest", "")),
            sku_id=sku_id,
            quantity=quantity,
            by=called(staff),
        )
    except Refusal as refusal:
        return _shown(request, staff, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{here}?{urlencode({'sku': sku_id, 'done': quantity})}")


def _shown(request: HttpRequest, staff: Any, *, refusal: str = "", status: int = 200) -> HttpResponse:
    typed = " ".join(request.GET.get("q", "").split())[:64]
    asked = request.POST if request.method == "POST" else request.GET
    chosen = queries.variant_at_hand(whole_number(asked.get("sku")), store_id=staff.store_id)
    if asked.get("sku") and chosen is None and not refusal:
        gone = NotForSale(_("This is not sold any more. Please look it up again."))
        refusal, status = gone.message, gone.status
    done = whole_number(request.GET.get("done")) if chosen else 0
    return show(
        request,
        "shop/elsewhere.html",
        status=status,
        cart_count=0,
        store=staff.store.name,
        colleague=staff.name,
        typed=typed,
        refusal=refusal,
        goods=chosen[0] if chosen else None,
        chosen=chosen[1] if chosen else None,
        most=min(chosen[1].online, rules.MAX_QUANTITY) if chosen else 0,
        guest=request.POST.get("guest", "")[:20],
        quantity=max(whole_number(request.POST.get("quantity"), 1), 1),
        done=done,
        senders=_senders(chosen[1].sku_id, done) if chosen and done else "",
        qr=qr_of(f"{settings.PUBLIC_URL}{reverse('shop:cart')}") if done else "",
        found=queries.goods_at_hand(typed, store_id=staff.store_id) if typed and not chosen else [],
    )


def _senders(sku_id: int, quantity: int) -> str:
    """From where so many would come if she paid now; "" when that changed a moment ago."""
    try:
        served = plan(lines=[(sku_id, quantity)])
    except SoldOut:
        return ""
    names = dict(crm_queries.stores().values_list("pk", "name"))
    return "、".join(f"{names.get(one.store_id, '?')} ×{one.quantity}" for one in served)
