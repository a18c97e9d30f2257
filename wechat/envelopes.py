"""Opening what a platform delivers: parsing that no entity bomb survives, and the fingerprint for deduplication."""

import hashlib
import uuid
from typing import Any
from xml.parsers import expat

import orjson

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 12


class Malformed(Exception):
    """Not a body that a platform would send."""


def parse(body: bytes) -> dict[str, Any]:
    """The fields of an XML or JSON body by their names; nested ones as dicts, repeated ones as lists."""
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<":
        return parse_xml(body)
    if start == b"{":
        return parse_json(body)
    raise Malformed("neither XML nor JSON")


def parse_json(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Malformed("broken JSON") from None
    if not isinstance(fields, dict):
        raise Malformed("not an object")
    return fields


def parse_xml(body: bytes) -> dict[str, Any]:
    """Elements become strings, dicts or lists. A document type is refused: it is what entity bombs are made of."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    stack: list[list[Any]] = []  # [name, text pieces, children]
    root: list[Any] = []

    def opened(name: str, _: dict[str, str]) -> None:
        if len(stack) >= MAX_DEPTH:
            raise Malformed("too deep")
        stack.append([name, [], None])

    def closed(_: str) -> None:
        name, pieces, children = stack.pop()
        value = children if children is not None else "".join(pieces)
        if not stack:
            root.append(value)
            return
        siblings = stack[-1][2]
        if siblings is None:
            siblings = stack[-1][2] = {}
        if name not in siblings:
            siblings[name] = value
        elif isinstance(siblings[name], list):
            siblings[name].append(value)
        else:
            siblings[name] = [siblings[name], value]

    def text(piece: str) -> None:
        if stack:
            stack[-1][1].append(piece)

    def doctype(*_: Any) -> None:
        raise Malformed("a document type is not accepted")

    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError, UnicodeError):
        raise Malformed("broken XML") from None
    if not root or not isinstance(root[0], dict):
        raise Malformed("no fields")
    return root[0]


def as_list(value: Any) -> list[dict[str, Any]]:
    """A `List` with one entry arrives as an object: always give a list of objects."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def topic(fields: dict[str, Any]) -> str:
    """ "message.text", "event.subscribe", "change_external_contact.add_external_contact"; lower case."""
    kind = str(fields.get("MsgType") or "").lower()
    if kind != "event":
        return f"message.{kind}"[:80] if kind else "unknown"
    event, change = str(fields.get("Event") or "").lower(), str(fields.get("ChangeType") or "").lower()
    return (f"{event}.{change}" if change else f"event.{event}")[:80]


def fingerprint(fields: dict[str, Any]) -> uuid.UUID:
    """Messages are known by sender and MsgId; events have no id, so by all their fields (contract A5, B14).

    FromUserName and CreateTime alone would not do: WeCom sends everything as "sys".
    """
    if fields.get("MsgId"):
        identity: Any = ["message", fields.get("FromUserName"), str(fields["MsgId"])]
    else:
        identity = {name: value for name, value in fields.items() if name != "Encrypt"}
    try:
        canonical = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):
        raise Malformed("fields that cannot be") from None
    return uuid.UUID(bytes=hashlib.sha256(canonical).digest()[:16])


def pay_fingerprint(notice_id: str, event_type: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(f"pay|{notice_id}|{event_type}".encode()).digest()[:16])
