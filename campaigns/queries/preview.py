"""What a member would read, and on whom it can be tried."""

from typing import Any

from django.apps import apps
from django.utils.translation import gettext as _

from campaigns.models import Content
from campaigns.services.content import example
from wechat import queries as wechat_queries


def example_of(content: Content) -> dict[str, Any]:
    """The message as an example member would read it."""
    return example(content, name=_("Xiao Chi"), link=_("[her own link]"))


def preview_members(account_id: int, limit: int = 8) -> list[dict[str, Any]]:
    """Members who lately wrote to the account: they have an open reply window, so a preview reaches them."""
    windows = wechat_queries.open_reply_windows(account_id)
    members = (
        apps.get_model("crm", "Identity")
        .objects.filter(kind="openid", account_id=account_id, is_following=True, value__in=windows)
        .select_related("member")
        .order_by("-member_id")[:limit]
    )
    return [
        {"id": row.member_id, "name": str(row.member), "avatar": row.member.avatar_url} for row in members
    ]
