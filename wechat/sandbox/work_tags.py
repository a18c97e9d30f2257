"""WeCom: the corp's tags and who carries them. Contract section B4."""

from __future__ import annotations

from wechat.sandbox import crypto
from wechat.sandbox.errors import ApiError
from wechat.sandbox.routes import Call, text, texts, whole, work
from wechat.sandbox.store import Row
from wechat.sandbox.work_basics import OK, customer_of, tag_index

TAGS_MOST = 3000


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
    known = tag_index(call)
    if any(one not in known for one in add):
        raise ApiError(40068)
    row["tags"] = [one for one in dict.fromkeys([*row["tags"], *add]) if one not in remove]
    call.world.customers.put(f"{row['account']}|{row['userid']}|{row['person']}", row)
    return OK
