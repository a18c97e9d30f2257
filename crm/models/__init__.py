"""The tables of members, split by noun; import them from here."""

from crm.models.aipl import AiplDefinition, AiplMove, MemberAipl
from crm.models.belonging import MemberGroup
from crm.models.bitmaps import BitmapDelta, BitmapFold, SegmentBitmap
from crm.models.codes import ChannelCode, ChannelScan
from crm.models.consent import Consent
from crm.models.days import MemberDay, MemberTraits
from crm.models.erased import ErasedAddress, ErasedNumber
from crm.models.fields import MemberField, MemberFieldValue
from crm.models.imports import MemberImport, MemberImportLine
from crm.models.lifecycle import LifeDefinition, LifeFit, LifeMove, MemberLife
from crm.models.memberships import Membership, MembershipPlan
from crm.models.merging import MemberMerge, MergeMove, MergeProposal
from crm.models.mydata import AccountMatrix, DataRequest, PhoneLook, RetentionRule
from crm.models.people import Contact, Identity, Member, Staff, Store
from crm.models.phones import PhoneClaim
from crm.models.points import Earning, EarningTake, PointsAdjustment, PointsRules, SignIn
from crm.models.points_tasks import PointsTask, PointsTaskRun, PointsTaskStep
from crm.models.rfm import RfmFlow, RfmMember, RfmMonth
from crm.models.segments import (
    Segment,
    SegmentChange,
    SegmentDay,
    SegmentExport,
    SegmentMember,
    SegmentSnapshot,
)
from crm.models.stats import MemberStats
from crm.models.syncs import DueSync, SyncRun, SyncSeen, WorkTag, WorkTagConflict, WorkTagMark, WorkTagRename
from crm.models.syncs_official import OfficialTag, OfficialTagMark
from crm.models.tagrules import TagRule, TagRuleHit
from crm.models.tags import MemberTag, Tag, TagGroup
from crm.models.tiers import MemberTier, TierChange, TierPolicy, TierRule
from crm.models.timeline import Activity
from crm.models.touch import Holiday, Touch, TouchPolicy

__all__ = [
    "AccountMatrix",
    "Activity",
    "AiplDefinition",
    "AiplMove",
    "BitmapDelta",
    "BitmapFold",
    "ChannelCode",
    "ChannelScan",
    "Consent",
    "Contact",
    "DataRequest",
    "DueSync",
    "Earning",
    "EarningTake",
    "ErasedAddress",
    "ErasedNumber",
    "Holiday",
    "Identity",
    "LifeDefinition",
    "LifeFit",
    "LifeMove",
    "Member",
    "MemberAipl",
    "MemberDay",
    "MemberField",
    "MemberFieldValue",
    "MemberGroup",
    "MemberImport",
    "MemberImportLine",
    "MemberLife",
    "MemberMerge",
    "MemberStats",
    "MemberTag",
    "MemberTier",
    "MemberTraits",
    "Membership",
    "MembershipPlan",
    "MergeMove",
    "MergeProposal",
    "OfficialTag",
    "OfficialTagMark",
    "PhoneClaim",
    "PhoneLook",
    "PointsAdjustment",
    "PointsRules",
    "PointsTask",
    "PointsTaskRun",
    "PointsTaskStep",
    "RetentionRule",
    "RfmFlow",
    "RfmMember",
    "RfmMonth",
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
    "SyncSeen",
    "Tag",
    "TagGroup",
    "TagRule",
    "TagRuleHit",
    "TierChange",
    "TierPolicy",
    "TierRule",
    "Touch",
    "TouchPolicy",
    "WorkTag",
    "WorkTagConflict",
    "WorkTagMark",
    "WorkTagRename",
]
