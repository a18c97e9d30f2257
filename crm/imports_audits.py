"""Proof: a finished import of members accounts for every row."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


@audit_check(
    "crm.member_imports", gettext_lazy("Every row that did not become a member is kept with its reason")
)
def imports_account_for_every_row() -> Iterator[Finding]:
    found = rows(
        """
        SELECT run.id, run.skipped, run.refused FROM crm_memberimport run
        WHERE run.finished_at IS NOT NULL AND (run.skipped, run.refused) <> (
            SELECT count(*) FILTER (WHERE verdict = 'skipped'), count(*) FILTER (WHERE verdict = 'refused')
            FROM crm_memberimportline line WHERE line.run_id = run.id)
        ORDER BY 1 LIMIT 1000
        """
    )
    for run, skipped, refused in found:
        yield Finding(
            "crm.member_imports",
            f"import {run}",
            _("says %(skipped)s skipped and %(refused)s refused, its rows say otherwise")
            % {"skipped": skipped, "refused": refused},
        )
