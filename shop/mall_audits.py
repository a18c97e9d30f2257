"""Proof that the points mall gave what it counts, for the points that it took."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check("shop.mall_counts_its_exchanges", gettext_lazy("The points mall counts its exchanges"))
def mall_counts_its_exchanges() -> Iterator[Finding]:
    """Taken of each item, and of each member, equals the exchanges that were not taken back."""
    for subject, said, counted in rows(
        """
        SELECT 'item ' || i.id, i.taken, count(e.id) FROM shop_mallitem i
        LEFT JOIN shop_mallexchange e ON e.item_id = i.id AND e.state <> 'returned'
        GROUP BY i.id HAVING i.taken <> count(e.id)
        UNION ALL
        SELECT coalesce(t.subject, c.subject) || ' member ' || coalesce(t.member_id, c.member_id),
               coalesce(t.taken, 0), coalesce(c.count, 0)
        FROM (SELECT * FROM shop_tally WHERE subject LIKE 'mall:%') t
        FULL JOIN (
            SELECT 'mall:' || item_id AS subject, member_id, count(*) FROM shop_mallexchange
            WHERE state <> 'returned' GROUP BY 1, 2
        ) c ON (c.subject, c.member_id) = (t.subject, t.member_id)
        WHERE coalesce(t.taken, 0) <> coalesce(c.count, 0)
        """
    ):
        problem = _("counted %(taken)d, there are %(count)d") % {"taken": said, "count": counted}
        yield Finding("shop.mall_counts_its_exchanges", str(subject), problem)


@audit_check(
    "shop.exchanges_stand_in_the_ledger", gettext_lazy("Points that were exchanged stand in the ledger")
)
def exchanges_stand_in_the_ledger() -> Iterator[Finding]:
    """Each took its points once, and gave them back when it was taken back; goods left the warehouse, and returned
    to it when it says so.
    """
    for exchange, detail in rows(
        """
        SELECT e.id, format('%s points, %s: took %s, gave back %s, stock %s', e.points, e.state,
            coalesce(t.amount, 0), coalesce(b.amount, 0), coalesce(s.hand, 0))
        FROM shop_mallexchange e
        LEFT JOIN core_ledgertransfer t ON t.cause = 'mall:' || e.id
        LEFT JOIN core_ledgertransfer b ON b.cause = 'mall:' || e.id || ':back'
        LEFT JOIN LATERAL (
            SELECT sum(v.on_hand_change) AS hand FROM shop_stockmovement v JOIN shop_stock k ON k.id = v.stock_id
            WHERE k.sku_id = e.sku_id AND v.reason = 'exchange'
              AND v.cause IN (format('mall:%s:%s', e.item_id, e.key), format('mall:%s:%s:back', e.item_id, e.key))
        ) s ON true
        WHERE e.points <> coalesce(t.amount, 0)
           OR CASE e.state WHEN 'returned' THEN e.points ELSE 0 END <> coalesce(b.amount, 0)
           OR CASE WHEN e.sku_id IS NULL OR e.is_back_in_stock THEN 0 ELSE -1 END <> coalesce(s.hand, 0)
        LIMIT 1000
        """
    ):
        yield Finding("shop.exchanges_stand_in_the_ledger", f"exchange {exchange}", str(detail))


@audit_check(
    "shop.mall_is_paid",
    gettext_lazy("What the points mall takes in money is paid, and goes back with the points"),
)
def mall_is_paid() -> Iterator[Finding]:
    """Unpaid as long as its payment is; paid before it is sent; taken back with its money, unless WeChat refused."""
    for exchange, detail in rows(
        """
        SELECT e.id, format('%s, %s fen; payment %s over %s, paid %s, back %s', e.state, e.price_fen, p.status,
            p.amount_fen, p.paid_fen, p.refunded_fen)
        FROM shop_mallexchange e JOIN shop_directpayment p ON p.id = e.payment_id
        WHERE p.amount_fen <> e.price_fen OR p.kind <> 'mall' OR NOT CASE e.state
            WHEN 'unpaid' THEN p.status IN ('open', 'mismatch')
            WHEN 'returned' THEN p.status IN ('closed', 'mismatch') OR (p.status = 'paid' AND (
                p.refunded_fen = p.paid_fen
                OR EXISTS (SELECT FROM shop_directrefund r WHERE r.payment_id = p.id AND r.status = 'closed')))
            ELSE p.status = 'paid' AND p.refunded_fen = 0 END
        UNION ALL
        SELECT p.id, 'payment without its exchange' FROM shop_directpayment p
        LEFT JOIN shop_mallexchange e ON e.payment_id = p.id WHERE p.kind = 'mall' AND e.id IS NULL
        LIMIT 1000
        """
    ):
        yield Finding("shop.mall_is_paid", f"exchange {exchange}", str(detail))
