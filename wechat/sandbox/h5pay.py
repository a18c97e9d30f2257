"""What an h5_url opens in a phone's browser: who pays, the sheet, and the way back to the shop. Plain pages."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from wechat.sandbox import pay
from wechat.sandbox.errors import Refused
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World


def page(world: World, query: dict[str, str], person: Row | None, *, confirmed: bool) -> str:
    """HTML. `query` holds prepay_id and perhaps redirect_url; `confirmed`: the person has pressed pay."""
    code = f"{pay.H5_PATH}?{urlencode({'prepay_id': query.get('prepay_id', '')})}"
    if person is None:
        return _frame("谁在付款？", _people(world, query))
    try:
        order, account = pay.checked_code(world, person, code)
    except Refused as refused:
        return _frame("无法支付", f"<p data-test='pay-problem'>{escape(refused.message)}</p>{_back(query)}")
    amount = f"¥{order['total'] / 100:.2f}"
    if confirmed:
        pay.settle(world, person, order, account)
        return _frame("支付成功", f"<p data-test='pay-done'>{amount}</p>{_back(query)}")
    return _frame(
        "微信支付",
        f"<p>付款给 {escape(account['name'])}</p><p data-test='pay-amount'>{amount}</p>"
        f"<p>{escape(order['description'])}</p><form method='post' action='{escape(_here(query, person))}'>"
        f"<button class='allow' data-test='pay-confirm'>{escape(person['name'])} 确认支付</button></form>"
        + _back(query),
    )


def _here(query: dict[str, str], person: Row) -> str:
    return f"{pay.H5_PATH}?{urlencode({**query, 'sandbox_person': person['id']})}"


def _people(world: World, query: dict[str, str]) -> str:
    shown = [one for one in world.people if one.get("listed", True)][:50]
    return (
        "<ul>"
        + "".join(
            f"<li><a href='{escape(_here(query, one))}'>{escape(one['name'])}</a></li>" for one in shown
        )
        + "</ul>"
    )


def _back(query: dict[str, str]) -> str:
    address = query.get("redirect_url", "")
    if urlsplit(address).scheme not in ("http", "https"):
        return ""
    return f"<p><a href='{escape(address)}' data-test='pay-back'>返回商家</a></p>"


def _frame(title: str, body: str) -> str:
    return (
        "<!doctype html><html lang='zh-CN'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{title}</title><link rel='stylesheet' href='/sandbox/static/login.css'></head>"
        f"<body class='login consent'><main><h1>{title}</h1>{body}</main></body></html>"
    )
