"""Every periodic job of Pond on one page: name → task, seconds between runs, queue."""

from typing import Any

from django.conf import settings


def periodic_jobs() -> dict[str, dict[str, Any]]:
    sweep = settings.SWEEP_SECONDS

    def every(seconds: float, task: str, queue: str = "default", *args: Any) -> dict[str, Any]:
        # `expires`: a wake-up that waited longer than its interval has been overtaken by the next one.
        options = {"queue": queue, "expires": max(seconds, 2)}
        return {"task": task, "schedule": seconds, "args": args, "options": options}

    return {
        "deliver what no wake-up delivered, fast": every(sweep, "core.tasks.deliver_events", "fast", "fast"),
        "deliver what no wake-up delivered": every(sweep, "core.tasks.deliver_events", "default", "default"),
        "deliver what no wake-up delivered, bulk": every(sweep, "core.tasks.deliver_events", "bulk", "bulk"),
        "handle notices that no wake-up handled": every(sweep, "wechat.tasks.sweep_notices", "fast"),
        "send urgent messages that no wake-up sent": every(min(sweep, 3), "wechat.tasks.send_urgent", "fast"),
        "send messages that no wake-up sent": every(sweep, "wechat.tasks.send_outbound", "bulk"),
        "settle messages whose worker died": every(max(sweep, 10), "wechat.tasks.recover_outbound"),
        "read the results of WeCom mass tasks": every(max(sweep, 5), "wechat.tasks.poll_mass_tasks"),
        "delete notices that nobody repeats": every(24 * 3600, "wechat.tasks.forget_old_notices", "bulk"),
        "delete old deliveries and answers": every(3600, "core.tasks.prune", "bulk"),
        "expire what the ledger holds too long": every(60, "core.tasks.expire_lots", "bulk"),
        "resume jobs whose worker died": every(sweep * 5, "core.tasks.sweep_jobs", "bulk"),
        "release orders that were not paid in time": every(max(sweep, 5), "shop.tasks.expire_orders"),
        "ask WeChat about payments without a notice": every(
            max(sweep, 5), "shop.tasks.query_lost_payments", "fast"
        ),
        "send refunds and ask about them": every(max(sweep, 5), "shop.tasks.send_refunds", "fast"),
        "receive orders shipped ten days ago": every(600, "shop.tasks.receive_due_orders"),
        "expire coupons whose time is over": every(300, "shop.tasks.expire_coupons", "bulk"),
        "expire vouchers whose time is over": every(600, "shop.tasks.expire_vouchers", "bulk"),
        "remind of vouchers that end soon": every(600, "shop.tasks.remind_of_vouchers", "bulk"),
        "remind of orders whose time to pay ends": every(max(sweep * 5, 15), "shop.tasks.remind_unpaid"),
        "remind of balances that can be paid": every(max(sweep * 15, 30), "shop.tasks.remind_of_balances"),
        "ask carriers about parcels": every(max(sweep * 15, 60), "shop.tasks.ask_carriers", "bulk"),
        "put products on the shelf and take them off": every(
            max(sweep, 15), "shop.tasks.shelve_due_products"
        ),
        "see which products are sold out": every(
            max(sweep * 4, 60), "shop.tasks.refresh_stock_marks", "bulk"
        ),
        "compare yesterday with WeChat's bill": every(600, "shop.tasks.reconcile", "bulk"),
        "take the due steps of after-sales": every(max(sweep * 10, 60), "shop.tasks.settle_due_aftersales"),
        "settle pickups that nobody collected": every(600, "shop.tasks.settle_uncollected"),
        "ask for reviews of received orders": every(600, "shop.tasks.ask_for_reviews", "bulk"),
        "count what was sold": every(3600, "shop.tasks.refresh_sold_counts", "bulk"),
        "make the slots of the days ahead": every(600, "shop.tasks.plan_slots", "bulk"),
        "remind of bookings": every(max(sweep, 10), "shop.tasks.send_booking_reminders"),
        "tell who waits that it is back in stock": every(max(sweep * 5, 60), "shop.tasks.send_stock_notices"),
        "tell who waits of offers' pieces that lie free": every(300, "shop.tasks.tell_waiting_again"),
        "close bookings and queues that are over": every(600, "shop.tasks.close_past_bookings", "bulk"),
        "send WeCom welcomes that no wake-up sent": every(min(sweep, 3), "crm.tasks.send_welcomes", "fast"),
        "send codes by SMS that no wake-up sent": every(min(sweep, 3), "crm.tasks.send_phone_codes", "fast"),
        "forget the numbers of codes that are over": every(600, "crm.tasks.close_phone_claims", "bulk"),
        "look up who new followers are": every(sweep, "crm.tasks.look_up"),
        "make the QR codes that are missing": every(60, "crm.tasks.make_qr_codes"),
        "make the timeline's next months": every(6 * 3600, "crm.tasks.prepare_timeline", "bulk"),
        "write changed members into the bitmaps": every(max(sweep * 5, 15), "crm.tasks.fold_bitmaps", "bulk"),
        "mark tags in WeCom that no wake-up marked": every(max(sweep, 5), "crm.tasks.push_work_tags"),
        "tag followers that no wake-up tagged": every(max(sweep, 5), "crm.tasks.push_official_tags"),
        "see whether official accounts changed their tags": every(
            600, "crm.tasks.want_official_readings", "bulk"
        ),
        "read what platforms said has changed": every(max(sweep, 5), "crm.tasks.start_due_syncs"),
        "close syncs whose worker died": every(300, "crm.tasks.settle_syncs"),
        "run the tag rules of the day": every(600, "crm.tasks.run_tag_rules", "bulk"),
        "bring live segments up to date": every(60, "crm.tasks.refresh_segments", "bulk"),
        "count the segments again": every(3600, "crm.tasks.recount_segments", "bulk"),
        "see where members stand in their life": every(1800, "crm.tasks.refresh_lifecycle", "bulk"),
        "see how near members are to the brand": every(max(sweep * 20, 60), "crm.tasks.refresh_aipl", "bulk"),
        "note what members come with": every(3600, "crm.tasks.fold_devices", "bulk"),
        "count RFM of the months that ended": every(1800, "crm.tasks.count_rfm_months", "bulk"),
        "free points whose return window is over": every(
            max(sweep * 10, 60), "shop.tasks.free_due_points", "bulk"
        ),
        "remind of points that end soon": every(600, "crm.tasks.remind_of_expiring_points", "bulk"),
        "keep or lower tiers whose time is over": every(600, "crm.tasks.review_due_tiers", "bulk"),
        "propose members who may be one": every(24 * 3600, "crm.tasks.find_merge_proposals", "bulk"),
        "seal merges that are 30 days old": every(6 * 3600, "crm.tasks.seal_merges", "bulk"),
        "erase members who asked for it": every(3600, "crm.tasks.erase_due", "bulk"),
        "take off the tags of erased people": every(max(sweep * 20, 60), "crm.tasks.take_off_erased_tags"),
        "forget what is kept too long": every(24 * 3600, "crm.tasks.keep_retention", "bulk"),
        "start, release and finish broadcasts": every(sweep, "campaigns.tasks.sweep_broadcasts", "bulk"),
        "win back who fell silent": every(max(sweep * 10, 10), "campaigns.tasks.run_win_back", "bulk"),
        "read groups that changed": every(sweep, "community.tasks.read_due_groups"),
        "count customer lifetimes": every(1800, "analytics.tasks.count_lifetimes", "bulk"),
        "count the days of the overview": every(
            max(sweep * 15, 30), "analytics.tasks.refresh_figures", "bulk"
        ),
    }
