"""Nonsense, forgery and other people's things at every door: a clear refusal, and nothing has changed."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client

from core import clock, logs, tokens
from crm import sessions
from crm.services import prepare_months_ahead
from shop import aftersales_rules, services
from shop.errors import WrongState
from shop.models import CouponGrant, OrderLine, Payment, Sku
from tests.shop import booking_builders as booking
from tests.shop import builders, instruments

NUL, EMOJI, LONG, HUGE = "\x00", "👩‍👩‍👧‍👦🧴" * 3, "很长" * 5_000, "9" * 30
KEY = "a-key-that-forms-carry"

# Facts about the refusal itself may be written, and nothing else.
FREE = {"shop_funnelstep", "shop_giftcardguess"}


@dataclass
class Ground:
    """A shopper with her things, and a stranger with hers."""

    member: Any
    phone: Client
    sku: Sku
    address: Any
    unpaid: Any
    shipped: Any
    line: OrderLine
    received: OrderLine
    slot: Any
    past_slot: Any
    expired: CouponGrant
    theirs: dict[str, Any]
    secret: str

    def checkout(self, **changes: Any) -> HttpResponse:
        form = {"line": f"{self.sku.pk}:1", "address": self.address.pk, "key": KEY, "coupon": "0"}
        return self.phone.post("/checkout/", {**form, **changes})

    def post(self, path: str, /, **form: Any) -> HttpResponse:
        return self.phone.post(path, form)


def log_in(member: Any) -> Client:
    carrier, client = HttpResponse(), Client()
    sessions.log_in(carrier, member)
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def applied(order: Any, member: Any) -> Any:
    return services.apply_for_aftersale(
        order_id=order.pk,
        member_id=member.pk,
        kind=aftersales_rules.REFUND_ONLY,
        parts=[(order.lines.get().pk, 1)],
        reason="尺码不合适",
        idempotency_key=KEY,
    )


def sent_off(member: Any, sku: Sku) -> Any:
    order = builders.pay(builders.order(member, (sku, 2)))
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number=f"SF{order.pk}")
    order.refresh_from_db()
    return order


@pytest.fixture(scope="module")
def ground(django_db_setup: None, django_db_blocker: Any) -> Iterator[Ground]:
    with (
        django_db_blocker.unblock(),
        clock.travel(booking.MONDAY + timedelta(hours=2)),
        transaction.atomic(),
    ):
        yield _made()
        transaction.set_rollback(True)


def _made() -> Ground:
    prepare_months_ahead(1)
    member, stranger, sku = builders.member(name="林小满"), builders.member(), builders.sku(stock=50)
    made = services.save_address(member_id=member.pk, address=builders.ADDRESS, is_default=True)
    other = services.save_address(member_id=stranger.pk, address=builders.ADDRESS, is_default=True)
    coupon = instruments.coupon(threshold_fen=0, per_member_limit=9)
    held = services.grant_coupon(coupon_id=coupon.pk, member_id=member.pk, key="bad:old")
    CouponGrant.objects.filter(pk=held.pk).update(
        valid_from=clock.now() - timedelta(days=9), expires_at=clock.now() - timedelta(days=1)
    )
    service = booking.service(booking.store(), capacity=1)
    slot, past = booking.slot(service, days=1), booking.slot(service, days=2)
    theirs_booked = services.book_slot(
        member_id=stranger.pk, slot_id=booking.slot(service, hour=11, days=1).pk
    )
    apps.get_model("shop", "BookingSlot").objects.filter(pk=past.pk).update(
        starts_at=clock.now() - timedelta(hours=3), ends_at=clock.now() - timedelta(hours=2)
    )
    shipped, their_order = sent_off(member, sku), sent_off(stranger, sku)
    got = sent_off(member, sku)
    services.confirm_receipt(order_id=got.pk, member_id=member.pk)
    theirs = {
        "order": their_order.number,
        "unpaid": builders.order(stranger, (sku, 1)).number,
        "line": their_order.lines.get().pk,
        "address": other.pk,
        "coupon": services.grant_coupon(coupon_id=coupon.pk, member_id=stranger.pk, key="bad:theirs").pk,
        "aftersale": applied(their_order, stranger).number,
        "booking": theirs_booked.code,
    }
    return Ground(
        member=member,
        phone=log_in(member),
        sku=sku,
        address=made,
        unpaid=builders.order(member, (sku, 1)),
        shipped=shipped,
        line=shipped.lines.get(),
        received=got.lines.get(),
        slot=slot,
        past_slot=past,
        expired=held,
        theirs=theirs,
        secret=tokens.issue_token(
            name="ERP", scopes=["stock:write", "orders:write", "orders:read", "sales:write"]
        )[1],
    )


def books() -> dict[str, tuple[int, int]]:
    """Of every table of the shop, the ledger and the outbox: how many rows, and a sum over all of their contents."""
    names = [
        *(
            model._meta.db_table
            for model in apps.get_app_config("shop").get_models()
            if not model._meta.proxy
        ),
        *("core_ledgeraccount", "core_ledgertransfer", "core_ledgerhold", "core_domainevent"),
        *("core_eventdelivery", "crm_memberstats", "wechat_outboundmessage"),
    ]
    query = " UNION ALL ".join(
        f"SELECT '{name}', count(*), coalesce(sum(hashtext(t::text)), 0) FROM {name} t"
        for name in sorted(set(names) - FREE)
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        return {name: (count, digest) for name, count, digest in cursor.fetchall()}


def words_of(answer: HttpResponse) -> str:
    if answer.headers["Content-Type"].startswith("application/json"):
        return str(answer.json())
    return re.sub(r"<[^>]*>|\s+", " ", answer.content.decode())


def assert_logged(ground: Ground, caplog: pytest.LogCaptureFixture, answer: HttpResponse) -> None:
    """One line of the log says what was refused, under the id that the answer carries; none has a secret or a phone."""
    lines = [
        logs.redact_event(
            None, "", {**record.msg} if isinstance(record.msg, dict) else {"event": record.getMessage()}
        )
        for record in caplog.records
    ]
    said = [line for line in lines if line["event"] == "refused"]
    assert [(line["status"], line["request_id"]) for line in said] == [
        (answer.status_code, answer.headers["X-Request-ID"])
    ]
    assert said[0]["method"]
    assert said[0]["path"]
    for told in (
        ground.secret,
        ground.phone.cookies[sessions.COOKIE].value,
        builders.ADDRESS.phone,
        "ABCD-EFGH",
    ):
        assert not [line for line in lines if told in str(line)], told


Door = Callable[[Ground], HttpResponse]


def case(name: str, status: int, words: str, door: Door) -> Any:
    return pytest.param(door, status, words, id=name)


CASES = [
    # --- Checkout
    case("no pieces", 400, "没有", lambda it: it.checkout(line=f"{it.sku.pk}:0")),
    case("fewer than none", 400, "没有", lambda it: it.checkout(line=f"{it.sku.pk}:-1")),
    case("more than a shelf", 400, "件", lambda it: it.checkout(line=f"{it.sku.pk}:9999")),
    case("more than a number", 400, "没有", lambda it: it.checkout(line=f"{it.sku.pk}:{HUGE}")),
    case("a foreign SKU", 400, "没有", lambda it: it.checkout(line="999999999999:1")),
    case("an expired coupon", 409, "请重新选择", lambda it: it.checkout(coupon=it.expired.pk)),
    case("a stranger's coupon", 409, "请重新选择", lambda it: it.checkout(coupon=it.theirs["coupon"])),
    case("a stranger's address", 422, "请选择", lambda it: it.checkout(address=it.theirs["address"])),
    case("no address", 422, "请选择", lambda it: it.checkout(address=HUGE)),
    case("a forged total", 409, "价格", lambda it: it.checkout(total="1")),
    case("a forged key", 400, "确认", lambda it: it.checkout(key="x" * 10_000)),
    case("a store that is none", 409, "自提", lambda it: it.checkout(pickup="987654321")),
    # --- Cart
    case(
        "a cart of less",
        400,
        "数量",
        lambda it: it.post(f"/p/{it.sku.product_id}/choose/", sku=it.sku.pk, quantity=0),
    ),
    case(
        "a cart of millions",
        400,
        "数量",
        lambda it: it.post(f"/p/{it.sku.product_id}/choose/", sku=it.sku.pk, quantity=10**7),
    ),
    case(
        "a cart of nothing",
        409,
        "",
        lambda it: it.post(f"/p/{it.sku.product_id}/choose/", sku=HUGE, quantity=1),
    ),
    # --- Addresses
    case(
        "an address without a house", 422, "", lambda it: it.post("/addresses/new/", receiver="王", phone="1")
    ),
    case(
        "a receiver of a novel",
        422,
        "",
        lambda it: it.post("/addresses/new/", **{**vars(builders.ADDRESS), "receiver": LONG}),
    ),
    case(
        "a stranger's address shown", 404, "", lambda it: it.phone.get(f"/addresses/{it.theirs['address']}/")
    ),
    case(
        "a stranger's address edited",
        404,
        "",
        lambda it: it.post(f"/addresses/{it.theirs['address']}/", street="我家"),
    ),
    case(
        "a stranger's address deleted",
        404,
        "",
        lambda it: it.post(f"/addresses/{it.theirs['address']}/delete/"),
    ),
    # --- Orders of somebody else
    *[
        case(
            f"a stranger's {page or 'order'}",
            404,
            "",
            lambda it, page=page: it.phone.get(f"/orders/{it.theirs['order']}/{page}"),
        )
        for page in ("", "tracking/", "aftersales/", "invoice/", "review/", "address/")
    ],
    case("a stranger's bill", 404, "", lambda it: it.post(f"/pay/{it.theirs['unpaid']}/", use_balance="1")),
    case(
        "cancelling for a stranger",
        404,
        "",
        lambda it: it.post(f"/orders/{it.theirs['unpaid']}/cancel/", reason="1"),
    ),
    case("receiving for a stranger", 404, "", lambda it: it.post(f"/orders/{it.theirs['order']}/receive/")),
    case("no such order", 404, "", lambda it: it.phone.get(f"/orders/{NUL}{EMOJI}{HUGE}/")),
    case(
        "a wish to cancel what is paid",
        409,
        "",
        lambda it: it.post(f"/orders/{it.shipped.number}/cancel/", reason=LONG),
    ),
    case(
        "a receipt before anything came", 409, "", lambda it: it.post(f"/orders/{it.unpaid.number}/receive/")
    ),
    case(
        "a stranger's address for my parcel",
        400,
        "",
        lambda it: it.post(f"/orders/{it.unpaid.number}/address/", address=it.theirs["address"]),
    ),
    # --- Paying
    case(
        "a gift card of faces", 422, "", lambda it: it.post(f"/pay/{it.unpaid.number}/", gift_card_code=EMOJI)
    ),
    case(
        "a gift card of a novel",
        422,
        "",
        lambda it: it.post(f"/pay/{it.unpaid.number}/", gift_card_code=LONG),
    ),
    case(
        "a card that is nobody's",
        422,
        "",
        lambda it: it.post("/me/balance/card/", code="ABCD-EFGH-JKMN-PQRS"),
    ),
    # --- After-sales
    *[
        case(
            f"giving back {name}",
            status,
            "",
            lambda it, form=form: it.post(
                f"/orders/{it.shipped.number}/aftersales/",
                **{"kind": "refund_only", "key": KEY, "reason": "破损", **form(it)},
            ),
        )
        for name, status, form in (
            (
                "a stranger's line",
                409,
                lambda it: {"line": it.theirs["line"], f"quantity-{it.theirs['line']}": 1},
            ),
            ("more than was bought", 409, lambda it: {"line": it.line.pk, f"quantity-{it.line.pk}": 99}),
            ("less than nothing", 409, lambda it: {"line": it.line.pk, f"quantity-{it.line.pk}": -1}),
            ("nothing", 409, lambda it: {}),
            ("without a key", 400, lambda it: {"key": "", "line": it.line.pk, f"quantity-{it.line.pk}": 1}),
            (
                "for another product",
                409,
                lambda it: {
                    "kind": "exchange",
                    "line": it.line.pk,
                    f"quantity-{it.line.pk}": 1,
                    f"new-{it.line.pk}": HUGE[:18],
                },
            ),
        )
    ],
    case(
        "a stranger's after-sale", 404, "", lambda it: it.phone.get(f"/aftersales/{it.theirs['aftersale']}/")
    ),
    case(
        "a stranger's after-sale closed",
        404,
        "",
        lambda it: it.post(f"/aftersales/{it.theirs['aftersale']}/cancel/"),
    ),
    case(
        "a stranger's parcel",
        404,
        "",
        lambda it: it.post(
            f"/aftersales/{it.theirs['aftersale']}/parcel/", carrier="顺丰", tracking_number="SF1"
        ),
    ),
    # --- Invoices
    case(
        "an invoice to a novel",
        422,
        "",
        lambda it: it.post(f"/orders/{it.shipped.number}/invoice/", kind="person", title=LONG),
    ),
    case(
        "a company without a number",
        422,
        "税号",
        lambda it: it.post(
            f"/orders/{it.shipped.number}/invoice/", kind="company", title="池塘", tax_number="-1"
        ),
    ),
    # --- Coupons
    case("a coupon that is none", 404, "", lambda it: it.post("/coupons/no-such-coupon/", key=KEY)),
    # --- Booking
    case("a time that is none", 404, "", lambda it: it.post("/book/slots/999999999999999999999/")),
    case("a time that is over", 409, "", lambda it: it.post(f"/book/slots/{it.past_slot.pk}/")),
    case("a stranger's booking", 404, "", lambda it: it.phone.get(f"/bookings/{it.theirs['booking']}/")),
    case(
        "a stranger's booking cancelled",
        404,
        "",
        lambda it: it.post(f"/bookings/{it.theirs['booking']}/cancel/"),
    ),
    case("a stranger checked in", 404, "", lambda it: it.post(f"/bookings/{it.theirs['booking']}/check-in/")),
    # --- Voices
    case("a stranger's review", 404, "", lambda it: it.post(f"/reviews/write/{it.theirs['line']}/", stars=5)),
    case("no stars", 400, "星", lambda it: it.post(f"/reviews/write/{it.received.pk}/", stars=0)),
    case("a sky of stars", 400, "星", lambda it: it.post(f"/reviews/write/{it.received.pk}/", stars=HUGE)),
    case(
        "a review of a novel",
        400,
        "字",
        lambda it: it.post(f"/reviews/write/{it.received.pk}/", stars=5, text=LONG),
    ),
    case("a review before it came", 409, "", lambda it: it.post(f"/reviews/write/{it.line.pk}/", stars=5)),
    case(
        "a question of a novel",
        400,
        "",
        lambda it: it.post(f"/p/{it.sku.product_id}/questions/ask/", text=LONG),
    ),
    # --- Numbers that are none
    case("a product beyond numbers", 404, "", lambda it: it.phone.get(f"/p/{HUGE}/")),
    case("a shelf beyond numbers", 404, "", lambda it: it.phone.get(f"/category/{HUGE}/")),
]


@pytest.mark.parametrize(("door", "status", "words"), CASES)
def test_a_shopper_is_refused(
    ground: Ground, door: Door, status: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = books()
    with caplog.at_level(logging.WARNING):
        answer = door(ground)
    said = words_of(answer)
    assert (answer.status_code, words in said) == (status, True), said[:2_000]
    assert re.search(r"[一-鿿]", said)
    assert "Traceback" not in said
    assert_logged(ground, caplog, answer)
    after = books()
    assert {name for name in before if before[name] != after[name]} == set()


REST = [
    ("PUT", "stock/{sku}/warehouse/", {"on_hand": -1}, 400),
    ("PUT", "stock/{sku}/warehouse/", {"on_hand": 10**12}, 400),
    ("PUT", "stock/{sku}/warehouse/", {"on_hand": "很多"}, 400),
    ("PUT", "stock/{sku}/warehouse/", {"on_hand": 1}, 409),
    ("PUT", "stock/nothing/warehouse/", {"on_hand": 1}, 404),
    ("PUT", "stock/{sku}/nowhere/", {"on_hand": 1}, 404),
    ("POST", "stock/{sku}/warehouse/adjustments/", {"change": -(10**6)}, 409),
    ("POST", "stock/{sku}/warehouse/adjustments/", {"change": 1, "note": LONG}, 400),
    ("POST", "stock/deltas/", {"store": "warehouse", "deltas": [{"sku": "nothing", "change": 1}]}, 400),
    ("POST", "stock/deltas/", {"store": "warehouse", "deltas": [{"sku": "{sku}", "change": 10**9}]}, 400),
    ("POST", "orders/{unpaid}/shipments/", {"carrier": "顺丰", "tracking_number": "SF1"}, 409),
    ("POST", "orders/{shipped}/shipments/", {"carrier": LONG, "tracking_number": "SF1"}, 400),
    ("POST", "orders/{shipped}/shipments/", {"carrier": f"顺{NUL}丰", "tracking_number": "SF1"}, 400),
    ("POST", "orders/none/shipments/", {"carrier": "顺丰", "tracking_number": "SF1"}, 404),
    ("POST", "fulfilments/999999999999999999999/reject/", {"reason": "缺货"}, 404),
    ("POST", "pickups/", {"code": EMOJI, "store": "warehouse"}, 409),
    (
        "POST",
        "sales/",
        {"store": "warehouse", "number": "1", "lines": [{"sku": "{sku}", "quantity": -1, "total_fen": 1}]},
        400,
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REST)
def test_another_system_is_refused(
    ground: Ground,
    method: str,
    path: str,
    body: dict[str, Any],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = {"sku": ground.sku.code, "unpaid": ground.unpaid.number, "shipped": ground.shipped.number}
    for row in body.get("deltas", []) + body.get("lines", []):
        row["sku"] = row["sku"].format(**names)
    before = books()
    with caplog.at_level(logging.WARNING):
        answer = Client().generic(
            method,
            f"/api/v1/{path.format(**names)}",
            json.dumps(body),
            content_type="application/json",
            headers={
                "Authorization": f"Bearer {ground.secret}",
                "Idempotency-Key": f"bad-{status}-{path[:20]}",
            },
        )
    assert answer.status_code == status, answer.content.decode()
    assert {"code", "message", "request_id"} <= set(answer.json())
    assert re.search(r"[一-鿿]", answer.json()["message"])
    assert_logged(ground, caplog, answer)
    assert books() == before


def test_what_is_only_strange_is_kept_as_it_is(ground: Ground) -> None:
    """Faces in a name are a name; what Postgres cannot keep is left out, and too long a note is cut."""
    with transaction.atomic():
        answer = ground.post("/addresses/new/", **{**vars(builders.ADDRESS), "receiver": f"小{NUL}满🧴"})
        assert answer.status_code == 302
        saved = apps.get_model("shop", "Address").objects.order_by("-pk")[0]
        assert saved.receiver == "小满🧴"
        answer = ground.checkout(note=f"{NUL}请放门口{LONG}", key=KEY + "-strange")
        assert answer.status_code == 302
        order = apps.get_model("shop", "Order").objects.order_by("-pk")[0]
        assert (order.note[:4], len(order.note)) == ("请放门口", 200)
        assert ground.phone.get(f"/search/?q=%00{EMOJI}").status_code == 200
        transaction.set_rollback(True)


def test_a_forged_notice_books_nothing(ground: Ground) -> None:
    with transaction.atomic():
        made = builders.payment(ground.unpaid)
        for paid_fen in (1, -1, 10**15):
            builders.confirm(made, "forged", paid_fen=paid_fen)
            made.refresh_from_db()
            ground.unpaid.refresh_from_db()
            assert (ground.unpaid.status, ground.unpaid.paid_fen, made.status) == (
                "pending_payment",
                0,
                Payment.MISMATCH,
            )
        transaction.set_rollback(True)


def test_two_who_edit_at_once_hear_of_each_other(ground: Ground) -> None:
    """A price that staff changed meanwhile, an order shipped meanwhile, an after-sale answered meanwhile."""
    with transaction.atomic():
        waiting = applied(ground.shipped, ground.member)
        services.approve_aftersale(aftersale_id=waiting.pk, by="小运")
        with pytest.raises(WrongState) as late:
            services.refuse_aftersale(aftersale_id=waiting.pk, reason="不符", by="小周")
        assert "不能" in late.value.message or "无法" in late.value.message
        with pytest.raises(WrongState):
            services.change_address(order_id=ground.shipped.pk, address=builders.ADDRESS, by="小周")
        transaction.set_rollback(True)
