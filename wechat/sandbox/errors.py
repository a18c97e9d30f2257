"""Refusals in the vendors' own codes and shapes."""

from __future__ import annotations

import secrets

OA_TEXT = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40007: "invalid media_id",
    40008: "invalid message type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40029: "invalid code",
    40030: "invalid refresh_token",
    40031: "invalid openid list",
    40032: "invalid openid list size",
    40035: "invalid parameter",
    40037: "invalid template_id",
    40050: "invalid groupid",
    40054: "invalid sub button url domain",
    40125: "invalid appsecret",
    40163: "code been used",
    40164: "invalid ip, not in whitelist",
    40200: "invalid account type",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    42001: "access_token expired",
    42002: "refresh_token expired",
    43004: "require subscribe",
    43019: "user is in blacklist",
    43101: "user refuse to accept the msg",
    44002: "empty post data",
    45002: "content size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45015: "response out of time limit or subscription is canceled",
    45028: "has no masssend quota",
    45047: "out of response count limit",
    45056: "tag num limit exceeded",
    45057: "can't delete the tag that has too many fans",
    45058: "can't modify sys tag",
    45059: "can't add too many tags to one fan",
    45065: "clientmsgid exist",
    45066: "same clientmsgid retry too fast",
    45067: "clientmsgid size out of limit",
    45157: "invalid tag name",
    45158: "tag name too long",
    45159: "invalid tag id",
    46003: "menu no exist",
    46004: "user no exist",
    47001: "data format error",
    47003: "argument invalid",
    48001: "api unauthorized",
    48002: "user block receive message",
    48006: "forbid to clear quota because of reaching the limit",
    50005: "user is unsubscribed",
    61451: "invalid parameter",
    65303: "there is no selfmenu, please create selfmenu first",
    65320: "matchrule is not supported",
}

WORK_TEXT = {
    -1: "system busy",
    40001: "invalid credential",
    40003: "invalid userid",
    40007: "invalid media_id",
    40013: "invalid corpid",
    40014: "invalid access_token",
    40029: "invalid code",
    40056: "invalid agentid",
    40058: "invalid Request Parameter",
    40068: "invalid tagid",
    40071: "tag name already existed",
    40072: "invalid tag name length",
    40096: "invalid external userid",
    41001: "access_token missing",
    41035: "missing external_userid",
    41037: "missing contact way type",
    41038: "invalid contact way type",
    41039: "missing contact way scene",
    41040: "invalid contact way scene",
    41041: "contact way users exceed the limit",
    41043: "missing config_id",
    41044: "invalid config_id",
    41046: "missing msgid",
    41047: "invalid msgid",
    41048: "no customer to send",
    41049: "missing welcome code",
    41050: "invalid welcome code, or it is older than 20 seconds",
    41051: "chat has been started, welcome message can not be sent",
    41063: "mass message is being dispatched",
    41064: "too many attachments",
    41065: "invalid attachment type",
    41093: "mass task has been cancelled",
    41094: "reminder too frequent",
    42001: "access_token expired",
    44002: "empty post data",
    45009: "api freq out of limit",
    47001: "data format error",
    48002: "API forbidden",
    50100: "invalid cursor",
    60111: "userid not found",
    81013: "user & party & tag all invalid",
    81017: "too much data",
    84061: "not external contact",
    84074: "no permission of external contact",
    90501: "not a customer group",
}


class ApiError(Exception):
    """An errcode of Official Accounts or WeCom; answered with HTTP 200, as the vendors do."""

    def __init__(self, errcode: int, detail: str = "", **more: object) -> None:
        super().__init__(f"{errcode} {detail}")
        self.errcode = errcode
        self.detail = detail
        self.more = more

    def document(self, platform: str) -> dict[str, object]:
        """errcode and errmsg, in the shape of the platform ("oa" or "work")."""
        if platform == "work":
            text = self.detail or WORK_TEXT.get(self.errcode, "request refused")
            hint = secrets.randbelow(10**17)
            text += (
                f", hint: [{hint}], from ip: 127.0.0.1, more info at "
                f"https://open.work.weixin.qq.com/devtool/query?e={self.errcode}"
            )
        else:
            text = self.detail or OA_TEXT.get(self.errcode, "request refused")
            text += f" rid: {secrets.token_hex(4)}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
        return {"errcode": self.errcode, "errmsg": text, **self.more}


class PayError(Exception):
    """A refusal of WeChat Pay: HTTP status, code, message."""

    def __init__(self, status: int, code: str, message: str, detail: dict[str, object] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail

    def document(self) -> dict[str, object]:
        """code, message and perhaps detail."""
        shown: dict[str, object] = {"code": self.code, "message": self.message}
        return shown if self.detail is None else {**shown, "detail": self.detail}


class Refused(Exception):
    """A wrong call of the sandbox's own interface."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
