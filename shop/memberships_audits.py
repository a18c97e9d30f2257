"""Proof that paid memberships were granted, and those given back ended."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "shop.memberships_are_granted", gettext_lazy("Memberships are granted when they are paid, and only then")
)
def memberships_are_granted() -> Iterator[Finding]:
    """Each paid sale has its term, of the tier that was sold, no other has; one that goes back has ended."""
    for number, status, terms, is_back, has_ended in rows(
        """
        SELECT p.out_trade_no, p.status, count(m.id), p.refunded_fen > 0, bool_or(m.ended_at IS NOT NULL)
        FROM shop_membershipsale s JOIN shop_directpayment p ON p.id = s.payment_id
        LEFT JOIN crm_membership m ON m.cause = 'direct:' || p.id
        GROUP BY p.id
        HAVING count(m.id) <> CASE p.status WHEN 'paid' THEN 1 ELSE 0 END
            OR (p.status = 'paid' AND (p.refunded_fen > 0) <> bool_or(m.ended_at IS NOT NULL))
            OR bool_or(m.tier <> s.tier)
        """
    ):
        problem = _("payment %(status)s, terms %(terms)s, money back %(back)s, ended %(ended)s") % {
            "status": status,
            "terms": terms,
            "back": is_back,
            "ended": has_ended,
        }
        yield Finding("shop.memberships_are_granted", f"payment {number}", problem)
