"""Everything that writes in this room, split by noun; import it from here."""

from campaigns.services.broadcasts import (
    WRITTEN,
    cancel_broadcast,
    copy_broadcast,
    finish_broadcast,
    pause_broadcast,
    plan_broadcast,
    resume_broadcast,
    save_broadcast,
    schedule_broadcast,
    send_preview,
    start_broadcast,
    start_due,
    unschedule_broadcast,
)
from campaigns.services.links import link_address, open_link
from campaigns.services.merging import forget_member, repoint_member, rows_of_member
from campaigns.services.release import release_broadcast, release_chunk, sweep_broadcasts
from campaigns.services.win_back import decide_spells, find_spells, preview, run_win_back, switch_rule

__all__ = [
    "WRITTEN",
    "cancel_broadcast",
    "copy_broadcast",
    "decide_spells",
    "find_spells",
    "finish_broadcast",
    "forget_member",
    "link_address",
    "open_link",
    "pause_broadcast",
    "plan_broadcast",
    "preview",
    "release_broadcast",
    "release_chunk",
    "repoint_member",
    "resume_broadcast",
    "rows_of_member",
    "run_win_back",
    "save_broadcast",
    "schedule_broadcast",
    "send_preview",
    "start_broadcast",
    "start_due",
    "sweep_broadcasts",
    "switch_rule",
    "unschedule_broadcast",
]
