"""Setting accounts up, and finding out what exactly is wrong with one."""

import contextlib
import re
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.db import transaction
from django.utils.translation import gettext as _

from core.errors import Refusal
from wechat import crypto
from wechat.errors import NoSuchOrder, PlatformError
from wechat.gateway import addresses, tokens
from wechat.gateway.official import OfficialClient
from wechat.gateway.pay import PayClient
from wechat.gateway.work import WorkClient
from wechat.models import Account
from wechat.queries import account as get_account
from wechat.rules import DAILY_LIMITS

# Which fields each kind has; the first ones must be set before the account works.
NEEDED = {
    Account.SERVICE: ("appid", "secret", "token"),
    Account.SUBSCRIPTION: ("appid", "secret", "token"),
    Account.WORK: ("corpid", "secret", "token", "aes_key"),
    Account.PAY: (
        "appid",
        "mchid",
        "apiv3_key",
        "merchant_key",
        "merchant_serial",
        "public_key",
        "public_key_id",
    ),
    Account.MINI: ("appid", "secret"),
}
ALLOWED = {
    Account.SERVICE: ("appid", "secret", "token", "aes_key", "mode", "jssdk_url", "role"),
    Account.SUBSCRIPTION: ("appid", "secret", "token", "aes_key", "mode", "jssdk_url", "role"),
    Account.WORK: ("corpid", "agentid", "secret", "token", "aes_key", "jssdk_url", "role"),
    Account.PAY: NEEDED[Account.PAY],
    Account.MINI: (*NEEDED[Account.MINI], "role"),
}
COMMON = ("name", "api_base", "is_active", "daily_limits")


class BadAccount(Refusal):
    """A field of an account is wrong; `field` names it."""

    code = "bad_account"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_account(account: Account) -> None:
    """Raises BadAccount for the first thing that could never work. Shared by the shell and the admin."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", account.key or ""):
        raise BadAccount("key", _("The key has letters, digits, - and _ only."))
    if account.role not in dict(Account.ROLES):
        raise BadAccount("role", _("There is no account role %(role)s.") % {"role": account.role})
    for field in ALLOWED[Account.SERVICE] + ALLOWED[Account.WORK] + ALLOWED[Account.PAY]:
        default = Account._meta.get_field(field).get_default()  # type: ignore[union-attr]
        if field not in ALLOWED[account.kind] and getattr(account, field) not in ("", default):
            raise BadAccount(
                field,
                _("%(field)s does not belong to an account of kind %(kind)s.")
                % {"field": _label(field), "kind": account.get_kind_display()},
            )
    for field in NEEDED[account.kind]:
        if not getattr(account, field):
            raise BadAccount(field, _("%(field)s is missing.") % {"field": _label(field)})
    if account.is_official and account.mode != Account.PLAIN and not account.aes_key:
        raise BadAccount("aes_key", _("This callback mode needs the EncodingAESKey."))
    if account.aes_key:
        _check_aes_key(account.aes_key)
    if account.is_official and not re.fullmatch(r"[A-Za-z0-9]{3,32}", account.token):
        raise BadAccount("token", _("The callback token has 3 to 32 letters and digits."))
    if account.kind == Account.PAY:
        _check_pay(account)
    if account.api_base:
        try:
            addresses.check_base(account.api_base)
        except Refusal as error:
            raise BadAccount("api_base", error.message) from None
    _check_limits(account.daily_limits)


def _label(field: str) -> str:
    return str(getattr(Account._meta.get_field(field), "verbose_name", field))


def _check_aes_key(aes_key: str) -> None:
    try:
        crypto.CallbackCipher(aes_key)
    except ValueError:
        raise BadAccount("aes_key", _("The EncodingAESKey has exactly 43 letters and digits.")) from None


def _check_pay(account: Account) -> None:
    if len(account.apiv3_key.encode()) != 32:
        raise BadAccount("apiv3_key", _("The APIv3 key has exactly 32 characters."))
    try:
        merchant_key = load_pem_private_key(account.merchant_key.encode(), None)
    except (ValueError, TypeError):
        raise BadAccount(
            "merchant_key", _("The merchant key is not a private key in PEM (apiclient_key.pem).")
        ) from None
    if not isinstance(merchant_key, RSAPrivateKey):
        raise BadAccount("merchant_key", _("The merchant key is not an RSA key."))
    try:
        public_key = crypto.load_public_key(account.public_key)
    except ValueError:
        raise BadAccount(
            "public_key", _("The WeChat Pay public key is not a public key in PEM (pub_key.pem).")
        ) from None
    if public_key.public_numbers() == merchant_key.public_key().public_numbers():
        raise BadAccount(
            "public_key",
            _("This is the merchant's own key; WeChat Pay's public key is another file (pub_key.pem)."),
        )
    if not re.fullmatch(r"[0-9A-Fa-f]{8,64}", account.merchant_serial):
        raise BadAccount("merchant_serial", _("The certificate serial has hexadecimal digits only."))


def _check_limits(limits: Any) -> None:
    good = isinstance(limits, dict) and all(
        channel in DAILY_LIMITS and isinstance(number, int) and number >= 0
        for channel, number in limits.items()
    )
    if not good:
        raise BadAccount(
            "daily_limits",
            _("Daily limits are numbers by channel: %(names)s.") % {"names": ", ".join(DAILY_LIMITS)},
        )


@transaction.atomic
def set_account(*, kind: str, key: str, fields: dict[str, Any]) -> tuple[Account, bool]:
    """Create or change an account: (row, is it new). What is not named stays as it is. Raises BadAccount.

    Idempotent on: (kind, key). Locks: the account.
    """
    if kind not in ALLOWED:
        raise BadAccount("kind", _("There is no account kind %(kind)s.") % {"kind": kind})
    account = Account.objects.select_for_update().filter(kind=kind, key=key).first()
    is_new = account is None
    account = account or Account(kind=kind, key=key)
    for field, value in fields.items():
        if field not in (*ALLOWED[kind], *COMMON):
            raise BadAccount(
                field,
                _("%(field)s does not belong to an account of kind %(kind)s.")
                % {"field": field, "kind": kind},
            )
        setattr(account, field, value)
    check_account(account)
    other = Account.objects.filter(key=key, kind__in=Account.OFFICIAL).exclude(pk=account.pk)
    if account.is_official and other.exists():
        raise BadAccount(
            "key", _("Another official account has this key already: %(name)s.") % {"name": other.get()}
        )
    change_account(account, changed=set(fields))
    return account, is_new


def change_account(account: Account, *, changed: set[str]) -> None:
    """Save a checked account; with other credentials its tokens are worth nothing."""
    is_new = account.pk is None
    account.save()
    if not is_new and {"secret", "appid", "corpid", "api_base"} & changed:
        tokens.forget(account.pk)


@dataclass(frozen=True)
class ConnectionReport:
    """What a test of the connection found; `ok` and words that say what to do."""

    ok: bool
    message: str
    code: str = ""
    detail: str = ""


def test_connection(*, account_id: int) -> ConnectionReport:
    """Ask the platform with the account's own credentials, past every remembered token."""
    account = get_account(account_id)
    try:
        check_account(account)
        if account.kind == Account.PAY:
            return _test_pay(account)
        client = WorkClient(account) if account.kind == Account.WORK else OfficialClient(account)
        client.fetch_token()
        if account.kind != Account.MINI:
            _probe_permission(client)
    except PlatformError as error:
        message = error.message
        if error.code == "40001":  # here it can only be the secret: no older token was used
            message = _("The secret is wrong: it may have been reset; copy the new one.")
        return ConnectionReport(False, message, error.code, _with_address(error))
    except Refusal as error:
        return ConnectionReport(False, error.message, error.code)
    return ConnectionReport(
        True, _("The connection works: the platform accepts the secret and this server's address.")
    )


def _with_address(error: PlatformError) -> str:
    """The IP address that must be whitelisted stands in the platform's text."""
    found = re.search(r"\b(\d{1,3}(?:\.\d{1,3}){3})\b", error.detail)
    if error.code in ("40164", "60020") and found:
        return _("This server's address as the platform sees it: %(ip)s") % {"ip": found[1]}
    return error.detail


def _probe_permission(client: OfficialClient | WorkClient) -> None:
    """A cheap call that needs the permission which Pond lives on."""
    if isinstance(client, WorkClient):
        client.follow_users()
    else:
        client.call("GET", "/cgi-bin/user/get", repeatable=True)


def _test_pay(account: Account) -> ConnectionReport:
    """An order that cannot exist: signed rightly, the answer is "not found", signed by WeChat Pay."""
    with contextlib.suppress(NoSuchOrder):
        PayClient(account).query("POND_CONNECTION_TEST")
    return ConnectionReport(
        True, _("The connection works: WeChat Pay accepts the merchant key and its certificate.")
    )
