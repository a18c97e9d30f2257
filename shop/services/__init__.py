"""Everything that writes in the shop, by noun."""

from shop.services.addresses import (
    AddressInput,
    address_input,
    delete_address,
    save_address,
    set_default_address,
)
from shop.services.carts import add_to_cart, remove_cart_line, select_cart_lines, set_cart_line
from shop.services.catalogue import (
    check_video,
    clean_detail,
    duplicate_product,
    make_thumbnail,
    refresh_sold_counts,
    save_product_image,
    schedule_products,
    set_products_status,
    shelve_due_products,
)
from shop.services.coupons import (
    claim_coupon,
    expire_coupons,
    grant_coupon,
    grant_coupons,
    revoke_coupons,
)
from shop.services.effects import reverse_effects, settle_effects, undo_effects
from shop.services.finding import refresh_below, refresh_described, refresh_products, refresh_stock_marks
from shop.services.fulfilment import (
    confirm_receipt,
    mark_ready,
    receive_due_orders,
    receive_order,
    ship_order,
)
from shop.services.funnel import note_step
from shop.services.logistics import answer_chat, send_order_message, tell_order
from shop.services.merging import move_member
from shop.services.offers import stop_waiting, tell_waiting, wait_for_offer
from shop.services.oms import SoldLine, buyer_of_sale, change_stocks, record_sale
from shop.services.orders import release_order
from shop.services.payments import (
    cancel_order,
    check_payment,
    confirm_payment,
    expire_orders,
    query_lost_payments,
    start_payment,
)
from shop.services.pickup import pickup_code, redeem_pickup
from shop.services.placing import payment_time, place_order
from shop.services.pricing import quote
from shop.services.promotions import switch_promotions
from shop.services.recovery import remind_of_payment, remind_unpaid
from shop.services.refunds import (
    confirm_refund,
    refund_mismatch,
    refund_order,
    retry_refunds,
    send_refunds,
)
from shop.services.rehearsals import start_rehearsal
from shop.services.routing import Serving, order_elsewhere, reason_words
from shop.services.stock import (
    Move,
    adjust_stock,
    move_stock,
    set_safety_stock,
    set_stock,
    warehouse_id,
)
from shop.services.stocktaking import book_stocktake, cancel_stocktake, count_skus, open_stocktake
from shop.services.tracking import add_usual_carriers, ask_again, ask_carriers, note_steps, type_step
from shop.services.transfers import cancel_transfer, create_transfer, receive_transfer, send_transfer

__all__ = [
    "AddressInput",
    "Move",
    "Serving",
    "SoldLine",
    "add_to_cart",
    "add_usual_carriers",
    "address_input",
    "adjust_stock",
    "answer_chat",
    "ask_again",
    "ask_carriers",
    "book_stocktake",
    "buyer_of_sale",
    "cancel_order",
    "cancel_stocktake",
    "cancel_transfer",
    "change_stocks",
    "check_payment",
    "check_video",
    "claim_coupon",
    "clean_detail",
    "confirm_payment",
    "confirm_receipt",
    "confirm_refund",
    "count_skus",
    "create_transfer",
    "delete_address",
    "duplicate_product",
    "expire_coupons",
    "expire_orders",
    "grant_coupon",
    "grant_coupons",
    "make_thumbnail",
    "mark_ready",
    "move_member",
    "move_stock",
    "note_step",
    "note_steps",
    "open_stocktake",
    "order_elsewhere",
    "payment_time",
    "pickup_code",
    "place_order",
    "query_lost_payments",
    "quote",
    "reason_words",
    "receive_due_orders",
    "receive_order",
    "receive_transfer",
    "record_sale",
    "redeem_pickup",
    "refresh_below",
    "refresh_described",
    "refresh_products",
    "refresh_sold_counts",
    "refresh_stock_marks",
    "refund_mismatch",
    "refund_order",
    "release_order",
    "remind_of_payment",
    "remind_unpaid",
    "remove_cart_line",
    "retry_refunds",
    "reverse_effects",
    "revoke_coupons",
    "save_address",
    "save_product_image",
    "schedule_products",
    "select_cart_lines",
    "send_order_message",
    "send_refunds",
    "send_transfer",
    "set_cart_line",
    "set_default_address",
    "set_products_status",
    "set_safety_stock",
    "set_stock",
    "settle_effects",
    "shelve_due_products",
    "ship_order",
    "start_payment",
    "start_rehearsal",
    "stop_waiting",
    "switch_promotions",
    "tell_order",
    "tell_waiting",
    "type_step",
    "undo_effects",
    "wait_for_offer",
    "warehouse_id",
]
