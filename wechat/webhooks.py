"""The platforms' doors: verify, store verbatim, answer. Everything else happens later, from the stored row.

What a wrong delivery is answered (nothing is written then): 404 no active account under this key; 405 neither GET nor
POST; 413 more than 1 MiB; 415 a content type that no platform sends; 400 a body that cannot be read; 403 a signature,
padding or receiver that does not fit. WeChat Pay gets 401 for a wrong signature, serial or time, 400 for a body that
cannot be read, each with `{"code": "FAIL", "message": …}`; its success is 204.
"""

from collections.abc import Callable
from functools import wraps

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from core import clock
from core.wakeups import wake_now
from wechat import crypto, envelopes
from wechat.crypto import NotAuthentic
from wechat.directory import Address, find_address
from wechat.envelopes import Malformed
from wechat.models import Account
from wechat.services.notices import store_notice

log = structlog.get_logger(__name__)

PAY_CLOCK_SKEW_SECONDS = 300
SENT_AS = (
    "",
    "text/xml",
    "application/xml",
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
)

Door = Callable[[HttpRequest, str], HttpResponse]


class TooLarge(Exception):
    """More than a platform would send."""


def _text(status: int, text: str) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")


def _answering(door: Door) -> Door:
    """Turn what is wrong with a delivery into the status that says so, and into a line of the log."""

    @csrf_exempt
    @wraps(door)
    def answer(request: HttpRequest, key: str) -> HttpResponse:
        try:
            return door(request, key)
        except NotAuthentic as error:
            status, reason = 403, f"not authentic: {error}"
        except Malformed as error:
            status, reason = 400, f"malformed: {error}"
        except TooLarge:
            status, reason = 413, "larger than 1 MiB"
        log.warning("notice refused", door=door.__name__, account=key, status=status, reason=reason)
        return _text(status, reason)

    return answer


def _body(request: HttpRequest) -> bytes:
    """The raw body. The length is judged before reading; a body longer than declared is cut by the server."""
    try:
        declared = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Malformed("content length") from None
    if declared > envelopes.MAX_BODY_BYTES:
        raise TooLarge
    body = request.read(envelopes.MAX_BODY_BYTES + 1)
    if len(body) > envelopes.MAX_BODY_BYTES:
        raise TooLarge
    return body


@_answering
def oa(request: HttpRequest, key: str) -> HttpResponse:
    """An official account's messages and events (contract A5)."""
    address = find_address("oa", key)
    if address is None:
        return _text(404, "no such account")
    query = request.GET
    timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
    if request.method in ("GET", "HEAD"):
        crypto.check_signature(query.get("signature", ""), address.token, timestamp, nonce)
        return _text(200, query.get("echostr", ""))
    return _deliver(request, address)


@_answering
def work(request: HttpRequest, key: str) -> HttpResponse:
    """A WeCom app's events (contract B14); always encrypted."""
    address = find_address("work", key)
    if address is None:
        return _text(404, "no such account")
    if request.method in ("GET", "HEAD"):
        echo = request.GET.get("echostr", "")
        return _text(200, _opened(request, address, echo).decode("utf-8", "replace"))
    return _deliver(request, address)


def _deliver(request: HttpRequest, address: Address) -> HttpResponse:
    if request.method != "POST":
        return _not_allowed("GET, POST")
    if (request.content_type or "").lower() not in SENT_AS:
        return _text(415, "not a content type of the platform")
    body = _body(request)
    query = request.GET
    encrypted_by_query = "msg_signature" in query or query.get("encrypt_type") == "aes"
    if address.mode == Account.PLAIN and not encrypted_by_query:
        # This mode signs the query only, so the query is judged before the body is looked at.
        crypto.check_signature(
            query.get("signature", ""), address.token, query.get("timestamp", ""), query.get("nonce", "")
        )
        fields, content = envelopes.parse(body), ""
    else:
        # Compatible mode repeats the fields in clear; only what is inside Encrypt is signed, so only that counts.
        plain = _opened(request, address, envelopes.parse(body).get("Encrypt"))
        fields, content = envelopes.parse(plain), plain.decode("utf-8", "replace")
    if not fields.get("MsgType") and not fields.get("InfoType"):
        raise Malformed("no MsgType")
    _, is_new = store_notice(
        account_id=address.account_id,
        fingerprint=envelopes.fingerprint(fields),
        topic=envelopes.topic(fields),
        sender=str(fields.get("ExternalUserID") or fields.get("FromUserName") or ""),
        body=body,
        content=content,
        headers={name: query[name] for name in ("timestamp", "nonce", "encrypt_type") if name in query},
    )
    if is_new:
        wake_now("wechat.tasks.handle_notices", queue="fast")
    return _text(200, "success")


def _opened(request: HttpRequest, address: Address, encrypted: object) -> bytes:
    """The decrypted message; raises NotAuthentic, Malformed."""
    query = request.GET
    timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
    if not isinstance(encrypted, str) or not encrypted:
        raise Malformed("nothing encrypted inside")
    crypto.check_signature(query.get("msg_signature", ""), address.token, timestamp, nonce, encrypted)
    if "signature" in query:
        crypto.check_signature(query["signature"], address.token, timestamp, nonce)
    if address.cipher is None:
        log.error(
            "an encrypted notice came, but the account has no EncodingAESKey", account=address.account_id
        )
        raise NotAuthentic("no EncodingAESKey is set")
    return address.cipher.decrypt(encrypted, address.receive_id)


def _not_allowed(methods: str) -> HttpResponse:
    response = _text(405, "method not allowed")
    response.headers["Allow"] = methods
    return response


@csrf_exempt
def pay_notify(request: HttpRequest, key: str) -> HttpResponse:
    """Payments and refunds (contract D2, D3). The resource is decrypted later, from the stored row."""
    address = find_address("pay", key)
    if address is None:
        return _pay_failure(404, "no such account", key)
    if request.method != "POST":
        response = _pay_failure(405, "method not allowed", key)
        response.headers["Allow"] = "POST"
        return response
    try:
        body = _body(request)
        headers = _authentic_pay_headers(request, address, body)
        notice = envelopes.parse_json(body)
        resource = notice.get("resource")
        if not isinstance(notice.get("id"), str) or not isinstance(resource, dict) or not notice["id"]:
            raise Malformed("not a notice")
        if notice.get("resource_type", "encrypt-resource") != "encrypt-resource":
            raise Malformed("resource_type")
        event_type = str(notice.get("event_type") or "")
    except NotAuthentic as error:
        return _pay_failure(401, f"not authentic: {error}", key)
    except Malformed as error:
        return _pay_failure(400, f"malformed: {error}", key)
    except TooLarge:
        return _pay_failure(413, "larger than 1 MiB", key)
    _, is_new = store_notice(
        account_id=address.account_id,
        fingerprint=envelopes.pay_fingerprint(notice["id"], event_type),
        topic=event_type,
        sender=notice["id"],
        body=body,
        content="",
        headers=headers,
    )
    if is_new:
        wake_now("wechat.tasks.handle_notices", queue="fast")
    return HttpResponse(status=204)


def _authentic_pay_headers(request: HttpRequest, address: Address, body: bytes) -> dict[str, str]:
    """The five headers when they prove the body. Raises NotAuthentic."""
    names = ("Timestamp", "Nonce", "Signature", "Serial", "Signature-Type")
    headers = {name: request.headers.get(f"Wechatpay-{name}", "") for name in names}
    if not address.public_key_id or headers["Serial"] != address.public_key_id or address.public_key is None:
        raise NotAuthentic("unknown serial")
    if headers["Signature-Type"] not in ("", "WECHATPAY2-SHA256-RSA2048"):
        raise NotAuthentic("unknown signature type")
    if not headers["Timestamp"].isascii() or not headers["Timestamp"].isdigit():
        raise NotAuthentic("timestamp")
    if abs(int(headers["Timestamp"]) - clock.now().timestamp()) > PAY_CLOCK_SKEW_SECONDS:
        raise NotAuthentic("older or newer than five minutes")
    crypto.check_pay_signature(
        address.public_key,
        timestamp=headers["Timestamp"],
        nonce=headers["Nonce"],
        body=body,
        signature=headers["Signature"],
    )
    return {**headers, "Request-ID": request.headers.get("Request-ID", "")[:64]}


def _pay_failure(status: int, message: str, key: str) -> HttpResponse:
    log.warning("notice refused", door="pay_notify", account=key, status=status, reason=message)
    return JsonResponse({"code": "FAIL", "message": message}, status=status)
