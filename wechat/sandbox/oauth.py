"""Web login (contract A3): the authorize page in the phone, codes, and the tokens of people."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from wechat.sandbox import crypto, tokens
from wechat.sandbox.errors import ApiError
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

CODE_SECONDS = 300
REFRESH_SECONDS = 30 * 86400
SCOPES = ("snsapi_base", "snsapi_userinfo")


class LoginProblem(Exception):
    """The page shows this instead of logging in."""


def asked(world: World, query: dict[str, str]) -> Row:
    """The account that asks for a login; raises LoginProblem in the platform's words."""
    account = world.by_appid.get(query.get("appid", "")) or world.by_corpid.get(query.get("appid", ""))
    if account is None or account["kind"] not in ("service", "work"):
        raise LoginProblem("appid 参数错误（错误码 10013）")
    target = urlsplit(query.get("redirect_uri", ""))
    if target.scheme not in ("http", "https") or not target.netloc:
        raise LoginProblem("redirect_uri 参数错误（错误码 10003）")
    if query.get("response_type") != "code":
        raise LoginProblem("response_type 参数错误（错误码 10016）")
    if query.get("scope") not in SCOPES:
        raise LoginProblem("Scope 参数错误或没有 Scope 权限（错误码 10005）")
    if len(query.get("state", "").encode()) > 128:
        raise LoginProblem("state 参数过长（错误码 10015）")
    return account


def needs_consent(world: World, account: Row, person: Row, query: dict[str, str]) -> bool:
    """Whether the consent sheet is shown: for snsapi_userinfo, until it was allowed once."""
    return (
        query["scope"] == "snsapi_userinfo" and f"{account['key']}|{person['id']}" not in world.consents.rows
    )


def grant(world: World, account: Row, person: Row, query: dict[str, str], *, snapshot: bool) -> str:
    """Issue a code and answer the address to go back to."""
    code = "0" + crypto.random_text(31)
    world.codes.put(
        code,
        {
            "code": code,
            "account": account["key"],
            "person": person["id"],
            "scope": query["scope"],
            "snapshot": snapshot or person["snapshot"],
            "expires": world.clock.now() + CODE_SECONDS,
            "used": False,
        },
    )
    if query["scope"] == "snsapi_userinfo":
        world.consents.put(f"{account['key']}|{person['id']}", {"at": world.clock.now()})
    return _address_back(query, code)


def _address_back(query: dict[str, str], code: str) -> str:
    parts = urlsplit(query["redirect_uri"])
    # The platform appends code and state to whatever query the address has.
    pairs = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("code", code),
        ("state", query.get("state", "")),
    ]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(pairs), ""))


def code_to_token(world: World, query: dict[str, str]) -> Row:
    """GET /sns/oauth2/access_token; raises 40029 and 40163."""
    account = tokens.app_of(world, query)
    if query.get("grant_type") != "authorization_code":
        raise ApiError(40002)
    if not query.get("code"):
        raise ApiError(41008)
    code = world.codes.get(query["code"])
    if code is None or code.get("kind") or code["account"] != account["key"]:
        raise ApiError(40029)
    if code["used"]:
        raise ApiError(40163)
    if world.clock.now() > code["expires"]:
        raise ApiError(40029)
    code["used"] = True
    world.codes.put(code["code"], code)
    person = world.people.rows[code["person"]]
    openid = person["openids_by_account"][account["key"]]
    if code["snapshot"]:
        openid = "oSNAP" + world.derived("snapshot", code["code"], length=23)
    return _issue(world, account, person["id"], code["scope"], openid, snapshot=code["snapshot"])


def mini_code(world: World, account: Row, person: Row) -> str:
    """What `wx.login` gives inside of a mini program."""
    code = "0" + crypto.random_text(31)
    row = {"code": code, "kind": "mini", "account": account["key"], "person": person["id"], "used": False}
    world.codes.put(code, {**row, "expires": world.clock.now() + CODE_SECONDS})
    return code


def mini_session(world: World, query: dict[str, str]) -> Row:
    """GET /sns/jscode2session; raises 40029 and 40163."""
    account = tokens.app_of(world, query)
    code = world.codes.get(query.get("js_code", ""))
    if code is None or code.get("kind") != "mini" or code["account"] != account["key"]:
        raise ApiError(40029)
    if code["used"]:
        raise ApiError(40163)
    if world.clock.now() > code["expires"]:
        raise ApiError(40029)
    code["used"] = True
    world.codes.put(code["code"], code)
    person = world.people.rows[code["person"]]
    union = world.unionid(account, person)
    return {
        "openid": person["openids_by_account"][account["key"]],
        "session_key": crypto.random_text(22) + "==",
        **({"unionid": union} if union else {}),
    }


def _issue(world: World, account: Row, person: str, scope: str, openid: str, *, snapshot: bool) -> Row:
    access, refresh, now = crypto.random_text(90), crypto.random_text(90), world.clock.now()
    common = {
        "account": account["key"],
        "person": person,
        "scope": scope,
        "openid": openid,
        "snapshot": snapshot,
    }
    world.codes.put(access, {**common, "kind": "access", "expires": now + tokens.LIFE_SECONDS})
    world.codes.put(refresh, {**common, "kind": "refresh", "expires": now + REFRESH_SECONDS})
    answer: Row = {
        "access_token": access,
        "expires_in": tokens.LIFE_SECONDS,
        "refresh_token": refresh,
        "openid": openid,
        "scope": scope,
    }
    if snapshot:
        answer["is_snapshotuser"] = 1
    elif scope == "snsapi_userinfo":
        union = world.unionid(account, world.people.rows[person])
        if union:
            answer["unionid"] = union
    return answer


def refresh_token(world: World, query: dict[str, str]) -> Row:
    """GET /sns/oauth2/refresh_token; raises 40030 and 42002."""
    account = world.by_appid.get(query.get("appid", ""))
    if account is None:
        raise ApiError(40013)
    row = world.codes.get(query.get("refresh_token", ""))
    if row is None or row.get("kind") != "refresh" or row["account"] != account["key"]:
        raise ApiError(40030)
    if world.clock.now() > row["expires"]:
        raise ApiError(42002)
    return _issue(world, account, row["person"], row["scope"], row["openid"], snapshot=row["snapshot"])


def _access(world: World, query: dict[str, str]) -> Row:
    row = world.codes.get(query.get("access_token", ""))
    if row is None or row.get("kind") != "access":
        raise ApiError(40001)
    if world.clock.now() > row["expires"]:
        raise ApiError(42001)
    if row["openid"] != query.get("openid"):
        raise ApiError(40003)
    return row


def userinfo(world: World, query: dict[str, str]) -> Row:
    """GET /sns/userinfo: only after snsapi_userinfo."""
    row = _access(world, query)
    if row["scope"] != "snsapi_userinfo":
        raise ApiError(48001)
    person, account = world.people.rows[row["person"]], world.accounts.rows[row["account"]]
    document = {
        "openid": row["openid"],
        "nickname": person["name"] if not row["snapshot"] else "微信用户",
        "sex": 0,
        "language": "",
        "city": "",
        "province": "",
        "country": "",
        "headimgurl": f"{world.base}/sandbox/avatar/{person['id']}.svg",
        "privilege": [],
    }
    union = world.unionid(account, person)
    return {**document, "unionid": union} if union and not row["snapshot"] else document


def auth(world: World, query: dict[str, str]) -> Row:
    """GET /sns/auth: whether the token still works."""
    _access(world, query)
    return {"errcode": 0, "errmsg": "ok"}


def page(title: str, inner: str) -> str:
    """A page of the login, in the phone's look."""
    return (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/sandbox/static/login.css"></head>'
        f'<body class="login">{inner}</body></html>'
    )


def problem_page(message: str) -> str:
    """What went wrong with the login."""
    return page(
        "无法登录",
        f'<main><p class="mark">!</p><h1>无法登录</h1><p data-test="login-problem">{escape(message)}</p></main>',
    )


def grant_member(world: World, account: Row, userid: str, query: dict[str, str]) -> str:
    """Issue a code for a member of the enterprise and answer the address to go back to."""
    code = crypto.random_text(43)
    world.codes.put(
        code,
        {
            "code": code,
            "kind": "member",
            "account": account["key"],
            "userid": userid,
            "expires": world.clock.now() + CODE_SECONDS,
            "used": False,
        },
    )
    return _address_back(query, code)


def choose_member_page(world: World, account: Row, query: dict[str, str]) -> str:
    """Outside of the phone nobody is known: choose which colleague logs in."""
    members = [row for row in world.members if row["account"] == account["key"]]
    asked = [urlencode({**query, "sandbox_guide": f"{account['key']}|{row['userid']}"}) for row in members]
    links = "".join(
        f'<li><a data-test="login-member" href="/connect/oauth2/authorize?{escape(one)}">'
        f"{escape(member['name'])}</a></li>"
        for one, member in zip(asked, members, strict=True)
    )
    return page("选择登录的同事", f"<main><h1>用谁的企业微信登录？</h1><ul>{links}</ul></main>")


def choose_person_page(world: World, query: dict[str, str]) -> str:
    """Outside of the phone nobody is known: choose who logs in."""
    links = "".join(
        f'<li><a data-test="login-person" href="/connect/oauth2/authorize?'
        f'{escape(urlencode({**query, "sandbox_person": person["id"]}))}">{escape(person["name"])}</a></li>'
        for person in list(world.people)[:50]
    )
    return page("选择登录的人", f"<main><h1>用谁的微信登录？</h1><ul>{links}</ul></main>")


def consent_page(world: World, account: Row, person: Row, query: dict[str, str]) -> str:
    """The consent sheet of snsapi_userinfo."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in {**query, "sandbox_person": person["id"]}.items()
    )
    return page(
        "微信登录",
        f'<main class="consent"><p class="who"><img src="/sandbox/avatar/account/{escape(account["key"])}.svg" alt="">'
        f"{escape(account['name'])} 申请使用</p>"
        f'<h1>你的昵称、头像</h1><p class="person"><img src="/sandbox/avatar/{escape(person["id"])}.svg" alt="">'
        f"<span>{escape(person['name'])}<small>微信个人信息</small></span></p>"
        f'<form method="post" action="/connect/oauth2/authorize">{fields}'
        '<button name="decision" value="deny" class="deny" data-test="consent-deny">拒绝</button>'
        '<button name="decision" value="allow" class="allow" data-test="consent-allow">允许</button>'
        "</form></main>",
    )
