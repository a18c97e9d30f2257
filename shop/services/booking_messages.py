"""What a store tells a member about her booking or her number, in the chat, where WeChat allows it now."""

from django.conf import settings

from core import clock
from crm import queries as crm_queries
from crm import services as crm_services
from wechat import queries as wechat_queries
from wechat import services as wechat_services

SENT, NO_WINDOW, REFUSED = "sent", "no_window", "refused"


def tell_member(
    *,
    member_id: int,
    origin: str,
    origin_id: int,
    title: str,
    text: str,
    path: str,
    touch: str = "",
    purpose: str = "service",
) -> str:
    """Queue a card that leads to `path`, to whichever account of ours she wrote to lately; what became of it.

    `touch` names the touch to book first ("booking:7:day"), for messages that are not an answer to what she does at
    this moment; "": none is asked. Call inside the transaction of the fact. Idempotent on: (origin, origin_id).
    """
    address = open_address(member_id, purpose=purpose)
    if address is None:
        return NO_WINDOW
    account_id, openid = address
    if touch and not crm_services.book_touches(
        origin=touch, member_ids=[member_id], purpose=purpose, channel="custom", account_id=account_id
    ):
        return REFUSED
    wechat_services.enqueue_message(
        account_id=account_id,
        channel="custom",
        to=openid,
        body={
            "kind": "link",
            "title": title,
            "description": text,
            "url": f"{settings.PUBLIC_URL}{path}",
            "image_url": "",
        },
        origin=origin,
        origin_id=origin_id,
        queue="fast",
    )
    return SENT


def open_address(member_id: int, *, purpose: str = "service") -> tuple[int, str] | None:
    """(account, openid) of hers with a reply window that is open now; for marketing one where it is welcome."""
    moment = clock.now()
    for identity in crm_queries.identities_of(member_id):
        if identity.kind != "openid" or identity.account_id is None:
            continue
        if purpose == "marketing" and not identity.takes_marketing:
            continue
        if (
            wechat_queries.open_reply_windows(identity.account_id, moment)
            .filter(openid=identity.value)
            .exists()
        ):
            return identity.account_id, identity.value
    return None
