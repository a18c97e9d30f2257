"""From the chosen lines to money: confirm, place the order, pay."""

import secrets
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from core import clock, money
from core.errors import Refusal
from shop import logistics, queries, rules, services
from shop.errors import BadAddress, CouponRefused, NoSuchOrder, PriceChanged, SoldOut
from shop.forms import order_key, order_lines, whole_number
from shop.models import Address, Order, Payment, Sku
from shop.pages import tenders, words
from shop.pages.add_ons import add_on_pairs, add_on_panel, add_ons_in, with_add_ons
from shop.pages.bundles import shown_parts
from shop.pages.coupons_choice import choice_panel, choices_in, chosen_pairs
from shop.pages.frame import members_only, note_once, problem, sdk_for, show
from shop.pages.funnel import LEFT_REASONS, note_checkout, note_step
from shop.pages.limits import passed_limits
from shop.pages.me import shown_address
from shop.pages.pickup_choices import pickup_of, shown_stores, with_pickup
from shop.pages.pictures import of_name, of_url
from shop.pages.presale import shown_order_terms, shown_quote_terms
from shop.pages.pricing import line_savings, shown_quote
from shop.pricing.types import Choices, Quote


@require_http_methods(["GET", "POST"])
def checkout(request: HttpRequest) -> HttpResponse:
    """`line=SKU:QUANTITY` names what to buy; without it, the ticked lines of the cart. Posted: the order is placed."""
    if request.method == "POST":
        return _posted(request)
    return _asked_for(request)


def _posted(request: HttpRequest) -> HttpResponse:
    """Who she is, where it goes, and what the order needs to know are asked together."""
    sent = request.POST
    choices, key = _choices_in(sent), order_key(sent)
    words = (
        services.order_words(lines=order_lines(sent), choices=choices, idempotency_key=key) if key else None
    )
    address_id = whole_number(sent.get("address"))
    if words is None:
        hers, ground = queries.visitor_address(request, address_id)[0], None
    else:
        hers, text = queries.visitor_address(request, address_id, words.ground.sql, words.ground.params)
        ground = words.found(text) if text is not None else None
    return _placed(request, services.AddressInput(**hers) if hers else None, choices, ground)


@members_only
def _asked_for(request: HttpRequest) -> HttpResponse:
    lines = order_lines(request.GET)
    response = _shown(
        request,
        lines=lines or None,
        address_id=whole_number(request.GET.get("address")),
        key=_new_key(),
        choices=_choices_in(request.GET),
    )
    note_once(request, "visited")
    return response


def _choices_in(values: QueryDict) -> Choices:
    """Coupons, points, add-ons and how it comes to her, from an address or a form."""
    choices = with_add_ons(with_pickup(choices_in(values), pickup_of(values)), add_ons_in(values))
    return replace(choices, agrees_to_deposit=values.get("deposit") == "1")


def _new_key() -> str:
    return secrets.token_urlsafe(24)


@members_only
def _placed(
    request: HttpRequest,
    address: services.AddressInput | None,
    choices: Choices,
    ground: services.OrderGround | None,
) -> HttpResponse:
    """`address` is the one of hers that she named, None when there is no such one."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    sent = request.POST
    lines, address_id, key = order_lines(sent), whole_number(sent.get("address")), order_key(sent)
    from_cart, note = sent.get("from") == "cart", sent.get("note", "")
    again: dict[str, Any] = {
        "choices": choices,
        "lines": lines,
        "from_cart": from_cart,
        "address_id": address_id,
        "note": note[:200],
    }
    if not key:
        return _shown(
            request, **again, key=_new_key(), status=400, refusal=_("Please look once more and confirm.")
        )
    if address is None and (address_id or queries.parcel_lines(lines)):
        return _shown(
            request, **again, key=key, status=422, address_error=_("Please choose where to send it.")
        )
    shown_fen = whole_number(sent.get("total"), -1)
    try:
        order = services.place_order(
            member_id=member_id,
            lines=lines,
            address=address,
            note=note,
            idempotency_key=key,
            choices=choices,
            from_cart=from_cart,
            expected_total_fen=shown_fen if shown_fen >= 0 else None,
            ground=ground,
        )
    except PriceChanged as refusal:
        note_step(request, logistics.REFUSED, reason="price_changed")
        message = _("Prices changed a moment ago. Please look at the new total.")
        return _shown(request, **again, key=key, status=refusal.status, refusal=message)
    except SoldOut as refusal:
        note_step(request, logistics.REFUSED, reason=refusal.code)
        errors = {shortage.sku_id: shortage for shortage in refusal.shortages}
        message = _("Some things were faster gone than you. Nothing was ordered.")
        return _shown(request, **again, key=key, status=refusal.status, refusal=message, shortages=errors)
    except BadAddress as refusal:
        return _shown(request, **again, key=key, status=422, address_error=refusal.message)
    except Refusal as refusal:
        note_step(request, logistics.REFUSED, reason=refusal.code)
        if isinstance(refusal, CouponRefused):  # show what can be had without it
            again["choices"] = replace(choices, coupon_ids=None)
        return _shown(request, **again, key=key, status=refusal.status, refusal=refusal.message)
    return HttpResponseRedirect(_pay_address(order.number))


def _pay_address(number: str) -> str:
    """As `reverse` has it; a number is made of letters and digits."""
    return _any_pay_address().replace("NUMBER", number)


@cache
def _any_pay_address() -> str:
    return reverse("shop:pay", args=["NUMBER"])


def _quote(member_id: int, lines: list[tuple[int, int]], address: Address | None, choices: Choices) -> Quote:
    region = address.province if address else ""
    return services.quote(member_id=member_id, lines=lines, choices=choices, region=region)


def _shown(
    request: HttpRequest,
    *,
    lines: list[tuple[int, int]] | None,
    address_id: int,
    key: str,
    choices: Choices,
    from_cart: bool | None = None,
    note: str = "",
    status: int = 200,
    refusal: str = "",
    address_error: str = "",
    shortages: dict[int, Any] | None = None,
) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    page = queries.checkout_of(member_id, lines)
    if lines is None and page.problems:  # ticked, but not to be had: the cart says so and does not count them
        page = queries.checkout_of(
            member_id, [(line.sku_id, line.quantity) for line in page.lines if not line.problem]
        )
    if not page.lines:
        return _nothing_chosen(request)
    origin = "cart" if (from_cart if from_cart is not None else lines is None) else "product"
    known = queries.addresses_of(member_id)
    address = next((one for one in known if one.pk == address_id), None) or next(iter(known), None)
    parcels = _parcels(page.lines)
    note_checkout(request, has_address=address is not None or not parcels)
    chosen = (
        []
        if origin == "cart" and lines is None
        else [("line", f"{line.sku_id}:{line.quantity}") for line in page.lines]
    )
    chosen += add_on_pairs(choices.add_on_sku_ids)
    here = f"{reverse('shop:checkout')}?{urlencode([('from', origin), *chosen])}"
    mine = chosen_pairs(choices)
    there = f"{here}&address={address.pk}" if address else here
    collecting = shown_stores(
        parcels,
        f"{there}&{urlencode(mine)}" if mine else there,
        choices.pickup_store_id or 0,
    )
    if collecting["chosen"]:
        pickup = f"&pickup={collecting['chosen']['pk']}"
        here, there = here + pickup, there + pickup
    else:
        choices = with_pickup(choices, 0)
    quote = _quote(member_id, [(line.sku_id, line.quantity) for line in page.lines], address, choices)
    if quote.deposit_fen:
        choices = services.presale_choices(choices)
        quote = _quote(member_id, [(line.sku_id, line.quantity) for line in page.lines], address, choices)
    presale = shown_quote_terms(quote)
    panel = choice_panel(quote, choices, member_id=member_id, here=there)
    add_ons = add_on_panel(quote, f"{there}&{urlencode(mine)}" if mine else there)
    here = f"{here}&{urlencode(mine)}" if mine else here
    saved = line_savings(quote)
    parts = shown_parts(line.sku_id for line in page.lines if line.supply == Sku.PARTS)
    blocked = [line for line in page.lines if line.problem]
    passed = passed_limits(page.lines)
    if blocked and not refusal:
        refusal = _(
            "Not everything can be ordered any more. Please change your choice in the cart or on its page."
        )
    return show(
        request,
        "shop/checkout.html",
        status=status,
        cart_count=0,
        lines=[
            _shown_line(line, (shortages or {}).get(line.sku_id), passed.get(line.product_id, ""))
            | {"saved_fen": saved.get(line.sku_id, 0), "parts": parts.get(line.sku_id, [])}
            for line in page.lines
        ],
        quote=shown_quote(quote),
        choice=panel,
        add_ons=add_ons,
        presale=presale,
        payable=not blocked
        and not passed
        and not (presale and presale["problem"])
        and (not collecting["chosen"] or collecting["chosen"]["has_all"]),
        collecting=collecting,
        origin=origin,
        key=key,
        note=note,
        here=here,
        refusal=refusal,
        address_error=address_error,
        needs_address=bool(parcels) or _has_extras(quote, page.lines),
        address=shown_address(address) if address else None,
        guarantees=queries.guarantees(),
        addresses=[_choosable(one, here) for one in known],
        sdk=sdk_for(request),
    )


def _parcels(lines: list[queries.CartRow]) -> list[tuple[int, int]]:
    """What has to be sent or collected of them; no statement unless something is no goods of its own."""
    wanted = [(line.sku_id, line.quantity) for line in lines]
    return wanted if all(line.supply == Sku.STOCK for line in lines) else queries.parcel_lines(wanted)


def _has_extras(quote: Quote, lines: list[queries.CartRow]) -> bool:
    """Gifts and add-ons come by parcel, even with a service."""
    known = {line.sku_id for line in lines}
    return any(line.sku_id not in known for line in quote.lines)


def _nothing_chosen(request: HttpRequest) -> HttpResponse:
    refusal = Refusal(_("There is nothing chosen to order. Tick something in your cart first."))
    return problem(request, refusal, symbol="shopping-bag", link=reverse("shop:cart"), label=_("To the cart"))


def _choosable(address: Address, here: str) -> dict[str, Any]:
    return shown_address(address, choose=f"{here}&address={address.pk}")


def _shown_line(line: queries.CartRow, shortage: Any, limit_words: str) -> dict[str, Any]:
    error = limit_words
    if shortage is not None:
        available = shortage.available
        error = _("Only %(count)d left") % {"count": available} if available else _("Sold out")
    elif line.problem:
        error = line.problem_text
    return {
        "sku_id": line.sku_id,
        "name": line.product_name,
        "variant": line.sku_name,
        "image": of_url(line.image_url, line.image_width, line.image_height),
        "price_fen": line.price_fen,
        "quantity": line.quantity,
        "buyable": not line.problem,
        "error": error,
    }


# --- The till ------------------------------------------------------------------------------------------------------
def _state_of(order: Order) -> str:
    """ready, early, paid or closed: what the till shows. Only WeChat's notice makes an order paid.

    early: the deposit of a presale is paid, its balance cannot be paid yet.
    """
    if order.awaits_balance:
        presale = queries.presale_of_order(order)
        if presale is not None and clock.now() < presale.balance_starts_at:
            return "early"
    if order.status == rules.PENDING_PAYMENT:
        return "ready" if order.expires_at is None or order.expires_at > clock.now() else "closed"
    return "closed" if order.status == rules.CANCELLED else "paid"


@require_http_methods(["GET", "POST"])
@members_only
def pay(request: HttpRequest, number: str) -> HttpResponse:
    """The till. Posted by its script, it answers the parameters for WeChat's payment sheet as JSON."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        order = queries.order_for(number, member_id=member_id)
    except NoSuchOrder as refusal:
        if request.method == "POST":
            return JsonResponse({"message": refusal.message}, status=refusal.status)
        return problem(
            request, refusal, symbol="receipt-text", link=reverse("shop:orders"), label=_("My orders")
        )
    if request.method == "POST":
        return _start(request, order)
    if order.status in (rules.SHIPPED, rules.REFUNDED):  # an old link: "we are packing" would be untrue
        return HttpResponseRedirect(reverse("shop:order", args=[order.number]))
    return _till(request, order)


def _start(request: HttpRequest, order: Order) -> HttpResponse:
    """Answers scripts in JSON: {"paid"}, {"parameters"} for WeChat's sheet, {"qr"} as SVG or {"h5_url"} to go to."""
    wants_json = "application/json" in request.headers.get("Accept", "")
    chosen = tenders.choice_of(request)
    member_id = request.member.pk  # type: ignore[attr-defined]
    balance_fen = tenders.means_of(order, member_id)["balance"] if chosen.use_balance else 0
    try:
        started = services.start_payment(
            order_id=order.pk,
            member_id=member_id,
            stored_value_fen=balance_fen,
            gift_card_id=chosen.gift_card_id,
            gift_card_code=chosen.gift_card_code,
            way=chosen.way,
            client_ip=tenders.client_ip(request),
        )
    except Refusal as refusal:
        current = queries.find_order(order.pk)
        if current is not None and _state_of(current) in ("paid", "early"):
            started = {"paid": True}
        elif wants_json:
            return JsonResponse({"message": refusal.message, "code": refusal.code}, status=refusal.status)
        else:
            return _till(request, order, refusal=refusal.message, status=refusal.status)
    note_step(request, logistics.SHEET, order_id=order.pk)
    if started.get("paid"):
        here = reverse("shop:pay", args=[order.number])
        return JsonResponse({"paid": True}) if wants_json else HttpResponseRedirect(here)
    if "code_url" in started:
        picture = tenders.drawn(started["code_url"])
        if not wants_json:
            return _till(request, order, picture=picture)
        rest_fen = tenders.means_of(order, member_id)["rest_fen"]  # a card was perhaps bound just now
        return JsonResponse({"qr": picture, "amount": f"¥{money.yuan(rest_fen)}"})
    if "h5_url" in started:
        address = f"{started['h5_url']}&{urlencode({'redirect_url': request.build_absolute_uri('?back=1')})}"
        return JsonResponse({"h5_url": address}) if wants_json else _till(request, order, h5_url=address)
    # WeChat's sheet is opened by a script: one that came later than she pressed goes on from here.
    return JsonResponse({"parameters": started}) if wants_json else _till(request, order, going=True)


def _till(
    request: HttpRequest,
    order: Order,
    *,
    refusal: str = "",
    status: int = 200,
    picture: str = "",
    h5_url: str = "",
    going: bool = False,
) -> HttpResponse:
    state = _state_of(order)
    asked = _asked(order) if state in ("paid", "early") else []
    closed = order.cancel_reason or _("The time for payment is over. Nothing was charged.")
    return show(
        request,
        "shop/pay.html",
        status=status,
        cart_count=0,
        state="scan" if picture else state,
        refusal=refusal,
        picture=picture,
        h5_url=h5_url,
        came_back=bool(request.GET.get("back")),
        going=going,
        way=tenders.way_for(request),
        means=tenders.means_of(order, request.member.pk) if state == "ready" else None,  # type: ignore[attr-defined]
        order={
            "number": order.number,
            "total_fen": order.due_fen if state in ("ready", "early") else order.total_fen,
            "is_deposit": order.payment_stage == Payment.DEPOSIT,
            "is_done": order.status == rules.RECEIVED and words.has_no_parcel(order),
            "address": reverse("shop:order", args=[order.number]),
            "seconds_left": words.seconds_left(order.expires_at),
            "pay_until": words.clock_time(order.expires_at),
            "closed_words": closed,
        },
        images=[of_name(line.image) for line in list(order.lines.all())[:4]],
        presale=shown_order_terms(order),
        guarantees=queries.guarantees() if state == "ready" else [],
        asked=asked,
        templates=[template for template, _words in asked],
        sdk=sdk_for(request),
    )


def _asked(order: Order) -> list[tuple[str, str]]:
    """What this order may still bring, then the house's own templates; WeChat's popup takes three."""
    asked = queries.asked_templates(order)
    known = {template for template, _words in asked}
    news = _("When something new, or something for you, is here")
    asked += [(template, news) for template in settings.ORDER_TEMPLATES if template not in known]
    return asked[:3]


@require_GET
@members_only
def pay_state(request: HttpRequest, number: str, *, of_deposit: bool = False) -> HttpResponse:
    """What the till asks while it waits; with `look` WeChat itself is asked, should its notice be lost.

    `of_deposit`: it waits for the first payment of a presale.
    """
    try:
        order = queries.order_for(number, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchOrder as refusal:
        return JsonResponse({"message": refusal.message}, status=refusal.status)
    if request.GET.get("look") and _state_of(order) != "paid":
        order = services.check_payment(order_id=order.pk)
    state = _state_of(order)
    if of_deposit and order.deposit_paid_at is not None:
        state = "paid"
    left = request.GET.get("left", "")
    if left in LEFT_REASONS and state != "paid":
        note_step(request, logistics.LEFT, order_id=order.pk, reason=left)
    return JsonResponse({"paid": state == "paid", "closed": state == "closed", "status": order.status})
