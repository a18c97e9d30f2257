"""Apply for money back or an exchange, and see what becomes of it."""

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from lucide.jinja import lucide
from markupsafe import Markup

from core import clock
from core.errors import Refusal
from shop import aftersales_rules as rules
from shop import queries, services
from shop.errors import NoSuchAfterSale, NoSuchOrder, WrongState
from shop.forms import order_key, whole_number
from shop.models import AfterSale, Order
from shop.pages.aftersales_lines import WITH_MONEY, gift_words, likely, offered
from shop.pages.frame import members_only, problem, show
from shop.pages.pictures import of_name


class Way(NamedTuple):
    kind: str
    label: str
    advice: str
    icon: Markup
    address: str


def kind_label(kind: str) -> str:
    return {
        rules.REFUND_ONLY: _("Money back only"),
        rules.RETURN_REFUND: _("Return and money back"),
        rules.EXCHANGE: _("Exchange it"),
        rules.PRICE_PROTECTION: _("The price has fallen"),
    }[kind]


def _ways(order: Order) -> list[Way]:
    here = reverse("shop:aftersales_apply", args=[order.number])

    def way(kind: str, symbol: str, advice: str) -> Way:
        icon = Markup(lucide(symbol, size=22, stroke_width=1.5, aria_hidden="true"))  # noqa: S704  our own icon
        return Way(kind, kind_label(kind), advice, icon, f"{here}?kind={kind}")

    is_shipped = order.status != Order.PAID
    ways = [
        way(
            rules.REFUND_ONLY,
            "wallet",
            _("It has not come, or something is missing") if is_shipped else _("It is not sent off yet"),
        )
    ]
    if is_shipped:
        ways.append(way(rules.RETURN_REFUND, "undo-2", _("You send it back, the money comes back")))
        ways.append(way(rules.EXCHANGE, "repeat", _("You send it back and get another size or a new one")))
    if order.paid_at is not None and clock.now() <= order.paid_at + rules.PROTECTION_TIME:
        ways.append(
            way(
                rules.PRICE_PROTECTION,
                "trending-down",
                _("Cheaper within %(days)d days? We return the difference")
                % {"days": rules.PROTECTION_TIME.days},
            )
        )
    return ways


def may_apply(order: Order) -> bool:
    """Whether the order page offers it at all; the command judges again."""
    in_time = order.received_at is None or clock.now() <= order.received_at + rules.APPLY_WITHIN
    is_open = order.status in (Order.PAID, Order.SHIPPED, Order.RECEIVED)
    return is_open and in_time and not order.is_refunding and order.channel == "mall"


def reasons(kind: str) -> list[str]:
    if kind == rules.PRICE_PROTECTION:
        return [_("The price has fallen")]
    common = [_("The size does not fit"), _("It is damaged or faulty"), _("It is not as described")]
    if kind == rules.REFUND_ONLY:
        common = [_("I do not need it any more"), _("The parcel has not come"), _("Something is missing")]
    return [*common, _("Other")]


@require_http_methods(["GET", "POST"])
@members_only
def aftersales_apply(request: HttpRequest, number: str) -> HttpResponse:
    """Without `?kind=` the ways to choose from, with it the form."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        order = queries.order_for(number, member_id=member_id)
    except NoSuchOrder as missing:
        return problem(request, missing, link=reverse("shop:orders"), label=_("My orders"))
    back = reverse("shop:order", args=[number])
    sent = request.POST if request.method == "POST" else request.GET
    kind = sent.get("kind", "")
    if not may_apply(order):
        closed = WrongState(_("Nothing can be applied for with this order now. Please write to us."))
        return problem(request, closed, link=back, label=_("Back to the order"))
    if kind not in rules.KINDS:
        return show(request, "shop/aftersales_apply.html", tab="me", ways=_ways(order), number=number)
    refusal_text, status = "", 200
    if request.method == "POST":
        try:
            key = order_key(request.POST)
            if not key:
                raise Refusal(_("Please look once more and confirm."))
            made = services.apply_for_aftersale(
                order_id=order.pk,
                member_id=member_id,
                kind=kind,
                parts=_chosen(request),
                reason=sent.get("reason", ""),
                description=sent.get("description", ""),
                idempotency_key=key,
                files=request.FILES.getlist("photos"),
                new_skus={
                    whole_number(line): whole_number(sent.get(f"new-{line}"))
                    for line in sent.getlist("line")
                    if sent.get(f"new-{line}")
                },
                held_skus={
                    whole_number(line): whole_number(sent.get(f"held-{line}"))
                    for line in sent.getlist("line")
                    if sent.get(f"held-{line}")
                },
            )
            return HttpResponseRedirect(reverse("shop:aftersales_state", args=[made.number]))
        except Refusal as refusal:
            refusal_text, status = refusal.message, refusal.status
            if request.FILES:  # a browser does not keep them
                refusal_text = " ".join([refusal_text, _("Please choose your photos again.")])
    rows = queries.applicable_lines(order)
    chosen = dict(_chosen(request)) if request.method == "POST" else {}
    terms = services.gift_terms(order, [row.line for row in rows]) if kind in WITH_MONEY else {}
    lines = [
        offered(row, kind)
        | {
            "quantity": chosen.get(row.line.pk) or likely(row, kind),
            "is_chosen": row.line.pk in chosen or (len(rows) == 1 and request.method == "GET"),
            "new_pk": whole_number(sent.get(f"new-{row.line.pk}")) or (row.held[0][0].pk if row.held else 0),
            "held_pk": whole_number(sent.get(f"held-{row.line.pk}")),
            "gift_words": gift_words(row, kind, terms),
        }
        for row in rows
    ]
    return show(
        request,
        "shop/aftersales_form.html",
        tab="me",
        status=status,
        refusal=refusal_text,
        heading=kind_label(kind),
        kind=kind,
        is_exchange=kind == rules.EXCHANGE,
        is_return=kind in rules.WITH_RETURN,
        is_price=kind == rules.PRICE_PROTECTION,
        none_free=not any(line["free"] for line in lines),
        with_money=kind in WITH_MONEY,
        number=number,
        back=back,
        key=secrets.token_urlsafe(24),
        reasons=reasons(kind),
        reason=sent.get("reason", ""),
        description=sent.get("description", "")[: rules.MAX_DESCRIPTION],
        most_photos=rules.MAX_PHOTOS,
        lines=lines,
    )


def _chosen(request: HttpRequest) -> list[tuple[int, int]]:
    """`line=ID` for each that is ticked, `quantity-ID` beside it."""
    ids = list(dict.fromkeys(whole_number(text) for text in request.POST.getlist("line")))[:100]
    return [(pk, whole_number(request.POST.get(f"quantity-{pk}"))) for pk in ids if pk]


@require_GET
@members_only
def aftersales(request: HttpRequest) -> HttpResponse:
    found = queries.aftersales_of(request.member.pk)  # type: ignore[attr-defined]
    return show(
        request,
        "shop/aftersales.html",
        tab="me",
        rows=[
            {
                "address": reverse("shop:aftersales_state", args=[one.number]),
                "kind": kind_label(one.kind),
                "label": state_label(one),
                "tone": "soft" if one.is_over else "fine",
                "applied_at": one.applied_at,
                "lines": [_shown(line) for line in one.lines.all()],
                "amount_fen": one.amount_fen,
                "is_lost": one.status in (rules.REFUSED, rules.CLOSED),
            }
            for one in found
        ],
    )


def state_label(aftersale: AfterSale) -> str:
    if aftersale.status == rules.APPROVED and aftersale.kind not in rules.WITH_RETURN:
        return _("We are looking at it")  # WeChat refused the refund; the shop asks again
    return {
        rules.APPLIED: _("We are looking at it"),
        rules.APPROVED: _("Please send it back"),
        rules.REFUSED: _("Not approved"),
        rules.RETURNED: _("On its way back to us"),
        rules.RECEIVED: _("It has arrived at ours"),
        rules.REFUNDING: _("Your money is on its way"),
        rules.REFUNDED: _("The money is back with you"),
        rules.EXCHANGED: _("The exchange is on its way"),
        rules.CLOSED: _("This application is closed"),
    }[aftersale.status]


def _advice(aftersale: AfterSale) -> str:
    until = f"{clock.local(aftersale.due_at):%m-%d %H:%M}" if aftersale.due_at else ""
    match aftersale.status:
        case rules.APPLIED if until:
            return _("You have our answer by %(until)s.") % {"until": until}
        case rules.APPROVED if aftersale.kind in rules.WITH_RETURN and until:
            return _("Send it by %(until)s and enter the parcel's number here.") % {"until": until}
        case rules.RETURNED:
            return _("We look into the parcel as soon as it is here.")
        case rules.RECEIVED if aftersale.kind == rules.EXCHANGE:
            return _("We are packing what you get instead.")
        case rules.REFUNDING:
            return _("The money goes back the way it came, usually within minutes.")
        case rules.REFUNDED:
            return _("It went back the way you paid.")
        case rules.REFUSED:
            return _("You can apply again, or write to us.")
        case rules.EXCHANGED:
            return f"{aftersale.new_carrier} {aftersale.new_tracking_number}"
        case rules.CLOSED:
            return _("Nothing more happens. You can apply again.")
    return _("Somebody looks at it in person.")


def _steps(aftersale: AfterSale) -> tuple[list[str], int]:
    """The names of the way and how many are reached; refused and closed have none."""
    if aftersale.status in (rules.REFUSED, rules.CLOSED):
        return [], 0
    if aftersale.kind not in rules.WITH_RETURN:
        done = {rules.REFUNDING: 2, rules.REFUNDED: 3}.get(aftersale.status, 1)
        return [_("Applied"), _("Approved"), _("Money back")], done
    last = _("Exchanged") if aftersale.kind == rules.EXCHANGE else _("Money back")
    order = [rules.APPLIED, rules.APPROVED, rules.RETURNED, rules.RECEIVED]
    done = order.index(aftersale.status) + 1 if aftersale.status in order else 4
    if aftersale.status in (rules.REFUNDED, rules.EXCHANGED):
        done = 5
    return [_("Applied"), _("Approved"), _("Sent back"), _("Arrived"), last], done


def _shown(line: Any) -> dict[str, Any]:
    return {
        "name": line.line.product_name,
        "variant": line.variant,
        "image": of_name(line.line.image),
        "quantity": line.quantity,
        "is_gift": line.line.kind == line.line.GIFT,
        "amount_fen": line.amount_fen,
        "instead": (line.new_sku.name or _("the same again")) if line.new_sku else "",
    }


@require_GET
@members_only
def aftersales_state(request: HttpRequest, number: str) -> HttpResponse:
    return _state(request, number)


def _state(request: HttpRequest, number: str, *, refusal: str = "", status: int = 200) -> HttpResponse:
    try:
        found = queries.aftersale_for(number, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchAfterSale as missing:
        return problem(request, missing, link=reverse("shop:aftersales"), label=_("After-sales"))
    names, reached = _steps(found)
    labels = dict(AfterSale.STATUSES)
    money = queries.aftersale_money(found.order, found.pk)
    return show(
        request,
        "shop/aftersales_state.html",
        tab="me",
        status=status,
        refusal=refusal,
        it=found,
        label=state_label(found),
        advice=_advice(found),
        kind=kind_label(found.kind),
        steps=names,
        reached=reached,
        lines=[_shown(line) for line in found.lines.all()],
        is_lost=found.status in (rules.REFUSED, rules.CLOSED),
        back=money.back,
        points_back=money.points_back,
        photos=[
            (reverse("shop:aftersales_photo", args=[photo.pk]), photo.width, photo.height)
            for photo in found.photos.all()
        ],
        may_send=found.kind in rules.WITH_RETURN and found.status in (rules.APPROVED, rules.RETURNED),
        may_cancel=found.status == rules.APPLIED
        or (found.status == rules.APPROVED and found.kind in rules.WITH_RETURN),
        order_address=reverse("shop:order", args=[found.order.number]),
        log=[
            {"words": labels[entry.status], "note": _note_of(entry), "at": entry.at}
            for entry in reversed(found.log.all())
        ],
    )


def _note_of(entry: Any) -> str:
    """What staff writes to the shopper and what she wrote; not what staff notes for itself."""
    is_hers = entry.status in (rules.APPLIED, rules.RETURNED) and entry.actor == "member"
    return entry.note if is_hers or entry.status in (rules.REFUSED, rules.CLOSED) else ""


@require_POST
@members_only
def aftersales_cancel(request: HttpRequest, number: str) -> HttpResponse:
    return _do(
        request,
        number,
        lambda pk, member_id: services.cancel_aftersale(aftersale_id=pk, member_id=member_id),
    )


@require_POST
@members_only
def aftersales_parcel(request: HttpRequest, number: str) -> HttpResponse:
    return _do(
        request,
        number,
        lambda pk, member_id: services.send_back(
            aftersale_id=pk,
            member_id=member_id,
            carrier=request.POST.get("carrier", ""),
            tracking_number=request.POST.get("tracking_number", ""),
        ),
    )


def _do(request: HttpRequest, number: str, command: Callable[[int, int], Any]) -> HttpResponse:
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        command(queries.aftersale_for(number, member_id=member_id).pk, member_id)
    except Refusal as refusal:
        return _state(request, number, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:aftersales_state", args=[number]))


@require_GET
@members_only
def aftersales_photo(request: HttpRequest, pk: int) -> HttpResponse:
    """Her own evidence, from the private storage."""
    try:
        photo = queries.photo_for(pk, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchAfterSale as missing:
        return problem(request, missing, link=reverse("shop:aftersales"), label=_("After-sales"))
    with photo.file.open("rb") as file:
        response = HttpResponse(file.read(), content_type="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
