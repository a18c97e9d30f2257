"""The sandbox's phone: nothing leaves this machine."""

from django.conf import settings
from django.utils.translation import gettext as _

from crm.sms.base import NotSent
from wechat import services as wechat
from wechat.errors import NotReached


class SandboxSender:
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
