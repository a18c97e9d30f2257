"""Reviews: the list under a product, and writing one with photos of what was received."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from core.errors import Refusal
from shop import queries, services
from shop.errors import NoSuchOrder, NoSuchProduct
from shop.forms import whole_number
from shop.models import Order, OrderLine, Review
from shop.pages.browse import asked_after
from shop.pages.frame import greeted, members_only, problem, show, show_part
from shop.pages.pictures import of_name
from shop.services.reviews import MOST_PHOTOS, redraw


@require_GET
@greeted
def reviews(request: HttpRequest, pk: int) -> HttpResponse:
    """All shown reviews of a product; `photos=1` only those with photos."""
    try:
        product = queries.product_page(pk)
    except NoSuchProduct as missing:
        return problem(request, missing, symbol="package-open")
    with_photos = request.GET.get("photos") == "1"
    here = reverse("shop:reviews", args=[pk])
    page = queries.reviews_of(pk, after=asked_after(request), with_photos=with_photos)
    kept = {"photos": 1} if with_photos else {}
    context: dict[str, Any] = {
        "reviews": page.rows,
        "more": f"{here}?{urlencode({**kept, 'after': page.after})}" if page.after else "",
    }
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/reviews_rows.html", **context)
    voices = queries.voices_of(pk)
    return show(
        request,
        "shop/reviews.html",
        product=product,
        voices=voices,
        with_photos=with_photos,
        here=here,
        back=reverse("shop:product", args=[pk]),
        **context,
    )


def _state_words(review: Review) -> str:
    return {
        Review.SHOWN: _("Others can see it"),
        Review.HIDDEN: _("Only you can see it"),
    }.get(review.state, _("Others see it when we have looked at it"))


@require_GET
@members_only
def reviews_order(request: HttpRequest, number: str) -> HttpResponse:
    """The lines of her order: what she reviewed, and what she still can."""
    try:
        order, lines = queries.lines_to_review(number, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchOrder as missing:
        return problem(
            request, missing, symbol="receipt-text", link=reverse("shop:orders"), label=_("My orders")
        )
    return show(
        request,
        "shop/reviews_order.html",
        tab="me",
        order_address=reverse("shop:order", args=[number]),
        lines=[
            {
                **_shown(line),
                "review": review,
                "state": _state_words(review) if review else "",
                "reason": review.reason if review and review.state == Review.HIDDEN else "",
                "photos": [(one.thumbnail.url, one.image.url) for one in review.photos.all()]
                if review
                else [],
                "writable": review is None and _may_review(order, line),
                "address": reverse("shop:reviews_write", args=[line.pk]),
            }
            for line, review in lines
        ],
    )


def _may_review(order: Order, line: OrderLine) -> bool:
    return order.status == Order.RECEIVED and line.refunded_quantity < line.quantity


def _shown(line: OrderLine) -> dict[str, Any]:
    return {"name": line.product_name, "variant": line.sku_name, "image": of_name(line.image)}


@require_http_methods(["GET", "POST"])
@members_only
def reviews_write(request: HttpRequest, pk: int) -> HttpResponse:
    """Stars, words and photos for one line of an order that she received."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        line = queries.line_to_review(pk, member_id=member_id)
    except NoSuchOrder:
        missing = NoSuchOrder(_("This order does not exist."))
        return problem(
            request, missing, symbol="receipt-text", link=reverse("shop:orders"), label=_("My orders")
        )
    back = reverse("shop:reviews_order", args=[line.order.number])
    refusal, status = "", 200
    if request.method == "POST":
        try:
            files = request.FILES.getlist("photos")[: MOST_PHOTOS + 1]
            services.write_review(
                line_id=pk,
                member_id=member_id,
                stars=whole_number(request.POST.get("stars")),
                text=request.POST.get("text", ""),
                photos=[redraw(file, file.size or 0) for file in files],
                is_anonymous=bool(request.POST.get("anonymous")),
            )
        except Refusal as refused:
            refusal, status = refused.message, refused.status
            if request.FILES:  # a browser does not keep them
                refusal = " ".join([refusal, _("Please choose your photos again.")])
        else:
            return HttpResponseRedirect(back)
    return show(
        request,
        "shop/reviews_write.html",
        status=status,
        tab="me",
        line=_shown(line),
        refusal=refusal,
        stars=whole_number(request.POST.get("stars"), 5),
        text=request.POST.get("text", "")[:2000],
        anonymous=bool(request.POST.get("anonymous")),
        most_photos=MOST_PHOTOS,
        back=back,
    )
