"""What is going on in the demo's shop today: orders on every step of their way, value to pay with, after-sales.

Few enough to be made by the shop's own services, at the moments at which they would have happened; so every row agrees
with every other, and what the operator or the shopper does next just works.
"""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from config.demo_brand.people import STAR_OPENID
from config.demo_brand.prices import FLASH, PRESALE, PRESALE_PAID, SOLD_OUT
from config.demo_brand.voices import FOLDER, snapshot
from config.demo_brand.wording import full_width
from core import clock, ledger
from crm.models import Identity, Store
from shop import aftersales_rules as rules
from shop import queries, services
from shop.logistics import PICKED
from shop.models import (
    AfterSale,
    GiftCard,
    Offer,
    Order,
    OrderLine,
    Product,
    ProductImage,
    Sku,
    Stock,
    StoredValueCredit,
    Voucher,
)
from shop.pricing.types import Choices
from shop.services import AddressInput
from shop.services.gift_cards import shown_code
from shop.services.payments import Payer, Wish, arrange_payment
from shop.services.reviews import redraw
from wechat.models import Account

GONE = "PD-058"  # sold out in every store
PLAIN = Choices(coupon_ids=())
PLACES = [
    ("上海市", "上海市", "静安区", "延平路 28 号 6 室"),
    ("浙江省", "杭州市", "西湖区", "文三路 90 号 2 幢 301"),
    ("四川省", "成都市", "锦江区", "东大街 12 号 1802"),
    ("江苏省", "苏州市", "姑苏区", "平江路 7 号"),
]
COMPANY = ("示例文化（福州）有限公司", "91350100M000100Y43")  # the number is the standard's own example


class Errands:
    """Makes them once. `visitors` are members who are often here; the star is whom the phone lists."""

    def __init__(self, *, accounts: dict[str, Account], stores: dict[str, Store]) -> None:
        self.now = clock.now()
        self.merchant, self.stores = accounts["pay"], stores
        people = (
            Identity.objects.filter(kind="openid", value__startswith="demo-o-", is_following=True)
            .exclude(value=STAR_OPENID)
            .order_by("value")
            .select_related("member")[:60]
        )
        star = Identity.objects.select_related("member").get(value=STAR_OPENID)
        self.openids = {one.member_id: one.value for one in (star, *people)}
        self.names = {one.member_id: one.member.name for one in (star, *people)}
        self.star = star.member_id
        self.others = [one.member_id for one in people]
        self.skus = dict(Sku.objects.filter(code__regex="^(PD|VS)-").values_list("code", "pk"))
        self.keys = itertools.count(1)

    @staticmethod
    def are_made() -> bool:
        return StoredValueCredit.objects.exists()

    def make(self) -> None:
        """Everything, in the order in which one needs the other."""
        self._fill_shelves()
        self._longing()
        self._give_value()
        self._star()
        self._flash()
        self._presale()
        self._vouchers()
        self._counters()
        self._aftersales()
        self._invoices()

    # One order

    def order(
        self,
        member_id: int,
        codes: Sequence[str],
        ago: timedelta,
        *,
        choices: Choices = PLAIN,
        balance_fen: int = 0,
        gift_card_id: int | None = None,
        place: int = 0,
        is_paid: bool = True,
        note: str = "",
    ) -> Order:
        """Placed so long ago, and paid a minute later: from the balance first, the rest at WeChat."""
        province, city, district, street = PLACES[place % len(PLACES)]
        with clock.travel(self.now - ago):
            order = services.place_order(
                member_id=member_id,
                lines=[(self.skus[code], 1) for code in codes],
                address=AddressInput(
                    receiver=self.names[member_id],
                    phone=f"138{member_id % 10**8:08d}",
                    province=province,
                    city=city,
                    district=district,
                    street=street,
                ),
                idempotency_key=f"demo-errand-{next(self.keys)}",
                choices=choices,
                note=full_width(note),
            )
        if is_paid:
            with clock.travel(self.now - ago + timedelta(seconds=48)):
                payer = Payer(self.merchant.pk, self.merchant.key, self.openids[member_id])
                spendable = queries.balance_for(member_id).spendable if balance_fen else 0
                wish = Wish(stored_value_fen=min(balance_fen, spendable), gift_card_id=gift_card_id)
                payment = arrange_payment(
                    order_id=order.pk, member_id=member_id, wish=wish, payer=payer
                ).payment
                if payment is not None:
                    services.confirm_payment(
                        out_trade_no=payment.out_trade_no,
                        transaction_id=f"42000{payment.pk:023d}",
                        paid_fen=payment.amount_fen,
                        paid_at=clock.now(),
                    )
        order.refresh_from_db()
        return order

    def sent(self, order: Order, ago: timedelta, carrier: str = "顺丰速运") -> Order:
        with clock.travel(self.now - ago):
            services.ship_order(
                order_id=order.pk, carrier=carrier, tracking_number=f"SF16{order.pk:010d}", by="仓库"
            )
        return order

    def received(self, order: Order, ago: timedelta) -> Order:
        assert order.member_id is not None
        with clock.travel(self.now - ago):
            for shipment in order.shipments.all():
                services.type_step(shipment_id=shipment.pk, state=PICKED, text="快件已签收", by="仓库")
            services.confirm_receipt(order_id=order.pk, member_id=order.member_id)
        return order

    # What there is

    def _fill_shelves(self) -> None:
        """Enough for what follows in the warehouse; two things lie in one store each, so that an order is split."""
        home = self.stores["warehouse"].pk
        for code in [f"PD-{number:03d}-{place}" for number in (*range(1, 57), 60) for place in (1, 2)]:
            services.adjust_stock(
                sku_id=self.skus[code],
                store_id=home,
                change=12,
                cause="demo:refill",
                reason="receive",
                by="仓库",
            )
        for code, only in (("PD-057-1", "hubin"), ("PD-059-1", "xintiandi")):
            for stock in Stock.objects.filter(sku_id=self.skus[code]).exclude(store=self.stores[only]):
                services.set_stock(
                    sku_id=stock.sku_id,
                    store_id=stock.store_id,
                    on_hand=stock.reserved,
                    by="李娜",
                    cause="demo:counted",
                    note="盘点",
                )

    def _longing(self) -> None:
        """One thing is gone everywhere, and some wait to hear that it is back."""
        for stock in Stock.objects.filter(sku__product__code=GONE):
            services.set_stock(
                sku_id=stock.sku_id,
                store_id=stock.store_id,
                on_hand=stock.reserved,
                by="李娜",
                cause="demo:gone",
                note="换季售罄",
            )
        product_id = Product.objects.values_list("pk", flat=True).get(code=GONE)
        for place, member_id in enumerate((self.star, *self.others[33:38])):
            with clock.travel(self.now - timedelta(hours=5 + 7 * place)):
                services.ask_stock_notice(member_id=member_id, product_id=product_id)

    def _give_value(self) -> None:
        """Stored value, points and gift cards: the star has some of each, others some of some."""
        for member_id, principal, bonus in (
            (self.star, 80_000, 8_000),
            *(
                (one, 50_000 * (1 + place % 3), 5_000 * (place % 3))
                for place, one in enumerate(self.others[:24])
            ),
        ):
            with clock.travel(self.now - timedelta(days=18, hours=member_id % 40)):
                services.credit_stored_value(
                    member_id=member_id,
                    principal_fen=principal,
                    bonus_fen=bonus,
                    bonus_expires_at=self.now + timedelta(days=300) if bonus else None,
                    reason="门店充值有礼",
                    idempotency_key=f"demo-credit-{member_id}",
                    by="李娜",
                )
        house = ledger.open_account(kind="points", owner_id=ledger.HOUSE)
        for member_id in (self.star, *self.others[:40]):
            ledger.transfer(
                cause=f"demo:points:{member_id}",
                debit=house,
                credit=ledger.open_account(kind="points", owner_id=member_id),
                amount=1_860 if member_id == self.star else 200 + member_id * 37 % 1_500,
                expires_at=self.now + timedelta(days=365),
            )
        batch = services.make_gift_cards(
            name="中秋礼品卡 200 元",
            value_fen=20_000,
            count=40,
            idempotency_key="demo-gift-cards",
            expires_at=self.now + timedelta(days=700),
        )
        cards = GiftCard.objects.filter(batch=batch).order_by("pk")[:4]
        for member_id, card in zip((self.star, *self.others[:3]), cards, strict=True):
            services.bind_gift_card(member_id=member_id, code=shown_code(card.code))

    # The star's own corner

    def _star(self) -> None:
        for number, (province, city, district, street) in enumerate(PLACES[:2]):
            services.save_address(
                member_id=self.star,
                address=AddressInput(
                    self.names[self.star], f"1380000{number:04d}", province, city, district, street
                ),
            )
        days = timedelta(days=1)
        with clock.travel(self.now - 5 * days):
            for code in ("welcome-30", "perfume-9", "free-parcel"):
                services.claim_coupon(code=code, member_id=self.star, token="demo")  # noqa: S106  a name
        card = GiftCard.objects.get(member_id=self.star)
        done = self.received(self.sent(self.order(self.star, ["PD-001-2"], 15 * days), 14 * days), 11 * days)
        self._review(done)
        back = self.received(self.sent(self.order(self.star, ["PD-027-2"], 9 * days), 8 * days), 4 * days)
        self._apply(back, rules.RETURN_REFUND, 2 * days, "尺码不合适", approved="同意退货,请把衣服寄回。")
        mixed = Choices(points=1_000)  # with her best coupon
        self.sent(
            self.order(
                self.star, ["PD-006-2", "PD-022-1"], 2 * days, choices=mixed, balance_fen=20_000, gift_card_id=card.pk
            ),
            timedelta(hours=26),
        )  # fmt: skip
        self.order(self.star, ["PD-057-1", "PD-059-1"], timedelta(hours=3), balance_fen=15_000)
        pickup = self._pickup(self.star, "PD-013-1", timedelta(hours=20), "xintiandi")
        self._make_ready(pickup, timedelta(hours=18))
        for code in ("PD-044", "PD-056", "PD-002"):
            product_id = Sku.objects.values_list("product_id", flat=True).get(code=f"{code}-1")
            services.set_favourite(member_id=self.star, product_id=product_id, wanted=True)

    def _review(self, order: Order) -> None:
        line = order.lines.get()
        shown = ProductImage.objects.filter(product__code="PD-001", position=0).values_list(
            "image", flat=True
        )
        picture = snapshot(shown[0], "r-star")
        with picture.open("rb") as file:
            photos = [redraw(file, picture.stat().st_size)]
        with clock.travel(self.now - timedelta(days=9)):
            review = services.write_review(
                line_id=line.pk,
                member_id=self.star,
                stars=5,
                text=full_width("清晨五点的味道,真的像池塘还没醒。留香到傍晚,已经种草了月下桂花。"),
                photos=photos,
            )
            services.decide_review(review_id=review.pk, shown=True, by="小运")
            services.answer_review(
                review_id=review.pk,
                answer=full_width("谢谢小满,桂花正当季,给您留了一支 2ml 小样。"),
                by="小运",
            )

    @staticmethod
    def _picture() -> Path | None:
        return next(iter(sorted((settings.MEDIA_ROOT / FOLDER).glob("r-*[0-9].jpg"))), None)

    def _pickup(self, member_id: int, code: str, ago: timedelta, store: str) -> Order:
        choices = Choices(coupon_ids=(), delivery="pickup", pickup_store_id=self.stores[store].pk)
        return self.order(member_id, [code], ago, choices=choices)

    def _make_ready(self, order: Order, ago: timedelta) -> None:
        with clock.travel(self.now - ago):
            services.mark_ready(fulfilment_id=order.fulfilments.get().pk, by="李娜")

    # Everybody else

    def _flash(self) -> None:
        """Some took the hand cream; all three candles are gone and five members wait for one."""
        for member_id in self.others[:7]:
            self.order(member_id, [FLASH], timedelta(minutes=50), place=member_id)
        for member_id in self.others[7:10]:
            self.order(member_id, [SOLD_OUT], timedelta(minutes=40), place=member_id)
        candle = Offer.objects.get(sku_id=self.skus[SOLD_OUT], ends_at__gt=self.now)
        for member_id in self.others[10:15]:
            services.wait_for_offer(offer_id=candle.pk, member_id=member_id)

    def _presale(self) -> None:
        """Deposits: the star's and another's balance can be paid now, two others' later."""
        agreed = Choices(coupon_ids=(), agrees_to_deposit=True)
        for member_id in (self.star, self.others[29]):
            self.order(member_id, [PRESALE_PAID], timedelta(days=5), choices=agreed)
        for member_id in self.others[30:32]:
            self.order(member_id, [PRESALE], timedelta(hours=9), choices=agreed)

    def _vouchers(self) -> None:
        """The star's two vouchers: one used a month ago, the other ends within a week."""
        order = self.order(self.star, ["VS-002-1"] * 2, timedelta(days=84))
        voucher = Voucher.objects.filter(line__order=order).order_by("number")[0]
        with clock.travel(self.now - timedelta(days=30)):
            services.redeem_voucher(code=voucher.code, store_id=self.stores["xintiandi"].pk, by="李娜")

    def _counters(self) -> None:
        """At the stores' counters: to be prepared, lying ready, handed over; and one order that nobody has paid."""
        hours = timedelta(hours=1)
        for place, (code, store) in enumerate(
            (
                ("PD-019-1", "xintiandi"),
                ("PD-024-1", "hubin"),
                ("PD-060-1", "taikooli"),
                ("PD-026-1", "xintiandi"),
            )
        ):
            order = self._pickup(self.others[15 + place], code, (5 + place) * hours, store)
            if place % 2:
                self._make_ready(order, 3 * hours)
        over = self._pickup(self.others[19], "PD-015-1", 30 * hours, "xintiandi")
        part = over.fulfilments.get()
        with clock.travel(self.now - 6 * hours):
            services.redeem_pickup(code=part.code, store_id=part.store_id, by="李娜")
        self.order(
            self.others[20], ["PD-003-2"], timedelta(minutes=4), is_paid=False, note="请放一支小样,谢谢"
        )
        for place, member_id in enumerate(self.others[21:25]):
            note = "送人的,请不要放价签" if place == 1 else ""
            code = ("PD-057-1", "PD-059-1", "PD-028-2", "PD-029-2")[
                place
            ]  # the first two lie in one store only
            self.order(member_id, [code], (2 + place) * hours, place=place, note=note)
        for code in ("PD-031-1", "PD-034-1", "PD-004-1"):  # three orders of one buyer: one parcel will do
            self.order(self.others[32], [code], 7 * hours)

    def _aftersales(self) -> None:
        """One in each state, for the desk."""
        days = timedelta(days=1)

        def bought(who: int, code: str, balance_fen: int = 0) -> Order:
            order = self.order(self.others[who], [code], 8 * days, balance_fen=balance_fen, place=who)
            return self.received(self.sent(order, 7 * days), 3 * days)

        waiting = self.order(self.others[0], ["PD-050-1"], 1 * days, balance_fen=90_000)
        self._apply(waiting, rules.REFUND_ONLY, timedelta(hours=5), "不想要了")
        self._apply(
            bought(1, "PD-043-2"), rules.RETURN_REFUND, timedelta(hours=7), "颜色和想象的不一样", photo=True
        )
        self._apply(bought(2, "PD-051-2"), rules.EXCHANGE, timedelta(hours=20), "尺码不合适")
        asked: dict[str, Any] = {"approved": "同意,请寄回。", "parcel": True}
        self._apply(bought(3, "PD-045-1"), rules.RETURN_REFUND, 2 * days, "尺码不合适", **asked)
        arrived = self._apply(bought(4, "PD-053-1"), rules.EXCHANGE, 2 * days, "有线头", **asked)
        services.receive_return(aftersale_id=arrived.pk, by="仓库")
        settled = self._apply(
            bought(5, "PD-036-1", 50_000), rules.RETURN_REFUND, 2 * days, "尺码不合适", **asked
        )
        services.receive_return(aftersale_id=settled.pk, by="仓库")
        refused = self._apply(bought(6, "PD-010-1"), rules.RETURN_REFUND, 2 * days, "味道不喜欢")
        services.refuse_aftersale(
            aftersale_id=refused.pk, reason=full_width("正装已拆封使用,可为您换一支同价小样礼盒。"), by="小运"
        )

    def _apply(
        self,
        order: Order,
        kind: str,
        ago: timedelta,
        reason: str,
        *,
        approved: str = "",
        parcel: bool = False,
        photo: bool = False,
    ) -> AfterSale:
        """An application about the first line; `approved` with these words, the parcel on its way back."""
        assert order.member_id is not None
        line: OrderLine = order.lines.order_by("pk")[0]
        with ExitStack() as stack:
            files = []
            if photo and (picture := self._picture()):
                files = [stack.enter_context(picture.open("rb"))]
            stack.enter_context(clock.travel(self.now - ago))
            made = services.apply_for_aftersale(
                order_id=order.pk,
                member_id=order.member_id,
                kind=kind,
                parts=[(line.pk, 1)],
                reason=reason,
                idempotency_key=f"demo-aftersale-{order.pk}",
                files=files,
            )
        if approved:
            with clock.travel(self.now - ago / 2):
                services.approve_aftersale(aftersale_id=made.pk, by="小运", answer=full_width(approved))
        if parcel:
            with clock.travel(self.now - ago / 3):
                services.send_back(
                    aftersale_id=made.pk,
                    member_id=order.member_id,
                    carrier="顺丰速运",
                    tracking_number=f"SF19{made.pk:010d}",
                )
        return made

    def _invoices(self) -> None:
        """Asked for by persons and companies; one is issued."""
        week, days = timedelta(days=7), timedelta(days=1)
        orders = []
        for place, member_id in enumerate(self.others[25:29]):
            bought = self.order(member_id, [f"PD-{35 + place:03d}-1"], week, place=place)
            orders.append(self.received(self.sent(bought, 6 * days), 2 * days))
        for place, order in enumerate(orders):
            assert order.member_id is not None
            title, tax_number = COMPANY if place % 2 else (order.receiver, "")
            invoice = services.request_invoice(
                order_id=order.pk,
                member_id=order.member_id,
                kind="company" if place % 2 else "person",
                title=title,
                tax_number=tax_number,
                email="fapiao@example.com",
            )
            if place == 0:
                services.issue_invoice(invoice_id=invoice.pk, number="26312000000012345678", by="小运")
