"""WeCom: customers, tags, contact ways, welcome messages, groups. Contract sections B3 to B6 and B8.

Changes made through these calls send no callbacks; only what people do in the client does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto
from wechat.sandbox.errors import ApiError
from wechat.sandbox.oa_messages import store_medium
from wechat.sandbox.routes import Call, optional_text, text, texts, whole, work
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

OK: Row = {"errcode": 0, "errmsg": "ok"}
TAGS_MOST = 3000
ATTACHMENT_TYPES = ("image", "link", "miniprogram", "video", "file")


def _members(world: World, account: Row) -> list[Row]:
    return [row for row in world.members if row["account"] == account["key"]]


def _member(call: Call, userid: Any, errcode: int = 60111) -> Row:
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


def _page(rows: list[Any], cursor: str, limit: int) -> tuple[list[Any], str]:
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
    row = _member(call, call.query.get("userid"))
    return {**OK, "userid": row["userid"], "name": row["name"], "department": [1], "status": 1, "isleader": 0}


@work("/cgi-bin/user/simplelist")
@work("/cgi-bin/user/list")
def user_list(call: Call) -> Row:
    """The members of a department; there is one."""
    rows = _members(call.world, call.account)
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


@work("/cgi-bin/externalcontact/get_follow_user_list")
def follow_user_list(call: Call) -> Row:
    """The members who may have customers."""
    return {**OK, "follow_user": [row["userid"] for row in _members(call.world, call.account)]}


@work("/cgi-bin/externalcontact/list")
def customer_list(call: Call) -> Row:
    """A member's customers; 84061 when there are none."""
    userid = call.query.get("userid")
    _member(call, userid, 40003)
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


def _tag_index(call: Call) -> dict[str, tuple[Row, Row]]:
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
    page, cursor = _page(rows, call.query.get("cursor", ""), 500)
    tags = _tag_index(call)
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
    page, cursor = _page(rows, body.get("cursor") or "", limit)
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


# --- tags -----------------------------------------------------------------------------------------


def _shown_group(group: Row, only: set[str] | None = None) -> Row:
    shown = {name: group[name] for name in ("group_id", "group_name", "create_time", "order")}
    tags = [tag for tag in group["tag"] if only is None or tag["id"] in only]
    return {**shown, "deleted": False, "tag": [{**tag, "deleted": False} for tag in tags]}


@work("/cgi-bin/externalcontact/get_corp_tag_list")
def tag_list(call: Call) -> Row:
    """All groups with their tags, those of some groups, or some tags."""
    body = call.body if call.raw else {}
    group_ids = set(texts(body, "group_id", 40058, most=TAGS_MOST))
    tag_ids = set(texts(body, "tag_id", 40058, most=TAGS_MOST))
    groups = [row for row in call.world.work_tags if row["account"] == call.account["key"]]
    if group_ids:
        shown = [_shown_group(group) for group in groups if group["group_id"] in group_ids]
    elif tag_ids:
        shown = [_shown_group(group, tag_ids) for group in groups]
        shown = [group for group in shown if group["tag"]]
    else:
        shown = [_shown_group(group) for group in groups]
    return {**OK, "tag_group": shown}


@work("/cgi-bin/externalcontact/add_corp_tag")
def tag_add(call: Call) -> Row:
    """Tags in a group that exists (by id or name) or is made."""
    body, world, key = call.body, call.world, call.account["key"]
    wanted = body.get("tag")
    if not isinstance(wanted, list) or not wanted:
        raise ApiError(40058)
    names = [text(one, "name", 40072, most=30) if isinstance(one, dict) else "" for one in wanted]
    if "" in names:
        raise ApiError(40058)
    groups = [row for row in world.work_tags if row["account"] == key]
    if sum(len(group["tag"]) for group in groups) + len(names) > TAGS_MOST:
        raise ApiError(40068, "too many corp tags")
    if body.get("group_id"):
        group = world.work_tags.get(f"{key}|{body['group_id']}")
        if group is None:
            raise ApiError(40068)
    else:
        name = text(body, "group_name", 40072, most=30)
        group = next((row for row in groups if row["group_name"] == name), None)
    if group is None:
        group = {
            "account": key,
            "group_id": "et" + crypto.random_text(30),
            "group_name": body["group_name"],
            "create_time": int(world.clock.now()),
            "order": whole(body, "order", 40058, default=0, least=0, most=2**32),
            "tag": [],
        }
    if len(set(names)) < len(names) or {tag["name"] for tag in group["tag"]} & set(names):
        raise ApiError(40071)
    new: list[Row] = [
        {
            "id": "et" + crypto.random_text(30),
            "name": name,
            "create_time": int(world.clock.now()),
            "order": whole(one, "order", 40058, default=0, least=0, most=2**32),
        }
        for name, one in zip(names, wanted, strict=True)
    ]
    group["tag"].extend(new)
    world.work_tags.put(f"{key}|{group['group_id']}", group)
    return {**OK, "tag_group": _shown_group(group, {tag["id"] for tag in new})}


@work("/cgi-bin/externalcontact/edit_corp_tag")
def tag_edit(call: Call) -> Row:
    """Rename or reorder a tag or a group."""
    body, key = call.body, call.account["key"]
    for group in [row for row in call.world.work_tags if row["account"] == key]:
        named = [(group, "group_id", "group_name"), *((tag, "id", "name") for tag in group["tag"])]
        for one, identity, name in named:
            if one[identity] == body.get("id"):
                if body.get("name"):
                    one[name] = text(body, "name", 40072, most=30)
                if "order" in body:
                    one["order"] = whole(body, "order", 40058, default=0, least=0, most=2**32)
                call.world.work_tags.put(f"{key}|{group['group_id']}", group)
                return OK
    raise ApiError(40068)


@work("/cgi-bin/externalcontact/del_corp_tag")
def tag_delete(call: Call) -> Row:
    """Delete tags and whole groups; customers lose them."""
    body, key, world = call.body, call.account["key"], call.world
    tag_ids = set(texts(body, "tag_id", 40058, most=TAGS_MOST))
    group_ids = set(texts(body, "group_id", 40058, most=TAGS_MOST))
    if not tag_ids and not group_ids:
        raise ApiError(40058)
    for group in [row for row in world.work_tags if row["account"] == key]:
        if group["group_id"] in group_ids:
            tag_ids |= {tag["id"] for tag in group["tag"]}
        group["tag"] = [tag for tag in group["tag"] if tag["id"] not in tag_ids]
        if group["tag"]:
            world.work_tags.put(f"{key}|{group['group_id']}", group)
        else:
            world.work_tags.delete(f"{key}|{group['group_id']}")
    for name, row in list(world.customers.rows.items()):
        if row["account"] == key and tag_ids & set(row["tags"]):
            row["tags"] = [one for one in row["tags"] if one not in tag_ids]
            world.customers.put(name, row)
    return OK


@work("/cgi-bin/externalcontact/mark_tag")
def tag_mark(call: Call) -> Row:
    """Give and take tags of one customer of one member."""
    body = call.body
    add, remove = (texts(body, name, 40058, most=TAGS_MOST) for name in ("add_tag", "remove_tag"))
    if not add and not remove:
        raise ApiError(40058)
    row = customer_of(call, body.get("userid"), body.get("external_userid"))
    known = _tag_index(call)
    if any(one not in known for one in add):
        raise ApiError(40068)
    row["tags"] = [one for one in dict.fromkeys([*row["tags"], *add]) if one not in remove]
    call.world.customers.put(f"{row['account']}|{row['userid']}|{row['person']}", row)
    return OK


# --- contact ways ---------------------------------------------------------------------------------


@work("/cgi-bin/externalcontact/add_contact_way")
def contact_way_add(call: Call) -> Row:
    """A code or button through which customers add one member (type 1) or one of several (type 2)."""
    body, world = call.body, call.world
    kind, scene = body.get("type"), body.get("scene")
    if kind is None:
        raise ApiError(41037)
    if kind not in (1, 2):
        raise ApiError(41038)
    if scene is None:
        raise ApiError(41039)
    if scene not in (1, 2):
        raise ApiError(41040)
    users = texts(body, "user", 40058, most=10**6)
    party = body.get("party") or []
    if kind == 1 and len(users) != 1:
        raise ApiError(40058, "single contact way needs exactly one user")
    if kind == 2 and not users and not party:
        raise ApiError(40058, "user and party are both empty")
    if len(users) > 100:
        raise ApiError(41041)
    for userid in users:
        _member(call, userid, 40003)
    temporary = body.get("is_temp") is True
    if temporary and kind != 1:
        raise ApiError(40058)
    expires = whole(body, "expires_in", 40058, default=7 * 86400, least=1, most=14 * 86400)
    config_id = crypto.random_text(32).lower()
    row: Row = {
        "config_id": config_id,
        "account": call.account["key"],
        "type": kind,
        "scene": scene,
        "style": body.get("style", 0),
        "remark": optional_text(body, "remark", 40058, most=30),
        "skip_verify": body.get("skip_verify", True) is not False,
        "state": optional_text(body, "state", 40058, most=30),
        "user": users,
        "party": party,
        "is_temp": temporary,
        "expires": world.clock.now() + expires if temporary else 0.0,
        "qr_code": f"{world.base}/sandbox/qr/work/{config_id}.png",
        "url": f"https://work.weixin.qq.com/ca/{config_id}",
        "created": int(world.clock.now()),
        "used": 0,
    }
    world.contact_ways.put(config_id, row)
    answer: Row = {**OK, "config_id": config_id}
    return {**answer, "qr_code": row["qr_code"]} if scene == 2 else answer


def _way(call: Call) -> Row:
    config_id = call.body.get("config_id")
    if not config_id:
        raise ApiError(41043)
    row = call.world.contact_ways.get(config_id)
    if row is None or row["account"] != call.account["key"]:
        raise ApiError(41044)
    return row


@work("/cgi-bin/externalcontact/get_contact_way")
def contact_way_get(call: Call) -> Row:
    """One contact way."""
    row = _way(call)
    names = (
        "config_id",
        "type",
        "scene",
        "style",
        "remark",
        "skip_verify",
        "state",
        "user",
        "party",
        "is_temp",
    )
    return {**OK, "contact_way": {**{name: row[name] for name in names}, "qr_code": row["qr_code"]}}


@work("/cgi-bin/externalcontact/list_contact_way")
def contact_way_list(call: Call) -> Row:
    """The config_ids, 100 to 1000 a page, without temporary ones."""
    body = call.body
    rows = [
        row for row in call.world.contact_ways if row["account"] == call.account["key"] and not row["is_temp"]
    ]
    first = whole(body, "start_time", 40058, default=0, least=0, most=2**40)
    last = whole(body, "end_time", 40058, default=2**40, least=0, most=2**40)
    rows = [row for row in rows if first <= row["created"] <= last]
    limit = whole(body, "limit", 40058, default=100, least=1, most=1000)
    page, cursor = _page(rows, body.get("cursor") or "", limit)
    return {**OK, "contact_way": [{"config_id": row["config_id"]} for row in page], "next_cursor": cursor}


@work("/cgi-bin/externalcontact/update_contact_way")
def contact_way_update(call: Call) -> Row:
    """Change a contact way; the code stays."""
    row, body = _way(call), call.body
    for name in ("remark", "state"):
        if name in body:
            row[name] = optional_text(body, name, 40058, most=30)
    if "user" in body:
        users = texts(body, "user", 40058, most=100)
        for userid in users:
            _member(call, userid, 40003)
        row["user"] = users
    for name in ("skip_verify", "style", "party"):
        if name in body:
            row[name] = body[name]
    call.world.contact_ways.put(row["config_id"], row)
    return OK


@work("/cgi-bin/externalcontact/del_contact_way")
def contact_way_delete(call: Call) -> Row:
    """Delete a contact way; its code stops working."""
    call.world.contact_ways.delete(_way(call)["config_id"])
    return OK


# --- welcome messages -----------------------------------------------------------------------------


def checked_attachments(body: Row, errcode: int) -> tuple[str, list[Row]]:
    """Text and up to nine attachments, one of the two at least; raises 40058, 41064, 41065."""
    words = ""
    if body.get("text"):
        if not isinstance(body["text"], dict):
            raise ApiError(40058)
        words = str(body["text"].get("content") or "")
        if len(words.encode()) > 4000:
            raise ApiError(40058, "text content exceeds 4000 bytes")
    attachments = body.get("attachments") or []
    if not isinstance(attachments, list):
        raise ApiError(40058)
    if len(attachments) > 9:
        raise ApiError(41064)
    for one in attachments:
        kind = one.get("msgtype") if isinstance(one, dict) else None
        if kind not in ATTACHMENT_TYPES or not isinstance(one.get(kind), dict):
            raise ApiError(41065)
        if kind == "link":
            link = one["link"]
            for name, most in (("title", 128), ("desc", 512), ("url", 2048)):
                if len(str(link.get(name) or "").encode()) > most:
                    raise ApiError(40058, f"link {name} exceeds {most} bytes")
            if not link.get("title") or not link.get("url"):
                raise ApiError(40058, "link needs title and url")
    if not words and not attachments:
        raise ApiError(errcode)
    return words, attachments


def deliver_attachments(
    world: World, person_id: str, words: str, attachments: list[Row], **common: Any
) -> None:
    """Text and attachments as one message after the other, as the phone shows them."""
    if words:
        world.deliver(person_id, kind="text", text=words, **common)
    for one in attachments:
        kind = one["msgtype"]
        content = one[kind]
        if kind == "link":
            article = {
                "title": content["title"],
                "description": content.get("desc", ""),
                "url": content["url"],
                "picurl": content.get("picurl", ""),
            }
            world.deliver(
                person_id,
                kind="news",
                text=content["title"],
                link=content["url"],
                articles=[article],
                **common,
            )
        elif kind == "image":
            world.deliver(
                person_id,
                kind="image",
                text="",
                media_id=content.get("media_id", ""),
                picurl=content.get("pic_url", ""),
                **common,
            )
        else:
            world.deliver(
                person_id, kind=kind, text=str(content.get("title") or kind), data=content, **common
            )


@work("/cgi-bin/externalcontact/send_welcome_msg")
def welcome_send(call: Call) -> Row:
    """One welcome within 20 seconds of the code; a used code answers 41051."""
    body, world = call.body, call.world
    given = body.get("welcome_code")
    if not given:
        raise ApiError(41049)
    code = world.welcome_codes.get(str(given))
    if code is None or code["account"] != call.account["key"]:
        raise ApiError(41050)
    words, attachments = checked_attachments(body, 40058)
    if world.clock.now() > code["expires"]:
        raise ApiError(41050)
    if code["used"]:
        raise ApiError(41051)
    code["used"] = True
    world.welcome_codes.put(code["code"], code)
    deliver_attachments(
        world,
        code["person"],
        words,
        attachments,
        channel="welcome",
        account=code["account"],
        userid=code["userid"],
    )
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
    page, cursor = _page(rows, body.get("cursor") or "", limit)
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
