"""Faults that the sandbox was told to show: on calls of its interfaces, and on its callbacks.

A call fault: {"match": path prefix, "account", "errcode" | "http_status" + "code", "delay_ms",
"drop": true with "effect": "before" | "after", "times": N or -1 for ever}.
A callback fault: {"callback": true, "match": "subscribe|TRANSACTION.SUCCESS|*", "account", "duplicate": N,
"delay_ms", "reorder", "lose", and copies that must do no harm, sent once before the genuine notice:
"forge", "tamper", "stale", "unknown_type", "signtest", "wrong_serial"; "times"}.
A refund fault: {"refund": "ABNORMAL" | "CLOSED", "times"}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wechat.sandbox.errors import Refused
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

BAD_COPIES = ("forge", "tamper", "stale", "unknown_type", "signtest", "wrong_serial")
FIELDS = {
    *(
        "id",
        "match",
        "account",
        "errcode",
        "http_status",
        "code",
        "message",
        "delay_ms",
        "drop",
        "effect",
        "times",
    ),
    *("callback", "duplicate", "reorder", "lose", "refund", "hits", *BAD_COPIES),
}
PRESETS: list[tuple[str, Row]] = [
    ("客服消息：系统繁忙（3 次）", {"match": "/cgi-bin/message/custom/send", "errcode": -1, "times": 3}),
    ("客服消息：当日额度用完", {"match": "/cgi-bin/message/custom/send", "errcode": 45009, "times": -1}),
    ("模板消息：调用过快（5 次）", {"match": "/cgi-bin/message/template/send", "errcode": 45011, "times": 5}),
    ("access_token 失效一次", {"match": "/cgi-bin/message/", "errcode": 40001, "times": 1}),
    ("access_token 一直无效", {"match": "/cgi-bin/message/", "errcode": 40001, "times": -1}),
    (
        "发送成功但连接中断（结果未知）",
        {"match": "/cgi-bin/message/", "drop": True, "effect": "after", "times": 1},
    ),
    ("所有接口慢 3 秒", {"match": "/cgi-bin/", "delay_ms": 3000, "times": 20}),
    ("支付下单：系统错误", {"match": "/v3/pay/", "http_status": 500, "code": "SYSTEM_ERROR", "times": 2}),
    ("支付通知丢失", {"callback": True, "match": "TRANSACTION.SUCCESS", "lose": True, "times": 1}),
    ("支付通知重复 3 次", {"callback": True, "match": "TRANSACTION.SUCCESS", "duplicate": 3, "times": 1}),
    (
        "支付通知前有伪造与过期",
        {"callback": True, "match": "TRANSACTION.SUCCESS", "forge": True, "stale": True},
    ),
    (
        "支付签名探测流量",
        {"callback": True, "match": "TRANSACTION.SUCCESS", "signtest": True, "wrong_serial": True},
    ),
    ("所有回调重复一次", {"callback": True, "match": "*", "duplicate": 1, "times": -1}),
    ("关注事件与下一条乱序", {"callback": True, "match": "subscribe", "reorder": True, "times": 1}),
    ("回调延迟 10 秒", {"callback": True, "match": "*", "delay_ms": 10_000, "times": 5}),
    ("回调被篡改的副本", {"callback": True, "match": "*", "tamper": True, "times": 3}),
    ("未知类型的回调", {"callback": True, "match": "*", "unknown_type": True, "times": 1}),
    ("退款异常", {"refund": "ABNORMAL", "times": 1}),
]


class Faults:
    """The faults in force."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = world.fault_rows

    def add(self, given: Row) -> Row:
        """Put a fault in force; raises Refused on a name that means nothing."""
        unknown = set(given) - FIELDS
        if unknown:
            raise Refused(f"A fault knows no {', '.join(sorted(unknown))}.")
        row = {"match": "*", "times": 1, **given}
        if not isinstance(row["match"], str) or not isinstance(row["times"], int) or row["times"] == 0:
            raise Refused("match is text, times is a number: how often, or -1 for ever.")
        row["id"] = str(self.world.next_number())
        row["hits"] = 0
        return self.rows.put(row["id"], row)

    def _use(self, row: Row) -> Row:
        shown = dict(row)
        row["hits"] += 1
        if row["times"] > 0:
            row["times"] -= 1
        if row["times"] == 0:
            self.rows.delete(row["id"])
        else:
            self.rows.put(row["id"], row)
        return shown

    def for_call(self, path: str, account_key: str | None) -> Row | None:
        """The first fault in force for this call; counts as used."""
        for row in self.rows:
            if row.get("callback") or row.get("refund"):
                continue
            if row["match"] != "*" and not path.startswith(row["match"]):
                continue
            if row.get("account") in (None, "", account_key):
                return self._use(row)
        return None

    def for_callback(self, account_key: str, event: str) -> Row | None:
        """The first fault in force for this notice; counts as used."""
        for row in self.rows:
            if row.get("callback") and row.get("account") in (None, "", account_key):
                wanted = [name.strip().lower() for name in row["match"].split("|")]
                if "*" in wanted or event.lower() in wanted:
                    return self._use(row)
        return None

    def for_refund(self) -> str:
        """How the next refund ends: SUCCESS unless a fault says otherwise."""
        for row in self.rows:
            if row.get("refund"):
                return str(self._use(row)["refund"])
        return "SUCCESS"
