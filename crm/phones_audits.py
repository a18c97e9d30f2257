"""Proof: no number is kept longer than its code counts, and none counts for more than it was tried."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.audits import Finding, audit_check, rows

SWEPT_WITHIN = timedelta(hours=1)


@audit_check(
    "crm.phone_claims", gettext_lazy("Numbers that wait for a code are forgotten when its time is over")
)
def open_claims_are_young() -> Iterator[Finding]:
    found = rows(
        "SELECT id FROM crm_phoneclaim WHERE (phone <> '' OR code <> '') AND expires_at < %s ORDER BY 1 LIMIT 1000",
        [clock.now() - SWEPT_WITHIN],
    )
    for (pk,) in found:
        yield Finding("crm.phone_claims", f"claim {pk}", _("its time is over, but the number is still kept"))
