"""Proof that refunds and after-sales are right. Each check is one statement that finds what is wrong."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check(
    "shop.refunds_stay_within_their_payment", gettext_lazy("Refunds stay within what their payment took")
)
def refunds_stay_within_their_payment() -> Iterator[Finding]:
    return _findings(
        "shop.refunds_stay_within_their_payment",
        """
        SELECT 'payment ' || p.out_trade_no,
               format('paid %s, claimed %s, refunds %s', p.paid_fen, p.refunded_fen, coalesce(r.back, 0))
        FROM shop_payment p LEFT JOIN (
            SELECT payment_id, sum(amount_fen) AS back FROM shop_refund WHERE status <> 'closed' GROUP BY payment_id
        ) r ON r.payment_id = p.id
        WHERE p.refunded_fen <> coalesce(r.back, 0) OR coalesce(r.back, 0) > p.paid_fen
        """,
        _("the payment and its refunds do not agree"),
    )


@audit_check("shop.refunds_are_their_lines", gettext_lazy("Refunds of orders are the sums of their lines"))
def refunds_are_their_lines() -> Iterator[Finding]:
    return _findings(
        "shop.refunds_are_their_lines",
        """
        SELECT 'refund ' || r.out_refund_no, format('amount %s, lines %s', r.amount_fen, coalesce(b.back, 0))
        FROM shop_refund r LEFT JOIN (
            SELECT refund_id, sum(amount_fen) AS back FROM shop_refundline GROUP BY refund_id
        ) b ON b.refund_id = r.id
        WHERE r.kind = 'order' AND r.amount_fen <> coalesce(b.back, 0)
        """,
        _("the refund is not the sum of its lines"),
    )


@audit_check(
    "shop.lines_count_what_was_given_back", gettext_lazy("Order lines count exactly what was given back")
)
def lines_count_what_was_given_back() -> Iterator[Finding]:
    """Pieces and money of lines, and the shipping of orders, against the refunds that were not closed."""
    return _findings(
        "shop.lines_count_what_was_given_back",
        """
        WITH back AS (
            SELECT r.order_id, b.line_id, sum(b.quantity) AS pieces, sum(b.amount_fen) AS fen
            FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
            WHERE r.status <> 'closed' GROUP BY r.order_id, b.line_id
        )
        SELECT 'order ' || o.number, format('line %s: counted %s for %s, refunds %s for %s', l.id,
            l.refunded_quantity, l.refunded_fen, coalesce(b.pieces, 0), coalesce(b.fen, 0))
        FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id LEFT JOIN back b ON b.line_id = l.id
        WHERE o.channel = 'mall'
            AND (l.refunded_quantity, l.refunded_fen) IS DISTINCT FROM (coalesce(b.pieces, 0), coalesce(b.fen, 0))
        UNION ALL
        SELECT 'order ' || o.number, format('shipping: counted %s, refunds %s', o.refunded_shipping_fen,
            coalesce(b.fen, 0))
        FROM shop_order o LEFT JOIN back b ON b.order_id = o.id AND b.line_id IS NULL
        WHERE o.channel = 'mall' AND o.refunded_shipping_fen <> coalesce(b.fen, 0)
        """,
        _("what was given back differs from what the order counts"),
    )


@audit_check(
    "shop.returns_are_booked_as_what_came_back",
    gettext_lazy("Returned goods are on the shelf as what came back, piece by piece"),
)
def returns_are_booked_as_what_came_back() -> Iterator[Finding]:
    """By SKU: what the lines of an after-sale say that the buyer held, and what was booked in."""
    return _findings(
        "shop.returns_are_booked_as_what_came_back",
        """
        SELECT 'after-sale ' || a.number, format('SKU %s: came back %s, booked in %s',
            coalesce(c.sku_id, b.sku_id), coalesce(c.pieces, 0), coalesce(b.pieces, 0))
        FROM (
            SELECT e.aftersale_id AS id, coalesce(e.held_sku_id, l.sku_id) AS sku_id, sum(e.quantity) AS pieces
            FROM shop_aftersaleline e JOIN shop_orderline l ON l.id = e.line_id
            JOIN shop_aftersale a ON a.id = e.aftersale_id
            WHERE a.restocked_at IS NOT NULL AND l.store_id IS NOT NULL GROUP BY 1, 2
        ) c FULL JOIN (
            SELECT split_part(m.cause, ':', 2)::bigint AS id, s.sku_id, sum(m.on_hand_change) AS pieces
            FROM shop_stockmovement m JOIN shop_stock s ON s.id = m.stock_id
            WHERE starts_with(m.cause, 'aftersale:') AND right(m.cause, 7) = ':return' GROUP BY 1, 2
        ) b ON b.id = c.id AND b.sku_id = c.sku_id
        JOIN shop_aftersale a ON a.id = coalesce(c.id, b.id)
        WHERE coalesce(c.pieces, 0) <> coalesce(b.pieces, 0)
        """,
        _("what was booked in is not what came back"),
    )


@audit_check(
    "shop.aftersales_agree_with_their_refunds", gettext_lazy("After-sales agree with their refunds and goods")
)
def aftersales_agree_with_their_refunds() -> Iterator[Finding]:
    """Refunded: all money is back, and exactly the pieces applied for. On its way: a refund is. Otherwise: none is.

    Goods that are on the shelf again, or were exchanged, have their movement. Open lines belong to open after-sales.
    """
    return _findings(
        "shop.aftersales_agree_with_their_refunds",
        """
        WITH money AS (
            SELECT r.aftersale_id, count(*) FILTER (WHERE r.status = 'success') AS done,
                   count(*) FILTER (WHERE r.status NOT IN ('success', 'closed')) AS waiting
            FROM shop_refund r WHERE r.aftersale_id IS NOT NULL GROUP BY r.aftersale_id
        ), pieces AS (
            SELECT a.id, bool_and(s.line_id IS NOT NULL AND coalesce(b.pieces, 0) = CASE
                       WHEN a.kind = 'price_protection' THEN 0 ELSE s.quantity END) AS fits,
                   bool_or(s.is_open) AS is_open, count(s.id) AS lines
            FROM shop_aftersale a LEFT JOIN shop_aftersaleline s ON s.aftersale_id = a.id LEFT JOIN (
                SELECT r.aftersale_id, b.line_id, sum(b.quantity) AS pieces
                FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
                WHERE r.status = 'success' GROUP BY r.aftersale_id, b.line_id
            ) b ON b.aftersale_id = a.id AND b.line_id = s.line_id
            GROUP BY a.id
        ), moves AS (
            SELECT split_part(cause, ':', 2)::bigint AS id,
                   bool_or(right(cause, 7) = ':return') AS returned, bool_or(right(cause, 5) = ':ship') AS shipped
            FROM shop_stockmovement WHERE starts_with(cause, 'aftersale:') GROUP BY 1
        )
        SELECT 'after-sale ' || a.number, format('%s, refunds done %s, waiting %s', a.status,
            coalesce(m.done, 0), coalesce(m.waiting, 0))
        FROM shop_aftersale a JOIN pieces p ON p.id = a.id LEFT JOIN money m ON m.aftersale_id = a.id
        LEFT JOIN moves v ON v.id = a.id
        WHERE p.lines = 0
            OR (a.status = 'refunded' AND (coalesce(m.done, 0) = 0 OR coalesce(m.waiting, 0) > 0 OR NOT p.fits))
            OR (a.status = 'refunding') <> (coalesce(m.waiting, 0) > 0)
            OR (a.status IN ('applied', 'refused', 'exchanged', 'closed') AND coalesce(m.done, 0) > 0)
            OR coalesce(p.is_open, false) <> (a.status NOT IN ('refused', 'refunded', 'exchanged', 'closed'))
            OR (coalesce(v.returned, false) AND a.restocked_at IS NULL)
            OR (coalesce(v.shipped, false) AND a.status <> 'exchanged')
        """,
        _("the after-sale does not agree with its refunds or goods"),
    )
