"""What a key of the REST interface may do, on one page: scope → its name for people, and the staff permission that
opens the same reading to a logged-in colleague.
"""

from typing import Any

from django.utils.translation import gettext_lazy as _

SCOPES: dict[str, tuple[Any, str]] = {
    "members:read": (_("Read members"), "crm.view_member"),
    "members:write": (_("Change members"), ""),
    "members:phone": (_("See full phone numbers"), "crm.view_phone"),
    "products:read": (_("Read products"), "shop.view_product"),
    "stock:read": (_("Read stock"), "shop.view_stock"),
    "stock:write": (_("Change stock"), ""),
    "orders:read": (_("Read orders"), "shop.view_order"),
    "orders:write": (_("Ship orders"), ""),
    "sales:write": (_("Report sales of stores"), ""),
}

WHOLE_PHONES = "whole_phones"
"""The name under which a request carries how many whole phone numbers its answer shows."""


def scope_for_permission(permission: str) -> str | None:
    """The scope that stands for a staff permission, so that queries can ask a key what they ask a colleague."""
    return next((scope for scope, (_name, given) in SCOPES.items() if given and given == permission), None)
