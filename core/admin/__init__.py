"""The base of every admin page, and the system's own pages."""

from core.admin import audit, history, jobs, ledger, outbox, tokens, users
from core.admin.base import BaseAdmin, ReadOnlyAdmin, StackedInline, TabularInline

__all__ = [
    "BaseAdmin",
    "ReadOnlyAdmin",
    "StackedInline",
    "TabularInline",
    "audit",
    "history",
    "jobs",
    "ledger",
    "outbox",
    "tokens",
    "users",
]
