"""Official accounts: tokens, login, followers, codes, menu, messages (contract A)."""

import hashlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from core import clock
from wechat.errors import PlatformError
from wechat.gateway import addresses, errcodes, tokens
from wechat.gateway.answers import Follower, FollowerPage, OAuthPerson, QrCode
from wechat.gateway.calls import TokenedClient, next_cursor
from wechat.models import AccessToken, Account

LONGEST_QR_SECONDS = 2_592_000


class OfficialClient(TokenedClient):
    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self.base = addresses.base_of(account, addresses.OFFICIAL)

    def explain(
        self, errcode: int, errmsg: str = "", *, answer: dict[str, Any] | None = None
    ) -> PlatformError:
        return errcodes.official_error(errcode, errmsg, answer=answer)

    # Tokens (A1, A4)

    def fetch_token(self, rejected: str = "") -> tuple[str, int]:
        """The stable token; forced only when the platform keeps giving the one that it refuses."""
        value, seconds = self._stable_token(force=False)
        return self._stable_token(force=True) if value == rejected else (value, seconds)

    def _stable_token(self, *, force: bool) -> tuple[str, int]:
        answer = self.open_call(
            "POST",
            "/cgi-bin/stable_token",
            {
                "grant_type": "client_credential",
                "appid": self.account.appid,
                "secret": self.account.secret,
                "force_refresh": force,
            },
            repeatable=not force,
        )
        return str(answer["access_token"]), int(answer["expires_in"])

    def jsapi_ticket(self) -> str:
        return tokens.current(self.account, AccessToken.JSAPI, self._fetch_ticket)

    def _fetch_ticket(self, rejected: str = "") -> tuple[str, int]:
        answer = self.call("GET", "/cgi-bin/ticket/getticket", params={"type": "jsapi"}, repeatable=True)
        return str(answer["ticket"]), int(answer["expires_in"])

    def jssdk_config(self, url: str) -> dict[str, str]:
        """What `wx.config` needs for a page; its address counts without the fragment."""
        nonce, timestamp = secrets.token_hex(8), str(int(clock.now().timestamp()))
        return {
            "appId": self.account.appid,
            "timestamp": timestamp,
            "nonceStr": nonce,
            "signature": jssdk_signature(self.jsapi_ticket(), nonce, timestamp, url),
        }

    # Login (A3)

    def login_url(self, *, redirect_uri: str, scope: str, state: str) -> str:
        base = self.base if self.account.api_base else addresses.LOGIN
        query = urlencode(
            {
                "appid": self.account.appid,
                "redirect_uri": redirect_uri,
                "response_type": "code",
                "scope": scope,
                "state": state,
            }
        )
        return f"{base}/connect/oauth2/authorize?{query}#wechat_redirect"

    def mini_person(self, code: str) -> OAuthPerson:
        """Who stands behind a mini program's login code (`wx.login`). Raises CodeRejected."""
        answer = self.open_call(
            "GET",
            "/sns/jscode2session",
            params={
                "appid": self.account.appid,
                "secret": self.account.secret,
                "js_code": code,
                "grant_type": "authorization_code",
            },
            repeatable=False,  # a code works once
        )
        return OAuthPerson(openid=str(answer["openid"]), unionid=str(answer.get("unionid") or ""))

    def oauth_person(self, code: str) -> OAuthPerson:
        """Who stands behind a login code. Raises CodeRejected."""
        answer = self.open_call(
            "GET",
            "/sns/oauth2/access_token",
            params={
                "appid": self.account.appid,
                "secret": self.account.secret,
                "code": code,
                "grant_type": "authorization_code",
            },
            repeatable=False,  # a code works once
        )
        is_snapshot = str(answer.get("is_snapshotuser") or 0) == "1"
        profile: dict[str, Any] = {}
        if "snsapi_userinfo" in str(answer.get("scope") or "") and not is_snapshot:
            profile = self.open_call(
                "GET",
                "/sns/userinfo",
                params={
                    "access_token": answer["access_token"],
                    "openid": answer["openid"],
                    "lang": "zh_CN",
                },
            )
        return OAuthPerson(
            openid=str(answer["openid"]),
            unionid=str(profile.get("unionid") or answer.get("unionid") or ""),
            nickname=str(profile.get("nickname") or ""),
            avatar_url=str(profile.get("headimgurl") or ""),
            is_snapshot=is_snapshot,
        )

    # Followers and tags (A11)

    def follower(self, openid: str) -> Follower:
        answer = self.call(
            "GET", "/cgi-bin/user/info", params={"openid": openid, "lang": "zh_CN"}, repeatable=True
        )
        return _follower(answer, openid)

    def followers(self, openids: list[str]) -> list[Follower]:
        """Many, 100 a call."""
        found: list[Follower] = []
        for start in range(0, len(openids), 100):
            asked = [{"openid": one, "lang": "zh_CN"} for one in openids[start : start + 100]]
            answer = self.call("POST", "/cgi-bin/user/info/batchget", {"user_list": asked}, repeatable=True)
            found += [_follower(row) for row in answer.get("user_info_list") or []]
        return found

    def follower_page(self, after: str = "") -> FollowerPage:
        """10,000 followers, and how many there are in all."""
        params = {"next_openid": after} if after else None
        answer = self.call("GET", "/cgi-bin/user/get", params=params, repeatable=True)
        return _page(answer, after, total=int(answer.get("total") or 0))

    def follower_openids(self) -> Iterator[str]:
        """All followers, page by page of 10,000."""
        after = ""
        while True:
            page = self.follower_page(after)
            yield from page.openids
            after = page.after
            if not after:
                return

    def tags(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/cgi-bin/tags/get", repeatable=True).get("tags") or [])

    def create_tag(self, name: str) -> int:
        return int(self.call("POST", "/cgi-bin/tags/create", {"tag": {"name": name}})["tag"]["id"])

    def rename_tag(self, tag_id: int, name: str) -> None:
        self.call("POST", "/cgi-bin/tags/update", {"tag": {"id": tag_id, "name": name}}, repeatable=True)

    def delete_tag(self, tag_id: int) -> None:
        self.call("POST", "/cgi-bin/tags/delete", {"tag": {"id": tag_id}}, repeatable=True)

    def tagged_page(self, tag_id: int, after: str = "") -> FollowerPage:
        """10,000 of the followers who carry a tag."""
        document = {"tagid": tag_id, "next_openid": after}
        return _page(self.call("POST", "/cgi-bin/user/tag/get", document, repeatable=True), after)

    def tag_followers(self, tag_id: int, openids: list[str], *, remove: bool = False) -> None:
        """Put a tag on followers or take it off, 50 a call."""
        path = "/cgi-bin/tags/members/" + ("batchuntagging" if remove else "batchtagging")
        for start in range(0, len(openids), 50):
            self.call(
                "POST", path, {"openid_list": openids[start : start + 50], "tagid": tag_id}, repeatable=True
            )

    # Codes and menu (A10, A11)

    def create_qr_code(self, scene: str, expires_seconds: int | None) -> QrCode:
        document: dict[str, Any] = {
            "action_name": "QR_LIMIT_STR_SCENE" if expires_seconds is None else "QR_STR_SCENE",
            "action_info": {"scene": {"scene_str": scene}},
        }
        if expires_seconds is not None:
            document["expire_seconds"] = min(expires_seconds, LONGEST_QR_SECONDS)
        answer = self.call("POST", "/cgi-bin/qrcode/create", document, repeatable=True)
        ticket = str(answer["ticket"])
        pictures = self.base if self.account.api_base else addresses.PICTURES
        return QrCode(
            ticket=ticket,
            url=str(answer.get("url") or ""),
            image_url=f"{pictures}/cgi-bin/showqrcode?{urlencode({'ticket': ticket})}",
            expires_seconds=answer.get("expire_seconds"),
        )

    def set_menu(self, buttons: list[dict[str, Any]]) -> None:
        self.call("POST", "/cgi-bin/menu/create", {"button": buttons}, repeatable=True)

    def menu(self) -> list[dict[str, Any]]:
        return list(
            (self.call("GET", "/cgi-bin/menu/get", repeatable=True).get("menu") or {}).get("button") or []
        )

    def delete_menu(self) -> None:
        self.call("GET", "/cgi-bin/menu/delete", repeatable=True)

    # Messages (A6 to A9)

    def send_custom(self, document: dict[str, Any]) -> None:
        self.call("POST", "/cgi-bin/message/custom/send", document)

    def send_template(self, document: dict[str, Any]) -> str:
        """The msgid. With a client_msg_id the call may be repeated."""
        answer = self.call(
            "POST", "/cgi-bin/message/template/send", document, repeatable="client_msg_id" in document
        )
        return str(answer.get("msgid") or "")

    def send_subscription(self, document: dict[str, Any]) -> str:
        answer = self.call("POST", "/cgi-bin/message/subscribe/bizsend", document)
        return str(answer.get("msgid") or "")

    def send_mass(self, document: dict[str, Any]) -> str:
        """The msg_id. With a clientmsgid the call may be repeated; AlreadyDone carries the first one's msg_id."""
        answer = self.call(
            "POST", "/cgi-bin/message/mass/send", document, repeatable="clientmsgid" in document
        )
        return str(answer.get("msg_id") or "")

    def templates(self) -> list[dict[str, Any]]:
        answer = self.call("GET", "/cgi-bin/template/get_all_private_template", repeatable=True)
        return list(answer.get("template_list") or [])

    def subscription_templates(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/wxaapi/newtmpl/gettemplate", repeatable=True).get("data") or [])


def _follower(answer: dict[str, Any], openid: str = "") -> Follower:
    subscribed = answer.get("subscribe_time")
    return Follower(
        openid=str(answer.get("openid") or openid),
        unionid=str(answer.get("unionid") or ""),
        is_following=bool(answer.get("subscribe")),
        subscribed_at=datetime.fromtimestamp(int(subscribed), UTC) if subscribed else None,
        scene=str(answer.get("qr_scene_str") or answer.get("qr_scene") or "").removeprefix("qrscene_"),
        tag_ids=tuple(int(one) for one in answer.get("tagid_list") or []),
    )


def _page(answer: dict[str, Any], asked_after: str, total: int = 0) -> FollowerPage:
    """The last page names its last openid, or none: the one after it is empty."""
    openids = [str(openid) for openid in (answer.get("data") or {}).get("openid") or []]
    after = next_cursor(answer, "next_openid", asked_after) if openids else ""
    return FollowerPage(openids, after, total)


def jssdk_signature(ticket: str, nonce: str, timestamp: str, url: str) -> str:
    """Raw values in alphabetical order, the url without `#…` (A4)."""
    text = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={url.split('#', 1)[0]}"
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the platform's algorithm
