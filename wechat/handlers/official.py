"""Messages and events of official accounts (contract A5)."""

from collections.abc import Callable

from core.events import publish
from wechat import events
from wechat.envelopes import as_list
from wechat.handlers.base import created_at, fields_of, text
from wechat.models import Notice, ReplyWindow
from wechat.outbound import results, windows


def receive_message(notice: Notice) -> None:
    fields = fields_of(notice)
    openid, at = text(fields, "FromUserName"), created_at(fields)
    windows.open_reply_window(account_id=notice.account_id, openid=openid, trigger=ReplyWindow.MESSAGE, at=at)
    publish(
        events.MessageReceived(
            account_id=notice.account_id,
            openid=openid,
            msg_type=text(fields, "MsgType"),
            text=text(fields, "Content") or text(fields, "Recognition") or text(fields, "Label"),
            msg_id=text(fields, "MsgId"),
            at=at,
        ),
        key=f"openid:{openid}",
    )


def follow(notice: Notice) -> None:
    fields = fields_of(notice)
    openid, at = text(fields, "FromUserName"), created_at(fields)
    event_key = text(fields, "EventKey")
    scene = event_key.removeprefix("qrscene_") if event_key.startswith("qrscene_") else ""
    windows.open_reply_window(account_id=notice.account_id, openid=openid, trigger=ReplyWindow.FOLLOW, at=at)
    publish(
        events.Followed(account_id=notice.account_id, openid=openid, scene=scene, at=at),
        key=f"openid:{openid}",
    )


def unfollow(notice: Notice) -> None:
    fields = fields_of(notice)
    openid, at = text(fields, "FromUserName"), created_at(fields)
    windows.close_reply_windows(account_id=notice.account_id, openid=openid, at=at)
    publish(events.Unfollowed(account_id=notice.account_id, openid=openid, at=at), key=f"openid:{openid}")


def scan(notice: Notice) -> None:
    fields = fields_of(notice)
    openid, at = text(fields, "FromUserName"), created_at(fields)
    windows.open_reply_window(account_id=notice.account_id, openid=openid, trigger=ReplyWindow.SCAN, at=at)
    publish(
        events.Scanned(
            account_id=notice.account_id,
            openid=openid,
            scene=text(fields, "EventKey").removeprefix("qrscene_"),
            at=at,
        ),
        key=f"openid:{openid}",
    )


def click_menu(notice: Notice) -> None:
    """CLICK and the scan buttons open a window; following a link (VIEW) does not."""
    fields = fields_of(notice)
    openid, at = text(fields, "FromUserName"), created_at(fields)
    if text(fields, "Event").lower() not in ("view", "view_miniprogram"):
        windows.open_reply_window(
            account_id=notice.account_id, openid=openid, trigger=ReplyWindow.MENU, at=at
        )
    publish(
        events.MenuClicked(account_id=notice.account_id, openid=openid, key=text(fields, "EventKey"), at=at),
        key=f"openid:{openid}",
    )


def answer_subscription(notice: Notice) -> None:
    """The popup's answers, and refusals in the settings; each template is one answer."""
    fields = fields_of(notice)
    openid, at = text(fields, "FromUserName"), created_at(fields)
    answers = as_list(
        (fields.get("SubscribeMsgPopupEvent") or fields.get("SubscribeMsgChangeEvent") or {}).get("List")
    )
    for answer in answers:
        template_id = text(answer, "TemplateId")
        accepted = text(answer, "SubscribeStatusString") == "accept"
        if text(fields, "Event").lower() == "subscribe_msg_popup_event" and not accepted:
            # "Not this time" takes nothing away that was accepted before.
            pass
        elif accepted:
            windows.accept_subscription(
                account_id=notice.account_id, openid=openid, template_id=template_id, at=at
            )
        else:
            windows.refuse_subscription(
                account_id=notice.account_id, openid=openid, template_id=template_id, at=at
            )
        publish(
            events.SubscriptionAnswered(
                account_id=notice.account_id, openid=openid, template_id=template_id, accepted=accepted, at=at
            ),
            key=f"openid:{openid}",
        )


def finish_template(notice: Notice) -> None:
    """`failed:user block`, `failed: system failed` (the space differs) or `success`."""
    fields = fields_of(notice)
    outcome = text(fields, "Status").replace(" ", "").lower()
    if outcome == "success":
        return
    code = {"failed:userblock": "user_block"}.get(outcome, "system_failed")
    results.fail_delivered(
        account_id=notice.account_id, platform_id=text(fields, "MsgID") or text(fields, "MsgId"), code=code
    )


def finish_subscription(notice: Notice) -> None:
    fields = fields_of(notice)
    for sent in as_list((fields.get("SubscribeMsgSentEvent") or {}).get("List")):
        if text(sent, "ErrorCode") not in ("", "0"):
            results.fail_delivered(
                account_id=notice.account_id, platform_id=text(sent, "MsgID"), code=text(sent, "ErrorCode")
            )


def finish_mass(notice: Notice) -> None:
    fields = fields_of(notice)
    results.finish_mass(
        account_id=notice.account_id,
        platform_id=text(fields, "MsgID") or text(fields, "MsgId"),
        status=text(fields, "Status"),
        counts={
            name: int(text(fields, name) or 0)
            for name in ("TotalCount", "FilterCount", "SentCount", "ErrorCount")
        },
    )


OFFICIAL: dict[str, Callable[[Notice], None]] = {
    "message": receive_message,
    "event.subscribe": follow,
    "event.unsubscribe": unfollow,
    "event.scan": scan,
    "event.click": click_menu,
    "event.view": click_menu,
    "event.view_miniprogram": click_menu,
    "event.scancode_push": click_menu,
    "event.scancode_waitmsg": click_menu,
    "event.subscribe_msg_popup_event": answer_subscription,
    "event.subscribe_msg_change_event": answer_subscription,
    "event.subscribe_msg_sent_event": finish_subscription,
    "event.templatesendjobfinish": finish_template,
    "event.masssendjobfinish": finish_mass,
}
