"""Reading WeChat's trade bill. Pure: text in, lines out. Amounts there are yuan, here fen."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")
_TIME, _TRANSACTION, _NUMBER, _STATE = "交易时间", "微信订单号", "商户订单号", "交易状态"
_REFUND_ID, _REFUND_NUMBER, _REFUND_STATE = "微信退款单号", "商户退款单号", "退款状态"
_ORDER_YUAN, _DUE_YUAN = "订单金额", "应结订单金额"
_ASKED_YUAN, _REFUND_YUAN, _FEE = "申请退款金额", "退款金额", "手续费"


class UnreadableBill(ValueError):
    """The text is not a trade bill."""


@dataclass(frozen=True)
class Line:
    """A payment, or with `out_refund_no` a refund. `amount_fen` is what the buyer paid or gets back."""

    out_trade_no: str
    transaction_id: str
    out_refund_no: str
    refund_id: str
    state: str
    amount_fen: int
    fee_fen: int
    at: datetime

    @property
    def is_refund(self) -> bool:
        return bool(self.out_refund_no)


def read_bill(text: str) -> Iterator[Line]:
    """Lines of a bill of type ALL, by the names of its columns: WeChat adds columns now and then.

    Raises UnreadableBill.
    """
    first, *lines = text.lstrip("\ufeff").split("\n")
    head = [name.strip() for name in first.split(",")]
    needed = {_TIME, _TRANSACTION, _NUMBER, _STATE, _REFUND_NUMBER}
    if not needed <= set(head):
        raise UnreadableBill(f"columns missing: {'、'.join(sorted(needed - set(head)))}")
    for line in lines:
        if not line.startswith("`"):  # the sums at the end have a head of their own
            break
        # Nothing is quoted: a comma without a back-tick behind it belongs to what somebody sold.
        row = (field.lstrip("`").strip() for field in line.split(",`"))
        yield _line(dict(zip(head, row, strict=False)))


def _line(fields: dict[str, str]) -> Line:
    is_refund = fields[_STATE] == "REFUND"
    names = (_ASKED_YUAN, _REFUND_YUAN) if is_refund else (_ORDER_YUAN, _DUE_YUAN)
    try:
        return Line(
            out_trade_no=fields[_NUMBER],
            transaction_id=fields[_TRANSACTION],
            out_refund_no=fields[_REFUND_NUMBER] if is_refund else "",
            refund_id=fields.get(_REFUND_ID, "") if is_refund else "",
            state=fields.get(_REFUND_STATE, "") if is_refund else fields[_STATE],
            amount_fen=_fen(next(fields[name] for name in names if fields.get(name))),
            fee_fen=_fen(fields.get(_FEE) or "0"),
            at=datetime.strptime(fields[_TIME], "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING),
        )
    except (KeyError, ValueError, InvalidOperation, StopIteration) as error:
        raise UnreadableBill(f"line of {fields.get(_NUMBER)}: {error!r}") from error


def _fen(yuan: str) -> int:
    """ "12.34000" → 1234, rounded half up: fees have five decimals."""
    value = Decimal(yuan) * 100
    return int(value.quantize(Decimal(1), rounding="ROUND_HALF_UP"))
