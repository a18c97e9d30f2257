"""Official Accounts: customer-service messages, template messages, subscription notifications. A6 to A8."""

from __future__ import annotations

import re
from typing import Any

from wechat.sandbox import crypto, windows
from wechat.sandbox.errors import ApiError
from wechat.sandbox.oa_basics import OK, person_of
from wechat.sandbox.routes import Call, oa, optional_text, text
from wechat.sandbox.store import Row

CUSTOM_TYPES = {
    *("text", "image", "voice", "video", "music", "news", "mpnewsarticle", "mpnews", "msgmenu", "wxcard"),
    *("miniprogrampage", "link"),
}
PLAUSIBLE_TEMPLATE = re.compile(r"[A-Za-z0-9_-]{6,64}")
# The field rules of A8: what a value of this kind of key must look like.
FIELD_RULES: dict[str, re.Pattern[str]] = {
    "thing": re.compile(r".{1,20}", re.S),
    "number": re.compile(r"-?\d{1,32}(\.\d+)?"),
    "letter": re.compile(r"[A-Za-z]{1,32}"),
    "symbol": re.compile(r"[^\w\s]{1,5}"),
    "character_string": re.compile(r"[\x20-\x7e]{1,32}"),
    "time": re.compile(r".*\d{1,2}[:：]\d{2}.*|.*\d{4}[-年/.]\d{1,2}.*"),
    "date": re.compile(r".*\d{4}[-年/.]\d{1,2}[-月/.]\d{1,2}.*"),
    "amount": re.compile(r"[¥￥$]?\d{1,10}(\.\d{1,2})?元?"),
    "phone_number": re.compile(r"[\d+\-() ]{1,17}"),
    "car_number": re.compile(r".{1,8}"),
    "name": re.compile(r"[\u4e00-\u9fff·]{1,10}|[A-Za-z .]{1,20}"),
    "phrase": re.compile(r"[\u4e00-\u9fff]{1,5}"),
    "const": re.compile(r".{1,20}"),
}
ADDABLE_TID_LENGTH = 43


@oa("/cgi-bin/message/custom/typing")
def custom_typing(call: Call) -> Row:
    """Show or hide "typing" in the person's chat."""
    person = person_of(call, call.body.get("touser"))
    typing = call.body.get("command") == "Typing"
    call.world.tell(person["id"], {"type": "typing", "account": call.account["key"], "on": typing})
    return OK


@oa("/cgi-bin/message/custom/send", daily=500_000)
def custom_send(call: Call) -> Row:
    """One customer-service message inside the allowance."""
    body, world = call.body, call.world
    person = person_of(call, body.get("touser"))
    kind = body.get("msgtype")
    if kind not in CUSTOM_TYPES:
        raise ApiError(40008)
    if kind == "msgmenu" and call.account["kind"] != "service":
        raise ApiError(40200)
    content = body.get(kind)
    if not isinstance(content, dict):
        raise ApiError(40035)
    shown = custom_content(kind, content, call)
    follow = world.follow(call.account["key"], person["id"])
    if follow and follow.get("blocked"):
        raise ApiError(48002)
    windows.use_window(follow, world.clock.now())
    if follow:
        world.follows.put(f"{call.account['key']}|{person['id']}", follow)
    world.deliver(person["id"], channel="custom", account=call.account["key"], **shown)
    return OK


def custom_content(kind: str, content: Row, call: Call) -> Row:
    """The message as the phone shows it; raises 40007 for an unknown medium, 40035, 45002."""
    if kind == "text":
        words = text(content, "content", 40035)
        if len(words.encode()) > 2048:
            raise ApiError(45002)
        return {"kind": "text", "text": words}
    if kind == "news":
        articles = content.get("articles")
        if not isinstance(articles, list) or len(articles) != 1 or not isinstance(articles[0], dict):
            raise ApiError(45008 if isinstance(articles, list) and len(articles) > 1 else 40035)
        one = articles[0]
        article = {name: str(one.get(name) or "") for name in ("title", "description", "url", "picurl")}
        if not article["title"]:
            raise ApiError(40035)
        return {"kind": "news", "text": article["title"], "link": article["url"], "articles": [article]}
    if kind == "link":
        return {
            "kind": "news",
            "text": text(content, "title", 40035),
            "link": text(content, "url", 40035),
            "articles": [
                {
                    "title": content["title"],
                    "description": str(content.get("description") or ""),
                    "url": content["url"],
                    "picurl": str(content.get("thumb_url") or ""),
                }
            ],
        }
    if kind == "msgmenu":
        choices = content.get("list")
        if not isinstance(choices, list) or not choices:
            raise ApiError(40035)
        return {
            "kind": "msgmenu",
            "text": str(content.get("head_content") or ""),
            "tail": str(content.get("tail_content") or ""),
            "choices": [{"id": str(one.get("id")), "content": str(one.get("content"))} for one in choices],
        }
    if kind in ("image", "voice", "video"):
        media_id = text(content, "media_id", 40007)
        if media_id not in call.world.media.rows:
            raise ApiError(40007)
        return {"kind": kind, "text": str(content.get("title") or ""), "media_id": media_id}
    if kind == "mpnews":
        return draft_content(call, text(content, "media_id", 40007))
    return {"kind": kind, "text": str(content.get("title") or kind), "data": content}


def draft_content(call: Call, media_id: str) -> Row:
    """The articles of a draft as the phone shows them; raises 40007."""
    draft = call.world.drafts.get(f"{call.account['key']}|{media_id}")
    if draft is None:
        raise ApiError(40007)
    articles = [
        {
            "title": one.get("title", ""),
            "description": one.get("digest", ""),
            "url": one.get("content_source_url") or f"{call.world.base}/sandbox/article/{media_id}/{place}",
            "picurl": f"{call.world.base}/sandbox/media/{one['thumb_media_id']}"
            if one.get("thumb_media_id")
            else "",
        }
        for place, one in enumerate(draft["articles"])
    ]
    return {"kind": "news", "text": articles[0]["title"], "link": articles[0]["url"], "articles": articles}


# --- template messages ----------------------------------------------------------------------------


def template_of(call: Call, template_id: Any, family: str) -> Row:
    """The template, or a nameless one when the account takes any; raises 40037."""
    if not isinstance(template_id, str):
        raise ApiError(40037)
    row = call.world.templates.get(f"{call.account['key']}|{template_id}")
    if row is not None and row["family"] == family and not row["deleted"]:
        return row
    plausible = PLAUSIBLE_TEMPLATE.fullmatch(template_id) and not template_id.startswith("missing")
    if row is None and call.account.get("accept_any_template") and plausible:
        return {"template_id": template_id, "title": "", "content": "", "family": family}
    raise ApiError(40037)


def _fields(body: Row) -> dict[str, str]:
    given = body.get("data")
    if not isinstance(given, dict):
        raise ApiError(47001)
    fields: dict[str, str] = {}
    for name, one in given.items():
        value = one.get("value") if isinstance(one, dict) else None
        if not isinstance(value, str | int | float):
            raise ApiError(47003, f"argument invalid! data.{name}.value is empty")
        fields[name] = str(value)
    return fields


@oa("/cgi-bin/message/template/send", daily=100_000, kinds=("service",))
def template_send(call: Call) -> Row:
    """A service notice to a follower; the result comes as TEMPLATESENDJOBFINISH."""
    body, world = call.body, call.world
    person = person_of(call, body.get("touser"))
    template = template_of(call, body.get("template_id"), "template")
    fields = _fields(body)
    follow = world.follow(call.account["key"], person["id"])
    if not follow or not follow["subscribe"]:
        raise ApiError(43004)
    client_id = optional_text(body, "client_msg_id", 40035, most=64)
    if client_id:
        seen = world.sent_once.get(f"{call.account['key']}|{client_id}")
        if seen and world.clock.now() - seen["at"] < 86400:
            return {**OK, "msgid": seen["msgid"]}
    number = 2_000_000_000_000_000 + world.next_number()
    if client_id:
        seen = {"msgid": number, "at": world.clock.now()}
        world.sent_once.put(f"{call.account['key']}|{client_id}", seen)
    if not follow.get("blocked"):
        world.deliver(
            person["id"],
            channel="template",
            account=call.account["key"],
            kind="template",
            text=template["title"] or "服务通知",
            template_id=template["template_id"],
            data=fields,
            link=str(body.get("url") or ""),
            miniprogram=body.get("miniprogram") or None,
            msgid=number,
        )
    world.callbacks.emit(
        call.account,
        "TEMPLATESENDJOBFINISH",
        {
            "ToUserName": call.account["gh_id"],
            "FromUserName": body["touser"],
            "CreateTime": int(world.clock.now()),
            "MsgType": "event",
            "Event": "TEMPLATESENDJOBFINISH",
            "MsgID": number,
            "Status": "failed:user block" if follow.get("blocked") else "success",
        },
        person=person["id"],
        after=0.2,
    )
    return {**OK, "msgid": number}


@oa("/cgi-bin/template/api_add_template", kinds=("service",))
def template_add(call: Call) -> Row:
    """Take a template from the library into use; 25 at most."""
    short = text(call.body, "template_id_short", 40035)
    used = [
        row for row in call.world.templates if row["account"] == call.account["key"] and not row["deleted"]
    ]
    if sum(row["family"] == "template" for row in used) >= 25:
        raise ApiError(45026)
    names = call.body.get("keyword_name_list") or []
    content = "\n".join(f"{name}:{{{{keyword{place}.DATA}}}}" for place, name in enumerate(names, 1))
    template_id = call.world.derived("template", call.account["key"], short, length=ADDABLE_TID_LENGTH)
    add_template(call, template_id, title=f"模板 {short}", content=content, family="template")
    return {**OK, "template_id": template_id}


def add_template(call: Call, template_id: str, *, title: str, content: str, family: str) -> Row:
    """Keep a template of the calling account."""
    row = {
        "account": call.account["key"],
        "template_id": template_id,
        "title": title,
        "content": content,
        "family": family,
        "deleted": False,
    }
    return call.world.templates.put(f"{call.account['key']}|{template_id}", row)


@oa("/cgi-bin/template/get_all_private_template", kinds=("service",))
def template_list(call: Call) -> Row:
    """The templates in use."""
    rows = [
        row for row in call.world.templates if row["account"] == call.account["key"] and not row["deleted"]
    ]
    return {
        "template_list": [
            {
                "template_id": row["template_id"],
                "title": row["title"],
                "primary_industry": "",
                "deputy_industry": "",
                "content": row["content"],
                "example": "",
            }
            for row in rows
            if row["family"] == "template"
        ]
    }


@oa("/cgi-bin/template/del_private_template", kinds=("service",))
def template_delete(call: Call) -> Row:
    """Give a template back."""
    _delete_template(call, text(call.body, "template_id", 40037))
    return OK


def _delete_template(call: Call, template_id: str) -> None:
    row = call.world.templates.get(f"{call.account['key']}|{template_id}")
    if row is None or row["deleted"]:
        raise ApiError(40037)
    row["deleted"] = True
    call.world.templates.put(f"{call.account['key']}|{template_id}", row)


# --- subscription notifications -------------------------------------------------------------------


@oa("/cgi-bin/message/subscribe/bizsend", kinds=("service",))
def subscribe_send(call: Call) -> Row:
    """One notification for one accept; also to people who do not follow."""
    body, world = call.body, call.world
    person = person_of(call, body.get("touser"))
    template = template_of(call, body.get("template_id"), "subscribe")
    fields = _fields(body)
    for name, value in fields.items():
        rule = FIELD_RULES.get(name.rstrip("0123456789"))
        if rule is not None and not rule.fullmatch(value):
            raise ApiError(47003, f"argument invalid! data.{name}.value invalid")
    key = f"{call.account['key']}|{person['id']}|{template['template_id']}"
    accepted = world.subscriptions.get(key)
    if not accepted or accepted["left"] < 1:
        raise ApiError(43101)
    accepted["left"] -= 1
    world.subscriptions.put(key, accepted)
    number = str(3_000_000_000_000_000 + world.next_number())
    world.deliver(
        person["id"],
        channel="subscribe",
        account=call.account["key"],
        kind="template",
        text=template["title"] or "订阅通知",
        template_id=template["template_id"],
        data=fields,
        link=str(body.get("page") or ""),
        msgid=number,
    )
    event = {
        "List": [
            {"TemplateId": template["template_id"], "MsgID": number, "ErrorCode": 0, "ErrorStatus": "success"}
        ]
    }
    world.callbacks.emit(
        call.account,
        "subscribe_msg_sent_event",
        {
            "ToUserName": call.account["gh_id"],
            "FromUserName": body["touser"],
            "CreateTime": int(world.clock.now()),
            "MsgType": "event",
            "Event": "subscribe_msg_sent_event",
            "SubscribeMsgSentEvent": event,
        },
        person=person["id"],
        after=0.2,
    )
    return OK


@oa("/wxaapi/newtmpl/addtemplate", kinds=("service",))
def notice_template_add(call: Call) -> Row:
    """Take a subscription template into use: a title number and two to five of its keywords."""
    title, keywords = text(call.body, "tid", 40035), call.body.get("kidList")
    if not isinstance(keywords, list) or not 2 <= len(keywords) <= 5:
        raise ApiError(40035)
    optional_text(call.body, "sceneDesc", 40035, most=15)
    chosen = ",".join(str(one) for one in keywords)
    template_id = call.world.derived("notice", call.account["key"], title, chosen, length=ADDABLE_TID_LENGTH)
    add_template(call, template_id, title=f"订阅通知 {title}", content="", family="subscribe")
    return {**OK, "priTmplId": template_id}


@oa("/wxaapi/newtmpl/gettemplate", kinds=("service",))
def notice_template_list(call: Call) -> Row:
    """The subscription templates in use."""
    rows = [
        row for row in call.world.templates if row["account"] == call.account["key"] and not row["deleted"]
    ]
    return {
        **OK,
        "data": [
            {
                "priTmplId": row["template_id"],
                "title": row["title"],
                "content": row["content"],
                "example": "",
                "type": 2,
            }
            for row in rows
            if row["family"] == "subscribe"
        ],
    }


@oa("/wxaapi/newtmpl/deltemplate", kinds=("service",))
def notice_template_delete(call: Call) -> Row:
    """Give a subscription template back."""
    _delete_template(call, text(call.body, "priTmplId", 40037))
    return OK


# --- media ----------------------------------------------------------------------------------------


@oa("/cgi-bin/media/upload", daily=100_000)
@oa("/cgi-bin/material/add_material", daily=100_000)
def media_upload(call: Call) -> Row:
    """Keep a picture, voice or video; temporary media live three days."""
    kind = call.query.get("type", "image")
    media_id = store_medium(call, kind)
    return {"type": kind, "media_id": media_id, "created_at": int(call.world.clock.now())}


@oa("/cgi-bin/media/uploadimg")
def media_upload_image(call: Call) -> Row:
    """Keep a picture for article texts."""
    return {"url": f"{call.world.base}/sandbox/media/{store_medium(call, 'image')}"}


def store_medium(call: Call, kind: str) -> str:
    """Keep the uploaded file; raises 41005 when there is none."""
    file = call.files.get("media")
    if file is None:
        raise ApiError(41005, "media data missing")
    media_id = crypto.random_text(64)
    row = {
        "media_id": media_id,
        "account": call.account["key"],
        "kind": kind,
        "at": call.world.clock.now(),
        **file,
    }
    call.world.media.put(media_id, row)
    return media_id
