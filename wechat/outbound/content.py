"""Contents in the platforms' own shapes. Pure: a content, the receiver's values, the document to send.

A content is {"kind": "text", "text"} | {"kind": "link", "title", "description", "url", "image_url"} |
{"kind": "template", "template_id", "url", "data": {key: value}}; `{{name}}` is filled per message.
"""

from collections.abc import Callable
from typing import Any

from wechat import rules

Document = dict[str, Any]


def _text(content: Document, channel: str) -> str:
    return rules.cut_bytes(str(content["text"]), rules.TEXT_LIMIT_BYTES[channel])


def custom_document(to: str, content: Document) -> Document:
    """A customer-service message (A6)."""
    if content["kind"] == "text":
        return {"touser": to, "msgtype": "text", "text": {"content": _text(content, "custom")}}
    article = {
        "title": content["title"],
        "description": content.get("description") or "",
        "url": content["url"],
        "picurl": content.get("image_url") or "",
    }
    return {"touser": to, "msgtype": "news", "news": {"articles": [article]}}


def template_document(to: str, content: Document, client_id: str) -> Document:
    """A template message (A7). The client id makes repeating it harmless."""
    document = {
        "touser": to,
        "template_id": content["template_id"],
        "client_msg_id": client_id,
        "data": {key: {"value": str(value)} for key, value in content.get("data", {}).items()},
    }
    if content.get("url"):
        document["url"] = content["url"]
    if content.get("miniprogram"):
        document["miniprogram"] = content["miniprogram"]
    return document


def subscribe_document(to: str, content: Document) -> Document:
    """A subscription notification (A8)."""
    document = {
        "touser": to,
        "template_id": content["template_id"],
        "data": {key: {"value": str(value)} for key, value in content.get("data", {}).items()},
    }
    if content.get("url"):
        document["page"] = content["url"]
    return document


def welcome_document(welcome_code: str, text: str, link: Document | None) -> Document:
    """The greeting of a new customer (B6); text, link or both."""
    document: Document = {"welcome_code": welcome_code}
    if text:
        document["text"] = {"content": rules.cut_bytes(text, rules.TEXT_LIMIT_BYTES["welcome"])}
    if link:
        document["attachments"] = [_link_attachment(link)]
    return document


def _link_attachment(link: Document) -> Document:
    attached = {
        "title": rules.cut_bytes(str(link["title"]), rules.LINK_LIMIT_BYTES["title"]),
        "url": str(link["url"]),
        "desc": rules.cut_bytes(str(link.get("description") or ""), rules.LINK_LIMIT_BYTES["description"]),
        "picurl": str(link.get("image_url") or ""),
    }
    return {"msgtype": "link", "link": attached}


def mass_document(openids: list[str], content: Document, client_id: str) -> Document:
    """A mass message to a list (A9). A link becomes a line of text: articles would have to be drafts first."""
    text = _text(content, "mass") if content["kind"] == "text" else link_as_text(content)
    return {"touser": openids, "msgtype": "text", "text": {"content": text}, "clientmsgid": client_id}


def link_as_text(content: Document) -> str:
    parts = [content["title"], content.get("description") or "", content["url"]]
    return rules.cut_bytes("\n".join(str(part) for part in parts if part), rules.TEXT_LIMIT_BYTES["mass"])


def work_mass_document(external_userids: list[str], content: Document) -> Document:
    """A mass task that members confirm (B7)."""
    document: Document = {"chat_type": "single", "external_userid": external_userids}
    if content["kind"] == "text":
        document["text"] = {"content": _text(content, "work_mass")}
    else:
        if content.get("text"):
            document["text"] = {"content": _text(content, "work_mass")}
        document["attachments"] = [_link_attachment(content)]
    return document


def _welcome(to: str, content: Document, _client_id: str) -> Document:
    if content["kind"] == "text":
        # A welcome may carry both: its link rides along in the text's content.
        return welcome_document(to, str(content["text"]), content.get("link"))
    return welcome_document(to, str(content.get("text") or ""), content)


# channel → path below the account's base address, and how its document is made
SINGLE: dict[str, tuple[str, Callable[[str, Document, str], Document]]] = {
    "custom": ("/cgi-bin/message/custom/send", lambda to, content, _: custom_document(to, content)),
    "template": ("/cgi-bin/message/template/send", template_document),
    "subscribe": (
        "/cgi-bin/message/subscribe/bizsend",
        lambda to, content, _: subscribe_document(to, content),
    ),
    "welcome": ("/cgi-bin/externalcontact/send_welcome_msg", _welcome),
}
