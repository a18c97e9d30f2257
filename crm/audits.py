"""Proofs of this room: figures equal their facts, an address names one living person, tombstones are empty."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows
from crm import bitmap_audits as bitmap_audits
from crm import lifecycle_audits as lifecycle_audits
from crm import picture_audits as picture_audits  # registers its checks
from crm import points_audits as points_audits
from crm import segments_audits as segments_audits


@audit_check("crm.stats", gettext_lazy("Members' figures are the sums of their timeline"))
def stats_equal_the_timeline() -> Iterator[Finding]:
    """Paid and refunded amounts of MemberStats against the timeline's `paid` and `refunded` facts, both ways."""
    found = rows(
        """
        SELECT COALESCE(s.member_id, f.member_id), COALESCE(s.orders_count, 0), COALESCE(s.paid_fen, 0),
               COALESCE(s.refunded_fen, 0), COALESCE(f.orders, 0), COALESCE(f.paid, 0), COALESCE(f.refunded, 0)
        FROM crm_memberstats s FULL JOIN (
            SELECT member_id, count(*) FILTER (WHERE kind = 'paid') AS orders,
                   COALESCE(sum(amount_fen) FILTER (WHERE kind = 'paid'), 0) AS paid,
                   COALESCE(sum(amount_fen) FILTER (WHERE kind = 'refunded'), 0) AS refunded
            FROM crm_activity WHERE kind IN ('paid', 'refunded') GROUP BY member_id
        ) f ON f.member_id = s.member_id
        WHERE (COALESCE(s.orders_count, 0), COALESCE(s.paid_fen, 0), COALESCE(s.refunded_fen, 0))
            <> (COALESCE(f.orders, 0), COALESCE(f.paid, 0), COALESCE(f.refunded, 0))
        ORDER BY 1 LIMIT 1000
        """
    )
    for member_id, orders, paid, refunded, fact_orders, fact_paid, fact_refunded in found:
        yield Finding(
            "crm.stats",
            f"member {member_id}",
            _("figures say %(figures)s, the timeline says %(facts)s (orders, paid, refunded)")
            % {
                "figures": f"{orders}, {paid}, {refunded}",
                "facts": f"{fact_orders}, {fact_paid}, {fact_refunded}",
            },
        )


@audit_check(
    "crm.identities", gettext_lazy("An address names one member, and following agrees with its moments")
)
def identities_name_living_members() -> Iterator[Finding]:
    """One address, one member; following exactly when the last follow is the newest notice."""
    doubles = rows(
        """
        SELECT kind, account_id, min(member_id), max(member_id) FROM crm_identity WHERE is_verified
        GROUP BY kind, account_id, value HAVING count(*) > 1 LIMIT 1000
        """
    )
    for kind, account_id, one, other in doubles:
        yield Finding("crm.identities", f"member {one}", f"{kind} ({account_id}) = member {other}")
    wrong = rows(
        """
        SELECT member_id, kind FROM crm_identity WHERE kind = 'openid' AND is_following <>
            (followed_at IS NOT NULL AND (unfollowed_at IS NULL OR followed_at > unfollowed_at)) LIMIT 1000
        """
    )
    for member_id, kind in wrong:
        yield Finding(
            "crm.identities",
            f"member {member_id}",
            _("%(kind)s: following contradicts its moments") % {"kind": kind},
        )


TABLES = (
    "crm_identity",
    "crm_membertag",
    "crm_consent",
    "crm_touch",
    "crm_channelscan",
    "crm_memberstats",
    "crm_memberlife",
    "crm_memberfieldvalue",
    "crm_activity",
    "crm_earning",
    "crm_pointsadjustment",
    "crm_signin",
    "crm_membertier",
    "crm_tierchange",
)


@audit_check(
    "crm.tombstones", gettext_lazy("Nothing hangs on merged members, and every living member has figures")
)
def tombstones_hold_nothing() -> Iterator[Finding]:
    """Nothing hangs on a merged member, none points at another tombstone, and every living member has figures."""
    for table in TABLES:
        left = rows(
            f"""
            SELECT m.id, count(*) FROM crm_member m JOIN {table} r ON r.member_id = m.id
            WHERE m.merged_into_id IS NOT NULL GROUP BY m.id LIMIT 100
            """  # noqa: S608  the names stand above
        )
        for member_id, count in left:
            yield Finding(
                "crm.tombstones",
                f"member {member_id}",
                _("merged, but %(count)d rows of %(table)s are still hers")
                % {"count": count, "table": table},
            )
    chained = rows(
        """
        SELECT m.id, n.id FROM crm_member m JOIN crm_member n ON n.id = m.merged_into_id
        WHERE n.merged_into_id IS NOT NULL LIMIT 100
        """
    )
    for member_id, other in chained:
        yield Finding(
            "crm.tombstones",
            f"member {member_id}",
            _("merged into member %(other)d, who is merged") % {"other": other},
        )
    bare = rows(
        """
        SELECT m.id FROM crm_member m LEFT JOIN crm_memberstats s ON s.member_id = m.id
        WHERE m.merged_into_id IS NULL AND s.member_id IS NULL LIMIT 100
        """
    )
    for (member_id,) in bare:
        yield Finding("crm.tombstones", f"member {member_id}", _("has no figures"))
