"""Searching: results with filters, what she may mean while she types, and the drawer of filters."""

import json
from typing import Any
from urllib.parse import quote, unquote, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from shop import finding, queries
from shop.forms import whole_number
from shop.pages import browse, finding_filters
from shop.pages.cards import at_tier, card, tier_of, tier_of_next
from shop.pages.finding_filters import Frame
from shop.pages.frame import greeted, note_once, show, show_part

WORDS_COOKIE = "pond_words"
WORDS_KEPT = 8


def typed_words(request: HttpRequest) -> str:
    return " ".join(request.GET.get("q", "").replace("\x00", "").split())[:50]


@require_GET
@greeted
def search(request: HttpRequest) -> HttpResponse:
    """Search by words; without words but with a sort or filters, all products; without both, her earlier words.

    What is not found as typed is looked for by its sound; then names that are like it are offered.
    """
    typed = typed_words(request)
    filters = finding_filters.asked(request.GET)
    browsing = not typed and ("sort" in request.GET or filters.count > 0)
    sort, after = browse.asked_sort(request), browse.asked_after(request)
    frame = Frame(reverse("shop:search"), typed, sort, filters)
    context: dict[str, Any] = {"products": [], "is_first": True, "more": ""}
    heard = False
    if typed or browsing:
        page = queries.product_list(search=typed, sort=sort, after=after, filters=filters)
        if (typed and not page.rows and not after) or request.GET.get("heard"):
            by_sound = queries.product_list(
                search=typed, sort=sort, after=after, filters=filters, by_sound=True
            )
            heard, page = bool(by_sound.rows), by_sound if by_sound.rows else page
        context = browse.cards_context(page, frame, after=after)
        if heard and context["more"]:
            context["more"] += "&heard=1"
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/cards.html", **at_tier(context, tier_of_next(request), "products"))
    recent = _recent_words(request)
    if not context["products"]:
        context["categories"] = browse.shelves()
        if typed:
            context["meant"] = _meant(typed)
            context["suggestions"] = [
                card(row) for row in queries.product_list(sort="sold", page_size=4).rows
            ]
    if typed or browsing:
        context.update(browse.list_context(frame))
    context = at_tier(context, tier_of(request), "products", "suggestions")
    response = show(
        request,
        "shop/search.html",
        tab="categories" if browsing else "",
        words=typed,
        browsing=browsing,
        heard=heard,
        recent=recent,
        **{"categories": [], "suggestions": [], "meant": [], "filters_count": 0, **context},
    )
    if typed and context["products"]:
        kept_words = [typed, *(word for word in recent if word != typed)][:WORDS_KEPT]
        response.set_cookie(
            WORDS_COOKIE,
            quote(json.dumps(kept_words, ensure_ascii=False)),
            max_age=180 * 24 * 3600,
            httponly=True,
            samesite="Lax",
            secure=settings.COOKIE_SECURE,
        )
    note_once(request, "visited")
    return response


def _meant(typed: str) -> list[tuple[str, str]]:
    """(name, address) of what she may have meant."""
    return [
        (name, f"{reverse('shop:search')}?{urlencode({'q': name[:50]})}") for name in queries.meant(typed)
    ]


@require_GET
def suggest(request: HttpRequest) -> HttpResponse:
    """What she may be typing, as links; a fragment for htmx."""
    typed = typed_words(request)
    addresses = {
        "brand": lambda pk: f"{reverse('shop:search')}?{urlencode({'sort': 'default', 'brand': pk})}",
        "category": lambda pk: reverse("shop:category", args=[pk]),
        "product": lambda pk: reverse("shop:product", args=[pk]),
    }
    kinds = {"brand": _("Brand"), "category": _("Category"), "product": ""}
    found = [
        {"name": one.name, "address": addresses[one.kind](one.pk), "kind": kinds[one.kind]}
        for one in (queries.suggestions(typed) if typed else [])
    ]
    meant = _meant(typed) if typed and not found else []
    return show_part(request, "shop/finding_suggestions.html", found=found, meant=meant)


@require_GET
def filters(request: HttpRequest) -> HttpResponse:
    """The drawer with counts, a fragment for htmx; without script a page of its own, its form leads to the list."""
    place = whole_number(request.GET.get("category")) or None
    typed = typed_words(request)
    chosen = finding_filters.asked(request.GET, place)
    address = reverse("shop:category", args=[place]) if place else reverse("shop:search")
    frame = Frame(address, "" if place else typed, browse.asked_sort(request), chosen)
    counts = queries.facets(search=frame.typed, filters=chosen)
    context: dict[str, Any] = {
        "frame": frame,
        "place": place,
        "groups": [_group(facet, chosen) for facet in counts.groups],
        "total": _pieces(counts.total, counts.is_estimated),
        "in_stock": _pieces(counts.in_stock, counts.is_estimated),
        "low": finding_filters.yuan(chosen.low_fen),
        "high": finding_filters.yuan(chosen.high_fen),
        "range": _range(counts),
        "chosen": chosen,
        "unfiltered": frame.link(filters=finding.Filters(category_id=place)),
    }
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/finding_drawer.html", **context)
    return show(request, "shop/finding_filters.html", **context)


@require_GET
def beside(request: HttpRequest, pk: int) -> HttpResponse:
    """What the product page shows further down, a fragment for htmx: brand, video, what goes with it."""
    about = queries.product_extras(pk)
    brand_id, name = (about.brand_id, about.brand) if about else (None, "")
    related = [card(row) for row in queries.goes_with(pk)] if about else []
    return show_part(
        request,
        "shop/finding_beside.html",
        brand=name,
        brand_address=f"{reverse('shop:search')}?{urlencode({'sort': 'default', 'brand': brand_id or 0})}",
        video=about.video if about else "",
        poster=about.poster if about else "",
        **at_tier({"related": related}, tier_of_next(request), "related"),
    )


def _group(facet: queries.Facet, chosen: finding.Filters) -> dict[str, Any]:
    """One facet with its boxes; what is ticked stays to be unticked, even when nothing is left of it."""
    ticked = chosen.brand_ids if facet.key == "brand" else chosen.values.get(int(facet.key[1:]), ())
    return {
        "key": facet.key,
        "name": facet.name or _("Brand"),
        "boxes": [
            (value, _pieces(value.count, facet.is_estimated), value.pk in ticked) for value in facet.values
        ],
        "is_open": bool(ticked),
    }


def _range(counts: queries.Facets) -> str:
    """From the lowest to the highest price in whole yuan; empty when nothing costs anything."""
    if not counts.most_fen:
        return ""
    words = (
        f"¥{finding_filters.yuan(counts.least_fen // 100 * 100)}"
        f" – ¥{finding_filters.yuan(-(-counts.most_fen // 100) * 100)}"
    )
    return _("about %(count)s") % {"count": words} if counts.is_estimated else words


def _pieces(count: int, is_estimated: bool) -> str:
    """How many fit: "12", or "about 3,400" from a sample."""
    return _("about %(count)s") % {"count": f"{count:,}"} if is_estimated else str(count)


def _recent_words(request: HttpRequest) -> list[str]:
    """What this device searched for; a cookie, so it needs no account and no table."""
    try:
        kept = json.loads(unquote(request.COOKIES.get(WORDS_COOKIE, "")) or "[]")
    except ValueError:
        return []
    return (
        [_writable(word)[:50] for word in kept[:WORDS_KEPT] if isinstance(word, str)]
        if isinstance(kept, list)
        else []
    )


def _writable(word: str) -> str:
    """Without halves of characters: JSON can name them, a page cannot be written with them."""
    return word.encode(errors="ignore").decode()


@require_POST
def forget_words(request: HttpRequest) -> HttpResponse:
    response = HttpResponseRedirect(reverse("shop:search"))
    response.delete_cookie(WORDS_COOKIE, samesite="Lax")
    return response
