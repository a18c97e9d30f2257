"""The proof of the segments' bitmaps."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check
from crm import bitmap_folding


@audit_check("crm.bitmaps", gettext_lazy("Segments' bitmaps are what members' rows say"))
def bitmaps_are_what_rows_say() -> Iterator[Finding]:
    """Of every member who has not changed since, each stored bitmap says what her rows say, both ways."""
    for dimension, value, member_ids in bitmap_folding.differences():
        some = ", ".join(map(str, member_ids[:5]))
        yield Finding(
            "crm.bitmaps",
            f"bitmap {dimension} {value}",
            _("wrong for %(count)d members: %(some)s") % {"count": len(member_ids), "some": some},
        )
