"""Refusals of the community room."""

from django.utils.translation import gettext as _

from core.errors import Conflict, Refusal


class NoWorkAccount(Refusal):
    """Groups come from WeCom, and no WeCom account is connected."""

    code = "no_work_account"

    def __init__(self) -> None:
        super().__init__(_("No WeCom account is connected. Add one under WeChat → Accounts first."))


class SyncRunning(Conflict):
    """A sync of this account is queued or running already."""

    code = "sync_running"

    def __init__(self) -> None:
        super().__init__(_("A sync is already running. Watch its progress instead of starting another."))
