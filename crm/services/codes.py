"""Channel codes: making their QR codes, and what a scan brings (source, tags, welcome)."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.wakeups import wake
from crm.errors import CodeNotReady
from crm.models import ChannelCode, ChannelScan, Member
from crm.services.tags import add_tags
from wechat import services as wechat

log = structlog.get_logger(__name__)

# A WeCom welcome code lives 20 s (path 92137); one second is kept for the way.
WELCOME_CODE_LIFE = timedelta(seconds=19)


def new_scene() -> str:
    """A scene nobody guesses: 24 letters and digits, within WeCom's 30."""
    return "c" + secrets.token_hex(11)


@transaction.atomic
def arrive_through(
    *, code: ChannelCode, member: Member, at: datetime, is_new: bool, welcome_code: str = ""
) -> ChannelScan:
    """Keep the scan, the first source, the code's tags; the welcome leaves after commit.

    Locks: none (the source by a guarded update). Idempotency is the caller's: the event delivery.
    """
    Member.objects.filter(pk=member.pk, source__isnull=True).update(source=code)
    add_tags(
        member_ids=[member.pk],
        tag_ids=list(code.tags.values_list("pk", flat=True)),
        origin=f"code:{code.pk}",
    )
    content = welcome_content(code)
    scan = ChannelScan.objects.create(
        code=code,
        member=member,
        at=at,
        is_new=is_new,
        greeting=ChannelScan.PENDING if content and code.is_active else ChannelScan.NONE,
        welcome_code=welcome_code,
    )
    if scan.greeting == ChannelScan.NONE:
        return scan
    if code.kind == ChannelCode.OA:
        _hand_over(scan, code, content)
    elif welcome_code:
        wake("crm.tasks.send_welcomes", queue="fast")
    else:
        # The administrator's own welcome, or a chat that had begun: then the platform gives no code.
        scan.greeting, scan.greeting_error = ChannelScan.NONE, str(_("the platform gave no welcome code"))
        scan.save(update_fields=["greeting", "greeting_error"])
    return scan


def _hand_over(scan: ChannelScan, code: ChannelCode, content: list[dict[str, Any]]) -> None:
    """Into the outgoing messages, in this transaction: a follow or scan opens the window for one minute."""
    identities = scan.member.identities.filter(kind="openid", account=code.account_id)
    openid = identities.values_list("value", flat=True).first()
    if openid is None:
        return
    for number, body in enumerate(content):
        wechat.enqueue_message(
            account_id=code.account_id,
            channel="custom",
            to=openid,
            body=body,
            origin="crm.welcome",
            origin_id=scan.pk * 2 + number,
            dedupe_key=f"crm.welcome:{scan.pk}:{number}",
            queue="fast",
        )
    scan.greeting = ChannelScan.QUEUED
    scan.save(update_fields=["greeting"])


def welcome_content(code: ChannelCode) -> list[dict[str, Any]]:
    """The welcome as message bodies: a text, a link, or both."""
    content: list[dict[str, Any]] = []
    if code.welcome_text:
        content.append({"kind": "text", "text": code.welcome_text})
    if code.welcome_url:
        content.append(
            {
                "kind": "link",
                "title": code.welcome_title or code.name,
                "description": code.welcome_description,
                "url": absolute(code.welcome_url),
                "image_url": absolute(code.welcome_image_url) if code.welcome_image_url else "",
            }
        )
    return content


def absolute(address: str) -> str:
    return settings.PUBLIC_URL + address if address.startswith("/") else address


def send_due_welcomes(*, limit: int = 50) -> int:
    """Send the WeCom welcomes that wait; returns how many were tried.

    Each is claimed by a conditional update before the call, so it is tried once: the code works once anyway.
    Must run outside of a transaction: it speaks to the platform.
    """
    tried = 0
    for scan in (
        ChannelScan.objects.filter(greeting=ChannelScan.PENDING).select_related("code").order_by("at")[:limit]
    ):
        code = scan.code
        if code is None or not ChannelScan.objects.filter(pk=scan.pk, greeting=ChannelScan.PENDING).update(
            greeting=ChannelScan.QUEUED
        ):
            continue
        tried += 1
        state, error = _send_welcome(scan, code)
        ChannelScan.objects.filter(pk=scan.pk).update(greeting=state, greeting_error=error[:200])
    return tried


def _send_welcome(scan: ChannelScan, code: ChannelCode) -> tuple[str, str]:
    if clock.now() - scan.at > WELCOME_CODE_LIFE:
        return ChannelScan.EXPIRED, str(_("the welcome code lives 20 seconds"))
    content = {body["kind"]: body for body in welcome_content(code)}
    try:
        wechat.send_work_welcome(
            account_id=code.account_id,
            welcome_code=scan.welcome_code,
            text=content.get("text", {}).get("text", ""),
            link=content.get("link"),
        )
    except Refusal as error:
        log.warning("welcome refused", scan=scan.pk, code=error.code)
        return ChannelScan.FAILED, error.message
    return ChannelScan.SENT, ""


def make_qr_code(*, code_id: int) -> ChannelCode:
    """Have the platform make the code's QR address. Must run outside of a transaction. Raises CodeNotReady.

    Idempotent: an official account answers the same scene with an equal code; a WeCom way that exists is kept.
    """
    code = ChannelCode.objects.select_related("account", "staff").get(pk=code_id)
    if code.qr_url and code.kind == ChannelCode.WORK:
        return code
    try:
        if code.kind == ChannelCode.OA:
            made = wechat.create_qr_code(account_id=code.account_id, scene=code.scene, expires_seconds=None)
            code.qr_url, code.qr_ticket = made.url, made.ticket
        else:
            userid = code.staff.work_userid if code.staff else None
            if not userid:
                raise CodeNotReady(
                    _("The guide of this code has no WeCom userid. Add it to the guide first.")
                )
            way = wechat.create_contact_way(
                account_id=code.account_id, userids=[userid], state=code.scene, remark=code.name[:30]
            )
            code.qr_url, code.qr_ticket = way.qr_url, way.config_id
    except Refusal as error:
        ChannelCode.objects.filter(pk=code.pk).update(qr_error=error.message[:300])
        raise CodeNotReady(error.message) from error
    code.qr_made_at, code.qr_error = clock.now(), ""
    code.save(update_fields=["qr_url", "qr_ticket", "qr_made_at", "qr_error"])
    return code


def make_missing_qr_codes(*, limit: int = 20) -> int:
    """For codes saved while the platform was away; returns how many were made."""
    made = 0
    waiting = ChannelCode.objects.filter(qr_url="", is_active=True).order_by("pk")
    for code_id in list(waiting.values_list("pk", flat=True)[:limit]):
        try:
            make_qr_code(code_id=code_id)
            made += 1
        except CodeNotReady as error:
            log.warning("QR code not made", channel_code=code_id, reason=error.code)
    return made
