"""Her points and her tier: what she has, how it came to be so, what she can do for more."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from core.errors import Refusal
from crm import queries as crm_queries
from crm import services as crm_services
from shop import queries
from shop.forms import whole_number
from shop.pages.frame import members_only, show, show_part

PAGE = 20


@require_GET
@members_only
def points(request: HttpRequest) -> HttpResponse:
    return _shown(request)


def _shown(request: HttpRequest, *, refusal: str = "", status: int = 200) -> HttpResponse:
    member = request.member  # type: ignore[attr-defined]
    before = whole_number(request.GET.get("before")) or None
    movements = crm_queries.points_statement(member.pk, before=before, limit=PAGE + 1)
    more = f"{reverse('shop:points')}?before={movements[PAGE - 1].pk}" if len(movements) > PAGE else ""
    movements = movements[:PAGE]
    orders = queries.order_numbers((move.subject for move in movements), member.pk)
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/points_rows.html", movements=movements, orders=orders, more=more)
    rules = crm_services.current_points_rules()
    card = crm_queries.tier_card(member)
    streak, is_signed_in = crm_queries.running_streak(member.pk)
    return show(
        request,
        "shop/points.html",
        tab="me",
        status=status,
        refusal=refusal,
        notice=_notice(request, streak),
        balance=crm_queries.points_of(member.pk),
        card=card,
        rules=rules,
        is_signed_in=is_signed_in,
        streak=streak,
        plans=crm_queries.plans_for_sale(card=card) if card else [],
        memberships=crm_queries.memberships_of(member.pk),
        has_mall=queries.has_mall(),
        has_tasks=crm_queries.has_tasks(),
        has_profile=crm_queries.has_profile_points(member.pk),
        movements=movements,
        orders=orders,
        more=more,
    )


def _notice(request: HttpRequest, streak: int) -> str:
    if request.GET.get("done") == "signin" and streak:
        return ngettext("Signed in: %(num)s day in a row.", "Signed in: %(num)s days in a row.", streak) % {
            "num": streak
        }
    return _("The points for your profile are yours.") if request.GET.get("done") == "profile" else ""


@require_POST
@members_only
def points_sign_in(request: HttpRequest) -> HttpResponse:
    try:
        crm_services.sign_in(member_id=request.member.pk)  # type: ignore[attr-defined]
    except Refusal as refusal:
        return _shown(request, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:points')}?done=signin")


@require_POST
@members_only
def points_profile(request: HttpRequest) -> HttpResponse:
    try:
        crm_services.reward_profile(member_id=request.member.pk)  # type: ignore[attr-defined]
    except Refusal as refusal:
        return _shown(request, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(f"{reverse('shop:points')}?done=profile")
