"""Official Accounts: tickets, QR codes, users, tags, quotas. Contract sections A4, A10 to A12."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto, tokens
from wechat.sandbox.errors import ApiError
from wechat.sandbox.routes import OA, Call, oa, text, texts, whole
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

OK: Row = {"errcode": 0, "errmsg": "ok"}
RESERVED_TAGS = {0: "", 1: "黑名单", 2: "星标组"}
USER_PAGE = 10_000


@oa("/cgi-bin/ticket/getticket")
def jsapi_ticket(call: Call) -> Row:
    """The ticket of JS-SDK signatures: the same for its 7200 seconds."""
    if call.query.get("type") not in ("jsapi", "wx_card"):
        raise ApiError(40035)
    row = ticket_of(call.world, call.account)
    left = max(1, round(row["expires"] - call.world.clock.now()))
    return {**OK, "ticket": row["value"], "expires_in": left}


def ticket_of(world: World, account: Row, kind: str = "jsapi") -> Row:
    """The account's ticket of this kind, renewed when it ended."""
    name = f"{kind}_ticket|{account['key']}"
    row = world.settings.get(name)
    if row is None or row["expires"] <= world.clock.now():
        row = {"value": crypto.random_text(86), "expires": world.clock.now() + tokens.LIFE_SECONDS}
        world.settings.put(name, row)
    return row


@oa("/cgi-bin/get_api_domain_ip")
@oa("/cgi-bin/getcallbackip")
def callback_ips(call: Call) -> Row:
    """Where the platform's calls come from."""
    return {"ip_list": ["127.0.0.1"]}


@oa("/cgi-bin/clear_quota")
def clear_quota(call: Call) -> Row:
    """Set the day's counts to zero, ten times a month."""
    world, key = call.world, call.account["key"]
    if call.body.get("appid") != call.account["appid"]:
        raise ApiError(40013)
    if tokens.count(world, key, "clear_quota", tokens.month(world)) > 10:
        raise ApiError(48006)
    for name in [name for name in world.quotas.rows if name.startswith(f"{key}|/") and name.endswith("|day")]:
        world.quotas.delete(name)
    return OK


@oa("/cgi-bin/openapi/quota/get")
def quota_get(call: Call) -> Row:
    """How much of a call's daily quota is used."""
    path = text(call.body, "cgi_path", 40035)
    route = OA.get(path)
    if route is None:
        raise ApiError(40035)
    limit = daily_limit(call.account, path) or 0
    spent = tokens.used(call.world, call.account["key"], path, tokens.day(call.world))
    quota = {"daily_limit": limit, "used": spent, "remain": max(0, limit - spent)}
    return {**OK, "quota": quota}


def daily_limit(account: Row, path: str) -> int | None:
    """The account's daily quota for a path: its own if it was given one, else the vendor's."""
    own = (account.get("quotas") or {}).get(path)
    route = OA.get(path)
    return int(own) if own is not None else (route.daily if route else None)


# --- QR codes -------------------------------------------------------------------------------------


@oa("/cgi-bin/qrcode/create", daily=100_000, kinds=("service",))
def qrcode_create(call: Call) -> Row:
    """A code with a scene, temporary (up to 30 days) or permanent (100,000 of them)."""
    world, body = call.world, call.body
    action = body.get("action_name")
    scene = (
        (body.get("action_info") or {}).get("scene") if isinstance(body.get("action_info"), dict) else None
    )
    if not isinstance(scene, dict):
        raise ApiError(40035)
    permanent = action in ("QR_LIMIT_SCENE", "QR_LIMIT_STR_SCENE")
    if action in ("QR_SCENE", "QR_LIMIT_SCENE"):
        number, most = scene.get("scene_id"), 100_000 if permanent else 2**32 - 1
        if not isinstance(number, int) or not 1 <= number <= most:
            raise ApiError(40035)
        value = str(number)
    elif action in ("QR_STR_SCENE", "QR_LIMIT_STR_SCENE"):
        value = text(scene, "scene_str", 40035, most=64)
    else:
        raise ApiError(40035)
    expires = 0.0
    if not permanent:
        seconds = whole(body, "expire_seconds", 40035, default=60, least=1, most=2_592_000)
        expires = world.clock.now() + seconds
    ticket = "gQ" + world.derived("ticket", call.account["key"], str(world.next_number()), length=62) + "=="
    short = world.derived("short", ticket, length=22)
    row = {
        "ticket": ticket,
        "account": call.account["key"],
        "scene": value,
        "numeric": action in ("QR_SCENE", "QR_LIMIT_SCENE"),
        "permanent": permanent,
        "expires": expires,
        "url": f"http://weixin.qq.com/q/{short}",
        "created": world.clock.now(),
    }
    world.tickets.put(ticket, row)
    answer: Row = {"ticket": ticket, "url": row["url"]}
    if not permanent:
        answer["expire_seconds"] = seconds
    return answer


# --- users ----------------------------------------------------------------------------------------


def person_of(call: Call, openid: Any) -> Row:
    """The person of this openid in the calling account; raises 40003."""
    person = call.world.find_by_openid(call.account["key"], openid)
    if person is None:
        raise ApiError(40003)
    return person


def user_document(world: World, account: Row, person: Row) -> Row:
    """What user/info tells: since 2021-12-27 without nickname, avatar, sex and city."""
    openid = person["openids_by_account"][account["key"]]
    follow = world.follow(account["key"], person["id"])
    union = world.unionid(account, person)
    if not follow or not follow["subscribe"]:
        return {"subscribe": 0, "openid": openid, **({"unionid": union} if union else {})}
    document: Row = {
        "subscribe": 1,
        "openid": openid,
        "language": "zh_CN",
        "subscribe_time": int(follow["subscribe_time"]),
        "remark": follow["remark"],
        "groupid": follow["tags"][0] if follow["tags"] else 0,
        "tagid_list": follow["tags"],
        "subscribe_scene": follow["subscribe_scene"],
        "qr_scene": follow["qr_scene"],
        "qr_scene_str": follow["qr_scene_str"],
    }
    if union:
        document["unionid"] = union
    return document


@oa("/cgi-bin/user/info", daily=5_000_000)
def user_info(call: Call) -> Row:
    """One user."""
    return user_document(call.world, call.account, person_of(call, call.query.get("openid")))


@oa("/cgi-bin/user/info/batchget", daily=5_000_000)
def user_batchget(call: Call) -> Row:
    """Up to 100 users."""
    asked = call.body.get("user_list")
    if not isinstance(asked, list) or not asked:
        raise ApiError(40031)
    if len(asked) > 100:
        raise ApiError(40032)
    people = [person_of(call, one.get("openid") if isinstance(one, dict) else None) for one in asked]
    return {"user_info_list": [user_document(call.world, call.account, person) for person in people]}


@oa("/cgi-bin/user/get", daily=500)
def user_get(call: Call) -> Row:
    """The followers' openids in pages of 10,000."""
    world, key = call.world, call.account["key"]
    followers = [
        world.people.rows[row["person"]]["openids_by_account"][key]
        for row in world.follows
        if row["account"] == key and row["subscribe"]
    ]
    start, after = 0, call.query.get("next_openid", "")
    if after:
        if after not in followers:
            raise ApiError(40003)
        start = followers.index(after) + 1
    page = followers[start : start + USER_PAGE]
    answer: Row = {"total": len(followers), "count": len(page), "next_openid": page[-1] if page else ""}
    if page:
        answer["data"] = {"openid": page}
    return answer


@oa("/cgi-bin/user/info/updateremark", daily=10_000)
def user_remark(call: Call) -> Row:
    """The account's own name for a follower, up to 30 characters."""
    person = person_of(call, call.body.get("openid"))
    remark = call.body.get("remark")
    if not isinstance(remark, str) or len(remark) > 30:
        raise ApiError(40035)
    follow = call.world.follow(call.account["key"], person["id"])
    if not follow:
        raise ApiError(46004)
    follow["remark"] = remark
    call.world.follows.put(f"{call.account['key']}|{person['id']}", follow)
    return OK


# --- tags -----------------------------------------------------------------------------------------


def _tags(call: Call) -> list[Row]:
    return [row for row in call.world.oa_tags if row["account"] == call.account["key"]]


def _tag_name(call: Call, given: Any) -> str:
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or not name:
        raise ApiError(40035)
    if len(name.encode()) > 30:
        raise ApiError(45158)
    return name


def _tag(call: Call, number: Any) -> Row:
    if number in RESERVED_TAGS:
        raise ApiError(45058)
    row = call.world.oa_tags.get(f"{call.account['key']}|{number}")
    if row is None:
        raise ApiError(45159)
    return row


def _tagged(call: Call, number: int) -> list[Row]:
    key = call.account["key"]
    return [
        row
        for row in call.world.follows
        if row["account"] == key and row["subscribe"] and number in row["tags"]
    ]


@oa("/cgi-bin/tags/create")
def tags_create(call: Call) -> Row:
    """A tag; at most 100 of them, each name once."""
    name, tags = _tag_name(call, call.body.get("tag")), _tags(call)
    if any(row["name"] == name for row in tags):
        raise ApiError(45157)
    if len(tags) >= 100:
        raise ApiError(45056)
    number = 100 + max([row["id"] - 100 for row in tags] + [-1]) + 1
    call.world.oa_tags.put(
        f"{call.account['key']}|{number}", {"account": call.account["key"], "id": number, "name": name}
    )
    return {"tag": {"id": number, "name": name}}


@oa("/cgi-bin/tags/get")
def tags_get(call: Call) -> Row:
    """All tags with how many followers carry them."""
    return {
        "tags": [
            {"id": row["id"], "name": row["name"], "count": len(_tagged(call, row["id"]))}
            for row in _tags(call)
        ]
    }


@oa("/cgi-bin/tags/update")
def tags_update(call: Call) -> Row:
    """Rename a tag."""
    given = call.body.get("tag")
    name = _tag_name(call, given)
    row = _tag(call, given.get("id") if isinstance(given, dict) else None)
    if any(other["name"] == name and other["id"] != row["id"] for other in _tags(call)):
        raise ApiError(45157)
    row["name"] = name
    call.world.oa_tags.put(f"{call.account['key']}|{row['id']}", row)
    return OK


@oa("/cgi-bin/tags/delete")
def tags_delete(call: Call) -> Row:
    """Delete a tag and take it from its followers."""
    given = call.body.get("tag")
    row = _tag(call, given.get("id") if isinstance(given, dict) else None)
    for follow in _tagged(call, row["id"]):
        follow["tags"].remove(row["id"])
        call.world.follows.put(f"{follow['account']}|{follow['person']}", follow)
    call.world.oa_tags.delete(f"{call.account['key']}|{row['id']}")
    return OK


def _follows_of_list(call: Call) -> list[Row]:
    openids = texts(call.body, "openid_list", 40031, most=10_000)
    if not openids:
        raise ApiError(40031)
    if len(openids) > 50:
        raise ApiError(40032)
    follows = []
    for openid in openids:
        follow = call.world.follow(call.account["key"], person_of(call, openid)["id"])
        if not follow or not follow["subscribe"]:
            raise ApiError(50005)
        follows.append(follow)
    return follows


@oa("/cgi-bin/tags/members/batchtagging")
def tags_give(call: Call) -> Row:
    """Tag up to 50 followers; each carries at most 20 tags."""
    row, follows = _tag(call, call.body.get("tagid")), _follows_of_list(call)
    if any(row["id"] not in follow["tags"] and len(follow["tags"]) >= 20 for follow in follows):
        raise ApiError(45059)
    for follow in follows:
        if row["id"] not in follow["tags"]:
            follow["tags"].append(row["id"])
            call.world.follows.put(f"{follow['account']}|{follow['person']}", follow)
    return OK


@oa("/cgi-bin/tags/members/batchuntagging")
def tags_take(call: Call) -> Row:
    """Take a tag from up to 50 followers."""
    row, follows = _tag(call, call.body.get("tagid")), _follows_of_list(call)
    for follow in follows:
        if row["id"] in follow["tags"]:
            follow["tags"].remove(row["id"])
            call.world.follows.put(f"{follow['account']}|{follow['person']}", follow)
    return OK


@oa("/cgi-bin/tags/getidlist")
def tags_of_user(call: Call) -> Row:
    """The tags of a follower."""
    follow = call.world.follow(call.account["key"], person_of(call, call.body.get("openid"))["id"])
    return {"tagid_list": follow["tags"] if follow else []}


@oa("/cgi-bin/user/tag/get")
def users_of_tag(call: Call) -> Row:
    """The followers who carry a tag, in pages of 10,000."""
    number, key = call.body.get("tagid"), call.account["key"]
    _tag(call, number)
    openids = [call.world.openid(key, row["person"]) for row in _tagged(call, int(number or 0))]
    after = call.body.get("next_openid") or ""
    start = openids.index(after) + 1 if after in openids else 0
    page = openids[start : start + USER_PAGE]
    return {"count": len(page), "data": {"openid": page}, "next_openid": page[-1] if page else ""}
