"""Proofs about what was sent: each released row has exactly one message, nobody got two, the counts add up."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "campaigns.released_recipients", gettext_lazy("Recipients that were handed over have exactly one message")
)
def released_recipients() -> Iterator[Finding]:
    for broadcast_id, recipient_id in rows(
        """
        SELECT r.broadcast_id, r.id FROM campaigns_broadcastrecipient r
        LEFT JOIN wechat_outboundmessage m ON m.origin = 'broadcast:' || r.broadcast_id AND m.origin_id = r.id
        WHERE r.status = 'released' AND m.id IS NULL LIMIT 100
        """
    ):
        yield Finding(
            "campaigns.released_recipients",
            f"broadcast {broadcast_id}",
            _("recipient %(id)s is marked as handed over, and no message exists") % {"id": recipient_id},
        )


@audit_check(
    "campaigns.messages_have_recipients",
    gettext_lazy("Messages of broadcasts have a recipient that was handed over"),
)
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
            "campaigns.messages_have_recipients",
            str(origin),
            _("message %(id)s belongs to no recipient that was handed over") % {"id": message_id},
        )


@audit_check("campaigns.nobody_twice", gettext_lazy("A broadcast reaches nobody twice"))
def nobody_twice() -> Iterator[Finding]:
    for broadcast_id, address, count in rows(
        """
        SELECT broadcast_id, "to", count(*) FROM campaigns_broadcastrecipient
        WHERE status = 'released' GROUP BY 1, channel, 2 HAVING count(*) > 1 LIMIT 100
        """
    ):
        yield Finding(
            "campaigns.nobody_twice",
            f"broadcast {broadcast_id}",
            _("%(count)s rows were handed over for the address %(address)s…")
            % {"count": count, "address": str(address)[:6]},
        )


@audit_check("campaigns.finished_broadcasts", gettext_lazy("A finished broadcast has nobody waiting"))
def finished_broadcasts() -> Iterator[Finding]:
    for broadcast_id, count in rows(
        """
        SELECT r.broadcast_id, count(*) FROM campaigns_broadcastrecipient r
        JOIN campaigns_broadcast b ON b.id = r.broadcast_id
        WHERE b.status IN ('done', 'cancelled') AND r.status = 'planned' GROUP BY 1 LIMIT 100
        """
    ):
        yield Finding(
            "campaigns.finished_broadcasts",
            f"broadcast {broadcast_id}",
            _("%(count)s recipients still wait") % {"count": count},
        )


@audit_check("campaigns.win_back_once", gettext_lazy("Win-back goes once per spell of silence"))
def win_back_once() -> Iterator[Finding]:
    for spell_id, rule_id in rows(
        """
        SELECT w.id, w.rule_id FROM campaigns_winbackspell w
        LEFT JOIN wechat_outboundmessage m ON m.origin = 'winback:' || w.rule_id AND m.origin_id = w.id
        WHERE (w.status = 'sent') <> (m.id IS NOT NULL) LIMIT 100
        """
    ):
        yield Finding(
            "campaigns.win_back_once",
            f"win-back rule {rule_id}",
            _("spell %(id)s: its mark and its message do not agree") % {"id": spell_id},
        )
