"""Where the platforms are; a stand-in on this machine is refused in production."""

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from wechat.errors import UnsafeAddress
from wechat.models import Account

OFFICIAL = "https://api.weixin.qq.com"
LOGIN = "https://open.weixin.qq.com"
PICTURES = "https://mp.weixin.qq.com"
WORK = "https://qyapi.weixin.qq.com"
PAY = "https://api.mch.weixin.qq.com"
JSSDK = "https://res.wx.qq.com/open/js/jweixin-1.6.0.js"
# Pages inside of WeCom load two: the SDK, and what WeCom adds to it (agentConfig).
WORK_JSSDK = (
    "https://res.wx.qq.com/open/js/jweixin-1.2.0.js",
    "https://open.work.weixin.qq.com/wwopen/js/jwxwork-1.0.0.js",
)


def check_base(base: str) -> None:
    """Raises UnsafeAddress: in production secrets travel over https, and never to this machine."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UnsafeAddress(_("The API base address must look like https://host."), code="bad_address")
    if not settings.PRODUCTION:
        return
    if parts.scheme != "https" or is_local(parts.hostname):
        raise UnsafeAddress(
            _("In production the API base address must be https and not this machine: %(base)s")
            % {"base": base},
            code="unsafe_address",
        )


def is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def base_of(account: Account, vendor: str) -> str:
    """The account's own base address, else the vendor's; without a slash at the end. Raises UnsafeAddress."""
    if not account.api_base:
        return vendor
    check_base(account.api_base)
    return account.api_base.rstrip("/")
