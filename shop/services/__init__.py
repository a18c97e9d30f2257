"""Everything that writes in the shop, by noun."""

from shop.services.addresses import (
    AddressInput,
    address_input,
    delete_address,
    save_address,
    set_default_address,
)
from shop.services.aftersales import (
    apply_for_aftersale,
    approve_aftersale,
    cancel_aftersale,
    pay_back,
    receive_return,
    refund_instead,
    refuse_aftersale,
    send_back,
    settle_due_aftersales,
    ship_exchange,
)
from shop.services.aftersales_gifts import GiftTerms, gift_terms
from shop.services.attributes import MatrixRow, fill_matrix, save_matrix
from shop.services.booking import (
    book_slot,
    cancel_booking,
    change_slot,
    mark_no_show,
    mark_no_shows,
    move_bookings,
    plan_all_slots,
    plan_slots,
    send_booking_reminders,
)
from shop.services.bundles import set_bundle
from shop.services.carts import add_to_cart, remove_cart_line, select_cart_lines, set_cart_line
from shop.services.catalogue import (
    check_video,
    clean_detail,
    duplicate_product,
    is_kind_settled,
    make_thumbnail,
    refresh_sold_counts,
    save_product_image,
    schedule_products,
    set_products_status,
    shelve_due_products,
)
from shop.services.catalogue_files import (
    apply_catalogue_file,
    bring_catalogue_file,
    catalogue_file_permissions,
)
from shop.services.coupons import claim_coupon, expire_coupons, grant_coupon, grant_coupons, revoke_coupons
from shop.services.coupons_in_batches import start_granting
from shop.services.desk import (
    ask_for_reviews,
    change_address,
    change_price,
    may_change_address,
    note_order,
)
from shop.services.direct import (
    check_direct,
    confirm_direct,
    is_direct,
    latest_direct,
    query_lost_direct,
    settle_direct,
)
from shop.services.direct_refunds import (
    confirm_direct_refund,
    retry_direct_refunds,
    return_direct_mismatch,
    send_direct_refunds,
    settle_outside,
)
from shop.services.effects import return_points, reverse_effects, settle_effects, undo_effects
from shop.services.favourites import (
    ask_stock_notice,
    move_favourites,
    send_stock_notices,
    set_favourite,
    withdraw_stock_notice,
)
from shop.services.finding import refresh_below, refresh_described, refresh_products, refresh_stock_marks
from shop.services.fulfilment import (
    confirm_receipt,
    mark_ready,
    receive_due_orders,
    receive_order,
    ship_order,
)
from shop.services.fulfilment_together import ship_together
from shop.services.funnel import note_step
from shop.services.gift_cards import (
    bind_gift_card,
    export_gift_cards,
    make_gift_cards,
    void_gift_cards,
)
from shop.services.hot import buy_offer
from shop.services.invoices import (
    issue_invoice,
    refuse_invoice,
    request_invoice,
    reverse_invoice,
)
from shop.services.logistics import answer_chat, send_order_message, tell_order
from shop.services.mall import exchange_points, send_exchange, take_back_exchange
from shop.services.mall_paid import return_exchange_money, start_exchange
from shop.services.memberships import membership_terms, refund_membership, start_membership
from shop.services.merging import follow_merge, follow_undo, move_member
from shop.services.mydata import name_holdings
from shop.services.offers import stop_waiting, tell_waiting, tell_waiting_again, wait_for_offer
from shop.services.oms import SoldLine, buyer_of_sale, change_stocks, record_sale
from shop.services.orders import release_order
from shop.services.payments import start_payment
from shop.services.payments_booked import confirm_payment, settle_free_order
from shop.services.payments_ended import cancel_order, check_payment, expire_orders, query_lost_payments
from shop.services.pickup import pickup_code, redeem_pickup, settle_uncollected
from shop.services.placing import payment_time, place_order
from shop.services.placing_ground import OrderGround, order_words
from shop.services.points import earn_from_order, follow_receipt, free_due_points
from shop.services.presale import presale_choices, remind_of_balance, remind_of_balances
from shop.services.pricing import quote
from shop.services.promotions import switch_promotions
from shop.services.questions import answer_question, ask_question, hide_question, move_questions
from shop.services.queueing import (
    call_again,
    call_next,
    check_in,
    close_past_queues,
    finish_number,
    leave_queue,
    move_tickets,
    skip_number,
    take_number,
)
from shop.services.recharge import refund_recharge, start_recharge
from shop.services.reconciliation import compare_bill, open_bill, reconcile, resolve_difference
from shop.services.recovery import ask_for_review, remind_of_payment, remind_unpaid
from shop.services.refunds import refund_lines, refund_mismatch, refund_order, repeat_refund, retry_refunds
from shop.services.refunds_booked import confirm_refund, send_refunds
from shop.services.rehearsals import start_rehearsal
from shop.services.rerouting import reroute_fulfilment
from shop.services.reviews import answer_review, decide_review, move_reviews, refresh_rating, write_review
from shop.services.routing import Serving, guest_named, order_elsewhere, reason_words
from shop.services.stock import Move, adjust_stock, move_stock, set_safety_stock, set_stock, warehouse_id
from shop.services.stocktaking import book_stocktake, cancel_stocktake, count_skus, open_stocktake
from shop.services.stored_value import credit_stored_value
from shop.services.stored_value_requests import (
    ask_for_stored_value,
    decline_stored_value_request,
    pay_stored_value_back,
    withdraw_stored_value_request,
)
from shop.services.tenders import give_back, move_value
from shop.services.tracking import add_usual_carriers, ask_again, ask_carriers, note_steps, type_step
from shop.services.transfers import cancel_transfer, create_transfer, receive_transfer, send_transfer
from shop.services.virtual import add_codes, checked_terms, drop_codes, save_terms
from shop.services.vouchers import expire_vouchers, remind_of_vouchers
from shop.services.vouchers_desk import extend_vouchers, redeem_voucher, voucher_code

__all__ = [
    "AddressInput",
    "GiftTerms",
    "MatrixRow",
    "Move",
    "OrderGround",
    "Serving",
    "SoldLine",
    "add_codes",
    "add_to_cart",
    "add_usual_carriers",
    "address_input",
    "adjust_stock",
    "answer_chat",
    "answer_question",
    "answer_review",
    "apply_catalogue_file",
    "apply_for_aftersale",
    "approve_aftersale",
    "ask_again",
    "ask_carriers",
    "ask_for_review",
    "ask_for_reviews",
    "ask_for_stored_value",
    "ask_question",
    "ask_stock_notice",
    "bind_gift_card",
    "book_slot",
    "book_stocktake",
    "bring_catalogue_file",
    "buy_offer",
    "buyer_of_sale",
    "call_again",
    "call_next",
    "cancel_aftersale",
    "cancel_booking",
    "cancel_order",
    "cancel_stocktake",
    "cancel_transfer",
    "catalogue_file_permissions",
    "change_address",
    "change_price",
    "change_slot",
    "change_stocks",
    "check_direct",
    "check_in",
    "check_payment",
    "check_video",
    "checked_terms",
    "claim_coupon",
    "clean_detail",
    "close_past_queues",
    "compare_bill",
    "confirm_direct",
    "confirm_direct_refund",
    "confirm_payment",
    "confirm_receipt",
    "confirm_refund",
    "count_skus",
    "create_transfer",
    "credit_stored_value",
    "decide_review",
    "decline_stored_value_request",
    "delete_address",
    "drop_codes",
    "duplicate_product",
    "earn_from_order",
    "exchange_points",
    "expire_coupons",
    "expire_orders",
    "expire_vouchers",
    "export_gift_cards",
    "extend_vouchers",
    "fill_matrix",
    "finish_number",
    "follow_merge",
    "follow_receipt",
    "follow_undo",
    "free_due_points",
    "gift_terms",
    "give_back",
    "grant_coupon",
    "grant_coupons",
    "guest_named",
    "hide_question",
    "is_direct",
    "is_kind_settled",
    "issue_invoice",
    "latest_direct",
    "leave_queue",
    "make_gift_cards",
    "make_thumbnail",
    "mark_no_show",
    "mark_no_shows",
    "mark_ready",
    "may_change_address",
    "membership_terms",
    "move_bookings",
    "move_favourites",
    "move_member",
    "move_questions",
    "move_reviews",
    "move_stock",
    "move_tickets",
    "move_value",
    "name_holdings",
    "note_order",
    "note_step",
    "note_steps",
    "open_bill",
    "open_stocktake",
    "order_elsewhere",
    "order_words",
    "pay_back",
    "pay_stored_value_back",
    "payment_time",
    "pickup_code",
    "place_order",
    "plan_all_slots",
    "plan_slots",
    "presale_choices",
    "query_lost_direct",
    "query_lost_payments",
    "quote",
    "reason_words",
    "receive_due_orders",
    "receive_order",
    "receive_return",
    "receive_transfer",
    "reconcile",
    "record_sale",
    "redeem_pickup",
    "redeem_voucher",
    "refresh_below",
    "refresh_described",
    "refresh_products",
    "refresh_rating",
    "refresh_sold_counts",
    "refresh_stock_marks",
    "refund_instead",
    "refund_lines",
    "refund_membership",
    "refund_mismatch",
    "refund_order",
    "refund_recharge",
    "refuse_aftersale",
    "refuse_invoice",
    "release_order",
    "remind_of_balance",
    "remind_of_balances",
    "remind_of_payment",
    "remind_of_vouchers",
    "remind_unpaid",
    "remove_cart_line",
    "repeat_refund",
    "request_invoice",
    "reroute_fulfilment",
    "resolve_difference",
    "retry_direct_refunds",
    "retry_refunds",
    "return_direct_mismatch",
    "return_exchange_money",
    "return_points",
    "reverse_effects",
    "reverse_invoice",
    "revoke_coupons",
    "save_address",
    "save_matrix",
    "save_product_image",
    "save_terms",
    "schedule_products",
    "select_cart_lines",
    "send_back",
    "send_booking_reminders",
    "send_direct_refunds",
    "send_exchange",
    "send_order_message",
    "send_refunds",
    "send_stock_notices",
    "send_transfer",
    "set_bundle",
    "set_cart_line",
    "set_default_address",
    "set_favourite",
    "set_products_status",
    "set_safety_stock",
    "set_stock",
    "settle_direct",
    "settle_due_aftersales",
    "settle_effects",
    "settle_free_order",
    "settle_outside",
    "settle_uncollected",
    "shelve_due_products",
    "ship_exchange",
    "ship_order",
    "ship_together",
    "skip_number",
    "start_exchange",
    "start_granting",
    "start_membership",
    "start_payment",
    "start_recharge",
    "start_rehearsal",
    "stop_waiting",
    "switch_promotions",
    "take_back_exchange",
    "take_number",
    "tell_order",
    "tell_waiting",
    "tell_waiting_again",
    "type_step",
    "undo_effects",
    "void_gift_cards",
    "voucher_code",
    "wait_for_offer",
    "warehouse_id",
    "withdraw_stock_notice",
    "withdraw_stored_value_request",
    "write_review",
]
