"""Ask for an invoice, and fetch it."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from core.errors import Refusal
from shop import queries, services
from shop.errors import BadInvoice, NoSuchOrder
from shop.models import Invoice
from shop.pages.frame import members_only, problem, show

FIELDS = ("kind", "title", "tax_number", "email")


@require_http_methods(["GET", "POST"])
@members_only
def invoices_request(request: HttpRequest, number: str) -> HttpResponse:
    """The form while it may be filled in or corrected, the state afterwards."""
    member_id = request.member.pk  # type: ignore[attr-defined]
    here = reverse("shop:invoices_request", args=[number])
    try:
        order = queries.order_for(number, member_id=member_id)
    except NoSuchOrder as missing:
        return problem(request, missing, link=reverse("shop:orders"), label=_("My orders"))
    invoice = queries.invoice_of(order.pk)
    typed = {name: getattr(invoice, name) if invoice else "" for name in FIELDS}
    faults: dict[str, str] = {}
    refusal_text, status = "", 200
    if request.method == "POST":
        typed = {name: request.POST.get(name, "")[:200] for name in FIELDS}
        try:
            services.request_invoice(order_id=order.pk, member_id=member_id, **typed)
            return HttpResponseRedirect(f"{here}?sent=1")
        except BadInvoice as refusal:
            faults, status = refusal.fields, refusal.status
        except Refusal as refusal:
            refusal_text, status = refusal.message, refusal.status
    is_issued = invoice is not None and invoice.status == Invoice.ISSUED
    return show(
        request,
        "shop/invoices_request.html",
        tab="me",
        status=status,
        notice=_("We have your request.") if request.GET.get("sent") and invoice else "",
        refusal=refusal_text,
        invoice=invoice,
        is_issued=is_issued,
        waits=invoice is not None and invoice.status == Invoice.REQUESTED,
        paid_fen=order.paid_fen,
        refunded_fen=order.refunded_fen,
        may_ask=order.paid_fen > order.refunded_fen,
        file=reverse("shop:invoices_file", args=[number]) if is_issued and invoice and invoice.file else "",
        amount_fen=order.paid_fen - order.refunded_fen,
        typed=typed,
        faults=faults,
        here=here,
        order_address=reverse("shop:order", args=[number]),
    )


@require_GET
@members_only
def invoices_file(request: HttpRequest, number: str) -> HttpResponse:
    """The PDF of her own invoice."""
    try:
        order = queries.order_for(number, member_id=request.member.pk)  # type: ignore[attr-defined]
        invoice = queries.invoice_of(order.pk)
        if invoice is None or not invoice.file:
            raise NoSuchOrder(_("There is no invoice here."))
    except NoSuchOrder as missing:
        return problem(request, missing, link=reverse("shop:orders"), label=_("My orders"))
    with invoice.file.open("rb") as file:
        response = HttpResponse(file.read(), content_type="application/pdf")
    response.headers["Content-Disposition"] = f'attachment; filename="{invoice.number}.pdf"'
    response.headers["Cache-Control"] = "private, no-store"
    return response
