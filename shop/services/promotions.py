"""Switching promotions on and off."""

from collections.abc import Iterable

from django.db import transaction

from shop.models import Promotion


@transaction.atomic
def switch_promotions(*, promotion_ids: Iterable[int], is_active: bool) -> int:
    """Switch promotions on or off; prices follow with the next quote. Returns how many changed.

    Locks: the promotions, by conditional update. Idempotent.
    """
    return (
        Promotion.objects.filter(pk__in=list(promotion_ids))
        .exclude(is_active=is_active)
        .update(is_active=is_active)
    )
