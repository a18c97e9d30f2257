"""Her balance: what she can pay with, how it came to be so, and a place to type a gift card's code."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.errors import Refusal
from shop import queries, services
from shop.forms import whole_number
from shop.pages.frame import members_only, show, show_part

PAGE = 20


@require_GET
@members_only
def balance(request: HttpRequest) -> HttpResponse:
    return _shown(request)


def _shown(request: HttpRequest, *, refusal: str = "", status: int = 200) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    before = whole_number(request.GET.get("before")) or None
    movements = queries.balance_statement(member_id, before=before, limit=PAGE + 1)
    here = reverse("shop:balance")
    more = f"{here}?before={movements[PAGE - 1].pk}" if len(movements) > PAGE else ""
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/stored_value_rows.html", movements=movements[:PAGE], more=more)
    asked = queries.stored_value_request_of(member_id)
    notice = _("The gift card is yours now.") if request.GET.get("bound") else ""
    notice = _("We have your request and answer within 7 days.") if request.GET.get("asked") else notice
    return show(
        request,
        "shop/stored_value.html",
        tab="me",
        status=status,
        notice=notice,
        refusal=refusal,
        balance=queries.balance_for(member_id),
        can_recharge=queries.has_recharge_offers(),
        request_back=asked,
        returned=queries.returned_value_of(asked) if asked and asked.state == asked.PAID else None,
        cards=queries.gift_cards_of(member_id),
        movements=movements[:PAGE],
        more=more,
    )


@require_POST
@members_only
def card_bind(request: HttpRequest) -> HttpResponse:
    try:
        services.bind_gift_card(
            member_id=request.member.pk,  # type: ignore[attr-defined]
            code=request.POST.get("code", ""),
        )
    except Refusal as refusal:
        return _shown(request, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:balance')}?bound=1")


@require_POST
@members_only
def balance_back(request: HttpRequest) -> HttpResponse:
    """POST reason to ask for what she paid in; POST with `stay` takes the asking back."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    if request.POST.get("stay"):
        services.withdraw_stored_value_request(member_id=member_id)
        return HttpResponseRedirect(reverse("shop:balance"))
    try:
        services.ask_for_stored_value(member_id=member_id, reason=request.POST.get("reason", ""))
    except Refusal as refusal:
        return _shown(request, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:balance')}?asked=1")
