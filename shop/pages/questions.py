"""Questions about a product: answered ones for everybody, asking for members."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from core.errors import Refusal
from shop import queries, services
from shop.errors import NoSuchProduct
from shop.pages.frame import greeted, member_id_of, members_only, problem, show


@require_GET
@greeted
def questions(request: HttpRequest, pk: int) -> HttpResponse:
    return _questions(request, pk)


def _questions(request: HttpRequest, pk: int, *, refusal: str = "", status: int = 200) -> HttpResponse:
    try:
        product = queries.product_page(pk)
    except NoSuchProduct as missing:
        return problem(request, missing, symbol="package-open")
    member_id = member_id_of(request)
    return show(
        request,
        "shop/questions.html",
        status=status,
        product=product,
        questions=queries.questions_of(pk),
        mine=queries.open_questions_of(member_id, pk) if member_id else [],
        typed=request.POST.get("text", "")[:400] if refusal else "",
        refusal=refusal,
        back=reverse("shop:product", args=[pk]),
    )


@require_POST
@members_only
def questions_ask(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        services.ask_question(
            member_id=request.member.pk,  # type: ignore[attr-defined]
            product_id=pk,
            text=request.POST.get("text", ""),
        )
    except Refusal as refusal:
        return _questions(request, pk, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:questions", args=[pk]))
