"""WeCom: customers, tags, contact ways, welcome codes, mass tasks, groups, through wechatpy's own client."""

import calendar
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from wechatpy.work.crypto import WeChatCrypto

from tests.sandbox.conftest import Delivery, Sandbox, Shop
from tests.sandbox.test_accounts import refusal


@pytest.fixture
def corp(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.account("work")


@pytest.fixture
def client(corp: dict[str, Any], work_client: Any) -> Any:
    return work_client(corp)


def opened(corp: dict[str, Any], delivery: Delivery) -> dict[str, str]:
    """A callback's fields, decrypted by wechatpy."""
    crypto = WeChatCrypto(corp["token"], corp["aes_key"], corp["corpid"])
    query = delivery.query
    text = crypto.decrypt_message(delivery.body, query["msg_signature"], query["timestamp"], query["nonce"])
    return {one.tag: one.text or "" for one in ElementTree.fromstring(text)}


def customer(sandbox: Sandbox, corp: dict[str, Any], userid: str = "lina", **more: Any) -> dict[str, Any]:
    person = sandbox.person(**more)
    sandbox.act(person, "add_contact", account=corp["key"], userid=userid)
    return person


def test_the_token_is_the_same_while_it_lives(sandbox: Sandbox, corp: dict[str, Any]) -> None:
    asked = {"corpid": corp["corpid"], "corpsecret": corp["secret"]}
    url = f"{sandbox.base}/cgi-bin/gettoken"
    first, second = (requests.get(url, params=asked, timeout=10).json() for _ in range(2))
    assert first["access_token"] == second["access_token"]
    assert (first["errcode"], first["expires_in"]) == (0, 7200)
    wrong = requests.get(url, params={**asked, "corpsecret": "x"}, timeout=10)
    assert wrong.json()["errcode"] == 40001
    assert "devtool/query?e=40001" in wrong.json()["errmsg"]
    assert wrong.headers["error-code"] == "40001"
    sandbox.advance(7201)
    assert requests.get(url, params=asked, timeout=10).json()["access_token"] != first["access_token"]


def test_the_two_platforms_do_not_mix(
    sandbox: Sandbox, corp: dict[str, Any], client: Any, oa_client: Any
) -> None:
    assert refusal(client.get, "tags/get") == 48002
    assert refusal(oa_client(sandbox.account()).get, "externalcontact/get_follow_user_list") == 48001


def test_customers_and_their_details(sandbox: Sandbox, corp: dict[str, Any], client: Any) -> None:
    contact = client.external_contact
    assert set(contact.get_follow_user_list()["follow_user"]) == {"lina", "wangwei", "zhaomin"}
    assert refusal(contact.list, "lina") == 84061
    assert refusal(contact.list, "nobody") == 40003
    person = customer(sandbox, corp, name="思思")
    external = person["external_userid"]
    assert contact.list("lina")["external_userid"] == [external]
    details = contact.get(external)
    assert details["external_contact"]["name"] == "思思"
    assert details["external_contact"]["unionid"] == person["unionid"]
    assert details["follow_user"][0]["userid"] == "lina"
    assert refusal(contact.get, "wmunknown") == 40096
    page = client.post("externalcontact/batch/get_by_user", data={"userid_list": ["lina"], "limit": 100})
    assert page["external_contact_list"][0]["follow_info"]["tag_id"] == []
    assert page["next_cursor"] == ""
    assert contact.batch_get_by_user("lina")["external_contact_list"][0]["external_contact"]["name"] == "思思"
    too_many = {"userid_list": ["lina"] * 101}
    assert refusal(client.post, "externalcontact/batch/get_by_user", data=too_many) == 40058
    remark = {
        "userid": "lina",
        "external_userid": external,
        "remark": "老朋友",
        "remark_mobiles": ["13800000001"],
    }
    client.post("externalcontact/remark", data=remark)
    assert contact.get(external)["follow_user"][0]["remark"] == "老朋友"
    assert refusal(client.post, "externalcontact/remark", data={**remark, "remark": "长" * 21}) == 40058


def test_pages_of_customers_end_with_an_empty_cursor(
    sandbox: Sandbox, corp: dict[str, Any], client: Any
) -> None:
    made = [customer(sandbox, corp)["external_userid"] for _ in range(5)]
    seen, cursor = [], ""
    for _ in range(5):
        body = {"userid_list": ["lina"], "limit": 2, "cursor": cursor}
        page = client.post("externalcontact/batch/get_by_user", data=body)
        seen += [one["external_contact"]["external_userid"] for one in page["external_contact_list"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert seen == made


def test_tags_are_made_marked_and_deleted(
    sandbox: Sandbox, corp: dict[str, Any], client: Any, shop: Shop
) -> None:
    contact = client.external_contact
    person = customer(sandbox, corp)
    sandbox.flush()
    shop.received.clear()
    made = contact.add_corp_tag(None, "香调", 1, [{"name": "木质"}, {"name": "花香"}])["tag_group"]
    ids = [tag["id"] for tag in made["tag"]]
    assert refusal(contact.add_corp_tag, made["group_id"], None, 1, [{"name": "木质"}]) == 40071
    contact.mark_tag("lina", person["external_userid"], add_tag=ids)
    tags = contact.get(person["external_userid"])["follow_user"][0]["tags"]
    assert [tag["tag_name"] for tag in tags] == ["木质", "花香"]
    contact.mark_tag("lina", person["external_userid"], remove_tag=ids[:1])
    assert refusal(contact.mark_tag, "lina", person["external_userid"], add_tag=["etunknown"]) == 40068
    assert refusal(contact.mark_tag, "wangwei", person["external_userid"], add_tag=ids) == 84061
    body = {"userid": "lina", "external_userid": person["external_userid"]}
    assert refusal(client.post, "externalcontact/mark_tag", data=body) == 40058
    contact.edit_corp_tag(ids[0], "木质香")
    assert contact.get_corp_tag_list([ids[0]])["tag_group"][0]["tag"][0]["name"] == "木质香"
    client.post("externalcontact/del_corp_tag", data={"tag_id": ids})
    assert client.post("externalcontact/get_corp_tag_list", data={"tag_id": []})["tag_group"] == []
    sandbox.flush()
    assert shop.received == [], "changes through the interface send no callbacks"


def test_a_contact_way_brings_its_state(
    sandbox: Sandbox, corp: dict[str, Any], client: Any, shop: Shop
) -> None:
    contact = client.external_contact
    way = contact.add_contact_way(1, 2, None, "门店", True, "store-9", user=["wangwei"])
    assert requests.get(way["qr_code"], timeout=10).content.startswith(b"\x89PNG")
    assert contact.get_contact_way(way["config_id"])["contact_way"]["state"] == "store-9"
    person = sandbox.person()
    sandbox.act(person, "add_contact", account=corp["key"], config_id=way["config_id"])
    sandbox.flush()
    event = opened(corp, shop.at(corp["key"])[0])
    assert (event["Event"], event["ChangeType"]) == ("change_external_contact", "add_external_contact")
    assert (event["UserID"], event["State"]) == ("wangwei", "store-9")
    assert event["ExternalUserID"] == person["external_userid"]
    assert contact.get(person["external_userid"])["follow_user"][0]["state"] == "store-9"
    listed = client.post("externalcontact/list_contact_way", data={})["contact_way"]
    assert listed == [{"config_id": way["config_id"]}]
    contact.del_contact_way(way["config_id"])
    assert refusal(contact.get_contact_way, way["config_id"]) == 41044
    bad = (
        {"scene": 2},
        {"type": 3, "scene": 2},
        {"type": 1},
        {"type": 1, "scene": 9},
        {"type": 1, "scene": 2},
    )
    codes = [refusal(client.post, "externalcontact/add_contact_way", data=one) for one in bad]
    assert codes == [41037, 41038, 41039, 41040, 40058]


def welcome_code(sandbox: Sandbox, corp: dict[str, Any], shop: Shop) -> tuple[str, dict[str, Any]]:
    person = customer(sandbox, corp)
    sandbox.flush()
    return opened(corp, shop.at(corp["key"])[-1])["WelcomeCode"], person


def test_a_welcome_code_lives_twenty_seconds_and_once(
    sandbox: Sandbox, corp: dict[str, Any], client: Any, shop: Shop
) -> None:
    link = {"msgtype": "link", "link": {"title": "新人礼", "url": "http://127.0.0.1/"}}
    welcome = {"text": {"content": "欢迎"}, "attachments": [link]}
    code, person = welcome_code(sandbox, corp, shop)
    sandbox.advance(19)
    client.external_contact.send_welcome_msg({**welcome, "welcome_code": code})
    assert [(one["channel"], one["kind"]) for one in sandbox.inbox(person)] == [
        ("welcome", "text"),
        ("welcome", "news"),
    ]
    assert refusal(client.external_contact.send_welcome_msg, {**welcome, "welcome_code": code}) == 41051
    late, _ = welcome_code(sandbox, corp, shop)
    sandbox.advance(21)
    assert refusal(client.external_contact.send_welcome_msg, {**welcome, "welcome_code": late}) == 41050
    assert refusal(client.external_contact.send_welcome_msg, {**welcome, "welcome_code": "x"}) == 41050
    assert refusal(client.external_contact.send_welcome_msg, welcome) == 41049
    too_many = {"welcome_code": late, "attachments": [link] * 10}
    assert refusal(client.external_contact.send_welcome_msg, too_many) == 41064


def mass(client: Any, **more: Any) -> dict[str, Any]:
    return client.external_contact.add_msg_template(
        {"chat_type": "single", "text": {"content": "上新"}, **more}
    )


def test_a_mass_message_waits_for_the_member(sandbox: Sandbox, corp: dict[str, Any], client: Any) -> None:
    anna, bea = customer(sandbox, corp), customer(sandbox, corp, "wangwei")
    gone = customer(sandbox, corp)
    externals = [one["external_userid"] for one in (anna, bea, gone)]
    task = mass(client, external_userid=[*externals, "wmunknown"])
    assert task["fail_list"] == ["wmunknown"]
    sandbox.act(gone, "delete_contact", account=corp["key"], userid="lina")
    assert sandbox.inbox(anna) == []
    post = client.post
    states = post("externalcontact/get_groupmsg_task", data={"msgid": task["msgid"]})["task_list"]
    assert {one["userid"]: one["status"] for one in states} == {"lina": 0, "wangwei": 0}
    sandbox.post(f"work_tasks/{task['msgid']}/confirm", userid="lina")
    assert [one["channel"] for one in sandbox.inbox(anna)] == ["work_mass"]
    assert sandbox.inbox(bea) == []
    states = post("externalcontact/get_groupmsg_task", data={"msgid": task["msgid"]})["task_list"]
    assert {one["userid"]: one["status"] for one in states} == {"lina": 2, "wangwei": 0}
    asked = {"msgid": task["msgid"], "userid": "lina"}
    results = post("externalcontact/get_groupmsg_send_result", data=asked)["send_list"]
    assert {one["external_userid"]: one["status"] for one in results} == {externals[0]: 1, externals[2]: 2}
    sandbox.post(f"work_tasks/{task['msgid']}/confirm", userid="lina")
    assert len(sandbox.inbox(anna)) == 1, "confirming twice sends once"
    for _ in range(3):
        post("externalcontact/remind_groupmsg_send", data={"msgid": task["msgid"]})
    assert refusal(post, "externalcontact/remind_groupmsg_send", data={"msgid": task["msgid"]}) == 41094
    post("externalcontact/cancel_groupmsg_send", data={"msgid": task["msgid"]})
    assert refusal(post, "externalcontact/cancel_groupmsg_send", data={"msgid": task["msgid"]}) == 41093
    sandbox.post(f"work_tasks/{task['msgid']}/confirm", expect=409, userid="wangwei")
    assert refusal(mass, client, external_userid=["wmunknown"]) == 41048
    assert refusal(post, "externalcontact/get_groupmsg_task", data={"msgid": "x"}) == 41047


def test_a_customer_gets_it_from_whom_she_talked_with_last(
    sandbox: Sandbox, corp: dict[str, Any], client: Any
) -> None:
    person = customer(sandbox, corp, "lina")
    sandbox.advance(10)
    sandbox.act(person, "add_contact", account=corp["key"], userid="wangwei")
    sandbox.advance(10)
    sandbox.act(person, "message", account=corp["key"], userid="lina", text="在吗")
    task = mass(client, external_userid=[person["external_userid"]])
    states = client.post("externalcontact/get_groupmsg_task", data={"msgid": task["msgid"]})["task_list"]
    assert [one["userid"] for one in states] == ["lina"]


def test_mass_messages_stop_at_the_cap_of_the_month(
    sandbox: Sandbox, corp: dict[str, Any], client: Any
) -> None:
    person = customer(sandbox, corp)
    now = datetime.fromisoformat(sandbox.get("clock")["beijing"])
    days = calendar.monthrange(now.year, now.month)[1]
    statuses = []
    for _ in range(days + 1):
        task = mass(client, external_userid=[person["external_userid"]])
        sandbox.post(f"work_tasks/{task['msgid']}/confirm", all=True)
        asked = {"msgid": task["msgid"], "userid": "lina"}
        result = client.post("externalcontact/get_groupmsg_send_result", data=asked)
        statuses.append(result["send_list"][0]["status"])
    assert statuses == [1] * days + [3]
    assert len(sandbox.inbox(person)) == days


def test_a_daily_cap_can_be_chosen(sandbox: Sandbox, work_client: Any) -> None:
    corp = sandbox.account("work", work_mass_cap="day")
    client, person = work_client(corp), customer(sandbox, corp)
    for _ in range(2):
        task = mass(client, external_userid=[person["external_userid"]])
        sandbox.post(f"work_tasks/{task['msgid']}/confirm", all=True)
    assert len(sandbox.inbox(person)) == 1


def test_groups_and_their_events(sandbox: Sandbox, corp: dict[str, Any], client: Any, shop: Shop) -> None:
    group = sandbox.post("groups", account=corp["key"], name="闻香群", owner="lina")
    sandbox.flush()  # what is on its way at the same moment may overtake each other
    person = sandbox.person(name="思思")
    sandbox.act(person, "join_group", chat_id=group["chat_id"], state="poster-3")
    sandbox.flush()
    events = [opened(corp, one) for one in shop.at(corp["key"])]
    assert [one["ChangeType"] for one in events] == ["create", "update"]
    assert (events[1]["UpdateDetail"], events[1]["JoinScene"], events[1]["MemChangeCnt"]) == (
        "add_member",
        "3",
        "1",
    )
    listed = client.external_contact_group_chat.list(0, ["lina"], "", 10)
    assert listed["group_chat_list"] == [{"chat_id": group["chat_id"], "status": 0}]
    details = client.post("externalcontact/groupchat/get", data={"chat_id": group["chat_id"], "need_name": 1})
    members = details["group_chat"]["member_list"]
    assert [(one["type"], one["name"]) for one in members] == [(1, "李娜"), (2, "思思")]
    assert members[1]["state"] == "poster-3"
    assert details["group_chat"]["member_version"] == events[1]["CurMemVer"]
    assert refusal(client.post, "externalcontact/groupchat/list", data={}) == 40058
    assert refusal(client.post, "externalcontact/groupchat/get", data={"chat_id": "x"}) == 90501
    task = client.external_contact.add_msg_template(
        {"chat_type": "group", "sender": "lina", "text": {"content": "群福利"}}
    )
    sandbox.post(f"work_tasks/{task['msgid']}/confirm", userid="lina")
    assert sandbox.inbox(person)[0]["chat_id"] == group["chat_id"]
    sandbox.act(person, "leave_group", chat_id=group["chat_id"])
    sandbox.flush()
    assert opened(corp, shop.at(corp["key"])[-1])["UpdateDetail"] == "del_member"
    sandbox.delete(f"groups/{group['chat_id']}")
    assert client.post("externalcontact/groupchat/list", data={"limit": 10})["group_chat_list"] == []


def test_deleting_on_either_side(sandbox: Sandbox, corp: dict[str, Any], client: Any, shop: Shop) -> None:
    person = customer(sandbox, corp)
    sandbox.act(person, "delete_contact", account=corp["key"], userid="lina")
    sandbox.flush()
    assert opened(corp, shop.at(corp["key"])[-1])["ChangeType"] == "del_follow_user"
    sandbox.act(person, "add_contact", account=corp["key"], userid="lina")
    sandbox.act(person, "delete_contact", account=corp["key"], userid="lina", by="guide")
    sandbox.flush()
    assert opened(corp, shop.at(corp["key"])[-1])["ChangeType"] == "del_external_contact"
    assert refusal(client.external_contact.get, person["external_userid"]) == 84061
