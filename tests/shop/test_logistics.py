"""Parcels: their way, what follows when they are signed for, what buyers are told and what the chat answers."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from core import clock
from core.events import deliver_due, publish
from core.models import DomainEvent
from crm import sessions
from crm.services import prepare_months_ahead
from shop import logistics, queries, services, tracking
from shop.errors import BadTracking, NoSuchOrder
from shop.models import Carrier, Order, OrderMessage, ServiceRules, Shipment, TrackingEvent
from tests.shop import builders, stores
from wechat.events import MessageReceived

pytestmark = pytest.mark.django_db


def outbound(**values: Any) -> Any:
    return apps.get_model("wechat", "OutboundMessage").objects.filter(**values).select_related("body")


def shipped(buyer: Any = None, number: str = "SF1234567890") -> Shipment:
    buyer = buyer or builders.member()
    order = builders.pay(builders.order(buyer, (builders.sku(), 1)))
    return services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number=number, by="小运")


def step(hours: float, state: str, text: str = "") -> tracking.Step:
    return tracking.Step(clock.now() + timedelta(hours=hours), state, text or f"{state} {hours}")


def window(openid: str) -> None:
    apps.get_model("wechat", "ReplyWindow").objects.create(
        account=builders.official_account(),
        openid=openid,
        trigger="message",
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=48),
        remaining=5,
    )


@pytest.fixture
def buyer_in_chat() -> Any:
    prepare_months_ahead(1)
    member = builders.member(openid="o-events")
    window("o-events")
    return member


@pytest.fixture
def phone() -> Callable[[Any], Client]:
    def of(member: Any) -> Client:
        carrier = HttpResponse()
        sessions.log_in(carrier, member)
        client = Client()
        client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
        return client

    return of


# --- The way of a parcel -------------------------------------------------------------------------------------------
def test_steps_are_kept_once_and_the_latest_says_the_state() -> None:
    parcel = shipped()
    steps = [step(3, logistics.DELIVERING), step(1, logistics.COLLECTED), step(2, logistics.TRANSIT)]
    moment = clock.now()
    with clock.travel(moment):
        assert services.note_steps(shipment_id=parcel.pk, steps=steps, source="provider") == 3
        assert services.note_steps(shipment_id=parcel.pk, steps=steps, source="provider") == 0
    parcel.refresh_from_db()
    assert parcel.state == logistics.DELIVERING
    assert parcel.events.count() == 3
    assert parcel.signed_at is None


def test_signing_is_announced_once_and_leaves_the_order_to_the_shopper_by_default() -> None:
    parcel = shipped()
    services.note_steps(shipment_id=parcel.pk, steps=[step(1, logistics.PICKED)], source="provider")
    services.note_steps(shipment_id=parcel.pk, steps=[step(2, logistics.PICKED)], source="provider")
    parcel.refresh_from_db()
    assert (parcel.state, parcel.order.status) == (logistics.PICKED, "shipped")
    assert DomainEvent.objects.filter(name="shop.ParcelSigned").count() == 1


def test_an_order_is_received_when_its_last_parcel_was_signed_for_if_the_rule_says_so() -> None:
    ServiceRules.objects.create(when_signed=ServiceRules.AT_ONCE)
    parcel = shipped()
    second = services.ship_order(order_id=parcel.order_id, carrier="顺丰速运", tracking_number="SF2")
    services.note_steps(shipment_id=parcel.pk, steps=[step(1, logistics.PICKED)], source="provider")
    assert Order.objects.get().status == "shipped"
    services.note_steps(shipment_id=second.pk, steps=[step(1, logistics.PICKED)], source="provider")
    assert Order.objects.get().status == "received"
    assert Order.objects.get().log.filter(action="received").count() == 1


def test_an_order_is_received_some_days_after_signing() -> None:
    ServiceRules.objects.create(when_signed=ServiceRules.LATER, received_days=2)
    parcel = shipped()
    services.type_step(shipment_id=parcel.pk, state=logistics.PICKED, text="", by="小运")
    assert services.receive_due_orders() == 0
    with clock.travel(timedelta(days=2, minutes=1)):
        assert services.receive_due_orders() == 1


@override_settings(TRACKING_PROVIDER="demo")
def test_carriers_are_asked_with_patience_until_the_parcel_arrived() -> None:
    parcel = shipped()
    for hours, state in ((2, "collected"), (24, "transit"), (33, "signed")):
        with clock.travel(timedelta(hours=hours)):
            services.ask_again(shipment_ids=[parcel.pk])
            assert services.ask_carriers() == 1
            assert services.ask_carriers() == 0
        parcel.refresh_from_db()
        assert parcel.state == state
    assert parcel.next_ask_at is None


@override_settings(TRACKING_PROVIDER="demo")
def test_a_provider_that_does_not_answer_is_asked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = shipped()

    def fail(*_: Any) -> None:
        assert not connection.savepoint_ids  # nothing but the test's own transaction
        raise tracking.TrackingUnavailable("away", retry_after=timedelta(hours=6))

    monkeypatch.setattr(tracking.InventedWays, "report", fail)
    assert services.ask_carriers() == 0
    parcel.refresh_from_db()
    assert parcel.last_answer == "away"
    assert parcel.next_ask_at > clock.now() + timedelta(hours=5)


def test_nobody_asks_about_what_has_arrived() -> None:
    parcel = shipped()
    services.receive_order(order_id=parcel.order_id)
    services.ask_carriers()
    parcel.refresh_from_db()
    assert parcel.next_ask_at is None


@pytest.mark.parametrize(("state", "text"), [("lost", "x"), ("signed", "长" * 301)])
def test_a_wrong_note_about_a_parcel_is_refused(state: str, text: str) -> None:
    parcel = shipped()
    with pytest.raises(BadTracking):
        services.type_step(shipment_id=parcel.pk, state=state, text=text, by="小运")
    with pytest.raises(BadTracking):
        services.type_step(
            shipment_id=parcel.pk, state="signed", text="", by="小运", at=clock.now() + timedelta(days=1)
        )
    with pytest.raises(NoSuchOrder):
        services.type_step(shipment_id=0, state="signed", text="", by="小运")
    assert not TrackingEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_workers_with_the_same_news_keep_it_once() -> None:
    ServiceRules.objects.create(when_signed=ServiceRules.AT_ONCE)
    parcel = shipped()
    news = [step(0, logistics.PICKED, "已签收")]

    def note(_number: int) -> int:
        try:
            return services.note_steps(shipment_id=parcel.pk, steps=news, source="provider")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(note, range(4))) == [0, 0, 0, 1]
    assert TrackingEvent.objects.count() == 1
    assert DomainEvent.objects.filter(name="shop.ParcelSigned").count() == 1
    assert Order.objects.get().status == "received"


# --- Kuaidi100 -----------------------------------------------------------------------------------------------------
class _Service(BaseHTTPRequestHandler):
    asked: list[dict[str, str]] = []
    answer: Any = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append({name: values[0] for name, values in parse_qs(body).items()})
        said = json.dumps(self.answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def kuaidi100() -> Iterator[type[_Service]]:
    server = HTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    _Service.asked.clear()
    with override_settings(
        TRACKING_PROVIDER="kuaidi100",
        KUAIDI100_CUSTOMER="CUSTOMER",
        KUAIDI100_KEY="KEY",
        KUAIDI100_URL=f"http://127.0.0.1:{server.server_port}/poll/query.do",
    ):
        yield _Service
    server.shutdown()
    server.server_close()


def test_kuaidi100_is_asked_as_documented_and_its_answer_understood(kuaidi100: type[_Service]) -> None:
    services.add_usual_carriers()
    parcel = shipped()
    day = f"{clock.local(clock.now()):%Y-%m-%d}"
    kuaidi100.answer = {
        "message": "ok",
        "state": "3",
        "status": "200",
        "com": "shunfeng",
        "nu": "SF1234567890",
        "data": [
            {
                "time": f"{day} 10:00:00",
                "context": "已签收，签收人：本人",
                "status": "签收",
                "statusCode": "3",
            },
            {"time": f"{day} 08:00:00", "ftime": f"{day} 08:00:00", "context": "派件中", "statusCode": "501"},
            {"time": f"{day} 07:00:00", "context": "到达上海", "statusCode": "1002"},
            {"time": "yesterday", "context": "?"},
            "nonsense",
        ],
    }
    assert services.ask_carriers() == 1
    (asked,) = kuaidi100.asked
    param = json.loads(asked["param"])
    assert param == {"com": "shunfeng", "num": "SF1234567890", "phone": "0001", "resultv2": "4"}
    assert asked["sign"] == hashlib.md5(f"{asked['param']}KEYCUSTOMER".encode()).hexdigest().upper()
    parcel.refresh_from_db()
    assert [event.state for event in parcel.events.all()] == ["signed", "delivering", "collected"]
    assert (parcel.state, parcel.next_ask_at) == ("signed", None)


@pytest.mark.parametrize(
    ("answer", "hours"),
    [
        ({"result": False, "returnCode": "500", "message": "查询无结果，请隔段时间再查"}, 1),
        ({"result": False, "returnCode": "601", "message": "POLL:KEY已过期"}, 6),
        (["what"], 0),
    ],
)
def test_a_refusal_of_kuaidi100_is_kept_and_asked_again_later(
    kuaidi100: type[_Service], answer: Any, hours: int
) -> None:
    services.add_usual_carriers()
    parcel = shipped()
    kuaidi100.answer = answer
    assert services.ask_carriers() == 0
    parcel.refresh_from_db()
    assert parcel.last_answer
    assert parcel.next_ask_at > clock.now() + timedelta(hours=hours - 0.1)
    assert not parcel.events.exists()


def test_a_provider_that_is_not_set_up_is_named() -> None:
    with override_settings(TRACKING_PROVIDER="kuaidi100"), pytest.raises(ImproperlyConfigured):
        tracking.provider()


# --- The shopper's page --------------------------------------------------------------------------------------------
def test_the_shopper_follows_her_parcel_and_nobody_elses(
    phone: Callable[[Any], Client], django_assert_max_num_queries: Callable[..., Any]
) -> None:
    services.add_usual_carriers()
    buyer = builders.member()
    parcel = shipped(buyer)
    services.type_step(shipment_id=parcel.pk, state="delivering", text="<b>派送中</b>", by="小运")
    address = f"/orders/{parcel.order.number}/tracking/"
    mine = phone(buyer)
    assert address in mine.get(f"/orders/{parcel.order.number}/").content.decode()
    with django_assert_max_num_queries(10):
        page = mine.get(address).content.decode()
    assert "&lt;b&gt;派送中" in page
    assert "正在派送" in page
    assert "tel:95338" in page
    assert phone(builders.member()).get(address).status_code == 404


def test_an_order_without_a_parcel_says_so(phone: Callable[[Any], Client]) -> None:
    buyer = builders.member()
    order = builders.pay(builders.order(buyer, (builders.sku(), 1)))
    assert "还没有包裹" in phone(buyer).get(f"/orders/{order.number}/tracking/").content.decode()


# --- Messages ------------------------------------------------------------------------------------------------------
def test_the_buyer_hears_of_each_moment_once_on_the_best_way() -> None:
    buyer = builders.member(openid="o-messages")
    OrderMessage.objects.create(
        kind="shipped",
        subscribe_template="TPL-SHIPPED",
        fields={"character_string1": "{parcel}", "thing2": "{goods}" * 5, "thing3": "{nothing}"},
    )
    apps.get_model("wechat", "SubscriptionQuota").objects.create(
        account=builders.official_account(), openid="o-messages", template_id="TPL-SHIPPED", remaining=1,
        accepted_ats=[clock.now()],
    )  # fmt: skip
    parcel = shipped(buyer)
    for _time in range(2):
        assert services.tell_order(order_id=parcel.order_id, kind=logistics.SHIPPED) == "subscribe"
    content = outbound(origin="shop-shipped").get().body.content
    assert content["template_id"] == "TPL-SHIPPED"
    assert content["data"]["character_string1"] == "SF1234567890"
    assert len(content["data"]["thing2"]) == 20
    assert content["data"]["thing3"] == "–"
    assert parcel.order.number in content["url"]


def test_without_a_template_it_is_a_text_in_an_open_chat_or_nothing() -> None:
    buyer = builders.member(openid="o-chat")
    parcel = shipped(buyer)
    assert services.tell_order(order_id=parcel.order_id, kind=logistics.SHIPPED) == ""
    window("o-chat")
    assert services.tell_order(order_id=parcel.order_id, kind=logistics.SHIPPED) == "custom"
    assert "SF1234567890" in outbound(to="o-chat").get().body.content["text"]
    assert services.tell_order(order_id=parcel.order_id, kind=logistics.PAID) == ""  # WeChat Pay says it
    OrderMessage.objects.create(kind="signed", is_active=False)
    assert services.tell_order(order_id=parcel.order_id, kind=logistics.SIGNED, shipment_id=parcel.pk) == ""


def test_she_is_asked_for_exactly_what_may_still_come(phone: Callable[[Any], Client]) -> None:
    buyer = builders.member()
    for kind in ("shipped", "signed", "unpaid"):
        OrderMessage.objects.create(kind=kind, subscribe_template=f"TPL-{kind}")
    order = builders.order(buyer, (builders.sku(), 1))
    assert [template for template, _words in queries.asked_templates(order)] == [
        "TPL-unpaid",
        "TPL-shipped",
        "TPL-signed",
    ]
    builders.pay(order)
    with override_settings(ORDER_TEMPLATES=["TPL-NEWS"]):
        page = phone(buyer).get(f"/pay/{order.number}/").content.decode()
    assert "[&#34;TPL-shipped&#34;, &#34;TPL-signed&#34;, &#34;TPL-NEWS&#34;]" in page
    assert "包裹发出时" in page
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF9")
    order.refresh_from_db()
    assert [template for template, _words in queries.asked_templates(order)] == ["TPL-signed"]


def test_what_happens_to_an_order_is_told_by_its_events(buyer_in_chat: Any) -> None:
    parcel = shipped(buyer_in_chat)
    services.type_step(shipment_id=parcel.pk, state=logistics.PICKED, text="", by="小运")
    for _time in range(2):
        deliver_due()
    assert outbound(origin="shop-shipped").count() == outbound(origin="shop-signed").count() == 1
    assert not outbound(origin="shop-paid").exists()


def test_a_question_in_the_chat_is_answered_by_the_event_of_the_message(buyer_in_chat: Any) -> None:
    shipped(buyer_in_chat)
    asked = {"account_id": builders.official_account().pk, "openid": "o-events", "at": clock.now()}
    publish(MessageReceived(**asked, msg_type="text", text="物流", msg_id="77"))
    publish(MessageReceived(**asked, msg_type="image", text="", msg_id="78"))
    deliver_due(queue="fast")
    answer = outbound(origin="shop-answer").get()
    assert (answer.to, answer.is_urgent) == ("o-events", True)


def test_a_collected_order_is_told_with_its_code_when_it_is_ready(buyer_in_chat: Any) -> None:
    dress, shop = builders.sku(stock=0), stores.store(stores.HUBIN)
    stores.lay(dress, shop, 2)
    order = builders.pay(stores.placed(buyer_in_chat, (dress, 1), pickup=shop))
    OrderMessage.objects.create(kind="ready", subscribe_template="TPL-READY", fields={"thing1": "{store}"})
    OrderMessage.objects.create(
        kind="shipped", subscribe_template="TPL-SHIPPED", fields={"thing1": "{goods}"}
    )
    assert [template for template, _words in queries.asked_templates(order)] == ["TPL-READY"]
    part = order.fulfilments.get()
    services.mark_ready(fulfilment_id=part.pk, by="李娜")
    deliver_due()
    said = outbound(origin="shop-ready").get().body.content["text"]
    assert part.code in said
    assert "湖滨店" in said


# --- The chat ------------------------------------------------------------------------------------------------------
def ask(text: str, openid: str = "o-asks", msg_id: str = "1") -> str:
    found = services.answer_chat(
        account_id=builders.official_account().pk, openid=openid, text=text, msg_id=msg_id, at=clock.now()
    )
    return outbound(pk=found).get().body.content["text"] if found else ""


@pytest.mark.parametrize("text", ["物流", "查快递", "我的包裹到哪了？", "订单", " 查物流 "])
def test_a_word_about_parcels_is_answered_with_the_latest_one(text: str) -> None:
    parcel = shipped(builders.member(openid="o-asks"))
    services.type_step(shipment_id=parcel.pk, state="transit", text="到达上海", by="小运")
    window("o-asks")
    said = ask(text)
    assert "SF1234567890" in said
    assert "到达上海" in said
    assert f"/orders/{parcel.order.number}/tracking/" in said


def test_numbers_are_answered_only_to_their_member() -> None:
    mine = shipped(builders.member(openid="o-asks"))
    foreign = shipped(builders.member(), number="YT9876543210")
    window("o-asks")
    assert "SF1234567890" in ask("sf1234567890", msg_id="1")
    assert mine.order.number in ask(f"帮我查 {mine.order.number}", msg_id="2")
    assert ask("YT9876543210", msg_id="3") == ""
    said = ask(foreign.order.number, msg_id="4")
    assert "没有找到" in said
    assert "YT9876543210" not in said


@pytest.mark.parametrize("text", ["你好", "13800000001", "", "物流" * 100, "裙子什么颜色好看", "🙂"])
def test_other_messages_are_left_to_a_person(text: str) -> None:
    shipped(builders.member(openid="o-asks"))
    window("o-asks")
    assert ask(text) == ""


def test_a_message_is_answered_once_within_the_window_and_to_members_only() -> None:
    shipped(builders.member(openid="o-asks"))
    assert ask("物流") == ""  # no window: WeChat would refuse
    window("o-asks")
    assert ask("物流") == ask("物流")
    assert outbound(origin="shop-answer").count() == 1
    assert ask("物流", msg_id="2")
    assert outbound(origin="shop-answer").count() == 2
    assert ask("物流", openid="o-stranger") == ""


# --- Desk and audit ------------------------------------------------------------------------------------------------
def test_the_desk_ships_with_its_own_carriers_and_types_what_happened(client: Client) -> None:
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    Carrier.objects.update_or_create(name="同城闪送", defaults={"code": "shansong"})
    order = builders.pay(builders.order(builders.member(), (builders.sku(), 1)))
    client.post(
        reverse("admin:shop_order_ship", args=[order.pk]),
        {"_form_submitted": "on", "carrier": "同城闪送", "tracking_number": "SS1"},
    )
    parcel = Shipment.objects.get()
    address = reverse("admin:shop_shipment_type_step", args=[parcel.pk])
    client.post(address, {"_form_submitted": "on", "state": "signed", "text": "前台代收"})
    parcel.refresh_from_db()
    assert (parcel.state, parcel.events.get().actor) == ("signed", "小运")
    for name in ("carrier", "ordermessage", "servicerules", "paymentreminder", "shipment"):
        assert client.get(reverse(f"admin:shop_{name}_changelist"), follow=True).status_code == 200, name
    page = client.get(reverse("admin:shop_shipment_change", args=[parcel.pk])).content.decode()
    assert "前台代收" in page


def test_fields_of_a_message_are_checked(client: Client) -> None:
    client.force_login(User.objects.create_superuser("yunying"))
    client.get(reverse("admin:shop_ordermessage_changelist"))
    row = OrderMessage.objects.get(kind="shipped")
    address = reverse("admin:shop_ordermessage_change", args=[row.pk])
    form = {
        "is_active": "on",
        "subscribe_template": "T",
        "notice_template": "",
        "text": "",
        "uses_chat": "on",
    }
    assert client.post(address, {**form, "fields": '{"thing1": "{secret}"}'}).status_code == 200
    assert client.post(address, {**form, "fields": "{}"}).status_code == 200  # a template needs its fields
    assert client.post(address, {**form, "fields": '{"thing1": "{goods}"}'}).status_code == 302
    row.refresh_from_db()
    assert row.fields == {"thing1": "{goods}"}


def test_a_parcel_remembers_its_carrier_whatever_its_name_becomes() -> None:
    services.add_usual_carriers()
    parcel = shipped()
    other = services.ship_order(order_id=parcel.order_id, carrier="zhongtong", tracking_number="ZT1")
    assert (other.carrier, other.company) == ("中通快递", Carrier.objects.get(code="zhongtong"))
    again = services.ship_order(order_id=parcel.order_id, carrier="中通快递", tracking_number="ZT1")
    assert again.pk == other.pk
    Carrier.objects.filter(code="zhongtong").update(name="中通", phone="95311-1")
    rows = {row.number: row for row in queries.parcels_of(parcel.order)}
    assert (rows["ZT1"].carrier, rows["ZT1"].carrier_phone) == ("中通快递", "95311-1")
    unknown = services.ship_order(order_id=parcel.order_id, carrier="同城闪送", tracking_number="TC1")
    assert unknown.company is None
