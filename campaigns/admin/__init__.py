"""The marketing pages of the admin, split by noun."""

from campaigns.admin.broadcasts import BroadcastAdmin
from campaigns.admin.recipients import BroadcastRecipientAdmin
from campaigns.admin.win_back import WinBackRuleAdmin, WinBackSpellAdmin

__all__ = ["BroadcastAdmin", "BroadcastRecipientAdmin", "WinBackRuleAdmin", "WinBackSpellAdmin"]
