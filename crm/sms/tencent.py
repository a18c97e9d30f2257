"""Tencent Cloud SMS (腾讯云短信): action SendSms, version 2021-01-11 (cloud.tencent.com/document/api/382/55981), signed
with TC3-HMAC-SHA256 (cloud.tencent.com/document/api/382/52072). The error codes are those of the first page.

One attempt a call. What was refused is told apart from what nobody knows.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from core import clock
from crm.sms.base import AGAIN, HOUSE, NUMBER, OFTEN, UNKNOWN, NotSent

ACTION, VERSION, SERVICE, ALGORITHM = "SendSms", "2021-01-11", "sms", "TC3-HMAC-SHA256"
TIMEOUT_SECONDS = 8
MOST_BYTES = 100_000
CONTENT_TYPE = "application/json; charset=utf-8"
# The beginning of a code: whose matter it is; the first that fits counts, and what is not here is the house's.
REASONS = (
    ("InvalidParameterValue.IncorrectPhoneNumber", NUMBER),
    ("FailedOperation.PhoneNumberInBlacklist", NUMBER),
    ("UnsupportedOperation", NUMBER),  # a country that the template or the contract does not reach
    ("LimitExceeded.PhoneNumberCountLimit", HOUSE),
    ("LimitExceeded.PhoneNumber", OFTEN),
    ("LimitExceeded.DeliveryFrequencyLimit", OFTEN),
    ("RequestLimitExceeded", AGAIN),
    ("InternalError.Timeout", UNKNOWN),
    ("InternalError", AGAIN),
)


class TencentSender:
    """`params` names what the approved template's places take, in their order: "code", "minutes"."""

    def __init__(
        self,
        *,
        secret_id: str,
        secret_key: str,
        app_id: str,
        sign_name: str,
        template_id: str,
        params: Sequence[str],
        region: str,
        url: str,
    ) -> None:
        self.secret_id, self.secret_key = secret_id, secret_key
        self.app_id, self.sign_name, self.template_id = app_id, sign_name, template_id
        self.params, self.region, self.url = params, region, url

    def send_code(self, *, phone: str, code: str, minutes: int, reference: str) -> None:
        places = {"code": code, "minutes": str(minutes)}
        answer = self._post(
            {
                "PhoneNumberSet": [phone if phone.startswith("+") else f"+86{phone}"],
                "SmsSdkAppId": self.app_id,
                "SignName": self.sign_name,
                "TemplateId": self.template_id,
                "TemplateParamSet": [places[name] for name in self.params],
                "SessionContext": reference,
            }
        )
        said = _code_of(answer)
        if said != "Ok":
            raise NotSent(said, because=_reason(said))

    def _post(self, asked: Mapping[str, Any]) -> Any:
        """The answer's JSON. Raises NotSent."""
        payload = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
        moment = clock.now()
        headers = {
            "Authorization": authorization(
                self.secret_id,
                self.secret_key,
                service=SERVICE,
                host=urlsplit(self.url).netloc,
                payload=payload,
                moment=moment,
            ),
            "Content-Type": CONTENT_TYPE,
            "X-TC-Action": ACTION,
            "X-TC-Version": VERSION,
            "X-TC-Region": self.region,
            "X-TC-Timestamp": str(int(moment.timestamp())),
        }
        request = Request(self.url, data=payload, headers=headers)  # noqa: S310  the address is a setting
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.loads(answer.read(MOST_BYTES))
        except HTTPError as error:  # a proxy in front or a gateway behind it: perhaps after it was taken
            raise NotSent(f"HTTP {error.code}", because=UNKNOWN if error.code >= 500 else HOUSE) from error
        except URLError as error:  # no connection
            raise NotSent(type(error.reason).__name__) from error
        except (OSError, HTTPException, ValueError) as error:  # asked, and no answer that can be read
            raise NotSent(type(error).__name__, because=UNKNOWN) from error


def authorization(
    secret_id: str, secret_key: str, *, service: str, host: str, payload: bytes, moment: datetime
) -> str:
    """The header of a POST of JSON to the root of a host, signed with its two required headers."""
    timestamp, day = str(int(moment.timestamp())), f"{moment.astimezone(UTC):%Y-%m-%d}"
    signed, scope = "content-type;host", f"{day}/{service}/tc3_request"
    headers = f"content-type:{CONTENT_TYPE}\nhost:{host}\n"
    canonical = "\n".join(["POST", "/", "", headers, signed, hashlib.sha256(payload).hexdigest()])
    text = "\n".join([ALGORITHM, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"TC3{secret_key}".encode()
    for part in (day, service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={signed}, Signature={signature}"


def _code_of(answer: Any) -> str:
    """The call's own error, or what became of the one number. Raises NotSent when the answer has neither."""
    try:
        response = answer["Response"]
        failed = response.get("Error")
        return str(failed["Code"] if failed else response["SendStatusSet"][0]["Code"])[:70]
    except (LookupError, TypeError, AttributeError) as error:
        raise NotSent("unreadable answer", because=UNKNOWN) from error


def _reason(code: str) -> str:
    return next((because for begins, because in REASONS if code.startswith(begins)), HOUSE)
