"""Tracked links: a signed token names the recipient row, the row names the target. No open redirect."""

import re
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from campaigns.errors import BrokenLink
from campaigns.models import Broadcast, BroadcastRecipient, WinBackRule, WinBackSpell
from core import clock
from crm import services as crm_services

SALT = "campaigns.tracked_link"
SIGNATURE_CHARACTERS = 20
TOKEN = re.compile(r"([rswa])([0-9]{1,19})-([0-9a-f]{20})")
# One row's own link, or the link that all readers of a mass message share.
RECIPIENT, SPELL, SHARED_BROADCAST, SHARED_RULE = "r", "w", "s", "a"


def link_token(kind: str, row_id: int) -> str:
    """The token of a row: its kind and id with 80 bits of HMAC, short enough for a text message."""
    name = f"{kind}{row_id}"
    signature = salted_hmac(SALT, name, algorithm="sha256").hexdigest()[:SIGNATURE_CHARACTERS]
    return f"{name}-{signature}"


def link_address(kind: str, row_id: int) -> str:
    return f"{settings.PUBLIC_URL}/t/{link_token(kind, row_id)}/"


def target_address(url: str) -> str:
    """A path of the shop becomes a full address; a full address stays."""
    return f"{settings.PUBLIC_URL}{url}" if url.startswith("/") else url


def open_link(*, token: str, viewer_id: int | None = None, counts: bool = True) -> str:
    """The reader opened it: note that once, and say where it leads. Raises BrokenLink.

    Idempotent on: the recipient row, whose `opened_at` is set by a conditional update. A shared link counts for the
    reader who is logged in, if she is a recipient.
    """
    found = TOKEN.fullmatch(token)
    if found is None or not constant_time_compare(token, link_token(found[1], int(found[2]))):
        raise BrokenLink()
    kind, row_id = found[1], int(found[2])
    if kind == RECIPIENT:
        recipient = BroadcastRecipient.objects.select_related("broadcast").filter(pk=row_id).first()
        if recipient is None:
            raise BrokenLink()
        if counts:
            _note_opened(BroadcastRecipient, {"pk": row_id, "status": "released"}, recipient.broadcast.origin)
        return target_address(recipient.broadcast.url)
    if kind == SPELL:
        spell = WinBackSpell.objects.select_related("rule").filter(pk=row_id).first()
        if spell is None:
            raise BrokenLink()
        if counts:
            _note_opened(WinBackSpell, {"pk": row_id, "status": "sent"}, spell.rule.origin)
        return target_address(spell.rule.url)
    shared: Broadcast | WinBackRule | None
    if kind == SHARED_BROADCAST:
        shared = Broadcast.objects.filter(pk=row_id).first()
        mine: dict[str, Any] = {"broadcast_id": row_id, "member_id": viewer_id, "status": "released"}
        table: type[BroadcastRecipient] | type[WinBackSpell] = BroadcastRecipient
    else:
        shared = WinBackRule.objects.filter(pk=row_id).first()
        mine = {"rule_id": row_id, "member_id": viewer_id, "status": "sent"}
        table = WinBackSpell
    if shared is None:
        raise BrokenLink()
    if counts and viewer_id is not None:
        _note_opened(table, mine, shared.origin)
    return target_address(shared.url)


@transaction.atomic
def _note_opened(
    table: type[BroadcastRecipient] | type[WinBackSpell], which: dict[str, Any], origin: str
) -> None:
    row = (
        table.objects.filter(**which, opened_at__isnull=True)
        .order_by("-pk")
        .values("pk", "member_id")
        .first()
    )
    moment = clock.now()
    if row and table.objects.filter(pk=row["pk"], opened_at__isnull=True).update(opened_at=moment):
        crm_services.record_activity(member_id=row["member_id"], kind="opened", at=moment, subject=origin)
        crm_services.judge_tag_rules(member_id=row["member_id"], kinds=crm_services.BY_LINK)
