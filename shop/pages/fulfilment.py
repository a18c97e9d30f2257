"""What the shopper sees of the stores that serve her order: her pickup code, and what comes from where."""

from typing import Any

import segno
from django.conf import settings
from django.urls import reverse
from markupsafe import Markup

from shop.models import Fulfilment, OrderLine
from shop.pages.pictures import of_name


def shown_pickup(part: Fulfilment) -> dict[str, Any]:
    """Code and QR of what she collects; the QR opens the colleague's page with the code filled in."""
    return {
        "store": part.store.name,
        "address": f"{part.store.city} {part.store.address}".strip(),
        "is_open": part.is_open,
        "is_ready": part.state == part.READY,
        "due_at": part.due_at,
        "code": f"{part.code[:4]} {part.code[4:]}",
        "qr": qr_of(f"{settings.PUBLIC_URL}{reverse('shop:pickup')}?code={part.code}")
        if part.is_open
        else "",
        "done_at": part.done_at,
    }


def shown_part(part: Fulfilment, lines: list[OrderLine]) -> dict[str, Any]:
    """One of several parts of an order: from where, what, and whether it is on its way."""
    return {
        "store": part.store.name,
        "state": part.get_state_display(),
        "is_gone": not part.is_open,
        "parcels": [f"{parcel.carrier} {parcel.tracking_number}" for parcel in part.shipments.all()],
        "images": [of_name(line.image) for line in lines[:6]],
        "names": [
            f"{line.product_name} {line.sku_name}".strip() + f" ×{line.quantity - line.refunded_quantity}"
            for line in lines
        ],
    }


def qr_of(text: str) -> Markup:
    """An inline picture, without a style attribute: the pages' policy allows none."""
    drawn = segno.make(text, error="m").svg_inline(
        omitsize=True, border=2, svgclass="qr", lineclass=None, dark="#1d1a17", light="#ffffff"
    )
    return Markup(drawn)  # noqa: S704  drawn here from our own address
