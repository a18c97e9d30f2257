"""WeChat Pay. Amounts are fen. None of these may stand inside a transaction."""

from datetime import date, datetime

from wechat.gateway.answers import PaymentState, RefundState
from wechat.gateway.pay import PayClient
from wechat.queries import account


def start_payment(
    *,
    account_id: int,
    out_trade_no: str,
    amount_fen: int,
    description: str,
    openid: str,
    expires_at: datetime | None,
    notify_url: str,
    way: str = "jsapi",
    client_ip: str = "",
) -> dict[str, str]:
    """Order at WeChat Pay, by `way`: the JSAPI parameters appId, timeStamp, nonceStr, package, signType, paySign;
    {"code_url"} to draw as a QR code (native); {"h5_url"} to open in a phone's browser (h5, needs her `client_ip`).

    Idempotent on: out_trade_no with the same parameters. Raises AlreadyPaid, InvalidRequest, OutcomeUnknown, …
    """
    return PayClient(account(account_id)).start(
        way,
        out_trade_no=out_trade_no,
        amount_fen=amount_fen,
        description=description,
        openid=openid,
        expires_at=expires_at,
        notify_url=notify_url,
        client_ip=client_ip,
    )


def trade_bill(*, account_id: int, day: date) -> str | None:
    """WeChat's trade bill of one day as CSV text; None: nothing happened that day. Raises PlatformBusy (not ready)."""
    return PayClient(account(account_id)).trade_bill(day)


def query_payment(*, account_id: int, out_trade_no: str) -> PaymentState:
    """What WeChat Pay knows of the order. Raises NoSuchOrder."""
    return PayClient(account(account_id)).query(out_trade_no)


def close_payment(*, account_id: int, out_trade_no: str) -> None:
    """Make sure that this order cannot be paid any more. Idempotent. Raises AlreadyPaid."""
    PayClient(account(account_id)).close(out_trade_no)


def refund_payment(
    *,
    account_id: int,
    out_trade_no: str,
    out_refund_no: str,
    refund_fen: int,
    total_fen: int,
    reason: str,
    notify_url: str,
) -> RefundState:
    """Give money back. Idempotent on: out_refund_no, so an OutcomeUnknown is repeated with the same number."""
    return PayClient(account(account_id)).refund(
        out_trade_no=out_trade_no,
        out_refund_no=out_refund_no,
        refund_fen=refund_fen,
        total_fen=total_fen,
        reason=reason,
        notify_url=notify_url,
    )


def query_refund(*, account_id: int, out_refund_no: str) -> RefundState:
    """Raises NoSuchOrder."""
    return PayClient(account(account_id)).query_refund(out_refund_no)
