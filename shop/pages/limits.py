"""Limits per order and per member in a shopper's words."""

from collections.abc import Iterable

from django.utils.translation import gettext as _

from shop import queries
from shop.queries.limits import Limit


def limit_words(limit: Limit) -> str:
    """For the product page: the limits, and how many are left for her."""
    parts = []
    if limit.per_member is not None:
        words = {"limit": limit.per_member, "left": limit.left}
        if not limit.taken:
            parts.append(_("Limited to %(limit)d per person") % words)
        elif limit.left:
            parts.append(_("Limited to %(limit)d per person, you may still buy %(left)d") % words)
        else:
            parts.append(_("Limited to %(limit)d per person, you have had yours") % words)
    if limit.per_order is not None:
        parts.append(_("At most %(limit)d in one order") % {"limit": limit.per_order})
    return " · ".join(parts)


def passed_limits(rows: Iterable[queries.CartRow]) -> dict[int, str]:
    """Product → what to say, where these rows together have more of it than her next order may."""
    limits: dict[int, Limit] = {}
    pieces: dict[int, int] = {}
    for row in rows:
        if row.limit_per_order is not None or row.limit_per_member is not None:
            limits[row.product_id] = Limit(
                row.product_id, row.product_name, row.limit_per_order, row.limit_per_member, row.bought
            )
            pieces[row.product_id] = pieces.get(row.product_id, 0) + row.quantity
    return {pk: _said(limit) for pk, limit in limits.items() if pieces[pk] > limit.most}


def _said(limit: Limit) -> str:
    if limit.most == 0:
        return _("Limited to %(limit)d per person, you have had yours") % {"limit": limit.per_member}
    if limit.left is not None and limit.left <= limit.most:
        words = {"limit": limit.per_member, "left": limit.left}
        return _("Limited to %(limit)d per person: you may still buy %(left)d") % words
    return _("At most %(limit)d in one order") % {"limit": limit.per_order}
