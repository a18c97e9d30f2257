"""Proof that the limits per member rest on what members really have."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.product_tallies_are_what_members_bought",
    gettext_lazy("What counts against a product's limit is what its members bought"),
)
def product_tallies_are_what_members_bought() -> Iterator[Finding]:
    """Counted from the money that went back, not from what the tallies themselves are counted from."""
    for product, member, detail in rows(
        """
        SELECT coalesce(t.product_id, b.product_id), coalesce(t.member_id, b.member_id),
               format('counted %s, bought %s', coalesce(t.taken, 0), coalesce(b.pieces, 0))
        FROM shop_producttally t FULL JOIN (
            SELECT s.product_id, o.member_id, sum(l.quantity - coalesce((
                SELECT sum(b.quantity) FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
                WHERE b.line_id = l.id AND r.status = 'success' AND r.kind = 'order'
            ), 0)) AS pieces
            FROM shop_product p
            JOIN shop_sku s ON s.product_id = p.id
            JOIN shop_orderline l ON l.sku_id = s.id AND l.kind = 'goods'
            JOIN shop_order o ON o.id = l.order_id AND o.channel = 'mall' AND o.status <> 'cancelled'
            WHERE p.limit_per_member IS NOT NULL AND o.member_id IS NOT NULL
            GROUP BY s.product_id, o.member_id
        ) b ON b.product_id = t.product_id AND b.member_id = t.member_id
        WHERE coalesce(t.taken, 0) <> coalesce(b.pieces, 0)
        """
    ):
        problem = _("what counts against the limit is not what she bought")
        yield Finding(
            "shop.product_tallies_are_what_members_bought",
            f"product {product}, member {member}",
            f"{problem} ({detail})",
        )
