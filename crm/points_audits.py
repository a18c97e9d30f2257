"""Proofs about points and tiers: earnings equal their postings, frozen points their account, standings their member."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check("crm.earnings_are_posted", gettext_lazy("What was earned, taken back and owed is in the ledger"))
def earnings_are_posted() -> Iterator[Finding]:
    """Given equals its transfer; taken less owed equals what was taken by transfers; takes sum to taken."""
    for cause, kind, detail in rows(
        """
        SELECT e.cause, e.kind, format('given %s, posted %s; taken %s, owed %s, in the ledger %s, noted %s',
            e.given, coalesce(g.amount, 0), e.taken, e.owed, coalesce(t.amount, 0), coalesce(n.amount, 0))
        FROM crm_earning e
        LEFT JOIN core_ledgertransfer g ON g.cause = 'earn:' || e.kind || ':' || e.cause
        LEFT JOIN (
            SELECT split_part(cause, ':', 2) AS earning, sum(amount) AS amount FROM core_ledgertransfer
            WHERE cause LIKE 'take:%' OR cause LIKE 'owed:%' GROUP BY 1
        ) t ON t.earning = e.id::text
        LEFT JOIN (
            SELECT earning_id, sum(from_frozen + from_balance + left_owed) AS amount FROM crm_earningtake GROUP BY 1
        ) n ON n.earning_id = e.id
        WHERE e.given <> coalesce(g.amount, 0) OR e.taken - e.owed <> coalesce(t.amount, 0)
           OR e.taken <> coalesce(n.amount, 0)
        LIMIT 1000
        """
    ):
        yield Finding("crm.earnings_are_posted", f"{kind} {cause}", str(detail))


@audit_check("crm.frozen_points_are_earned", gettext_lazy("Frozen points and growth are what was earned"))
def frozen_points_are_earned() -> Iterator[Finding]:
    """The account of frozen points is the sum of the earnings' frozen parts; growth is given less taken."""
    for member, kind, balance, earned in rows(
        """
        SELECT coalesce(a.owner_id, e.member_id), coalesce(a.kind, e.kind), coalesce(a.balance, 0),
               coalesce(e.amount, 0)
        FROM (SELECT * FROM core_ledgeraccount WHERE kind IN ('points.frozen', 'growth') AND owner_id > 0) a
        FULL JOIN (
            SELECT member_id, CASE kind WHEN 'points' THEN 'points.frozen' ELSE kind END AS kind,
                   sum(CASE kind WHEN 'points' THEN frozen ELSE given - taken END) AS amount
            FROM crm_earning GROUP BY 1, 2
        ) e ON e.member_id = a.owner_id AND e.kind = a.kind
        WHERE coalesce(a.balance, 0) <> coalesce(e.amount, 0) LIMIT 1000
        """
    ):
        yield Finding(
            "crm.frozen_points_are_earned",
            f"member {member}",
            _("%(kind)s: account %(balance)s, earned %(earned)s")
            % {"kind": kind, "balance": balance, "earned": earned},
        )


@audit_check(
    "crm.tiers_have_their_history", gettext_lazy("A member stands where her last change of tier put her")
)
def tiers_have_their_history() -> Iterator[Finding]:
    """Where the rules put a member (and no hand since), her newest change names that tier."""
    for member, tier, last in rows(
        """
        SELECT s.member_id, s.tier, c.new FROM crm_membertier s
        JOIN crm_member m ON m.id = s.member_id AND m.tier = s.tier
        CROSS JOIN LATERAL (
            SELECT c.new, c.at FROM crm_tierchange c WHERE c.member_id = s.member_id
            ORDER BY c.at DESC, c.id DESC LIMIT 1
        ) c
        WHERE c.new <> s.tier AND c.at >= s.since LIMIT 1000
        """
    ):
        yield Finding(
            "crm.tiers_have_their_history",
            f"member {member}",
            _("stands as %(tier)s, her last change says %(last)s") % {"tier": tier, "last": last or "–"},
        )


@audit_check("crm.tasks_gave_their_points", gettext_lazy("Tasks that are fulfilled gave their points"))
def tasks_gave_their_points() -> Iterator[Finding]:
    for run, member, points, given in rows(
        """
        SELECT r.id, r.member_id, r.points, coalesce(e.given, 0) FROM crm_pointstaskrun r
        LEFT JOIN crm_earning e ON e.cause = 'task:' || r.id AND e.kind = 'points'
        WHERE r.done_at IS NOT NULL AND r.points <> coalesce(e.given, 0) LIMIT 1000
        """
    ):
        yield Finding(
            "crm.tasks_gave_their_points",
            f"member {member}",
            _("task %(run)d: says %(points)d points, gave %(given)d")
            % {"run": run, "points": points, "given": given},
        )
