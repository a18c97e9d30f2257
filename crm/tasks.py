"""Alarm clocks of this room; the work is in its services."""

from celery import shared_task

from crm import services
from crm.errors import NotEnoughBuyers


@shared_task(name="crm.tasks.send_welcomes")
def send_welcomes() -> int:
    return services.send_due_welcomes()


@shared_task(name="crm.tasks.look_up")
def look_up() -> int:
    return services.look_up_due()


@shared_task(name="crm.tasks.make_qr_codes")
def make_qr_codes() -> int:
    return services.make_missing_qr_codes()


@shared_task(name="crm.tasks.prepare_timeline")
def prepare_timeline() -> int:
    return services.prepare_months_ahead()


@shared_task(name="crm.tasks.recount_segments")
def recount_segments() -> int:
    return services.recount_segments()


@shared_task(name="crm.tasks.refresh_lifecycle")
def refresh_lifecycle() -> int:
    done = services.refresh_due()
    return done.written if done else 0


@shared_task(name="crm.tasks.refresh_lifecycle_now")
def refresh_lifecycle_now() -> int:
    try:
        return services.refresh_lives().written
    except NotEnoughBuyers:  # the page says so
        return 0


@shared_task(name="crm.tasks.refresh_aipl")
def refresh_aipl() -> int:
    return services.refresh_aipl().written


@shared_task(name="crm.tasks.count_rfm_months")
def count_rfm_months() -> int:
    return services.count_rfm_months()


@shared_task(name="crm.tasks.fold_devices")
def fold_devices() -> int:
    return services.fold_devices()


@shared_task(name="crm.tasks.fold_bitmaps")
def fold_bitmaps() -> int:
    return services.fold_bitmaps()


@shared_task(name="crm.tasks.run_tag_rules")
def run_tag_rules() -> int:
    return services.run_tag_rules()


@shared_task(name="crm.tasks.push_work_tags")
def push_work_tags() -> int:
    return services.push_work_tags()


@shared_task(name="crm.tasks.push_official_tags")
def push_official_tags() -> int:
    return services.push_official_tags()


@shared_task(name="crm.tasks.want_official_readings")
def want_official_readings() -> int:
    return services.want_official_readings()


@shared_task(name="crm.tasks.start_due_syncs")
def start_due_syncs() -> int:
    return services.start_due_syncs()


@shared_task(name="crm.tasks.settle_syncs")
def settle_syncs() -> int:
    return services.settle_lost_syncs()


@shared_task(name="crm.tasks.review_due_tiers")
def review_due_tiers() -> int:
    return services.review_due_tiers()


@shared_task(name="crm.tasks.remind_of_expiring_points")
def remind_of_expiring_points() -> int:
    return services.remind_of_expiring_points()


@shared_task(name="crm.tasks.refresh_segments")
def refresh_segments() -> int:
    return services.refresh_live_segments()


@shared_task(name="crm.tasks.find_merge_proposals")
def find_merge_proposals() -> int:
    return services.find_merge_proposals()


@shared_task(name="crm.tasks.seal_merges")
def seal_merges() -> int:
    return services.seal_merges()


@shared_task(name="crm.tasks.erase_due")
def erase_due() -> int:
    return services.erase_due()


@shared_task(name="crm.tasks.take_off_erased_tags")
def take_off_erased_tags() -> int:
    return services.take_off_erased_tags()


@shared_task(name="crm.tasks.keep_retention")
def keep_retention() -> dict[str, int]:
    return services.keep_retention()


@shared_task(name="crm.tasks.send_phone_codes")
def send_phone_codes() -> int:
    return services.send_phone_codes()


@shared_task(name="crm.tasks.close_phone_claims")
def close_phone_claims() -> int:
    return services.close_phone_claims()
