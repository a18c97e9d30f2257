"""Every command of this room, split by noun; other rooms import them from here."""

from crm.services.bitmaps import fold_bitmaps, rebuild_bitmaps
from crm.services.codes import make_missing_qr_codes, make_qr_code, new_scene, send_due_welcomes
from crm.services.consent import give_consent, withdraw_consent
from crm.services.following import note_contact, note_contact_removed, note_follow, note_unfollow
from crm.services.lifecycle import Refreshed, define_stages, forget_lives, refresh_due, refresh_lives
from crm.services.lookups import look_up_due
from crm.services.merging import merge_members
from crm.services.people import (
    cleaned_phone,
    give_phone,
    living_member,
    member_for_contact,
    member_for_import,
    member_for_openid,
    members_for_import,
)
from crm.services.segments import recount_segments, save_segment
from crm.services.sessions import end_sessions
from crm.services.stats import Purchases, book_purchase, book_purchases, book_refund, rebuild_stats
from crm.services.tags import add_tags, remove_tags
from crm.services.tiers import name_tiers, tier_words
from crm.services.timeline import (
    prepare_months_ahead,
    prepare_timeline,
    record_activities,
    record_activity,
    record_visit,
)
from crm.services.touch import book_touches, release_touches
from crm.subjects import name_subjects

__all__ = [
    "Purchases",
    "Refreshed",
    "add_tags",
    "book_purchase",
    "book_purchases",
    "book_refund",
    "book_touches",
    "cleaned_phone",
    "define_stages",
    "end_sessions",
    "fold_bitmaps",
    "forget_lives",
    "give_consent",
    "give_phone",
    "living_member",
    "look_up_due",
    "make_missing_qr_codes",
    "make_qr_code",
    "member_for_contact",
    "member_for_import",
    "member_for_openid",
    "members_for_import",
    "merge_members",
    "name_subjects",
    "name_tiers",
    "new_scene",
    "note_contact",
    "note_contact_removed",
    "note_follow",
    "note_unfollow",
    "prepare_months_ahead",
    "prepare_timeline",
    "rebuild_bitmaps",
    "rebuild_stats",
    "record_activities",
    "record_activity",
    "record_visit",
    "recount_segments",
    "refresh_due",
    "refresh_lives",
    "release_touches",
    "remove_tags",
    "save_segment",
    "send_due_welcomes",
    "tier_words",
    "withdraw_consent",
]
