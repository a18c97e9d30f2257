"""Proof that recharges, and what went back of them, stand in the ledger to the fen."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.recharges_stand_in_the_ledger", gettext_lazy("Recharges stand in the ledger once they are paid")
)
def recharges_stand_in_the_ledger() -> Iterator[Finding]:
    """Paid: principal and bonus were booked; not paid: nothing. What a refund took is what it says, and is undone when
    WeChat refused it.
    """
    for number, kind, said, posted in rows(
        """
        SELECT p.out_trade_no, part.kind, CASE p.status WHEN 'paid' THEN part.amount ELSE 0 END, coalesce(t.amount, 0)
        FROM shop_recharge r JOIN shop_directpayment p ON p.id = r.payment_id
        CROSS JOIN LATERAL (
            VALUES ('stored_value', r.principal_fen), ('stored_value.bonus', r.bonus_fen)
        ) AS part (kind, amount)
        LEFT JOIN core_ledgertransfer t ON t.cause = format('recharge:%s:%s', r.payment_id, part.kind)
        WHERE CASE p.status WHEN 'paid' THEN part.amount ELSE 0 END <> coalesce(t.amount, 0)
        UNION ALL
        SELECT f.out_refund_no, part.kind, part.amount, coalesce(t.amount, 0) - coalesce(u.amount, 0)
        FROM shop_directrefund f JOIN shop_directpayment p ON p.id = f.payment_id
        CROSS JOIN LATERAL (
            VALUES ('stored_value', CASE f.status WHEN 'closed' THEN 0 ELSE f.amount_fen END),
                   ('stored_value.bonus', CASE f.status WHEN 'closed' THEN 0 ELSE f.bonus_fen END)
        ) AS part (kind, amount)
        LEFT JOIN core_ledgertransfer t ON t.cause = format('recharge:%s:refund:%s:%s', p.id, f.id, part.kind)
        LEFT JOIN core_ledgertransfer u ON u.cause = t.cause || ':undone'
        WHERE p.kind = 'recharge' AND p.status = 'paid'
          AND part.amount <> coalesce(t.amount, 0) - coalesce(u.amount, 0)
        """
    ):
        problem = _("%(kind)s %(said)d, in the ledger %(posted)d") % {
            "kind": kind,
            "said": said,
            "posted": posted,
        }
        yield Finding("shop.recharges_stand_in_the_ledger", f"payment {number}", problem)


@audit_check("shop.direct_refunds_sum_up", gettext_lazy("Direct payments know how much of them went back"))
def direct_refunds_sum_up() -> Iterator[Finding]:
    for number, said, back in rows(
        """
        SELECT p.out_trade_no, p.refunded_fen, coalesce(sum(f.amount_fen) FILTER (WHERE f.status <> 'closed'), 0)
        FROM shop_directpayment p LEFT JOIN shop_directrefund f ON f.payment_id = p.id
        GROUP BY p.id HAVING p.refunded_fen <> coalesce(sum(f.amount_fen) FILTER (WHERE f.status <> 'closed'), 0)
        """
    ):
        problem = _("says %(said)d, its refunds sum to %(back)d") % {"said": said, "back": back}
        yield Finding("shop.direct_refunds_sum_up", f"payment {number}", problem)


@audit_check(
    "shop.recharge_limits_are_counted", gettext_lazy("Each member's uses of a recharge offer are counted")
)
def recharge_limits_are_counted() -> Iterator[Finding]:
    for subject, member, taken, counted in rows(
        """
        SELECT coalesce(t.subject, c.subject), coalesce(t.member_id, c.member_id), coalesce(t.taken, 0),
               coalesce(c.count, 0)
        FROM (SELECT * FROM shop_tally WHERE subject LIKE 'recharge:%') t
        FULL JOIN (
            SELECT 'recharge:' || r.offer_id AS subject, p.member_id, count(*) FROM shop_recharge r
            JOIN shop_directpayment p ON p.id = r.payment_id WHERE r.counts AND r.offer_id IS NOT NULL GROUP BY 1, 2
        ) c ON (c.subject, c.member_id) = (t.subject, t.member_id)
        WHERE coalesce(t.taken, 0) <> coalesce(c.count, 0)
          AND (c.subject IS NOT NULL OR EXISTS (
              SELECT FROM shop_rechargeoffer o WHERE 'recharge:' || o.id = t.subject))
        """
    ):
        problem = _("counted %(taken)d, there are %(count)d") % {"taken": taken, "count": counted}
        yield Finding("shop.recharge_limits_are_counted", f"{subject} member {member}", problem)


@audit_check(
    "shop.stored_value_requests_are_paid", gettext_lazy("Requests for stored value say what went back")
)
def stored_value_requests_are_paid() -> Iterator[Finding]:
    """What a request says went back is the sum of its direct refunds."""
    for request, said, back in rows(
        """
        SELECT q.id, q.paid_fen, coalesce(sum(f.amount_fen), 0) FROM shop_storedvaluerequest q
        LEFT JOIN shop_directrefund f ON q.refunds @> to_jsonb(f.id) WHERE q.state = 'paid'
        GROUP BY q.id HAVING q.paid_fen <> coalesce(sum(f.amount_fen), 0)
        """
    ):
        problem = _("says %(said)d, its refunds sum to %(back)d") % {"said": said, "back": back}
        yield Finding("shop.stored_value_requests_are_paid", f"request {request}", problem)


@audit_check(
    "shop.settled_outside_once",
    gettext_lazy("Money that was settled outside did not go back by WeChat Pay as well"),
)
def settled_outside_once() -> Iterator[Finding]:
    """WeChat's answer or its bill names a refund that an operator has settled in another way."""
    for (number,) in rows(
        """
        SELECT f.out_refund_no FROM shop_directrefund f WHERE f.status = 'outside' AND (f.last_error <> '' OR EXISTS (
            SELECT FROM shop_billline l WHERE l.out_refund_no = f.out_refund_no AND l.state NOT IN ('FAIL', 'CLOSED')))
        """
    ):
        yield Finding("shop.settled_outside_once", f"refund {number}", _("it went back twice"))
