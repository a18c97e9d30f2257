"""What handlers share."""

from datetime import UTC, datetime
from typing import Any

from core import clock
from wechat import envelopes
from wechat.models import Notice


def fields_of(notice: Notice) -> dict[str, Any]:
    """The notice's fields: of the decrypted content, or of the body when it came in clear."""
    return envelopes.parse(notice.content.encode() if notice.content else bytes(notice.body))


def text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()


def created_at(fields: dict[str, Any]) -> datetime:
    """CreateTime; the present when the platform sent none that can be read."""
    try:
        return datetime.fromtimestamp(int(text(fields, "CreateTime")), UTC)
    except (ValueError, OverflowError, OSError):
        return clock.now()
