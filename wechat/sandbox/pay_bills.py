"""WeChat Pay v3: the trade bill of a day, ready from ten o'clock of the next. Contract section D6."""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime, timedelta

from wechat.sandbox import crypto
from wechat.sandbox.errors import PayError
from wechat.sandbox.pay import Answer, PayCall, pay, refresh, wrong
from wechat.sandbox.store import Row

READY_HOUR = 10
KEPT_DAYS = 92
LINK_SECONDS = 300
FEE = 0.006
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
SUMS_HEAD = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


@pay("GET", r"/v3/bill/tradebill")
def trade_bill(call: PayCall) -> Answer:
    """Where to download the bill of ?bill_date=; 400 NO_STATEMENT_EXIST when nothing happened."""
    given = call.query.get("bill_date", "")
    try:
        day = date.fromisoformat(given) if DAY.fullmatch(given) else None
    except ValueError:
        day = None
    if day is None:
        raise wrong("bill_date", "应为 YYYY-MM-DD")
    kind = call.query.get("bill_type", "ALL")
    if kind not in ("ALL", "SUCCESS", "REFUND"):
        raise wrong("bill_type", "应为 ALL、SUCCESS 或 REFUND")
    now = call.world.clock.beijing()
    if day >= now.date() or now.date() - day > timedelta(days=KEPT_DAYS):
        raise PayError(400, "INVALID_REQUEST", "账单日期不在可下载的范围内")
    if day == now.date() - timedelta(days=1) and now.hour < READY_HOUR:
        raise PayError(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")
    text = bill_text(call, day.isoformat(), kind)
    if text is None:
        raise PayError(400, "NO_STATEMENT_EXIST", "账单文件不存在")
    token = crypto.random_text(32)
    expires = call.world.clock.now() + LINK_SECONDS
    call.world.bills[token] = {"mchid": call.account["mchid"], "text": text, "expires": expires}
    return 200, {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        "download_url": f"{call.world.base}/v3/billdownload/file?token={token}",
    }


@pay("GET", r"/v3/billdownload/file")
def bill_download(call: PayCall) -> Answer:
    """The bill itself: plain CSV, not signed."""
    bill = call.world.bills.get(call.query.get("token", ""))
    if bill is None or bill["mchid"] != call.account["mchid"] or bill["expires"] < call.world.clock.now():
        raise PayError(400, "INVALID_REQUEST", "下载链接无效或已过期")
    return 200, str(bill["text"])


def bill_text(call: PayCall, day: str, kind: str) -> str | None:
    """The CSV: every field begins with a back-tick, amounts are yuan. None: an empty day."""
    world, account = call.world, call.account
    rows: list[tuple[str, list[str]]] = []
    sums = {"trades": 0, "paid": 0, "refunded": 0, "fee": 0.0}
    if kind != "REFUND":
        for order in world.orders:
            if order["mchid"] == account["mchid"] and refresh(world, order)["success_time"][:10] == day:
                rows.append(_line(account, order, order["success_time"], None))
                sums["trades"] += 1
                sums["paid"] += order["total"]
                sums["fee"] += order["total"] * FEE
    if kind != "SUCCESS":
        for refund in world.refunds:
            if refund["mchid"] == account["mchid"] and refund["success_time"][:10] == day:
                order = world.orders.rows[f"{refund['mchid']}|{refund['out_trade_no']}"]
                rows.append(_line(account, order, refund["success_time"], refund))
                sums["refunded"] += refund["refund"]
                sums["fee"] -= refund["refund"] * FEE
    if not rows:
        return None
    totals = [
        str(sums["trades"]), _yuan(sums["paid"]), _yuan(sums["refunded"]), "0.00", f"{sums['fee'] / 100:.5f}",
        _yuan(sums["paid"]), _yuan(sums["refunded"]),
    ]  # fmt: skip
    lines = [HEAD, *(_ticked(fields) for _at, fields in sorted(rows)), SUMS_HEAD, _ticked(totals)]
    return "\ufeff" + "\r\n".join(lines) + "\r\n"


def _line(account: Row, order: Row, at: str, refund: Row | None) -> tuple[str, list[str]]:
    amount = refund["refund"] if refund else order["total"]
    fee = f"{(-amount if refund else amount) * FEE / 100:.5f}"
    time = datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M:%S")
    return at, [
        time, order["appid"], account["mchid"], "0", "", order["transaction_id"], order["out_trade_no"],
        order.get("payer", ""), order["kind"], "REFUND" if refund else "SUCCESS", "OTHERS", "CNY",
        "0.00" if refund else _yuan(amount), "0.00", refund["refund_id"] if refund else "0",
        refund["out_refund_no"] if refund else "0", _yuan(amount) if refund else "0.00", "0.00",
        "ORIGINAL" if refund else "", refund["status"] if refund else "", order["description"].replace(",", "，"),
        order["attach"].replace(",", "，"), fee, "0.60%", "0.00" if refund else _yuan(amount),
        _yuan(amount) if refund else "0.00", "",
    ]  # fmt: skip


def _yuan(fen: float) -> str:
    return f"{fen / 100:.2f}"


def _ticked(fields: list[str]) -> str:
    return ",".join(f"`{field}" for field in fields)
