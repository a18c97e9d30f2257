"""The sandbox's own interface: people and what they do, guides, groups, payment sheet, live news."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from wechat.sandbox import crypto, oauth, pay, people, work_mass
from wechat.sandbox.api_routes import Ask, api
from wechat.sandbox.errors import Refused
from wechat.sandbox.oa_basics import ticket_of
from wechat.sandbox.oa_menus import menu_for
from wechat.sandbox.store import Row
from wechat.sandbox.world import OA_KINDS, World

KEEP_ALIVE_SECONDS = 15
BULK_MOST = 200_000


@api("GET", "people")
def people_get(ask: Ask) -> list[Row]:
    """People, the first 500 (?limit=), or those whose name or openid is ?q=: then also those who are not listed."""
    limit, wanted = int(ask.query.get("limit", "500")), ask.query.get("q", "")
    rows = [
        row
        for row in ask.world.people
        if (not wanted and row.get("listed", True))
        or (wanted and wanted in row["name"])
        or wanted in row["openids_by_account"].values()
        or wanted == row["id"]
    ]
    return [ask.world.shown_person(row) for row in rows[:limit]]


@api("POST", "people")
def people_make(ask: Ask) -> Any:
    """One person {"name", …}; many {"people": [{…}, …]} or {"count": N, "name": prefix}.

    "follow": [account keys] makes them followers without callbacks; "message": [account keys] also opens the
    48 hours as if they had written. "listed": false on a person keeps her out of the phone's list until she is
    looked for. "keep_known": true passes over people whose id is there already.
    """
    body = ask.body if isinstance(ask.body, dict) else {}
    follow = [ask.world.platform_account(key, *OA_KINDS) for key in body.get("follow") or []]
    messaged = [ask.world.platform_account(key, *OA_KINDS) for key in body.get("message") or []]
    if "people" in body:
        given = list(body["people"])
    elif "count" in body:
        given = [
            {"name": f"{body.get('name') or '粉丝'}{number}"} for number in range(1, int(body["count"]) + 1)
        ]
    else:
        given = [body]
    if len(given) > BULK_MOST or not all(isinstance(one, dict) for one in given):
        raise Refused(f"At most {BULK_MOST} people at once, each an object.")
    if body.get("keep_known"):
        given = [one for one in given if str(one.get("id") or "") not in ask.world.people.rows]
    made = [ask.world.make_person(one) for one in given]
    for person in made:
        for account in follow:
            people.start_following(ask.world, account, person)
        for account in messaged:
            row = people.start_following(ask.world, account, person)
            people.windows.open_window(row, "message", ask.world.clock.now())
    shown = [ask.world.shown_person(person) for person in made]
    return {"people": shown} if ("people" in body or "count" in body) else shown[0]


@api("GET", "people/([^/]+)")
def person_get(ask: Ask) -> Row:
    """One person."""
    return ask.world.shown_person(ask.person())


@api("POST", "people/([^/]+)/settings")
def person_settings(ask: Ask) -> Row:
    """Change {"name", "snapshot" (snapshot-page user), "addresses"}."""
    person = ask.person()
    if "name" in ask.body:
        person["name"] = ask.text("name")
    if "snapshot" in ask.body:
        person["snapshot"] = bool(ask.body["snapshot"])
    if "addresses" in ask.body:
        person["addresses"] = list(ask.body["addresses"])
    ask.world.people.put(person["id"], person)
    return ask.world.shown_person(person)


# --- Official Accounts ----------------------------------------------------------------------------


@api("POST", "people/([^/]+)/follow")
def person_follow(ask: Ask) -> Row:
    """Follow {"account", "scene" or "ticket"}."""
    row = people.follow(
        ask.world,
        ask.person(),
        ask.account(*OA_KINDS),
        scene=ask.text("scene", ""),
        ticket=ask.text("ticket", ""),
    )
    return {"subscribe": row["subscribe"], "subscribe_time": int(row["subscribe_time"])}


@api("POST", "people/([^/]+)/mini_code")
def person_mini_code(ask: Ask) -> Row:
    """She opens a mini program {"account"}: the code of `wx.login`."""
    return {"code": oauth.mini_code(ask.world, ask.account("mini"), ask.person())}


@api("POST", "people/([^/]+)/unfollow")
def person_unfollow(ask: Ask) -> Row:
    """Stop following {"account"}."""
    people.unfollow(ask.world, ask.person(), ask.account(*OA_KINDS))
    return {"subscribe": 0}


@api("POST", "people/([^/]+)/scan")
def person_scan(ask: Ask) -> Row:
    """Scan {"account", "ticket" or "scene"}; or {"code"}: any code's content, address or ticket."""
    if "code" in ask.body:
        return scan_anything(ask.world, ask.person(), ask.text("code"))
    row = people.scan(
        ask.world,
        ask.person(),
        ask.account(*OA_KINDS),
        scene=ask.text("scene", ""),
        ticket=ask.text("ticket", ""),
    )
    return {"subscribe": row["subscribe"]}


def scan_anything(world: World, person: Row, code: str) -> Row:
    """What the phone's camera does with a code: follow, add a guide, open a page."""
    code = code.strip()
    for ticket in world.tickets:
        if code in (ticket["ticket"], ticket["url"]) or ticket["ticket"] in code:
            people.scan(world, person, world.account(ticket["account"]), ticket=ticket["ticket"])
            return {"kind": "account", "account": ticket["account"]}
    for way in world.contact_ways:
        if code in (way["config_id"], way["url"], way["qr_code"]):
            if way["expires"] and way["expires"] <= world.clock.now():
                raise Refused("二维码已过期", 410)
            row = people.add_contact(world, person, world.account(way["account"]), config_id=way["config_id"])
            return {"kind": "guide", "account": row["account"], "userid": row["userid"]}
    if code.startswith(pay.PAY_CODES):
        return {"kind": "pay", "code": code}
    if code.startswith(("http://", "https://")):
        return {"kind": "link", "url": code}
    raise Refused("这不是微信能识别的二维码", 404)


@api("POST", "people/([^/]+)/message")
def person_message(ask: Ask) -> Row:
    """Write {"account", "text"}, to a guide also {"userid"}; a msgmenu choice also {"menu_choice"}."""
    person, account = ask.person(), ask.account(*OA_KINDS, "work")
    if account["kind"] == "work":
        return people.write_to_guide(ask.world, person, account, ask.text("userid"), ask.text("text"))
    choice = ask.text("menu_choice", "")
    return people.send_message(ask.world, person, account, ask.text("text"), menu_choice=choice)


@api("POST", "people/([^/]+)/menu")
def person_menu(ask: Ask) -> Row:
    """Tap {"account", "key"} or {"account", "url"}."""
    account = ask.account(*OA_KINDS)
    return people.tap_menu(ask.world, ask.person(), account, key=ask.text("key", ""), url=ask.text("url", ""))


@api("POST", "people/([^/]+)/subscribe")
def person_subscribe(ask: Ask) -> Row:
    """Decide on {"account", "template_id", "accept"} or {"account", "decisions": {template_id: true}}."""
    decisions = ask.body.get("decisions") or {ask.text("template_id"): bool(ask.body.get("accept", True))}
    decided = {str(template): bool(accept) for template, accept in decisions.items()}
    people.decide_subscriptions(ask.world, ask.person(), ask.account("service"), decided)
    return {"decided": decided}


@api("POST", "people/([^/]+)/refuse_subscription")
def person_refuse(ask: Ask) -> Row:
    """Turn {"account", "template_id"} off in the settings: subscribe_msg_change_event."""
    people.refuse_subscription(ask.world, ask.person(), ask.account("service"), ask.text("template_id"))
    return {"ok": True}


@api("POST", "people/([^/]+)/block")
def person_block(ask: Ask) -> Row:
    """Refuse an account's messages {"account", "blocked": true}."""
    blocked = bool(ask.body.get("blocked", True))
    people.block(ask.world, ask.person(), ask.account(*OA_KINDS), blocked)
    return {"blocked": blocked}


# --- WeCom ----------------------------------------------------------------------------------------


@api("POST", "people/([^/]+)/add_contact")
def person_add_contact(ask: Ask) -> Row:
    """Add a guide {"account", "userid", "state"} or through {"account", "config_id"}."""
    row = people.add_contact(
        ask.world,
        ask.person(),
        ask.account("work"),
        userid=ask.text("userid", ""),
        state=ask.text("state", ""),
        config_id=ask.text("config_id", ""),
    )
    return {"userid": row["userid"], "state": row["state"], "createtime": row["createtime"]}


@api("POST", "people/([^/]+)/delete_contact")
def person_delete_contact(ask: Ask) -> Row:
    """Delete a guide {"account", "userid"}; {"by": "guide"}: the guide deletes her."""
    drop = people.drop_customer if ask.text("by", "customer") == "guide" else people.delete_contact
    drop(ask.world, ask.person(), ask.account("work"), ask.text("userid"))
    return {"ok": True}


@api("POST", "people/([^/]+)/join_group")
def person_join_group(ask: Ask) -> Row:
    """Enter {"chat_id"}; "scene" 1 invited, 2 link, 3 code; "state"."""
    scene = int(ask.text("scene", "3"))
    group = people.join_group(
        ask.world, ask.person(), ask.text("chat_id"), scene=scene, state=ask.text("state", "")
    )
    return {"chat_id": group["chat_id"], "members": len(group["members"])}


@api("POST", "people/([^/]+)/leave_group")
def person_leave_group(ask: Ask) -> Row:
    """Leave {"chat_id"}; "scene" 1: removed by the owner."""
    group = people.leave_group(
        ask.world, ask.person(), ask.text("chat_id"), scene=int(ask.text("scene", "0"))
    )
    return {"chat_id": group["chat_id"], "members": len(group["members"])}


def _work_account(ask: Ask) -> Row:
    given = ask.body if isinstance(ask.body, dict) else {}
    key = given.get("account") or ask.query.get("account")
    if key:
        return ask.world.platform_account(str(key), "work")
    found = next((row for row in ask.world.accounts if row["kind"] == "work"), None)
    if found is None:
        raise Refused("There is no work account.", 404)
    return found


@api("GET", "groups")
def groups_get(ask: Ask) -> list[Row]:
    """Customer groups with their members."""
    return [row for row in ask.world.groups if not row.get("dismissed")]


@api("POST", "groups")
def groups_make(ask: Ask) -> Row:
    """A member makes a group {"account", "name", "owner"}."""
    return people.make_group(ask.world, _work_account(ask), ask.text("name"), ask.text("owner"))


@api("DELETE", "groups/([^/]+)")
def groups_dismiss(ask: Ask) -> Row:
    """The owner dismisses a group."""
    people.dismiss_group(ask.world, ask.arguments[0])
    return {"ok": True}


@api("GET", "members")
def members_get(ask: Ask) -> list[Row]:
    """The corp's members (?account=), each with the page that her chats show at their side."""
    account = _work_account(ask)
    sidebar = account.get("sidebar_url") or f"{ask.world.shop_base}/crm/sidebar/{account['key']}/"
    return [{**row, "sidebar_url": sidebar} for row in ask.world.members if row["account"] == account["key"]]


@api("POST", "members")
def members_make(ask: Ask) -> Row:
    """A member {"userid", "name", "account"}."""
    return ask.world.make_member(_work_account(ask)["key"], ask.text("userid"), ask.text("name"))


@api("GET", "work_tasks")
def tasks_get(ask: Ask) -> list[Row]:
    """Mass tasks, newest first (?userid= those of one member)."""
    userid = ask.query.get("userid", "")
    rows = [row for row in ask.world.work_tasks if not userid or userid in row["senders"]]
    return [work_mass.state_of(row) for row in reversed(rows)]


@api("POST", "work_tasks/([^/]+)/confirm")
def tasks_confirm(ask: Ask) -> Row:
    """The member {"userid"} confirms her part; {"all": true}: every member does."""
    if isinstance(ask.body, dict) and ask.body.get("all"):
        row = ask.world.work_tasks.get(ask.arguments[0])
        if row is None:
            raise Refused("There is no such task.", 404)
        for userid in row["senders"]:
            work_mass.confirm_task(ask.world, msgid=ask.arguments[0], userid=userid)
        return work_mass.state_of(row)
    return work_mass.confirm_task(ask.world, msgid=ask.arguments[0], userid=ask.text("userid"))


@api("POST", "people/([^/]+)/edit_contact")
def person_edit_contact(ask: Ask) -> Row:
    """Her guide changes {"account", "userid", "tags": [ids], "remark"} in the client."""
    tags = ask.body.get("tags")
    row = people.edit_customer(
        ask.world,
        ask.person(),
        ask.account("work"),
        ask.text("userid"),
        tags=[str(one) for one in tags] if isinstance(tags, list) else None,
        remark=ask.text("remark", ""),
    )
    return {"tags": row["tags"], "remark": row["remark"]}


@api("GET", "guides/([^/]+)/customers")
def guide_customers(ask: Ask) -> list[Row]:
    """A guide's customers, as her client shows them."""
    account = _work_account(ask)
    tags = {
        tag["id"]: tag["name"]
        for group in ask.world.work_tags
        if group["account"] == account["key"]
        for tag in group["tag"]
    }
    start = f"{account['key']}|{ask.arguments[0]}|"
    return [
        {
            "person": row["person"],
            "name": ask.world.people.rows[row["person"]]["name"],
            "external_userid": ask.world.people.rows[row["person"]]["externals_by_account"][account["key"]],
            "remark": row["remark"],
            "state": row["state"],
            "createtime": row["createtime"],
            "deleted": row["deleted"],
            "tags": [tags[one] for one in row["tags"] if one in tags],
        }
        for key, row in ask.world.customers.rows.items()
        if key.startswith(start)
    ]


# --- the phone ------------------------------------------------------------------------------------


@api("GET", "people/([^/]+)/inbox")
def person_inbox(ask: Ask) -> list[Row]:
    """Messages that arrived, oldest first: ?account=, ?channel=, ?after= (message id), ?sent=1 with her own."""
    rows = ask.world.inbox(ask.person()["id"])
    after = int(ask.query.get("after", "0"))
    return [
        row
        for row in rows
        if row["id"] > after
        and ask.query.get("account", "") in ("", row["account"])
        and ask.query.get("channel", "") in ("", row["channel"])
        and (ask.query.get("sent") or row["channel"] != "sent")
    ]


@api("GET", "people/([^/]+)/phone")
def person_phone(ask: Ask) -> Row:
    """Everything that her phone shows at first: chats, accounts with menus, contacts, groups."""
    world, person = ask.world, ask.person()
    accounts = []
    for account in world.accounts:
        if account["kind"] in OA_KINDS:
            row = world.follow(account["key"], person["id"])
            following = bool(row and row["subscribe"])
            menu = menu_for(world, account, person) if following else []
            shown = {name: account[name] for name in ("key", "name", "kind", "appid")}
            accounts.append({**shown, "following": following, "menu": menu})
    contacts = []
    for key in world.customers_of.get(person["id"], ()):
        relation = world.customers.rows[key]
        if not relation["deleted"]:
            member = world.members.get(f"{relation['account']}|{relation['userid']}")
            name = member["name"] if member else relation["userid"]
            corp = world.accounts.rows[relation["account"]]["name"]
            contacts.append(
                {"account": relation["account"], "userid": relation["userid"], "name": name, "corp": corp}
            )
    groups = [
        {
            "chat_id": group["chat_id"],
            "name": group["name"],
            "account": group["account"],
            "count": len(group["members"]),
        }
        for group in world.groups
        if not group.get("dismissed") and any(one.get("person") == person["id"] for one in group["members"])
    ]
    messages = world.inbox(person["id"])[-300:]
    return {
        "person": world.shown_person(person),
        "accounts": accounts,
        "contacts": contacts,
        "groups": groups,
        "messages": messages,
        "now": world.clock.now(),
    }


@api("POST", "sms")
def sms_send(ask: Ask) -> Row:
    """A text to a number, as an SMS provider takes it: onto the phone of whoever has it. Of a number that nobody here
    has, whoever holds a phone of the sandbox just now reads it, so that a newcomer may type her own.
    """
    world, phone, text = ask.world, ask.text("phone"), ask.text("text")
    takers = [row["id"] for row in world.people if row["phone"] == phone]
    takers = takers or [
        name for name, open_ in world.listeners.items() if open_ and name in world.people.rows
    ]
    number = str(world.next_number())
    world.sms.put(number, {"id": int(number), "at": world.clock.now(), "phone": phone, "text": text})
    for person_id in takers:
        world.deliver(person_id, channel="sms", account="sms", kind="text", text=text)
    return {"delivered": len(takers)}


@api("GET", "sms")
def sms_get(ask: Ask) -> list[Row]:
    """Texts by SMS, the oldest first: `?phone=`."""
    return [row for row in ask.world.sms if ask.query.get("phone", "") in ("", row["phone"])]


@api("POST", "people/([^/]+)/read")
def person_read(ask: Ask) -> Row:
    """Mark messages {"ids": [...]} as read."""
    inbox = set(ask.world.inboxes.get(ask.person()["id"], ()))
    for number in {str(one) for one in ask.body.get("ids", [])} & inbox:
        row = ask.world.messages.rows[number]
        row["read"] = True
        ask.world.messages.put(number, row)
    return {"ok": True}


@api("GET", "codes")
def codes_get(ask: Ask) -> list[Row]:
    """Codes to scan, newest first: those of accounts and those of guides, and groups to enter."""
    world, codes = ask.world, []
    for row in world.tickets:
        name, over = (
            world.accounts.rows[row["account"]]["name"],
            bool(row["expires"] <= world.clock.now() and row["expires"]),
        )
        picture = f"/sandbox/qr/oa/{row['ticket']}.png"
        made = row["created"]
        codes.append({"kind": "account", "name": name, "note": row["scene"], "code": row["ticket"], "picture": picture,
                      "expired": over, "created": made})  # fmt: skip
    for row in world.contact_ways:
        users = [world.members.rows[f"{row['account']}|{one}"]["name"] for one in row["user"]
                 if f"{row['account']}|{one}" in world.members.rows]  # fmt: skip
        note = row["state"] or row["remark"]
        picture = f"/sandbox/qr/contact/{row['config_id']}.png"
        codes.append({"kind": "guide", "name": "、".join(users) or world.accounts.rows[row["account"]]["name"],
                      "note": note, "code": row["config_id"], "picture": picture,
                      "expired": bool(row["expires"] and row["expires"] <= world.clock.now()),
                      "created": row["created"]})  # fmt: skip
    for row in world.prepays:  # what a desktop's page shows to be paid
        order = world.orders.rows[row["order"]]
        if order["kind"] == "NATIVE" and order["state"] == "NOTPAY":
            codes.append({"kind": "pay", "name": "付款码", "note": order["description"],
                          "code": f"{pay.PAY_CODES}{row['prepay_id']}",
                          "picture": f"/sandbox/qr/pay/{row['prepay_id']}.png",
                          "expired": row["expires"] <= world.clock.now(), "created": order["created"]})  # fmt: skip
    return sorted(codes, key=lambda one: -one["created"])[:300]


@api("POST", "people/([^/]+)/pay")
def person_pay(ask: Ask) -> Row:
    """The payment sheet: the JSAPI parameters and {"outcome": "look" | "success" | "cancel" | "fail"}.

    Instead of the parameters {"code"}: what a QR code said, or an h5_url that a browser opened.
    Answers {"err_msg": "get_brand_wcpay_request:ok|cancel|fail", "amount_fen", "merchant", …}; a wrong
    signature or a closed order is "fail" with "reason".
    """
    outcome = ask.text("outcome", "success")
    if outcome not in ("look", "success", "cancel", "fail"):
        raise Refused("outcome must be look, success, cancel or fail.")
    person = ask.person()
    try:
        if "code" in ask.body:
            order, account = pay.checked_code(ask.world, person, ask.text("code"))
        else:
            order, account = pay.checked_sheet(ask.world, person, ask.body)
    except Refused as refused:
        return {"err_msg": "get_brand_wcpay_request:fail", "reason": refused.message}
    shown = {
        "amount_fen": order["total"],
        "merchant": account["name"],
        "description": order["description"],
        "out_trade_no": order["out_trade_no"],
    }
    if outcome == "success":
        pay.settle(ask.world, person, order, account)
        return {"err_msg": "get_brand_wcpay_request:ok", **shown}
    if outcome == "look":
        return {"err_msg": "", **shown}
    return {"err_msg": f"get_brand_wcpay_request:{outcome}", **shown}


@api("POST", "orders")
def orders_make(ask: Ask) -> Row:
    """Payments of the time before the sandbox stood, so that they can be asked about, billed and refunded.

    {"account": a merchant's key, "app": key of the account the payers follow, "notify_url", "orders":
    [{"out_trade_no", "openid", "total", "refunded", "transaction_id", "success_time" (RFC 3339), "description"}]}.
    No notice goes out. Numbers that are known stay as they are.
    """
    account = ask.world.platform_account(ask.text("account"), "pay")
    app = ask.world.platform_account(ask.text("app"), *OA_KINDS)
    given = ask.body.get("orders")
    if not isinstance(given, list) or len(given) > BULK_MOST:
        raise Refused(f"orders must be a list of at most {BULK_MOST}.")
    made = [pay.book_past(ask.world, account, app, one, ask.text("notify_url")) for one in given]
    return {"made": sum(made)}


@api("GET", "orders")
def orders_get(ask: Ask) -> list[Row]:
    """Payment orders, newest first."""
    return [pay.refresh(ask.world, row) for row in reversed(list(ask.world.orders))][:500]


@api("POST", "jsapi/config")
def jsapi_config(ask: Ask) -> Row:
    """Check a page's wx.config {"appId", "timestamp", "nonceStr", "signature", "url"}."""
    account = ask.world.by_appid.get(ask.text("appId", ""))
    if account is None:
        return {"errMsg": "config:fail,Error: invalid appid"}
    wanted = crypto.js_signature(
        ticket=ticket_of(ask.world, account)["value"],
        noncestr=ask.text("nonceStr", ""),
        timestamp=ask.text("timestamp", ""),
        url=ask.text("url", ""),
    )
    if wanted != ask.text("signature", ""):
        return {"errMsg": "config:fail,Error: invalid signature"}
    return {"errMsg": "config:ok", "account": account["key"]}


@api("POST", "jsapi/agent_config")
def agent_config(ask: Ask) -> Row:
    """Check a page's wx.agentConfig {"corpid", "agentid", "timestamp", "nonceStr", "signature", "url"}."""
    account = ask.world.by_corpid.get(ask.text("corpid", ""))
    if account is None or str(account["agentid"]) != ask.text("agentid", ""):
        return {"errMsg": "agentConfig:fail, invalid corpid or agentid"}
    wanted = crypto.js_signature(
        ticket=ticket_of(ask.world, account, "agent")["value"],
        noncestr=ask.text("nonceStr", ""),
        timestamp=ask.text("timestamp", ""),
        url=ask.text("url", ""),
    )
    if wanted != ask.text("signature", ""):
        return {"errMsg": "agentConfig:fail, invalid signature"}
    return {"errMsg": "agentConfig:ok", "account": account["key"]}


async def stream(world: World, request: web.Request, listener: str) -> web.StreamResponse:
    """Server-sent events for a person's phone (her id) or a guide's (`guide:<account>:<userid>`)."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    queue: asyncio.Queue[Row] = asyncio.Queue()
    world.listeners[listener].add(queue)
    try:
        await response.write(b"retry: 1000\n\n")
        while True:
            try:
                news = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                await response.write(b": still here\n\n")
                continue
            await response.write(f"data: {json.dumps(news, ensure_ascii=False)}\n\n".encode())
    except (ConnectionResetError, asyncio.CancelledError):
        return response
    finally:
        world.listeners[listener].discard(queue)
        if not world.listeners[listener]:
            del world.listeners[listener]
