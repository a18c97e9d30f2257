"""Switching promotions on and off."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from shop.models import Promotion


@transaction.atomic
def switch_promotions(*, promotion_ids: Iterable[int], is_active: bool) -> tuple[int, list[str]]:
    """Switch promotions on or off; prices follow with the next quote. Returns how many changed, and the titles of those
    that stay off because what they give, sell or need is not named yet.

    Locks: the promotions, by conditional update. Idempotent.
    """
    found = Promotion.objects.filter(pk__in=list(promotion_ids)).exclude(is_active=is_active)
    unfinished: dict[int, str] = {}
    if is_active:
        lacking = Q(kind__in=[Promotion.GIFT, Promotion.ADD_ON], pieces__lt=1)
        lacking |= Q(kind=Promotion.BUNDLE, pieces__lt=2)
        counted = found.annotate(pieces=Coalesce(Sum("extras__quantity"), 0))
        unfinished = dict(counted.filter(lacking).values_list("pk", "title"))
    return found.exclude(pk__in=unfinished).update(is_active=is_active), list(unfinished.values())
