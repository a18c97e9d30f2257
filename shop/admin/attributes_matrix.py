"""The table of a product's SKUs: choose the values of two properties, make what is missing, edit prices in one go."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core import money
from shop import finding, services
from shop.admin.fields import said
from shop.errors import BadMatrix
from shop.models import Attribute, Product, Sku

DIMENSIONS = 2


def matrix_page(owner: "admin.ModelAdmin[Any]") -> Callable[..., HttpResponse]:
    """The page as a view of ProductAdmin."""

    def matrix(request: HttpRequest, pk: int) -> HttpResponse:
        if not (owner.has_change_permission(request) and request.user.has_perm("shop.change_sku")):
            raise PermissionDenied
        product = get_object_or_404(Product.objects.defer("search", "detail"), pk=pk)
        if request.method == "POST":
            with said(request):
                if "fill" in request.POST:
                    _fill(request, product)
                else:
                    _save(request, product)
            return HttpResponseRedirect(request.path)
        left = Sum(F("stocks__on_hand") - F("stocks__reserved"))
        skus = list(product.skus.annotate(left=left).order_by("position", "pk"))
        context = {
            **owner.admin_site.each_context(request),
            "title": _("SKU table of %(name)s") % {"name": product.name},
            "opts": owner.opts,
            "product": product,
            "rows": [_shown(sku) for sku in skus],
            "dimensions": _dimensions(skus),
            "known": Attribute.objects.prefetch_related("values"),
            "price": money.yuan(skus[0].price_fen).replace(",", "") if skus else "",
        }
        return TemplateResponse(request, "admin/shop/attributes_matrix.html", context)

    return matrix


def _shown(sku: Sku) -> dict[str, Any]:
    return {
        "pk": sku.pk,
        "name": sku.name or " ".join(sku.spec.values()) or _("Standard"),
        "code": sku.code,
        "price": money.yuan(sku.price_fen).replace(",", ""),
        "list_price": "" if sku.list_price_fen is None else money.yuan(sku.list_price_fen).replace(",", ""),
        "is_active": sku.is_active,
        "left": getattr(sku, "left", None) or 0,
    }


def _dimensions(skus: Sequence[Sku]) -> list[tuple[int, str, str]]:
    """(number, name, values as text) of the properties that the SKUs have, and empty places for the others."""
    found: dict[str, list[str]] = {}
    for sku in skus:
        for name, value in finding.in_order(sku.spec, sku.name).items():
            if value not in found.setdefault(str(name), []):
                found[str(name)].append(str(value))
    pairs = [(name, "，".join(values)) for name, values in found.items()][:DIMENSIONS]
    pairs += [("", "")] * (DIMENSIONS - len(pairs))
    return [(number, name, values) for number, (name, values) in enumerate(pairs, 1)]


def _fill(request: HttpRequest, product: Product) -> None:
    dimensions = [
        (
            request.POST.get(f"name{number}", ""),
            re.split(r"[，,、；;\n]", request.POST.get(f"values{number}", "")),
        )
        for number in range(1, DIMENSIONS + 1)
    ]
    made = services.fill_matrix(
        product_id=product.pk, dimensions=dimensions, price_fen=_fen(request.POST.get("price", "")) or 0
    )
    messages.success(
        request,
        ngettext("%(count)d SKU was made.", "%(count)d SKUs were made.", made) % {"count": made}
        if made
        else _("Every combination has its SKU already."),
    )


def _save(request: HttpRequest, product: Product) -> None:
    rows = []
    for text in request.POST.getlist("sku"):
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise BadMatrix(_("One of these SKUs is not of this product. Please load the page again."))
        price = _fen(request.POST.get(f"price{text}", ""))
        if price is None:
            raise BadMatrix(_("Each SKU needs a code of at most 64 characters and a price."))
        rows.append(
            services.MatrixRow(
                sku_id=int(text),
                code=request.POST.get(f"code{text}", ""),
                price_fen=price,
                list_price_fen=_fen(request.POST.get(f"list{text}", "")),
                is_active=f"active{text}" in request.POST,
            )
        )
    count = services.save_matrix(product_id=product.pk, rows=rows)
    messages.success(
        request, ngettext("%(count)d SKU changed.", "%(count)d SKUs changed.", count) % {"count": count}
    )


def _fen(text: str) -> int | None:
    """Yuan as typed; None when the field is empty. Raises BadMatrix."""
    if not text.strip():
        return None
    try:
        fen = money.fen_from_yuan(text)
    except ValueError as error:
        raise BadMatrix(_("“%(text)s” is not an amount in yuan.") % {"text": text[:20]}) from error
    if not 0 <= fen <= 10_000_000_00:
        raise BadMatrix(_("The price has to be between 0 and 10,000,000 yuan."))
    return fen
