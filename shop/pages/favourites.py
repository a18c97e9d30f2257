"""Hearts, what she looked at, and the wish to hear when something is back."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.errors import Refusal
from shop import queries, services
from shop.forms import whole_number
from shop.pages.browse import asked_after, product_shown
from shop.pages.cards import at_tier, card, tier_of
from shop.pages.frame import members_only, show, show_part


@require_GET
@members_only
def favourites(request: HttpRequest) -> HttpResponse:
    """Her list of hearts; the next pages arrive as bare cards when htmx asks."""
    after = asked_after(request)
    page = queries.favourites_of(request.member.pk, after=after)  # type: ignore[attr-defined]
    cards: dict[str, Any] = {
        "products": [card(row) for row in page.rows],
        "is_first": not after,
        "more": f"{reverse('shop:favourites')}?after={page.after}" if page.after else "",
    }
    cards = at_tier(cards, tier_of(request), "products")
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/cards.html", **cards)
    return show(request, "shop/favourites.html", tab="me", title=_("My favourites"), is_viewed=False, **cards)


@require_GET
@members_only
def viewed(request: HttpRequest) -> HttpResponse:
    """What she looked at lately."""
    rows = queries.viewed_by(request.member.pk)  # type: ignore[attr-defined]
    return show(
        request,
        "shop/favourites.html",
        tab="me",
        title=_("Recently viewed"),
        is_viewed=True,
        **at_tier({"products": [card(row) for row in rows]}, tier_of(request), "products"),
        is_first=True,
        more="",
    )


@require_POST
@members_only
def favourite(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark or unmark; htmx gets the heart alone."""
    try:
        wanted = services.set_favourite(
            member_id=request.member.pk,  # type: ignore[attr-defined]
            product_id=pk,
            wanted=request.POST.get("wanted") == "1",
        )
    except Refusal as refusal:
        return product_shown(request, pk, refusal=refusal.message, status=refusal.status)
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/favourites_heart.html", product_id=pk, is_favourite=wanted)
    return HttpResponseRedirect(reverse("shop:product", args=[pk]))


@require_POST
@members_only
def stock_notice(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell me when it is back, or the variant `sku` of it; `wanted` 0 takes the wish away."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    sku_id = whole_number(request.POST.get("sku")) or None
    try:
        if request.POST.get("wanted") == "0":
            services.withdraw_stock_notice(member_id=member_id, product_id=pk, sku_id=sku_id)
        else:
            services.ask_stock_notice(member_id=member_id, product_id=pk, sku_id=sku_id)
    except Refusal as refusal:
        return product_shown(request, pk, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:product", args=[pk]))
