"""Proofs of this room: every way of looking at lifetimes has all members."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "analytics.lifetimes", gettext_lazy("Customer lifetimes: every table has all members and the same sums")
)
def lifetimes_have_everybody() -> Iterator[Finding]:
    """Channels, stores, guides and first products each divide the same members."""
    found = rows(
        """
        SELECT dimension, sum(members)::bigint, sum(line.kept_fen)::bigint, counted.members_count, total.kept_fen
        FROM analytics_lifetimerow line, (
            SELECT members_count FROM analytics_lifetimecount ORDER BY day DESC LIMIT 1
        ) counted, (
            SELECT sum(kept_fen)::bigint AS kept_fen FROM analytics_lifetimerow WHERE dimension = 'channel'
        ) total GROUP BY dimension, counted.members_count, total.kept_fen
        HAVING sum(members) <> counted.members_count OR sum(line.kept_fen) IS DISTINCT FROM total.kept_fen
        """
    )
    for dimension, members, kept, counted, total in found:
        problem = _("%(members)d members and %(kept)d fen, counted were %(counted)d and %(total)s") % {
            "members": members,
            "kept": kept,
            "counted": counted,
            "total": total,
        }
        yield Finding("analytics.lifetimes", f"table {dimension}", problem)
