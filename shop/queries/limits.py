"""How many pieces of limited products a member may still buy."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one product (None: no such one) and how many pieces of it this member has."""

    product_id: int
    name: str
    per_order: int | None
    per_member: int | None
    taken: int

    @property
    def left(self) -> int | None:
        """Pieces that she may still buy; None: as many as she likes."""
        return None if self.per_member is None else max(self.per_member - self.taken, 0)

    @property
    def most(self) -> int:
        """Pieces that her next order may have at most."""
        return min(bound for bound in (self.per_order, self.left) if bound is not None)


def limits_of(member_id: int | None, product_ids: Iterable[int]) -> dict[int, Limit]:
    """Product → its limits, of those that have one. One statement; none for nothing."""
    ids = sorted(set(product_ids))
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.id, p.name, p.limit_per_order, p.limit_per_member, coalesce(t.taken, 0)
            FROM shop_product p
            LEFT JOIN shop_producttally t ON t.product_id = p.id AND t.member_id = %s
            WHERE p.id = ANY(%s) AND (p.limit_per_order IS NOT NULL OR p.limit_per_member IS NOT NULL)
            """,
            [member_id or 0, ids],
        )
        return {row[0]: Limit(*row) for row in cursor.fetchall()}
