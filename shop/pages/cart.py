"""The cart, and the sheet that fills it."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import Refusal
from core.money import yuan
from shop import logistics, queries, services
from shop.forms import whole_number, whole_numbers
from shop.pages.add_ons import add_on_pairs, add_on_panel, add_ons_in
from shop.pages.browse import product_shown
from shop.pages.frame import go, login_address, member_id_of, members_only, note_activity, show, show_part
from shop.pages.funnel import note_step
from shop.pages.limits import passed_limits
from shop.pages.pictures import of_url
from shop.pages.pricing import line_savings, shown_quote
from shop.pricing.types import Choices


@require_POST
def choose(request: HttpRequest, pk: int) -> HttpResponse:
    """The answer of the SKU sheet: into the cart, or straight to the checkout. Logs in first, and keeps the choice."""
    product_address = reverse("shop:product", args=[pk])
    sku_id = whole_number(request.POST.get("sku"))
    quantity = whole_number(request.POST.get("quantity", "1"))
    intent = "buy" if request.POST.get("intent") == "buy" else "cart"
    member_id = member_id_of(request)
    if member_id is None:
        chosen = urlencode({"sku": sku_id, "quantity": quantity, "ask": intent})
        return go(request, login_address(f"{product_address}?{chosen}"))
    if intent == "buy":
        return go(
            request, f"{reverse('shop:checkout')}?{urlencode({'line': f'{sku_id}:{max(quantity, 1)}'})}"
        )
    try:
        services.add_to_cart(member_id=member_id, sku_id=sku_id, quantity=quantity)
    except Refusal as refusal:
        if request.headers.get("HX-Request"):
            return _spoken(request, refusal.message, closes=False)
        return product_shown(request, pk, refusal=refusal.message, status=refusal.status)
    note_activity(member_id, "added_to_cart", f"product:{pk}")
    if not request.headers.get("HX-Request"):
        return HttpResponseRedirect(reverse("shop:cart"))
    return _spoken(request, _("It is in your cart"), closes=True)


def _spoken(request: HttpRequest, words: str, *, closes: bool) -> HttpResponse:
    """A line for the toast, and the new count for the badge."""
    member_id = member_id_of(request)
    count = queries.cart_count(member_id) if member_id else 0
    response = show_part(request, "shop/cart_count.html", cart_count=count, out_of_band=True)
    response.headers["HX-Trigger"] = json.dumps({"say": words} | ({"sheet:close": True} if closes else {}))
    return response


@require_http_methods(["GET", "POST"])
@members_only
def cart(request: HttpRequest) -> HttpResponse:
    """The cart; posted, it notes which lines are ticked."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    if request.method == "POST":
        _note_ticks(request, member_id)
        if request.headers.get("HX-Request"):
            return _cart_part(request, member_id)
        return HttpResponseRedirect(_with_add_ons(reverse("shop:cart"), request))
    sku_id, _mark, quantity = request.GET.get("undo", "").partition(":")
    undo = None
    if whole_number(sku_id) and whole_number(quantity):
        undo = {"sku_id": whole_number(sku_id), "quantity": whole_number(quantity), "name": _("one item")}
    response = show(
        request,
        "shop/cart.html",
        tab="cart",
        out_of_band=False,
        **_cart_context(member_id, undo=undo, add_ons=add_ons_in(request.GET)),
    )
    note_step(request, logistics.CART)
    return response


def _note_ticks(request: HttpRequest, member_id: int) -> None:
    """The boxes as they were sent. A line that cannot be ordered sends none and keeps its tick for later."""
    lines = [line.sku_id for line in queries.cart_of(member_id).lines if not line.problem]
    if request.headers.get("HX-Trigger-Name") == "all":
        ticked = set(lines if "all" in request.POST else [])
    else:
        ticked = set(whole_numbers(request.POST.getlist("sku")))
    services.select_cart_lines(
        member_id=member_id, selected=False, sku_ids=[sku_id for sku_id in lines if sku_id not in ticked]
    )
    services.select_cart_lines(member_id=member_id, selected=True, sku_ids=ticked)


@require_POST
@members_only
def cart_line(request: HttpRequest, sku_id: int) -> HttpResponse:
    """Set how many of a line; 0 takes it out and offers to undo."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    quantity = whole_number(request.POST.get("quantity"), -1)
    if "ticks" in request.POST:  # a tick of a moment ago may still be on its way
        _note_ticks(request, member_id)
    undo, refusal = None, ""
    if quantity == 0:
        removed = next((line for line in queries.cart_of(member_id).lines if line.sku_id == sku_id), None)
        if removed is not None:
            undo = {"sku_id": sku_id, "quantity": removed.quantity, "name": removed.product_name}
    try:
        services.set_cart_line(member_id=member_id, sku_id=sku_id, quantity=quantity)
    except Refusal as error:
        refusal = error.message
    if request.headers.get("HX-Request"):
        return _cart_part(request, member_id, undo=undo, refusal=refusal)
    ending = f"?undo={undo['sku_id']}:{undo['quantity']}" if undo else ""
    return HttpResponseRedirect(_with_add_ons(reverse("shop:cart") + ending, request))


@require_POST
@members_only
def cart_checkout(request: HttpRequest) -> HttpResponse:
    """Note the ticks of the form and go on to the checkout with them."""
    _note_ticks(request, request.member.pk)  # type: ignore[attr-defined]
    return go(request, _with_add_ons(f"{reverse('shop:checkout')}?from=cart", request))


def _with_add_ons(address: str, request: HttpRequest) -> str:
    """The address with the add-ons that are ticked in the form: they are kept nowhere else."""
    pairs = urlencode(add_on_pairs(add_ons_in(request.POST)))
    return f"{address}{'&' if '?' in address else '?'}{pairs}" if pairs else address


def _cart_part(request: HttpRequest, member_id: int, **more: Any) -> HttpResponse:
    """The cart's form alone, with the badge beside it."""
    context = _cart_context(member_id, add_ons=add_ons_in(request.POST), **more)
    return show_part(request, "shop/cart_lines.html", out_of_band=True, **context)


def _cart_context(
    member_id: int,
    *,
    undo: dict[str, Any] | None = None,
    refusal: str = "",
    add_ons: tuple[int, ...] = (),
) -> dict[str, Any]:
    page = queries.cart_of(member_id)
    chosen = page.selected
    address = queries.default_address(member_id) if chosen else None
    quote = services.quote(
        member_id=member_id,
        lines=[(line.sku_id, line.quantity) for line in chosen],
        region=address.province if address else "",
        choices=Choices(add_on_sku_ids=add_ons),
    )
    saved, shown = line_savings(quote), shown_quote(quote)
    passed = passed_limits(chosen)
    lines = [
        _shown_line(line, saved.get(line.sku_id, 0), passed.get(line.product_id, ""))
        if line in chosen
        else _shown_line(line, 0)
        for line in page.lines
    ]
    total_fen = shown["goods_total_fen"]
    said = _("Total ¥%(total)s") % {"total": yuan(total_fen)} if lines else _("Your cart is empty")
    if undo:
        said = _("Removed: %(name)s") % {"name": undo["name"]}
    return {
        "lines": lines,
        "total_fen": total_fen,
        "quote": shown,
        "add_ons": add_on_panel(quote),
        "chosen_count": sum(line.quantity for line in chosen),
        "all_selected": bool(chosen) and all(line.is_selected for line in page.lines if not line.problem),
        "cart_count": page.count,
        "undo": undo,
        "refusal": refusal,
        "said": said,
    }


def _shown_line(line: queries.CartRow, saved_fen: int, limit_words: str = "") -> dict[str, Any]:
    return {
        "sku_id": line.sku_id,
        "address": reverse("shop:product", args=[line.product_id]),
        "name": line.product_name,
        "variant": line.sku_name,
        "image": of_url(line.image_url, line.image_width, line.image_height),
        "price_fen": line.price_fen,
        "saved_fen": saved_fen,
        "quantity": line.quantity,
        "fewer": min(line.quantity - 1, line.available) if line.quantity > 1 else 1,
        "available": line.available,
        "selected": line.is_selected,
        "buyable": not line.problem,
        "countable": line.problem in ("", "short"),
        "marks": [*_marks(line), *([{"tone": "alarm", "words": limit_words}] if limit_words else [])],
    }


def _marks(line: queries.CartRow) -> Iterator[dict[str, str]]:
    if line.problem == "off":
        yield {"tone": "alarm", "words": _("No longer sold")}
    elif line.problem == "sold_out":
        yield {"tone": "alarm", "words": _("Sold out")}
    elif line.problem == "short":
        yield {
            "tone": "alarm",
            "words": _("Only %(count)d left, please take fewer") % {"count": line.available},
        }
    elif line.available <= 5:
        yield {"tone": "soft", "words": _("Only %(count)d left") % {"count": line.available}}
    change = line.price_changed_fen
    if change and line.problem not in ("off", "sold_out"):
        amount = {"amount": yuan(abs(change)).removesuffix(".00")}
        if change < 0:
            yield {"tone": "fine", "words": _("¥%(amount)s cheaper than when you chose it") % amount}
        else:
            yield {"tone": "alarm", "words": _("¥%(amount)s dearer than when you chose it") % amount}
