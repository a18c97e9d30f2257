"""The admin's sidebar, grouped as operators think."""

from contextlib import suppress
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.translation import gettext_lazy as _

# group, then (label, icon, admin url name, permission); a page that does not exist (yet) is left out.
GROUPS: list[tuple[Any, list[tuple[Any, str, str, str]]]] = [
    (_("Data"), [(_("Overview"), "monitoring", "index", "")]),
    (
        _("Members"),
        [
            (_("Members"), "group", "crm_member", "crm.view_member"),
            (_("Segments"), "filter_alt", "crm_segment", "crm.view_segment"),
            (_("Lifecycle"), "ecg_heart", "crm_lifedefinition", "crm.view_lifedefinition"),
            (_("AIPL"), "moving", "crm_aipldefinition", "crm.view_aipldefinition"),
            (_("RFM by month"), "stacked_bar_chart", "crm_rfmmonth", "crm.view_rfmmonth"),
            (_("Customer lifetimes"), "query_stats", "analytics_lifetimerow", "analytics.view_lifetimerow"),
            (_("Lifetime exports"), "file_save", "analytics_lifetimeexport", "analytics.view_lifetimeexport"),
            (_("Segment snapshots"), "photo_library", "crm_segmentsnapshot", "crm.view_segmentsnapshot"),
            (_("Segment exports"), "file_download", "crm_segmentexport", "crm.view_segmentexport"),
            (_("Tags"), "sell", "crm_tag", "crm.view_tag"),
            (_("Tag groups"), "bookmarks", "crm_taggroup", "crm.view_taggroup"),
            (_("Official-account tags"), "bookmark_manager", "crm_officialtag", "crm.view_officialtag"),
            (_("Tag rules"), "new_label", "crm_tagrule", "crm.view_tagrule"),
            (_("Member fields"), "assignment_ind", "crm_memberfield", "crm.view_memberfield"),
            (_("Member imports"), "upload_file", "crm_memberimport", "crm.view_memberimport"),
            (_("Channel codes"), "qr_code_2", "crm_channelcode", "crm.view_channelcode"),
            (_("Tiers"), "workspace_premium", "crm_tierpolicy", "crm.view_tierpolicy"),
            (_("Membership plans"), "card_membership", "crm_membershipplan", "crm.view_membershipplan"),
            (_("Memberships"), "verified_user", "crm_membership", "crm.view_membership"),
            (_("Membership sales"), "point_of_sale", "shop_membershipsale", "shop.view_membershipsale"),
            (_("Tier changes"), "stairs", "crm_tierchange", "crm.view_tierchange"),
            (_("Earning of points"), "add_circle", "crm_pointsrules", "crm.view_pointsrules"),
            (_("Tasks for points"), "task_alt", "crm_pointstask", "crm.view_pointstask"),
            (_("Tasks of members"), "checklist", "crm_pointstaskrun", "crm.view_pointstaskrun"),
            (_("Points by category"), "category", "shop_categorypoints", "shop.view_categorypoints"),
            (_("Earnings"), "toll", "crm_earning", "crm.view_earning"),
            (_("Points mall"), "redeem", "shop_mallitem", "shop.view_mallitem"),
            (
                _("Points exchanges"),
                "featured_seasonal_and_gifts",
                "shop_mallexchange",
                "shop.view_mallexchange",
            ),
            (_("Adjustments of points"), "exposure", "crm_pointsadjustment", "crm.view_pointsadjustment"),
            (_("Touch policy"), "notifications_paused", "crm_touchpolicy", "crm.view_touchpolicy"),
            (_("Touches"), "touch_app", "crm_touch", "crm.view_touch"),
            (_("Sync doctor"), "cloud_sync", "crm_syncrun", "crm.view_syncrun"),
            (_("Merge proposals"), "merge", "crm_mergeproposal", "crm.view_mergeproposal"),
            (_("Member merges"), "join", "crm_membermerge", "crm.view_membermerge"),
            (_("Data requests"), "privacy_tip", "crm_datarequest", "crm.view_datarequest"),
            (_("Retention"), "auto_delete", "crm_retentionrule", "crm.view_retentionrule"),
            (_("Looks at phones"), "visibility", "crm_phonelook", "crm.view_phonelook"),
            (_("Account matrix"), "grid_on", "crm_accountmatrix", "crm.view_member"),
            (_("Stores"), "storefront", "crm_store", "crm.view_store"),
            (_("Guides"), "badge", "crm_staff", "crm.view_staff"),
        ],
    ),
    (
        _("Orders"),
        [
            (_("Orders"), "receipt_long", "shop_order", "shop.view_order"),
            (_("Presale orders"), "schedule", "shop_presaleorder", "shop.view_presaleorder"),
            (_("After-sales"), "assignment_return", "shop_aftersale", "shop.view_aftersale"),
            (_("Invoices"), "request_quote", "shop_invoice", "shop.view_invoice"),
            (_("Order messages"), "mark_chat_read", "shop_ordermessage", "shop.view_ordermessage"),
            (_("The way to the payment"), "filter_list", "shop_funnelstep", "shop.view_funnelstep"),
            (_("Payment reminders"), "alarm_on", "shop_paymentreminder", "shop.view_paymentreminder"),
            (_("Service rules"), "rule", "shop_servicerules", "shop.view_servicerules"),
            (_("Order imports"), "upload_file", "shop_importrun", "shop.view_importrun"),
        ],
    ),
    (
        _("Sending goods"),
        [
            (_("Fulfilments"), "orders", "shop_fulfilment", "shop.view_fulfilment"),
            (_("Shipments"), "local_shipping", "shop_shipment", "shop.view_shipment"),
            (_("Carriers"), "airport_shuttle", "shop_carrier", "shop.view_carrier"),
            (_("Shipping rates"), "local_post_office", "shop_shippingrate", "shop.view_shippingrate"),
        ],
    ),
    (
        _("At the counter"),
        [
            (_("Hand over orders"), "package_2", "shop:pickup", "shop.view_fulfilment"),
            (_("Redeem vouchers"), "qr_code_scanner", "shop:vouchers_desk", "shop.view_fulfilment"),
            (_("Order for a member"), "shopping_cart_checkout", "shop:elsewhere", "shop.view_fulfilment"),
            (_("Call numbers"), "campaign", "shop:queueing_staff", "shop.view_fulfilment"),
        ],
    ),
    (
        _("Goods"),
        [
            (_("Products"), "inventory_2", "shop_product", "shop.view_product"),
            (_("Categories"), "category", "shop_category", "shop.view_category"),
            (_("Brands"), "verified", "shop_brand", "shop.view_brand"),
            (_("Attributes"), "tune", "shop_attribute", "shop.view_attribute"),
            (_("Bundles"), "deployed_code", "shop_bundle", "shop.view_bundle"),
            (_("Virtual and service goods"), "cloud_done", "shop_goodsterms", "shop.view_goodsterms"),
            (_("Virtual codes"), "password", "shop_virtualcode", "shop.view_virtualcode"),
            (_("Vouchers"), "local_activity", "shop_voucher", "shop.view_voucher"),
            (_("Catalogue files"), "table_view", "shop_cataloguefile", "shop.view_cataloguefile"),
        ],
    ),
    (
        _("Stock"),
        [
            (_("Stock"), "warehouse", "shop_stock", "shop.view_stock"),
            (_("Low stock"), "production_quantity_limits", "shop_lowstock", "shop.view_stock"),
            (_("Stock movements"), "swap_vert", "shop_stockmovement", "shop.view_stockmovement"),
            (_("Stock-taking"), "checklist", "shop_stocktake", "shop.view_stocktake"),
            (_("Transfers"), "conveyor_belt", "shop_transfer", "shop.view_transfer"),
        ],
    ),
    (
        _("Prices and offers"),
        [
            (_("Promotions"), "percent", "shop_promotion", "shop.view_promotion"),
            (_("Coupons"), "confirmation_number", "shop_coupon", "shop.view_coupon"),
            (_("Held coupons"), "loyalty", "shop_coupongrant", "shop.view_coupongrant"),
            (_("Offers"), "bolt", "shop_offer", "shop.view_offer"),
            (_("Waiting lists"), "hourglass", "shop_offerwaiting", "shop.view_offerwaiting"),
            (_("Limited goods of members"), "person_remove", "shop_producttally", "shop.view_producttally"),
            (_("Member prices"), "loyalty", "shop_memberprice", "shop.view_memberprice"),
            (_("Cost prices"), "sell", "shop_costprice", "shop.view_costprice"),
            (_("Points as money"), "toll", "shop_pointspolicy", "shop.view_pointspolicy"),
            (_("Rehearsals"), "theater_comedy", "shop_rehearsal", "shop.view_rehearsal"),
        ],
    ),
    (
        _("Money"),
        [
            (_("Payments"), "payments", "shop_payment", "shop.view_payment"),
            (_("Refunds"), "undo", "shop_refund", "shop.view_refund"),
            (_("WeChat bills"), "receipt", "shop_bill", "shop.view_bill"),
            (_("Bill differences"), "rule", "shop_billdifference", "shop.view_billdifference"),
            (_("Recharge offers"), "add_card", "shop_rechargeoffer", "shop.view_rechargeoffer"),
            (_("Recharges"), "account_balance_wallet", "shop_recharge", "shop.view_recharge"),
            (
                _("Requests for stored value"),
                "currency_exchange",
                "shop_storedvaluerequest",
                "shop.view_storedvaluerequest",
            ),
            (_("Stored value rules"), "rule_settings", "shop_rechargepolicy", "shop.view_rechargepolicy"),
            (_("Direct payments"), "send_money", "shop_directpayment", "shop.view_directpayment"),
            (_("Direct refunds"), "currency_exchange", "shop_directrefund", "shop.view_directrefund"),
            (_("Stored value"), "savings", "shop_storedvaluecredit", "shop.view_storedvaluecredit"),
            (_("Gift card batches"), "redeem", "shop_giftcardbatch", "shop.view_giftcardbatch"),
            (_("Gift cards"), "card_giftcard", "shop_giftcard", "shop.view_giftcard"),
        ],
    ),
    (
        _("Voices"),
        [
            (_("Reviews"), "reviews", "shop_review", "shop.view_review"),
            (_("Product questions"), "contact_support", "shop_question", "shop.view_question"),
            (_("Back-in-stock notices"), "notification_add", "shop_stocknotice", "shop.view_stocknotice"),
        ],
    ),
    (
        _("Bookings and queues"),
        [
            (_("Bookable services"), "spa", "shop_bookableservice", "shop.view_bookableservice"),
            (_("Booking slots"), "calendar_month", "shop_bookingslot", "shop.view_bookingslot"),
            (_("Bookings"), "event_available", "shop_booking", "shop.view_booking"),
            (_("Queue numbers"), "confirmation_number", "shop_queueticket", "shop.view_queueticket"),
        ],
    ),
    (_("Community"), [(_("Groups"), "forum", "community_group", "community.view_group")]),
    (
        _("Marketing"),
        [
            (_("Broadcasts"), "campaign", "campaigns_broadcast", "campaigns.view_broadcast"),
            (_("Win-back rules"), "alarm", "campaigns_winbackrule", "campaigns.view_winbackrule"),
        ],
    ),
    (
        _("WeChat"),
        [
            (_("Accounts"), "hub", "wechat_account", "wechat.view_account"),
            (_("Notices"), "inbox", "wechat_notice", "wechat.view_notice"),
            (_("Outgoing messages"), "outbox", "wechat_outboundmessage", "wechat.view_outboundmessage"),
            (_("Mass sendings"), "campaign", "wechat_outboundbatch", "wechat.view_outboundbatch"),
            (_("Daily use"), "speed", "wechat_channeluse", "wechat.view_channeluse"),
            (_("Reply windows"), "quickreply", "wechat_replywindow", "wechat.view_replywindow"),
            (
                _("Subscription quotas"),
                "notifications_active",
                "wechat_subscriptionquota",
                "wechat.view_subscriptionquota",
            ),
        ],
    ),
    (
        _("System"),
        [
            (_("Event deliveries"), "sync_alt", "core_eventdelivery", "core.view_eventdelivery"),
            (_("Jobs"), "hourglass_top", "core_job", "core.view_job"),
            (_("Ledger accounts"), "account_balance", "core_ledgeraccount", "core.view_ledgeraccount"),
            (_("Audit"), "verified", "audit", "core.view_job"),
            (_("Edit history"), "history", "pghistory_events", "pghistory.view_events"),
            (_("API tokens"), "key", "core_apitoken", "core.view_apitoken"),
            (_("Users"), "person", "auth_user", "auth.view_user"),
            (_("Roles"), "shield_person", "auth_group", "auth.view_group"),
        ],
    ),
]

PAGES = ("index", "audit")
"""Admin pages that list no model; a name with a colon is a page outside the admin."""

OPEN = (_("Data"), _("Members"), _("Orders"))
"""What every operator works with all day; the other groups open by a click, or when their page is shown."""


@cache
def _links(_prefix: str, _addresses: str) -> dict[str, str]:
    """Where the pages that exist are: it stays while a process lives, below one prefix, by one set of addresses."""
    found = {}
    for _title, entries in GROUPS:
        for _label, _icon, name, _permission in entries:
            page = name if ":" in name else f"admin:{name if name in PAGES else f'{name}_changelist'}"
            with suppress(NoReverseMatch):
                found[name] = reverse(page)
    return found


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """unfold's navigation for this user: only pages that exist and that she may see."""
    links = _links(get_script_prefix(), get_urlconf() or settings.ROOT_URLCONF)
    groups = []
    for title, entries in GROUPS:
        items = [
            # Plain text: unfold copies all of it for each page, which takes long for lazy ones.
            {"title": str(label), "icon": icon, "link": links[name]}
            for label, icon, name, permission in entries
            if name in links and (not permission or request.user.has_perm(permission))
        ]
        if items:
            groups.append(
                {"title": str(title), "separator": True, "collapsible": title not in OPEN, "items": items}
            )
    return groups
