"""What other rooms may ask about members. Querysets stay lazy: they are meant as subqueries of set-based statements."""

from crm.queries.members import (
    MemberIdentity,
    find_member,
    identities_of,
    living_ids,
    member_by_phone,
    members_by_identity,
    names_of,
    openids_of,
    silent_since,
    staff_ids,
    stores,
)
from crm.queries.segments import members_in, segment_count, segment_sample
from crm.queries.timeline import (
    ActivityRow,
    Page,
    activity_counts_by_day,
    code_counts_by_day,
    follower_figures,
    timeline_of,
)
from crm.queries.touch import (
    current_policy,
    reason_label,
    reasons_labels,
    touch_verdict,
    touched_member_ids,
    with_touch_verdict,
)
from crm.queries.visitors import visitor
from crm.sessions import Login
from crm.sessions import read as login_of

__all__ = [
    "ActivityRow",
    "Login",
    "MemberIdentity",
    "Page",
    "activity_counts_by_day",
    "code_counts_by_day",
    "current_policy",
    "find_member",
    "follower_figures",
    "identities_of",
    "living_ids",
    "login_of",
    "member_by_phone",
    "members_by_identity",
    "members_in",
    "names_of",
    "openids_of",
    "reason_label",
    "reasons_labels",
    "segment_count",
    "segment_sample",
    "silent_since",
    "staff_ids",
    "stores",
    "timeline_of",
    "touch_verdict",
    "touched_member_ids",
    "visitor",
    "with_touch_verdict",
]
