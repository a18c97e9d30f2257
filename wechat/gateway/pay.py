"""WeChat Pay v3 (contract D): wechatpayv3 in public key mode behind one adapter, over our own transport.

wechatpayv3 builds the calls and verifies the answers; sending is ours, because it has no session, no typed errors, and
signs with a clock that the sandbox cannot move.
"""

import hashlib
import re
import secrets
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.utils.translation import gettext as _
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3.type import RequestType

from core import clock
from wechat.errors import (
    AlreadyPaid,
    InvalidRequest,
    NoSuchOrder,
    OutcomeUnknown,
    PlatformBusy,
    WrongCredentials,
)
from wechat.gateway import addresses, errcodes, http
from wechat.gateway.answers import PaymentState, RefundState
from wechat.models import Account

WAYS = {"jsapi": WeChatPayType.JSAPI, "native": WeChatPayType.NATIVE, "h5": WeChatPayType.H5}
TRADE_NUMBER = re.compile(r"[0-9A-Za-z_\-*|]{6,32}")
USER_AGENT = "Pond/1 (+wechatpayv3)"


def _moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(str(value)) if value else None


class PayClient:
    """One merchant. Cheap to make: the parsed keys are remembered."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.sdk = _sdk(
            account.appid,
            account.mchid,
            account.merchant_key,
            account.merchant_serial,
            account.apiv3_key,
            account.public_key,
            account.public_key_id,
            addresses.base_of(account, addresses.PAY),
        )

    def start(
        self,
        way: str,
        *,
        out_trade_no: str,
        amount_fen: int,
        description: str,
        openid: str,
        expires_at: datetime | None,
        notify_url: str,
        client_ip: str = "",
    ) -> dict[str, str]:
        """Order at WeChat Pay. `way` jsapi: the signed parameters that the page hands to WeChat; native:
        {"code_url"}; h5: {"h5_url"}. Same number, same parameters: a fresh prepay_id. Raises AlreadyPaid,
        InvalidRequest, …"""
        if not TRADE_NUMBER.fullmatch(out_trade_no):
            raise InvalidRequest("PARAM_ERROR", _("The order number does not follow WeChat Pay's rule."))
        scene = {"payer_client_ip": client_ip or "127.0.0.1", "h5_info": {"type": "Wap"}}
        answer = self._answer(
            self.sdk.pay(
                description=description[:127],
                out_trade_no=out_trade_no,
                amount={"total": amount_fen, "currency": "CNY"},
                payer={"openid": openid} if way == "jsapi" else None,
                scene_info=scene if way == "h5" else None,
                time_expire=clock.local(expires_at).isoformat(timespec="seconds") if expires_at else None,
                notify_url=notify_url,
                pay_type=WAYS[way],
            )
        )
        if way == "jsapi":
            return self.jsapi_parameters(str(answer["prepay_id"]))
        name = "code_url" if way == "native" else "h5_url"
        return {name: str(answer[name])}

    def trade_bill(self, day: date) -> str | None:
        """The bill of a day as CSV text, None when nothing happened. Raises PlatformBusy while it is being made.

        Only the path of the download's address is taken: wherever it points, the signed request goes to WeChat Pay.
        """
        try:
            answer = self._answer(
                self.sdk._core.request(f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL")
            )
        except InvalidRequest as error:
            if error.code == "NO_STATEMENT_EXIST":
                return None
            if error.code == "STATEMENT_CREATING":
                raise PlatformBusy(error.code, _("The bill is not ready yet."), retry_after=1800) from None
            raise
        place = urlsplit(str(answer["download_url"]))
        status, text = self.sdk._core.request(f"{place.path}?{place.query}", skip_verify=True)
        if status != 200:
            self._answer((status, text))
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        if digest != str(answer.get("hash_value") or "").lower():
            raise OutcomeUnknown("bad_hash", _("The bill did not arrive whole."))
        return str(text)

    def jsapi_parameters(self, prepay_id: str) -> dict[str, str]:
        timestamp, nonce = str(int(clock.now().timestamp())), secrets.token_hex(16)
        package = f"prepay_id={prepay_id}"
        return {
            "appId": self.account.appid,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self.sdk.sign([self.account.appid, timestamp, nonce, package]),
        }

    def query(self, out_trade_no: str) -> PaymentState:
        """Raises NoSuchOrder."""
        answer = self._answer(self.sdk.query(out_trade_no=out_trade_no))
        amount = answer.get("amount") or {}
        return PaymentState(
            trade_state=str(answer["trade_state"]),
            transaction_id=str(answer.get("transaction_id") or ""),
            paid_fen=int(amount.get("total") or 0),
            openid=str((answer.get("payer") or {}).get("openid") or ""),
            success_at=_moment(answer.get("success_time")),
        )

    def close(self, out_trade_no: str) -> None:
        """Close an unpaid order; closed or unknown is as good. Raises AlreadyPaid."""
        try:
            self._answer(self.sdk.close(out_trade_no=out_trade_no))
        except NoSuchOrder:
            return
        except InvalidRequest as error:
            if error.code in ("ORDER_CLOSED", "ORDERCLOSED"):
                return
            raise
        except AlreadyPaid:
            # The same code says "used": only the order itself tells whether it was paid or closed.
            state = self.query(out_trade_no).trade_state
            if state in ("CLOSED", "REVOKED"):
                return
            raise

    def refund(
        self,
        *,
        out_trade_no: str,
        out_refund_no: str,
        refund_fen: int,
        total_fen: int,
        reason: str,
        notify_url: str,
    ) -> RefundState:
        """Idempotent on: out_refund_no; an unclear outcome is repeated with the same number (D5)."""
        answer = self._answer(
            self.sdk.refund(
                out_trade_no=out_trade_no,
                out_refund_no=out_refund_no,
                amount={"refund": refund_fen, "total": total_fen, "currency": "CNY"},
                reason=reason[:80] or None,
                notify_url=notify_url,
            )
        )
        return _refund_state(answer)

    def query_refund(self, out_refund_no: str) -> RefundState:
        """Raises NoSuchOrder."""
        return _refund_state(self._answer(self.sdk.query_refund(out_refund_no=out_refund_no)))

    def _answer(self, exchanged: tuple[int, str | bytes]) -> dict[str, Any]:
        status, text = exchanged
        try:
            document = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            document = {}
        if 200 <= status < 300 and status != 202:
            return dict(document)
        raise errcodes.pay_error(
            str(document.get("code") or ""), str(document.get("message") or "")[:300], status=status
        )


def _refund_state(answer: dict[str, Any]) -> RefundState:
    return RefundState(
        refund_id=str(answer.get("refund_id") or ""),
        status=str(answer.get("status") or ""),
        refund_fen=int((answer.get("amount") or {}).get("refund") or 0),
    )


@lru_cache(maxsize=16)
def _sdk(
    appid: str,
    mchid: str,
    merchant_key: str,
    merchant_serial: str,
    apiv3_key: str,
    public_key: str,
    public_key_id: str,
    base: str,
) -> WeChatPay:
    """Raises WrongCredentials when a key cannot be read. Public key mode makes no call here."""
    if not (merchant_key and public_key and public_key_id):
        raise WrongCredentials(
            "key_missing", _("The merchant key, the WeChat Pay public key and its id must all be set.")
        )
    try:
        sdk = WeChatPay(
            WeChatPayType.JSAPI,
            mchid,
            merchant_key,
            merchant_serial,
            appid,
            apiv3_key,
            public_key=public_key,
            public_key_id=public_key_id,
        )
    except Exception:  # the SDK raises the bare class
        raise WrongCredentials(
            "key_unreadable", _("The merchant key or the WeChat Pay public key is not a PEM key.")
        ) from None
    sdk._core._gate_way = base
    sdk._core.request = _Transport(sdk._core, base)
    return sdk


class _Transport:
    """Takes the place of the SDK core's `request`: same arguments, same result."""

    def __init__(self, core: Any, base: str) -> None:
        self.core, self.base = core, base

    def __call__(
        self,
        path: str,
        method: RequestType = RequestType.GET,
        data: Any = None,
        skip_verify: bool = False,
        **_unused: Any,
    ) -> tuple[int, str]:
        body = orjson.dumps(data).decode() if data is not None else ""
        timestamp, nonce = str(int(clock.now().timestamp())), secrets.token_hex(16).upper()
        signature = self.core.sign([method.value, path, timestamp, nonce, body])
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Wechatpay-Serial": self.core._public_key_id,
            "Authorization": (
                f'WECHATPAY2-SHA256-RSA2048 mchid="{self.core._mchid}",nonce_str="{nonce}",'
                f'signature="{signature}",timestamp="{timestamp}",serial_no="{self.core._cert_serial_no}"'
            ),
        }
        # Every call here is repeatable: numbers of orders and refunds are idempotency keys, the rest are reads.
        response = http.request(
            method.value,
            self.base + path,
            body=body.encode() or None,
            headers=headers,
            repeatable=True,
            judge_5xx=False,
        )
        text = response.content.decode("utf-8", "replace")
        # Successes are always signed; a refusal that carries a signature must carry a right one.
        signed = response.status_code < 300 or "Wechatpay-Signature" in response.headers
        signed = signed and not skip_verify  # downloads of bills are not signed, their hash is
        if signed and response.status_code < 500 and not self._is_genuine(response.headers, text):
            raise OutcomeUnknown(
                "bad_signature",
                _(
                    "The answer is not signed by WeChat Pay: check the public key and its id, and who answers there."
                ),
            )
        return response.status_code, text

    def _is_genuine(self, headers: Any, text: str) -> bool:
        try:
            fresh = abs(int(headers.get("Wechatpay-Timestamp", "0")) - clock.now().timestamp()) <= 300
            return fresh and bool(self.core._verify_signature(headers, text))
        except Exception:  # the SDK raises the bare class for an unknown serial or type
            return False
