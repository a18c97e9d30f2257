"""Every command of this room, split by noun; other rooms import them from here."""

from crm.picture import Cell, Panel, call_subjects, register_panel
from crm.services.bitmaps import fold_bitmaps, rebuild_bitmaps
from crm.services.codes import make_missing_qr_codes, make_qr_code, new_scene, send_due_welcomes
from crm.services.consent import give_consent, withdraw_consent
from crm.services.fields import set_fields
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
from crm.services.points import (
    adjust_points,
    current_points_rules,
    due_earnings,
    earn,
    even_out_points,
    free_points,
    keep_of_earning,
    postpone_points,
)
from crm.services.points_daily import (
    missing_in_profile,
    remind_of_expiring_points,
    reward_profile,
    reward_review,
    sign_in,
)
from crm.services.segments import combined_rules, delete_segment, recount_segments, save_segment
from crm.services.segments_kept import keep_combination, keep_snapshot, log_export, take_snapshot
from crm.services.segments_live import refresh_live_segments, refresh_segment
from crm.services.sessions import end_sessions
from crm.services.stats import Purchases, book_purchase, book_purchases, book_refund, rebuild_stats
from crm.services.syncs import (
    begin_sync,
    break_sync,
    end_sync,
    queue_sync,
    register_sync,
    retry_sync,
    run_sync,
    settle_lost_syncs,
    start_sync,
)
from crm.services.syncs_marks import note_work_tags, push_work_tags, retry_work_tags
from crm.services.tagrules import (
    BY_LINK,
    BY_MESSAGE,
    BY_PURCHASE,
    judge_tag_rules,
    run_tag_rule,
    run_tag_rules,
    save_tag_rule,
    tag_rule_preview,
)
from crm.services.tags import add_tags, remove_tags, undo_tag_change
from crm.services.tiers import name_tiers, tier_words
from crm.services.tiers_moves import LevelInput, review_due_tiers, review_tiers, save_tiers
from crm.services.timeline import (
    note_member,
    prepare_months_ahead,
    prepare_timeline,
    record_activities,
    record_activity,
    record_visit,
)
from crm.services.touch import book_touches, release_touches
from crm.subjects import name_subjects
from crm.tagrules import Choices as TagChoices
from crm.tagrules import offer_choices as offer_tag_choices

__all__ = [
    "BY_LINK",
    "BY_MESSAGE",
    "BY_PURCHASE",
    "Cell",
    "LevelInput",
    "Panel",
    "Purchases",
    "Refreshed",
    "TagChoices",
    "add_tags",
    "adjust_points",
    "begin_sync",
    "book_purchase",
    "book_purchases",
    "book_refund",
    "book_touches",
    "break_sync",
    "call_subjects",
    "cleaned_phone",
    "combined_rules",
    "current_points_rules",
    "define_stages",
    "delete_segment",
    "due_earnings",
    "earn",
    "end_sessions",
    "end_sync",
    "even_out_points",
    "fold_bitmaps",
    "forget_lives",
    "free_points",
    "give_consent",
    "give_phone",
    "judge_tag_rules",
    "keep_combination",
    "keep_of_earning",
    "keep_snapshot",
    "living_member",
    "log_export",
    "look_up_due",
    "make_missing_qr_codes",
    "make_qr_code",
    "member_for_contact",
    "member_for_import",
    "member_for_openid",
    "members_for_import",
    "merge_members",
    "missing_in_profile",
    "name_subjects",
    "name_tiers",
    "new_scene",
    "note_contact",
    "note_contact_removed",
    "note_follow",
    "note_member",
    "note_unfollow",
    "note_work_tags",
    "offer_tag_choices",
    "postpone_points",
    "prepare_months_ahead",
    "prepare_timeline",
    "push_work_tags",
    "queue_sync",
    "rebuild_bitmaps",
    "rebuild_stats",
    "record_activities",
    "record_activity",
    "record_visit",
    "recount_segments",
    "refresh_due",
    "refresh_live_segments",
    "refresh_lives",
    "refresh_segment",
    "register_panel",
    "register_sync",
    "release_touches",
    "remind_of_expiring_points",
    "remove_tags",
    "retry_sync",
    "retry_work_tags",
    "review_due_tiers",
    "review_tiers",
    "reward_profile",
    "reward_review",
    "run_sync",
    "run_tag_rule",
    "run_tag_rules",
    "save_segment",
    "save_tag_rule",
    "save_tiers",
    "send_due_welcomes",
    "set_fields",
    "settle_lost_syncs",
    "sign_in",
    "start_sync",
    "tag_rule_preview",
    "take_snapshot",
    "tier_words",
    "undo_tag_change",
    "withdraw_consent",
]
