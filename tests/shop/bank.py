"""WeChat Pay with books of its own, in this process: what it took and gave back is known here, not from the shop."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from core import clock
from wechat import errors, services
from wechat.gateway.answers import PaymentState, RefundState

OPEN, PAID, CLOSED = "NOTPAY", "SUCCESS", "CLOSED"
PROCESSING, ABNORMAL = "PROCESSING", "ABNORMAL"


@dataclass
class Sheet:
    """One payment number: open, paid or closed. It is paid at most once."""

    amount_fen: int
    state: str = OPEN
    transaction_id: str = ""
    returns: dict[str, "Return"] = field(default_factory=dict)


@dataclass
class Return:
    """One refund number."""

    amount_fen: int
    state: str = PROCESSING


class Bank:
    """Answers as the platform documents it. While it `is_away` every call fails without having done anything; while it
    `lags` it does not know yet what was paid a moment ago, and lets it be closed: its notice comes all the same.
    """

    def __init__(self) -> None:
        self.sheets: dict[str, Sheet] = {}
        self.is_away = self.lags = False

    def answer_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("start_payment", "query_payment", "close_payment", "refund_payment", "query_refund"):
            monkeypatch.setattr(services, name, getattr(self, name))

    def forget(self) -> None:
        self.sheets.clear()
        self.is_away = self.lags = False

    # What a person does on her phone

    def pay(self, number: str) -> bool:
        sheet = self.sheets[number]
        if sheet.state != OPEN:
            return False
        sheet.state, sheet.transaction_id = PAID, f"4200{number}"
        return True

    def settle(self, number: str, state: str) -> None:
        """What became of a refund; a closed or finished one stays."""
        for sheet in self.sheets.values():
            back = sheet.returns.get(number)
            if back is not None and back.state in (PROCESSING, ABNORMAL):
                back.state = state

    @property
    def taken(self) -> dict[str, Sheet]:
        return {number: sheet for number, sheet in self.sheets.items() if sheet.state == PAID}

    @property
    def returned(self) -> dict[str, Return]:
        return {number: back for sheet in self.sheets.values() for number, back in sheet.returns.items()}

    # What the shop asks

    def _listen(self) -> None:
        if self.is_away:
            raise errors.NotReached("away", "WeChat Pay was not reached.")

    def start_payment(self, *, out_trade_no: str, amount_fen: int, **_rest: Any) -> dict[str, str]:
        self._listen()
        sheet = self.sheets.setdefault(out_trade_no, Sheet(amount_fen))
        if sheet.state == PAID:
            raise errors.AlreadyPaid("ORDERPAID", "paid")
        if sheet.state == CLOSED or sheet.amount_fen != amount_fen:
            raise errors.InvalidRequest("INVALID_REQUEST", "closed, or another amount")
        return {"package": out_trade_no}

    def query_payment(self, *, out_trade_no: str, **_rest: Any) -> PaymentState:
        self._listen()
        sheet = self._sheet(out_trade_no)
        is_paid = sheet.state == PAID and not self.lags
        state = OPEN if sheet.state == PAID and self.lags else "REFUND" if sheet.returns else sheet.state
        return PaymentState(
            state,
            sheet.transaction_id,
            sheet.amount_fen if is_paid else 0,
            "",
            clock.now() if is_paid else None,
        )

    def close_payment(self, *, out_trade_no: str, **_rest: Any) -> None:
        self._listen()
        sheet = self.sheets.setdefault(out_trade_no, Sheet(0))
        if sheet.state == PAID and self.lags:
            return
        if sheet.state == PAID:
            raise errors.AlreadyPaid("ORDERPAID", "paid")
        sheet.state = CLOSED

    def refund_payment(
        self, *, out_trade_no: str, out_refund_no: str, refund_fen: int, total_fen: int, **_rest: Any
    ) -> RefundState:
        self._listen()
        sheet = self._sheet(out_trade_no)
        if out_refund_no not in sheet.returns:
            gone = sum(back.amount_fen for back in sheet.returns.values() if back.state != CLOSED)
            if sheet.state != PAID or total_fen != sheet.amount_fen or gone + refund_fen > total_fen:
                raise errors.InvalidRequest("INVALID_REQUEST", "more than was paid")
            sheet.returns[out_refund_no] = Return(refund_fen)
        return self.query_refund(out_refund_no=out_refund_no)

    def query_refund(self, *, out_refund_no: str, **_rest: Any) -> RefundState:
        self._listen()
        back = self.returned.get(out_refund_no)
        if back is None:
            raise errors.NoSuchOrder("RESOURCE_NOT_EXISTS", "unknown refund")
        return RefundState(f"5{out_refund_no}", back.state, back.amount_fen)

    def _sheet(self, number: str) -> Sheet:
        if number not in self.sheets:
            raise errors.NoSuchOrder("ORDER_NOT_EXIST", "unknown order")
        return self.sheets[number]
