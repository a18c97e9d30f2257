"""One shop in which everything has happened once, for proofs that look at all of it. Made through the services."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps

from campaigns.models import BroadcastRecipient, WinBackSpell
from core import clock, jobs
from crm.services import prepare_months_ahead
from shop import aftersales_rules, services
from shop.bills import BEIJING, Line
from shop.models import (
    FunnelStep,
    ImportLine,
    ImportRun,
    Order,
    OrderLine,
    Payment,
    PaymentReminder,
    PointsPolicy,
    Promotion,
    PromotionExtra,
    PromotionLevel,
    Refund,
)
from shop.pricing.types import Choices
from shop.services import rehearsals
from shop.services.oms import SoldLine
from shop.services.payments import Payer, Wish, arrange_payment
from shop.services.reconciliation import keep_lines
from tests.campaigns import house as campaigns
from tests.shop import booking_builders as booking
from tests.shop import builders, goods, instruments, stores
from wechat.models import OutboundBatch, SubscriptionQuota
from wechat.services import enqueue_message


@dataclass
class Busy:
    """What tests may want to name of it."""

    buyer: Any
    unpaid: Order
    paid: Order
    refunded: Order


def build() -> Busy:
    """Call inside a transaction and a standing clock (`booking.MONDAY` at eleven): everything happens at one moment."""
    prepare_months_ahead(1)
    buyer = _rich(booking.reachable(name="林小满"))
    dress, scarf = builders.sku(stock=90, price_fen=9_900), builders.sku(stock=90, price_fen=5_000)
    unpaid = builders.order(buyer, (dress, 1))
    paid = builders.pay(builders.order(buyer, (dress, 2), (scarf, 1)))
    builders.release(builders.order(buyer, (scarf, 2)))
    refunded = builders.pay(builders.order(buyer, (scarf, 2)))
    _money_back(services.refund_order(order_id=refunded.pk, reason="缺货", by="小运"))
    _late(buyer, dress)
    _instruments(buyer)
    _tenders(buyer)
    _stores(buyer, scarf)
    _goods(buyer)
    _aftersales(buyer)
    _booked(booking.store(), buyer)
    _voices(buyer)
    _around(buyer, unpaid, paid)
    _promotions()
    _imported(scarf)
    _campaigns(buyer)
    _bill()
    return Busy(buyer, unpaid, paid, refunded)


def _rich(buyer: Any) -> Any:
    services.credit_stored_value(
        member_id=buyer.pk,
        principal_fen=50_000,
        bonus_fen=20_000,
        reason="充值活动",
        idempotency_key=f"busy-{buyer.pk}",
    )
    instruments.give_points(buyer, 5_000)
    return buyer


def _money_back(*refunds: Refund) -> None:
    for refund in refunds:
        services.confirm_refund(
            out_refund_no=refund.out_refund_no,
            refund_id=f"5{refund.pk}",
            status="SUCCESS",
            refund_fen=refund.amount_fen,
        )


def _shipped(buyer: Any, *lines: tuple[Any, int]) -> Order:
    order = builders.pay(builders.order(buyer, *lines))
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number=f"SF{order.pk}", by="仓库")
    order.refresh_from_db()
    return order


def _late(buyer: Any, dress: Any) -> None:
    """Money for a cancelled order, and money that came twice: both went back."""
    coupon = services.grant_coupon(
        coupon_id=instruments.coupon().pk, member_id=buyer.pk, key=f"busy-late-{buyer.pk}"
    )
    late = _ordered(buyer, (dress, 1), choices=Choices(coupon_ids=(coupon.pk,)))
    payment = builders.payment(late)
    builders.release(late)
    builders.confirm(payment)
    twice = builders.order(buyer, (dress, 1))
    first = builders.payment(twice)
    Payment.objects.filter(pk=first.pk).update(status=Payment.CLOSED)
    builders.pay(twice)
    builders.confirm(first)
    _money_back(*Refund.objects.filter(kind__in=[Refund.LATE, Refund.DUPLICATE]))


def _ordered(buyer: Any, *lines: tuple[Any, int], choices: Choices) -> Order:
    return services.place_order(
        member_id=buyer.pk,
        lines=[(sku.pk, pieces) for sku, pieces in lines],
        address=builders.ADDRESS,
        idempotency_key=f"busy-{buyer.pk}-{Order.objects.count()}",
        choices=choices,
    )


def _instruments(buyer: Any) -> None:
    """A coupon, an offer and points on three orders: one waits, one is cancelled, one is paid and goes back in part."""
    PointsPolicy.objects.update_or_create(
        pk=1, defaults={"fen_per_100": 100, "cap_bps": 5_000, "least": 1, "is_active": True}
    )
    coat, belt = builders.sku(stock=30, price_fen=30_000), builders.sku(stock=30, price_fen=8_000)
    instruments.offer(coat, price_fen=20_000, per_member_limit=9)
    coupon = instruments.coupon(per_member_limit=9, quota=50)
    for number in range(3):
        held = services.grant_coupon(coupon_id=coupon.pk, member_id=buyer.pk, key=f"busy-{buyer.pk}-{number}")
        choices = Choices(coupon_ids=(held.pk,), points=300)
        order = _ordered(buyer, (coat, 2), (belt, 2), choices=choices)
        if number == 1:
            builders.release(order)
        if number == 2:
            builders.pay(order)
            first, second = OrderLine.objects.filter(order=order).order_by("pk")
            _money_back(
                *services.refund_lines(
                    order_id=order.pk, parts=[(first.pk, 1), (second.pk, 1)], reason="破损", by="小运"
                )
            )
    services.grant_coupon(coupon_id=coupon.pk, member_id=buyer.pk, key=f"busy-{buyer.pk}-unused")


def _tenders(buyer: Any) -> None:
    """Stored value and a gift card: held for one order, spent for another, given back in part."""
    services.make_gift_cards(name="中秋礼品卡", value_fen=3_000, count=2, idempotency_key="busy-batch")
    batch = apps.get_model("shop", "GiftCardBatch").objects.get(idempotency_key="busy-batch")
    code = services.export_gift_cards(batch_id=batch.pk)[0].code
    card = services.bind_gift_card(member_id=buyer.pk, code=code)
    account = builders.pay_account()
    payer = Payer(account_id=account.pk, account_key=account.key, openid="o-test")
    bag = builders.sku(stock=9, price_fen=9_900)
    for wish, is_paid in (
        (Wish(stored_value_fen=3_000, gift_card_id=card.pk), True),
        (Wish(stored_value_fen=1_000), False),
    ):
        order = builders.order(buyer, (bag, 1))
        arranged = arrange_payment(order_id=order.pk, member_id=buyer.pk, wish=wish, payer=payer)
        if is_paid:
            assert arranged.payment is not None
            builders.confirm(arranged.payment)
            _money_back(
                *[
                    refund
                    for refund in services.refund_lines(
                        order_id=order.pk,
                        parts=[(OrderLine.objects.get(order=order).pk, 1)],
                        reason="缺货",
                        by="小运",
                    )
                    if refund.status == Refund.PENDING
                ]
            )


def _stores(buyer: Any, scarf: Any) -> None:
    """Parcels from two stores, a pickup, a sale over the counter, a count, transfers on the way and arrived."""
    lake, shop = stores.store(stores.HUBIN), stores.store(stores.XINTIANDI)
    here, there = builders.sku(stock=2), builders.sku(stock=0)
    stores.lay(there, lake, 9)
    split = builders.pay(stores.placed(buyer, (here, 2), (there, 1)))
    services.ship_order(
        order_id=split.pk, store_id=lake.pk, carrier="中通快递", tracking_number="ZT1", by="李娜"
    )
    stores.lay(here, shop, 5)
    for is_fetched in (False, True):
        pickup = builders.pay(stores.placed(buyer, (here, 1), pickup=shop)).fulfilments.get()
        services.mark_ready(fulfilment_id=pickup.pk, by="李娜")
        if is_fetched:
            services.redeem_pickup(code=pickup.code, store_id=shop.pk, by="李娜")
    services.record_sale(
        store_id=shop.pk,
        number="POS-1",
        lines=[SoldLine(here.pk, 1, 8_800)],
        sold_at=clock.now(),
        member_id=buyer.pk,
        by="收银",
    )
    round_ = services.open_stocktake(store_id=lake.pk, by="店长")
    services.count_skus(stocktake_id=round_.pk, counts=[(there.pk, 6)], by="店长")
    services.book_stocktake(stocktake_id=round_.pk, by="店长")
    for is_received in (True, False):
        made = services.create_transfer(
            sender_id=services.warehouse_id(), receiver_id=lake.pk, lines=[(scarf.pk, 2)], by="仓库"
        )
        services.send_transfer(transfer_id=made.pk, by="仓库")
        if is_received:
            services.receive_transfer(transfer_id=made.pk, arrived={scarf.pk: 1}, by="店长")


def _goods(buyer: Any) -> None:
    """A service with its vouchers, codes, and a bundle, each paid for; one piece of the service went back."""
    paid = builders.pay(goods.ordered(buyer, (goods.service(), 3)))
    line = OrderLine.objects.get(order=paid)
    _money_back(*services.refund_lines(order_id=paid.pk, parts=[(line.pk, 1)], reason="不需要了", by="小运"))
    builders.pay(goods.ordered(buyer, (goods.codes("A1", "B2", "C3"), 1)))
    goods.bundle((builders.sku(stock=9), 1))
    set_of_two = goods.bundle((builders.sku(stock=9), 1), (builders.sku(stock=9), 2))
    builders.pay(builders.order(buyer, (set_of_two, 1)))


def _aftersales(buyer: Any) -> None:
    shirt = builders.sku(stock=50, price_fen=7_900)
    for kind in (
        aftersales_rules.REFUND_ONLY,
        aftersales_rules.RETURN_REFUND,
        aftersales_rules.EXCHANGE,
        aftersales_rules.EXCHANGE,
    ):
        order = _shipped(buyer, (shirt, 3))
        line = OrderLine.objects.get(order=order)
        applied = services.apply_for_aftersale(
            order_id=order.pk,
            member_id=buyer.pk,
            kind=kind,
            parts=[(line.pk, 2)],
            reason="尺码不合适",
            idempotency_key="the-key-of-the-form",
        )
        services.approve_aftersale(aftersale_id=applied.pk, by="小运")
        is_last = apps.get_model("shop", "AfterSale").objects.filter(kind=kind).count() == 2
        if kind in aftersales_rules.WITH_RETURN and not is_last:
            services.send_back(
                aftersale_id=applied.pk, member_id=buyer.pk, carrier="中通", tracking_number="ZT9"
            )
            services.receive_return(aftersale_id=applied.pk, by="仓库")
        if kind == aftersales_rules.EXCHANGE and not is_last:
            services.ship_exchange(aftersale_id=applied.pk, carrier="顺丰", tracking_number="SF9", by="仓库")
        _money_back(*Refund.objects.filter(order=order, status=Refund.PENDING))


def _booked(store: Any, buyer: Any) -> None:
    """A place that is taken, a guest who checked in, and one who walked in."""
    service = booking.service(store, capacity=3)
    services.book_slot(member_id=buyer.pk, slot_id=booking.slot(service, days=1).pk)
    came = services.book_slot(member_id=builders.member().pk, slot_id=booking.slot(service, hour=14).pk)
    services.check_in(code=came.code, store_id=store.pk, by="小周")
    services.take_number(store_id=store.pk, service_id=service.pk, guest="张阿姨", by="小周")


def _voices(buyer: Any) -> None:
    order = _shipped(buyer, (builders.sku(), 1))
    services.type_step(shipment_id=order.shipments.get().pk, state="signed", text="前台代收", by="小运")
    services.confirm_receipt(order_id=order.pk, member_id=buyer.pk)
    review = services.write_review(line_id=order.lines.get().pk, member_id=buyer.pk, stars=5, text="很好")
    services.decide_review(review_id=review.pk, shown=True, by="小运")


def _around(buyer: Any, unpaid: Order, paid: Order) -> None:
    """What was asked for, told and noted beside the orders."""
    invoice = services.request_invoice(order_id=paid.pk, member_id=buyer.pk, kind="person", title="林小满")
    services.issue_invoice(invoice_id=invoice.pk, number="25312000000012345678", by="财务")
    PaymentReminder.objects.create(order=unpaid, state="sent", channel="custom", at=clock.now())
    FunnelStep.objects.create(
        member_id=buyer.pk, order=unpaid, step="sheet", day=clock.today(), at=clock.now()
    )
    back = Refund.objects.filter(kind=Refund.ORDER, status=Refund.SUCCESS).order_by("pk")[0]
    services.tell_order(order_id=back.order_id, kind="refunded", refund_id=back.pk)
    SubscriptionQuota.objects.create(
        account=builders.official_account(),
        openid="o-quota",
        template_id="T",
        accepted_ats=[clock.now()],
        remaining=1,
    )
    OutboundBatch.objects.create(
        account=builders.official_account(),
        channel="mass",
        client_id="busy",
        platform_id="1",
        state="done",
        recipients=1,
        created_at=clock.now(),
        body_id=apps.get_model("wechat", "OutboundMessage").objects.values_list("body_id", flat=True)[0],
    )


def _promotions() -> None:
    moment = clock.now()
    bundle = Promotion.objects.create(
        kind="bundle",
        title="两件 ¥99",
        amount_fen=9_900,
        is_active=True,
        starts_at=moment - timedelta(days=1),
        ends_at=moment + timedelta(days=1),
    )
    Promotion.objects.create(
        kind="gift",
        title="还没有选赠品的草稿",
        is_active=False,
        starts_at=moment,
        ends_at=moment + timedelta(days=1),
    )
    PromotionExtra.objects.create(promotion=bundle, sku=builders.sku(), quantity=2)
    steps = Promotion.objects.create(
        kind="amount_off",
        title="阶梯满减",
        threshold_fen=10**9,
        amount_fen=1,
        is_active=True,
        starts_at=moment - timedelta(days=1),
        ends_at=moment + timedelta(days=1),
    )
    PromotionLevel.objects.create(promotion=steps, threshold_fen=2 * 10**9, amount_fen=2)
    rehearsal = rehearsals.start_rehearsal(promotion_id=bundle.pk, created_by_id=None)
    assert rehearsal.job_id is not None
    jobs.run(job_id=rehearsal.job_id)


def _imported(sku: Any) -> None:
    """History as an import leaves it."""
    moment = clock.now() - timedelta(days=200)
    order = Order.objects.create(
        number="I-1",
        status=Order.RECEIVED,
        channel="import:old",
        external_id="A-1",
        items_fen=3_000,
        total_fen=3_000,
        paid_fen=3_000,
        placed_at=moment,
        paid_at=moment,
    )
    OrderLine.objects.create(
        order=order, sku=sku, product_name="旧款", unit_price_fen=1_500, quantity=2, total_fen=3_000
    )
    run = ImportRun.objects.create(source="old", created_at=clock.now())
    ImportLine.objects.create(
        run=run,
        number=1,
        source="old",
        kind="goods",
        verdict="imported",
        order_number="A-1",
        code=sku.code,
        quantity=2,
        price=1_500,
        placed_at=moment,
        order=order,
    )


def _campaigns(buyer: Any) -> None:
    moment = clock.now()
    sending = campaigns.broadcast(status="done", account=builders.official_account())
    spell = WinBackSpell.objects.create(
        rule=campaigns.rule(account=builders.official_account()),
        member=buyer,
        spell_started_at=moment - timedelta(days=60),
        found_at=moment,
        status="sent",
        channel="custom",
        released_at=moment,
    )
    recipients = [
        BroadcastRecipient.objects.create(
            broadcast=sending, member=member, status="released", channel="custom", to=to, released_at=moment
        )
        for member, to in ((buyer, "o-one"), (builders.member(), "o-two"))
    ]
    told = [(f"broadcast:{sending.pk}", row.pk) for row in recipients]
    for origin, origin_id in [*told, (f"winback:{spell.rule_id}", spell.pk)]:
        enqueue_message(
            account_id=builders.official_account().pk,
            channel="custom",
            to="o-one",
            body={"kind": "text", "text": "好久不见"},
            origin=origin,
            origin_id=origin_id,
        )


def _bill() -> None:
    """Today's bill of the pay account: one payment as it was, all others missing there and waiting for a person."""
    bill, _new = services.open_bill(
        account_id=builders.pay_account().pk, day=clock.now().astimezone(BEIJING).date()
    )
    payment = Payment.objects.filter(status=Payment.PAID, kind=Payment.JSAPI).order_by("pk")[0]
    assert payment.paid_at is not None
    keep_lines(
        bill_id=bill.pk,
        lines=[
            Line(
                out_trade_no=payment.out_trade_no,
                transaction_id=payment.transaction_id or "",
                out_refund_no="",
                refund_id="",
                state="SUCCESS",
                amount_fen=payment.paid_fen,
                fee_fen=0,
                at=payment.paid_at,
            )
        ],
    )
    services.compare_bill(bill_id=bill.pk)
