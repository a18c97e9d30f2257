"""预售: a deposit now, the balance later; every fen in its stage, whatever comes in whichever order."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock, tokens
from core.audits import run_audit
from crm.models import Touch
from shop import queries, services
from shop.errors import PaymentNotPossible, PresaleRefused, WrongState
from shop.models import Offer, Order, OrderLog, Payment, Presale, PresaleOrder, Refund, Sku
from shop.pages import frame
from shop.pages.presale import shown_order_terms
from shop.pricing.types import Choices
from shop.services import presale as reminding
from shop.services.payments import Wish, arrange_payment
from tests.shop import builders, instruments
from tests.shop.test_limits import shopper, visitor
from tests.shop.test_races import one_holds_while_other_waits
from tests.shop.test_recovery import follows, open_window

__all__ = ["shopper", "visitor"]
CHECK = "shop.presales_are_paid_in_their_stages"
IN_WINDOW, AFTER = timedelta(days=3), timedelta(days=6)
AGREED = Choices(agrees_to_deposit=True)


def presale(
    *, keeps: bool = True, deposit_fen: int = 5_000, worth_fen: int | None = 10_000
) -> tuple[Sku, Offer]:
    """¥399 for ¥299; ¥50 of deposit count as ¥100: ¥249 in all. The balance is due from day 2 to day 5."""
    moment = clock.now()
    sku = builders.sku(stock=10, price_fen=39_900)
    offer = instruments.offer(sku, kind=Offer.PRESALE, name="新品预售", price_fen=29_900, per_member_limit=2)
    Presale.objects.create(
        offer=offer,
        deposit_fen=deposit_fen,
        worth_fen=worth_fen,
        balance_starts_at=moment + timedelta(days=2),
        balance_ends_at=moment + timedelta(days=5),
        ships_by=clock.today() + timedelta(days=20),
        keeps_deposit=keeps,
    )
    return sku, offer


def ordered(member: Any, sku: Sku, pieces: int = 1, choices: Choices = AGREED) -> Order:
    return services.place_order(
        member_id=member.pk,
        lines=[(sku.pk, pieces)],
        address=builders.ADDRESS,
        idempotency_key=f"presale-{member.pk}-{Order.objects.count()}",
        choices=choices,
    )


def back(refund: Refund) -> None:
    """As a notice of WeChat Pay would, twice."""
    for _twice in range(2):
        services.confirm_refund(
            out_refund_no=refund.out_refund_no, refund_id="r", status="SUCCESS", refund_fen=refund.amount_fen
        )


@pytest.mark.django_db
def test_deposit_then_balance_then_everything_goes_back(shopper: Any) -> None:
    sku, offer = presale()
    order = ordered(shopper, sku, 2)
    deposit = builders.payment(order)
    assert (order.total_fen, deposit.amount_fen, deposit.stage) == (49_800, 10_000, "deposit")
    for _twice in range(2):
        builders.confirm(deposit, "42-deposit")
    order.refresh_from_db()
    terms = PresaleOrder.objects.get()
    assert (order.status, order.due_fen, order.due_at) == ("pending_payment", 39_800, terms.balance_ends_at)
    with pytest.raises(PaymentNotPossible, match="尾款"):
        builders.payment(order)
    with pytest.raises(WrongState):
        services.change_price(order_id=order.pk, goods_fen=1, shipping_fen=0, reason="改", by="小运")
    assert (services.expire_orders(), run_audit()[1]) == (0, [])
    with clock.travel(IN_WINDOW):
        balance = builders.payment(order)
        assert (balance.amount_fen, balance.stage) == (39_800, "balance")
        for _twice in range(2):
            builders.confirm(balance, "42-balance")
        order.refresh_from_db()
        assert (order.status, order.paid_fen, Refund.objects.exists()) == ("paid", 49_800, False)
        assert run_audit()[1] == []
        services.refund_order(order_id=order.pk, reason="不想要了")
        for refund in Refund.objects.order_by("pk"):
            back(refund)
        order.refresh_from_db()
        offer.refresh_from_db()
        assert (order.status, order.refunded_fen) == ("refunded", 49_800)
        refunded = Refund.objects.values_list("payment_id", "amount_fen")
        assert sorted(refunded) == [(deposit.pk, 10_000), (balance.pk, 39_800)]
        assert (offer.taken, builders.stock_of(sku), run_audit()[1]) == (0, (10, 0), [])
    actions = list(OrderLog.objects.filter(order=order).values_list("action", flat=True))
    assert [word for word in actions if word in ("placed", "deposit_paid", "paid")] == [
        "placed",
        "deposit_paid",
        "paid",
    ]


@pytest.mark.django_db
def test_what_a_presale_does_not_take(shopper: Any) -> None:
    sku, offer = presale()
    other = builders.sku()
    with pytest.raises(PresaleRefused, match="定金不退") as refusal:
        ordered(shopper, sku, choices=Choices())
    assert refusal.value.code == "not_agreed"
    for lines in ([(sku.pk, 1), (other.pk, 1)], [(sku.pk, 3)]):
        with pytest.raises(PresaleRefused) as refusal:
            services.place_order(
                member_id=shopper.pk, lines=lines, address=builders.ADDRESS, idempotency_key="presale-alone",
                choices=AGREED,
            )  # fmt: skip
        assert refusal.value.code == "presale_alone"
    offer.refresh_from_db()
    assert (Order.objects.exists(), offer.taken, builders.stock_of(sku)) == (False, 0, (10, 0))
    Presale.objects.all().delete()  # without terms nobody gets its price
    assert services.quote(member_id=shopper.pk, lines=[(sku.pk, 1)]).total_fen == 39_900


@pytest.mark.django_db
@pytest.mark.parametrize("keeps", [True, False])
def test_a_balance_that_is_not_paid_closes_the_order(shopper: Any, wechat_window: None, keeps: bool) -> None:
    sku, offer = presale(keeps=keeps, deposit_fen=14_950, worth_fen=None)  # as much as the balance
    order = ordered(shopper, sku)
    deposit = builders.payment(order)
    builders.confirm(deposit)
    with clock.travel(IN_WINDOW):
        late = builders.payment(Order.objects.get())
        assert late.amount_fen == deposit.amount_fen
        Payment.objects.filter(pk=late.pk).update(status=Payment.CLOSED)
    with clock.travel(AFTER):
        assert (services.expire_orders(), services.expire_orders()) == (1, 0)
        order.refresh_from_db()
        offer.refresh_from_db()
        assert (order.status, offer.taken, builders.stock_of(sku)) == ("cancelled", 0, (10, 0))
        assert PresaleOrder.objects.get().outcome == ("kept" if keeps else "returned")
        assert list(Refund.objects.values_list("payment_id", "kind")) == (
            [] if keeps else [(deposit.pk, "deposit")]
        )
        for refund in Refund.objects.all():
            assert shown_order_terms(order)["words"] == "定金将原路退回。"
            back(refund)
            assert shown_order_terms(order)["words"] == "定金已原路退回。"
        assert run_audit()[1] == []
        builders.confirm(late)  # its money comes after all
        for refund in Refund.objects.all():
            back(refund)
        assert list(Refund.objects.filter(payment=late).values_list("kind", "amount_fen")) == [
            ("late", 14_950)
        ]
        order.refresh_from_db()
        assert (order.status, run_audit()[1]) == ("cancelled", [])


@pytest.mark.django_db
def test_a_second_deposit_is_never_the_balance(shopper: Any) -> None:
    sku, _offer = presale(deposit_fen=14_950, worth_fen=None)
    order = ordered(shopper, sku)
    first = builders.payment(order)
    Payment.objects.filter(pk=first.pk).update(status=Payment.CLOSED)
    second = builders.payment(order)
    builders.confirm(second)
    with clock.travel(IN_WINDOW):
        builders.confirm(first)
    order.refresh_from_db()
    assert order.awaits_balance
    assert Refund.objects.get().kind == Refund.DUPLICATE
    builders.confirm(second, paid_fen=1)
    assert (Payment.objects.get(pk=second.pk).difference != "", run_audit()[1]) == (True, [])


@pytest.mark.django_db
def test_the_shop_gives_the_deposit_back_to_her_balance(shopper: Any) -> None:
    services.credit_stored_value(
        member_id=shopper.pk,
        principal_fen=6_000,
        bonus_fen=0,
        reason="充值",
        idempotency_key="credit-presale",
    )
    sku, _offer = presale()
    order = ordered(shopper, sku)
    wish = Wish(stored_value_fen=6_000)
    assert arrange_payment(order_id=order.pk, member_id=shopper.pk, wish=wish).payment is None
    order.refresh_from_db()
    assert (order.awaits_balance, queries.balance_for(shopper.pk).principal) == (True, 1_000)
    services.cancel_order(order_id=order.pk, reason="缺货", actor="小运")
    assert (PresaleOrder.objects.get().outcome, queries.balance_for(shopper.pk).principal) == (
        "returned",
        6_000,
    )
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_her_own_cancelling_keeps_the_deposit_and_corruption_is_found(shopper: Any) -> None:
    sku, _offer = presale()
    order = ordered(shopper, sku)
    builders.pay(order)
    planted = [
        "UPDATE shop_payment SET stage = ''",
        "UPDATE shop_order SET deposit_fen = deposit_fen + 1",
        "UPDATE shop_order SET deposit_paid_at = NULL",
        "UPDATE shop_presaleorder SET outcome = 'kept'",
        "DELETE FROM shop_presaleorder",
    ]
    for corruption in planted:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(corruption)
            assert CHECK in {finding.check for finding in run_audit()[1]}, corruption
            transaction.set_rollback(True)
    services.cancel_order(order_id=order.pk, member_id=shopper.pk, reason="不想要了")
    assert (PresaleOrder.objects.get().outcome, Refund.objects.exists()) == ("kept", False)
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pays_first", [True, False])
def test_the_balance_against_the_close(pays_first: bool) -> None:
    sku, offer = presale()
    order = ordered(builders.member(), sku)
    builders.pay(order)
    with clock.travel(IN_WINDOW):
        balance = builders.payment(Order.objects.get())

        def release() -> Order:
            return services.release_order(order_id=order.pk, reason="未付尾款", actor="system")

        def confirm() -> Order:
            return builders.confirm(balance)

        if pays_first:
            _paid, released = one_holds_while_other_waits(confirm, release)
            assert isinstance(released, WrongState)
        else:
            Payment.objects.filter(pk=balance.pk).update(status=Payment.CLOSED)
            one_holds_while_other_waits(release, confirm)
        order.refresh_from_db()
        offer.refresh_from_db()
        assert (order.status, offer.taken) == (("paid", 1) if pays_first else ("cancelled", 0))
        assert list(Refund.objects.values_list("kind", flat=True)) == ([] if pays_first else ["late"])
        assert run_audit()[1] == []


@pytest.mark.django_db
def test_she_is_reminded_once_when_the_balance_can_be_paid(shopper: Any) -> None:
    open_window("o-test")
    follows("o-test")
    sku, _offer = presale()
    builders.pay(ordered(shopper, sku))
    assert services.remind_of_balances() == 0
    with clock.travel(timedelta(days=2, minutes=1)):
        assert services.remind_of_balances() == 0  # the chat is closed by now: asked again in two hours
        assert PresaleOrder.objects.get().reminder == "no_way"
        open_window_again()
    with clock.travel(timedelta(days=2, hours=3)):
        assert (services.remind_of_balances(), services.remind_of_balances()) == (1, 0)
    assert Touch.objects.filter(origin__startswith="balance:").count() == 1
    assert PresaleOrder.objects.get().reminder == "custom"


@pytest.mark.django_db
def test_one_order_that_cannot_be_reminded_stops_nobody_elses_reminder(
    shopper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_window("o-test")
    follows("o-test")
    sku, _offer = presale()
    broken, whole = [builders.pay(ordered(shopper, sku)) for _ in range(2)]
    send = reminding.send_order_message

    def sent(*, order: Order, kind: str) -> str:
        if order == broken:
            raise RuntimeError("a row that nobody expected")
        return send(order=order, kind=kind)

    monkeypatch.setattr(reminding, "send_order_message", sent)
    with clock.travel(timedelta(days=2, minutes=1)):
        open_window_again()
        assert services.remind_of_balances() == 1
        waiting = PresaleOrder.objects.filter(remind_at__isnull=False)
        assert (waiting.get().order_id, PresaleOrder.objects.get(order=whole).reminder) == (
            broken.pk,
            "custom",
        )


def open_window_again() -> None:
    from django.apps import apps

    apps.get_model("wechat", "ReplyWindow").objects.all().delete()
    open_window("o-test")


def test_the_pages_of_a_presale(visitor: Client, shopper: Any) -> None:
    frame.forget_fragments()
    sku, _offer = presale()
    html = visitor.get(f"/p/{sku.product_id}/").content.decode()
    for words in ("付定金", "可抵 ¥100", "199", "定金不退"):
        assert words in html, words
    here = f"/checkout/?line={sku.pk}:1"
    html = visitor.get(here).content.decode()
    assert 'data-test="deposit-agree"' in html
    fields = {"line": f"{sku.pk}:1", "from": "product", "key": "k" * 20, "total": "24900"}
    fields["address"] = str(queries.addresses_of(shopper.pk)[0].pk)
    assert visitor.post("/checkout/", fields).status_code == 409
    assert visitor.post("/checkout/", fields | {"deposit": "1"}).status_code == 302
    order = Order.objects.get()
    till = reverse("shop:pay", args=[order.number])
    waits = reverse("shop:pay_deposit_state", args=[order.number])
    assert waits in visitor.get(till).content.decode()
    assert visitor.get(waits).json()["paid"] is False
    builders.pay(order)
    assert visitor.get(waits).json()["paid"] is True
    assert 'data-test="deposit-success"' in visitor.get(till).content.decode()
    page = reverse("shop:order", args=[order.number])
    html = visitor.get(page).content.decode()
    assert 'data-stage="early"' in html
    assert 'data-test="order-pay"' not in html
    assert till not in visitor.get("/orders/").content.decode()
    with clock.travel(IN_WINDOW):
        assert till in visitor.get("/orders/").content.decode()
        html = visitor.get(page).content.decode()
        assert 'data-stage="balance"' in html
        assert 'data-test="order-pay"' in html
        assert reverse("shop:pay_state", args=[order.number]) in visitor.get(till).content.decode()
        builders.pay(Order.objects.get())
        assert "已付清，最晚" in visitor.get(page).content.decode()


@pytest.mark.django_db
def test_operators_set_terms_that_fit_and_see_every_stage(
    client: Any, shopper: Any, django_assert_max_num_queries: Any
) -> None:
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    sku, _offer = presale()
    builders.pay(ordered(shopper, sku))
    for _more in range(3):
        ordered(builders.member(), sku)
    here = reverse("admin:shop_presaleorder_changelist")
    client.get(here)
    with django_assert_max_num_queries(12):
        html = client.get(here).content.decode()
    assert "已付定金" in html
    for stage, count in (("early", 1), ("deposit", 3), ("balance", 0), ("kept", 0)):
        found = client.get(here, {"stage": stage}).context["cl"].result_list
        assert len(found) == count, stage
    detail = reverse("admin:shop_presaleorder_change", args=[PresaleOrder.objects.earliest("pk").pk])
    assert client.get(detail).status_code == 200
    other = builders.sku(price_fen=39_900)
    add, day = reverse("admin:shop_offer_add"), clock.local(clock.now() + timedelta(days=1))
    sent = {
        **{
            "name": "预售",
            "sku": other.pk,
            "kind": "presale",
            "price_fen": "299",
            "quota": 5,
            "per_member_limit": 1,
        },
        **{"starts_at_0": f"{clock.local(clock.now()):%Y-%m-%d}", "starts_at_1": "00:00"},
        **{"ends_at_0": f"{day:%Y-%m-%d}", "ends_at_1": "00:00", "is_active": "on"},
        **{f"takes-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")},
        **{"presale-TOTAL_FORMS": 1, "presale-INITIAL_FORMS": 0, "presale-0-keeps_deposit": "on"},
        **{"presale-0-balance_starts_at_0": f"{day:%Y-%m-%d}", "presale-0-balance_starts_at_1": "10:00"},
        **{"presale-0-balance_ends_at_0": f"{day:%Y-%m-%d}", "presale-0-balance_ends_at_1": "20:00"},
    }
    for values, words in (
        ({"presale-TOTAL_FORMS": 0}, "需要填写定金"),
        ({"presale-0-deposit_fen": "299"}, "必须低于活动价"),
        ({"presale-0-deposit_fen": "50", "price_fen": "399"}, "低于日常价"),
        ({"presale-0-deposit_fen": "50", "kind": "flash"}, "只有预售"),
    ):
        html = client.post(add, sent | values).content.decode()
        assert words in html, words
    assert client.post(add, sent | {"presale-0-deposit_fen": "50"}).status_code == 302
    assert Presale.objects.get(offer__sku=other).deposit_fen == 5_000


@pytest.mark.django_db
def test_both_payments_through_wechat_and_a_sheet_left_open(platform: Any, buyer: dict[str, Any]) -> None:
    sku, _offer = presale(keeps=False)
    member = buyer["member"]
    order = ordered(member, sku)
    sheet = services.start_payment(order_id=order.pk, member_id=member.pk)
    platform.act(buyer["person"], "pay", **sheet)
    assert services.check_payment(order_id=order.pk).awaits_balance  # its notice is lost: asked for
    with pytest.raises(PaymentNotPossible):
        services.start_payment(order_id=order.pk, member_id=member.pk)
    try:
        platform.post("clock", offset_seconds=IN_WINDOW.total_seconds())
        with clock.travel(IN_WINDOW):
            services.start_payment(order_id=order.pk, member_id=member.pk)
        later = IN_WINDOW + timedelta(hours=20)  # that sheet is long dead: another one is opened
        platform.post("clock", offset_seconds=later.total_seconds())
        with clock.travel(later):
            sheet = services.start_payment(order_id=order.pk, member_id=member.pk)
            assert order.payments.filter(stage="balance", status=Payment.OPEN).count() == 1
            platform.act(buyer["person"], "pay", **sheet)
        platform.post("clock", offset_seconds=AFTER.total_seconds())
        with clock.travel(AFTER):  # the close asks first, and finds it paid
            services.expire_orders()
            order.refresh_from_db()
            assert (order.status, order.paid_fen, run_audit()[1]) == ("paid", 24_900, [])
            services.refund_order(order_id=order.pk, reason="不想要了")
            services.send_refunds()
        later = AFTER + timedelta(hours=1)
        platform.post("clock", offset_seconds=later.total_seconds())
        with clock.travel(later):
            services.send_refunds()
            order.refresh_from_db()
            assert (order.status, run_audit()[1]) == ("refunded", [])
    finally:
        platform.post("clock", offset_seconds=0)


@pytest.mark.django_db
def test_the_rest_interface_says_how_far_a_presale_is(client: Client, shopper: Any) -> None:
    secret = tokens.issue_token(name="ERP", scopes=["orders:read"])[1]
    sku, _offer = presale()
    order = ordered(shopper, sku)

    def shown() -> dict[str, Any]:
        answer = client.get(f"/api/v1/orders/{order.number}/", headers={"Authorization": f"Bearer {secret}"})
        return dict(answer.json())

    terms = PresaleOrder.objects.get()
    row = shown()
    assert (row["payment_stage"], row["due_fen"], row["deposit_fen"]) == ("deposit", 5_000, 5_000)
    assert row["presale"]["keeps_deposit"] is True
    assert row["presale"]["balance_ends_at"][:16] == clock.local(terms.balance_ends_at).isoformat()[:16]
    builders.pay(order)
    row = shown()
    assert (row["payment_stage"], row["due_fen"]) == ("balance", 19_900)
    assert row["deposit_paid_at"]
    with clock.travel(IN_WINDOW):
        builders.pay(Order.objects.get())
        row = shown()
    assert (row["status"], row["payment_stage"], row["due_fen"], row["due_until"]) == ("paid", "", 0, None)
    plain = builders.order(builders.member(), (builders.sku(), 1))
    with CaptureQueriesContext(connection) as asked:
        rows = client.get("/api/v1/orders/", headers={"Authorization": f"Bearer {secret}"}).json()["results"]
    found = {one["number"]: one for one in rows}
    assert (found[plain.number]["payment_stage"], found[plain.number]["presale"]) == ("full", None)
    assert len(asked) <= 6
