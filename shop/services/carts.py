"""The cart: one row per member and SKU. Nothing is reserved here; checkout decides."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Least
from django.utils.translation import gettext as _

from core import clock
from shop import rules
from shop.errors import BadQuantity, NotForSale
from shop.models import CartLine, Product, Sku


@transaction.atomic
def add_to_cart(*, member_id: int, sku_id: int, quantity: int = 1) -> CartLine:
    """Put more of a SKU into the cart; the sum stays at most 999. Raises NotForSale, BadQuantity.

    Locks: the cart line. Not idempotent: each call adds.
    """
    _check_quantity(quantity)
    price_fen = _price_of(sku_id)
    line, created = CartLine.objects.get_or_create(
        member_id=member_id,
        sku_id=sku_id,
        defaults={"quantity": quantity, "seen_price_fen": price_fen, "added_at": clock.now()},
    )
    if not created:
        CartLine.objects.filter(pk=line.pk).update(
            quantity=Least(F("quantity") + quantity, Value(rules.MAX_QUANTITY)),
            seen_price_fen=price_fen,
            is_selected=True,
            added_at=clock.now(),
        )
        line.refresh_from_db()
    return line


@transaction.atomic
def set_cart_line(*, member_id: int, sku_id: int, quantity: int) -> CartLine | None:
    """Set how many; 0 takes the line out. Idempotent. Raises NotForSale, BadQuantity."""
    if quantity == 0:
        remove_cart_line(member_id=member_id, sku_id=sku_id)
        return None
    _check_quantity(quantity)
    line, _created = CartLine.objects.update_or_create(
        member_id=member_id,
        sku_id=sku_id,
        defaults={"quantity": quantity},
        create_defaults={
            "quantity": quantity,
            "seen_price_fen": _price_of(sku_id),
            "added_at": clock.now(),
        },
    )
    return line


@transaction.atomic
def select_cart_lines(*, member_id: int, selected: bool, sku_ids: Iterable[int] | None = None) -> int:
    """Tick or untick lines for checkout; None: all of them. Idempotent; returns how many there are."""
    lines = CartLine.objects.filter(member_id=member_id)
    if sku_ids is not None:
        lines = lines.filter(sku_id__in=list(sku_ids))
    return lines.update(is_selected=selected)


@transaction.atomic
def remove_cart_line(*, member_id: int, sku_id: int) -> bool:
    """Take a SKU out of the cart; False when it was not in it."""
    return bool(CartLine.objects.filter(member_id=member_id, sku_id=sku_id).delete()[0])


def _check_quantity(quantity: int) -> None:
    if not 1 <= quantity <= rules.MAX_QUANTITY:
        raise BadQuantity(_("Choose between 1 and %(most)d pieces.") % {"most": rules.MAX_QUANTITY})


def _price_of(sku_id: int) -> int:
    price = (
        Sku.objects.filter(pk=sku_id, is_active=True, product__status=Product.ON_SALE)
        .values_list("price_fen", flat=True)
        .first()
    )
    if price is None:
        raise NotForSale(_("This item is no longer sold."))
    return price
