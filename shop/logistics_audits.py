"""Proof that parcels, reminders and the funnel's facts fit their orders."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check(
    "shop.parcels_are_where_their_latest_event_is", gettext_lazy("Parcels are where their latest event is")
)
def parcels_are_where_their_latest_event_is() -> Iterator[Finding]:
    """Of events at the same moment any may be the state; a parcel that was signed for has an event of it."""
    return _findings(
        "shop.parcels_are_where_their_latest_event_is",
        """
        SELECT 'parcel ' || s.id, format('%s, events %s', s.state, coalesce(e.states, ARRAY[]::text[]))
        FROM shop_shipment s LEFT JOIN LATERAL (
            SELECT array_agg(state::text) AS states FROM shop_trackingevent
            WHERE shipment_id = s.id AND at = (SELECT max(at) FROM shop_trackingevent WHERE shipment_id = s.id)
        ) e ON true
        WHERE (e.states IS NULL AND (s.state <> 'sent' OR s.signed_at IS NOT NULL))
           OR (e.states IS NOT NULL AND NOT s.state = ANY(e.states))
           OR (s.signed_at IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM shop_trackingevent t WHERE t.shipment_id = s.id AND t.state = 'signed'))
        """,
        _("the parcel's state is not that of its latest event"),
    )


@audit_check(
    "shop.reminders_came_while_the_order_was_unpaid",
    gettext_lazy("Reminders came while their order was unpaid"),
)
def reminders_came_while_the_order_was_unpaid() -> Iterator[Finding]:
    return _findings(
        "shop.reminders_came_while_the_order_was_unpaid",
        """
        SELECT 'order ' || o.number, format('reminded %s, placed %s, until %s', r.at, o.placed_at, o.expires_at)
        FROM shop_paymentreminder r JOIN shop_order o ON o.id = r.order_id
        WHERE r.at < o.placed_at OR r.at > o.expires_at OR (r.state = 'sent' AND o.member_id IS NULL)
        """,
        _("the reminder does not lie in the order's time to pay"),
    )


@audit_check(
    "shop.funnel_steps_are_of_the_orders_member", gettext_lazy("Funnel steps are those of the order's member")
)
def funnel_steps_are_of_the_orders_member() -> Iterator[Finding]:
    return _findings(
        "shop.funnel_steps_are_of_the_orders_member",
        """
        SELECT 'funnel step ' || f.id, format('member %s, order of %s', f.member_id, o.member_id)
        FROM shop_funnelstep f JOIN shop_order o ON o.id = f.order_id WHERE f.member_id IS DISTINCT FROM o.member_id
        """,
        _("the step is told of another member than the order's"),
    )
