"""Vouchers: hers to show, and the counter where a colleague redeems one once."""

import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from core.errors import NotFound, Refusal
from core.secrets import masked_phone
from shop import queries, services
from shop.errors import VoucherRefused
from shop.forms import whole_number
from shop.models import Voucher
from shop.pages.frame import members_only, problem, show
from shop.pages.fulfilment import qr_of
from shop.pages.pickup import called, colleague_here
from shop.pages.pictures import of_name
from shop.services.vouchers_desk import find_voucher, refuse_voucher


def state_words(voucher: Voucher) -> str:
    if queries.is_usable(voucher):
        return _("Ready to use")
    return {
        Voucher.REDEEMED: _("Used"),
        Voucher.VOID: _("Given back"),
    }.get(voucher.state, _("Expired"))


def told(text: str) -> str:
    """The text of a product's terms with a space before each address, so that it becomes a link in Chinese text."""
    return re.sub(r"(?<!\s)(https?://)", r" \1", text)


def shown_voucher(voucher: Voucher) -> dict[str, Any]:
    stores = list(voucher.line.sku.terms.stores.all())
    return {
        "pk": voucher.pk,
        "address": reverse("shop:voucher", args=[voucher.pk]),
        "name": voucher.line.product_name,
        "variant": voucher.line.sku_name,
        "image": of_name(voucher.line.image),
        "code": voucher.shown_code,
        "state": voucher.state,
        "label": state_words(voucher),
        "is_usable": queries.is_usable(voucher),
        "valid_from": voucher.valid_from,
        "expires_at": voucher.expires_at,
        "redeemed_at": voucher.redeemed_at,
        "store": voucher.store.name if voucher.store else "",
        "stores": [
            {"name": store.name, "address": f"{store.city} {store.address}".strip()} for store in stores
        ],
        "text": told(voucher.line.sku.terms.text),
        "order": reverse("shop:order", args=[voucher.line.order.number]),
        "number": voucher.line.order.number,
    }


@require_GET
@members_only
def vouchers(request: HttpRequest) -> HttpResponse:
    rows = [shown_voucher(one) for one in queries.vouchers_of(request.member.pk)]  # type: ignore[attr-defined]
    return show(
        request,
        "shop/vouchers.html",
        tab="me",
        usable=[row for row in rows if row["is_usable"]],
        past=[row for row in rows if not row["is_usable"]],
    )


@require_GET
@members_only
def voucher(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        found = queries.voucher_for(pk, member_id=request.member.pk)  # type: ignore[attr-defined]
    except NotFound as missing:
        return problem(
            request, missing, symbol="ticket-check", link=reverse("shop:vouchers"), label=_("My vouchers")
        )
    shown = shown_voucher(found)
    counter = f"{settings.PUBLIC_URL}{reverse('shop:vouchers_desk')}?code={found.code}"
    return show(
        request,
        "shop/vouchers_card.html",
        tab="me",
        voucher=shown,
        qr=qr_of(counter) if shown["is_usable"] else "",
    )


@require_http_methods(["GET", "POST"])
def vouchers_desk(request: HttpRequest) -> HttpResponse:
    """`?code=` (typed, or behind the QR code) shows what was paid for; posted, it is redeemed."""
    here = reverse("shop:vouchers_desk")
    query = f"?code={code}" if (code := services.voucher_code(request.GET.get("code", ""))) else ""
    staff = colleague_here(request, here + query)
    if isinstance(staff, HttpResponse):
        return staff
    if request.method == "POST":
        typed = request.POST.get("code", "")
        try:
            done = services.redeem_voucher(
                code=services.voucher_code(typed),
                store_id=staff.store_id,
                by=called(staff),
                user_id=request.user.pk,
            )
        except Refusal as refused:
            return _desk(request, staff, typed=typed, refusal=refused.message, status=refused.status)
        return HttpResponseRedirect(f"{here}?done={done.pk}")
    return _desk(
        request, staff, typed=request.GET.get("code", ""), done=whole_number(request.GET.get("done"))
    )


def _desk(
    request: HttpRequest, staff: Any, *, typed: str, done: int = 0, refusal: str = "", status: int = 200
) -> HttpResponse:
    found = None
    if typed and not refusal:
        try:
            row = find_voucher(services.voucher_code(typed))
            refuse_voucher(row, staff.store_id)
            found = _at_the_desk(row)
        except VoucherRefused as refused:
            refusal, status = refused.message, refused.status
    redeemed = queries.redeemed_here(staff.store_id)
    return show(
        request,
        "shop/vouchers_desk.html",
        status=status,
        cart_count=0,
        store=staff.store.name,
        colleague=staff.name,
        typed=typed[:40] if not found else "",
        refusal=refusal,
        found=found,
        finished=next((_at_the_desk(one) for one in redeemed if one.pk == done), None),
        redeemed=[] if found else [_at_the_desk(one) for one in redeemed],
    )


def _at_the_desk(row: Voucher) -> dict[str, Any]:
    """The code itself only where it was typed: the list shows what was redeemed, not what opens anything."""
    order = row.line.order
    return {
        "code": row.code,
        "name": row.line.product_name,
        "variant": row.line.sku_name,
        "image": of_name(row.line.image),
        "number": order.number,
        "phone": masked_phone(order.phone) if order.phone else "",
        "paid_at": row.created_at,
        "expires_at": row.expires_at,
        "redeemed_at": row.redeemed_at,
        "actor": row.actor,
        "text": row.line.sku.terms.text,
    }
