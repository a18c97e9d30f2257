"""Looking around: the front page, shelves, one product."""

from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET
from markupsafe import Markup

from core import keyset
from shop import finding, queries, rules
from shop.errors import NoSuchProduct
from shop.forms import whole_number
from shop.models import Product
from shop.pages import finding_filters, words
from shop.pages.bundles import shown_parts
from shop.pages.cards import HERS, Card, at_tier, card, tier_of, tier_of_next
from shop.pages.finding_filters import Frame
from shop.pages.frame import (
    greeted,
    hole,
    kept,
    kept_fragment,
    note_once,
    problem,
    rendered,
    show,
    show_kept,
    visitor_met,
)
from shop.pages.hot import refusal_words
from shop.pages.limits import limit_words
from shop.pages.offers_shown import at_offer_prices, offer_fills, shown_offers, shown_strip, strip_fills
from shop.pages.pictures import of_image
from shop.pages.pricing import at_member_prices, tier_values

SORTS = ("default", "sold", "new", "price", "-price")


class Shelf(NamedTuple):
    """A category as a link."""

    pk: int
    name: str
    address: str
    children: "list[Shelf]"


class Choice(NamedTuple):
    label: str
    address: str
    is_current: bool


def shelves() -> list[Shelf]:
    """The tree of categories as links."""
    found: dict[int, Shelf] = {}
    roots = []
    for row in queries.categories():
        shelf = Shelf(row.pk, row.name, reverse("shop:category", args=[row.pk]), [])
        found[row.pk] = shelf
        if row.parent_id is None:
            roots.append(shelf)
        else:
            found[row.parent_id].children.append(shelf)
    return roots


@require_GET
@greeted
def home(request: HttpRequest) -> HttpResponse:
    found = kept(("home",), _home_context, shelves="shop/home_shelves.html")
    fills, tier = strip_fills(found.values["flash_rows"]), tier_of(request)

    def hers() -> dict[str, Any]:
        values = at_tier(found.values, tier, "newest", "best")
        return {"shelves": rendered("shop/home_shelves.html", values)} if tier else {}

    response = show_kept(
        request, found, "shop/home.html", differing=(tier,), context=hers, tab="home", fills=fills
    )
    note_once(request, "visited")
    return response


def _home_context() -> dict[str, Any]:
    newest = queries.product_list(sort="new", page_size=8).rows
    best = queries.product_list(sort="sold", page_size=20).rows
    flash = queries.flash_offers()
    return {
        "flash_rows": flash,
        "flash": shown_strip(flash),
        "banner": _banner(newest),
        "categories": shelves(),
        "newest": [card(row) for row in newest],
        "best": [card(row) for row in best],
    }


def _banner(newest: list[queries.ProductRow]) -> Card | None:
    """The latest arrival that can be bought, in its large picture."""
    row = next((row for row in newest if not row.is_sold_out and row.image_url), None)
    if row is None:
        return None
    try:
        images = queries.product_page(row.pk).images
    except NoSuchProduct:
        return None
    return card(row)._replace(image=of_image(images[0])) if images else None


@require_GET
@greeted
def categories(request: HttpRequest) -> HttpResponse:
    response = show(request, "shop/categories.html", tab="categories", categories=shelves())
    note_once(request, "visited")
    return response


def sort_choices(frame: Frame) -> list[Choice]:
    current = frame.sort
    price = _("Price ↑") if current == "price" else _("Price ↓") if current == "-price" else _("Price")
    return [
        Choice(_("For you"), frame.link(sort="default"), current == "default"),
        Choice(_("Popular"), frame.link(sort="sold"), current == "sold"),
        Choice(_("Latest"), frame.link(sort="new"), current == "new"),
        Choice(
            price,
            frame.link(sort="-price" if current == "price" else "price"),
            current in ("price", "-price"),
        ),
    ]


def asked_sort(request: HttpRequest) -> str:
    sort = request.GET.get("sort", "default")
    return sort if sort in SORTS else "default"


def asked_after(request: HttpRequest) -> str:
    """Behind which row the page begins; "" for the first."""
    return keyset.asked(request.GET.get("after"))


def cards_context(page: queries.ProductPage, frame: Frame, *, after: str) -> dict[str, Any]:
    more = frame.link(after=page.after) if page.after else ""
    return {"products": [card(row) for row in page.rows], "is_first": not after, "more": more}


def list_context(frame: Frame) -> dict[str, Any]:
    """What stands above a list: the sorts, the filters that are on, and the way to more of them."""
    return {
        "sorts": sort_choices(frame),
        "chips_on": finding_filters.chips(frame),
        "filters_count": frame.filters.count,
        "filters_address": f"{reverse('shop:filters')}?{urlencode(_place(frame) + frame.pairs())}",
        "unfiltered": frame.link(filters=finding.Filters(category_id=frame.filters.category_id)),
    }


def _place(frame: Frame) -> list[tuple[str, str]]:
    return [("category", str(frame.filters.category_id))] if frame.filters.category_id else []


@require_GET
@greeted
def category(request: HttpRequest, pk: int) -> HttpResponse:
    """A shelf with all below it; the next pages arrive as bare cards when htmx asks."""
    sort, after, filters = asked_sort(request), asked_after(request), finding_filters.asked(request.GET, pk)
    frame = Frame(reverse("shop:category", args=[pk]), "", sort, filters)

    def cards() -> dict[str, Any]:
        page = queries.product_list(sort=sort, after=after, filters=filters)
        return cards_context(page, frame, after=after)

    def shelf() -> dict[str, Any]:
        here, chips = _place_of(pk)
        return {**cards(), **list_context(frame), "title": here.name, "category": here, "chips": chips}

    if request.headers.get("HX-Request"):
        next_tier = tier_of_next(request)
        key = ("cards", sort, after, filters.key, next_tier)
        return HttpResponse(
            kept_fragment(key, "shop/cards.html", lambda: at_tier(cards(), next_tier, "products"))
        )
    found = kept(("shelf", sort, after, filters.key), shelf, shelf="shop/shelf.html")
    tier = tier_of(request)

    def hers() -> dict[str, Any]:
        values = at_tier(found.values, tier, "products")
        return {"shelf": rendered("shop/shelf.html", values)} if tier else {}

    response = show_kept(
        request, found, "shop/category.html", differing=(tier,), context=hers, tab="categories"
    )
    note_once(request, "visited")
    return response


def _place_of(pk: int) -> tuple[Shelf, list[Shelf]]:
    """The category and the chips to narrow down with: its children, or its siblings. 404 when it is not shown."""

    def find(among: list[Shelf], parent: Shelf | None) -> tuple[Shelf, Shelf | None] | None:
        for shelf in among:
            if shelf.pk == pk:
                return shelf, parent
            deeper = find(shelf.children, shelf)
            if deeper:
                return deeper
        return None

    found = find(shelves(), None)
    if found is None:
        raise Http404
    here, parent = found
    above = here if here.children else parent
    if above is None:
        return here, []
    return here, [above._replace(name=_("All")), *above.children]


@require_GET
@partial(greeted, meet=queries.product_visitor)
def product(request: HttpRequest, pk: int) -> HttpResponse:
    response = product_shown(request, pk)
    if response.status_code == 200:
        note_once(request, "visited")
        note_once(request, "viewed_product", f"product:{pk}")
    return response


def product_shown(request: HttpRequest, pk: int, *, refusal: str = "", status: int = 200) -> HttpResponse:
    """The product page; `sku`, `quantity` and `ask` in the address open the sheet as it was left for the login.

    What everybody sees of it is kept, and whole pages for each state that hers can be in (heart, limit, offers); the
    cart's number, the forms' tokens and the clocks of offers are put in for each page.
    """
    asked = request.POST if request.method == "POST" else request.GET
    is_refused, refusal = bool(refusal), refusal or refusal_words(asked.get("hot", ""))
    try:
        found = kept(
            ("product", pk),
            lambda: _product_values(pk),
            fresh=is_refused,
            voices_part="shop/reviews_part.html",
            promotions="shop/pricing_badges.html",
        )
    except NoSuchProduct as error:
        return problem(request, error, symbol="package-open")
    here = visitor_met(request) or queries.product_visitor(request, pk)
    limit = found.values["product"].limit(here.bought)
    most = limit.most if limit else rules.MAX_QUANTITY
    skus = found.values["skus"]
    if here.member_prices:
        skus = at_member_prices(skus, here.member_prices)
    open_ones = [sku for sku in skus if sku["available"]] if most else []
    wanted = whole_number(asked.get("sku"))
    chosen = next((sku for sku in open_ones if sku["pk"] == wanted), None) or next(iter(open_ones), None)
    quantity = min(max(whole_number(asked.get("quantity"), 1), 1), chosen["most"], most) if chosen else 1
    ask = asked.get("ask", "")
    choice: dict[str, Any] = {
        "chosen_name": f"{chosen['label']} × {quantity}" if chosen and (wanted or len(skus) == 1) else "",
        "quantity": quantity,
        "ask": ask if ask in ("cart", "buy") else "",
        "refusal": refusal,
        "is_favourite": here.is_favourite,
        "is_awaited": 0 in here.awaited,
    }
    live = queries.live_offers(found.values["offers"], here.offers)
    badges = found.values["badges"]
    # What everybody else sees is kept without a tier; what a tier pays and may use, once for all of it.
    tier = here.tier if here.member_prices or any(here.tier in badge.tiers for badge in badges) else ""

    def hers() -> dict[str, Any]:
        is_presale = any(offer.kind == "presale" for offer in live)
        soon = _("Sent within 48 hours")  # a presale says its own day
        priced = [{**sku, "most": min(sku["most"], most)} for sku in at_offer_prices(skus, live)]
        return {
            **choice,
            "chosen": chosen and next(sku for sku in priced if sku["pk"] == chosen["pk"]),
            "skus": priced,
            "buyable": chosen is not None,
            "missing": [
                {"pk": sku["pk"], "label": sku["label"], "is_awaited": sku["pk"] in here.awaited}
                for sku in skus
                if open_ones and not sku["available"]
            ],
            "limit": {"words": limit_words(limit), "is_reached": not limit.most} if limit else None,
            "offers": shown_offers(live, found.values["presales"]),
            "presale_words": _("Pay the deposit") if is_presale else "",
            "promises": [one for one in found.values["promises"] if not (is_presale and one == soon)],
            **(tier_values(found.values["product"], skus, badges, tier) if tier else {}),
        }

    return show_kept(
        request,
        found,
        "shop/product.html",
        differing=(
            chosen and chosen["pk"],
            *choice.values(),
            limit and limit.taken,
            *((offer.offer_id, offer.state, offer.is_waiting) for offer in live),
            tier,
            *sorted(here.member_prices.items()),
            here.awaited,
        ),
        context=hers,
        fills={**offer_fills(live), "mine": f"?{HERS}" if here.tier else ""},
        status=status,
    )


def _product_values(pk: int) -> dict[str, Any]:
    """What a product's page shows to everybody."""
    found, offers = queries.product_page(pk), queries.offers_of(pk)
    badges = queries.promotion_badges(pk)
    return {
        "product": found,
        "images": [of_image(image) for image in found.images],
        "skus": [_offered(sku) for sku in found.skus],
        "spec_label": " / ".join(found.specs),
        "on_sale": found.status == Product.ON_SALE,
        "was_fen": _was_of(found),
        "badges": badges,
        "promotions": [badge.title for badge in badges if not badge.tiers],
        "member_cost": None,
        "mine": hole("mine"),
        "voices": queries.voices_of(pk),
        "offers": offers,
        "presales": queries.presales_of(one.offer_id for one in offers if one.kind == "presale"),
        "parts": shown_parts(sku.pk for sku in found.skus) if found.kind == Product.BUNDLE else {},
        "promises": [
            _("Genuine, from the brand"),
            *_delivery_promises(found.kind),
            _("Help from a person"),
        ],
    }


def _delivery_promises(kind: str) -> list[str]:
    if kind == Product.SERVICE:
        return [_("A voucher for our stores, at once"), _("Unused vouchers can be given back")]
    if kind == Product.VIRTUAL:
        return [_("Delivered with the payment, no parcel")]
    return [_("Sent within 48 hours"), *_shipping_promise()]


def _shipping_promise() -> list[Markup]:
    """What the shop promises of every parcel, at most two seconds old; nothing when it promises nothing."""

    def promise() -> dict[str, Any]:
        return {"promise": queries.shipping_promise()}

    text = kept_fragment(("shipping_promise",), "shop/shipping_rates_promise.html", promise).strip()
    return [Markup(text)] if text else []  # noqa: S704  escaped by Jinja


def _offered(sku: queries.SkuRow) -> dict[str, Any]:
    return {
        "pk": sku.pk,
        "label": sku.name or " ".join(sku.spec.values()) or _("Standard"),
        "spec": list(sku.spec.values()),
        "price_fen": sku.price_fen,
        "was_fen": sku.list_price_fen if sku.list_price_fen and sku.list_price_fen > sku.price_fen else None,
        "available": sku.available,
        "most": min(sku.available, rules.MAX_QUANTITY),
        "stock_words": words.stock_words(sku.available),
    }


def _was_of(found: queries.ProductPageData) -> int | None:
    """The list price of the cheapest SKU, when it is higher."""
    prices = [
        sku.list_price_fen
        for sku in found.skus
        if sku.price_fen == found.min_price_fen and sku.list_price_fen and sku.list_price_fen > sku.price_fen
    ]
    return max(prices, default=None)
