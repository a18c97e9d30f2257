"""Bundles: what they are made of, and taking them apart when they are ordered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from shop.bundles_rules import Part, taken_apart
from shop.errors import BundleRefused, NotForSale
from shop.models import BundleItem, OrderBundle, Sku
from shop.pricing.types import Quote, QuotedLine

MOST_PARTS = 20


@dataclass(frozen=True)
class Packed:
    """A bundle of an order that is being placed: what the order keeps of it."""

    sku_id: int
    name: str
    image: str
    unit_price_fen: int
    quantity: int


def parts_of(sku_ids: Sequence[int]) -> dict[int, list[Part]]:
    """Bundle → its parts with their prices of this moment. One statement."""
    parts: dict[int, list[Part]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.bundle_id, i.sku_id, i.quantity, s.price_fen FROM shop_bundleitem i"
            " JOIN shop_sku s ON s.id = i.sku_id WHERE i.bundle_id = ANY(%s) ORDER BY i.id",
            [list(sku_ids)],
        )
        for bundle_id, *part in cursor.fetchall():
            parts.setdefault(bundle_id, []).append(Part(*part))
    return parts


def take_apart(quote: Quote, bundles: Mapping[int, tuple[str, str]]) -> tuple[Quote, list[Packed]]:
    """A quote with the lines of its bundles as lines of their parts; and those bundles, in the order of
    `QuotedLine.bundle`. `bundles`: SKU → (name, image) of those among the quote's SKUs that are bundles.

    The total stays to the fen. No statement without a bundle, else one. Raises NotForSale (a bundle without parts).
    """
    if not bundles:
        return quote, []
    parts = parts_of(list(bundles))
    empty = [name for sku_id, (name, _image) in bundles.items() if sku_id not in parts]
    if empty:
        raise NotForSale(_("No longer sold: %(names)s. Please take it out.") % {"names": "、".join(empty)})
    lines: list[QuotedLine] = []
    packed: list[Packed] = []
    for line in quote.lines:
        if line.sku_id not in bundles:
            lines.append(line)
            continue
        name, image = bundles[line.sku_id]
        lines += taken_apart(line, parts[line.sku_id], title=name[:80], place=len(packed))
        packed.append(Packed(line.sku_id, name, image, line.unit_price_fen, line.quantity))
    return replace(quote, lines=tuple(lines)), packed


def keep_bundles(order_id: int, packed: Sequence[Packed], places: Mapping[int, int]) -> None:
    """Write the bundles of a new order and let its lines point at them; `places`: line's place → bundle's place.

    Lines were numbered in the order of their places.
    """
    made = OrderBundle.objects.bulk_create(
        OrderBundle(
            order_id=order_id,
            sku_id=one.sku_id,
            name=one.name[:202],
            image=one.image,
            unit_price_fen=one.unit_price_fen,
            quantity=one.quantity,
        )
        for one in packed
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_orderline l SET bundle_id = w.bundle_id
            FROM (
                SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM shop_orderline WHERE order_id = %s
            ) o JOIN unnest(%s::bigint[], %s::bigint[]) AS w(place, bundle_id) ON w.place = o.place
            WHERE l.id = o.id
            """,
            [order_id, list(places), [made[place].pk for place in places.values()]],
        )


@transaction.atomic
def set_bundle(*, bundle_id: int, parts: Iterable[tuple[int, int]]) -> list[BundleItem]:
    """Make a bundle of (sku id, pieces): what it had before and is not named goes out. Orders keep what they had.

    Locks: the SKUs, by the trigger that refuses a bundle in a bundle. Idempotent. Raises BundleRefused.
    """
    wanted = dict(parts)
    bundle = Sku.objects.select_for_update(no_key=True).get(pk=bundle_id)
    if bundle.supply != Sku.PARTS:
        raise BundleRefused(_("Only products of the kind “bundle” have parts."))
    if not 1 <= len(wanted) <= MOST_PARTS or any(not 1 <= count <= 99 for count in wanted.values()):
        raise BundleRefused(_("A bundle has 1 to 20 different parts, 1 to 99 pieces of each."))
    try:
        with transaction.atomic():
            BundleItem.objects.filter(bundle=bundle).exclude(sku__in=wanted).delete()
            for sku_id, quantity in wanted.items():
                BundleItem.objects.update_or_create(
                    bundle=bundle, sku_id=sku_id, defaults={"quantity": quantity}
                )
    except IntegrityError as error:
        raise BundleRefused(_("A bundle cannot be a part of a bundle.")) from error
    return list(BundleItem.objects.filter(bundle=bundle))
