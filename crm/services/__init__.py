"""Every command of this room, split by noun; other rooms import them from here."""

from crm.picture import Cell, Panel, call_subjects, register_panel
from crm.services.aipl import AiplRun, define_aipl, refresh_aipl
from crm.services.belonging import set_group_members
from crm.services.bitmaps import fold_bitmaps, rebuild_bitmaps
from crm.services.codes import make_missing_qr_codes, make_qr_code, new_scene, send_due_welcomes
from crm.services.consent import CONSENT_TEXT, give_consent, note_answer, withdraw_consent
from crm.services.days import drop_day, fold_devices, keep_day, note_region
from crm.services.erased import take_off_erased_tags
from crm.services.fields import set_fields
from crm.services.following import note_contact, note_contact_removed, note_follow, note_unfollow
from crm.services.guide import note_birthday
from crm.services.imports import enqueue_member_import, import_members_here, new_member_import
from crm.services.lifecycle import Refreshed, define_stages, forget_lives, refresh_due, refresh_lives
from crm.services.living import living_member
from crm.services.looks import phone_for, record_phone_look
from crm.services.lookups import look_up_due
from crm.services.memberships import continue_membership, end_membership, grant_membership
from crm.services.merge_moves import member_tables, move_rows, return_rows
from crm.services.merge_proposals import (
    accept_proposal,
    dismiss_proposal,
    find_merge_proposals,
    propose_merge,
)
from crm.services.merging import merge_members, note_rest, seal_merges, undo_merge
from crm.services.mydata import (
    Holding,
    ask_to_erase,
    correct_profile,
    erase_due,
    erase_member,
    hold_personal_data,
    personal_data,
    take_erasure_back,
    withdraw_by_herself,
)
from crm.services.people import (
    cleaned_phone,
    give_phone,
    member_for_contact,
    member_for_import,
    member_for_openid,
    members_for_import,
)
from crm.services.phones import (
    ask_for_code,
    close_phone_claims,
    confirm_phone,
    drop_phone,
    send_phone_codes,
    write_phone,
)
from crm.services.points import (
    adjust_points,
    current_points_rules,
    due_earnings,
    earn,
    even_out_points,
    free_points,
    keep_of_earning,
    living_id,
    postpone_points,
    settle_owed,
)
from crm.services.points_daily import (
    missing_in_profile,
    remind_of_expiring_points,
    reward_profile,
    reward_review,
    sign_in,
)
from crm.services.points_tasks import (
    advance_tasks,
    advance_tasks_of_many,
    claim_task,
    follow_share,
    share_code,
)
from crm.services.retention import (
    Clock,
    clock_of_files,
    keep_for,
    keep_retention,
    overdue_counts,
    put_clock,
    rules_for_all,
)
from crm.services.rfm import count_rfm_month, count_rfm_months
from crm.services.segments import combined_rules, delete_segment, recount_segments, save_segment
from crm.services.segments_kept import keep_combination, keep_snapshot, log_export, take_snapshot
from crm.services.segments_live import refresh_live_segments, refresh_segment
from crm.services.sessions import end_sessions
from crm.services.stats import Purchases, book_purchase, book_purchases, book_refund, rebuild_stats
from crm.services.syncs import (
    begin_sync,
    break_sync,
    confirm_sync,
    end_sync,
    queue_sync,
    register_sync,
    retry_sync,
    run_sync,
    settle_lost_syncs,
    start_due_syncs,
    start_sync,
    want_sync,
)
from crm.services.syncs_marks import note_work_tags, push_work_tags, retry_work_tags
from crm.services.syncs_names import note_tags_renamed
from crm.services.syncs_official import (
    check_official_tag,
    share_official_tag,
    unshare_official_tag,
    want_official_readings,
)
from crm.services.syncs_official_marks import push_official_tags, retry_official_tags
from crm.services.tagrules import (
    BY_LINK,
    BY_MESSAGE,
    BY_PURCHASE,
    BY_SCAN,
    judge_tag_rules,
    run_tag_rule,
    run_tag_rules,
    save_tag_rule,
    tag_rule_preview,
    want_tag_rules,
)
from crm.services.tags import add_tags, remove_tags, undo_tag_change
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
from crm.subjects import name_groups, name_in_files, name_subjects
from crm.tagrules import Choices as TagChoices
from crm.tagrules import offer_choices as offer_tag_choices
from crm.tiers_words import name_tiers, tier_words

__all__ = [
    "BY_LINK",
    "BY_MESSAGE",
    "BY_PURCHASE",
    "BY_SCAN",
    "CONSENT_TEXT",
    "AiplRun",
    "Cell",
    "Clock",
    "Holding",
    "LevelInput",
    "Panel",
    "Purchases",
    "Refreshed",
    "TagChoices",
    "accept_proposal",
    "add_tags",
    "adjust_points",
    "advance_tasks",
    "advance_tasks_of_many",
    "ask_for_code",
    "ask_to_erase",
    "begin_sync",
    "book_purchase",
    "book_purchases",
    "book_refund",
    "book_touches",
    "break_sync",
    "call_subjects",
    "check_official_tag",
    "claim_task",
    "cleaned_phone",
    "clock_of_files",
    "close_phone_claims",
    "combined_rules",
    "confirm_phone",
    "confirm_sync",
    "continue_membership",
    "correct_profile",
    "count_rfm_month",
    "count_rfm_months",
    "current_points_rules",
    "define_aipl",
    "define_stages",
    "delete_segment",
    "dismiss_proposal",
    "drop_day",
    "drop_phone",
    "due_earnings",
    "earn",
    "end_membership",
    "end_sessions",
    "end_sync",
    "enqueue_member_import",
    "erase_due",
    "erase_member",
    "even_out_points",
    "find_merge_proposals",
    "fold_bitmaps",
    "fold_devices",
    "follow_share",
    "forget_lives",
    "free_points",
    "give_consent",
    "give_phone",
    "grant_membership",
    "hold_personal_data",
    "import_members_here",
    "judge_tag_rules",
    "keep_combination",
    "keep_day",
    "keep_for",
    "keep_of_earning",
    "keep_retention",
    "keep_snapshot",
    "living_id",
    "living_member",
    "log_export",
    "look_up_due",
    "make_missing_qr_codes",
    "make_qr_code",
    "member_for_contact",
    "member_for_import",
    "member_for_openid",
    "member_tables",
    "members_for_import",
    "merge_members",
    "missing_in_profile",
    "move_rows",
    "name_groups",
    "name_in_files",
    "name_subjects",
    "name_tiers",
    "new_member_import",
    "new_scene",
    "note_answer",
    "note_birthday",
    "note_contact",
    "note_contact_removed",
    "note_follow",
    "note_member",
    "note_region",
    "note_rest",
    "note_tags_renamed",
    "note_unfollow",
    "note_work_tags",
    "offer_tag_choices",
    "overdue_counts",
    "personal_data",
    "phone_for",
    "postpone_points",
    "prepare_months_ahead",
    "prepare_timeline",
    "propose_merge",
    "push_official_tags",
    "push_work_tags",
    "put_clock",
    "queue_sync",
    "rebuild_bitmaps",
    "rebuild_stats",
    "record_activities",
    "record_activity",
    "record_phone_look",
    "record_visit",
    "recount_segments",
    "refresh_aipl",
    "refresh_due",
    "refresh_live_segments",
    "refresh_lives",
    "refresh_segment",
    "register_panel",
    "register_sync",
    "release_touches",
    "remind_of_expiring_points",
    "remove_tags",
    "retry_official_tags",
    "retry_sync",
    "retry_work_tags",
    "return_rows",
    "review_due_tiers",
    "review_tiers",
    "reward_profile",
    "reward_review",
    "rules_for_all",
    "run_sync",
    "run_tag_rule",
    "run_tag_rules",
    "save_segment",
    "save_tag_rule",
    "save_tiers",
    "seal_merges",
    "send_due_welcomes",
    "send_phone_codes",
    "set_fields",
    "set_group_members",
    "settle_lost_syncs",
    "settle_owed",
    "share_code",
    "share_official_tag",
    "sign_in",
    "start_due_syncs",
    "start_sync",
    "tag_rule_preview",
    "take_erasure_back",
    "take_off_erased_tags",
    "take_snapshot",
    "tier_words",
    "undo_merge",
    "undo_tag_change",
    "unshare_official_tag",
    "want_official_readings",
    "want_sync",
    "want_tag_rules",
    "withdraw_by_herself",
    "withdraw_consent",
    "write_phone",
]
