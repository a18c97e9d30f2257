"""Proof that the two payments of presales and what became of deposits agree with each other."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.presales_are_paid_in_their_stages",
    gettext_lazy("Presales are paid as deposit and balance, to the fen"),
)
def presales_are_paid_in_their_stages() -> Iterator[Finding]:
    """Of every order that has terms, a deposit, or a payment of a stage: what was kept of each stage is what its
    state says; and the deposit of a closed one is kept or went back, as its terms allow.
    """
    for number, detail in rows(
        """
        SELECT o.number, format('%s, deposit %s of %s, balance %s, %s', o.status, coalesce(p.deposit, 0), o.deposit_fen,
                                coalesce(p.balance, 0), coalesce(nullif(z.outcome, ''), '–'))
        FROM shop_order o
        LEFT JOIN shop_presaleorder z ON z.order_id = o.id
        LEFT JOIN (
            SELECT p.order_id, sum(p.paid_fen) FILTER (WHERE p.stage = 'deposit') AS deposit,
                   sum(p.paid_fen) FILTER (WHERE p.stage = 'balance') AS balance,
                   count(*) FILTER (WHERE p.stage = '') AS others
            FROM shop_payment p
            WHERE p.status = 'paid' AND NOT EXISTS (
                SELECT FROM shop_refund r WHERE r.payment_id = p.id AND r.kind <> 'order'
            ) GROUP BY p.order_id
        ) p ON p.order_id = o.id
        WHERE (o.deposit_fen > 0 OR z.id IS NOT NULL OR p.deposit IS NOT NULL OR p.balance IS NOT NULL) AND (
            o.deposit_fen = 0 OR z.id IS NULL OR coalesce(p.others, 0) > 0
            OR coalesce(p.deposit, 0) <> CASE
                WHEN o.deposit_paid_at IS NULL OR z.outcome = 'returned' THEN 0 ELSE o.deposit_fen END
            OR coalesce(p.balance, 0) <> CASE
                WHEN o.paid_at IS NULL THEN 0 ELSE o.total_fen - o.deposit_fen END
            OR (o.paid_at IS NOT NULL AND o.deposit_paid_at IS NULL)
            OR (z.outcome <> '') <> (o.status = 'cancelled' AND o.deposit_paid_at IS NOT NULL)
        )
        """
    ):
        problem = _("the presale's payments are not what its stage says")
        yield Finding("shop.presales_are_paid_in_their_stages", f"order {number}", f"{problem} ({detail})")
