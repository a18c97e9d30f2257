"""The points mall as a member sees it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.core.files.storage import default_storage
from django.db.models import Q, QuerySet

from core import clock
from crm import queries as crm_queries
from shop.models import MallExchange, MallItem, ProductImage, Stock, Tally
from shop.queries.coupons import condition_of, validity_words, worth_of

OPEN, GONE, HAD, POOR = "open", "gone", "had", "poor"


@dataclass(frozen=True)
class MallOffer:
    """An item for one member. `state`: open, gone (none left), had (as often as she may), poor (`missing` points).
    `left` None: not limited. `price`: fen on top of the points. `words`: what a coupon is worth and where, or the
    variant of goods.
    """

    pk: int
    name: str
    points: int
    price: int
    terms: str
    is_goods: bool
    words: str
    detail: str
    image_url: str
    left: int | None
    per_member: int
    ends_at: datetime | None
    state: str
    missing: int = 0


def items_now() -> QuerySet[MallItem]:
    """What is on offer at this moment, in the operator's order."""
    moment = clock.now()
    return MallItem.objects.filter(
        Q(starts_at__isnull=True) | Q(starts_at__lte=moment),
        Q(ends_at__isnull=True) | Q(ends_at__gt=moment),
        is_active=True,
    )


def has_mall() -> bool:
    return items_now().exists()


def mall_offers(member_id: int, *, item_id: int | None = None) -> list[MallOffer]:
    """What she may exchange points for; with `item_id` that one only. At most nine statements."""
    items = items_now().select_related("sku__product", "coupon__gift_sku__product")
    if item_id is not None:
        items = items.filter(pk=item_id)
    found = list(items[:200])
    spendable = crm_queries.points_of(member_id).spendable
    taken = dict(
        Tally.objects.filter(
            member_id=member_id, subject__in=[f"mall:{item.pk}" for item in found]
        ).values_list("subject", "taken")
    )
    pictures = _pictures(_product_of(item) for item in found)
    stock = {
        row.sku_id: row.available
        for row in Stock.objects.filter(
            sku_id__in=[item.sku_id for item in found if item.sku_id], store__code="warehouse"
        )
    }
    return [_shown(item, spendable, taken.get(f"mall:{item.pk}", 0), stock, pictures) for item in found]


def _shown(
    item: MallItem, spendable: int, had: int, stock: dict[int, int], pictures: dict[int, str]
) -> MallOffer:
    left = None if item.quota is None else item.quota - item.taken
    if item.sku_id is not None:
        there = max(stock.get(item.sku_id, 0), 0)
        left = there if left is None else min(left, there)
    coupon = item.coupon
    if coupon is not None and coupon.quota is not None:
        there = max(coupon.quota - coupon.granted_count, 0)
        left = there if left is None else min(left, there)
    state = (
        GONE
        if left == 0 or (coupon is not None and not coupon.is_active)
        else HAD
        if 0 < item.per_member <= had
        else POOR
        if spendable < item.points
        else OPEN
    )  # fmt: skip
    words = (
        " · ".join(part for part in (worth_of(coupon), condition_of(coupon), validity_words(coupon)) if part)
        if coupon is not None
        else item.sku.name
        if item.sku is not None
        else ""
    )
    return MallOffer(
        pk=item.pk,
        name=item.name,
        points=item.points,
        price=item.price_fen,
        terms=item.terms,
        is_goods=item.kind == MallItem.GOODS,
        words=words,
        detail=item.detail,
        image_url=pictures.get(_product_of(item), ""),
        left=left,
        per_member=item.per_member,
        ends_at=item.ends_at,
        state=state,
        missing=max(item.points - spendable, 0),
    )


def _product_of(item: MallItem) -> int:
    if item.sku is not None:
        return item.sku.product_id
    gift = item.coupon.gift_sku if item.coupon is not None else None
    return gift.product_id if gift is not None else 0


def _pictures(product_ids: Iterable[int]) -> dict[int, str]:
    """Product → the address of its first picture. One statement."""
    rows = (
        ProductImage.objects.filter(product_id__in={pk for pk in product_ids if pk})
        .order_by("product_id", "position", "pk")
        .distinct("product_id")
    )
    return {
        row.product_id: default_storage.url(name)
        for row in rows
        if (name := (row.thumbnail.name or row.image.name))
    }


def unpaid_exchange(member_id: int, item_id: int) -> MallExchange | None:
    """Hers of this item that waits for its payment: paying goes on with it."""
    waiting = MallExchange.objects.filter(member_id=member_id, item_id=item_id, state=MallExchange.UNPAID)
    return waiting.order_by("pk").last()


def exchanges_of(member_id: int, *, limit: int = 50) -> list[MallExchange]:
    """Hers, newest first."""
    rows = MallExchange.objects.filter(member_id=member_id).select_related("grant")
    return list(rows.order_by("-at", "-pk")[:limit])
