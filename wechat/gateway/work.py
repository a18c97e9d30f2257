"""WeCom: the enterprise's own app, its customers, groups and mass tasks (contract B)."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from core import clock
from wechat.errors import PlatformError
from wechat.gateway import addresses, errcodes, tokens
from wechat.gateway.answers import (
    ContactWay,
    Follow,
    WorkContact,
    WorkGroup,
    WorkGroupMember,
    WorkGroupRow,
)
from wechat.gateway.calls import TokenedClient, next_cursor
from wechat.gateway.official import jssdk_signature
from wechat.models import AccessToken, Account

CUSTOMERS = "/cgi-bin/externalcontact"


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds or 0), UTC)


class WorkClient(TokenedClient):
    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self.base = addresses.base_of(account, addresses.WORK)

    def explain(
        self, errcode: int, errmsg: str = "", *, answer: dict[str, Any] | None = None
    ) -> PlatformError:
        return errcodes.work_error(errcode, errmsg, answer=answer)

    def fetch_token(self, rejected: str = "") -> tuple[str, int]:
        """One token per app; repeated calls give the same one while it is valid (B1)."""
        answer = self.open_call(
            "GET",
            "/cgi-bin/gettoken",
            params={"corpid": self.account.corpid, "corpsecret": self.account.secret},
        )
        return str(answer["access_token"]), int(answer["expires_in"])

    # Pages inside of WeCom, and who looks at them (B13)

    def agent_config(self, url: str) -> dict[str, str]:
        """What `wx.agentConfig` needs for a page; its address counts without the fragment."""
        nonce, timestamp = secrets.token_hex(8), str(int(clock.now().timestamp()))
        ticket = tokens.current(self.account, AccessToken.AGENT, self._fetch_agent_ticket)
        return {
            "corpid": self.account.corpid,
            "agentid": self.account.agentid,
            "timestamp": timestamp,
            "nonceStr": nonce,
            "signature": jssdk_signature(ticket, nonce, timestamp, url),
        }

    def _fetch_agent_ticket(self, rejected: str = "") -> tuple[str, int]:
        answer = self.call("GET", "/cgi-bin/ticket/get", params={"type": "agent_config"}, repeatable=True)
        return str(answer["ticket"]), int(answer["expires_in"])

    def login_url(self, *, redirect_uri: str, state: str) -> str:
        base = self.base if self.account.api_base else addresses.LOGIN
        query = urlencode(
            {
                "appid": self.account.corpid,
                "redirect_uri": redirect_uri,
                "response_type": "code",
                "scope": "snsapi_base",
                "agentid": self.account.agentid,
                "state": state,
            }
        )
        return f"{base}/connect/oauth2/authorize?{query}#wechat_redirect"

    def login_userid(self, code: str) -> str:
        """The member behind a login code, "" for somebody outside of the enterprise. Raises CodeRejected."""
        answer = self.call("GET", "/cgi-bin/auth/getuserinfo", params={"code": code})
        return str(answer.get("userid") or "")

    # Customers (B3 to B6)

    def follow_users(self) -> list[str]:
        """Members who may have customers."""
        answer = self.call("GET", f"{CUSTOMERS}/get_follow_user_list", repeatable=True)
        return [str(userid) for userid in answer.get("follow_user") or []]

    def contacts(self, userid: str) -> list[str]:
        """A member's customers; none is an error at the platform (84061) and an empty list here."""
        try:
            answer = self.call("GET", f"{CUSTOMERS}/list", params={"userid": userid}, repeatable=True)
        except PlatformError as error:
            if error.code == "84061":
                return []
            raise
        return [str(one) for one in answer.get("external_userid") or []]

    def contact(self, external_userid: str) -> WorkContact:
        """A customer with all members who follow her (more than 500 come in pages)."""
        follows: list[Follow] = []
        cursor = ""
        while True:
            params = {"external_userid": external_userid, **({"cursor": cursor} if cursor else {})}
            answer = self.call("GET", f"{CUSTOMERS}/get", params=params, repeatable=True)
            follows += [_follow(row) for row in answer.get("follow_user") or []]
            cursor = next_cursor(answer, "next_cursor", cursor)
            if not cursor:
                break
        person = answer.get("external_contact") or {}
        return WorkContact(
            external_userid=str(person.get("external_userid") or external_userid),
            name=str(person.get("name") or ""),
            unionid=str(person.get("unionid") or ""),
            avatar_url=str(person.get("avatar") or ""),
            follows=follows,
        )

    def send_welcome(self, document: dict[str, Any]) -> None:
        self.call("POST", f"{CUSTOMERS}/send_welcome_msg", document)

    def mark_tags(
        self, *, userid: str, external_userid: str, add: Iterable[str], remove: Iterable[str]
    ) -> None:
        document = {
            "userid": userid,
            "external_userid": external_userid,
            "add_tag": list(add),
            "remove_tag": list(remove),
        }
        self.call("POST", f"{CUSTOMERS}/mark_tag", document, repeatable=True)

    def tag_groups(self) -> list[dict[str, Any]]:
        return list(
            self.call("POST", f"{CUSTOMERS}/get_corp_tag_list", {}, repeatable=True).get("tag_group") or []
        )

    def add_tags(self, *, group_name: str, names: Iterable[str]) -> dict[str, Any]:
        document = {"group_name": group_name, "tag": [{"name": name} for name in names]}
        return dict(self.call("POST", f"{CUSTOMERS}/add_corp_tag", document)["tag_group"])

    def rename_tag(self, *, id: str, name: str) -> None:
        """A tag or a group of tags; an app may rename what it has made itself (document 92117)."""
        self.call("POST", f"{CUSTOMERS}/edit_corp_tag", {"id": id, "name": name}, repeatable=True)

    def create_contact_way(self, *, userids: list[str], state: str, remark: str) -> ContactWay:
        document = {
            "type": 1 if len(userids) == 1 else 2,
            "scene": 2,
            "remark": remark[:30],
            "skip_verify": True,
            "state": state,
            "user": userids,
        }
        answer = self.call("POST", f"{CUSTOMERS}/add_contact_way", document)
        return ContactWay(config_id=str(answer["config_id"]), qr_url=str(answer.get("qr_code") or ""))

    # Groups (B8)

    def groups(self) -> list[WorkGroupRow]:
        rows: list[WorkGroupRow] = []
        cursor = ""
        while True:
            document = {"status_filter": 0, "limit": 1000, **({"cursor": cursor} if cursor else {})}
            answer = self.call("POST", f"{CUSTOMERS}/groupchat/list", document, repeatable=True)
            rows += [
                WorkGroupRow(chat_id=str(row["chat_id"]), status=int(row.get("status") or 0))
                for row in answer.get("group_chat_list") or []
            ]
            cursor = next_cursor(answer, "next_cursor", cursor)
            if not cursor:
                return rows

    def group(self, chat_id: str) -> WorkGroup:
        answer = self.call(
            "POST", f"{CUSTOMERS}/groupchat/get", {"chat_id": chat_id, "need_name": 1}, repeatable=True
        )
        chat = answer["group_chat"]
        return WorkGroup(
            chat_id=str(chat["chat_id"]),
            name=str(chat.get("name") or ""),
            owner=str(chat.get("owner") or ""),
            notice=str(chat.get("notice") or ""),
            created_at=_moment(chat.get("create_time")),
            members=[_group_member(row) for row in chat.get("member_list") or []],
        )

    # Mass tasks (B7)

    def add_mass_task(self, document: dict[str, Any]) -> tuple[str, list[str]]:
        """(msgid, customers who cannot be reached). Members must confirm the task before anybody gets anything."""
        answer = self.call("POST", f"{CUSTOMERS}/add_msg_template", document)
        return str(answer.get("msgid") or ""), [str(one) for one in answer.get("fail_list") or []]

    def mass_task_members(self, msgid: str) -> dict[str, bool]:
        """userid → has she sent it."""
        rows = self._pages("get_groupmsg_task", {"msgid": msgid, "limit": 1000}, "task_list")
        return {str(row["userid"]): int(row.get("status") or 0) == 2 for row in rows}

    def mass_task_results(self, msgid: str, userid: str) -> list[dict[str, Any]]:
        """Rows of external_userid, status 0 unsent, 1 sent, 2 not a friend, 3 already got others, send_time."""
        document = {"msgid": msgid, "userid": userid, "limit": 1000}
        return self._pages("get_groupmsg_send_result", document, "send_list")

    def _pages(self, path: str, document: dict[str, Any], name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = {**document, **({"cursor": cursor} if cursor else {})}
            answer = self.call("POST", f"{CUSTOMERS}/{path}", page, repeatable=True)
            rows += answer.get(name) or []
            cursor = next_cursor(answer, "next_cursor", cursor)
            if not cursor:
                return rows


def _follow(row: dict[str, Any]) -> Follow:
    return Follow(
        userid=str(row["userid"]),
        remark=str(row.get("remark") or ""),
        state=str(row.get("state") or ""),
        tag_ids=[str(tag["tag_id"]) for tag in row.get("tags") or [] if tag.get("tag_id")],
        created_at=_moment(row.get("createtime")),
    )


def _group_member(row: dict[str, Any]) -> WorkGroupMember:
    return WorkGroupMember(
        id=str(row["userid"]),
        kind="customer" if int(row.get("type") or 1) == 2 else "staff",
        unionid=str(row.get("unionid") or ""),
        joined_at=_moment(row["join_time"]) if row.get("join_time") else None,
        join_scene=int(row.get("join_scene") or 0),
        name=str(row.get("name") or row.get("group_nickname") or ""),
        state=str(row.get("state") or ""),
    )
