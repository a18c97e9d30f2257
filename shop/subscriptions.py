"""What the shop does when something happened elsewhere, and which of its own facts go to the timeline."""

from django.utils.translation import gettext_lazy as _

from core import jobs
from core.events import subscribe
from crm import services as crm_services
from crm.events import MembersMerged, MergeUndone
from shop import logistics, queries, services
from shop.events import (
    OfferFreed,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderReceived,
    OrderRefunded,
    OrderReviewDue,
    OrderShipped,
    ParcelSigned,
    PickupReady,
    VoucherExpired,
    VoucherRedeemed,
)
from shop.imports import runner as imports
from shop.services import catalogue_files, coupons_in_batches, rehearsals
from wechat.events import MessageReceived, PaymentNotified, RefundNotified


def book_payment(event: PaymentNotified) -> None:
    """A notice that names a number of another system is not ours to judge: the delivery shows it to the operator."""
    confirm = services.confirm_direct if services.is_direct(event.out_trade_no) else services.confirm_payment
    if event.trade_state == "SUCCESS":
        confirm(
            out_trade_no=event.out_trade_no,
            transaction_id=event.transaction_id,
            paid_fen=event.paid_fen,
            paid_at=event.success_at,
            account_id=event.account_id,
        )


def book_refund(event: RefundNotified) -> None:
    is_direct = services.is_direct(event.out_refund_no)
    confirm = services.confirm_direct_refund if is_direct else services.confirm_refund
    confirm(
        out_refund_no=event.out_refund_no,
        refund_id=event.refund_id,
        status=event.status,
        refund_fen=event.refund_fen,
        at=event.at,
        account_id=event.account_id,
    )


def follow_merge(event: MembersMerged) -> None:
    """Nothing to settle when the merge was undone meanwhile."""
    if services.follow_merge(merge_id=event.merge_id):
        crm_services.settle_owed(member_id=event.kept_id, by=f"merge:{event.merged_id}")


def follow_undo(event: MergeUndone) -> None:
    services.follow_undo(
        merge_id=event.merge_id,
        kept_id=event.kept_id,
        merged_id=event.merged_id,
        merged_at=event.merged_at,
    )
    for member_id in (event.kept_id, event.merged_id):
        crm_services.settle_owed(member_id=member_id, by=f"unmerge:{event.merge_id}")


def note_placed(event: OrderPlaced) -> None:
    crm_services.record_activity(
        member_id=event.member_id,
        kind="ordered",
        at=event.at,
        subject=f"order:{event.order_id}",
        amount_fen=event.total_fen,
    )


def note_cancelled(event: OrderCancelled) -> None:
    crm_services.record_activity(
        member_id=event.member_id,
        kind="cancelled",
        at=event.at,
        subject=f"order:{event.order_id}",
        data={"reason": event.reason},
    )


def note_shipped(event: OrderShipped) -> None:
    crm_services.record_activity(
        member_id=event.member_id, kind="shipped", at=event.at, subject=f"order:{event.order_id}"
    )
    order = queries.find_order(event.order_id)
    if order is not None and order.delivery == order.SHIP:
        crm_services.note_region(member_id=event.member_id, address=order.region, at=event.at)


def note_voucher_used(event: VoucherRedeemed) -> None:
    _note_voucher("voucher_used", event)


def note_voucher_expired(event: VoucherExpired) -> None:
    _note_voucher("voucher_expired", event)


def _note_voucher(kind: str, event: VoucherRedeemed | VoucherExpired) -> None:
    crm_services.record_activity(
        member_id=event.member_id,
        kind=kind,
        at=event.at,
        subject=f"voucher:{event.voucher_id}",
        data={"name": queries.voucher_name(event.voucher_id)},
    )


def tell_who_waits(event: OfferFreed) -> None:
    services.tell_waiting(offer_id=event.offer_id, places=event.places)


def tell_paid(event: OrderPaid) -> None:
    services.tell_order(order_id=event.order_id, kind=logistics.PAID)


def tell_shipped(event: OrderShipped) -> None:
    services.tell_order(order_id=event.order_id, kind=logistics.SHIPPED)


def tell_signed(event: ParcelSigned) -> None:
    services.tell_order(order_id=event.order_id, kind=logistics.SIGNED, shipment_id=event.shipment_id)


def tell_ready(event: PickupReady) -> None:
    services.tell_order(order_id=event.order_id, kind=logistics.READY, fulfilment_id=event.fulfilment_id)


def tell_refunded(event: OrderRefunded) -> None:
    if event.refund_fen:  # a gift that came back alone brings nothing
        services.tell_order(order_id=event.order_id, kind=logistics.REFUNDED, refund_id=event.refund_id)


def ask_for_review(event: OrderReviewDue) -> None:
    services.ask_for_review(order_id=event.order_id)


def earn_points(event: OrderPaid) -> None:
    services.earn_from_order(order_id=event.order_id)


def look_at_tier(event: OrderPaid) -> None:
    """What she has paid may have reached a tier; by growth, crm looks when it is booked."""
    crm_services.review_tiers(member_ids=[event.member_id])


def points_after_receipt(event: OrderReceived) -> None:
    services.follow_receipt(order_id=event.order_id)


def count_received(event: OrderReceived) -> None:
    crm_services.advance_tasks(
        member_id=event.member_id, kind="order", key=f"order:{event.order_id}", at=event.at
    )


def answer_chat(event: MessageReceived) -> None:
    if event.msg_type in ("text", "voice"):
        services.answer_chat(
            account_id=event.account_id,
            openid=event.openid,
            text=event.text,
            msg_id=event.msg_id,
            at=event.at,
        )


def tag_buyer(event: OrderPaid) -> None:
    crm_services.judge_tag_rules(member_id=event.member_id, kinds=crm_services.BY_PURCHASE)


def untag_refunded(event: OrderRefunded) -> None:
    """A handler of its own: a name stands for one kind of event."""
    crm_services.judge_tag_rules(member_id=event.member_id, kinds=crm_services.BY_PURCHASE)


def settle_after_refund(event: OrderRefunded) -> None:
    """Points that she had spent on it are back: what she owes comes first."""
    crm_services.settle_owed(member_id=event.member_id, by=f"refund:{event.refund_id}")


def settle_after_cancelling(event: OrderCancelled) -> None:
    crm_services.settle_owed(member_id=event.member_id, by=f"cancel:{event.order_id}")


subscribe(PaymentNotified, book_payment, queue="fast")
subscribe(RefundNotified, book_refund, queue="fast")
subscribe(MembersMerged, follow_merge)
subscribe(MergeUndone, follow_undo)
subscribe(OrderPlaced, note_placed)
subscribe(OrderCancelled, note_cancelled)
subscribe(OrderShipped, note_shipped)
subscribe(VoucherRedeemed, note_voucher_used)
subscribe(VoucherExpired, note_voucher_expired)
subscribe(OfferFreed, tell_who_waits)
subscribe(OrderPaid, tell_paid)
subscribe(OrderPaid, earn_points)
subscribe(OrderPaid, look_at_tier)
subscribe(OrderReceived, points_after_receipt)
subscribe(OrderReceived, count_received)
subscribe(OrderShipped, tell_shipped)
subscribe(ParcelSigned, tell_signed)
subscribe(PickupReady, tell_ready)
subscribe(OrderRefunded, tell_refunded)
subscribe(OrderReviewDue, ask_for_review)
subscribe(MessageReceived, answer_chat, queue="fast")
subscribe(OrderPaid, tag_buyer, queue="bulk")
subscribe(OrderRefunded, untag_refunded, queue="bulk")
subscribe(OrderRefunded, settle_after_refund)
subscribe(OrderCancelled, settle_after_cancelling)
crm_services.name_tiers(queries.tier_words)
crm_services.name_subjects(
    "category", queries.products_as_subjects, label=_("category"), choices=queries.shelf_names
)
crm_services.name_in_files("category", queries.shelf_paths, queries.shelves_by_path, label=_("category"))
crm_services.name_in_files("product", queries.product_codes, queries.products_by_code, label=_("product"))
crm_services.offer_tag_choices(
    "purchase", crm_services.TagChoices(queries.category_choices, queries.bought_from)
)
crm_services.call_subjects("product", "SELECT id, name FROM shop_product WHERE id = ANY(%s)")
crm_services.call_subjects(
    "order",
    "SELECT id, number FROM shop_order WHERE id = ANY(%s)",
    permission="shop.view_order",
    narrow=queries.own_orders_only,
)
jobs.register(coupons_in_batches.KIND, coupons_in_batches.work, label=_("giving out of coupons"))
jobs.register(catalogue_files.LOOK, catalogue_files.look, label=_("Compare a catalogue file"))
jobs.register(catalogue_files.APPLY, catalogue_files.apply, label=_("Apply a catalogue file"))
jobs.register(imports.KIND, imports.work, label=_("order import"))
jobs.register(rehearsals.KIND, rehearsals.work, label=_("rehearsal of a promotion"))
services.name_holdings()
