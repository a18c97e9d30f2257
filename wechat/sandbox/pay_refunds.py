"""WeChat Pay v3: refunds, whole and in parts. Contract section D5."""

from __future__ import annotations

import re
from datetime import datetime

from wechat.sandbox.errors import PayError
from wechat.sandbox.pay import Answer, PayCall, notify, notify_address, pay, text_field, wrong
from wechat.sandbox.store import Row
from wechat.sandbox.world import World

REFUND_DAYS = 365
REFUNDS_MOST = 50
REFUND_PAUSE_SECONDS = 60
REFUND_TAKES_SECONDS = 1.5
OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")


def _refund_document(refund: Row) -> Row:
    document = {
        name: refund[name] for name in ("refund_id", "out_refund_no", "transaction_id", "out_trade_no")
    }
    document.update(
        channel="ORIGINAL",
        user_received_account="支付用户零钱",
        create_time=refund["create_time"],
        status=refund["status"],
        funds_account="AVAILABLE",
        amount={
            "total": refund["total"],
            "refund": refund["refund"],
            "payer_total": refund["total"],
            "payer_refund": refund["refund"],
            "settlement_refund": refund["refund"],
            "settlement_total": refund["total"],
            "discount_refund": 0,
            "currency": "CNY",
        },
    )
    if refund["success_time"]:
        document["success_time"] = refund["success_time"]
    return document


def _order_to_refund(call: PayCall, body: Row) -> Row:
    by_number, by_transaction = body.get("out_trade_no"), body.get("transaction_id")
    if by_transaction:
        found = [one for one in call.world.orders if one["transaction_id"] == by_transaction]
        order = found[0] if found and found[0]["mchid"] == call.account["mchid"] else None
    elif by_number:
        order = call.world.orders.get(f"{call.account['mchid']}|{by_number}")
    else:
        raise wrong("out_trade_no", "与 transaction_id 不能同时为空")
    if order is None:
        raise PayError(404, "RESOURCE_NOT_EXISTS", "订单不存在")
    if order["state"] not in ("SUCCESS", "REFUND"):
        raise PayError(403, "TRADE_ERROR", "订单状态错误：未支付的订单不能退款")
    return order


@pay("POST", r"/v3/refund/domestic/refunds")
def refund_create(call: PayCall) -> Answer:
    """Refund all or a part; the same out_refund_no answers the same refund."""
    body, world = call.body, call.world
    number = body.get("out_refund_no")
    if not isinstance(number, str) or not OUT_REFUND_NO.fullmatch(number):
        raise wrong("out_refund_no", "应为 1 至 64 个字母、数字或 _-|*@")
    text_field(body, "reason", 80, needed=False)
    amount = body.get("amount")
    if not isinstance(amount, dict) or amount.get("currency") != "CNY":
        raise wrong("amount/currency", "应为 CNY")
    refund_fen, total_fen = amount.get("refund"), amount.get("total")
    if type(refund_fen) is not int or type(total_fen) is not int or refund_fen < 1:
        raise wrong("amount/refund", "应为正整数，单位分")
    order = _order_to_refund(call, body)
    key = f"{order['mchid']}|{number}"
    before = world.refunds.get(key)
    if before is not None:
        if before["out_trade_no"] != order["out_trade_no"] or before["refund"] != refund_fen:
            raise PayError(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
        return 200, _refund_document(before)
    _may_refund(world, order, refund_fen, total_fen)
    refund: Row = {
        "refund_id": f"5030{world.next_number():010d}{world.clock.beijing():%Y%m%d}",
        "out_refund_no": number,
        "transaction_id": order["transaction_id"],
        "out_trade_no": order["out_trade_no"],
        "mchid": order["mchid"],
        "total": order["total"],
        "refund": refund_fen,
        "status": "PROCESSING",
        "create_time": world.clock.rfc3339(),
        "at": world.clock.now(),
        "success_time": "",
        "notify_url": notify_address(body, needed=False) or order["notify_url"],
        "outcome": world.faults.for_refund(),
    }
    order.update(state="REFUND", refunded=order["refunded"] + refund_fen)
    world.orders.put(f"{order['mchid']}|{order['out_trade_no']}", order)
    world.refunds.put(key, refund)
    world.later(REFUND_TAKES_SECONDS, "finish_refund", key=key)
    return 200, _refund_document(refund)


def _may_refund(world: World, order: Row, refund_fen: int, total_fen: int) -> None:
    if total_fen != order["total"]:
        raise PayError(400, "PARAM_ERROR", "订单金额与下单时不一致")
    if order["refunded"] + refund_fen > order["total"]:
        raise PayError(400, "INVALID_REQUEST", "退款金额大于支付金额")
    if world.clock.now() - datetime.fromisoformat(order["success_time"]).timestamp() > REFUND_DAYS * 86400:
        raise PayError(400, "INVALID_REQUEST", "订单已超过可退款的最大期限")
    of_order = [
        one
        for one in world.refunds
        if one["mchid"] == order["mchid"] and one["out_trade_no"] == order["out_trade_no"]
    ]
    if len(of_order) >= REFUNDS_MOST:
        raise PayError(400, "INVALID_REQUEST", "部分退款次数已达上限")
    if any(world.clock.now() - one["at"] < REFUND_PAUSE_SECONDS for one in of_order):
        raise PayError(429, "FREQUENCY_LIMITED", "同一笔订单两次退款须间隔 1 分钟")


def finish_refund(world: World, *, key: str) -> None:
    """The bank has answered: the refund ends and its notice goes out."""
    refund = world.refunds.get(key)
    if refund is None or refund["status"] != "PROCESSING":
        return
    account = world.by_mchid[refund["mchid"]]
    refund["status"] = refund["outcome"]
    if refund["status"] == "SUCCESS":
        refund["success_time"] = world.clock.rfc3339()
    elif refund["status"] == "CLOSED":
        order = world.orders.rows[f"{refund['mchid']}|{refund['out_trade_no']}"]
        order["refunded"] -= refund["refund"]
        world.orders.put(f"{refund['mchid']}|{refund['out_trade_no']}", order)
    world.refunds.put(key, refund)
    plain: Row = {
        "mchid": refund["mchid"],
        **{name: refund[name] for name in ("transaction_id", "out_trade_no", "refund_id", "out_refund_no")},
        "refund_status": refund["status"],
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": refund["total"],
            "refund": refund["refund"],
            "payer_total": refund["total"],
            "payer_refund": refund["refund"],
        },
    }
    if refund["success_time"]:
        plain["success_time"] = refund["success_time"]
    summary = {"SUCCESS": "退款成功", "ABNORMAL": "退款异常", "CLOSED": "退款关闭"}[refund["status"]]
    notify(world, account, refund["notify_url"], f"REFUND.{refund['status']}", "refund", plain, summary)
    order = world.orders.rows[f"{refund['mchid']}|{refund['out_trade_no']}"]
    if refund["status"] == "SUCCESS" and order.get("person") in world.people.rows:
        app = world.by_appid[order["appid"]]
        world.deliver(
            order["person"],
            channel="notice",
            account=app["key"],
            kind="payment",
            text=f"退款到账：¥{refund['refund'] / 100:.2f}",
            data={"商户": account["name"], "单号": order["out_trade_no"]},
        )


@pay("GET", r"/v3/refund/domestic/refunds/([^/]+)")
def refund_query(call: PayCall) -> Answer:
    """A refund by the merchant's number."""
    refund = call.world.refunds.get(f"{call.account['mchid']}|{call.arguments[0]}")
    if refund is None:
        raise PayError(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
    return 200, _refund_document(refund)
