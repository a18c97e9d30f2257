"""WeCom: enterprise mass messages, which each member confirms in the client. Contract section B7."""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto
from wechat.sandbox.errors import ApiError, Refused
from wechat.sandbox.routes import Call, text, texts, whole, work
from wechat.sandbox.store import Row
from wechat.sandbox.work_basics import OK, customers_of_member, page_of
from wechat.sandbox.work_welcome import checked_attachments, deliver_attachments

if TYPE_CHECKING:
    from wechat.sandbox.world import World

UNSENT, SENT, NO_FRIEND, CAPPED = 0, 1, 2, 3


@work("/cgi-bin/externalcontact/add_msg_template")
def mass_add(call: Call) -> Row:
    """A task for each sender; a customer gets it from the member who talked with her last."""
    body = call.body
    kind = body.get("chat_type") or "single"
    if kind not in ("single", "group"):
        raise ApiError(40058)
    sender = body.get("sender") or ""
    if kind == "group" and not sender:
        raise ApiError(40058, "sender is required for group")
    if sender and f"{call.account['key']}|{sender}" not in call.world.members.rows:
        raise ApiError(40003)
    words, attachments = checked_attachments(body, 40058)
    failed: list[str] = []
    if kind == "group":
        receivers = _groups(call, sender)
    else:
        receivers, failed = _customers(call, sender)
    if not receivers:
        raise ApiError(41048, "", fail_list=failed)
    msgid = "msg" + crypto.random_text(29)
    row: Row = {
        "msgid": msgid,
        "account": call.account["key"],
        "chat_type": kind,
        "text": words,
        "attachments": attachments,
        "create_time": int(call.world.clock.now()),
        "creator": "",
        "cancelled": False,
        "reminded": [],
        "receivers": receivers,
        "senders": {
            userid: {"status": 0, "send_time": 0}
            for userid in dict.fromkeys(one["userid"] for one in receivers)
        },
    }
    call.world.work_tasks.put(msgid, row)
    for userid in row["senders"]:
        call.world.tell(f"guide:{call.account['key']}:{userid}", {"type": "tasks"})
    return {**OK, "fail_list": failed, "msgid": msgid}


def _groups(call: Call, sender: str) -> list[Row]:
    wanted = texts(call.body, "chat_id_list", 40058, most=2000)
    rows = [
        row
        for row in call.world.groups
        if row["account"] == call.account["key"] and row["owner"] == sender and not row.get("dismissed")
    ]
    return [
        {"userid": sender, "chat_id": row["chat_id"], "status": UNSENT, "send_time": 0}
        for row in rows
        if not wanted or row["chat_id"] in wanted
    ]


def _customers(call: Call, sender: str) -> tuple[list[Row], list[str]]:
    """Who gets it from whom, and the given external_userids who cannot get it."""
    world, key = call.world, call.account["key"]
    given = texts(call.body, "external_userid", 40058, most=10_000)
    wanted = _tag_filter(call)
    failed: list[str] = []
    people: list[str] = []
    if given:
        for external in dict.fromkeys(given):
            person = world.find_by_external(key, external)
            if person is None:
                failed.append(external)
            else:
                people.append(person["id"])
    elif sender:
        people = [row["person"] for row in customers_of_member(world, call.account, sender)]
    else:
        people = list(dict.fromkeys(row["person"] for row in world.customers if row["account"] == key))
    receivers = []
    for person_id in people:
        rows = [world.customers.rows[name] for name in world.customers_of.get(person_id, ())]
        rows = [row for row in rows if row["account"] == key and (not sender or row["userid"] == sender)]
        if wanted:
            rows = [row for row in rows if all(set(row["tags"]) & group for group in wanted)]
        external = world.people.rows[person_id]["externals_by_account"][key]
        if rows:
            last = max(rows, key=lambda row: row["talked"])
            receivers.append(
                {"userid": last["userid"], "external_userid": external, "status": UNSENT, "send_time": 0}
            )
        elif given:
            failed.append(external)
    return receivers, failed


def _tag_filter(call: Call) -> list[set[str]]:
    """Groups of tags: one of each group must fit."""
    given = call.body.get("tag_filter") or {}
    groups = given.get("group_list") or [] if isinstance(given, dict) else []
    return [set(texts(group, "tag_list", 40058, most=3000)) for group in groups]


def _task(call: Call) -> Row:
    msgid = text(call.body, "msgid", 41046)
    row = call.world.work_tasks.get(msgid)
    if row is None or row["account"] != call.account["key"]:
        raise ApiError(41047)
    return row


@work("/cgi-bin/externalcontact/get_groupmsg_task")
def mass_task(call: Call) -> Row:
    """Which members have sent their part."""
    senders = [{"userid": userid, **state} for userid, state in _task(call)["senders"].items()]
    limit = whole(call.body, "limit", 40058, default=500, least=1, most=1000)
    page, cursor = page_of(senders, call.body.get("cursor") or "", limit)
    shown = [one if one["status"] else {"userid": one["userid"], "status": 0} for one in page]
    return {**OK, "task_list": shown, "next_cursor": cursor}


@work("/cgi-bin/externalcontact/get_groupmsg_send_result")
def mass_result(call: Call) -> Row:
    """What became of one member's part, customer by customer."""
    userid = text(call.body, "userid", 40003)
    rows = [one for one in _task(call)["receivers"] if one["userid"] == userid]
    limit = whole(call.body, "limit", 40058, default=500, least=1, most=1000)
    page, cursor = page_of(rows, call.body.get("cursor") or "", limit)
    shown = []
    for one in page:
        entry = {
            name: one[name] for name in ("external_userid", "chat_id", "userid", "status") if name in one
        }
        shown.append({**entry, "send_time": one["send_time"]} if one["send_time"] else entry)
    return {**OK, "send_list": shown, "next_cursor": cursor}


@work("/cgi-bin/externalcontact/get_groupmsg_list_v2")
def mass_list(call: Call) -> Row:
    """The tasks of at most a month."""
    body = call.body
    first = whole(body, "start_time", 40058, default=0, least=0, most=2**40)
    last = whole(body, "end_time", 40058, default=2**40, least=0, most=2**40)
    if last - first > 31 * 86400 or last < first:
        raise ApiError(600018, "invalid time range")
    rows = [
        row
        for row in call.world.work_tasks
        if row["account"] == call.account["key"]
        and first <= row["create_time"] <= last
        and row["chat_type"] == (body.get("chat_type") or "single")
    ]
    limit = whole(body, "limit", 40058, default=50, least=1, most=100)
    page, cursor = page_of(rows, body.get("cursor") or "", limit)
    shown = [
        {
            "msgid": row["msgid"],
            "creator": row["creator"],
            "create_time": str(row["create_time"]),
            "create_type": 0,
            "text": {"content": row["text"]},
            "attachments": row["attachments"],
        }
        for row in page
    ]
    return {**OK, "group_msg_list": shown, "next_cursor": cursor}


@work("/cgi-bin/externalcontact/remind_groupmsg_send")
def mass_remind(call: Call) -> Row:
    """Remind the members, three times in 24 hours."""
    row, now = _task(call), call.world.clock.now()
    if row["cancelled"]:
        raise ApiError(41093)
    recent = [at for at in row["reminded"] if now - at < 86400]
    if len(recent) >= 3:
        raise ApiError(41094)
    row["reminded"] = [*recent, now]
    call.world.work_tasks.put(row["msgid"], row)
    return OK


@work("/cgi-bin/externalcontact/cancel_groupmsg_send")
def mass_cancel(call: Call) -> Row:
    """Stop what members have not sent yet."""
    row = _task(call)
    if row["cancelled"]:
        raise ApiError(41093)
    row["cancelled"] = True
    call.world.work_tasks.put(row["msgid"], row)
    return OK


# --- the member's client --------------------------------------------------------------------------


def cap_of(world: World, account: Row) -> tuple[str, int]:
    """The period and how many mass messages a customer or group may get in it (contract G3)."""
    chosen, now = account.get("work_mass_cap", "month"), world.clock.beijing()
    if chosen == "day":
        return f"day:{now:%Y-%m-%d}", 1
    if chosen == "week":
        return f"week:{now:%G-%V}", 7
    return f"month:{now:%Y-%m}", calendar.monthrange(now.year, now.month)[1]


def confirm_task(world: World, *, msgid: str, userid: str) -> Row:
    """The member confirms in the client: the customers receive it, within their caps. Raises Refused."""
    row = world.work_tasks.get(msgid)
    if row is None or userid not in row["senders"]:
        raise Refused("这个成员没有这条群发任务", 404)
    account, state = world.account(row["account"]), row["senders"][userid]
    if row["cancelled"]:
        raise Refused("这条群发任务已被取消", 409)
    if state["status"] == 2:
        return state_of(row)
    now = int(world.clock.now())
    state.update(status=2, send_time=now)
    for one in row["receivers"]:
        if one["userid"] == userid:
            _send_one(world, account, row, one, now)
    world.work_tasks.put(msgid, row)
    world.tell(f"guide:{account['key']}:{userid}", {"type": "tasks"})
    return state_of(row)


def _send_one(world: World, account: Row, row: Row, receiver: Row, now: int) -> None:
    common: dict[str, Any] = {"channel": "work_mass", "account": account["key"], "userid": receiver["userid"]}
    common["msgid"] = row["msgid"]
    period, most = cap_of(world, account)
    counted = f"work mass|{receiver.get('external_userid') or receiver['chat_id']}"
    counter = world.quotas.get(counted) or {"period": period, "used": 0}
    if counter["period"] != period:
        counter = {"period": period, "used": 0}
    if "external_userid" in receiver:
        person = world.find_by_external(account["key"], receiver["external_userid"])
        key = f"{account['key']}|{receiver['userid']}|{person['id'] if person else ''}"
        relation = world.customers.get(key)
        if person is None or relation is None or relation["deleted"]:
            receiver["status"] = NO_FRIEND
            return
        people = [person["id"]]
    else:
        group = world.groups.get(receiver["chat_id"])
        people = [one["person"] for one in group["members"] if one["type"] == 2] if group else []
        common["chat_id"] = receiver["chat_id"]
    if counter["used"] >= most:
        receiver["status"] = CAPPED
        return
    counter["used"] += 1
    world.quotas.put(counted, counter)
    receiver.update(status=SENT, send_time=now)
    for person_id in people:
        deliver_attachments(world, person_id, row["text"], row["attachments"], **common)


def state_of(row: Row) -> Row:
    """A task as the guides' page and the interface show it."""
    names = ("msgid", "account", "chat_type", "text", "attachments", "create_time", "cancelled", "senders")
    return {**{name: row[name] for name in names}, "receivers": row["receivers"]}
