"""Notices of WeChat Pay (contract D3, D4, D5): decrypted here, compared with the order by whoever listens."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from wechat import crypto, events
from wechat.models import Notice


class WrongKey(Exception):
    """The APIv3 key of the account does not open the notice."""


class ForeignMerchant(Exception):
    """The notice is about another merchant or appid."""


def _opened(notice: Notice) -> tuple[dict[str, Any], datetime]:
    document = orjson.loads(bytes(notice.body))
    try:
        plain = crypto.open_resource(document["resource"], notice.account.apiv3_key)
    except crypto.NotAuthentic:
        raise WrongKey(
            _("The APIv3 key does not open this notice: set the account's key, then press Replay.")
        ) from None
    opened = orjson.loads(plain)
    if opened.get("mchid", notice.account.mchid) != notice.account.mchid:
        raise ForeignMerchant(f"mchid {opened.get('mchid')}")
    return opened, _moment(document.get("create_time")) or clock.now()


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def note_payment(notice: Notice) -> None:
    transaction, at = _opened(notice)
    if transaction.get("appid", notice.account.appid) != notice.account.appid:
        raise ForeignMerchant(f"appid {transaction.get('appid')}")
    publish(
        events.PaymentNotified(
            account_id=notice.account_id,
            out_trade_no=str(transaction["out_trade_no"]),
            transaction_id=str(transaction.get("transaction_id") or ""),
            trade_state=str(transaction["trade_state"]),
            paid_fen=int(transaction["amount"]["total"]),
            openid=str((transaction.get("payer") or {}).get("openid") or ""),
            success_at=_moment(transaction.get("success_time")),
            at=at,
        ),
        key=f"trade:{transaction['out_trade_no']}"[:80],
    )


def note_refund(notice: Notice) -> None:
    refund, at = _opened(notice)
    publish(
        events.RefundNotified(
            account_id=notice.account_id,
            out_trade_no=str(refund.get("out_trade_no") or ""),
            out_refund_no=str(refund["out_refund_no"]),
            refund_id=str(refund.get("refund_id") or ""),
            status=str(refund.get("refund_status") or refund.get("status") or ""),
            refund_fen=int(refund["amount"]["refund"]),
            at=at,
        ),
        key=f"refund:{refund['out_refund_no']}"[:80],
    )


PAY: dict[str, Callable[[Notice], None]] = {
    "TRANSACTION.SUCCESS": note_payment,
    "REFUND.SUCCESS": note_refund,
    "REFUND.ABNORMAL": note_refund,
    "REFUND.CLOSED": note_refund,
}
