"""Proof that coupons, offers and the discounts of orders agree with each other."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check("shop.offers_are_the_sum_of_their_takes", gettext_lazy("Offers are the sum of their takes"))
def offers_are_the_sum_of_their_takes() -> Iterator[Finding]:
    return _findings(
        "shop.offers_are_the_sum_of_their_takes",
        """
        SELECT 'offer ' || o.id, format('taken %s of %s, takes %s, members %s', o.taken, o.quota, coalesce(t.n, 0),
                                        coalesce(m.n, 0))
        FROM shop_offer o
        LEFT JOIN (SELECT offer_id, sum(quantity) AS n FROM shop_offertake GROUP BY offer_id) t ON t.offer_id = o.id
        LEFT JOIN (SELECT offer_id, sum(taken) AS n FROM shop_offertally GROUP BY offer_id) m ON m.offer_id = o.id
        WHERE o.taken <> coalesce(t.n, 0) OR o.taken <> coalesce(m.n, 0) OR o.taken > o.quota
        """,
        _("the pieces taken are not those that orders and members have"),
    )


@audit_check(
    "shop.offer_tallies_are_the_sum_of_takes",
    gettext_lazy("What a member took of an offer is what her orders took"),
)
def offer_tallies_are_the_sum_of_takes() -> Iterator[Finding]:
    return _findings(
        "shop.offer_tallies_are_the_sum_of_takes",
        """
        SELECT format('offer %s, member %s', m.offer_id, m.member_id), format('tally %s, takes %s', m.taken,
                                                                                coalesce(t.n, 0))
        FROM shop_offertally m LEFT JOIN (
            SELECT offer_id, member_id, sum(quantity) AS n FROM shop_offertake GROUP BY offer_id, member_id
        ) t ON t.offer_id = m.offer_id AND t.member_id = m.member_id
        WHERE m.taken <> coalesce(t.n, 0)
        """,
        _("the member's count differs from her orders"),
    )


@audit_check(
    "shop.cancelled_orders_keep_nothing", gettext_lazy("Cancelled orders keep no offer, coupon or points")
)
def cancelled_orders_keep_nothing() -> Iterator[Finding]:
    return _findings(
        "shop.cancelled_orders_keep_nothing",
        """
        SELECT 'order ' || o.number, kept.what FROM shop_order o JOIN (
            SELECT order_id, format('%s pieces of offer %s', quantity, offer_id) AS what FROM shop_offertake
            WHERE released_at IS NULL
            UNION ALL
            SELECT g.order_id, format('coupon %s', g.id)
            FROM shop_coupongrant g JOIN shop_coupon c ON c.id = g.coupon_id
            WHERE g.state = 'used' AND c.returns_on_cancel
            UNION ALL
            SELECT p.id, format('%s points held', h.amount) FROM core_ledgerhold h
            JOIN shop_order p ON h.cause = 'order:' || p.id || ':points' WHERE h.status = 'open'
        ) kept ON kept.order_id = o.id
        WHERE o.status = 'cancelled'
        """,
        _("a cancelled order still keeps something"),
    )


@audit_check("shop.used_coupons_have_their_order", gettext_lazy("Used coupons have their order"))
def used_coupons_have_their_order() -> Iterator[Finding]:
    """The order is of the same member; that it has taken something off or given something is in its discounts."""
    return _findings(
        "shop.used_coupons_have_their_order",
        """
        SELECT 'coupon ' || g.id, format('%s, order %s', g.state, coalesce(o.number, '–'))
        FROM shop_coupongrant g LEFT JOIN shop_order o ON o.id = g.order_id
        WHERE (g.state = 'used') <> (o.id IS NOT NULL)
           OR (o.id IS NOT NULL AND o.member_id IS DISTINCT FROM g.member_id)
           OR (g.state = 'used' AND NOT EXISTS (
               SELECT FROM shop_orderdiscount d WHERE d.order_id = g.order_id AND d.source = 'coupon:' || g.id
           ))
        """,
        _("a used coupon and its order do not agree"),
    )


@audit_check("shop.coupons_are_counted", gettext_lazy("Coupons given are those that members hold"))
def coupons_are_counted() -> Iterator[Finding]:
    return _findings(
        "shop.coupons_are_counted",
        """
        SELECT 'coupon ' || c.code, format('granted %s, held %s, quota %s', c.granted_count, coalesce(g.n, 0),
                                           coalesce(c.quota::text, '–'))
        FROM shop_coupon c LEFT JOIN (
            SELECT coupon_id, count(*) AS n FROM shop_coupongrant GROUP BY coupon_id
        ) g ON g.coupon_id = c.id
        WHERE c.granted_count <> coalesce(g.n, 0)
        """,
        _("the number given differs from what members hold"),
    )


@audit_check("shop.discounts_sum_to_their_lines", gettext_lazy("Discounts sum to their order lines"))
def discounts_sum_to_their_lines() -> Iterator[Finding]:
    """Of orders of the mall: imported history has sums without reasons."""
    return _findings(
        "shop.discounts_sum_to_their_lines",
        """
        SELECT 'order ' || o.number, format('line %s: discount %s, steps %s', l.id, l.discount_fen, coalesce(d.n, 0))
        FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id AND o.channel = 'mall'
        LEFT JOIN (
            SELECT line_id, sum(amount_fen) AS n FROM shop_orderdiscount WHERE line_id IS NOT NULL GROUP BY line_id
        ) d ON d.line_id = l.id
        WHERE l.discount_fen <> coalesce(d.n, 0)
        """,
        _("the steps do not sum to the line's discount"),
    )


@audit_check(
    "shop.rows_of_orders_have_their_order",
    gettext_lazy("Discounts, log entries and stock movements belong to an order that is there"),
)
def rows_of_orders_have_their_order() -> Iterator[Finding]:
    """These are written with their order in one statement, and the database does not look for it again."""
    return _findings(
        "shop.rows_of_orders_have_their_order",
        """
        SELECT 'discount ' || d.id, format('order %s, line %s', d.order_id, coalesce(d.line_id::text, 'none'))
        FROM shop_orderdiscount d
        LEFT JOIN shop_order o ON o.id = d.order_id
        LEFT JOIN shop_orderline l ON l.id = d.line_id AND l.order_id = d.order_id
        WHERE o.id IS NULL OR (d.line_id IS NOT NULL AND l.id IS NULL)
        UNION ALL
        SELECT 'log entry ' || g.id, format('order %s', g.order_id)
        FROM shop_orderlog g LEFT JOIN shop_order o ON o.id = g.order_id WHERE o.id IS NULL
        UNION ALL
        SELECT 'stock movement ' || m.id, format('order %s', m.order_id)
        FROM shop_stockmovement m LEFT JOIN shop_order o ON o.id = m.order_id
        WHERE m.order_id IS NOT NULL AND o.id IS NULL
        """,
        _("the order, or its line, is not there"),
    )


@audit_check(
    "shop.points_used_are_held_or_spent", gettext_lazy("Points used by orders are held, spent or given back")
)
def points_used_are_held_or_spent() -> Iterator[Finding]:
    return _findings(
        "shop.points_used_are_held_or_spent",
        """
        SELECT 'order ' || o.number, format('%s, points %s, hold %s %s, given back %s', o.status, o.points_used,
                                            coalesce(h.amount, 0), coalesce(h.status, '–'), coalesce(r.n, 0))
        FROM shop_order o
        LEFT JOIN core_ledgerhold h ON h.cause = 'order:' || o.id || ':points'
        LEFT JOIN (SELECT order_id, sum(points) AS n FROM shop_effectreversal GROUP BY order_id) r ON r.order_id = o.id
        WHERE o.points_used <> coalesce(h.amount, 0) OR coalesce(r.n, 0) > o.points_used
           OR (o.points_used > 0 AND h.status <> CASE WHEN o.status = 'pending_payment' THEN 'open'
               WHEN o.status = 'cancelled' THEN 'released' ELSE 'captured' END)
        """,
        _("the order's points are not where they should be"),
    )


@audit_check(
    "shop.refunds_gave_their_effects_back", gettext_lazy("Refunds gave points and offer pieces back, once")
)
def refunds_gave_their_effects_back() -> Iterator[Finding]:
    """Pieces that went back with a refund have its reversal, with the same pieces; its points are in the ledger, and
    what was taken of an offer is free again as far as she keeps fewer pieces.
    """
    return _findings(
        "shop.refunds_gave_their_effects_back",
        """
        WITH back AS (
            SELECT r.order_id, 'refund:' || r.id AS cause, sum(b.quantity) AS pieces
            FROM shop_refund r JOIN shop_refundline b ON b.refund_id = r.id
            WHERE r.kind = 'order' AND r.status = 'success' AND b.line_id IS NOT NULL AND b.quantity > 0
            GROUP BY r.id
        ), reversed AS (
            SELECT e.order_id, e.cause, e.points, (
                SELECT sum(part.value::int) FROM jsonb_each_text(e.parts) part
            ) AS pieces, coalesce(t.amount, 0) AS posted
            FROM shop_effectreversal e LEFT JOIN core_ledgertransfer t
                ON t.cause = left('order:' || e.order_id || ':points_back:' || e.cause, 120)
        )
        SELECT 'order ' || o.number, format('%s: %s pieces, reversed %s; %s points, in the ledger %s',
            coalesce(b.cause, e.cause), coalesce(b.pieces, 0), coalesce(e.pieces, 0), coalesce(e.points, 0),
            coalesce(e.posted, 0))
        FROM back b FULL JOIN reversed e ON e.order_id = b.order_id AND e.cause = b.cause
        JOIN shop_order o ON o.id = coalesce(b.order_id, e.order_id)
        WHERE coalesce(b.pieces, 0) <> coalesce(e.pieces, 0) OR coalesce(e.points, 0) <> coalesce(e.posted, 0)
        UNION ALL
        SELECT 'order ' || o.number, format('offer %s: %s of %s pieces are out, she keeps %s', t.offer_id, t.quantity,
                                            t.taken_quantity, coalesce(kept.pieces, 0))
        FROM shop_offertake t JOIN shop_order o ON o.id = t.order_id LEFT JOIN LATERAL (
            SELECT sum(l.quantity - coalesce((
                SELECT sum(b.quantity) FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
                WHERE b.line_id = l.id AND r.kind = 'order' AND r.status = 'success'
            ), 0)) AS pieces
            FROM shop_orderline l WHERE l.order_id = t.order_id AND EXISTS (
                SELECT FROM shop_orderdiscount d
                WHERE d.order_id = t.order_id AND d.line_id = l.id AND d.source = 'offer:' || t.offer_id
            )
        ) kept ON true
        WHERE o.status <> 'cancelled' AND t.quantity <> least(t.taken_quantity, coalesce(kept.pieces, 0))
        """,
        _("what a refund took back is not what it gave back"),
    )
