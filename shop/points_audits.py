"""Proof that orders earned what their kept goods are worth, and nothing else."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.orders_earned_what_they_kept", gettext_lazy("Orders earned the points of what was not given back")
)
def orders_earned_what_they_kept() -> Iterator[Finding]:
    """Given less taken back, by the rates kept with the earning, over what was paid and not refunded line by line."""
    for number, kind, left, worth in rows(
        """
        SELECT o.number, e.kind, e.given - e.taken, w.worth
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
        WHERE e.source = 'order' AND e.given - e.taken <> w.worth
        """
    ):
        problem = _("%(kind)s left %(left)s, its kept goods are worth %(worth)s") % {
            "kind": kind,
            "left": left,
            "worth": worth,
        }
        yield Finding("shop.orders_earned_what_they_kept", f"order {number}", problem)
