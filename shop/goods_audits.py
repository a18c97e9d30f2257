"""Proof that what is no parcel is delivered once, and that bundles are what their parts say."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


# Lines of the mall that are no parcel.
_LINES = """
    SELECT l.id, l.order_id, l.sku_id, l.quantity, l.refunded_quantity, o.number, o.status, o.paid_at, t.delivers
    FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id AND o.channel = 'mall'
    JOIN shop_goodsterms t ON t.sku_id = l.sku_id
    WHERE l.store_id IS NULL
"""


@audit_check(
    "shop.pieces_taken_are_in_orders", gettext_lazy("Pieces of virtual and service goods are in orders")
)
def pieces_taken_are_in_orders() -> Iterator[Finding]:
    """Taken is what orders hold that were not cancelled, without what was paid back."""
    return _findings(
        "shop.pieces_taken_are_in_orders",
        f"""
        SELECT 'SKU ' || t.sku_id, format('taken %s, orders %s', t.taken, coalesce(l.pieces, 0))
        FROM shop_goodsterms t LEFT JOIN (
            SELECT l.sku_id, sum(l.quantity - coalesce((
                SELECT sum(b.quantity) FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
                WHERE b.line_id = l.id AND r.status = 'success'
            ), 0)) AS pieces
            FROM ({_LINES}) l WHERE l.status <> 'cancelled' GROUP BY l.sku_id
        ) l ON l.sku_id = t.sku_id
        WHERE t.taken <> coalesce(l.pieces, 0)
        """,  # noqa: S608  a part of our own
        _("what was taken is not what orders hold"),
    )


@audit_check("shop.codes_are_there_and_given_once", gettext_lazy("Virtual codes are there, and given once"))
def codes_are_there_and_given_once() -> Iterator[Finding]:
    """A paid piece has one code; free are those for what can still be sold and for what waits for its payment."""
    return _findings(
        "shop.codes_are_there_and_given_once",
        f"""
        SELECT 'order ' || l.number, format('SKU %s: %s of %s given, %s of %s void', l.sku_id, coalesce(c.given, 0),
                                            l.quantity - l.refunded_quantity, coalesce(c.void, 0), l.refunded_quantity)
        FROM ({_LINES}) l LEFT JOIN (
            SELECT line_id, count(*) FILTER (WHERE state = 'given') AS given,
                   count(*) FILTER (WHERE state = 'void') AS void
            FROM shop_virtualcode WHERE line_id IS NOT NULL GROUP BY line_id
        ) c ON c.line_id = l.id
        WHERE l.delivers = 'code' AND (coalesce(c.given, 0), coalesce(c.void, 0)) IS DISTINCT FROM CASE
            WHEN l.paid_at IS NULL THEN (0::bigint, 0::bigint)
            ELSE ((l.quantity - l.refunded_quantity)::bigint, l.refunded_quantity::bigint) END
        UNION ALL
        SELECT 'SKU ' || t.sku_id, format('%s free, %s can be sold, %s wait for payment', coalesce(c.free, 0),
                                          t.quota - t.taken, coalesce(w.pieces, 0))
        FROM shop_goodsterms t
        LEFT JOIN (SELECT sku_id, count(*) AS free FROM shop_virtualcode WHERE state = 'free' GROUP BY sku_id) c
            ON c.sku_id = t.sku_id
        LEFT JOIN (
            SELECT l.sku_id, sum(l.quantity) AS pieces FROM ({_LINES}) l WHERE l.status = 'pending_payment'
            GROUP BY l.sku_id
        ) w ON w.sku_id = t.sku_id
        WHERE t.delivers = 'code' AND coalesce(c.free, 0) <> t.quota - t.taken + coalesce(w.pieces, 0)
        """,  # noqa: S608  a part of our own
        _("the codes are not those of the orders"),
    )


@audit_check("shop.paid_services_have_their_vouchers", gettext_lazy("Each paid service has one voucher"))
def paid_services_have_their_vouchers() -> Iterator[Finding]:
    """One a piece; those given back are void, so nothing is both redeemed and refunded; a redemption is in the log."""
    return _findings(
        "shop.paid_services_have_their_vouchers",
        f"""
        SELECT 'order ' || l.number, format('%s vouchers of %s, %s void of %s', coalesce(v.every, 0), l.quantity,
                                            coalesce(v.void, 0), l.refunded_quantity)
        FROM ({_LINES}) l LEFT JOIN (
            SELECT line_id, count(*) AS every, count(*) FILTER (WHERE state = 'void') AS void
            FROM shop_voucher GROUP BY line_id
        ) v ON v.line_id = l.id
        WHERE l.delivers = 'voucher' AND (coalesce(v.every, 0), coalesce(v.void, 0)) IS DISTINCT FROM CASE
            WHEN l.paid_at IS NULL THEN (0::bigint, 0::bigint)
            ELSE (l.quantity::bigint, l.refunded_quantity::bigint) END
        UNION ALL
        SELECT 'order ' || o.number, format('%s redeemed, %s times in the log', coalesce(v.used, 0),
                                            coalesce(g.times, 0))
        FROM (
            SELECT l.order_id, count(*) AS used FROM shop_voucher v JOIN shop_orderline l ON l.id = v.line_id
            WHERE v.state = 'redeemed' GROUP BY l.order_id
        ) v FULL JOIN (
            SELECT order_id, count(*) AS times FROM shop_orderlog WHERE action = 'redeemed' GROUP BY order_id
        ) g ON g.order_id = v.order_id
        JOIN shop_order o ON o.id = coalesce(v.order_id, g.order_id)
        WHERE coalesce(v.used, 0) <> coalesce(g.times, 0)
        """,  # noqa: S608  a part of our own
        _("the vouchers are not those of the order"),
    )


@audit_check("shop.bundles_are_their_parts", gettext_lazy("Bundles in orders cost what their parts sum to"))
def bundles_are_their_parts() -> Iterator[Finding]:
    """Before what pricing took off: the parts less the bundle's own discount are the bundle's price, to the fen."""
    return _findings(
        "shop.bundles_are_their_parts",
        """
        SELECT 'order ' || o.number, format('%s: %s, parts %s', b.name, b.unit_price_fen * b.quantity,
                                            coalesce(p.amount, 0))
        FROM shop_orderbundle b JOIN shop_order o ON o.id = b.order_id LEFT JOIN (
            SELECT l.bundle_id, sum(l.unit_price_fen * l.quantity - coalesce((
                SELECT sum(d.amount_fen) FROM shop_orderdiscount d
                WHERE d.order_id = l.order_id AND d.line_id = l.id AND d.step = 'bundle'
            ), 0)) AS amount
            FROM shop_orderline l WHERE l.bundle_id IS NOT NULL GROUP BY l.bundle_id
        ) p ON p.bundle_id = b.id
        WHERE p.amount IS DISTINCT FROM b.unit_price_fen * b.quantity
        UNION ALL
        SELECT 'order line ' || l.id, format('%s, bundle %s', l.kind, coalesce(l.bundle_id::text, 'none'))
        FROM shop_orderline l LEFT JOIN shop_orderbundle b ON b.id = l.bundle_id AND b.order_id = l.order_id
        WHERE (l.kind = 'part' AND b.id IS NULL) OR (l.kind = 'goods' AND l.bundle_id IS NOT NULL)
        UNION ALL
        SELECT 'bundle ' || i.bundle_id, format('part %s is a bundle', i.sku_id)
        FROM shop_bundleitem i JOIN shop_sku s ON s.id = i.sku_id WHERE s.supply = 'parts'
        """,
        _("the bundle is not what its parts say"),
    )


@audit_check("shop.pieces_are_no_parcels", gettext_lazy("Only what has stock is reserved in stores"))
def pieces_are_no_parcels() -> Iterator[Finding]:
    return _findings(
        "shop.pieces_are_no_parcels",
        """
        SELECT 'order line ' || l.id, format('%s, store %s', s.supply, coalesce(l.store_id::text, 'none'))
        FROM shop_orderline l JOIN shop_order o ON o.id = l.order_id AND o.channel = 'mall'
        JOIN shop_sku s ON s.id = l.sku_id
        WHERE (s.supply = 'stock') <> (l.store_id IS NOT NULL)
        """,
        _("where its pieces come from does not fit the line"),
    )
