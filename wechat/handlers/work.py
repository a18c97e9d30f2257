"""Events of WeCom (contract B14). They get lost, repeat and change order: hints to read again, not truths."""

from collections.abc import Callable

from core.events import publish
from wechat import events
from wechat.handlers.base import created_at, fields_of, text
from wechat.models import Notice


def add_contact(notice: Notice) -> None:
    fields = fields_of(notice)
    external_userid = text(fields, "ExternalUserID")
    publish(
        events.ContactAdded(
            account_id=notice.account_id,
            userid=text(fields, "UserID"),
            external_userid=external_userid,
            state=text(fields, "State"),
            welcome_code=text(fields, "WelcomeCode"),
            at=created_at(fields),
        ),
        key=f"external_userid:{external_userid}",
    )


def edit_contact(notice: Notice) -> None:
    fields = fields_of(notice)
    external_userid = text(fields, "ExternalUserID")
    publish(
        events.ContactEdited(
            account_id=notice.account_id,
            userid=text(fields, "UserID"),
            external_userid=external_userid,
            at=created_at(fields),
        ),
        key=f"external_userid:{external_userid}",
    )


def remove_contact(notice: Notice) -> None:
    fields = fields_of(notice)
    external_userid = text(fields, "ExternalUserID")
    publish(
        events.ContactRemoved(
            account_id=notice.account_id,
            userid=text(fields, "UserID"),
            external_userid=external_userid,
            by="customer" if text(fields, "ChangeType").lower() == "del_follow_user" else "staff",
            at=created_at(fields),
        ),
        key=f"external_userid:{external_userid}",
    )


def change_group(notice: Notice) -> None:
    fields = fields_of(notice)
    chat_id = text(fields, "ChatId")
    publish(
        events.GroupChanged(
            account_id=notice.account_id,
            chat_id=chat_id,
            change=text(fields, "ChangeType").lower(),
            detail=text(fields, "UpdateDetail"),
            at=created_at(fields),
        ),
        key=f"chat:{chat_id}",
    )


def change_tag(notice: Notice) -> None:
    fields = fields_of(notice)
    publish(
        events.WorkTagChanged(
            account_id=notice.account_id,
            tag_id=text(fields, "Id"),
            change=text(fields, "ChangeType").lower(),
            at=created_at(fields),
        ),
        key=f"work_tag:{text(fields, 'Id')}",
    )


WORK: dict[str, Callable[[Notice], None]] = {
    "change_external_contact.add_external_contact": add_contact,
    "change_external_contact.add_half_external_contact": add_contact,
    "change_external_contact.edit_external_contact": edit_contact,
    "change_external_contact.del_external_contact": remove_contact,
    "change_external_contact.del_follow_user": remove_contact,
    "change_external_chat.create": change_group,
    "change_external_chat.update": change_group,
    "change_external_chat.dismiss": change_group,
    "change_external_tag.create": change_tag,
    "change_external_tag.update": change_tag,
    "change_external_tag.delete": change_tag,
    "change_external_tag.shuffle": change_tag,
}
