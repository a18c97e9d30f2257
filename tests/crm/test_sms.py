"""Tencent Cloud SMS: asked as documented and signed as published; what it refuses is said to whom it concerns."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.test import Client

from core import clock
from crm import services
from crm.models import Member, PhoneClaim
from crm.queries.phones import sms_trouble
from crm.sms.tencent import authorization
from tests.crm.test_phones import logged_in

PHONE, KEY = "13800005678", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"


def test_a_request_is_signed_as_in_the_published_example() -> None:
    """The example of "Signature v3" (tencentcloud.com/document/api/1150/49447; DescribeInstances of cvm)."""
    made = authorization(
        "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE",
        KEY,
        service="cvm",
        host="cvm.tencentcloudapi.com",
        payload=rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}',
        moment=datetime.fromtimestamp(1551113065, UTC),
    )
    assert made == (
        "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )


class _Vendor(BaseHTTPRequestHandler):
    """Takes what is signed with the key, as the documentation says; answers `said` for the number."""

    said: ClassVar[Any] = "Ok"
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed, given = self._signed(body), self.headers["Authorization"].rpartition("Signature=")[2]
        assert (self.headers["X-TC-Action"], self.headers["X-TC-Version"]) == ("SendSms", "2021-01-11")
        _Vendor.asked.append(json.loads(body))
        if self.said is None:
            return  # it takes the request and says nothing
        fine = {"SendStatusSet": [{"Code": self.said, "PhoneNumber": f"+86{PHONE}"}]}
        bad = {"Error": {"Code": "AuthFailure.SignatureFailure", "Message": "…"}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"Response": fine if signed == given else bad}).encode())

    def _signed(self, body: bytes) -> str:
        day = f"{datetime.fromtimestamp(int(self.headers['X-TC-Timestamp']), UTC):%Y-%m-%d}"
        canonical = (
            f"POST\n/\n\ncontent-type:{self.headers['Content-Type']}\nhost:{self.headers['Host']}\n\n"
            f"content-type;host\n{hashlib.sha256(body).hexdigest()}"
        )
        text = (
            f"TC3-HMAC-SHA256\n{self.headers['X-TC-Timestamp']}\n{day}/sms/tc3_request\n"
            f"{hashlib.sha256(canonical.encode()).hexdigest()}"
        )

        def seal(key: bytes, message: str) -> bytes:
            return hmac.new(key, message.encode(), hashlib.sha256).digest()

        return seal(seal(seal(seal(f"TC3{KEY}".encode(), day), "sms"), "tc3_request"), text).hex()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def vendor(settings: Any) -> Iterator[type[_Vendor]]:
    server = HTTPServer(("127.0.0.1", 0), _Vendor)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    _Vendor.asked, _Vendor.said = [], "Ok"
    settings.SMS_PROVIDER = "tencent"
    settings.TENCENT_SMS = {
        **settings.TENCENT_SMS,
        **{"secret_id": "AKID", "secret_key": KEY, "app_id": "1400006666", "sign_name": "池塘"},
        **{"template_id": "1110", "url": f"http://127.0.0.1:{server.server_port}/"},
    }
    yield _Vendor
    server.shutdown()
    server.server_close()


def test_a_code_goes_by_tencent_and_a_refusal_is_told_to_whom_it_concerns(
    client: Client,
    follower: Callable[..., Member],
    vendor: type[_Vendor],
    admin_user: User,
    morning: datetime,
    caplog: Any,
) -> None:
    turns = [
        ("Ok", "", "没收到"),
        ("InvalidParameterValue.IncorrectPhoneNumber", "number: ", "无法向这个号码发送短信"),
        ("LimitExceeded.PhoneNumberOneHourLimit", "often: ", "发送过多"),
        (None, "unknown: RemoteDisconnected", "没收到"),
        ("FailedOperation.InsufficientBalanceInSmsPackage", "house: ", "暂时无法发送验证码"),
    ]
    she = follower()
    her = logged_in(client, she)
    troubles = []
    for turn, (said, error, words) in enumerate(turns):
        vendor.said = said
        with clock.travel(morning + timedelta(minutes=2 * turn)):
            her.post("/me/phone/", {"phone": PHONE})
            services.send_phone_codes()
            page = her.get("/me/phone/").content.decode()
        claim = PhoneClaim.objects.latest("pk")
        assert claim.error.startswith(error)
        assert (claim.attempts, claim.due_at) == (1, None), "a refusal and a silence are not asked again"
        assert words in page
        assert ('role="alert"' in page) == (error not in ("", "unknown: RemoteDisconnected"))
        troubles.append(sms_trouble())
    assert [one is not None for one in troubles] == [False] * 4 + [True], "a wrong number is not the house's"
    operator = Client()
    operator.force_login(admin_user)
    assert "短信验证码发不出去" in operator.get("/admin/").content.decode()
    asked = vendor.asked[0]
    assert (asked["PhoneNumberSet"], asked["SmsSdkAppId"]) == ([f"+86{PHONE}"], "1400006666")
    assert (asked["TemplateId"], asked["SignName"]) == ("1110", "池塘")
    assert services.confirm_phone(member_id=she.pk, code=vendor.asked[-1]["TemplateParamSet"][0]).is_verified
    assert asked["TemplateParamSet"][1] == "10"
    told = caplog.text
    assert "InsufficientBalance" in told
    assert not [one for one in (PHONE, *(row["TemplateParamSet"][0] for row in vendor.asked)) if one in told]
