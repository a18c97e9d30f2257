"""How the shop's words in segments' rules are meant."""

from django.db import connection


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
