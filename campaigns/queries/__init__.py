"""Everything that is read in this room, split by noun; import it from here."""

from campaigns.queries.labels import link_senders, reason_label
from campaigns.queries.reach import messages_of, messages_to
from campaigns.queries.results import (
    BroadcastFigures,
    broadcast_figures,
    channel_names,
    conversions,
    days_of_rule,
    export_rows,
    last_broadcasts,
    reach_by_broadcast,
    returns_by_rule,
    spells_by_rule,
    win_back_figures,
)

__all__ = [
    "BroadcastFigures",
    "broadcast_figures",
    "channel_names",
    "conversions",
    "days_of_rule",
    "export_rows",
    "last_broadcasts",
    "link_senders",
    "messages_of",
    "messages_to",
    "reach_by_broadcast",
    "reason_label",
    "returns_by_rule",
    "spells_by_rule",
    "win_back_figures",
]
