"""What this room announces to the rooms above."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class MemberJoined:
    """A new member. `via`: follow, login, contact, staff. Bulk imports announce nothing."""

    member_id: int
    via: str
    at: datetime


@dataclass(frozen=True)
class MembersMerged:
    """Two rows were one person. Whoever keeps rows by member re-points them from `merged_id` to `kept_id`."""

    kept_id: int
    merged_id: int
    at: datetime
    merge_id: int


@dataclass(frozen=True)
class MergeUndone:
    """They are two persons after all. Whoever moved rows for the merge brings them back to `merged_id`."""

    merge_id: int
    kept_id: int
    merged_id: int
    merged_at: datetime
    at: datetime


@dataclass(frozen=True)
class MemberFollowed:
    member_id: int
    account_id: int
    scene: str
    at: datetime


@dataclass(frozen=True)
class MemberUnfollowed:
    member_id: int
    account_id: int
    at: datetime


@dataclass(frozen=True)
class GrowthChanged:
    """A member earned growth, or a refund took some of it: her tier is looked at."""

    member_id: int
    at: datetime


@dataclass(frozen=True)
class SegmentEntered:
    """She is in a live segment since `at`. Not told of the members whom a new or changed rule finds at once."""

    segment_id: int
    member_id: int
    at: datetime


@dataclass(frozen=True)
class SegmentLeft:
    segment_id: int
    member_id: int
    at: datetime
