"""WeChat Pay through wechatpayv3's own client: signatures, orders, the payment sheet, refunds, notices."""

import json
import time
from typing import Any

import pytest
import requests
from wechatpayv3 import WeChatPayType

from tests.sandbox.conftest import Sandbox, Shop

AMOUNT = {"total": 12_900, "currency": "CNY"}


@pytest.fixture
def brand(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.account(events=False)


@pytest.fixture
def merchant(sandbox: Sandbox, brand: dict[str, Any], pay_keys: dict[str, str]) -> dict[str, Any]:
    return sandbox.account("pay", appid=brand["appid"], name="池塘香氛", **pay_keys)


@pytest.fixture
def client(merchant: dict[str, Any], pay_client: Any) -> Any:
    return pay_client(merchant)


@pytest.fixture
def buyer(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.person()


def place(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], number: str, **change: Any
) -> tuple[int, Any]:
    given = {"description": "白茶香水", "out_trade_no": number, "amount": AMOUNT}
    given["payer"] = {"openid": buyer["openids"][brand["appid"]]}
    status, text = client.pay(**{**given, **change})
    return status, json.loads(text)


def sheet(client: Any, brand: dict[str, Any], prepay_id: str, **change: str) -> dict[str, str]:
    given = {
        "appId": brand["appid"],
        "timeStamp": str(int(time.time())),
        "nonceStr": "nonce",
        "package": f"prepay_id={prepay_id}",
    }
    given["paySign"] = client.sign([given[name] for name in ("appId", "timeStamp", "nonceStr", "package")])
    return {**given, "signType": "RSA", **change}


def query(client: Any, number: str) -> dict[str, Any]:
    status, text = client.query(out_trade_no=number)
    assert status == 200
    return json.loads(text)


def test_an_order_is_placed_paid_noticed_and_refunded(
    sandbox: Sandbox,
    merchant: dict[str, Any],
    brand: dict[str, Any],
    client: Any,
    buyer: dict[str, Any],
    shop: Shop,
) -> None:
    status, placed = place(client, brand, buyer, "order-0001")
    assert status == 200
    assert query(client, "order-0001")["trade_state"] == "NOTPAY"
    parameters = sheet(client, brand, placed["prepay_id"])
    looked = sandbox.act(buyer, "pay", **parameters, outcome="look")
    assert (looked["amount_fen"], looked["merchant"]) == (12_900, "池塘香氛")
    assert (
        sandbox.act(buyer, "pay", **parameters, outcome="cancel")["err_msg"]
        == "get_brand_wcpay_request:cancel"
    )
    assert sandbox.act(buyer, "pay", **parameters)["err_msg"] == "get_brand_wcpay_request:ok"
    order = query(client, "order-0001")
    assert order["trade_state"] == "SUCCESS"
    assert order["amount"] == {
        "total": 12_900,
        "currency": "CNY",
        "payer_total": 12_900,
        "payer_currency": "CNY",
    }
    assert order["payer"]["openid"] == buyer["openids"][brand["appid"]]
    sandbox.flush()
    (notice,) = shop.at(merchant["key"])
    opened = client.callback(notice.headers, notice.body)
    assert opened["event_type"] == "TRANSACTION.SUCCESS"
    assert opened["resource"]["out_trade_no"] == "order-0001"
    assert opened["resource"]["transaction_id"] == order["transaction_id"]
    status, text = client.query(transaction_id=order["transaction_id"])
    assert json.loads(text)["out_trade_no"] == "order-0001"
    assert sandbox.inbox(buyer)[-1]["kind"] == "payment"

    status, text = client.refund(
        out_refund_no="refund-1",
        amount={"refund": 900, "total": 12_900, "currency": "CNY"},
        out_trade_no="order-0001",
    )
    assert (status, json.loads(text)["status"]) == (200, "PROCESSING")
    sandbox.advance(2)
    sandbox.flush()
    opened = client.callback(shop.at(merchant["key"])[-1].headers, shop.at(merchant["key"])[-1].body)
    assert (opened["event_type"], opened["resource"]["refund_status"]) == ("REFUND.SUCCESS", "SUCCESS")
    assert json.loads(client.query_refund("refund-1")[1])["status"] == "SUCCESS"
    assert query(client, "order-0001")["trade_state"] == "REFUND"


def test_the_same_number_gives_the_same_order(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    first, second = place(client, brand, buyer, "order-0001")[1], place(client, brand, buyer, "order-0001")[1]
    assert first["prepay_id"] != second["prepay_id"]
    status, refused = place(client, brand, buyer, "order-0001", amount={"total": 1, "currency": "CNY"})
    assert (status, refused["code"]) == (400, "INVALID_REQUEST")
    sandbox.act(buyer, "pay", **sheet(client, brand, first["prepay_id"]))
    again = sandbox.act(buyer, "pay", **sheet(client, brand, second["prepay_id"]))
    assert again["reason"] == "该订单已支付"
    status, refused = place(client, brand, buyer, "order-0001")
    assert (status, refused["code"]) == (403, "OUT_TRADE_NO_USED")


def test_a_closed_order_cannot_be_paid_and_a_paid_one_not_closed(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    open_one = place(client, brand, buyer, "order-0001")[1]
    status, body = client.close("order-0001")
    assert (status, body) == (204, b"")
    assert query(client, "order-0001")["trade_state"] == "CLOSED"
    tried = sandbox.act(buyer, "pay", **sheet(client, brand, open_one["prepay_id"]))
    assert (tried["err_msg"], tried["reason"]) == ("get_brand_wcpay_request:fail", "该订单已关闭")
    paid = place(client, brand, buyer, "order-0002")[1]
    sandbox.act(buyer, "pay", **sheet(client, brand, paid["prepay_id"]))
    assert client.close("order-0002")[0] == 400
    assert client.close("order-9999")[0] == 404
    assert client.query(out_trade_no="order-9999")[0] == 404


def test_time_closes_sheets_and_orders(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    placed = place(client, brand, buyer, "order-0001")[1]
    parameters = sheet(client, brand, placed["prepay_id"])
    sandbox.advance(7201)
    assert "过期" in sandbox.act(buyer, "pay", **parameters)["reason"]
    soon = sandbox.get("clock")["beijing"].replace("+08:00", "+08:00")
    status, refused = place(client, brand, buyer, "order-0002", time_expire=soon)
    assert (status, refused["code"]) == (400, "PARAM_ERROR")
    sandbox.advance(7 * 86_400)
    assert query(client, "order-0001")["trade_state"] == "CLOSED"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"paySign": "AAAA"}, "支付验证签名失败"),
        ({"timeStamp": "1"}, "支付验证签名失败"),
        ({"signType": "MD5"}, "signType"),
        ({"package": "prepay_id=wx0"}, "prepay_id"),
        ({"appId": "wx0"}, "appId"),
        ({"nonceStr": ""}, "nonceStr"),
    ],
)
def test_a_wrong_payment_sheet_is_refused(
    client: Any,
    brand: dict[str, Any],
    buyer: dict[str, Any],
    sandbox: Sandbox,
    change: dict[str, str],
    reason: str,
) -> None:
    placed = place(client, brand, buyer, "order-0001")[1]
    tried = sandbox.act(buyer, "pay", **sheet(client, brand, placed["prepay_id"], **change))
    assert tried["err_msg"] == "get_brand_wcpay_request:fail"
    assert reason in tried["reason"]
    assert query(client, "order-0001")["trade_state"] == "NOTPAY"


def test_somebody_else_cannot_pay(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    placed = place(client, brand, buyer, "order-0001")[1]
    other = sandbox.person()
    assert "不一致" in sandbox.act(other, "pay", **sheet(client, brand, placed["prepay_id"]))["reason"]


def test_requests_with_a_wrong_signature_are_refused(
    sandbox: Sandbox, merchant: dict[str, Any], brand: dict[str, Any], buyer: dict[str, Any], pay_client: Any
) -> None:
    stranger = sandbox.account("pay", appid=brand["appid"])
    forged = pay_client(merchant, private_key=stranger["merchant_key"])
    status, refused = place(forged, brand, buyer, "order-0001")
    assert (status, refused["code"]) == (401, "SIGN_ERROR")
    other_serial = pay_client(merchant, cert_serial_no=stranger["merchant_serial"])
    assert place(other_serial, brand, buyer, "order-0001")[0] == 401
    bare = requests.get(f"{sandbox.base}/v3/pay/transactions/out-trade-no/order-0001?mchid=1", timeout=10)
    assert (bare.status_code, bare.json()["code"]) == (401, "SIGN_ERROR")
    nobody = pay_client({**merchant, "mchid": "1999999999"})
    assert place(nobody, brand, buyer, "order-0001")[1]["code"] == "MCH_NOT_EXISTS"


@pytest.mark.parametrize(
    "change",
    [
        {"out_trade_no": "short"},
        {"out_trade_no": "with space 1"},
        {"amount": {"total": 0, "currency": "CNY"}},
        {"amount": {"total": 1.5, "currency": "CNY"}},
        {"amount": {"total": 1, "currency": "USD"}},
        {"payer": {"openid": "nobody"}},
        {"description": "长" * 128},
        {"notify_url": "http://127.0.0.1/notify?with=query"},
    ],
)
def test_wrong_orders_are_refused(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], change: Any
) -> None:
    status, refused = (
        place(client, brand, buyer, **{"number": "order-0001", **change})
        if "out_trade_no" not in (change)
        else place(client, brand, buyer, change["out_trade_no"])
    )
    assert (status, refused["code"]) == (400, "PARAM_ERROR")


def test_refunds_keep_their_bounds(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    placed = place(client, brand, buyer, "order-0001")[1]

    def refund(number: str, fen: int) -> tuple[int, Any]:
        amount = {"refund": fen, "total": 12_900, "currency": "CNY"}
        status, text = client.refund(out_refund_no=number, amount=amount, out_trade_no="order-0001")
        return status, json.loads(text)

    assert refund("refund-1", 100)[1]["code"] == "TRADE_ERROR"
    sandbox.act(buyer, "pay", **sheet(client, brand, placed["prepay_id"]))
    assert refund("refund-1", 100)[0] == 200
    assert refund("refund-1", 100)[0] == 200, "the same number is the same refund"
    assert refund("refund-1", 200)[1]["code"] == "INVALID_REQUEST"
    assert refund("refund-2", 100)[1]["code"] == "FREQUENCY_LIMITED"
    sandbox.advance(61)
    assert refund("refund-2", 12_801)[1]["code"] == "INVALID_REQUEST"
    assert refund("refund-2", 12_800)[0] == 200
    sandbox.advance(61)
    assert refund("refund-3", 1)[1]["code"] == "INVALID_REQUEST"
    assert client.query_refund("refund-9")[0] == 404


def test_a_refund_can_end_badly(
    client: Any,
    merchant: dict[str, Any],
    brand: dict[str, Any],
    buyer: dict[str, Any],
    sandbox: Sandbox,
    shop: Shop,
) -> None:
    placed = place(client, brand, buyer, "order-0001")[1]
    sandbox.act(buyer, "pay", **sheet(client, brand, placed["prepay_id"]))
    sandbox.post("faults", refund="ABNORMAL")
    client.refund(
        out_refund_no="r1",
        amount={"refund": 1, "total": 12_900, "currency": "CNY"},
        out_trade_no="order-0001",
    )
    sandbox.advance(2)
    sandbox.flush()
    last = shop.at(merchant["key"])[-1]
    assert client.callback(last.headers, last.body)["event_type"] == "REFUND.ABNORMAL"


def test_notices_are_repeated_until_they_are_taken(
    client: Any,
    merchant: dict[str, Any],
    brand: dict[str, Any],
    buyer: dict[str, Any],
    sandbox: Sandbox,
    shop: Shop,
) -> None:
    placed = place(client, brand, buyer, "order-0001")[1]
    shop.answers = [(500, b"{}"), (400, b"{}")]
    shop.answer = (204, b"")
    sandbox.act(buyer, "pay", **sheet(client, brand, placed["prepay_id"]))
    for _ in range(4):
        sandbox.flush()
        sandbox.advance(20)
    received = shop.at(merchant["key"])
    assert len(received) == 3
    assert len({json.loads(one.body)["id"] for one in received}) == 1
    (row,) = sandbox.get("callbacks", account=merchant["key"])
    assert (row["status"], [one["status"] for one in row["attempts"]]) == ("delivered", [500, 400, 204])


def test_bad_copies_of_a_notice_do_not_pass_the_check(
    client: Any,
    merchant: dict[str, Any],
    brand: dict[str, Any],
    buyer: dict[str, Any],
    sandbox: Sandbox,
    shop: Shop,
) -> None:
    faults = ("forge", "tamper", "stale", "unknown_type", "signtest", "wrong_serial")
    sandbox.post(
        "faults", callback=True, match="TRANSACTION.SUCCESS", **dict.fromkeys(faults, True), duplicate=1
    )
    placed = place(client, brand, buyer, "order-0001")[1]
    sandbox.act(buyer, "pay", **sheet(client, brand, placed["prepay_id"]))
    sandbox.flush()
    sandbox.advance(1)
    sandbox.flush()
    variants = [row["variant"] for row in reversed(sandbox.get("callbacks", account=merchant["key"]))]
    assert variants == [
        *(("unknown_type" if one == "unknown_type" else one) for one in faults),
        "genuine",
        "duplicate",
    ]
    passed = []
    for one in shop.at(merchant["key"]):
        try:
            passed.append(client.callback(one.headers, one.body))
        except Exception:
            passed.append(None)
    events = sorted(one["event_type"] for one in passed if one)
    assert events == ["SANDBOX.UNKNOWN", *["TRANSACTION.SUCCESS"] * 3], (
        "the stale one is signed well, but old"
    )


def test_native_orders_give_a_code(merchant: dict[str, Any], pay_client: Any) -> None:
    from wechatpayv3 import WeChatPayType

    client = pay_client(merchant, wechatpay_type=WeChatPayType.NATIVE)
    status, text = client.pay(description="x", out_trade_no="order-0001", amount=AMOUNT)
    assert status == 200
    assert json.loads(text)["code_url"].startswith("weixin://wxpay/")


def test_the_certificate_mode_works_too_and_certificates_rotate(
    sandbox: Sandbox, merchant: dict[str, Any], brand: dict[str, Any], buyer: dict[str, Any], shop: Shop
) -> None:
    from wechatpayv3 import WeChatPay, WeChatPayType
    from wechatpayv3.core import Core

    original = Core._init_certificates
    try:
        # The address is an attribute that the constructor uses before it can be changed from outside.
        Core._init_certificates = lambda self: setattr(self, "_gate_way", sandbox.base) or original(self)
        client = WeChatPay(
            wechatpay_type=WeChatPayType.JSAPI,
            mchid=merchant["mchid"],
            private_key=merchant["merchant_key"],
            cert_serial_no=merchant["merchant_serial"],
            apiv3_key=merchant["apiv3_key"],
            appid=merchant["appid"],
        )
    finally:
        Core._init_certificates = original
    assert client.query(out_trade_no="order-0001")[0] == 404
    client._core._gate_way = sandbox.base
    sandbox.post(f"accounts/{merchant['key']}/rotate")
    sandbox.post("accounts", kind="pay", key=merchant["key"], notices_by="certificate")
    placed = place(client, brand, buyer, "order-0001", notify_url=merchant["webhook_url"])[1]
    sandbox.act(buyer, "pay", **sheet(client, brand, placed["prepay_id"]))
    sandbox.flush()
    (notice,) = shop.at(merchant["key"])
    assert client.callback(notice.headers, notice.body)["event_type"] == "TRANSACTION.SUCCESS"


def test_a_moved_clock_does_not_break_clients_that_sign_by_the_machines(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    sandbox.advance(30 * 86_400)
    assert place(client, brand, buyer, "order-0001")[0] == 200


def test_pay_can_fail_on_demand(
    client: Any, brand: dict[str, Any], buyer: dict[str, Any], sandbox: Sandbox
) -> None:
    sandbox.post("faults", match="/v3/pay/", http_status=500, code="SYSTEM_ERROR")
    assert place(client, brand, buyer, "order-0001")[0] == 500
    assert client.query(out_trade_no="order-0001")[0] == 404
    sandbox.post("faults", match="/v3/pay/", drop=True, effect="after")
    with pytest.raises(requests.ConnectionError):
        place(client, brand, buyer, "order-0001")
    assert query(client, "order-0001")["trade_state"] == "NOTPAY"


def test_codes_and_browsers_are_paid_by_the_phone_and_stand_on_tomorrows_bill(
    sandbox: Sandbox, client: Any, brand: dict[str, Any], buyer: dict[str, Any]
) -> None:
    native = place(client, brand, buyer, "order-0001", pay_type=WeChatPayType.NATIVE, payer=None)[1][
        "code_url"
    ]
    assert sandbox.act(buyer, "scan", code=native) == {"kind": "pay", "code": native}
    assert sandbox.act(buyer, "pay", code=native, outcome="look")["amount_fen"] == 12_900
    assert sandbox.act(buyer, "pay", code=native)["err_msg"] == "get_brand_wcpay_request:ok"
    assert sandbox.act(buyer, "pay", code=native)["reason"] == "该订单已支付"
    scene = {"payer_client_ip": "127.0.0.1", "h5_info": {"type": "Wap"}}
    address = place(
        client, brand, buyer, "order-0002", pay_type=WeChatPayType.H5, payer=None, scene_info=scene
    )[1]["h5_url"]
    asked = f"{address}&sandbox_person={buyer['id']}&redirect_url=http%3A%2F%2Fshop%2Fback"
    assert "¥129.00" in requests.get(asked, timeout=10).text
    assert "href='http://shop/back'" in requests.post(asked, timeout=10).text
    assert query(client, "order-0002")["trade_state"] == "SUCCESS"
    today = sandbox.get("clock")["beijing"][:10]
    assert client.trade_bill(today)[0] == 400  # only tomorrow
    sandbox.advance(2 * 86_400)
    status, text = client.trade_bill(today, tar_type="")
    assert status == 200
    status, bill = client.download_bill(json.loads(text)["download_url"])
    text = bill.decode() if isinstance(bill, bytes) else bill
    assert (status, text.count("`SUCCESS"), text.count("`order-000")) == (200, 2, 2)
    assert client.trade_bill("2020-01-01")[0] == 400
