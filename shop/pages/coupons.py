"""A member's coupons, and the page of a claim link."""

import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from core import clock
from core.errors import Refusal
from shop import queries, services
from shop.errors import NoSuchCoupon
from shop.forms import order_key
from shop.pages.browse import asked_after
from shop.pages.cards import at_tier, card, tier_of
from shop.pages.frame import members_only, problem, show, show_part


@require_GET
@members_only
def coupons(request: HttpRequest) -> HttpResponse:
    """Usable, used and expired coupons of the member."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    tab = request.GET.get("tab", "")
    tab = tab if tab in queries.COUPON_TABS else "usable"
    labels = {"usable": _("Usable"), "used": _("Used"), "expired": _("Expired")}
    return show(
        request,
        "shop/coupons.html",
        tab="me",
        filters=[
            {
                "label": labels[name],
                "address": f"{reverse('shop:coupons')}?tab={name}",
                "is_current": name == tab,
            }
            for name in queries.COUPON_TABS
        ],
        current=tab,
        coupons=[shown_coupon(one) for one in queries.coupons_of(member_id, tab)],
        open_coupons=queries.claimable_coupons(member_id) if tab == "usable" else [],
    )


@require_http_methods(["GET", "POST"])
@members_only
def coupon(request: HttpRequest, code: str) -> HttpResponse:
    """The page behind a claim link; posted, she takes the coupon."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    refusal, status, taken = "", 200, False
    if request.method == "POST":
        token = order_key(request.POST)
        try:
            if not token:
                raise Refusal(_("Please look once more and confirm."))
            services.claim_coupon(code=code, member_id=member_id, token=token)
            taken = True
        except NoSuchCoupon as error:
            return problem(request, error, symbol="ticket")
        except Refusal as error:
            refusal, status = error.message, error.status
    elif request.GET.get("taken"):
        taken = True
    try:
        page = queries.claim_page(code, member_id)
    except NoSuchCoupon as error:
        return problem(request, error, symbol="ticket")
    if request.method == "POST" and taken:
        return HttpResponseRedirect(f"{reverse('shop:coupon', args=[code])}?taken=1")
    return show(
        request,
        "shop/coupon.html",
        status=status,
        tab="me",
        coupon=page,
        refusal=refusal,
        taken=taken and page.mine > 0,
        key=secrets.token_urlsafe(24),
    )


@require_GET
@members_only
def coupon_goods(request: HttpRequest, code: str) -> HttpResponse:
    """What a coupon can be used for; the next pages arrive as bare cards when htmx asks."""
    member_id, after = request.member.pk, asked_after(request)  # type: ignore[attr-defined]
    try:
        coupon, page = queries.coupon_goods(code, member_id, after=after)
    except NoSuchCoupon as error:
        return problem(request, error, symbol="ticket")
    here = reverse("shop:coupon_goods", args=[code])
    cards: dict[str, Any] = {
        "products": [card(row) for row in page.rows],
        "is_first": not after,
        "more": f"{here}?after={page.after}" if page.after else "",
    }
    cards = at_tier(cards, tier_of(request), "products")
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/cards.html", **cards)
    words = {
        "name": coupon.name,
        "worth": queries.worth_of(coupon),
        "condition": queries.condition_of(coupon),
        "scope": queries.scope_of(coupon),
        "is_stackable": coupon.is_stackable,
        "state": "open",
    }
    return show(request, "shop/coupons_goods.html", tab="me", coupon=words, **cards)


def shown_coupon(held: queries.HeldCoupon, **more: Any) -> dict[str, Any]:
    until = clock.local(held.expires_at)
    days_left = (until.date() - clock.today()).days
    return {
        "pk": held.grant_id,
        "name": held.name,
        "worth": held.worth,
        "condition": held.condition,
        "scope": held.scope,
        "until": f"{until:%Y-%m-%d %H:%M}",
        "soon": held.is_open and days_left <= 2,
        "days_left": max(days_left, 0),
        "starts": ""
        if held.is_open or held.state != "held"
        else f"{clock.local(held.valid_from):%m-%d %H:%M}",
        "is_stackable": held.is_stackable,
        "state": held.state,
        "goods": reverse("shop:coupon_goods", args=[held.code]) if held.state == "held" else "",
        "order": reverse("shop:order", args=[held.order_number]) if held.order_number else "",
        **more,
    }
