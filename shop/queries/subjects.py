"""How the shop's words in segments' rules are meant."""

from collections.abc import Collection

from django.db import connection

from shop.models import Sku
from shop.queries.picture import category_choices


def products_as_subjects(category_id: int) -> list[str]:
    """Everything on a shelf and the shelves below it, as the timeline names it: ["product:12", …]. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT 'product:' || id FROM shop_product WHERE category_id IN (
                WITH RECURSIVE shelf AS (
                    SELECT id FROM shop_category WHERE id = %s
                    UNION SELECT c.id FROM shop_category c JOIN shelf ON c.parent_id = shelf.id
                ) SELECT id FROM shelf
            ) ORDER BY id
            """,
            [category_id],
        )
        return [subject for (subject,) in cursor.fetchall()]


def shelf_names() -> list[tuple[int, str]]:
    """(id, name with its parents) of every shelf."""
    return [(int(pk), name) for pk, name in category_choices()]


def shelf_paths(ids: Collection[int]) -> dict[int, str]:
    """Shelves as files of segments call them."""
    return {pk: name for pk, name in shelf_names() if pk in ids}


def shelves_by_path(paths: Collection[str]) -> dict[str, int]:
    """The first of a path counts."""
    return {name: pk for pk, name in reversed(shelf_names()) if name in paths}


def product_codes(ids: Collection[int]) -> dict[int, str]:
    """Products as files of segments call them: by the code of their first SKU."""
    rows = Sku.objects.filter(product_id__in=ids).order_by("product_id", "pk").distinct("product_id")
    return dict(rows.values_list("product_id", "code"))


def products_by_code(codes: Collection[str]) -> dict[str, int]:
    return dict(Sku.objects.filter(code__in=codes).values_list("code", "product_id"))
