"""Proofs about what was sent: each released row has exactly one message, nobody got two, the counts add up."""

from collections.abc import Iterator

from core.audits import Finding, audit_check, rows


@audit_check("released recipients have exactly one message")
def released_recipients() -> Iterator[Finding]:
    for broadcast_id, recipient_id in rows(
        """
        SELECT r.broadcast_id, r.id FROM campaigns_broadcastrecipient r
        LEFT JOIN wechat_outboundmessage m ON m.origin = 'broadcast:' || r.broadcast_id AND m.origin_id = r.id
        WHERE r.status = 'released' AND m.id IS NULL LIMIT 100
        """
    ):
        yield Finding(
            "released recipients have exactly one message",
            f"broadcast {broadcast_id}",
            f"recipient {recipient_id} is marked as handed over, and no message exists",
        )


@audit_check("messages of broadcasts have a released recipient")
def messages_have_recipients() -> Iterator[Finding]:
    for origin, message_id in rows(
        """
        SELECT m.origin, m.id FROM wechat_outboundmessage m
        LEFT JOIN campaigns_broadcastrecipient r ON r.id = m.origin_id
            AND m.origin = 'broadcast:' || r.broadcast_id AND r.status = 'released'
        WHERE m.origin LIKE 'broadcast:%%' AND r.id IS NULL LIMIT 100
        """,
        [],
    ):
        yield Finding(
            "messages of broadcasts have a released recipient",
            str(origin),
            f"message {message_id} belongs to no recipient that was handed over",
        )


@audit_check("a broadcast reaches nobody twice")
def nobody_twice() -> Iterator[Finding]:
    for broadcast_id, address, count in rows(
        """
        SELECT broadcast_id, "to", count(*) FROM campaigns_broadcastrecipient
        WHERE status = 'released' GROUP BY 1, channel, 2 HAVING count(*) > 1 LIMIT 100
        """
    ):
        yield Finding(
            "a broadcast reaches nobody twice",
            f"broadcast {broadcast_id}",
            f"{count} rows were handed over for the address {str(address)[:6]}…",
        )


@audit_check("a finished broadcast has nobody waiting")
def finished_broadcasts() -> Iterator[Finding]:
    for broadcast_id, count in rows(
        """
        SELECT r.broadcast_id, count(*) FROM campaigns_broadcastrecipient r
        JOIN campaigns_broadcast b ON b.id = r.broadcast_id
        WHERE b.status IN ('done', 'cancelled') AND r.status = 'planned' GROUP BY 1 LIMIT 100
        """
    ):
        yield Finding(
            "a finished broadcast has nobody waiting",
            f"broadcast {broadcast_id}",
            f"{count} recipients still wait",
        )


@audit_check("win-back goes once per spell of silence")
def win_back_once() -> Iterator[Finding]:
    for spell_id, rule_id in rows(
        """
        SELECT w.id, w.rule_id FROM campaigns_winbackspell w
        LEFT JOIN wechat_outboundmessage m ON m.origin = 'winback:' || w.rule_id AND m.origin_id = w.id
        WHERE (w.status = 'sent') <> (m.id IS NOT NULL) LIMIT 100
        """
    ):
        yield Finding(
            "win-back goes once per spell of silence",
            f"win-back rule {rule_id}",
            f"spell {spell_id}: its mark and its message do not agree",
        )
