"""Proofs of this room: figures equal their facts, an address names one living person, tombstones are empty."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows
from crm import bitmap_audits as bitmap_audits
from crm import imports_audits as imports_audits
from crm import lifecycle_audits as lifecycle_audits
from crm import phones_audits as phones_audits
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
    "crm_memberaipl",
    "crm_rfmmember",
    "crm_memberday",
    "crm_membertraits",
    "crm_memberfieldvalue",
    "crm_activity",
    "crm_earning",
    "crm_pointsadjustment",
    "crm_signin",
    "crm_pointstaskrun",
    "crm_pointstaskstep",
    "crm_membertier",
    "crm_tierchange",
)

UNREFERENCED = ("crm_memberstats", "crm_identity", "crm_membertag", "crm_consent")
"""Tables whose members no foreign key names (ADR 20)."""


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
    for table in UNREFERENCED:
        homeless = rows(
            f"""
            SELECT r.member_id, count(*) FROM {table} r LEFT JOIN crm_member m ON m.id = r.member_id
            WHERE m.id IS NULL GROUP BY r.member_id LIMIT 100
            """  # noqa: S608  the names stand above
        )
        for member_id, count in homeless:
            yield Finding(
                "crm.tombstones",
                f"member {member_id}",
                _("not there, but %(count)d rows of %(table)s are hers") % {"count": count, "table": table},
            )
    unnamed = rows(
        """
        SELECT r.tag_id, count(*) FROM crm_membertag r LEFT JOIN crm_tag t ON t.id = r.tag_id
        WHERE t.id IS NULL GROUP BY r.tag_id LIMIT 100
        """
    )
    for tag_id, count in unnamed:
        yield Finding(
            "crm.tombstones",
            f"tag {tag_id}",
            _("not there, but %(count)d members carry it") % {"count": count},
        )
    bare = rows(
        """
        SELECT m.id FROM crm_member m LEFT JOIN crm_memberstats s ON s.member_id = m.id
        WHERE m.merged_into_id IS NULL AND s.member_id IS NULL LIMIT 100
        """
    )
    for (member_id,) in bare:
        yield Finding("crm.tombstones", f"member {member_id}", _("has no figures"))


@audit_check("crm.merges", gettext_lazy("Tombstones and the log of merges tell the same"))
def merges_equal_tombstones() -> Iterator[Finding]:
    """Every merge that stands has its tombstone, below the kept member or where she went, and the other way round."""
    wrong = rows(
        """
        SELECT m.id, m.merged_id, t.merged_into_id FROM crm_membermerge m JOIN crm_member t ON t.id = m.merged_id
        WHERE m.undone_at IS NULL AND t.merged_into_id IS NULL LIMIT 100
        """
    )
    for merge_id, member_id, _living in wrong:
        yield Finding("crm.merges", f"merge {merge_id}", _("member %(id)d is alive") % {"id": member_id})
    unlogged = rows(
        """
        SELECT t.id, t.merged_into_id FROM crm_member t
        WHERE t.merged_into_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM crm_membermerge m WHERE m.merged_id = t.id AND m.undone_at IS NULL) LIMIT 100
        """
    )
    for member_id, living_id in unlogged:
        yield Finding(
            "crm.merges",
            f"member {member_id}",
            _("merged into %(id)d, and no merge says so") % {"id": living_id},
        )


@audit_check("crm.erasures", gettext_lazy("Who was erased has no name and no address left"))
def erased_members_are_nameless() -> Iterator[Finding]:
    left = rows(
        """
        SELECT m.id FROM crm_member m
        WHERE m.erased_at IS NOT NULL AND (
            m.name <> '' OR m.avatar_url <> '' OR m.note <> '' OR m.birthday IS NOT NULL
            OR EXISTS (SELECT FROM crm_identity i WHERE i.member_id = m.id)
            OR EXISTS (SELECT FROM crm_membertag t WHERE t.member_id = m.id)
        ) LIMIT 1000
        """
    )
    for (member_id,) in left:
        yield Finding("crm.erasures", f"member {member_id}", _("something still names her"))
    late = rows(
        """
        SELECT r.id, r.member_id FROM crm_datarequest r JOIN crm_member m ON m.id = r.member_id
        WHERE r.kind = 'erase' AND r.state = 'done' AND m.erased_at IS NULL LIMIT 1000
        """
    )
    for request_id, member_id in late:
        yield Finding(
            "crm.erasures", f"request {request_id}", _("member %(id)d was not erased") % {"id": member_id}
        )


@audit_check(
    "crm.channel_consents", gettext_lazy("Who takes marketing on an account has not refused it there")
)
def channels_follow_their_latest_answer() -> Iterator[Finding]:
    """Identity.takes_marketing is the latest answer for its account; without any answer it is welcome."""
    wrong = rows(
        """
        SELECT i.member_id, i.account_id, i.takes_marketing
        FROM crm_identity i LEFT JOIN (
            SELECT DISTINCT ON (member_id, account_id) member_id, account_id, is_given FROM crm_consent
            WHERE account_id IS NOT NULL ORDER BY member_id, account_id, at DESC, id DESC
        ) c ON c.member_id = i.member_id AND c.account_id = i.account_id
        WHERE i.kind IN ('openid', 'external_userid') AND i.takes_marketing <> COALESCE(c.is_given, true)
        LIMIT 1000
        """
    )
    for member_id, account_id, takes in wrong:
        yield Finding(
            "crm.channel_consents",
            f"member {member_id}",
            _("takes marketing on account %(id)d: %(takes)s, and she said otherwise")
            % {"id": account_id, "takes": takes},
        )
