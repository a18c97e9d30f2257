"""The base of every admin page, and the system's own pages."""

from core.admin import audit, history, jobs, ledger, outbox, tokens, users
from core.admin.base import BaseAdmin, ReadOnlyAdmin

__all__ = ["BaseAdmin", "ReadOnlyAdmin", "audit", "history", "jobs", "ledger", "outbox", "tokens", "users"]
