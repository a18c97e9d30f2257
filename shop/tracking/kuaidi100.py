"""Kuaidi100's query API (实时快递查询): POST poll/query.do with customer, param and sign = MD5(param + key + customer),
upper case. The answer's `data` has the steps, newest first; `resultv2=4` adds a code to each. The same parcel may be
asked about once in half an hour; asked more often, the key is locked.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

from shop import logistics
from shop.tracking.base import Parcel, Report, Step, TrackingUnavailable

TIMEOUT_SECONDS = 8
MOST_BYTES = 1_000_000
ZONE = ZoneInfo("Asia/Shanghai")  # times in the answers have no zone
NOTHING_YET = ("500", "501")  # no result (yet)
TOO_OFTEN, NOT_ALLOWED = ("503", "504", "502"), ("400", "408", "601")
# The first digit of a step's code, or the answer's state: what it means for the shopper.
STATES = {
    "0": logistics.TRANSIT,
    "1": logistics.COLLECTED,
    "2": logistics.PROBLEM,
    "3": logistics.PICKED,
    "4": logistics.RETURNED,
    "5": logistics.DELIVERING,
    "6": logistics.RETURNED,
    "7": logistics.TRANSIT,
    "8": logistics.TRANSIT,
    "14": logistics.RETURNED,
}


class Kuaidi100:
    source = "provider"
    asks = True

    def __init__(self, *, customer: str, key: str, address: str) -> None:
        self.customer, self.key, self.address = customer, key, address

    def report(self, parcel: Parcel) -> Report:
        if not parcel.carrier_code:
            return Report(steps=(), remark="unknown carrier")
        param = json.dumps(
            {"com": parcel.carrier_code, "num": parcel.number, "phone": parcel.phone_end, "resultv2": "4"},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        form = urlencode({"customer": self.customer, "sign": self.sign(param), "param": param}).encode()
        answer = self._post(form)
        code = str(answer.get("returnCode") or answer.get("status") or "")
        if isinstance(answer.get("data"), list):
            return Report(steps=[step for row in answer["data"] if (step := _step(row, answer))])
        message = f"{code} {answer.get('message', '')}"[:200]
        if code in NOTHING_YET:
            return Report(steps=(), remark=message)
        if (
            code in NOT_ALLOWED
        ):  # a wrong key, no credit, a phone that does not fit: asking again soon changes nothing
            raise TrackingUnavailable(message, retry_after=timedelta(hours=6))
        raise TrackingUnavailable(message, retry_after=timedelta(minutes=40))

    def sign(self, param: str) -> str:
        digest = hashlib.md5(f"{param}{self.key}{self.customer}".encode(), usedforsecurity=False)
        return digest.hexdigest().upper()

    def _post(self, form: bytes) -> Mapping[str, Any]:
        request = Request(  # noqa: S310  the address is a setting
            self.address, data=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                said = json.loads(answer.read(MOST_BYTES))
        except (URLError, OSError, ValueError) as error:
            raise TrackingUnavailable(type(error).__name__) from error
        if not isinstance(said, dict):
            raise TrackingUnavailable("not an object")
        return said


def _step(row: Any, answer: Mapping[str, Any]) -> Step | None:
    """One entry of `data`; None when it cannot be read. Only the newest takes the answer's own state."""
    if not isinstance(row, dict):
        return None
    try:
        written = datetime.fromisoformat(str(row.get("ftime") or row.get("time")))
    except ValueError:
        return None
    text = " ".join(str(row.get("context", "")).split())[:300]
    if not text:
        return None
    code = str(row.get("statusCode") or "")
    is_newest = row is answer["data"][0]
    state = (
        STATES.get(code)
        or STATES.get(code[:1])
        or (STATES.get(str(answer.get("state"))) if is_newest else None)
    )
    return Step(written.replace(tzinfo=ZONE), state or logistics.TRANSIT, text)
