"""WeCom: members, customers, groups."""

from typing import Any

from wechat.gateway import addresses
from wechat.gateway.answers import ContactWay, WorkContact, WorkGroup, WorkGroupRow, WorkTagGroup
from wechat.gateway.work import WorkClient
from wechat.outbound import content
from wechat.queries import account


def work_follow_users(*, account_id: int) -> list[str]:
    """Members who may have customers."""
    return WorkClient(account(account_id)).follow_users()


def work_contacts(*, account_id: int, userid: str) -> list[str]:
    """external_userids of a member's customers."""
    return WorkClient(account(account_id)).contacts(userid)


def work_contact(*, account_id: int, external_userid: str) -> WorkContact:
    """A customer with the members who follow her."""
    return WorkClient(account(account_id)).contact(external_userid)


def send_work_welcome(
    *, account_id: int, welcome_code: str, text: str, link: dict[str, Any] | None = None
) -> None:
    """Greet a new customer at once; the code lives 20 seconds and works once. Raises CodeRejected.

    `link` is {"title", "url", "description"?, "image_url"?}. From an event handler queue it instead:
    `enqueue_message(channel="welcome", to=welcome_code, queue="fast", …)`.
    """
    WorkClient(account(account_id)).send_welcome(content.welcome_document(welcome_code, text, link))


def mark_work_tags(
    *,
    account_id: int,
    userid: str,
    external_userid: str,
    add: list[str] | None = None,
    remove: list[str] | None = None,
) -> None:
    """Change the enterprise tags that a member put on a customer; tag ids. Nothing to change: no call."""
    if add or remove:
        WorkClient(account(account_id)).mark_tags(
            userid=userid, external_userid=external_userid, add=add or [], remove=remove or []
        )


def work_tag_groups(*, account_id: int) -> list[WorkTagGroup]:
    """All enterprise tags by group; what was deleted is left out."""
    return [
        WorkTagGroup(
            name=str(group.get("group_name") or ""),
            tags=[
                (str(tag["id"]), str(tag.get("name") or ""))
                for tag in group.get("tag") or []
                if not tag.get("deleted")
            ],
            id=str(group.get("group_id") or ""),
        )
        for group in WorkClient(account(account_id)).tag_groups()
        if not group.get("deleted")
    ]


def add_work_tags(*, account_id: int, group_name: str, names: list[str]) -> dict[str, str]:
    """Make enterprise tags in a group, which is made when it is missing: name → tag id. Raises when one exists."""
    made = WorkClient(account(account_id)).add_tags(group_name=group_name, names=names)
    return {str(tag["name"]): str(tag["id"]) for tag in made.get("tag") or []}


def rename_work_tag(*, account_id: int, work_id: str, name: str) -> None:
    """Call an enterprise tag, or a group of them, otherwise. WeCom lets an app rename only what it has made."""
    WorkClient(account(account_id)).rename_tag(id=work_id, name=name)


def create_contact_way(*, account_id: int, userids: list[str], state: str, remark: str = "") -> ContactWay:
    """A code that makes people customers of these members; `state` (≤ 30 characters) comes back in the event."""
    return WorkClient(account(account_id)).create_contact_way(userids=userids, state=state, remark=remark)


def work_groups(*, account_id: int) -> list[WorkGroupRow]:
    return WorkClient(account(account_id)).groups()


def work_group(*, account_id: int, chat_id: str) -> WorkGroup:
    """A customer group with its members."""
    return WorkClient(account(account_id)).group(chat_id)


def agent_config(*, account_id: int, url: str) -> dict[str, str]:
    """corpid, agentid, timestamp, nonceStr, signature for `wx.agentConfig` of the page at `url`."""
    return WorkClient(account(account_id)).agent_config(url)


def work_sdk_urls(*, account_id: int) -> list[str]:
    """The scripts of WeCom's JS-SDK in their order (or the sandbox's stand-in)."""
    own = account(account_id).jssdk_url
    return [own] if own else list(addresses.WORK_JSSDK)


def work_login_url(*, account_id: int, redirect_uri: str, state: str) -> str:
    """Where to send a colleague's browser inside of WeCom; `state` comes back and must be compared. No network."""
    return WorkClient(account(account_id)).login_url(redirect_uri=redirect_uri, state=state)


def work_login_userid(*, account_id: int, code: str) -> str:
    """The userid of the member who came back with this code, "" for an outsider. Raises CodeRejected."""
    return WorkClient(account(account_id)).login_userid(code)
