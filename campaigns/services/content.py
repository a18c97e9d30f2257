"""From what the operator wrote to the bodies that wechat sends: one per channel, shared by all messages."""

from typing import Any

from campaigns import rules
from campaigns.models import Content
from campaigns.services.links import target_address
from wechat import services as wechat_services


def body_content(content: Content, channel: str, *, shared_link: str) -> dict[str, Any]:
    """The body for one channel. Per-member channels keep {{name}} and {{url}}; on mass channels all get the same."""
    grouped = channel in rules.GROUPED
    link = (shared_link if grouped else "{{url}}") if content.url else ""
    if channel in (rules.SUBSCRIBE, rules.TEMPLATE):
        return {
            "kind": "template",
            "template_id": content.template_id,
            "url": link,
            "data": {key: str(value) for key, value in content.template_fields.items()},
        }
    if content.kind == rules.LINK:
        return {
            "kind": "link",
            "title": _spoken(content.title, link, grouped),
            "description": _spoken(content.description, link, grouped),
            "url": link,
            "image_url": target_address(content.image_url) if content.image_url else "",
        }
    return {"kind": "text", "text": _spoken(content.text, link, grouped)}


def _spoken(text: str, link: str, grouped: bool) -> str:
    text = text.replace("{{url}}", link)
    if not grouped:
        return text
    # Nobody's name fits a text that all get: it goes, with the comma after it.
    for greeting in ("{{name}}，", "{{name}},", "{{name}}"):
        text = text.replace(greeting, "")
    return text.strip()


def make_bodies(content: Content, channels: tuple[str, ...], *, shared_link: str) -> dict[str, int]:
    """Store one body per channel; channel → body id."""
    return {
        channel: wechat_services.make_body(content=body_content(content, channel, shared_link=shared_link))
        for channel in channels
    }


def channels_of(content: Content, channel: str, ladder: tuple[str, ...] = rules.LADDER) -> tuple[str, ...]:
    """The rungs that this content can take."""
    return rules.rungs(channel, has_template=bool(content.template_id), kind=content.kind, ladder=ladder)


def example(content: Content, *, name: str, link: str) -> dict[str, Any]:
    """What a member would read, for the preview."""

    def filled(text: str) -> str:
        return text.replace("{{name}}", name).replace("{{url}}", link)

    return {
        "kind": content.kind,
        "text": filled(content.text),
        "title": filled(content.title),
        "description": filled(content.description),
        "image_url": target_address(content.image_url) if content.image_url else "",
        "fields": {key: filled(str(value)) for key, value in content.template_fields.items()},
        "url": target_address(content.url) if content.url else "",
    }
