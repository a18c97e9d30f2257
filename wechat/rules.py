"""The platforms' published numbers and pure decisions about messages. Sections of the contract are named."""

import re
from datetime import timedelta
from typing import Any

# Customer-service messages after an interaction: how many, and for how long (A6, in force since 2023-06-12).
REPLY_ALLOWANCES = {
    "message": (5, timedelta(hours=48)),
    "menu": (3, timedelta(minutes=1)),
    "follow": (3, timedelta(minutes=1)),
    "scan": (3, timedelta(minutes=1)),
}
# Messages a day (A12); the mass channels count calls (A9). None: the platform publishes no daily number.
DAILY_LIMITS: dict[str, int | None] = {
    "custom": 500_000,
    "template": 100_000,
    "subscribe": None,
    "mass": 100,
    "welcome": None,
    "work_mass": None,
}
MASS_MONTHLY_CAP = 4  # of each follower of a service account (A9)
SUBSCRIPTION_MASS_A_DAY = 1  # of a subscription account (A9)
BATCH_SIZES = {"mass": 10_000, "work_mass": 10_000}
TEXT_LIMIT_BYTES = {"custom": 2048, "mass": 2048, "welcome": 4000, "work_mass": 4000}
LINK_LIMIT_BYTES = {"title": 128, "description": 512, "url": 2048}

# What each kind of content can travel on.
CONTENT_KINDS = {
    "text": {"custom", "mass", "welcome", "work_mass"},
    "link": {"custom", "mass", "welcome", "work_mass"},
    "template": {"template", "subscribe"},
}

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def daily_limit(channel: str, granted: dict[str, Any]) -> int | None:
    """The account's own number when the platform granted one, else the published one."""
    own = granted.get(channel)
    return int(own) if own is not None else DAILY_LIMITS[channel]


def filled(value: Any, variables: dict[str, Any]) -> Any:
    """The content with `{{name}}` replaced everywhere; a placeholder without a value disappears."""
    if isinstance(value, str):
        if "{{" not in value:
            return value
        return PLACEHOLDER.sub(lambda found: str(variables.get(found[1], "")), value)
    if isinstance(value, dict):
        return {key: filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, variables) for item in value]
    return value


def has_placeholders(value: Any) -> bool:
    if isinstance(value, str):
        return PLACEHOLDER.search(value) is not None
    if isinstance(value, dict):
        return any(has_placeholders(item) for item in value.values())
    return any(has_placeholders(item) for item in value) if isinstance(value, list) else False


def content_fault(content: dict[str, Any]) -> str | None:
    """A code for what is wrong with a message content, None when it can be sent."""
    kind = content.get("kind")
    if kind not in CONTENT_KINDS:
        return "unknown_kind"
    if kind == "text":
        return None if str(content.get("text") or "").strip() else "empty_text"
    if kind == "link":
        return None if content.get("title") and content.get("url") else "link_incomplete"
    if not content.get("template_id") or not isinstance(content.get("data", {}), dict):
        return "template_incomplete"
    return None


def cut_bytes(text: str, limit: int) -> str:
    """The text cut to `limit` UTF-8 bytes, never inside a character."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
