"""The platforms' error codes: which of our errors each one is, and what a person can do about it.

Sources: contract A2 (official accounts), B2 (WeCom; the same number may mean something else there), D4 (Pay).
"""

from typing import Any

from django.utils.translation import gettext_lazy as _

from wechat import errors
from wechat.errors import PlatformError

Meaning = tuple[type[PlatformError], Any]

TOKEN_REJECTED = (40001, 40014, 42001)
BACK_OFF_SECONDS = {-1: 30, 45009: 3600, 45011: 60, 45033: 60}

_BUSY: Meaning = (errors.PlatformBusy, _("The platform is busy; it is tried again later."))
_TOKEN: Meaning = (
    errors.TokenRejected,
    _(
        "The access token is not accepted, a fresh one neither: does another system use the same account with "
        "force_refresh, and is the secret right?"
    ),
)
_PARAMETER: Meaning = (errors.InvalidRequest, _("The platform found a parameter wrong."))
_NO_PERMISSION: Meaning = (
    errors.NotAllowed,
    _(
        "This account has no permission for this interface: apply for it on the platform, under interface permissions."
    ),
)

OFFICIAL: dict[int, Meaning] = {
    -1: _BUSY,
    40001: _TOKEN,
    40014: _TOKEN,
    42001: _TOKEN,
    41001: (errors.TokenRejected, _("No access token was sent.")),
    40002: (errors.InvalidRequest, _("The grant type is wrong.")),
    40003: (errors.InvalidRequest, _("This openid does not belong to this account.")),
    40007: (errors.InvalidRequest, _("The media file does not exist or has expired: upload it again.")),
    40013: (errors.WrongCredentials, _("The appid does not exist: copy it again from the account's page.")),
    40029: (errors.CodeRejected, _("The login code is wrong or too old: open the page again from WeChat.")),
    40030: (errors.CodeRejected, _("The login has expired: open the page again from WeChat.")),
    40031: (errors.InvalidRequest, _("The list of openids has a wrong one.")),
    40032: (errors.InvalidRequest, _("A mass message needs between 2 and 10,000 receivers.")),
    40035: _PARAMETER,
    40037: (
        errors.InvalidRequest,
        _("The template does not exist in this account: choose one of its own templates."),
    ),
    40125: (errors.WrongCredentials, _("The secret is wrong: it may have been reset; copy the new one.")),
    40163: (errors.CodeRejected, _("The login code was used already: open the page again from WeChat.")),
    40164: (
        errors.NotAllowed,
        _(
            "This server's IP address is not in the account's whitelist: add it on the platform, under security."
        ),
    ),
    40200: (errors.NotAllowed, _("This type of account cannot do this.")),
    41002: (errors.WrongCredentials, _("The appid is missing.")),
    41004: (errors.WrongCredentials, _("The secret is missing.")),
    42007: (errors.NotAllowed, _("The account's owner changed the password: authorise again.")),
    43004: (errors.PersonUnreachable, _("This person does not follow the account.")),
    43019: (errors.PersonUnreachable, _("This person is in the account's blacklist.")),
    43101: (
        errors.PersonUnreachable,
        _("This person has not accepted this notification, or has used it up."),
    ),
    44002: (errors.InvalidRequest, _("The request had no content.")),
    45002: (errors.InvalidRequest, _("The message is too long.")),
    45008: (errors.InvalidRequest, _("Too many articles in one message.")),
    45009: (errors.RateLimited, _("Today's calls of this interface are used up; it goes on tomorrow.")),
    45011: (errors.RateLimited, _("Too many calls in this minute; it goes on in a minute.")),
    45015: (
        errors.PersonUnreachable,
        _("The reply window is closed: this person has not interacted with the account lately."),
    ),
    45028: (errors.RateLimited, _("This account has no mass messages left.")),
    45047: (
        errors.PersonUnreachable,
        _("This person has had all customer-service messages of the reply window."),
    ),
    45056: (errors.InvalidRequest, _("The account has 100 tags, more are not possible.")),
    45057: (errors.InvalidRequest, _("A tag of more than 100,000 followers cannot be deleted.")),
    45058: (errors.InvalidRequest, _("The platform's own tags cannot be changed.")),
    45059: (errors.InvalidRequest, _("This person has 20 tags, more are not possible.")),
    45065: (errors.AlreadyDone, _("The platform has this sending already.")),
    45066: (errors.RateLimited, _("The same sending was tried twice within a minute.")),
    45067: (errors.InvalidRequest, _("The idempotency key is too long.")),
    45157: (errors.InvalidRequest, _("A tag of this name exists.")),
    45158: (errors.InvalidRequest, _("The tag's name is too long.")),
    45159: (errors.InvalidRequest, _("The tag does not exist.")),
    45162: (errors.NotAllowed, _("This account cannot send this type of message.")),
    46003: (errors.InvalidRequest, _("The account has no menu yet.")),
    46004: (errors.InvalidRequest, _("This person does not exist.")),
    47001: (errors.InvalidRequest, _("The platform could not read the request.")),
    47003: (
        errors.InvalidRequest,
        _("A field of the template breaks its rule, for example thing fields take at most 20 characters."),
    ),
    48001: _NO_PERMISSION,
    48002: (errors.PersonUnreachable, _("This person refuses messages of the account.")),
    48004: (
        errors.NotAllowed,
        _("The platform has banned this interface for the account: see the notice in the account's inbox."),
    ),
    48006: (errors.RateLimited, _("The quota can be cleared ten times a month; that is used up.")),
    50001: (errors.NotAllowed, _("The person has not authorised this.")),
    50002: (errors.NotAllowed, _("The person's account is restricted.")),
    50005: (errors.PersonUnreachable, _("This person does not follow the account.")),
    61451: _PARAMETER,
    65303: (errors.InvalidRequest, _("A default menu must exist first.")),
    65320: (errors.InvalidRequest, _("This menu rule is not supported any more.")),
}

WORK: dict[int, Meaning] = {
    -1: _BUSY,
    40001: _TOKEN,
    40014: _TOKEN,
    42001: _TOKEN,
    41001: (errors.TokenRejected, _("No access token was sent.")),
    40003: (errors.InvalidRequest, _("This member does not exist.")),
    40013: (errors.WrongCredentials, _("The corpid does not exist: copy it from My Enterprise.")),
    40029: (errors.CodeRejected, _("The login code is wrong or too old: open the page again from WeCom.")),
    42022: (errors.CodeRejected, _("The login code was used: open the page again from WeCom.")),
    40058: _PARAMETER,
    40068: (errors.InvalidRequest, _("The tag does not exist.")),
    40071: (errors.InvalidRequest, _("A tag of this name exists.")),
    40096: (errors.InvalidRequest, _("This customer does not exist.")),
    40098: (errors.NotAllowed, _("The member has not verified her real name in WeCom.")),
    40099: (errors.NotAllowed, _("The member has no room for more customers.")),
    41041: (errors.InvalidRequest, _("A contact code serves at most 100 people.")),
    41045: (errors.RateLimited, _("The enterprise has no contact codes left.")),
    41048: (errors.PersonUnreachable, _("No customer can be reached by this mass message.")),
    41049: (errors.CodeRejected, _("The welcome code is missing.")),
    41050: (errors.CodeRejected, _("The welcome code is wrong or older than 20 seconds.")),
    41051: (errors.PersonUnreachable, _("The chat has begun already, so there is no welcome message.")),
    41053: (errors.PersonUnreachable, _("The customer has not accepted the archive notice.")),
    41054: (errors.NotAllowed, _("The member has not activated WeCom.")),
    41063: (errors.PlatformBusy, _("The mass message is still being handed out.")),
    41093: (errors.InvalidRequest, _("The mass message was cancelled.")),
    41094: (errors.RateLimited, _("Reminders are possible three times in 24 hours.")),
    41096: (errors.PersonUnreachable, _("Another app is sending the welcome message.")),
    45009: (errors.RateLimited, _("Too many calls of this interface; it goes on later.")),
    45011: (errors.RateLimited, _("Too many calls in this minute; it goes on in a minute.")),
    45033: (errors.RateLimited, _("Too many calls at once.")),
    46004: (errors.InvalidRequest, _("This person does not exist.")),
    48002: _NO_PERMISSION,
    50002: (errors.NotAllowed, _("The member is outside of the app's visible range.")),
    50003: (errors.NotAllowed, _("The app is disabled in WeCom.")),
    60011: (errors.NotAllowed, _("The app has no privilege for this member or department.")),
    60020: (
        errors.NotAllowed,
        _("This server's IP address is not trusted: add it in WeCom, under the app's trusted IPs."),
    ),
    60111: (errors.InvalidRequest, _("This member does not exist.")),
    81013: (errors.PersonUnreachable, _("None of the receivers is valid.")),
    81017: (errors.InvalidRequest, _("Too much data at once: name the owners.")),
    84061: (errors.InvalidRequest, _("This person is not a customer of this member.")),
    84074: (
        errors.NotAllowed,
        _("The app has no customer contact permission: enable it under customer contact, callable apps."),
    ),
    90501: (errors.InvalidRequest, _("This is not a customer group.")),
    301002: (errors.WrongCredentials, _("The agentid does not belong to this app.")),
}

PAY: dict[str, Meaning] = {
    "PARAM_ERROR": _PARAMETER,
    "INVALID_REQUEST": (errors.InvalidRequest, _("WeChat Pay refuses this request.")),
    "APPID_MCHID_NOT_MATCH": (
        errors.WrongCredentials,
        _("The appid is not bound to this merchant: bind it in the merchant portal."),
    ),
    "MCH_NOT_EXISTS": (errors.WrongCredentials, _("The merchant number does not exist.")),
    "ORDER_CLOSED": (errors.InvalidRequest, _("The order is closed at WeChat Pay.")),
    "SIGN_ERROR": (
        errors.WrongCredentials,
        _("The signature is wrong: the merchant key and the certificate serial must belong together."),
    ),
    "NO_AUTH": (errors.NotAllowed, _("The merchant has no permission for this product.")),
    "NOT_ENOUGH": (errors.NotAllowed, _("The merchant's balance is too low.")),
    "OUT_TRADE_NO_USED": (errors.AlreadyPaid, _("This order number was used already.")),
    "ORDERPAID": (errors.AlreadyPaid, _("This order is paid.")),
    "RULE_LIMIT": (errors.NotAllowed, _("A rule of WeChat Pay forbids this payment.")),
    "TRADE_ERROR": (errors.NotAllowed, _("WeChat Pay refused the trade.")),
    "ACCOUNT_ERROR": (errors.NotAllowed, _("The payer's account is restricted.")),
    "ORDER_NOT_EXIST": (errors.NoSuchOrder, _("WeChat Pay does not know this order.")),
    "RESOURCE_NOT_EXISTS": (errors.NoSuchOrder, _("WeChat Pay does not know this refund.")),
    "FREQUENCY_LIMITED": (errors.RateLimited, _("Too many calls of WeChat Pay; it goes on later.")),
    "SYSTEM_ERROR": (errors.PlatformBusy, _("WeChat Pay is busy; it is tried again later.")),
    "OPENID_MISMATCH": (errors.InvalidRequest, _("The openid does not belong to the appid of the payment.")),
    "USER_PAYING": (errors.PlatformBusy, _("The person is paying right now.")),
}
# Older pages of the vendor spell them so.
PAY |= {
    "ORDERNOTEXIST": PAY["ORDER_NOT_EXIST"],
    "RULELIMIT": PAY["RULE_LIMIT"],
    "NOTENOUGH": PAY["NOT_ENOUGH"],
    "SYSTEMERROR": PAY["SYSTEM_ERROR"],
    "ORDERCLOSED": PAY["ORDER_CLOSED"],
    "ORDER_PAID": PAY["ORDERPAID"],
}
_UNKNOWN: Meaning = (PlatformError, _("The platform refused with an error that is not in its list."))


def official_error(errcode: int, errmsg: str = "", *, answer: dict[str, Any] | None = None) -> PlatformError:
    return _error(OFFICIAL.get(errcode, _UNKNOWN), errcode, errmsg, answer)


def work_error(errcode: int, errmsg: str = "", *, answer: dict[str, Any] | None = None) -> PlatformError:
    return _error(WORK.get(errcode, _UNKNOWN), errcode, errmsg, answer)


def pay_error(code: str, message: str, *, status: int) -> PlatformError:
    meaning = PAY.get(code)
    if meaning is None:
        kinds: dict[int, type[PlatformError]] = {
            401: errors.WrongCredentials,
            403: errors.NotAllowed,
            404: errors.NoSuchOrder,
            429: errors.RateLimited,
        }
        kind = kinds.get(status, errors.PlatformBusy if status >= 500 else errors.InvalidRequest)
        meaning = (kind, _UNKNOWN[1])
    return _error(meaning, code or f"http_{status}", message, None)


def _error(meaning: Meaning, code: int | str, detail: str, answer: dict[str, Any] | None) -> PlatformError:
    kind, words = meaning
    retry_after = BACK_OFF_SECONDS.get(code) if isinstance(code, int) else None
    if retry_after is None and issubclass(kind, errors.RateLimited | errors.PlatformBusy):
        retry_after = 60
    error = kind(code, str(words), detail=detail[:300], retry_after=retry_after)
    if isinstance(error, errors.AlreadyDone) and answer:
        error.platform_id = str(answer.get("msg_id") or "")
    return error
