"""Official Accounts: the menus below a chat. Contract section A11."""

from __future__ import annotations

import json
from typing import Any

from wechat.sandbox.errors import ApiError
from wechat.sandbox.oa_basics import OK
from wechat.sandbox.routes import Call, oa, text
from wechat.sandbox.store import Row
from wechat.sandbox.world import World

CLICK_TYPES = {
    *(
        "click",
        "view",
        "miniprogram",
        "scancode_push",
        "scancode_waitmsg",
        "pic_sysphoto",
        "pic_photo_or_album",
    ),
    *("pic_weixin", "location_select", "media_id", "article_id", "article_view_limited"),
}


def _check_button(button: Any, *, name_bytes: int, inner: bool) -> None:
    if not isinstance(button, dict):
        raise ApiError(40035)
    name = button.get("name")
    if not isinstance(name, str) or not name or len(name.encode()) > name_bytes:
        raise ApiError(40035, "invalid button name size")
    children = button.get("sub_button")
    if children:
        if inner or not isinstance(children, list) or len(children) > 5:
            raise ApiError(40035, "invalid sub button size")
        for child in children:
            _check_button(child, name_bytes=60, inner=True)
        return
    kind = button.get("type")
    if kind not in CLICK_TYPES:
        raise ApiError(40035, "invalid button type")
    if kind == "view":
        text(button, "url", 40035)
        if len(button["url"].encode()) > 1024:
            raise ApiError(40035, "invalid button url size")
    if kind in ("click", "scancode_push", "scancode_waitmsg"):
        text(button, "key", 40035)
        if len(button["key"].encode()) > 128:
            raise ApiError(40035, "invalid button key size")


def _checked_buttons(body: Row) -> list[Row]:
    buttons = body.get("button")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 3:
        raise ApiError(40035, "invalid button size")
    for button in buttons:
        _check_button(button, name_bytes=16, inner=False)
    return buttons


@oa("/cgi-bin/menu/create", daily=1000)
def menu_create(call: Call) -> Row:
    """The default menu: three buttons with five below each."""
    row = call.world.menus.get(call.account["key"]) or {"conditional": []}
    buttons = _checked_buttons(call.body)
    row.update({"button": buttons, "menuid": call.world.next_number(), "made": call.world.clock.now()})
    call.world.menus.put(call.account["key"], row)
    for person in list(call.world.listeners):
        call.world.tell(person, {"type": "menu", "account": call.account["key"]})
    return OK


@oa("/cgi-bin/menu/get", daily=10_000)
def menu_get(call: Call) -> Row:
    """The menus; 46003 when there is none."""
    row = call.world.menus.get(call.account["key"])
    if row is None:
        raise ApiError(46003)
    answer: Row = {"menu": {"button": row["button"], "menuid": row["menuid"]}}
    if row["conditional"]:
        answer["conditionalmenu"] = row["conditional"]
    return answer


@oa("/cgi-bin/get_current_selfmenu_info", daily=10_000)
def menu_info(call: Call) -> Row:
    """The menu as the account's own page shows it."""
    row = call.world.menus.get(call.account["key"])
    shown = json.loads(json.dumps(row["button"])) if row else []
    for button in shown:
        if button.get("sub_button"):
            button["sub_button"] = {"list": button["sub_button"]}
    return {"is_menu_open": int(bool(row)), "selfmenu_info": {"button": shown}}


@oa("/cgi-bin/menu/delete", daily=1000)
def menu_delete(call: Call) -> Row:
    """Delete all menus."""
    call.world.menus.delete(call.account["key"])
    return OK


@oa("/cgi-bin/menu/addconditional", daily=2000)
def menu_add_conditional(call: Call) -> Row:
    """A menu for the followers of one tag; other rules no longer exist."""
    row = call.world.menus.get(call.account["key"])
    if row is None:
        raise ApiError(65303)
    rule = call.body.get("matchrule")
    if not isinstance(rule, dict) or not rule.get("tag_id") or set(rule) - {"tag_id", "group_id"}:
        raise ApiError(65320)
    menu = {"button": _checked_buttons(call.body), "matchrule": rule, "menuid": call.world.next_number()}
    row["conditional"].append(menu)
    call.world.menus.put(call.account["key"], row)
    return {"menuid": str(menu["menuid"])}


@oa("/cgi-bin/menu/delconditional", daily=2000)
def menu_delete_conditional(call: Call) -> Row:
    """Delete one personalised menu."""
    row = call.world.menus.get(call.account["key"])
    wanted = str(call.body.get("menuid"))
    if row is None or not any(str(menu["menuid"]) == wanted for menu in row["conditional"]):
        raise ApiError(46003)
    row["conditional"] = [menu for menu in row["conditional"] if str(menu["menuid"]) != wanted]
    call.world.menus.put(call.account["key"], row)
    return OK


def menu_for(world: World, account: Row, person: Row) -> list[Row]:
    """The menu that this person sees."""
    row = world.menus.get(account["key"])
    if row is None:
        return []
    follow = world.follow(account["key"], person["id"])
    for menu in reversed(row["conditional"]):
        if follow and int(menu["matchrule"]["tag_id"]) in follow["tags"]:
            return list(menu["button"])
    return list(row["button"])
