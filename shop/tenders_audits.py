"""Proof that stored value, gift cards and what they paid agree with the ledger."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows
from shop.queries.reconciliation import DIFFERENCES


@audit_check(
    "shop.tenders_stand_on_their_holds",
    gettext_lazy("Payments from stored value and gift cards stand on their holds"),
)
def tenders_stand_on_their_holds() -> Iterator[Finding]:
    """Open ↔ held, paid ↔ spent, closed ↔ free, to the fen; and only orders that wait for payment hold anything."""
    for subject, detail in rows(
        """
        SELECT coalesce(p.out_trade_no, h.cause), format('%s %s, order %s, held %s, spent %s', p.status,
                   p.amount_fen, o.status, coalesce(h.open, 0), coalesce(h.spent, 0))
        FROM shop_payment p
        JOIN shop_order o ON o.id = p.order_id
        FULL JOIN (
            SELECT split_part(h.cause, ':', 4) AS payment, max(h.cause) AS cause,
                   coalesce(sum(h.amount) FILTER (WHERE h.status = 'open'), 0) AS open,
                   coalesce(sum(t.amount), 0) AS spent
            FROM core_ledgerhold h
            LEFT JOIN core_ledgertransfer t ON t.cause = 'capture:' || h.cause AND h.status = 'captured'
            WHERE h.cause ~ '^order:.*:(stored_value.*|gift_card):'
            GROUP BY split_part(h.cause, ':', 4)
        ) h ON h.payment = p.id::text
        WHERE (p.kind IN ('stored_value', 'gift_card') OR p.id IS NULL) AND (
            p.id IS NULL
            OR coalesce(h.open, 0) <> CASE WHEN p.status = 'open' THEN p.amount_fen ELSE 0 END
            OR coalesce(h.spent, 0) <> CASE WHEN p.status = 'paid' THEN p.amount_fen ELSE 0 END
            OR (p.status = 'open' AND o.status <> 'pending_payment')
        )
        """
    ):
        problem = _("the payment and what the ledger holds for it do not agree")
        yield Finding("shop.tenders_stand_on_their_holds", f"payment {subject}", f"{problem} ({detail})")


@audit_check(
    "shop.differences_are_in_the_queue", gettext_lazy("Differences to WeChat's bills are in the queue")
)
def differences_are_in_the_queue() -> Iterator[Finding]:
    """Of every bill that was compared: what differs now is in the queue, explained or not."""
    for day, kind, number, ours, theirs in rows(
        f"""
        SELECT bill.day, f.kind, f.number, f.ours_fen, f.theirs_fen
        FROM ({DIFFERENCES}) f JOIN shop_bill bill ON bill.id = f.bill_id
        WHERE NOT EXISTS (
            SELECT 1 FROM shop_billdifference d
            WHERE (d.bill_id, d.kind, d.is_refund, d.number) = (f.bill_id, f.kind, f.is_refund, f.number))
        """,  # noqa: S608  a statement of ours
        {"bill": None},
    ):
        problem = _("%(kind)s: ours %(ours)s, the bill's %(theirs)s, and nobody was told") % {
            "kind": kind,
            "ours": ours,
            "theirs": theirs,
        }
        yield Finding("shop.differences_are_in_the_queue", f"{day} {number}", problem)


@audit_check(
    "shop.credits_stand_in_the_ledger", gettext_lazy("Stored value credits stand in the ledger as they are")
)
def credits_stand_in_the_ledger() -> Iterator[Finding]:
    for credit, kind, said, posted in rows(
        """
        SELECT c.id, part.kind, part.amount, coalesce(t.amount, 0)
        FROM shop_storedvaluecredit c
        CROSS JOIN LATERAL (
            VALUES ('stored_value', c.principal_fen), ('stored_value.bonus', c.bonus_fen)
        ) AS part (kind, amount)
        LEFT JOIN core_ledgertransfer t ON t.cause = format('credit:%s:%s', c.id, part.kind)
        WHERE part.amount <> coalesce(t.amount, 0)
        """
    ):
        problem = _("%(kind)s %(said)d, in the ledger %(posted)d") % {
            "kind": kind,
            "said": said,
            "posted": posted,
        }
        yield Finding("shop.credits_stand_in_the_ledger", f"credit {credit}", problem)


@audit_check(
    "shop.bound_cards_stand_in_the_ledger", gettext_lazy("Bound gift cards stand in the ledger once")
)
def bound_cards_stand_in_the_ledger() -> Iterator[Finding]:
    for card, state, value, posted in rows(
        """
        SELECT c.id, c.state, c.value_fen, coalesce(t.amount, 0)
        FROM shop_giftcard c LEFT JOIN core_ledgertransfer t ON t.cause = format('gift_card:%s', c.id)
        WHERE CASE WHEN c.state = 'bound' THEN c.value_fen ELSE 0 END <> coalesce(t.amount, 0)
        """
    ):
        problem = _("%(state)s, worth %(value)d, in the ledger %(posted)d") % {
            "state": state,
            "value": value,
            "posted": posted,
        }
        yield Finding("shop.bound_cards_stand_in_the_ledger", f"gift card {card}", problem)


@audit_check("shop.gift_card_batches_are_whole", gettext_lazy("Batches of gift cards have all their cards"))
def gift_card_batches_are_whole() -> Iterator[Finding]:
    for batch, count, value, cards, odd in rows(
        """
        SELECT b.id, b.count, b.value_fen, count(c.id), count(c.id) FILTER (WHERE c.value_fen <> b.value_fen)
        FROM shop_giftcardbatch b LEFT JOIN shop_giftcard c ON c.batch_id = b.id
        GROUP BY b.id HAVING count(c.id) <> b.count OR count(c.id) FILTER (WHERE c.value_fen <> b.value_fen) > 0
        """
    ):
        problem = _(
            "%(count)d cards worth %(value)d were made; there are %(cards)d, %(odd)d worth something else"
        ) % {
            "count": count,
            "value": value,
            "cards": cards,
            "odd": odd,
        }
        yield Finding("shop.gift_card_batches_are_whole", f"gift card batch {batch}", problem)


@audit_check(
    "shop.bills_are_the_sum_of_their_lines", gettext_lazy("WeChat's bills are the sums of their lines")
)
def bills_are_the_sum_of_their_lines() -> Iterator[Finding]:
    for day, paid, back, lines_paid, lines_back in rows(
        """
        SELECT b.day, b.payments_fen, b.refunds_fen,
               coalesce(sum(l.amount_fen) FILTER (WHERE l.out_refund_no = ''), 0),
               coalesce(sum(l.amount_fen) FILTER (WHERE l.out_refund_no <> ''), 0)
        FROM shop_bill b LEFT JOIN shop_billline l ON l.bill_id = b.id
        GROUP BY b.id
        HAVING (b.payments_fen, b.refunds_fen) <> (
            coalesce(sum(l.amount_fen) FILTER (WHERE l.out_refund_no = ''), 0),
            coalesce(sum(l.amount_fen) FILTER (WHERE l.out_refund_no <> ''), 0)
        )
        """
    ):
        problem = _("paid %(paid)d, refunded %(back)d; the lines say %(lines_paid)d and %(lines_back)d") % {
            "paid": paid,
            "back": back,
            "lines_paid": lines_paid,
            "lines_back": lines_back,
        }
        yield Finding("shop.bills_are_the_sum_of_their_lines", f"bill {day}", problem)


@audit_check(
    "shop.invoices_stay_within_what_was_paid", gettext_lazy("Invoices stay within what their order was paid")
)
def invoices_stay_within_what_was_paid() -> Iterator[Finding]:
    for number, amount, paid in rows(
        """
        SELECT o.number, i.amount_fen, o.paid_fen FROM shop_invoice i JOIN shop_order o ON o.id = i.order_id
        WHERE i.status <> 'refused' AND i.amount_fen > o.paid_fen
        """
    ):
        problem = _("an invoice over %(amount)d, paid %(paid)d") % {"amount": amount, "paid": paid}
        yield Finding("shop.invoices_stay_within_what_was_paid", f"order {number}", problem)
