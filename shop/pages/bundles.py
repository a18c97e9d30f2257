"""Bundles on the pages: what is in them, and an order's lines with the parts under their bundle."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from shop import queries
from shop.pages.pictures import of_name, of_url


def shown_parts(sku_ids: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
    """Bundle → its parts. No statement without any."""
    ids = list(sku_ids)
    if not ids:
        return {}
    return {
        bundle_id: [
            {
                "name": part.name,
                "variant": part.variant,
                "pieces": part.pieces,
                "price_fen": part.price_fen,
                "image": of_url(part.image_url, 0, 0),
                "address": reverse("shop:product", args=[part.product_id]) if part.is_shown else "",
            }
            for part in parts
        ]
        for bundle_id, parts in queries.bundle_parts(ids).items()
    }


def with_bundles(lines: Iterable[Any], shown: Any) -> list[dict[str, Any]]:
    """Order lines as `shown` makes entries of them; those of one bundle become one entry with `parts`.

    Lines of one part from several stores are added up.
    """
    rows: list[dict[str, Any]] = []
    known: dict[int, dict[str, Any]] = {}
    for line in lines:
        if line.bundle_id is None:
            rows.append({**shown(line), "parts": []})
            continue
        if line.bundle_id not in known:
            bundle = line.bundle
            known[line.bundle_id] = {
                "name": bundle.name,
                "variant": "",
                "image": of_name(bundle.image),
                "price_fen": bundle.unit_price_fen,
                "quantity": bundle.quantity,
                "address": reverse("shop:product", args=[bundle.sku.product_id]),
                "is_gift": False,
                "back": 0,
                "parts": [],
            }
            rows.append(known[line.bundle_id])
        parts = known[line.bundle_id]["parts"]
        name = f"{line.product_name} {line.sku_name}".strip()
        same = next((part for part in parts if part["name"] == name), None)
        if same is None:
            parts.append({"name": name, "pieces": line.quantity})
        else:
            same["pieces"] += line.quantity
    return rows
