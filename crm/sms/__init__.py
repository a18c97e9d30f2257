"""How a code leaves the house by SMS: an interface of one method, the sandbox's, Tencent Cloud's, or a house's own.

A house with another contract writes a class with `send_code` and names it in `SMS_PROVIDER` ("acme.texts.Sender").
Codes go by approved templates at every vendor in China, so a sender is told the code and the minutes, not a text.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from crm.sms.base import AGAIN, HOUSE, NUMBER, OFTEN, UNKNOWN, NotSent, SmsSender
from crm.sms.sandbox import SandboxSender
from crm.sms.tencent import TencentSender

__all__ = [
    "AGAIN",
    "HOUSE",
    "NUMBER",
    "OFTEN",
    "UNKNOWN",
    "NotSent",
    "SandboxSender",
    "SmsSender",
    "TencentSender",
    "sender",
    "sends_codes",
]


def sends_codes() -> bool:
    """Whether this house can send codes; if not, a phone is only typed."""
    return bool(settings.SMS_PROVIDER)


def sender() -> SmsSender:
    """The sender of this house. Raises ImproperlyConfigured when there is none."""
    match settings.SMS_PROVIDER:
        case "":
            raise ImproperlyConfigured("SMS_PROVIDER is not set")
        case "sandbox":
            return SandboxSender()
        case "tencent":
            return TencentSender(**settings.TENCENT_SMS)
    made: SmsSender = import_string(settings.SMS_PROVIDER)()
    return made
