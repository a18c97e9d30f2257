"""What a shopper may still change in her order, and the ways on that its page offers."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from core.errors import Refusal
from shop import desk_rules, queries, services
from shop.errors import NoSuchOrder, WrongState
from shop.forms import whole_number
from shop.models import Invoice, Order
from shop.pages.aftersales import kind_label, may_apply, state_label
from shop.pages.frame import members_only, problem, show
from shop.pages.me import shown_address
from shop.services import address_input


def _invoice_label(invoice: Invoice | None) -> str:
    if invoice is None:
        return _("Ask for an invoice")
    if invoice.is_reversed:
        return _("Invoice: reversed")
    return {
        Invoice.REQUESTED: _("Invoice: asked for"),
        Invoice.ISSUED: _("Invoice: issued"),
        Invoice.REFUSED: _("Invoice: refused"),
    }[invoice.status]


def order_ways(order: Order) -> dict[str, Any]:
    """What the order's page offers beside paying and receiving: two statements."""
    ways: dict[str, Any] = {"apply": "", "address": "", "invoice": "", "invoice_label": "", "aftersales": []}
    if order.paid_at is not None:
        ways["aftersales"] = [
            {
                "kind": kind_label(one.kind),
                "label": state_label(one),
                "address": reverse("shop:aftersales_state", args=[one.number]),
            }
            for one in queries.aftersales_of_order(order.pk)
        ]
        if may_apply(order):
            ways["apply"] = reverse("shop:aftersales_apply", args=[order.number])
        invoice = queries.invoice_of(order.pk)
        if invoice is not None or order.paid_fen > order.refunded_fen:
            ways["invoice"] = reverse("shop:invoices_request", args=[order.number])
            ways["invoice_label"] = _invoice_label(invoice)
    if services.may_change_address(order):
        ways["address"] = reverse("shop:desk_address", args=[order.number])
    return ways


@require_http_methods(["GET", "POST"])
@members_only
def desk_address(request: HttpRequest, number: str) -> HttpResponse:
    """Choose another of her addresses for an order that is not shipped yet."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    back = reverse("shop:order", args=[number])
    try:
        order = queries.order_for(number, member_id=member_id)
    except NoSuchOrder as missing:
        return problem(request, missing, link=reverse("shop:orders"), label=_("My orders"))
    saved = queries.addresses_of(member_id)
    refusal_text, status = "", 200
    if request.method == "POST":
        wanted = whole_number(request.POST.get("address"))
        chosen = next((one for one in saved if one.pk == wanted), None)
        try:
            if chosen is None:
                raise Refusal(_("Please choose an address."))
            services.change_address(order_id=order.pk, member_id=member_id, address=address_input(chosen))
            return HttpResponseRedirect(back)
        except Refusal as refusal:
            refusal_text, status = refusal.message, refusal.status
    elif not services.may_change_address(order):
        too_late = WrongState(_("The address of this order cannot be changed any more."))
        return problem(request, too_late, link=back, label=_("Back to the order"))
    province = desk_rules.province_of(order.region)
    here = reverse("shop:desk_address", args=[number])
    return show(
        request,
        "shop/desk_address.html",
        tab="me",
        status=status,
        refusal=refusal_text,
        province=province,
        addresses=[
            shown_address(
                one,
                fits=desk_rules.province_of(address_input(one).region) == province,
                is_current=(one.receiver, one.street) == (order.receiver, order.street),
            )
            for one in saved
        ],
        new_address=f"{reverse('shop:address_new')}?next={here}",
        here=here,
        back=back,
    )
