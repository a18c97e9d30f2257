"""Proof that the shop's values are right. Each check is one statement that finds what is wrong."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows
from shop import aftersales_audits as aftersales_audits
from shop import booking_audits as booking_audits
from shop import finding_audits as finding_audits
from shop import fulfilment_audits as fulfilment_audits
from shop import goods_audits as goods_audits
from shop import limits_audits as limits_audits
from shop import logistics_audits as logistics_audits
from shop import mall_audits as mall_audits
from shop import memberships_audits as memberships_audits
from shop import offers_audits as offers_audits
from shop import points_audits as points_audits
from shop import presale_audits as presale_audits
from shop import pricing_audits as pricing_audits
from shop import recharge_audits as recharge_audits
from shop import reviews_audits as reviews_audits
from shop import tenders_audits as tenders_audits


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check("shop.stock_is_the_sum_of_its_movements", gettext_lazy("Stock is the sum of its movements"))
def stock_is_the_sum_of_its_movements() -> Iterator[Finding]:
    return _findings(
        "shop.stock_is_the_sum_of_its_movements",
        """
        SELECT 'stock ' || s.id, format('%s/%s, movements %s/%s', s.on_hand, s.reserved, coalesce(m.hand, 0),
                                        coalesce(m.res, 0))
        FROM shop_stock s LEFT JOIN (
            SELECT stock_id, sum(on_hand_change) AS hand, sum(reserved_change) AS res
            FROM shop_stockmovement GROUP BY stock_id
        ) m ON m.stock_id = s.id
        WHERE (s.on_hand, s.reserved) IS DISTINCT FROM (coalesce(m.hand, 0), coalesce(m.res, 0))
           OR s.reserved NOT BETWEEN 0 AND s.on_hand
        """,
        _("on hand or reserved differs from the sum of the movements"),
    )


@audit_check(
    "shop.reserved_is_what_open_orders_hold", gettext_lazy("Reserved stock is what open orders hold")
)
def reserved_is_what_open_orders_hold() -> Iterator[Finding]:
    return _findings(
        "shop.reserved_is_what_open_orders_hold",
        """
        SELECT 'stock ' || coalesce(s.id::text, format('of SKU %s', l.sku_id)),
               format('reserved %s, orders %s', coalesce(s.reserved, 0), coalesce(l.wanted, 0))
        FROM shop_stock s FULL JOIN (
            SELECT sku_id, store_id, sum(wanted) AS wanted FROM (
                SELECT l.sku_id, l.store_id, l.quantity - coalesce((
                    SELECT sum(b.quantity) FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
                    WHERE b.line_id = l.id AND r.status = 'success'
                ), 0) AS wanted
                FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id
                WHERE o.status IN ('pending_payment', 'paid') AND l.store_id IS NOT NULL AND NOT EXISTS (
                    SELECT FROM shop_fulfilment f
                    WHERE f.order_id = o.id AND f.store_id = l.store_id AND f.state IN ('shipped', 'handed_over')
                )
                UNION ALL
                SELECT e.new_sku_id, coalesce(e.new_store_id, l.store_id), e.quantity
                FROM shop_aftersaleline e JOIN shop_aftersale a ON a.id = e.aftersale_id
                JOIN shop_orderline l ON l.id = e.line_id
                WHERE a.kind = 'exchange' AND a.status IN ('approved', 'returned', 'received')
                    AND l.store_id IS NOT NULL
            ) w GROUP BY sku_id, store_id HAVING sum(wanted) <> 0
        ) l ON l.sku_id = s.sku_id AND l.store_id = s.store_id
        WHERE coalesce(s.reserved, 0) <> coalesce(l.wanted, 0)
        """,
        _("reserved differs from what open orders hold"),
    )


@audit_check("shop.order_lines_sum_to_the_order", gettext_lazy("Order lines sum to their order"))
def order_lines_sum_to_the_order() -> Iterator[Finding]:
    return _findings(
        "shop.order_lines_sum_to_the_order",
        """
        SELECT 'order ' || o.number, format('goods %s less %s, lines %s', o.items_fen, o.discount_fen,
                                            coalesce(l.total, 0))
        FROM shop_order o LEFT JOIN (
            SELECT order_id, sum(total_fen) AS total FROM shop_orderline GROUP BY order_id
        ) l ON l.order_id = o.id
        WHERE o.items_fen - o.discount_fen <> coalesce(l.total, 0)
        """,
        _("the lines do not sum to the order"),
    )


@audit_check("shop.paid_orders_have_their_payment", gettext_lazy("Paid orders have exactly their payment"))
def paid_orders_have_their_payment() -> Iterator[Finding]:
    """A paid order of the mall: one payment of its amount. What came late or twice is none of its money, also while
    WeChat refuses to take it back and it waits for staff in the list of refunds.
    """
    return _findings(
        "shop.paid_orders_have_their_payment",
        """
        SELECT 'order ' || o.number, format('%s, paid %s of %s, kept %s', o.status, o.paid_fen, o.total_fen,
                                            coalesce(p.kept, 0))
        FROM shop_order o LEFT JOIN (
            SELECT p.order_id, sum(p.paid_fen) AS kept FROM shop_payment p
            WHERE p.status = 'paid' AND NOT EXISTS (
                SELECT 1 FROM shop_refund r WHERE r.payment_id = p.id AND r.kind <> 'order'
            ) GROUP BY p.order_id
        ) p ON p.order_id = o.id
        WHERE o.channel = 'mall' AND (
            (o.status IN ('paid', 'shipped', 'received', 'refunded')
                AND (o.paid_fen <> o.total_fen OR coalesce(p.kept, 0) <> o.paid_fen OR o.paid_at IS NULL))
            OR (o.status IN ('pending_payment', 'cancelled') AND (
                o.paid_fen <> 0 OR coalesce(p.kept, 0) <> CASE WHEN o.deposit_paid_at IS NOT NULL AND NOT EXISTS (
                    SELECT FROM shop_presaleorder z WHERE z.order_id = o.id AND z.outcome = 'returned'
                ) THEN o.deposit_fen ELSE 0 END
            ))
        )
        """,
        _("the order and its payments do not agree"),
    )


@audit_check(
    "shop.paid_orders_are_on_the_timeline", gettext_lazy("Payments and refunds are on the timeline once")
)
def paid_orders_are_on_the_timeline() -> Iterator[Finding]:
    """Booked with the payment, in the same transaction: exactly one "paid" fact, and one "refunded" per refund."""
    return _findings(
        "shop.paid_orders_are_on_the_timeline",
        """
        SELECT 'order ' || o.number, format('paid facts %s, refunded facts %s', coalesce(a.paid, 0),
                                            coalesce(a.refunded, 0))
        FROM shop_order o LEFT JOIN (
            SELECT subject, count(*) FILTER (WHERE kind = 'paid') AS paid,
                   count(*) FILTER (WHERE kind = 'refunded') AS refunded
            FROM crm_activity WHERE kind IN ('paid', 'refunded') AND subject LIKE 'order:%' GROUP BY subject
        ) a ON a.subject = 'order:' || o.id
        WHERE o.channel = 'mall' AND o.member_id IS NOT NULL AND (
            coalesce(a.paid, 0) <> (o.paid_at IS NOT NULL)::int
            OR coalesce(a.refunded, 0) <> (
                SELECT count(*) FROM shop_refund r
                WHERE r.order_id = o.id AND r.kind = 'order' AND r.status = 'success'
            )
        )
        """,
        _("the timeline does not tell the order's payments once"),
    )


@audit_check("shop.refunds_reversed_their_order", gettext_lazy("Refunds reversed their order"))
def refunds_reversed_their_order() -> Iterator[Finding]:
    """Refunded is an order of which all money and all pieces are back: a voucher that cost nothing may be used."""
    return _findings(
        "shop.refunds_reversed_their_order",
        """
        SELECT 'order ' || o.number, format('%s, refunded %s, refunds %s', o.status, o.refunded_fen,
                                            coalesce(r.back, 0))
        FROM shop_order o LEFT JOIN (
            SELECT order_id, sum(amount_fen) AS back FROM shop_refund
            WHERE kind = 'order' AND status = 'success' GROUP BY order_id
        ) r ON r.order_id = o.id
        WHERE o.channel = 'mall' AND (
            o.refunded_fen <> coalesce(r.back, 0)
            OR (o.status = 'refunded') <> (r.back IS NOT NULL AND r.back = o.paid_fen AND NOT EXISTS (
                SELECT FROM shop_orderline l WHERE l.order_id = o.id AND l.refunded_quantity < l.quantity
            ))
        )
        """,
        _("the order and its refunds do not agree"),
    )


@audit_check("shop.imported_lines_are_in_their_order", gettext_lazy("Imported lines are in their order"))
def imported_lines_are_in_their_order() -> Iterator[Finding]:
    return _findings(
        "shop.imported_lines_are_in_their_order",
        """
        SELECT 'import ' || i.source || ' ' || i.order_number, format('imported %s, in the order %s', i.pieces,
                                                                      coalesce(l.pieces, 0))
        FROM (
            SELECT source, order_number, order_id, sum(quantity) AS pieces FROM shop_importline
            WHERE verdict = 'imported' AND kind = 'goods' GROUP BY source, order_number, order_id
        ) i LEFT JOIN (
            SELECT l.order_id, sum(l.quantity) AS pieces
            FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id
            WHERE o.channel LIKE 'import:%' GROUP BY l.order_id
        ) l ON l.order_id = i.order_id
        WHERE i.pieces IS DISTINCT FROM l.pieces
        """,
        _("the order does not have the pieces that were imported"),
    )


@audit_check("shop.price_ranges_are_those_of_the_skus", gettext_lazy("Price ranges are those of the SKUs"))
def price_ranges_are_those_of_the_skus() -> Iterator[Finding]:
    return _findings(
        "shop.price_ranges_are_those_of_the_skus",
        """
        SELECT 'product ' || p.id, format('%s to %s, SKUs %s to %s', p.min_price_fen, p.max_price_fen,
                                          coalesce(s.least, 0), coalesce(s.most, 0))
        FROM shop_product p LEFT JOIN (
            SELECT product_id, min(price_fen) AS least, max(price_fen) AS most
            FROM shop_sku WHERE is_active GROUP BY product_id
        ) s ON s.product_id = p.id
        WHERE (p.min_price_fen, p.max_price_fen) IS DISTINCT FROM (coalesce(s.least, 0), coalesce(s.most, 0))
        """,
        _("the price range is not that of the SKUs"),
    )


@audit_check(
    "shop.waiting_invoices_are_over_what_is_left",
    gettext_lazy("Invoices that wait are over what was paid and did not go back"),
)
def waiting_invoices_are_over_what_is_left() -> Iterator[Finding]:
    return _findings(
        "shop.waiting_invoices_are_over_what_is_left",
        """
        SELECT 'order ' || o.number, format('invoice %s, left %s', i.amount_fen, o.paid_fen - o.refunded_fen)
        FROM shop_invoice i JOIN shop_order o ON o.id = i.order_id
        WHERE i.status = 'requested' AND i.amount_fen <> o.paid_fen - o.refunded_fen
        """,
        _("the invoice is not over what is left of the order"),
    )
