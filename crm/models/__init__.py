"""The tables of members, split by noun; import them from here."""

from crm.models.bitmaps import BitmapDelta, SegmentBitmap
from crm.models.codes import ChannelCode, ChannelScan
from crm.models.consent import Consent
from crm.models.fields import MemberField, MemberFieldValue
from crm.models.lifecycle import LifeDefinition, LifeFit, LifeMove, MemberLife
from crm.models.people import Contact, Identity, Member, Staff, Store
from crm.models.points import Earning, EarningTake, PointsAdjustment, PointsRules, SignIn
from crm.models.segments import (
    Segment,
    SegmentChange,
    SegmentDay,
    SegmentExport,
    SegmentMember,
    SegmentSnapshot,
)
from crm.models.stats import MemberStats
from crm.models.syncs import SyncRun, WorkTag, WorkTagConflict, WorkTagMark
from crm.models.tagrules import TagRule
from crm.models.tags import MemberTag, Tag, TagGroup
from crm.models.tiers import MemberTier, TierChange, TierPolicy, TierRule
from crm.models.timeline import Activity
from crm.models.touch import Holiday, Touch, TouchPolicy

__all__ = [
    "Activity",
    "BitmapDelta",
    "ChannelCode",
    "ChannelScan",
    "Consent",
    "Contact",
    "Earning",
    "EarningTake",
    "Holiday",
    "Identity",
    "LifeDefinition",
    "LifeFit",
    "LifeMove",
    "Member",
    "MemberField",
    "MemberFieldValue",
    "MemberLife",
    "MemberStats",
    "MemberTag",
    "MemberTier",
    "PointsAdjustment",
    "PointsRules",
    "Segment",
    "SegmentBitmap",
    "SegmentChange",
    "SegmentDay",
    "SegmentExport",
    "SegmentMember",
    "SegmentSnapshot",
    "SignIn",
    "Staff",
    "Store",
    "SyncRun",
    "Tag",
    "TagGroup",
    "TagRule",
    "TierChange",
    "TierPolicy",
    "TierRule",
    "Touch",
    "TouchPolicy",
    "WorkTag",
    "WorkTagConflict",
    "WorkTagMark",
]
