"""How a code leaves the house by SMS: an interface of one method, the sandbox's own, and how a house names another.

No vendor's library is part of Pond. A house that has a contract writes a class with `send_code` and names it in
`SMS_PROVIDER` ("acme.texts.Sender"). Codes go by approved templates at every vendor in China, so a sender is told the
code and the minutes, not a text.
"""

from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from wechat import services as wechat
from wechat.errors import NotReached


class NotSent(Exception):
    """The provider did not take it; the message is a short code without the number. It is tried again."""


class SmsSender(Protocol):
    """Sends one code to one number. Called outside of a transaction, perhaps twice with the same `reference`."""

    def send_code(self, *, phone: str, code: str, minutes: int, reference: str) -> None:
        """Returns when the provider has taken it, within ten seconds; raises NotSent. Writes no number into a log."""


class SandboxSender:
    """Puts the message onto the phone of the sandbox: nothing leaves this machine."""

    def send_code(self, *, phone: str, code: str, minutes: int, reference: str) -> None:
        text = _(
            "[%(shop)s] Your code is %(code)s. It counts for %(minutes)d minutes; tell it to nobody."
        ) % {
            "shop": settings.SHOP_NAME,
            "code": code,
            "minutes": minutes,
        }
        try:
            wechat.tell_sandbox("sms", {"phone": phone, "text": text})
        except NotReached as error:
            raise NotSent(error.code) from error


def sends_codes() -> bool:
    """Whether this house can send codes; if not, a phone is only typed."""
    return bool(settings.SMS_PROVIDER)


def sender() -> SmsSender:
    """The sender of this house. Raises ImproperlyConfigured when there is none."""
    if not settings.SMS_PROVIDER:
        raise ImproperlyConfigured("SMS_PROVIDER is not set")
    if settings.SMS_PROVIDER == "sandbox":
        return SandboxSender()
    made: SmsSender = import_string(settings.SMS_PROVIDER)()
    return made
