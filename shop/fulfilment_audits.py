"""Proof that what was paid is served, what left moved stock, and counts and transfers were booked as they say."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check(
    "shop.paid_orders_have_their_fulfilments",
    gettext_lazy("Paid orders are served by the stores of their lines"),
)
def paid_orders_have_their_fulfilments() -> Iterator[Finding]:
    """A store that serves pieces of a paid order has one fulfilment of it; nothing is open of an order that is over.

    A store that could not serve its part keeps a cancelled fulfilment and no line.
    """
    return _findings(
        "shop.paid_orders_have_their_fulfilments",
        """
        SELECT 'order ' || o.number, format('%s, store %s: %s', o.status, coalesce(l.store_id, f.store_id),
                                            coalesce(f.state, 'none'))
        FROM (
            SELECT order_id, store_id, sum(quantity - refunded_quantity) AS pieces FROM shop_orderline
            WHERE store_id IS NOT NULL GROUP BY order_id, store_id
        ) l
        FULL JOIN shop_fulfilment f ON f.order_id = l.order_id AND f.store_id = l.store_id
        JOIN shop_order o ON o.id = coalesce(l.order_id, f.order_id)
        WHERE o.channel = 'mall' AND (
            (l.store_id IS NULL AND f.state <> 'cancelled')
            OR (o.status IN ('paid', 'shipped', 'received')
                AND (f.id IS NULL OR (f.state = 'cancelled' AND l.pieces > 0)))
            OR (o.status <> 'paid' AND f.state IN ('waiting', 'ready'))
            OR (o.status IN ('pending_payment', 'cancelled') AND f.state IN ('shipped', 'handed_over'))
            OR (f.kind IS NOT NULL AND f.kind <> o.delivery)
        )
        """,
        _("the order and what its stores hand over do not agree"),
    )


@audit_check("shop.what_left_moved_stock", gettext_lazy("What was shipped or handed over left its stock"))
def what_left_moved_stock() -> Iterator[Finding]:
    """Of each SKU at least what was not given back before, at most all; and nothing leaves without a fulfilment."""
    return _findings(
        "shop.what_left_moved_stock",
        """
        SELECT 'order ' || o.number, format('store %s, SKU %s: %s of %s left', coalesce(l.store_id, m.store_id),
                                            coalesce(l.sku_id, m.sku_id), coalesce(m.pieces, 0), coalesce(l.most, 0))
        FROM (
            SELECT l.order_id, l.store_id, l.sku_id, sum(l.quantity) AS most,
                   sum(l.quantity - l.refunded_quantity) AS least
            FROM shop_orderline l JOIN shop_fulfilment f ON f.order_id = l.order_id AND f.store_id = l.store_id
            WHERE f.state IN ('shipped', 'handed_over') GROUP BY l.order_id, l.store_id, l.sku_id
        ) l
        FULL JOIN (
            SELECT m.order_id, s.store_id, s.sku_id, -sum(m.on_hand_change) AS pieces
            FROM shop_stockmovement m JOIN shop_stock s ON s.id = m.stock_id
            WHERE m.cause IN ('order:' || m.order_id || ':ship', 'order:' || m.order_id || ':handover')
            GROUP BY m.order_id, s.store_id, s.sku_id
        ) m ON m.order_id = l.order_id AND m.store_id = l.store_id AND m.sku_id = l.sku_id
        JOIN shop_order o ON o.id = coalesce(l.order_id, m.order_id)
        WHERE o.channel = 'mall' AND coalesce(m.pieces, 0) NOT BETWEEN coalesce(l.least, 0) AND coalesce(l.most, 0)
        """,
        _("what left the shelf is not what the order says"),
    )


@audit_check(
    "shop.store_sales_are_booked", gettext_lazy("Sales in stores left their stock and are on the timeline")
)
def store_sales_are_booked() -> Iterator[Finding]:
    return _findings(
        "shop.store_sales_are_booked",
        """
        SELECT 'order ' || o.number, format('sold %s, left %s, paid facts %s', coalesce(l.pieces, 0),
                                            coalesce(m.pieces, 0), coalesce(a.facts, 0))
        FROM shop_order o
        LEFT JOIN (SELECT order_id, sum(quantity) AS pieces FROM shop_orderline GROUP BY order_id) l
            ON l.order_id = o.id
        LEFT JOIN (
            SELECT order_id, -sum(on_hand_change) AS pieces FROM shop_stockmovement WHERE reason = 'sell'
            GROUP BY order_id
        ) m ON m.order_id = o.id
        LEFT JOIN (SELECT subject, count(*) AS facts FROM crm_activity WHERE kind = 'paid' GROUP BY subject) a
            ON a.subject = 'order:' || o.id
        WHERE o.channel LIKE 'store:%' AND (
            coalesce(l.pieces, 0) <> coalesce(m.pieces, 0)
            OR coalesce(a.facts, 0) <> (o.member_id IS NOT NULL)::int
            OR o.paid_fen <> o.total_fen
        )
        """,
        _("a sale of a store is not booked as it was told"),
    )


@audit_check("shop.stocktakes_are_booked_once", gettext_lazy("Stock-takings booked their differences, once"))
def stocktakes_are_booked_once() -> Iterator[Finding]:
    return _findings(
        "shop.stocktakes_are_booked_once",
        """
        SELECT 'stock-taking ' || t.id, format('%s, SKU %s: difference %s, booked %s', t.state, l.sku_id,
                                               l.counted - l.on_hand, coalesce(m.moved, 0))
        FROM shop_stocktakeline l JOIN shop_stocktake t ON t.id = l.stocktake_id
        LEFT JOIN (
            SELECT m.cause, s.sku_id, s.store_id, sum(m.on_hand_change) AS moved
            FROM shop_stockmovement m JOIN shop_stock s ON s.id = m.stock_id
            WHERE m.cause LIKE 'stocktake:%' GROUP BY m.cause, s.sku_id, s.store_id
        ) m ON m.cause = 'stocktake:' || t.id AND m.sku_id = l.sku_id AND m.store_id = t.store_id
        WHERE coalesce(m.moved, 0) <> CASE t.state WHEN 'booked' THEN l.counted - l.on_hand ELSE 0 END
        """,
        _("the booked difference is not the counted one"),
    )


@audit_check("shop.transfers_moved_stock", gettext_lazy("Transfers left one store and came to the other"))
def transfers_moved_stock() -> Iterator[Finding]:
    return _findings(
        "shop.transfers_moved_stock",
        """
        SELECT 'transfer ' || t.id, format('%s, SKU %s: sent %s of %s, arrived %s of %s', t.state, l.sku_id,
                                           coalesce(-s.moved, 0), l.quantity, coalesce(r.moved, 0),
                                           coalesce(l.received, 0))
        FROM shop_transferline l JOIN shop_transfer t ON t.id = l.transfer_id
        LEFT JOIN (
            SELECT m.cause, s.sku_id, s.store_id, sum(m.on_hand_change) AS moved
            FROM shop_stockmovement m JOIN shop_stock s ON s.id = m.stock_id
            WHERE m.reason = 'transfer' GROUP BY m.cause, s.sku_id, s.store_id
        ) s ON s.cause = 'transfer:' || t.id || ':send' AND s.sku_id = l.sku_id AND s.store_id = t.sender_id
        LEFT JOIN (
            SELECT m.cause, s.sku_id, s.store_id, sum(m.on_hand_change) AS moved
            FROM shop_stockmovement m JOIN shop_stock s ON s.id = m.stock_id
            WHERE m.reason = 'transfer' GROUP BY m.cause, s.sku_id, s.store_id
        ) r ON r.cause = 'transfer:' || t.id || ':receive' AND r.sku_id = l.sku_id AND r.store_id = t.receiver_id
        WHERE coalesce(-s.moved, 0) <> CASE WHEN t.state IN ('sent', 'received') THEN l.quantity ELSE 0 END
           OR coalesce(r.moved, 0) <> CASE t.state WHEN 'received' THEN coalesce(l.received, -1) ELSE 0 END
        """,
        _("the transfer and the movements do not agree"),
    )


@audit_check(
    "shop.orders_in_one_parcel_belong_together", gettext_lazy("Orders in one parcel belong to one member")
)
def orders_in_one_parcel_belong_together() -> Iterator[Finding]:
    """Who travels along names the first of that very parcel, which left the same store for the same member."""
    return _findings(
        "shop.orders_in_one_parcel_belong_together",
        """
        SELECT 'order ' || o.number, format('%s %s with %s %s of %s', s.carrier, s.tracking_number, l.carrier,
                                            l.tracking_number, p.number)
        FROM shop_shipment s JOIN shop_shipment l ON l.id = s.leader_id
        JOIN shop_order o ON o.id = s.order_id JOIN shop_order p ON p.id = l.order_id
        LEFT JOIN shop_fulfilment f ON f.id = s.fulfilment_id LEFT JOIN shop_fulfilment g ON g.id = l.fulfilment_id
        WHERE l.leader_id IS NOT NULL OR (s.carrier, s.tracking_number) <> (l.carrier, l.tracking_number)
           OR o.member_id IS DISTINCT FROM p.member_id OR f.store_id IS DISTINCT FROM g.store_id OR f.id IS NULL
        """,
        _("the order travels in a parcel that is not hers"),
    )


@audit_check("shop.what_was_shipped_has_its_parcel", gettext_lazy("What was shipped has its parcel"))
def what_was_shipped_has_its_parcel() -> Iterator[Finding]:
    """A part that left has a parcel of its own, or one that several stores sent together; no parcel without a part."""
    return _findings(
        "shop.what_was_shipped_has_its_parcel",
        """
        SELECT 'order ' || o.number, format('part %s: %s', f.id, f.state)
        FROM shop_fulfilment f JOIN shop_order o ON o.id = f.order_id
        WHERE f.state = 'shipped' AND NOT EXISTS (
            SELECT FROM shop_shipment s
            WHERE s.order_id = f.order_id AND (s.fulfilment_id IS NULL OR s.fulfilment_id = f.id)
        )
        UNION ALL
        SELECT 'order ' || o.number, format('parcel %s of part %s: %s', s.tracking_number, f.id, f.state)
        FROM shop_shipment s JOIN shop_fulfilment f ON f.id = s.fulfilment_id JOIN shop_order o ON o.id = s.order_id
        WHERE f.state <> 'shipped' OR f.order_id <> s.order_id
        """,
        _("the parcel and what left do not agree"),
    )
