"""Where WeChat's bills and our books differ. One statement, used to fill the queue and to prove it complete."""

# Columns: bill_id, kind, is_refund, number, payment_id, ours_fen, theirs_fen. %(bill)s: one bill, or null for all that
# were compared. A bill's day is Beijing's. What stands on the bill of another day is not missing.
DIFFERENCES = """
    WITH bill AS (
        SELECT id, account_id, day::timestamp AT TIME ZONE 'Asia/Shanghai' AS begins,
               (day + 1)::timestamp AT TIME ZONE 'Asia/Shanghai' AS ends
        FROM shop_bill
        WHERE id = %(bill)s::bigint OR (%(bill)s::bigint IS NULL AND status = 'compared')
    ), paid AS NOT MATERIALIZED (
        SELECT id, out_trade_no AS number, account_id, transaction_id, status, paid_fen, paid_at FROM shop_payment
        UNION ALL SELECT NULL, out_trade_no, account_id, transaction_id, status, paid_fen, paid_at
        FROM shop_directpayment
    ), back AS NOT MATERIALIZED (
        SELECT r.out_refund_no, r.status, r.amount_fen, r.refunded_at, r.payment_id, p.account_id
        FROM shop_refund r JOIN shop_payment p ON p.id = r.payment_id
        UNION ALL SELECT r.out_refund_no, r.status, r.amount_fen, r.refunded_at, NULL, p.account_id
        FROM shop_directrefund r JOIN shop_directpayment p ON p.id = r.payment_id
    )
    SELECT b.id AS bill_id, CASE WHEN p.number IS NULL THEN 'missing_here' ELSE 'amount' END AS kind,
           false AS is_refund, l.out_trade_no AS number, p.id AS payment_id, p.paid_fen AS ours_fen,
           l.amount_fen AS theirs_fen
    FROM bill b
    JOIN shop_billline l ON l.bill_id = b.id AND l.out_refund_no = ''
    LEFT JOIN paid p ON p.number = l.out_trade_no AND p.account_id = b.account_id
        AND p.transaction_id = l.transaction_id AND p.status IN ('paid', 'mismatch')
    WHERE p.number IS NULL OR p.paid_fen <> l.amount_fen
    UNION ALL
    SELECT b.id, 'missing_there', false, p.number, p.id, p.paid_fen, NULL
    FROM bill b
    JOIN paid p ON p.account_id = b.account_id AND p.status = 'paid'
        AND p.paid_at >= b.begins AND p.paid_at < b.ends
    WHERE NOT EXISTS (
        SELECT 1 FROM shop_billline l JOIN shop_bill other ON other.id = l.bill_id
        WHERE other.account_id = b.account_id AND l.out_trade_no = p.number AND l.out_refund_no = '')
    UNION ALL
    SELECT b.id, CASE WHEN r.out_refund_no IS NULL THEN 'missing_here' ELSE 'amount' END, true,
           l.out_refund_no, r.payment_id, r.amount_fen, l.amount_fen
    FROM bill b
    JOIN shop_billline l ON l.bill_id = b.id AND l.out_refund_no <> '' AND l.state NOT IN ('FAIL', 'CLOSED')
    LEFT JOIN back r ON r.out_refund_no = l.out_refund_no AND r.status NOT IN ('closed', 'outside')
    WHERE r.out_refund_no IS NULL OR r.amount_fen <> l.amount_fen
    UNION ALL
    SELECT b.id, 'missing_there', true, r.out_refund_no, r.payment_id, r.amount_fen, NULL
    FROM bill b
    JOIN back r ON r.status = 'success' AND r.refunded_at >= b.begins AND r.refunded_at < b.ends
        AND r.account_id = b.account_id
    WHERE NOT EXISTS (
        SELECT 1 FROM shop_billline l JOIN shop_bill other ON other.id = l.bill_id
        WHERE other.account_id = b.account_id AND l.out_refund_no = r.out_refund_no)
"""
