"""WeCom: contact ways and the welcome messages that follow them. Contract sections B5 and B6."""

from __future__ import annotations

from typing import Any

from wechat.sandbox import crypto
from wechat.sandbox.errors import ApiError
from wechat.sandbox.routes import Call, optional_text, texts, whole, work
from wechat.sandbox.store import Row
from wechat.sandbox.work_basics import OK, member_of, page_of
from wechat.sandbox.world import World

ATTACHMENT_TYPES = ("image", "link", "miniprogram", "video", "file")


@work("/cgi-bin/externalcontact/add_contact_way")
def contact_way_add(call: Call) -> Row:
    """A code or button through which customers add one member (type 1) or one of several (type 2)."""
    body, world = call.body, call.world
    kind, scene = body.get("type"), body.get("scene")
    if kind is None:
        raise ApiError(41037)
    if kind not in (1, 2):
        raise ApiError(41038)
    if scene is None:
        raise ApiError(41039)
    if scene not in (1, 2):
        raise ApiError(41040)
    users = texts(body, "user", 40058, most=10**6)
    party = body.get("party") or []
    if kind == 1 and len(users) != 1:
        raise ApiError(40058, "single contact way needs exactly one user")
    if kind == 2 and not users and not party:
        raise ApiError(40058, "user and party are both empty")
    if len(users) > 100:
        raise ApiError(41041)
    for userid in users:
        member_of(call, userid, 40003)
    temporary = body.get("is_temp") is True
    if temporary and kind != 1:
        raise ApiError(40058)
    expires = whole(body, "expires_in", 40058, default=7 * 86400, least=1, most=14 * 86400)
    config_id = crypto.random_text(32).lower()
    row: Row = {
        "config_id": config_id,
        "account": call.account["key"],
        "type": kind,
        "scene": scene,
        "style": body.get("style", 0),
        "remark": optional_text(body, "remark", 40058, most=30),
        "skip_verify": body.get("skip_verify", True) is not False,
        "state": optional_text(body, "state", 40058, most=30),
        "user": users,
        "party": party,
        "is_temp": temporary,
        "expires": world.clock.now() + expires if temporary else 0.0,
        "qr_code": f"{world.base}/sandbox/qr/contact/{config_id}.png",
        "url": f"https://work.weixin.qq.com/ca/{config_id}",
        "created": int(world.clock.now()),
        "used": 0,
    }
    world.contact_ways.put(config_id, row)
    answer: Row = {**OK, "config_id": config_id}
    return {**answer, "qr_code": row["qr_code"]} if scene == 2 else answer


def _way(call: Call) -> Row:
    config_id = call.body.get("config_id")
    if not config_id:
        raise ApiError(41043)
    row = call.world.contact_ways.get(config_id)
    if row is None or row["account"] != call.account["key"]:
        raise ApiError(41044)
    return row


@work("/cgi-bin/externalcontact/get_contact_way")
def contact_way_get(call: Call) -> Row:
    """One contact way."""
    row = _way(call)
    names = (
        "config_id",
        "type",
        "scene",
        "style",
        "remark",
        "skip_verify",
        "state",
        "user",
        "party",
        "is_temp",
    )
    return {**OK, "contact_way": {**{name: row[name] for name in names}, "qr_code": row["qr_code"]}}


@work("/cgi-bin/externalcontact/list_contact_way")
def contact_way_list(call: Call) -> Row:
    """The config_ids, 100 to 1000 a page, without temporary ones."""
    body = call.body
    rows = [
        row for row in call.world.contact_ways if row["account"] == call.account["key"] and not row["is_temp"]
    ]
    first = whole(body, "start_time", 40058, default=0, least=0, most=2**40)
    last = whole(body, "end_time", 40058, default=2**40, least=0, most=2**40)
    rows = [row for row in rows if first <= row["created"] <= last]
    limit = whole(body, "limit", 40058, default=100, least=1, most=1000)
    page, cursor = page_of(rows, body.get("cursor") or "", limit)
    return {**OK, "contact_way": [{"config_id": row["config_id"]} for row in page], "next_cursor": cursor}


@work("/cgi-bin/externalcontact/update_contact_way")
def contact_way_update(call: Call) -> Row:
    """Change a contact way; the code stays."""
    row, body = _way(call), call.body
    for name in ("remark", "state"):
        if name in body:
            row[name] = optional_text(body, name, 40058, most=30)
    if "user" in body:
        users = texts(body, "user", 40058, most=100)
        for userid in users:
            member_of(call, userid, 40003)
        row["user"] = users
    for name in ("skip_verify", "style", "party"):
        if name in body:
            row[name] = body[name]
    call.world.contact_ways.put(row["config_id"], row)
    return OK


@work("/cgi-bin/externalcontact/del_contact_way")
def contact_way_delete(call: Call) -> Row:
    """Delete a contact way; its code stops working."""
    call.world.contact_ways.delete(_way(call)["config_id"])
    return OK


# --- welcome messages -----------------------------------------------------------------------------


def checked_attachments(body: Row, errcode: int) -> tuple[str, list[Row]]:
    """Text and up to nine attachments, one of the two at least; raises 40058, 41064, 41065."""
    words = ""
    if body.get("text"):
        if not isinstance(body["text"], dict):
            raise ApiError(40058)
        words = str(body["text"].get("content") or "")
        if len(words.encode()) > 4000:
            raise ApiError(40058, "text content exceeds 4000 bytes")
    attachments = body.get("attachments") or []
    if not isinstance(attachments, list):
        raise ApiError(40058)
    if len(attachments) > 9:
        raise ApiError(41064)
    for one in attachments:
        kind = one.get("msgtype") if isinstance(one, dict) else None
        if kind not in ATTACHMENT_TYPES or not isinstance(one.get(kind), dict):
            raise ApiError(41065)
        if kind == "link":
            link = one["link"]
            for name, most in (("title", 128), ("desc", 512), ("url", 2048)):
                if len(str(link.get(name) or "").encode()) > most:
                    raise ApiError(40058, f"link {name} exceeds {most} bytes")
            if not link.get("title") or not link.get("url"):
                raise ApiError(40058, "link needs title and url")
    if not words and not attachments:
        raise ApiError(errcode)
    return words, attachments


def deliver_attachments(
    world: World, person_id: str, words: str, attachments: list[Row], **common: Any
) -> None:
    """Text and attachments as one message after the other, as the phone shows them."""
    if words:
        world.deliver(person_id, kind="text", text=words, **common)
    for one in attachments:
        kind = one["msgtype"]
        content = one[kind]
        if kind == "link":
            article = {
                "title": content["title"],
                "description": content.get("desc", ""),
                "url": content["url"],
                "picurl": content.get("picurl", ""),
            }
            world.deliver(
                person_id,
                kind="news",
                text=content["title"],
                link=content["url"],
                articles=[article],
                **common,
            )
        elif kind == "image":
            world.deliver(
                person_id,
                kind="image",
                text="",
                media_id=content.get("media_id", ""),
                picurl=content.get("pic_url", ""),
                **common,
            )
        else:
            world.deliver(
                person_id, kind=kind, text=str(content.get("title") or kind), data=content, **common
            )


@work("/cgi-bin/externalcontact/send_welcome_msg")
def welcome_send(call: Call) -> Row:
    """One welcome within 20 seconds of the code; a used code answers 41051."""
    body, world = call.body, call.world
    given = body.get("welcome_code")
    if not given:
        raise ApiError(41049)
    code = world.welcome_codes.get(str(given))
    if code is None or code["account"] != call.account["key"]:
        raise ApiError(41050)
    words, attachments = checked_attachments(body, 40058)
    if world.clock.now() > code["expires"]:
        raise ApiError(41050)
    if code["used"]:
        raise ApiError(41051)
    code["used"] = True
    world.welcome_codes.put(code["code"], code)
    deliver_attachments(
        world,
        code["person"],
        words,
        attachments,
        channel="welcome",
        account=code["account"],
        userid=code["userid"],
    )
    return OK
