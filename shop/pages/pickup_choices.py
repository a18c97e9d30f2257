"""At the checkout: by parcel, or collected in a store that has everything."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shop import queries
from shop.forms import whole_number
from shop.pricing.types import Choices


def pickup_of(values: Mapping[str, Any]) -> int:
    """The store that the shopper chose to collect in; 0: by parcel."""
    return whole_number(values.get("pickup"))


def with_pickup(choices: Choices, pickup_id: int) -> Choices:
    """Her other choices, with the way it comes to her."""
    if not pickup_id:
        return replace(choices, delivery="ship", pickup_store_id=None)
    return replace(choices, delivery="pickup", pickup_store_id=pickup_id)


def shown_stores(lines: Sequence[tuple[int, int]], here: str, pickup_id: int) -> dict[str, Any]:
    """What the page offers: {"stores", "chosen", "by_parcel"}; no stores where nothing can be collected."""
    stores = [
        {
            "pk": store.pk,
            "name": store.name,
            "address": f"{store.city} {store.address}".strip(),
            "has_all": store.has_all,
            "choose": f"{here}&pickup={store.pk}",
        }
        for store in (queries.pickup_choices(lines) if lines else [])
    ]
    chosen = next((store for store in stores if store["pk"] == pickup_id), None)
    return {"stores": stores, "chosen": chosen, "by_parcel": here}
