"""Money back piece by piece, and what shoppers apply for after the sale."""

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from core import clock
from core.audits import run_audit
from core.models import DomainEvent
from crm import sessions
from shop import aftersales_rules as rules
from shop import queries, services
from shop.errors import (
    AfterSaleRefused,
    BadPhoto,
    BadQuantity,
    NoSuchAfterSale,
    NoSuchOrder,
    NothingToRefund,
    WrongState,
)
from shop.models import (
    AfterSale,
    AfterSalePhoto,
    Order,
    OrderDiscount,
    OrderLine,
    Payment,
    PromotionExtra,
    Refund,
    Sku,
)
from tests.shop import builders
from tests.shop.booking_builders import phone
from tests.shop.stores import HUBIN, lay, level, store
from tests.shop.test_promotions import promotion

# A busy machine is not a slow strategy.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def money_is_back(*refunds: Refund, status: str = "SUCCESS") -> None:
    """As WeChat's notices say; of all refunds under way when none is named."""
    for refund in refunds or Refund.objects.filter(status="pending"):
        services.confirm_refund(
            out_refund_no=refund.out_refund_no, refund_id="5", status=status, refund_fen=refund.amount_fen
        )


def paid_order(
    *, quantity: int = 3, discount_fen: int = 1_001, shipping_fen: int = 800, buyer: Any = None
) -> tuple[Order, OrderLine, OrderLine]:
    """An order of two lines with a discount on the first and shipping, as pricing would have written it, paid."""
    order = builders.order(
        buyer or builders.member(),
        (builders.sku(price_fen=9_900), quantity),
        (builders.sku(price_fen=5_000), 1),
    )
    first, second = order.lines.order_by("pk")
    if discount_fen or shipping_fen:
        total = order.total_fen - discount_fen + shipping_fen
        OrderLine.objects.filter(pk=first.pk).update(
            discount_fen=discount_fen, total_fen=first.total_fen - discount_fen
        )
        Order.objects.filter(pk=order.pk).update(
            shipping_fen=shipping_fen, discount_fen=discount_fen, total_fen=total
        )
        if discount_fen:
            OrderDiscount.objects.create(
                order=order, line=first, step="promotion", source="promotion:1", amount_fen=discount_fen
            )
        order.refresh_from_db()
    builders.pay(order)
    order.refresh_from_db()
    first.refresh_from_db()
    return order, first, second


def shipped_order(**changes: Any) -> tuple[Order, OrderLine, OrderLine]:
    made = paid_order(**changes)
    services.ship_order(order_id=made[0].pk, carrier="顺丰速运", tracking_number="SF1")
    made[0].refresh_from_db()
    return made


def applied(order: Order, kind: str, *parts: tuple[OrderLine, int], **changes: Any) -> AfterSale:
    assert order.member_id is not None
    values = {"reason": "尺码不合适", "idempotency_key": "the-key-of-the-form", **changes}
    return services.apply_for_aftersale(
        order_id=order.pk,
        member_id=order.member_id,
        kind=kind,
        parts=[(line.pk, quantity) for line, quantity in parts],
        **values,
    )


def picture(side: int = 40, form: str = "PNG", mode: str = "RGBA") -> io.BytesIO:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, form)
    file.seek(0)
    return file


def findings() -> set[str]:
    return {finding.check for finding in run_audit()[1]}


def words(page: HttpResponse, name: str) -> list[str]:
    """What the pieces of a page say that bear a name."""
    found = re.findall(
        rf'data-test="{name}"[^>]*>(.*?)</p>|data-test="{name}"[^>]*>(.*?)</div>', page.content.decode()
    )
    return [re.sub(r"<[^>]+>", "", a or b).strip() for a, b in found]


def stock_of(line: OrderLine) -> tuple[int, int]:
    return builders.stock_of(line.sku)


# --- What a piece is worth -----------------------------------------------------------------------------------------
@UNHURRIED
@given(
    total=st.integers(0, 10**9),
    quantity=st.integers(1, 999),
    portions=st.lists(st.integers(1, 200), max_size=30),
    cuts=st.lists(st.integers(0, 10**5), max_size=30),
)
def test_pieces_returned_in_any_portions_sum_to_exactly_what_was_paid(total, quantity, portions, cuts):
    back = returned = 0
    for portion, cut in zip([*portions, 999], [*cuts, *[0] * 31], strict=False):
        count = min(portion, quantity - returned)
        back += min(cut, max(total - back - 1, 0)) if returned < quantity else 0
        share = rules.share_fen(
            total_fen=total, quantity=quantity, refunded_fen=back, refunded_quantity=returned, returning=count
        )
        assert 0 <= share <= total - back
        back, returned = back + share, returned + count
    assert (back, returned) == (total, quantity)


@UNHURRIED
@given(amount=st.integers(0, 10**6), rooms=st.lists(st.integers(0, 10**6), max_size=5))
def test_sources_give_in_their_order_and_never_more_than_they_have(amount, rooms):
    if amount > sum(rooms):
        with pytest.raises(ValueError, match="more than there is"):
            rules.poured(amount, rooms)
        return
    taken = rules.poured(amount, rooms)
    assert sum(taken) == amount
    assert all(0 <= part <= room for part, room in zip(taken, rooms, strict=True))
    touched = [part < room for part, room in zip(taken, rooms, strict=True)]
    assert not any(later for place, short in enumerate(touched) if short for later in taken[place + 1 :])


# --- Refunds of parts ----------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_piece_by_piece_and_then_the_rest_gives_back_exactly_what_was_paid():
    order, first, second = paid_order()
    buyer = order.member_id
    services.refund_lines(order_id=order.pk, parts=[(first.pk, 1)], reason="缺货", by="小运")
    order.refresh_from_db()
    assert order.is_refunding  # nothing of it may be shipped now
    money_is_back()
    order.refresh_from_db()
    first.refresh_from_db()
    assert (order.status, order.is_refunding, order.refunded_fen) == ("paid", False, 28_699 // 3)
    assert (first.refunded_quantity, first.refunded_fen) == (1, 28_699 // 3)
    assert (stock_of(first), stock_of(second)) == ((10, 2), (10, 1))
    services.refund_lines(order_id=order.pk, parts=[(second.pk, 1)], reason="缺货", by="小运")
    money_is_back()
    assert findings() == set()
    rest = services.refund_order(order_id=order.pk, reason="不要了", by="小运")
    assert services.refund_order(order_id=order.pk, reason="不要了", by="小运").pk == rest.pk
    money_is_back()
    order.refresh_from_db()
    paid = 3 * 9_900 - 1_001 + 5_000 + 800
    assert (order.status, order.refunded_fen, order.paid_fen) == ("refunded", paid, paid)
    assert sum(Refund.objects.values_list("amount_fen", flat=True)) == paid
    assert (stock_of(first), stock_of(second)) == ((10, 0), (10, 0))
    assert apps.get_model("crm", "MemberStats").objects.get(member_id=buyer).refunded_fen == paid
    told = DomainEvent.objects.filter(name="shop.OrderRefunded").order_by("pk")
    assert [event.payload["is_whole"] for event in told] == [False, False, True]
    assert findings() == set()


@pytest.mark.django_db
def test_what_was_not_given_back_is_shipped():
    order, first, second = paid_order()
    services.refund_lines(order_id=order.pk, parts=[(first.pk, 2)], reason="缺货", by="小运")
    with pytest.raises(WrongState):
        services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    money_is_back()
    services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    assert (stock_of(first), stock_of(second)) == ((9, 0), (9, 0))
    assert findings() == set()


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", ["many", "negative", "foreign", "shipping", "nothing", "unpaid"])
def test_what_cannot_be_given_back_is_refused_and_writes_nothing(wrong):
    order, first, _second = shipped_order()
    other = builders.order(builders.member(), (builders.sku(), 1))
    asked: dict[str, Any] = {
        "many": {"parts": [(first.pk, 2), (first.pk, 2)]},
        "negative": {"parts": [(first.pk, -1)]},
        "foreign": {"parts": [(other.lines.get().pk, 1)]},
        "shipping": {"shipping_fen": 801},
        "nothing": {"parts": []},
        "unpaid": {"order_id": other.pk, "parts": [(other.lines.get().pk, 1)]},
    }[wrong]
    with pytest.raises((NothingToRefund, BadQuantity, NoSuchOrder, WrongState)):
        services.refund_lines(**{"order_id": order.pk, "reason": "", **asked})
    assert Refund.objects.count() == 0
    assert findings() == set()


@pytest.mark.django_db
def test_a_refund_wechat_closes_frees_its_pieces_and_can_be_repeated_exactly():
    order, first, _second = paid_order()
    (refund,) = services.refund_lines(order_id=order.pk, parts=[(first.pk, 1)], reason="缺货", cause="one")
    money_is_back(status="CLOSED")
    first.refresh_from_db()
    order.refresh_from_db()
    assert (first.refunded_quantity, first.refunded_fen, order.is_refunding) == (0, 0, False)
    assert Payment.objects.get().refunded_fen == 0
    again = services.repeat_refund(refund_id=refund.pk, by="小运")
    assert (again.amount_fen, again.out_refund_no != refund.out_refund_no) == (refund.amount_fen, True)
    assert services.repeat_refund(refund_id=refund.pk).pk == again.pk
    money_is_back()
    assert findings() == set()


# --- Applications --------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_return_goes_its_whole_way():
    order, first, _second = shipped_order()
    aftersale = applied(
        order, rules.RETURN_REFUND, (first, 2), files=[picture(), picture(3000, "JPEG", "RGB")]
    )
    assert applied(order, rules.RETURN_REFUND, (first, 2)).pk == aftersale.pk  # sent twice
    photo = AfterSalePhoto.objects.order_by("pk").last()
    assert photo is not None
    assert (photo.width, AfterSalePhoto.objects.count()) == (1600, 2)
    with photo.file.open() as file, Image.open(file) as kept:
        assert kept.format == "JPEG"
    with pytest.raises(AfterSaleRefused):  # one application per line at a time
        applied(order, rules.REFUND_ONLY, (first, 1), idempotency_key="another-key-here")
    services.approve_aftersale(aftersale_id=aftersale.pk, by="小运", return_address="上海市延平路 1 号")
    assert order.member_id is not None
    services.send_back(
        aftersale_id=aftersale.pk, member_id=order.member_id, carrier="中通", tracking_number="Z 1"
    )
    for _ in range(2):
        services.receive_return(aftersale_id=aftersale.pk, by="仓库")
    assert stock_of(first) == (9, 0)
    aftersale.refresh_from_db()
    assert (aftersale.status, aftersale.tracking_number) == ("refunding", "Z1")
    assert findings() == set()
    money_is_back()
    aftersale.refresh_from_db()
    order.refresh_from_db()
    assert (aftersale.status, aftersale.is_over, order.status) == ("refunded", True, "shipped")
    assert order.refunded_fen == 28_699 * 2 // 3 == aftersale.amount_fen
    steps = list(aftersale.log.values_list("status", flat=True))
    assert steps == ["applied", "approved", "returned", "received", "refunding", "refunded"]
    assert findings() == set()


@pytest.mark.django_db
def test_an_exchange_holds_and_sends_the_other_variant():
    order, first, _second = shipped_order()
    wanted = builders.sku(stock=2, price_fen=9_900, product=first.sku.product)
    aftersale = applied(order, rules.EXCHANGE, (first, 2), new_skus={first.pk: wanted.pk})
    services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
    assert builders.stock_of(wanted) == (2, 2)
    assert findings() == set()
    assert order.member_id is not None
    services.send_back(
        aftersale_id=aftersale.pk, member_id=order.member_id, carrier="中通", tracking_number="Z1"
    )
    services.receive_return(aftersale_id=aftersale.pk, by="仓库", is_sellable=False)
    for _ in range(2):
        services.ship_exchange(aftersale_id=aftersale.pk, carrier="顺丰", tracking_number="SF9", by="仓库")
    aftersale.refresh_from_db()
    assert (aftersale.status, builders.stock_of(wanted), stock_of(first)) == ("exchanged", (0, 0), (7, 0))
    assert Refund.objects.count() == 0
    assert findings() == set()


@pytest.mark.django_db
def test_an_exchange_comes_from_another_store_when_the_one_that_sent_it_has_none(client):
    order, first, _second = shipped_order()
    wanted, lake = builders.sku(stock=0, price_fen=9_900, product=first.sku.product), store(HUBIN)
    lay(wanted, lake, 2)
    assert wanted.pk in queries.applicable_lines(order)[0].in_stock
    aftersale = exchanged(order, first, 2, wanted, "from-elsewhere")
    assert (level(wanted, lake), findings()) == ((2, 2), set())
    client.force_login(User.objects.create_superuser("yunying"))
    page = client.get(reverse("admin:shop_aftersale_change", args=[aftersale.pk])).content.decode()
    assert lake.name in page
    services.ship_exchange(
        aftersale_id=aftersale.pk, carrier="顺丰", tracking_number="SF9， SF 10,SF9", by="湖滨店"
    )
    aftersale.refresh_from_db()
    assert (level(wanted, lake), aftersale.new_tracking_number, findings()) == ((0, 0), "SF9、SF10", set())


def exchanged(order: Order, line: OrderLine, quantity: int, new: Sku, key: str) -> AfterSale:
    """Up to where the goods are back and the other variant waits to be sent."""
    aftersale = applied(
        order, rules.EXCHANGE, (line, quantity), new_skus={line.pk: new.pk}, idempotency_key=key
    )
    return came_back(aftersale)


def came_back(aftersale: AfterSale) -> AfterSale:
    services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
    member_id = aftersale.order.member_id
    assert member_id is not None
    services.send_back(aftersale_id=aftersale.pk, member_id=member_id, carrier="中通", tracking_number="Z1")
    return services.receive_return(aftersale_id=aftersale.pk, by="仓库")


@pytest.mark.django_db
def test_what_was_exchanged_and_comes_back_again_is_booked_as_what_she_held(client):
    order, first, _second = shipped_order()
    wanted = builders.sku(stock=2, price_fen=9_900, product=first.sku.product, name="换来的一款")
    once = exchanged(order, first, 1, wanted, "exchange-the-first")
    services.ship_exchange(aftersale_id=once.pk, carrier="顺丰", tracking_number="SF9", by="仓库")
    assert (stock_of(first), builders.stock_of(wanted)) == ((8, 0), (1, 0))
    with pytest.raises(AfterSaleRefused, match="换来的一款 ×1"):  # two of one and one of the other: which?
        applied(order, rules.RETURN_REFUND, (first, 1), idempotency_key="which-of-them-is-it")
    held = {"held_skus": {first.pk: wanted.pk}}
    with pytest.raises(AfterSaleRefused):  # she has one of these
        applied(order, rules.RETURN_REFUND, (first, 2), idempotency_key="which-of-them-is-it", **held)
    again = applied(order, rules.RETURN_REFUND, (first, 1), idempotency_key="the-return-of-it", **held)
    came_back(again)
    assert (stock_of(first), builders.stock_of(wanted)) == ((8, 0), (2, 0))
    money_is_back()
    assert order.member is not None
    carrier = HttpResponse()
    sessions.log_in(carrier, order.member)
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    assert "换来的一款" in client.get(f"/aftersales/{again.number}/").content.decode()
    asked = {"kind": "exchange", "line": first.pk, f"new-{first.pk}": wanted.pk, f"quantity-{first.pk}": 9}
    form = client.post(f"/orders/{order.number}/aftersales/", {**asked, "key": "k" * 20}).content.decode()
    assert re.search(rf'value="{wanted.pk}" selected', form)  # what she chose, after a refusal
    form = client.get(f"/orders/{order.number}/aftersales/?kind=exchange").content.decode()
    assert re.search(rf'name="quantity-{first.pk}" value="1"', form)  # another size of one, not of all
    assert (
        applied(order, rules.EXCHANGE, (first, 2), idempotency_key="the-others-of-it").lines.get().held_sku
        is None
    )
    assert findings() == set()
    AfterSale.objects.get(pk=again.pk).lines.update(held_sku=None)
    assert findings() == {"shop.returns_are_booked_as_what_came_back"}


@pytest.mark.django_db
def test_an_exchange_that_cannot_be_sent_becomes_money(client):
    order, first, _second = shipped_order()
    wanted = builders.sku(stock=2, price_fen=9_900, product=first.sku.product)
    aftersale = exchanged(order, first, 2, wanted, "the-key-of-the-form")
    assert (aftersale.status, builders.stock_of(wanted)) == ("received", (2, 2))
    client.force_login(User.objects.create_superuser("yunying"))
    page = client.get(reverse("admin:shop_aftersale_change", args=[aftersale.pk])).content.decode()
    button = f"{reverse('admin:shop_aftersale_changelist')}{aftersale.pk}/refund/"
    assert button in page
    assert "您想换的款式已无法提供" in client.get(button, HTTP_HX_REQUEST="true").content.decode()
    for answer in ("您要的款式已售罄", "再来一次"):
        client.post(button, {"_form_submitted": "on", "answer": answer}, HTTP_HX_REQUEST="true")
    aftersale.refresh_from_db()
    assert (aftersale.kind, aftersale.status, aftersale.answer) == (
        "return_refund",
        "refunding",
        "您要的款式已售罄",
    )
    assert (builders.stock_of(wanted), stock_of(first)) == ((2, 0), (9, 0))
    assert Refund.objects.get().amount_fen == aftersale.amount_fen == 28_699 * 2 // 3
    assert findings() == set()
    money_is_back()
    aftersale.refresh_from_db()
    assert (aftersale.status, aftersale.log.filter(note__contains="您要的款式已售罄").count()) == (
        "refunded",
        1,
    )
    with pytest.raises(WrongState):
        services.ship_exchange(aftersale_id=aftersale.pk, carrier="顺丰", tracking_number="SF9", by="仓库")
    order.refresh_from_db()
    assert order.refunded_fen == aftersale.amount_fen
    assert findings() == set()


@pytest.mark.django_db
def test_what_was_given_back_meanwhile_is_not_exchanged_too():
    order, first, _second = shipped_order()
    aftersale = applied(order, rules.EXCHANGE, (first, first.quantity))
    services.refund_lines(order_id=order.pk, parts=[(first.pk, first.quantity)], reason="坏了", by="小运")
    before = stock_of(first)
    with pytest.raises(AfterSaleRefused):
        services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
    aftersale.refresh_from_db()
    assert (aftersale.status, stock_of(first)) == ("applied", before)


@pytest.mark.django_db
def test_a_price_that_fell_is_made_good_and_the_goods_stay():
    order, first, _second = shipped_order(discount_fen=0, shipping_fen=0)
    with pytest.raises(AfterSaleRefused):
        applied(order, rules.PRICE_PROTECTION, (first, 3))
    first.sku.price_fen = 9_000
    first.sku.save(update_fields=["price_fen"])
    services.refresh_products()
    form = phone(order.member).get(
        reverse("shop:aftersales_apply", args=[order.number]), {"kind": "price_protection"}
    )
    assert [words(form, name) for name in ("aftersale-price", "aftersale-fallen")] == [
        ["3 件：实付 ¥297，现价 ¥270", "1 件：实付 ¥50，现价 ¥50"],
        ["¥27"],
    ]
    aftersale = applied(order, rules.PRICE_PROTECTION, (first, 3))
    assert "¥297.00" in aftersale.log.get().note  # what the shop reads, whatever the price is by then
    services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
    money_is_back()
    first.refresh_from_db()
    order.refresh_from_db()
    assert (first.refunded_quantity, first.refunded_fen, order.status) == (0, 2_700, "shipped")
    with pytest.raises(AfterSaleRefused):
        applied(order, rules.PRICE_PROTECTION, (first, 3), idempotency_key="another-key-here")
    services.refund_order(order_id=order.pk, reason="退货")
    money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == ("refunded", order.paid_fen)
    assert findings() == set()


@pytest.mark.django_db
def test_a_gift_goes_back_with_the_goods_for_which_it_was_given():
    dress, scent, given = (builders.sku(price_fen=fen) for fen in (20_000, 10_000, 3_000))
    rule = promotion("gift", title="满 250 赠香皂", threshold_fen=25_000, exclusion_group="")
    PromotionExtra.objects.create(promotion=rule, sku=given)
    promotion(amount_fen=6_000)  # ¥60 off: the gift's condition looks at the prices before it
    order = builders.order(builders.member(), (dress, 1), (scent, 2))
    builders.pay(order)
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1")
    order.refresh_from_db()
    lines = {line.sku_id: line for line in order.lines.all()}
    assert (order.total_fen, len(lines)) == (34_000, 3)
    form = phone(order.member).get(
        reverse("shop:aftersales_apply", args=[order.number]), {"kind": "return_refund"}
    )
    assert words(form, "aftersale-gift") == ["满 ¥250 的赠品。若保留的商品不足此数，需一并退回。"]

    def returned(
        *parts: tuple[Sku, int], key: str = "", kind: str = rules.RETURN_REFUND
    ) -> list[tuple[int, int]]:
        made = applied(
            order,
            kind,
            *[(lines[sku.pk], count) for sku, count in parts],
            idempotency_key=f"the-return-{key}",
        )
        return list(made.lines.order_by("pk").values_list("line__sku_id", "quantity"))

    assert returned((scent, 1), key="enough") == [(scent.pk, 1)]  # ¥300 stay
    assert returned((dress, 1), key="less") == [(dress.pk, 1), (given.pk, 1)]
    for aftersale in AfterSale.objects.order_by("pk"):
        came_back(aftersale)
    assert [builders.stock_of(sku) for sku in (dress, scent, given)] == [(10, 0), (9, 0), (10, 0)]
    services.refund_order(order_id=order.pk, reason="退货")
    money_is_back()
    order.refresh_from_db()
    assert (order.refunded_fen, order.status, findings()) == (34_000, "refunded", set())

    unsent = builders.order(builders.member(), (dress, 1), (scent, 1))
    builders.pay(unsent)
    unsent.refresh_from_db()
    stopped = applied(unsent, rules.REFUND_ONLY, (unsent.lines.get(sku=dress), 1))
    services.approve_aftersale(aftersale_id=stopped.pk, by="小运")
    money_is_back()
    assert (builders.stock_of(given), builders.stock_of(scent)[1], findings()) == ((10, 0), 1, set())


@pytest.mark.django_db
def test_unanswered_and_forgotten_applications_go_on_by_themselves():
    order, first, second = paid_order()
    waiting = applied(order, rules.REFUND_ONLY, (first, 1))
    assert services.settle_due_aftersales() == 0
    with clock.travel(rules.ANSWER_TIME + timedelta(minutes=1)):
        assert services.settle_due_aftersales() == 1
        money_is_back()
        services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    waiting.refresh_from_db()
    assert (waiting.status, waiting.answer) == ("refunded", "我们未能及时答复，已自动同意您的申请。")
    back = applied(order, rules.RETURN_REFUND, (first, 1), idempotency_key="another-key-here")
    gone = applied(order, rules.REFUND_ONLY, (second, 1), idempotency_key="a-third-key-here")
    services.approve_aftersale(aftersale_id=back.pk, by="小运")
    with clock.travel(rules.RETURN_TIME + timedelta(minutes=1)):
        services.settle_due_aftersales()
    back.refresh_from_db()
    gone.refresh_from_db()
    assert back.status == "closed"
    assert (gone.status, gone.due_at) == ("applied", None)  # money for goods that are gone: a person decides
    assert findings() == set()


@pytest.mark.django_db
def test_the_shop_refuses_and_the_shopper_takes_back_and_others_see_nothing():
    order, first, second = shipped_order()
    refused = applied(order, rules.REFUND_ONLY, (first, 1))
    with pytest.raises(WrongState):
        services.refuse_aftersale(aftersale_id=refused.pk, reason=" ", by="小运")
    services.refuse_aftersale(aftersale_id=refused.pk, reason="已穿着", by="小运")
    for page in ("/aftersales/", f"/aftersales/{refused.number}/"):  # no money came back
        assert "申请金额" in phone(order.member).get(page).content.decode()
    with pytest.raises(WrongState):
        services.approve_aftersale(aftersale_id=refused.pk, by="小运")
    mine = applied(order, rules.RETURN_REFUND, (second, 1), idempotency_key="another-key-here")
    with pytest.raises(NoSuchAfterSale):
        services.cancel_aftersale(aftersale_id=mine.pk, member_id=builders.member().pk)
    assert order.member_id is not None
    services.cancel_aftersale(aftersale_id=mine.pk, member_id=order.member_id)
    mine.refresh_from_db()
    assert mine.status == "closed"
    applied(order, rules.RETURN_REFUND, (first, 1), idempotency_key="a-third-key-here")  # again, now better
    assert Refund.objects.count() == 0
    assert findings() == set()


@pytest.mark.django_db
def test_money_wechat_refuses_waits_for_the_shop_and_is_asked_for_again():
    order, first, _second = shipped_order()
    aftersale = applied(order, rules.REFUND_ONLY, (first, 1))
    services.approve_aftersale(aftersale_id=aftersale.pk, by="小运")
    money_is_back(status="CLOSED")
    aftersale.refresh_from_db()
    assert aftersale.status == "approved"
    for _ in range(2):
        services.pay_back(aftersale_id=aftersale.pk, by="小运")
    money_is_back()
    aftersale.refresh_from_db()
    assert (aftersale.status, Refund.objects.count()) == ("refunded", 2)
    assert findings() == set()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong", ["kind", "quantity", "huge", "foreign", "nothing", "early", "late", "member"]
)
def test_a_wrong_application_is_refused_and_writes_nothing(wrong):
    order, first, _second = shipped_order()
    unshipped, its_line, _other = paid_order()
    kind, parts, when = rules.RETURN_REFUND, [(first, 1)], timedelta()
    match wrong:
        case "kind":
            kind = "🙂" * 5_000
        case "quantity":
            parts = [(first, 0)]
        case "huge":
            parts = [(first, 10**9)]
        case "foreign":
            parts = [(its_line, 1)]
        case "nothing":
            parts = []
        case "early":
            order, parts = unshipped, [(its_line, 1)]
        case "late":
            services.receive_order(order_id=order.pk)
            when = rules.APPLY_WITHIN + timedelta(days=1)
        case "member":
            order.member_id = builders.member().pk
    with clock.travel(when), pytest.raises(Exception) as refusal:
        applied(order, kind, *parts)
    assert 400 <= refusal.value.status < 500  # type: ignore[attr-defined]
    assert AfterSale.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", ["text", "many", "bomb", "large", "svg"])
def test_what_is_no_photo_is_refused_before_anything_is_written(wrong, monkeypatch):
    order, first, _second = shipped_order()
    monkeypatch.setattr(rules, "MAX_PHOTO_BYTES", 5_000)
    monkeypatch.setattr("shop.services.aftersales_photos.MAX_PIXELS", 90_000)
    files = {
        "text": [io.BytesIO(b"<script>alert(1)</script>")],
        "many": [picture() for _ in range(rules.MAX_PHOTOS + 1)],
        "bomb": [picture(301, mode="1")],
        "large": [io.BytesIO(picture().getvalue() + b"\0" * 5_000)],
        "svg": [io.BytesIO(b'<svg xmlns="http://www.w3.org/2000/svg"/>')],
    }[wrong]
    with pytest.raises(BadPhoto):
        applied(order, rules.RETURN_REFUND, (first, 1), files=files)
    assert AfterSale.objects.count() == 0
