"""Official Accounts: drafts and mass sending with its monthly caps. Contract section A9."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto, tokens
from wechat.sandbox.errors import ApiError
from wechat.sandbox.oa_basics import OK, person_of
from wechat.sandbox.oa_messages import custom_content, draft_content
from wechat.sandbox.routes import Call, oa, text, whole
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World

FOLLOWER_MONTHLY = 4
MASS_TYPES = ("mpnews", "text", "image", "voice", "mpvideo", "wxcard")
CLIENT_ID_SECONDS = 86400


@oa("/cgi-bin/draft/add", daily=1000)
def draft_add(call: Call) -> Row:
    """Keep one to eight articles as a draft."""
    articles = call.body.get("articles")
    if not isinstance(articles, list) or not 1 <= len(articles) <= 8:
        raise ApiError(40035)
    for article in articles:
        if not isinstance(article, dict) or not article.get("title") or not article.get("content"):
            raise ApiError(40035)
    media_id = crypto.random_text(64)
    row = {
        "media_id": media_id,
        "account": call.account["key"],
        "articles": articles,
        "at": call.world.clock.now(),
    }
    call.world.drafts.put(f"{call.account['key']}|{media_id}", row)
    return {"media_id": media_id}


@oa("/cgi-bin/draft/get", daily=500)
def draft_get(call: Call) -> Row:
    """One draft."""
    row = call.world.drafts.get(f"{call.account['key']}|{call.body.get('media_id')}")
    if row is None:
        raise ApiError(40007)
    return {"news_item": row["articles"]}


@oa("/cgi-bin/draft/delete", daily=1000)
def draft_delete(call: Call) -> Row:
    """Throw a draft away."""
    call.world.drafts.delete(f"{call.account['key']}|{text(call.body, 'media_id', 40007)}")
    return OK


@oa("/cgi-bin/draft/count", daily=1000)
def draft_count(call: Call) -> Row:
    """How many drafts there are."""
    return {"total_count": sum(row["account"] == call.account["key"] for row in call.world.drafts)}


@oa("/cgi-bin/draft/batchget", daily=1000)
def draft_list(call: Call) -> Row:
    """Drafts, twenty a page."""
    rows = [row for row in call.world.drafts if row["account"] == call.account["key"]]
    start = whole(call.body, "offset", 40035, default=0, least=0, most=10**6)
    size = whole(call.body, "count", 40035, default=20, least=1, most=20)
    page = [
        {
            "media_id": row["media_id"],
            "content": {"news_item": row["articles"]},
            "update_time": int(row["at"]),
        }
        for row in rows[start : start + size]
    ]
    return {"total_count": len(rows), "item_count": len(page), "item": page}


# --- mass sending ---------------------------------------------------------------------------------


def _content(call: Call) -> Row:
    body = call.body
    kind = body.get("msgtype")
    if kind not in MASS_TYPES:
        raise ApiError(40008)
    content = body.get(kind)
    if not isinstance(content, dict):
        raise ApiError(40035)
    if kind == "mpnews":
        return draft_content(call, text(content, "media_id", 40007))
    if kind in ("text", "image", "voice"):
        return custom_content(kind, content, call)
    return {"kind": kind, "text": kind, "data": content}


def _paced(call: Call) -> None:
    """60 calls a minute for every path of mass sending together."""
    if tokens.count(call.world, call.account["key"], "mass", tokens.minute(call.world)) > 60:
        raise ApiError(45011)


def _seen_before(call: Call) -> None:
    """A clientmsgid works once in 24 hours; afterwards the old msg_id comes back with 45065."""
    client_id = call.body.get("clientmsgid")
    if not client_id:
        return
    if len(str(client_id).encode()) > 64:
        raise ApiError(45067)
    for job in call.world.mass_jobs:
        if job["account"] == call.account["key"] and job["clientmsgid"] == client_id:
            age = call.world.clock.now() - job["at"]
            if age < CLIENT_ID_SECONDS:
                raise ApiError(45065, "", msg_id=job["msg_id"], msg_data_id=job["msg_data_id"])


def _take_quota(call: Call, *, to_all: bool) -> None:
    """Subscription accounts: once a day. Service accounts: to all once a day and four times a month."""
    world, key = call.world, call.account["key"]
    if call.account["kind"] == "subscription":
        if tokens.used(world, key, "mass day", tokens.day(world)) >= 1:
            raise ApiError(45028)
        tokens.count(world, key, "mass day", tokens.day(world))
    elif to_all:
        if tokens.used(world, key, "mass all", tokens.day(world)) >= 1:
            raise ApiError(45028)
        if tokens.used(world, key, "mass all", tokens.month(world)) >= FOLLOWER_MONTHLY:
            raise ApiError(45028)
        tokens.count(world, key, "mass all", tokens.day(world))
        tokens.count(world, key, "mass all", tokens.month(world))


def _start_job(call: Call, people: list[str], content: Row) -> Row:
    world = call.world
    job: Row = {
        "msg_id": 1_000_000_000 + world.next_number(),
        "msg_data_id": 2_247_000_000 + world.next_number(),
        "account": call.account["key"],
        "clientmsgid": call.body.get("clientmsgid") or "",
        "at": world.clock.now(),
        "people": people,
        "content": content,
        "status": "SENDING",
        "counts": {},
    }
    world.mass_jobs.put(str(job["msg_id"]), job)
    world.later(1.0, "finish_mass_job", msg_id=str(job["msg_id"]))
    return {
        "errcode": 0,
        "errmsg": "send job submission success",
        "type": call.body.get("msgtype"),
        "msg_id": job["msg_id"],
        "msg_data_id": job["msg_data_id"],
    }


@oa("/cgi-bin/message/mass/send", daily=100)
def mass_send(call: Call) -> Row:
    """To a list of 2 to 10,000 openids; service accounts' followers get at most four a month."""
    _paced(call)
    openids = call.body.get("touser")
    if not isinstance(openids, list):
        raise ApiError(40031)
    if not 2 <= len(openids) <= 10_000:
        raise ApiError(40032)
    people = [
        person["id"] for one in openids if (person := call.world.find_by_openid(call.account["key"], one))
    ]
    if not people:
        raise ApiError(40003)
    content = _content(call)
    _seen_before(call)
    _take_quota(call, to_all=False)
    return _start_job(call, list(dict.fromkeys(people)), content)


@oa("/cgi-bin/message/mass/sendall", daily=100)
def mass_sendall(call: Call) -> Row:
    """To everybody or to the followers of one tag."""
    _paced(call)
    rule = call.body.get("filter")
    if not isinstance(rule, dict):
        raise ApiError(40035)
    key, to_all = call.account["key"], rule.get("is_to_all") is True
    followers = [row for row in call.world.follows if row["account"] == key and row["subscribe"]]
    if not to_all:
        if f"{key}|{rule.get('tag_id')}" not in call.world.oa_tags.rows:
            raise ApiError(45159)
        followers = [row for row in followers if rule["tag_id"] in row["tags"]]
    content = _content(call)
    _seen_before(call)
    _take_quota(call, to_all=to_all)
    return _start_job(call, [row["person"] for row in followers], content)


@oa("/cgi-bin/message/mass/preview", daily=100)
def mass_preview(call: Call) -> Row:
    """To one follower, not counted."""
    person = person_of(call, call.body.get("touser"))
    call.world.deliver(person["id"], channel="mass", account=call.account["key"], **_content(call))
    return {"errcode": 0, "errmsg": "preview success"}


@oa("/cgi-bin/message/mass/get")
def mass_get(call: Call) -> Row:
    """The state of a job."""
    job = call.world.mass_jobs.get(str(call.body.get("msg_id")))
    if job is None or job["account"] != call.account["key"]:
        raise ApiError(40035)
    return {"msg_id": job["msg_id"], "msg_status": job["status"]}


@oa("/cgi-bin/message/mass/delete")
def mass_delete(call: Call) -> Row:
    """Take a job's articles back."""
    job = call.world.mass_jobs.get(str(call.body.get("msg_id")))
    if job is None or job["account"] != call.account["key"]:
        raise ApiError(40035)
    job["status"] = "DELETE"
    call.world.mass_jobs.put(str(job["msg_id"]), job)
    return OK


@oa("/cgi-bin/message/mass/speed/get")
def mass_speed(call: Call) -> Row:
    """How fast jobs are sent."""
    return {"speed": 0, "realspeed": 80}


@oa("/cgi-bin/message/mass/speed/set")
def mass_speed_set(call: Call) -> Row:
    """Choose a speed; nothing changes here."""
    whole(call.body, "speed", 40035, default=0, least=0, most=4)
    return OK


def finish_mass_job(world: World, *, msg_id: str) -> None:
    """Deliver a job to those whose month still has room, then send MASSSENDJOBFINISH."""
    job = world.mass_jobs.get(msg_id)
    account = world.accounts.get(job["account"]) if job else None
    if job is None or account is None or job["status"] != "SENDING":
        return
    month, service = world.clock.month(), account["kind"] == "service"
    sent = errors = 0
    for person in job["people"]:
        follow = world.follow(account["key"], person)
        if not follow or not follow["subscribe"]:
            continue
        received: Row = (
            follow["mass"] if follow["mass"].get("month") == month else {"month": month, "count": 0}
        )
        if service and received["count"] >= FOLLOWER_MONTHLY:
            continue
        if follow.get("blocked"):
            errors += 1
            continue
        received["count"] += 1
        follow["mass"] = received
        world.follows.put(f"{account['key']}|{person}", follow)
        world.deliver(person, channel="mass", account=account["key"], msg_id=job["msg_id"], **job["content"])
        sent += 1
    counts: dict[str, Any] = {
        "TotalCount": len(job["people"]),
        "FilterCount": sent + errors,
        "SentCount": sent,
        "ErrorCount": errors,
    }
    job["status"], job["counts"] = "SEND_SUCCESS", counts
    world.mass_jobs.put(msg_id, job)
    world.callbacks.emit(
        account,
        "MASSSENDJOBFINISH",
        {
            "ToUserName": account["gh_id"],
            "FromUserName": "oR5GjjgEhCMJFyzaVZdrxZ2zRRF4",
            "CreateTime": int(world.clock.now()),
            "MsgType": "event",
            "Event": "MASSSENDJOBFINISH",
            "MsgID": job["msg_id"],
            "Status": "send success",
            **counts,
            "CopyrightCheckResult": {"Count": 0, "ResultList": "", "CheckState": 0},
            "ArticleUrlResult": {"Count": 0, "ResultList": ""},
        },
    )
