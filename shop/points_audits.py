"""Proof that orders earned what their kept goods are worth, and nothing else."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.orders_earned_what_they_kept", gettext_lazy("Orders earned the points of what was not given back")
)
def orders_earned_what_they_kept() -> Iterator[Finding]:
    """Given less taken back, by the rates kept with the earning, over what was paid and not refunded line by line.

    What staff lowered of growth is not the order's; what they had lowered before a refund, other growth gave for it.
    """
    for number, kind, left, worth in rows(
        """
        SELECT o.number, e.kind, kept.amount, w.worth
        FROM crm_earning e JOIN shop_order o ON e.cause = 'order:' || o.id
        CROSS JOIN LATERAL (
            SELECT floor(coalesce(sum((l.total_fen - coalesce((
                SELECT sum(b.amount_fen) FROM shop_refundline b JOIN shop_refund r ON r.id = b.refund_id
                WHERE b.line_id = l.id AND r.status = 'success' AND r.kind = 'order'
            ), 0)) * CASE e.kind
                WHEN 'points' THEN coalesce((e.basis->'lines'->>l.id::text)::numeric, 10000)
                    * (e.basis->>'points')::numeric * (e.basis->>'tier_bps')::numeric
                    * (e.basis->>'birthday_bps')::numeric
                ELSE (e.basis->>'growth')::numeric * 1000000000000 END), 0) / 10000000000000000) AS worth
            FROM shop_orderline l WHERE l.order_id = o.id
        ) w
        LEFT JOIN (
            SELECT earning_id, sum(from_frozen + from_balance + left_owed) AS amount FROM crm_earningtake
            WHERE cause LIKE 'adjust:%' OR cause LIKE 'moved:%' GROUP BY 1
        ) staff ON staff.earning_id = e.id
        LEFT JOIN (
            SELECT split_part(cause, ':', 2) AS earning, sum(from_balance) AS amount FROM crm_earningtake
            WHERE cause LIKE 'moved:%' GROUP BY 1
        ) moved ON moved.earning = e.id::text
        CROSS JOIN LATERAL (
            SELECT e.given - e.taken + coalesce(staff.amount, 0) - coalesce(moved.amount, 0) AS amount
        ) kept
        WHERE e.source = 'order' AND kept.amount NOT BETWEEN w.worth AND w.worth + coalesce(staff.amount, 0)
        """
    ):
        problem = _("%(kind)s left %(left)s, its kept goods are worth %(worth)s") % {
            "kind": kind,
            "left": left,
            "worth": worth,
        }
        yield Finding("shop.orders_earned_what_they_kept", f"order {number}", problem)
