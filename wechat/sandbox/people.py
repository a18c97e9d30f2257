"""What people do: follow, scan, write, tap menus, add guides, join groups.

Each act changes the state and sends the platform's callback. Nothing here is an interface of the platforms:
these are the phone's buttons, and `/sandbox/api/people/…`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from wechat.sandbox import crypto, windows
from wechat.sandbox.errors import Refused
from wechat.sandbox.oa_menus import menu_for
from wechat.sandbox.store import Row
from wechat.sandbox.world import OA_KINDS

if TYPE_CHECKING:
    from wechat.sandbox.world import World

WELCOME_SECONDS = 20
NEW_FOLLOW: Row = {
    "subscribe": 0,
    "subscribe_time": 0,
    "remark": "",
    "tags": [],
    "mass": {},
    "blocked": False,
}


def _event(world: World, account: Row, person: Row, event: str, **fields: Any) -> None:
    """An event of an Official Account about this person."""
    content = {
        "ToUserName": account["gh_id"],
        "FromUserName": person["openids_by_account"][account["key"]],
        "CreateTime": int(world.clock.now()),
        "MsgType": "event",
        "Event": event,
        **fields,
    }
    world.callbacks.emit(account, event, content, person=person["id"])


def _interact(world: World, account: Row, person: Row, trigger: str) -> Row:
    """Note an interaction of a follower and open the allowance it gives; raises Refused for others."""
    follow = world.follow(account["key"], person["id"])
    if not follow or not follow["subscribe"]:
        raise Refused(f"{person['name']} does not follow {account['name']}.", 409)
    windows.open_window(follow, trigger, world.clock.now())
    return world.follows.put(f"{account['key']}|{person['id']}", follow)


def start_following(
    world: World,
    account: Row,
    person: Row,
    *,
    scene: str = "",
    numeric: bool = False,
    by: str = "ADD_SCENE_SEARCH",
) -> Row:
    """Make her a follower without telling anybody; the fields that user/info shows."""
    follow = world.follow(account["key"], person["id"]) or {
        **NEW_FOLLOW,
        "account": account["key"],
        "person": person["id"],
        "tags": [],
        "mass": {},
    }
    follow.update(
        subscribe=1,
        subscribe_time=world.clock.now(),
        subscribe_scene=by,
        qr_scene=int(scene) if numeric and scene.isdigit() else 0,
        qr_scene_str=scene if not numeric else "",
        windows={},
    )
    windows.open_window(follow, "follow", world.clock.now())
    return world.follows.put(f"{account['key']}|{person['id']}", follow)


def follow(world: World, person: Row, account: Row, *, scene: str = "", ticket: str = "") -> Row:
    """Follow the account, perhaps through a code; a follower who does it again only scans."""
    row = world.follow(account["key"], person["id"])
    if row and row["subscribe"]:
        return scan(world, person, account, scene=scene, ticket=ticket) if (scene or ticket) else row
    code = _code(world, account, scene=scene, ticket=ticket)
    if code is None:
        row = start_following(world, account, person)
        _event(world, account, person, "subscribe", EventKey="")
    else:
        row = start_following(
            world, account, person, scene=code["scene"], numeric=code["numeric"], by="ADD_SCENE_QR_CODE"
        )
        _event(
            world, account, person, "subscribe", EventKey=f"qrscene_{code['scene']}", Ticket=code["ticket"]
        )
    world.tell(person["id"], {"type": "follows"})
    return row


def _code(world: World, account: Row, *, scene: str, ticket: str) -> Row | None:
    """The code of this ticket, the newest of this scene, or one made up for a scene nobody made."""
    if ticket:
        code = world.tickets.get(ticket)
        if code is None or code["account"] != account["key"]:
            raise Refused("There is no such code.", 404)
        if code["expires"] and code["expires"] <= world.clock.now():
            raise Refused("二维码已过期", 410)
        return code
    if not scene:
        return None
    for code in reversed(list(world.tickets)):
        if code["account"] == account["key"] and code["scene"] == scene:
            return code
    return {
        "scene": scene,
        "ticket": "gQ" + world.derived("scene", scene, length=62) + "==",
        "numeric": False,
    }


def scan(world: World, person: Row, account: Row, *, scene: str = "", ticket: str = "") -> Row:
    """Scan a code of the account: follow it, or as a follower send SCAN."""
    row = world.follow(account["key"], person["id"])
    if not row or not row["subscribe"]:
        return follow(world, person, account, scene=scene, ticket=ticket)
    code = _code(world, account, scene=scene, ticket=ticket)
    if code is None:
        raise Refused("Say which ticket or scene.")
    row = _interact(world, account, person, "scan")
    _event(world, account, person, "SCAN", EventKey=code["scene"], Ticket=code["ticket"])
    return row


def unfollow(world: World, person: Row, account: Row) -> None:
    """Stop following; tags and remark are forgotten, as the platform forgets them."""
    row = world.follow(account["key"], person["id"])
    if not row or not row["subscribe"]:
        return
    row.update(subscribe=0, windows={}, tags=[], remark="")
    world.follows.put(f"{account['key']}|{person['id']}", row)
    _event(world, account, person, "unsubscribe", EventKey="")
    world.tell(person["id"], {"type": "follows"})


def send_message(world: World, person: Row, account: Row, text: str, *, menu_choice: str = "") -> Row:
    """Write to the account; opens 48 hours for five messages."""
    if not text or len(text) > 600:
        raise Refused("A message has 1 to 600 characters.")
    _interact(world, account, person, "menu" if menu_choice else "message")
    number = 24_000_000_000_000_000 + world.next_number()
    row = world.deliver(person["id"], channel="sent", account=account["key"], kind="text", text=text)
    row["read"] = True
    content: Row = {
        "ToUserName": account["gh_id"],
        "FromUserName": person["openids_by_account"][account["key"]],
        "CreateTime": int(world.clock.now()),
        "MsgType": "text",
        "Content": text,
        "MsgId": number,
    }
    if menu_choice:
        content["bizmsgmenuid"] = menu_choice
    world.callbacks.emit(account, "text", content, person=person["id"])
    return row


def tap_menu(world: World, person: Row, account: Row, *, key: str = "", url: str = "") -> Row:
    """Tap a menu button of type click (key) or view (url); raises Refused when there is no such button."""
    for button in menu_for(world, account, person):
        for one in button.get("sub_button") or [button]:
            if key and one.get("key") == key and one.get("type") == "click":
                _interact(world, account, person, "menu")
                _event(world, account, person, "CLICK", EventKey=key)
                return dict(one)
            if url and one.get("url") == url and one.get("type") == "view":
                _event(world, account, person, "VIEW", EventKey=url)
                return dict(one)
    raise Refused("The menu has no such button.", 404)


def decide_subscriptions(world: World, person: Row, account: Row, decisions: dict[str, bool]) -> None:
    """Accept or reject subscription notifications in the sheet; each accept gives one send."""
    entries = []
    for template_id, accept in decisions.items():
        key = f"{account['key']}|{person['id']}|{template_id}"
        if accept:
            row = world.subscriptions.get(key) or {"left": 0}
            row["left"] += 1
            world.subscriptions.put(key, row)
        status = "accept" if accept else "reject"
        entries.append({"TemplateId": template_id, "SubscribeStatusString": status, "PopupScene": "1"})
    if entries:
        _event(world, account, person, "subscribe_msg_popup_event", SubscribeMsgPopupEvent={"List": entries})


def refuse_subscription(world: World, person: Row, account: Row, template_id: str) -> None:
    """Turn a subscription off in the settings: what was accepted is gone, and the account hears of it."""
    world.subscriptions.delete(f"{account['key']}|{person['id']}|{template_id}")
    entry = {"TemplateId": template_id, "SubscribeStatusString": "reject"}
    _event(world, account, person, "subscribe_msg_change_event", SubscribeMsgChangeEvent={"List": [entry]})


def block(world: World, person: Row, account: Row, blocked: bool) -> None:
    """Refuse the account's messages while still following it."""
    row = world.follow(account["key"], person["id"])
    if not row or not row["subscribe"]:
        raise Refused(f"{person['name']} does not follow {account['name']}.", 409)
    row["blocked"] = blocked
    world.follows.put(f"{account['key']}|{person['id']}", row)


# --- WeCom ----------------------------------------------------------------------------------------


def _work_event(
    world: World, account: Row, person: Row | None, event: str, change: str, **fields: Any
) -> None:
    content = {
        "ToUserName": account["corpid"],
        "FromUserName": "sys",
        "CreateTime": int(world.clock.now()),
        "MsgType": "event",
        "Event": event,
        "ChangeType": change,
        **fields,
    }
    world.callbacks.emit(account, change, content, person=person["id"] if person else "")


def _member(world: World, account: Row, userid: str) -> Row:
    row = world.members.get(f"{account['key']}|{userid}")
    if row is None:
        raise Refused(f"There is no member {userid!r} in {account['name']}.", 404)
    return row


def _guide_of(world: World, account: Row, userid: str, way: Row | None) -> str:
    """The member she meets: the one she named, or in turn one of the code's."""
    if userid or way is None:
        _member(world, account, userid)
        return userid
    users = way["user"] or [row["userid"] for row in world.members if row["account"] == account["key"]]
    chosen = users[way["used"] % len(users)]
    way["used"] += 1
    world.contact_ways.put(way["config_id"], way)
    return str(chosen)


def add_contact(
    world: World, person: Row, account: Row, *, userid: str = "", state: str = "", config_id: str = ""
) -> Row:
    """Add a guide as a contact, perhaps through a contact way; gives a welcome code for 20 seconds."""
    way = None
    if config_id:
        way = world.contact_ways.get(config_id)
        if way is None or way["account"] != account["key"]:
            raise Refused("There is no such contact way.", 404)
        state = way["state"]
    userid = _guide_of(world, account, userid, way)
    key = f"{account['key']}|{userid}|{person['id']}"
    row = world.customers.get(key)
    if row and not row["deleted"]:
        return row
    row = {
        "account": account["key"],
        "userid": userid,
        "person": person["id"],
        "createtime": int(world.clock.now()),
        "talked": world.clock.now(),
        "state": state,
        "add_way": 1 if (way or state) else 3,
        "remark": person["name"],
        "description": "",
        "remark_company": "",
        "remark_mobiles": [],
        "tags": row["tags"] if row else [],
        "deleted": False,
    }
    world.customers.put(key, row)
    if key not in world.customers_of[person["id"]]:
        world.customers_of[person["id"]].append(key)
    code = crypto.random_text(43)
    expires = world.clock.now() + WELCOME_SECONDS
    welcome = {
        "code": code,
        "account": account["key"],
        "userid": userid,
        "person": person["id"],
        "expires": expires,
    }
    world.welcome_codes.put(code, {**welcome, "used": False})
    fields = {"UserID": userid, "ExternalUserID": person["externals_by_account"][account["key"]]}
    if state:
        fields["State"] = state
    _work_event(
        world, account, person, "change_external_contact", "add_external_contact", **fields, WelcomeCode=code
    )
    world.tell(person["id"], {"type": "contacts"})
    world.tell(f"guide:{account['key']}:{userid}", {"type": "customers"})
    return row


def delete_contact(world: World, person: Row, account: Row, userid: str) -> None:
    """The customer deletes the guide: del_follow_user."""
    row = world.customers.get(f"{account['key']}|{userid}|{person['id']}")
    if row is None or row["deleted"]:
        return
    row["deleted"] = True
    world.customers.put(f"{account['key']}|{userid}|{person['id']}", row)
    external = person["externals_by_account"][account["key"]]
    _work_event(
        world,
        account,
        person,
        "change_external_contact",
        "del_follow_user",
        UserID=userid,
        ExternalUserID=external,
    )
    world.tell(person["id"], {"type": "contacts"})


def edit_customer(
    world: World, person: Row, account: Row, userid: str, *, tags: list[str] | None = None, remark: str = ""
) -> Row:
    """The guide changes her customer's tags (ids; the whole list) or remark in the client: edit_external_contact."""
    key = f"{account['key']}|{userid}|{person['id']}"
    row = world.customers.get(key)
    if row is None or row["deleted"]:
        raise Refused("她还不是这位导购的客户", 409)
    if tags is not None:
        groups = [group for group in world.work_tags if group["account"] == account["key"]]
        unknown = set(tags) - {tag["id"] for group in groups for tag in group["tag"]}
        if unknown:
            raise Refused(f"There are no tags {', '.join(sorted(unknown))}.", 404)
        row["tags"] = list(dict.fromkeys(tags))
    if remark:
        row["remark"] = remark
    world.customers.put(key, row)
    external = person["externals_by_account"][account["key"]]
    _work_event(
        world,
        account,
        person,
        "change_external_contact",
        "edit_external_contact",
        UserID=userid,
        ExternalUserID=external,
    )
    return row


def drop_customer(world: World, person: Row, account: Row, userid: str) -> None:
    """The guide deletes the customer: del_external_contact."""
    key = f"{account['key']}|{userid}|{person['id']}"
    if world.customers.get(key) is None:
        return
    world.customers.delete(key)
    world.customers_of[person["id"]].remove(key)
    external = person["externals_by_account"][account["key"]]
    _work_event(
        world,
        account,
        person,
        "change_external_contact",
        "del_external_contact",
        UserID=userid,
        ExternalUserID=external,
    )


def write_to_guide(world: World, person: Row, account: Row, userid: str, text: str) -> Row:
    """Talk with a guide; nobody is told, but a mass message comes from the guide talked with last."""
    row = world.customers.get(f"{account['key']}|{userid}|{person['id']}")
    if row is None or row["deleted"]:
        raise Refused("她还不是这位导购的客户", 409)
    row["talked"] = world.clock.now()
    world.customers.put(f"{account['key']}|{userid}|{person['id']}", row)
    message = world.deliver(
        person["id"], channel="sent", account=account["key"], userid=userid, kind="text", text=text
    )
    message["read"] = True
    return message


def make_group(world: World, account: Row, name: str, owner: str) -> Row:
    """A member makes a customer group."""
    _member(world, account, owner)
    group = world.make_group(account["key"], name, owner)
    _work_event(world, account, None, "change_external_chat", "create", ChatId=group["chat_id"])
    return group


def _group(world: World, chat_id: str) -> tuple[Row, Row]:
    group = world.groups.get(chat_id)
    if group is None or group.get("dismissed"):
        raise Refused("There is no such group.", 404)
    return group, world.account(group["account"])


def _group_changed(world: World, group: Row, account: Row, person: Row, detail: str, **fields: Any) -> None:
    last, group["version"] = group["version"], secrets.token_hex(16)
    world.groups.put(group["chat_id"], group)
    _work_event(
        world,
        account,
        person,
        "change_external_chat",
        "update",
        ChatId=group["chat_id"],
        UpdateDetail=detail,
        **fields,
        MemChangeCnt=1,
        MemChangeList={"Item": [person["externals_by_account"][account["key"]]]},
        LastMemVer=last,
        CurMemVer=group["version"],
    )
    world.tell(person["id"], {"type": "contacts"})


def join_group(world: World, person: Row, chat_id: str, *, scene: int = 3, state: str = "") -> Row:
    """Enter a customer group; scene 1 invited, 2 by link, 3 by code."""
    group, account = _group(world, chat_id)
    external = person["externals_by_account"][account["key"]]
    if any(one["userid"] == external for one in group["members"]):
        return group
    member: Row = {
        "userid": external,
        "type": 2,
        "join_time": int(world.clock.now()),
        "join_scene": scene,
        "person": person["id"],
        "name": person["name"],
        "state": state,
    }
    if scene in (1, 2):
        member["invitor"] = {"userid": group["owner"]}
    group["members"].append(member)
    _group_changed(world, group, account, person, "add_member", JoinScene=scene, QuitScene=0)
    return group


def leave_group(world: World, person: Row, chat_id: str, *, scene: int = 0) -> Row:
    """Leave a group (0) or be removed from it (1)."""
    group, account = _group(world, chat_id)
    external = person["externals_by_account"][account["key"]]
    kept = [one for one in group["members"] if one["userid"] != external]
    if len(kept) == len(group["members"]):
        return group
    group["members"] = kept
    _group_changed(world, group, account, person, "del_member", JoinScene=0, QuitScene=scene)
    return group


def dismiss_group(world: World, chat_id: str) -> None:
    """The owner dismisses the group."""
    group, account = _group(world, chat_id)
    group["dismissed"] = True
    world.groups.put(chat_id, group)
    _work_event(world, account, None, "change_external_chat", "dismiss", ChatId=chat_id)


def follows_of(world: World, person: Row) -> list[Row]:
    """The Official Accounts she follows."""
    keys = [row["key"] for row in world.accounts if row["kind"] in OA_KINDS]
    rows = [world.follow(key, person["id"]) for key in keys]
    return [row for row in rows if row and row["subscribe"]]
