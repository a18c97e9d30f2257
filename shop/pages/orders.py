"""What became of her orders."""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core import clock, keyset
from core.errors import Refusal
from core.secrets import masked_phone
from shop import queries, rules, services
from shop.errors import NoSuchOrder
from shop.models import Order
from shop.pages import words
from shop.pages.bundles import with_bundles
from shop.pages.desk import order_ways
from shop.pages.frame import members_only, problem, sdk_for, show, show_part
from shop.pages.fulfilment import shown_part, shown_pickup
from shop.pages.pictures import of_name
from shop.pages.presale import shown_order_terms
from shop.pages.virtual import shown_delivery


class Choice(NamedTuple):
    label: str
    address: str
    is_current: bool


def _filters(current: str) -> list[Choice]:
    here = reverse("shop:orders")
    names = [
        ("", _("All")),
        (rules.PENDING_PAYMENT, _("Awaiting payment")),
        (rules.PAID, _("To be sent")),
        (rules.SHIPPED, _("On the way")),
        (rules.RECEIVED, _("Done")),
    ]
    return [Choice(label, f"{here}?status={key}" if key else here, key == current) for key, label in names]


@require_GET
@members_only
def orders(request: HttpRequest) -> HttpResponse:
    status = request.GET.get("status", "")
    page = queries.orders_of(
        request.member.pk,  # type: ignore[attr-defined]
        status if status in rules.ORDER_STATUSES else None,
        after=keyset.asked(request.GET.get("after")),
    )
    here = reverse("shop:orders")
    kept = {"status": status} if status in rules.ORDER_STATUSES else {}
    more = f"{here}?{urlencode({**kept, 'after': page.after})}" if page.after else ""
    rows = [_row(order) for order in page.orders]
    if request.headers.get("HX-Request"):
        return show_part(request, "shop/order_rows.html", orders=rows, more=more)
    return show(
        request,
        "shop/orders.html",
        tab="me",
        orders=rows,
        more=more,
        filters=_filters(kept.get("status", "")),
    )


def _row(order: Order) -> dict[str, Any]:
    lines = with_bundles(order.lines.all(), _shown_line)
    is_open = order.status == rules.PENDING_PAYMENT
    return {
        "number": order.number,
        "address": reverse("shop:order", args=[order.number]),
        "placed_at": order.placed_at,
        "status_label": words.status_label(order),
        "tone": "alarm"
        if is_open
        else "soft"
        if order.status in (rules.CANCELLED, rules.REFUNDED)
        else "fine",
        "lines": lines,
        "item_count": sum(line["quantity"] for line in lines),
        "total_fen": order.total_fen,
        "payable": is_open and not (order.awaits_balance and clock.now() < order.presale.balance_starts_at),
        "receivable": order.status == rules.SHIPPED and not order.is_refunding,
    }


def _shown_line(line: Any) -> dict[str, Any]:
    return {
        "name": line.product_name,
        "variant": line.sku_name,
        "image": of_name(line.image),
        "price_fen": line.unit_price_fen,
        "quantity": line.quantity,
        "address": reverse("shop:product", args=[line.sku.product_id]),
        "is_gift": line.kind == line.GIFT,
        "back": line.refunded_quantity,
    }


def shown_sources(sources: list[Any]) -> list[dict[str, Any]]:
    """Where money came from, or goes back to, for the page."""
    return [{"label": one.label, "amount_fen": one.amount_fen, "is_done": one.is_done} for one in sources]


def _shown_money(order: Order) -> dict[str, Any]:
    """The order's bill: how it came to its total, what paid it, what went back."""
    money = queries.order_money(order)
    return {
        "goods_fen": money.goods_fen,
        "savings": [
            {"label": queries.saving_label(one.step), "title": one.title, "amount_fen": one.amount_fen}
            for one in money.savings
        ],
        "other_off_fen": money.other_off_fen,
        "paid": shown_sources(money.paid),
        "back": shown_sources(money.back),
        "not_taken": shown_sources(money.not_taken),
        "points_used": money.points_used,
        "points_back": money.points_back,
    }


@require_GET
@members_only
def order(request: HttpRequest, number: str) -> HttpResponse:
    return _shown(request, number)


def _shown(request: HttpRequest, number: str, *, refusal: str = "", status: int = 200) -> HttpResponse:
    try:
        found = queries.order_for(number, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NoSuchOrder as missing:
        return problem(
            request, missing, symbol="receipt-text", link=reverse("shop:orders"), label=_("My orders")
        )
    is_open = found.status == rules.PENDING_PAYMENT
    presale = shown_order_terms(found)
    parts = queries.fulfilments_of(found) if found.paid_at else []
    asked = queries.asked_templates(found)
    log = [{"words": words.log_words(entry.action), "at": entry.at} for entry in found.log.all()]
    return show(
        request,
        "shop/order.html",
        status=status,
        tab="me",
        refusal=refusal,
        order={
            "number": found.number,
            "status": found.status,
            "status_label": words.status_label(found),
            "status_advice": words.status_advice(found),
            "steps": words.steps(found) if words.reached(found) else [],
            "reached": words.reached(found),
            "payable": is_open and not (presale and presale["stage"] == "early"),
            "due_fen": found.due_fen,
            "is_deposit": found.payment_stage == "deposit",
            "cancellable": is_open,
            "receivable": found.status == rules.SHIPPED and not found.is_refunding,
            "is_paid": found.paid_at is not None,
            "seconds_left": words.seconds_left(found.expires_at),
            "pay_until": words.clock_time(found.expires_at),
            "receiver": found.receiver,
            "masked_phone": masked_phone(found.phone) if found.phone else "",
            "full_address": words.place(found.region, found.street) if found.delivery == found.SHIP else "",
            "note": found.note,
            "placed_at": found.placed_at,
            "paid_at": found.paid_at,
            "shipping_fen": found.shipping_fen,
            "total_fen": found.total_fen,
            "refunded_fen": found.refunded_fen,
        },
        lines=with_bundles(found.lines.all(), _shown_line),
        delivered=shown_delivery(found),
        money=_shown_money(found),
        shipments=list(found.shipments.all()),
        pickups=[shown_pickup(part) for part in parts if part.kind == part.PICKUP],
        parcels=[shown_part(part, queries.lines_of(part)) for part in parts if len(parts) > 1],
        tracking=reverse("shop:tracking", args=[found.number]),
        asked=asked,
        templates=[template for template, _words in asked],
        sdk=sdk_for(request) if asked else None,
        log=[entry for entry in reversed(log) if entry["words"]],
        cancel_reasons=words.cancel_reasons(),
        presale=presale,
        ways=order_ways(found),
    )


@require_POST
@members_only
def order_cancel(request: HttpRequest, number: str) -> HttpResponse:
    reason = request.POST.get("reason", "")
    if reason not in words.cancel_reasons():
        reason = words.cancel_reasons()[-1]
    return _do(
        request,
        number,
        lambda pk, member_id: services.cancel_order(order_id=pk, member_id=member_id, reason=reason),
    )


@require_POST
@members_only
def order_receive(request: HttpRequest, number: str) -> HttpResponse:
    return _do(
        request, number, lambda pk, member_id: services.confirm_receipt(order_id=pk, member_id=member_id)
    )


def _do(request: HttpRequest, number: str, command: Callable[[int, int], Any]) -> HttpResponse:
    """Carry out a command on her own order, and show the order as it is then."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    try:
        command(queries.order_for(number, member_id=member_id).pk, member_id)
    except Refusal as refusal:
        return _shown(request, number, refusal=refusal.message, status=refusal.status)
    return HttpResponseRedirect(reverse("shop:order", args=[number]))
