"""Official accounts: login, JS-SDK, followers, codes, menu."""

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from wechat.errors import InvalidRequest
from wechat.gateway import addresses
from wechat.gateway.answers import Follower, OAuthPerson, QrCode
from wechat.gateway.official import OfficialClient
from wechat.queries import account


def oauth_login_url(*, account_id: int, redirect_uri: str, scope: str = "snsapi_base", state: str) -> str:
    """Where to send a browser inside WeChat; `state` comes back and must be compared. No network."""
    return OfficialClient(account(account_id)).login_url(redirect_uri=redirect_uri, scope=scope, state=state)


def oauth_person(*, account_id: int, code: str) -> OAuthPerson:
    """Who came back with this code. Raises CodeRejected (used or too old). Refuse `is_snapshot` before binding."""
    return OfficialClient(account(account_id)).oauth_person(code)


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


def follower_openids(*, account_id: int) -> Iterator[str]:
    """All followers, fetched page by page of 10,000."""
    return OfficialClient(account(account_id)).follower_openids()


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
