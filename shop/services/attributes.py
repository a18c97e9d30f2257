"""The SKUs of a product as a table of one or two properties: colours × sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from shop.errors import BadMatrix, NoSuchProduct
from shop.models import Product, Sku
from shop.services.finding import refresh_products

MAX_SKUS = 200


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One SKU as the table shows it; amounts are fen."""

    sku_id: int
    code: str
    price_fen: int
    list_price_fen: int | None
    is_active: bool


@transaction.atomic
def fill_matrix(*, product_id: int, dimensions: Sequence[tuple[str, Sequence[str]]], price_fen: int) -> int:
    """Make the SKUs that are missing for every combination of the dimensions' values; returns how many.

    Locks: the product. Idempotent: what is there stays as it is. Raises BadMatrix, NoSuchProduct.
    """
    product = Product.objects.select_for_update().filter(pk=product_id).first()
    if product is None:
        raise NoSuchProduct(_("This product does not exist any more."))
    wanted = _combinations(dimensions)
    if not 0 <= price_fen <= 10_000_000_00:
        raise BadMatrix(_("The price has to be between 0 and 10,000,000 yuan."))
    known = list(product.skus.values_list("spec", flat=True))
    missing = [spec for spec in wanted if spec not in known]
    if len(known) + len(missing) > MAX_SKUS:
        raise BadMatrix(_("A product has at most %(most)d SKUs.") % {"most": MAX_SKUS})
    stem = (product.code or f"P{product.pk}")[:48]
    taken = set(Sku.objects.filter(code__startswith=f"{stem}-").values_list("code", flat=True))
    number = len(known)
    made: list[Sku] = []
    for spec in missing:
        number += 1
        while f"{stem}-{number:02d}" in taken:
            number += 1
        made.append(
            Sku(
                product=product,
                code=f"{stem}-{number:02d}",
                name=" ".join(spec.values())[:80],
                spec=spec,
                price_fen=price_fen,
                position=len(known) + len(made),
            )
        )
    Sku.objects.bulk_create(made)
    refresh_products(product_ids=[product.pk])
    return len(made)


def _combinations(dimensions: Sequence[tuple[str, Sequence[str]]]) -> list[dict[str, str]]:
    wanted: list[dict[str, str]] = [{}]
    names: set[str] = set()
    for name, values in dimensions:
        name = " ".join(name.split())
        words = list(dict.fromkeys(" ".join(value.split()) for value in values if value.strip()))
        if not name and not words:
            continue
        if not name or not words or len(name) > 20 or any(len(word) > 30 for word in words) or name in names:
            raise BadMatrix(
                _("Each property needs a name of its own and at least one value, all of them short.")
            )
        names.add(name)
        wanted = [{**spec, name: word} for spec in wanted for word in words]
        if len(wanted) > MAX_SKUS:
            raise BadMatrix(_("A product has at most %(most)d SKUs.") % {"most": MAX_SKUS})
    if not names:
        raise BadMatrix(_("Name at least one property with its values."))
    return wanted


@transaction.atomic
def save_matrix(*, product_id: int, rows: Sequence[MatrixRow]) -> int:
    """Write codes, prices and availability of a product's SKUs at once; returns how many changed. All or nothing.

    Locks: the product. Idempotent. Raises BadMatrix for a code that another SKU has, NoSuchProduct.
    """
    if Product.objects.select_for_update().filter(pk=product_id).first() is None:
        raise NoSuchProduct(_("This product does not exist any more."))
    known = {sku.pk: sku for sku in Sku.objects.filter(product_id=product_id)}
    changed = 0
    for row in rows:
        sku = known.get(row.sku_id)
        if sku is None:
            raise BadMatrix(_("One of these SKUs is not of this product. Please load the page again."))
        code = row.code.strip()
        if not code or len(code) > 64 or row.price_fen < 0 or (row.list_price_fen or 0) < 0:
            raise BadMatrix(_("Each SKU needs a code of at most 64 characters and a price."))
        wanted: dict[str, Any] = {
            "code": code, "price_fen": row.price_fen, "list_price_fen": row.list_price_fen,
            "is_active": row.is_active,
        }  # fmt: skip
        different = [name for name, value in wanted.items() if getattr(sku, name) != value]
        if not different:
            continue
        for name in different:
            setattr(sku, name, wanted[name])
        try:
            with transaction.atomic():
                sku.save(update_fields=different)
        except IntegrityError as error:
            raise BadMatrix(_("Another SKU has the code “%(code)s”.") % {"code": code}) from error
        changed += 1
    refresh_products(product_ids=[product_id])
    return changed
