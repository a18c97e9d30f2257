"""WeCom: members, customers, groups, media. Contract sections B3 and B8.

Changes made through these calls send no callbacks; only what people do in the client does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto
from wechat.sandbox.errors import ApiError
from wechat.sandbox.oa_basics import ticket_of
from wechat.sandbox.oa_messages import store_medium
from wechat.sandbox.routes import Call, optional_text, texts, whole, work
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

OK: Row = {"errcode": 0, "errmsg": "ok"}


def members_of(world: World, account: Row) -> list[Row]:
    """The corp's members."""
    return [row for row in world.members if row["account"] == account["key"]]


def member_of(call: Call, userid: Any, errcode: int = 60111) -> Row:
    """The member of this userid; raises the errcode."""
    row = call.world.members.get(f"{call.account['key']}|{userid}")
    if row is None:
        raise ApiError(errcode)
    return row


def customer_of(call: Call, userid: Any, external_userid: Any) -> Row:
    """The relation of a member and a customer; raises 40096 or 84061."""
    person = call.world.find_by_external(call.account["key"], external_userid)
    if person is None:
        raise ApiError(40096)
    row = call.world.customers.get(f"{call.account['key']}|{userid}|{person['id']}")
    if row is None:
        raise ApiError(84061)
    return row


def customers_of_member(world: World, account: Row, userid: str) -> list[Row]:
    """The member's customers, also those who deleted her (the platform keeps listing them)."""
    start = f"{account['key']}|{userid}|"
    return [row for key, row in world.customers.rows.items() if key.startswith(start)]


def page_of(rows: list[Any], cursor: str, limit: int) -> tuple[list[Any], str]:
    """A page of rows and the next cursor, "" at the end; raises 50100."""
    start = 0
    if cursor:
        if not cursor.startswith("c") or not cursor[1:].isdigit():
            raise ApiError(50100)
        start = int(cursor[1:])
    end = start + limit
    return rows[start:end], f"c{end}" if end < len(rows) else ""


# --- members and customers ------------------------------------------------------------------------


@work("/cgi-bin/user/get")
def user_get(call: Call) -> Row:
    """A member."""
    row = member_of(call, call.query.get("userid"))
    return {**OK, "userid": row["userid"], "name": row["name"], "department": [1], "status": 1, "isleader": 0}


@work("/cgi-bin/user/simplelist")
@work("/cgi-bin/user/list")
def user_list(call: Call) -> Row:
    """The members of a department; there is one."""
    rows = members_of(call.world, call.account)
    return {
        **OK,
        "userlist": [
            {"userid": row["userid"], "name": row["name"], "department": [1], "status": 1} for row in rows
        ],
    }


@work("/cgi-bin/department/list")
def department_list(call: Call) -> Row:
    """The one department."""
    return {**OK, "department": [{"id": 1, "name": call.account["name"], "parentid": 0, "order": 1}]}


@work("/cgi-bin/agent/get")
def agent_get(call: Call) -> Row:
    """The app itself: a harmless call to test a connection with."""
    if str(call.query.get("agentid")) != str(call.account["agentid"]):
        raise ApiError(40056)
    return {**OK, "agentid": call.account["agentid"], "name": call.account["name"], "close": 0}


@work("/cgi-bin/get_jsapi_ticket")
def jsapi_ticket(call: Call) -> Row:
    """The enterprise's ticket, for `wx.config`."""
    return _ticket(call, "jsapi")


@work("/cgi-bin/ticket/get")
def agent_ticket(call: Call) -> Row:
    """The app's own ticket, for `wx.agentConfig`; the two do not stand in for each other."""
    if call.query.get("type") != "agent_config":
        raise ApiError(40058)
    return _ticket(call, "agent")


def _ticket(call: Call, kind: str) -> Row:
    row = ticket_of(call.world, call.account, kind)
    return {
        **OK,
        "ticket": row["value"],
        "expires_in": max(1, round(row["expires"] - call.world.clock.now())),
    }


@work("/cgi-bin/auth/getuserinfo")
def login_userinfo(call: Call) -> Row:
    """Who stands behind a login code, once; raises 40029 and 42022."""
    code = call.world.codes.get(call.query.get("code", ""))
    if code is None or code.get("kind") != "member" or code["account"] != call.account["key"]:
        raise ApiError(40029)
    if code["used"]:
        raise ApiError(42022)
    if call.world.clock.now() > code["expires"]:
        raise ApiError(40029)
    code["used"] = True
    call.world.codes.put(code["code"], code)
    return {**OK, "userid": code["userid"], "user_ticket": crypto.random_text(40), "expires_in": 1800}


@work("/cgi-bin/externalcontact/get_follow_user_list")
def follow_user_list(call: Call) -> Row:
    """The members who may have customers."""
    return {**OK, "follow_user": [row["userid"] for row in members_of(call.world, call.account)]}


@work("/cgi-bin/externalcontact/list")
def customer_list(call: Call) -> Row:
    """A member's customers; 84061 when there are none."""
    userid = call.query.get("userid")
    member_of(call, userid, 40003)
    rows = customers_of_member(call.world, call.account, str(userid))
    if not rows:
        raise ApiError(84061)
    return {**OK, "external_userid": [_external(call, row) for row in rows]}


def _external(call: Call, row: Row) -> str:
    return str(call.world.people.rows[row["person"]]["externals_by_account"][call.account["key"]])


def _contact(call: Call, person: Row) -> Row:
    document = {
        "external_userid": person["externals_by_account"][call.account["key"]],
        "name": person["name"],
        "type": 1,
        "avatar": f"{call.world.base}/sandbox/avatar/{person['id']}.svg",
        "gender": 0,
    }
    union = call.world.unionid(call.account, person)
    return {**document, "unionid": union} if union else document


def _follow_common(row: Row) -> Row:
    return {
        "userid": row["userid"],
        "remark": row["remark"],
        "description": row["description"],
        "createtime": row["createtime"],
        "remark_mobiles": row["remark_mobiles"],
        "remark_corp_name": row["remark_company"],
        "oper_userid": row["userid"],
        "add_way": row["add_way"],
        "state": row["state"],
    }


def tag_index(call: Call) -> dict[str, tuple[Row, Row]]:
    """Group and tag by tag id."""
    groups = [row for row in call.world.work_tags if row["account"] == call.account["key"]]
    return {tag["id"]: (group, tag) for group in groups for tag in group["tag"]}


@work("/cgi-bin/externalcontact/get")
def customer_get(call: Call) -> Row:
    """A customer with all members who have her; 500 a page."""
    external = call.query.get("external_userid")
    if not external:
        raise ApiError(41035)
    person = call.world.find_by_external(call.account["key"], external)
    if person is None:
        raise ApiError(40096)
    rows = [call.world.customers.rows[key] for key in call.world.customers_of.get(person["id"], ())]
    rows = [row for row in rows if row["account"] == call.account["key"]]
    if not rows:
        raise ApiError(84061)
    page, cursor = page_of(rows, call.query.get("cursor", ""), 500)
    tags = tag_index(call)
    follow = []
    for row in page:
        shown = [
            {
                "group_name": tags[one][0]["group_name"],
                "tag_name": tags[one][1]["name"],
                "tag_id": one,
                "type": 1,
            }
            for one in row["tags"]
            if one in tags
        ]
        follow.append({**_follow_common(row), "tags": shown})
    answer = {**OK, "external_contact": _contact(call, person), "follow_user": follow}
    return {**answer, "next_cursor": cursor} if cursor else answer


@work("/cgi-bin/externalcontact/batch/get_by_user")
def customer_batch(call: Call) -> Row:
    """The customers of up to 100 members, up to 100 a page."""
    body = call.body
    # Older clients name one member.
    userids = [str(body["userid"])] if body.get("userid") else texts(body, "userid_list", 40058, most=100)
    if not userids:
        raise ApiError(40058)
    limit = whole(body, "limit", 40058, default=50, least=1, most=100)
    failed, rows = [], []
    for userid in userids:
        if f"{call.account['key']}|{userid}" in call.world.members.rows:
            rows += customers_of_member(call.world, call.account, userid)
        else:
            failed.append(userid)
    page, cursor = page_of(rows, body.get("cursor") or "", limit)
    people = call.world.people.rows
    entries = [
        {
            "external_contact": _contact(call, people[row["person"]]),
            "follow_info": {**_follow_common(row), "tag_id": row["tags"]},
        }
        for row in page
    ]
    answer = {**OK, "external_contact_list": entries, "next_cursor": cursor}
    return {**answer, "fail_info": {"unlicensed_userid_list": failed}} if failed else answer


@work("/cgi-bin/externalcontact/remark")
def customer_remark(call: Call) -> Row:
    """A member's notes about a customer; at least one of them."""
    body = call.body
    row = customer_of(call, body.get("userid"), body.get("external_userid"))
    names = {"remark": 20, "description": 150, "remark_company": 20}
    given = {
        name: optional_text(body, name, 40058, most=most) for name, most in names.items() if name in body
    }
    if "remark_mobiles" in body:
        mobiles = texts(body, "remark_mobiles", 40058, most=20)
        row["remark_mobiles"] = [one for one in mobiles if one]
    elif not given:
        raise ApiError(40058)
    row.update(given)
    call.world.customers.put(f"{row['account']}|{row['userid']}|{row['person']}", row)
    return OK


# --- groups ---------------------------------------------------------------------------------------


@work("/cgi-bin/externalcontact/groupchat/list")
def group_list(call: Call) -> Row:
    """Customer groups, by owner."""
    body = call.body
    if not isinstance(body.get("limit"), int):
        raise ApiError(40058, "limit is required")
    limit = whole(body, "limit", 40058, default=100, least=1, most=1000)
    status = whole(body, "status_filter", 40058, default=0, least=0, most=3)
    owners = texts(body.get("owner_filter") or {}, "userid_list", 40058, most=100)
    rows = [
        row
        for row in call.world.groups
        if row["account"] == call.account["key"]
        and not row.get("dismissed")
        and status == 0
        and (not owners or row["owner"] in owners)
    ]
    page, cursor = page_of(rows, body.get("cursor") or "", limit)
    shown = [{"chat_id": row["chat_id"], "status": 0} for row in page]
    return {**OK, "group_chat_list": shown, "next_cursor": cursor}


@work("/cgi-bin/externalcontact/groupchat/get")
def group_get(call: Call) -> Row:
    """One group with its members."""
    row = call.world.groups.get(str(call.body.get("chat_id")))
    if row is None or row["account"] != call.account["key"] or row.get("dismissed"):
        raise ApiError(90501)
    named = call.body.get("need_name") == 1
    members = []
    for one in row["members"]:
        shown = {name: one[name] for name in ("userid", "type", "join_time", "join_scene")}
        if one["type"] == 2:
            person = call.world.people.rows[one["person"]]
            union = call.world.unionid(call.account, person)
            shown.update({"state": one.get("state", ""), "group_nickname": ""})
            shown.update({"unionid": union} if union else {})
        if "invitor" in one:
            shown["invitor"] = one["invitor"]
        if named:
            shown["name"] = one.get("name") or _name_of(call, one["userid"])
        members.append(shown)
    return {
        **OK,
        "group_chat": {
            "chat_id": row["chat_id"],
            "name": row["name"],
            "owner": row["owner"],
            "create_time": row["create_time"],
            "notice": row["notice"],
            "member_list": members,
            "admin_list": [],
            "member_version": row["version"],
        },
    }


def _name_of(call: Call, userid: str) -> str:
    member = call.world.members.get(f"{call.account['key']}|{userid}")
    return str(member["name"]) if member else userid


# --- media ----------------------------------------------------------------------------------------


@work("/cgi-bin/media/upload")
@work("/cgi-bin/media/upload_attachment")
def media_upload(call: Call) -> Row:
    """Keep a file for three days."""
    kind = call.query.get("type") or call.query.get("media_type") or "image"
    media_id = store_medium(call, kind)
    return {**OK, "type": kind, "media_id": media_id, "created_at": str(int(call.world.clock.now()))}


@work("/cgi-bin/media/uploadimg")
def media_upload_image(call: Call) -> Row:
    """Keep a picture under an address that does not end."""
    return {**OK, "url": f"{call.world.base}/sandbox/media/{store_medium(call, 'image')}"}
