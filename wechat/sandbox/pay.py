"""WeChat Pay v3: signatures, orders, the payer, certificates. Contract sections D1 to D4.

Every request's signature is checked with the merchant's key, every answer is signed. An order goes
NOTPAY → SUCCESS → REFUND, or NOTPAY → CLOSED; a refund PROCESSING → SUCCESS, ABNORMAL or CLOSED.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from wechat.sandbox import crypto, windows
from wechat.sandbox.certificates import platform_certificate
from wechat.sandbox.errors import PayError, Refused
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

SKEW_SECONDS = 300
PREPAY_SECONDS = 7200
PAY_CODES = "weixin://wxpay/bizpayurl?pr="
H5_PATH = "/sandbox/h5pay"
DEFAULT_EXPIRY_SECONDS = 7 * 86400
OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-*|]{6,32}")
AUTHORIZATION = re.compile(r'(\w+)="([^"]*)"')
TRADE_STATE_TEXT = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "订单已关闭",
    "USERPAYING": "用户支付中",
}
_public_keys: dict[str, rsa.RSAPublicKey] = {}


@dataclass(slots=True)
class PayCall:
    """One call whose signature fitted."""

    world: World
    account: Row
    query: dict[str, str]
    raw: bytes
    arguments: tuple[str, ...]

    @property
    def body(self) -> Row:
        """The JSON document; raises PARAM_ERROR."""
        try:
            document = json.loads(self.raw)
        except (ValueError, UnicodeDecodeError) as error:
            raise PayError(400, "PARAM_ERROR", "请求不是合法的 JSON") from error
        if not isinstance(document, dict):
            raise PayError(400, "PARAM_ERROR", "请求不是合法的 JSON")
        return document


Answer = tuple[int, Row | str | None]  # a text is not signed
ROUTES: list[tuple[str, re.Pattern[str], Callable[[PayCall], Answer]]] = []


def pay(method: str, pattern: str) -> Callable[[Callable[[PayCall], Answer]], Callable[[PayCall], Answer]]:
    """Answer this method and path (a regular expression whose groups become the arguments)."""

    def register(handler: Callable[[PayCall], Answer]) -> Callable[[PayCall], Answer]:
        ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return register


def public_key_of(pem: str) -> rsa.RSAPublicKey:
    """The public key in a PEM text, kept ready."""
    if pem not in _public_keys:
        key = load_pem_public_key(pem.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        _public_keys[pem] = key
    return _public_keys[pem]


# --- signatures -----------------------------------------------------------------------------------


def merchant_of_header(world: World, header: str) -> Row | None:
    """The merchant that an Authorization header names, unverified."""
    return world.by_mchid.get(dict(AUTHORIZATION.findall(header)).get("mchid", ""))


def authenticate(world: World, *, method: str, target: str, body: bytes, header: str) -> Row:
    """The merchant account that signed this request; raises SIGN_ERROR, PARAM_ERROR, MCH_NOT_EXISTS."""
    scheme, _, rest = header.partition(" ")
    given = dict(AUTHORIZATION.findall(rest))
    names = ("mchid", "nonce_str", "signature", "timestamp", "serial_no")
    if scheme != "WECHATPAY2-SHA256-RSA2048" or any(not given.get(name) for name in names):
        raise PayError(
            401, "SIGN_ERROR", "Http 头 Authorization 值格式错误，请参考《微信支付商户 API v3 签名规则》"
        )
    account = world.by_mchid.get(given["mchid"])
    if account is None:
        raise PayError(400, "MCH_NOT_EXISTS", "商户号不存在")
    if not _in_time(world, given["timestamp"]):
        raise PayError(
            401, "SIGN_ERROR", "Http 头 Authorization 中的 timestamp 与发起请求的时间不得超过 5 分钟"
        )
    if given["serial_no"].upper() != account["merchant_serial"].upper():
        raise PayError(401, "SIGN_ERROR", "商户证书序列号有误，请使用签名私钥匹配的证书序列号")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise PayError(400, "PARAM_ERROR", "请求体不是 UTF-8") from error
    key = public_key_of(account["merchant_public"])
    if not crypto.rsa_verified(
        key, given["signature"], method, target, given["timestamp"], given["nonce_str"], text
    ):
        detail: dict[str, object] = {
            "issue": "sign not match",
            "field": "signature",
            "location": "authorization",
            "sign_information": {
                "method": method,
                "url": target,
                "truncated_sign_message": f"{method}\n{target}\n",
            },
        }
        raise PayError(401, "SIGN_ERROR", "错误的签名，验签失败", {"detail": detail})
    return account


def _in_time(world: World, timestamp: str) -> bool:
    """Within five minutes of the sandbox's clock, or of the machine's: SDKs sign by the machine's."""
    if not timestamp.isdigit():
        return False
    offsets = (world.clock.now(), world.clock.now() - world.clock.offset_seconds)
    return any(abs(now - int(timestamp)) <= SKEW_SECONDS for now in offsets)


def signed_headers(world: World, account: Row | None, body: str, asked_serial: str) -> dict[str, str]:
    """The five headers of an answer (and Request-ID), signed with the key that the request asked for."""
    headers = {"Request-ID": uuid.uuid4().hex.upper()}
    if account is None:
        return headers
    by_certificate = not asked_serial.startswith("PUB_KEY_ID_") and account.get("certificate")
    if by_certificate:
        key, serial = crypto.load_private(account["certificate"]["key"]), account["certificate"]["serial"]
    else:
        key, serial = crypto.load_private(account["platform_key"]), account["public_key_id"]
    timestamp, nonce = str(int(world.clock.now())), crypto.random_text(32)
    headers["Wechatpay-Timestamp"] = timestamp
    headers["Wechatpay-Nonce"] = nonce
    headers["Wechatpay-Signature"] = crypto.rsa_sign(key, timestamp, nonce, body)
    headers["Wechatpay-Serial"] = serial
    headers["Wechatpay-Signature-Type"] = "WECHATPAY2-SHA256-RSA2048"
    return headers


# --- orders ---------------------------------------------------------------------------------------


def wrong(field: str, issue: str) -> PayError:
    """PARAM_ERROR about one field."""
    detail: dict[str, object] = {"field": f"/{field}", "issue": issue, "location": "body"}
    return PayError(400, "PARAM_ERROR", f"参数错误：{field} {issue}", detail)


def text_field(body: Row, name: str, most: int, *, needed: bool = True) -> str:
    """A text of the body, at most so long; raises PARAM_ERROR."""
    value = body.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value) or len(value) > most:
        raise wrong(name, f"应为 1 至 {most} 个字符")
    return value


def _checked_order(call: PayCall, kind: str) -> Row:
    """The parameters that make an order what it is; raises PARAM_ERROR and others."""
    body, account = call.body, call.account
    if body.get("mchid") != account["mchid"]:
        raise PayError(400, "PARAM_ERROR", "mchid 与签名的商户号不一致")
    app = call.world.by_appid.get(str(body.get("appid")))
    if body.get("appid") != account["appid"] or app is None:
        raise PayError(400, "APPID_MCHID_NOT_MATCH", "appid 和 mch_id 不匹配")
    number = body.get("out_trade_no")
    if not isinstance(number, str) or not OUT_TRADE_NO.fullmatch(number):
        raise wrong("out_trade_no", "应为 6 至 32 个字母、数字或 _-*|")
    amount = body.get("amount")
    total = amount.get("total") if isinstance(amount, dict) else None
    if not isinstance(amount, dict) or type(total) is not int or total < 1:
        raise wrong("amount/total", "应为正整数，单位分")
    if amount.get("currency", "CNY") != "CNY":
        raise wrong("amount/currency", "只支持 CNY")
    order = {
        "appid": body["appid"],
        "out_trade_no": number,
        "description": text_field(body, "description", 127),
        "attach": text_field(body, "attach", 128, needed=False),
        "notify_url": notify_address(body, needed=True),
        "total": total,
        "kind": kind,
        "openid": "",
        "time_expire": _expiry(call, body.get("time_expire")),
    }
    if kind == "JSAPI":
        payer = body.get("payer")
        openid = payer.get("openid") if isinstance(payer, dict) else None
        if not openid:
            raise wrong("payer/openid", "不能为空")
        if call.world.find_by_openid(app["key"], openid) is None:
            raise PayError(400, "PARAM_ERROR", "无效的 openid")
        order["openid"] = openid
    return order


def notify_address(body: Row, *, needed: bool) -> str:
    """Where notices go; raises PARAM_ERROR for an address with a query."""
    url = text_field(body, "notify_url", 255, needed=needed)
    if url:
        parts = urlsplit(url)
        # The platform demands https; the sandbox also takes http, because the shop under test is local.
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise wrong("notify_url", "应为不带参数的网址")
    return url


def _expiry(call: PayCall, given: Any) -> float:
    now = call.world.clock.now()
    if given is None:
        return 0.0
    try:
        at = datetime.fromisoformat(str(given)).timestamp()
    except ValueError as error:
        raise wrong("time_expire", "应为 RFC3339 格式") from error
    if at <= now:
        raise wrong("time_expire", "时间已过期")
    if at > now + 90 * 86400:
        raise wrong("time_expire", "最长 90 天")
    return at


def refresh(world: World, order: Row) -> Row:
    """Close an unpaid order whose time is over."""
    if order["state"] == "NOTPAY" and world.clock.now() >= order["ends"]:
        order["state"] = "CLOSED"
        world.orders.put(f"{order['mchid']}|{order['out_trade_no']}", order)
    return order


@pay("POST", r"/v3/pay/transactions/(jsapi|native|h5|app)")
def order_create(call: PayCall) -> Answer:
    """Place an order. The same number with the same parameters gives a fresh prepay_id."""
    kind = {"jsapi": "JSAPI", "native": "NATIVE", "h5": "MWEB", "app": "APP"}[call.arguments[0]]
    wanted = _checked_order(call, kind)
    key = f"{call.account['mchid']}|{wanted['out_trade_no']}"
    order = call.world.orders.get(key)
    if order is not None:
        refresh(call.world, order)
        if order["state"] in ("SUCCESS", "REFUND"):
            raise PayError(403, "OUT_TRADE_NO_USED", "商户订单号重复")
        if order["state"] == "CLOSED":
            raise PayError(400, "ORDER_CLOSED", "该订单已关闭，请重新下单")
        if any(order[name] != value for name, value in wanted.items()):
            raise PayError(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
    else:
        now = call.world.clock.now()
        order = {
            **wanted,
            "mchid": call.account["mchid"],
            "state": "NOTPAY",
            "created": now,
            "ends": wanted["time_expire"] or now + DEFAULT_EXPIRY_SECONDS,
            "transaction_id": "",
            "success_time": "",
            "refunded": 0,
        }
        call.world.orders.put(key, order)
    return 200, _prepaid(call, order, key)


def _prepaid(call: PayCall, order: Row, key: str) -> Row:
    """What the payer's device needs, good for two hours (five minutes for h5)."""
    now = call.world.clock.now()
    stamp = call.world.clock.beijing().strftime("%d%H%M%S")
    prepay_id = f"wx{stamp}{call.world.next_number():06d}{crypto.random_text(20).lower()}"
    life = 300 if order["kind"] == "MWEB" else PREPAY_SECONDS
    call.world.prepays.put(prepay_id, {"prepay_id": prepay_id, "order": key, "expires": now + life})
    if order["kind"] == "NATIVE":
        return {"code_url": f"{PAY_CODES}{prepay_id}"}
    if order["kind"] == "MWEB":
        return {"h5_url": f"{call.world.base}{H5_PATH}?prepay_id={prepay_id}"}
    return {"prepay_id": prepay_id}


def book_past(world: World, account: Row, app: Row, given: Row, notify_url: str) -> bool:
    """A payment that was made before this world began; False when its number is known."""
    key = f"{account['mchid']}|{given['out_trade_no']}"
    if key in world.orders.rows:
        return False
    paid_at = datetime.fromisoformat(given["success_time"]).timestamp()
    person = world.find_by_openid(app["key"], given["openid"])
    refunded = int(given.get("refunded") or 0)
    order: Row = {
        "appid": app["appid"],
        "out_trade_no": given["out_trade_no"],
        "description": given.get("description") or "",
        "attach": "",
        "notify_url": notify_url,
        "total": int(given["total"]),
        "kind": "JSAPI",
        "openid": given["openid"],
        "time_expire": 0.0,
        "mchid": account["mchid"],
        "state": "REFUND" if refunded else "SUCCESS",
        "created": paid_at,
        "ends": paid_at,
        "transaction_id": given["transaction_id"],
        "success_time": given["success_time"],
        "refunded": refunded,
        "payer": given["openid"],
        "person": person["id"] if person else "",
    }
    world.orders.put(key, order)
    return True


def order_document(order: Row) -> Row:
    """An order as the query and the notice show it."""
    document: Row = {
        "appid": order["appid"],
        "mchid": order["mchid"],
        "out_trade_no": order["out_trade_no"],
        "trade_state": order["state"],
        "trade_state_desc": TRADE_STATE_TEXT[order["state"]],
        "attach": order["attach"],
        "amount": {"total": order["total"], "currency": "CNY"},
    }
    if order["transaction_id"]:
        document.update(
            transaction_id=order["transaction_id"],
            trade_type=order["kind"],
            bank_type="OTHERS",
            success_time=order["success_time"],
            payer={"openid": order["payer"]},
        )
        document["amount"].update(payer_total=order["total"], payer_currency="CNY")
    elif order["openid"]:
        document["payer"] = {"openid": order["openid"]}
    return document


def _asked_mchid(call: PayCall) -> None:
    if call.query.get("mchid") != call.account["mchid"]:
        raise PayError(400, "PARAM_ERROR", "mchid 与签名的商户号不一致")


@pay("GET", r"/v3/pay/transactions/out-trade-no/([^/]+)")
def order_query(call: PayCall) -> Answer:
    """An order by the merchant's number."""
    _asked_mchid(call)
    order = call.world.orders.get(f"{call.account['mchid']}|{call.arguments[0]}")
    if order is None:
        raise PayError(404, "ORDER_NOT_EXIST", "订单不存在")
    return 200, order_document(refresh(call.world, order))


@pay("GET", r"/v3/pay/transactions/id/([^/]+)")
def order_query_by_transaction(call: PayCall) -> Answer:
    """An order by the platform's number."""
    _asked_mchid(call)
    for order in call.world.orders:
        if order["mchid"] == call.account["mchid"] and order["transaction_id"] == call.arguments[0]:
            return 200, order_document(order)
    raise PayError(404, "ORDER_NOT_EXIST", "订单不存在")


@pay("POST", r"/v3/pay/transactions/out-trade-no/([^/]+)/close")
def order_close(call: PayCall) -> Answer:
    """Close an unpaid order: nobody can pay it afterwards."""
    if call.body.get("mchid") != call.account["mchid"]:
        raise PayError(400, "PARAM_ERROR", "mchid 与签名的商户号不一致")
    key = f"{call.account['mchid']}|{call.arguments[0]}"
    order = call.world.orders.get(key)
    if order is None:
        raise PayError(404, "ORDER_NOT_EXIST", "订单不存在")
    refresh(call.world, order)
    if order["state"] in ("SUCCESS", "REFUND"):
        raise PayError(400, "ORDERPAID", "该订单已支付")
    if order["state"] == "CLOSED":
        raise PayError(400, "ORDER_CLOSED", "订单已关闭，无法重复关闭")
    order["state"] = "CLOSED"
    call.world.orders.put(key, order)
    return 204, None


# --- the payer ------------------------------------------------------------------------------------


def checked_sheet(world: World, person: Row, given: Row) -> tuple[Row, Row]:
    """The order behind a page's payment parameters, after checking `paySign`; raises Refused in words
    that the payment sheet shows."""
    names = ("appId", "timeStamp", "nonceStr", "package", "signType", "paySign")
    for name in names:
        if not isinstance(given.get(name), str) or not given[name]:
            raise Refused(f"支付参数 {name} 缺失或不是文本")
    if given["signType"] != "RSA":
        raise Refused("signType 应为 RSA")
    if not given["package"].startswith("prepay_id="):
        raise Refused("package 应为 prepay_id=…")
    prepay = world.prepays.get(given["package"].removeprefix("prepay_id="))
    if prepay is None:
        raise Refused("prepay_id 不存在")
    order = world.orders.rows[prepay["order"]]
    account = world.by_mchid[order["mchid"]]
    if given["appId"] != order["appid"]:
        raise Refused("appId 与下单时不一致")
    key = public_key_of(account["merchant_public"])
    lines = (given["appId"], given["timeStamp"], given["nonceStr"], given["package"])
    if not crypto.rsa_verified(key, given["paySign"], *lines):
        raise Refused("支付验证签名失败")
    _may_pay(world, person, order, prepay)
    return order, account


def checked_code(world: World, person: Row, code: str) -> tuple[Row, Row]:
    """The order behind a scanned QR code or an opened h5 address; raises Refused."""
    by_address = parse_qs(urlsplit(code).query).get("prepay_id", [""])[0]
    prepay = world.prepays.get(code.removeprefix(PAY_CODES) if code.startswith(PAY_CODES) else by_address)
    if prepay is None:
        raise Refused("二维码或链接无效")
    order = world.orders.rows[prepay["order"]]
    _may_pay(world, person, order, prepay)
    return order, world.by_mchid[order["mchid"]]


def _may_pay(world: World, person: Row, order: Row, prepay: Row) -> None:
    refresh(world, order)
    if order["state"] in ("SUCCESS", "REFUND"):
        raise Refused("该订单已支付")
    if order["state"] == "CLOSED":
        raise Refused("该订单已关闭")
    if world.clock.now() >= prepay["expires"]:
        raise Refused("支付会话已过期，请重新发起支付")
    app = world.by_appid[order["appid"]]
    if order["openid"] and order["openid"] != person["openids_by_account"].get(app["key"]):
        raise Refused("下单账号与支付账号不一致")


def settle(world: World, person: Row, order: Row, account: Row) -> Row:
    """The person has paid: the order succeeds and its notice goes out."""
    app = world.by_appid[order["appid"]]
    day = world.clock.beijing().strftime("%Y%m%d")
    order.update(
        state="SUCCESS",
        transaction_id=f"4200{world.next_number():010d}{day}{crypto.sha1_of_sorted(order['out_trade_no'])[:6]}".upper(),
        success_time=world.clock.rfc3339(),
        payer=person["openids_by_account"][app["key"]],
        person=person["id"],
    )
    world.orders.put(f"{order['mchid']}|{order['out_trade_no']}", order)
    notify(
        world,
        account,
        order["notify_url"],
        "TRANSACTION.SUCCESS",
        "transaction",
        order_document(order),
        "支付成功",
    )
    world.deliver(
        person["id"],
        channel="notice",
        account=app["key"],
        kind="payment",
        text=f"微信支付凭证：¥{order['total'] / 100:.2f}",
        data={"商户": account["name"], "商品": order["description"], "单号": order["out_trade_no"]},
    )
    if app.get("payment_window"):
        # Contract G1: whether paying opens an allowance is contradicted by the vendor; off unless asked for.
        follow = world.follow(app["key"], person["id"])
        if follow and follow["subscribe"]:
            windows.open_window(follow, "payment", world.clock.now())
            world.follows.put(f"{app['key']}|{person['id']}", follow)
    return order


def notify(world: World, account: Row, url: str, event: str, original: str, plain: Row, summary: str) -> None:
    """Send an encrypted notice; repeats carry the same id."""
    sealed = crypto.seal(plain, apiv3_key=account["apiv3_key"], aad=original)
    notice = {
        "id": str(uuid.uuid4()),
        "create_time": world.clock.rfc3339(),
        "resource_type": "encrypt-resource",
        "event_type": event,
        "summary": summary,
        "resource": {**sealed, "original_type": original},
    }
    content = {"notice": notice, "out_trade_no": plain.get("out_trade_no", "")}
    world.callbacks.emit(account, event, content, url=url, person=plain.get("out_trade_no", ""))


# --- certificates ---------------------------------------------------------------------------------


@pay("GET", r"/v3/certificates")
def certificates(call: PayCall) -> Answer:
    """The platform certificate, sealed with the APIv3 key; made when it is first asked for."""
    certificate = call.account.get("certificate")
    if certificate is None:
        certificate = platform_certificate(call.world.clock.beijing())
        call.account["certificate"] = certificate
        call.world.accounts.put(call.account["key"], call.account)
    sealed = crypto.seal(certificate["pem"], apiv3_key=call.account["apiv3_key"], aad="certificate")
    entry = {
        "serial_no": certificate["serial"],
        "effective_time": certificate["from"],
        "expire_time": certificate["until"],
        "encrypt_certificate": sealed,
    }
    return 200, {"data": [entry]}
