"""Official accounts: login, JS-SDK, followers, codes, menu."""

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from wechat.errors import InvalidRequest
from wechat.gateway import addresses
from wechat.gateway.answers import Follower, FollowerPage, OAuthPerson, OfficialTagRow, QrCode
from wechat.gateway.official import OfficialClient
from wechat.queries import account


def oauth_login_url(*, account_id: int, redirect_uri: str, scope: str = "snsapi_base", state: str) -> str:
    """Where to send a browser inside WeChat; `state` comes back and must be compared. No network."""
    return OfficialClient(account(account_id)).login_url(redirect_uri=redirect_uri, scope=scope, state=state)


def oauth_person(*, account_id: int, code: str) -> OAuthPerson:
    """Who came back with this code. Raises CodeRejected (used or too old). Refuse `is_snapshot` before binding."""
    return OfficialClient(account(account_id)).oauth_person(code)


def mini_person(*, account_id: int, code: str) -> OAuthPerson:
    """Who logged in to a mini program with this code of `wx.login`. Raises CodeRejected (used or too old)."""
    return OfficialClient(account(account_id)).mini_person(code)


def jssdk_config(*, account_id: int, url: str) -> dict[str, str]:
    """appId, timestamp, nonceStr, signature for `wx.config` of the page at `url`."""
    return OfficialClient(account(account_id)).jssdk_config(url)


def jssdk_url(*, account_id: int) -> str:
    """The script of WeChat's JS-SDK (or the sandbox's stand-in)."""
    return account(account_id).jssdk_url or addresses.JSSDK


def create_qr_code(*, account_id: int, scene: str, expires_seconds: int | None = None) -> QrCode:
    """A code that says through which channel somebody came; without expiry it lives for ever (100,000 in total).

    `scene` is 1 to 64 characters.
    """
    if not 1 <= len(scene) <= 64:
        raise InvalidRequest("40035", _("A scene has 1 to 64 characters."))
    return OfficialClient(account(account_id)).create_qr_code(scene, expires_seconds)


def follower(*, account_id: int, openid: str) -> Follower:
    """What the platform tells about a person: whether she follows, since when, unionid. Names it does not tell."""
    return OfficialClient(account(account_id)).follower(openid)


def followers(*, account_id: int, openids: list[str]) -> list[Follower]:
    """The same of many persons; who is none of this account fails the whole call."""
    return OfficialClient(account(account_id)).followers(openids)


def follower_openids(*, account_id: int) -> Iterator[str]:
    """All followers, fetched page by page of 10,000."""
    return OfficialClient(account(account_id)).follower_openids()


def follower_page(*, account_id: int, after: str = "") -> FollowerPage:
    """One page of followers, for who must be able to go on after it; `total` is how many the platform counts."""
    return OfficialClient(account(account_id)).follower_page(after)


def set_menu(*, account_id: int, buttons: list[dict[str, Any]]) -> None:
    """Replace the account's menu: at most 3 buttons of 5 sub-buttons, in the platform's own shape."""
    OfficialClient(account(account_id)).set_menu(buttons)


def tag_followers(*, account_id: int, tag_name: str, openids: list[str], remove: bool = False) -> int:
    """Put the platform's tag of this name on followers (made when missing) or take it off; its id."""
    client = OfficialClient(account(account_id))
    found = next((int(tag["id"]) for tag in client.tags() if tag["name"] == tag_name), None)
    tag_id = client.create_tag(tag_name) if found is None else found
    client.tag_followers(tag_id, openids, remove=remove)
    return tag_id


# Tags of an official account: 100 of them, 30 bytes a name, 20 on a follower; 0 to 2 are the platform's own (A11).
RESERVED_TAGS = range(3)


def official_tags(*, account_id: int) -> list[OfficialTagRow]:
    """All tags of the account but the platform's own."""
    return [
        OfficialTagRow(int(tag["id"]), str(tag.get("name") or ""), int(tag.get("count") or 0))
        for tag in OfficialClient(account(account_id)).tags()
        if int(tag["id"]) not in RESERVED_TAGS
    ]


def make_official_tag(*, account_id: int, name: str) -> int:
    """Its id. The platform refuses a name that it has, more than 30 bytes, and the 101st."""
    return OfficialClient(account(account_id)).create_tag(name)


def rename_official_tag(*, account_id: int, tag_id: int, name: str) -> None:
    OfficialClient(account(account_id)).rename_tag(tag_id, name)


def delete_official_tag(*, account_id: int, tag_id: int) -> None:
    """Its followers lose it. Refused when more than 100,000 carry it."""
    OfficialClient(account(account_id)).delete_tag(tag_id)


def mark_official_tag(*, account_id: int, tag_id: int, openids: list[str], remove: bool = False) -> None:
    """Put a tag on followers or take it off, 50 a call; one who cannot have it fails her whole call."""
    OfficialClient(account(account_id)).tag_followers(tag_id, openids, remove=remove)


def tagged_page(*, account_id: int, tag_id: int, after: str = "") -> FollowerPage:
    """One page of the followers who carry a tag."""
    return OfficialClient(account(account_id)).tagged_page(tag_id, after)
