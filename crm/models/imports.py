"""Files of members that were brought in."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core.uploads import ImportedFile


class MemberImport(ImportedFile):
    """One file of members brought in. `members` counts those of this file that Pond holds after the run, so a second
    run of the same file says the same. The mapping: crm.imports_mapping.
    """

    source = models.CharField(
        _("source"), max_length=32, help_text=_("The other system's name; it keeps its member numbers apart.")
    )

    class Meta:
        verbose_name = _("member import")
        verbose_name_plural = _("member imports")
        constraints = [
            models.CheckConstraint(
                condition=Q(rows=F("imported") + F("skipped") + F("refused")),
                name="every_row_of_a_member_import_has_its_verdict",
            )
        ]


class MemberImportLine(models.Model):
    """A row of a file that did not become a member, and why. What it says of a person is not kept."""

    SKIPPED, REFUSED = "skipped", "refused"
    VERDICTS = [(SKIPPED, _("skipped")), (REFUSED, _("refused"))]

    pk = models.CompositePrimaryKey("run_id", "number")
    run = models.ForeignKey(MemberImport, models.CASCADE, db_index=False, related_name="lines")
    number = models.BigIntegerField(_("line"))
    verdict = models.CharField(_("verdict"), max_length=8, choices=VERDICTS)
    reason = models.CharField(_("reason"), max_length=32)
    external_id = models.CharField(_("member number"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("imported row")
        verbose_name_plural = _("imported rows")

    def __str__(self) -> str:
        return f"{self.run_id}:{self.number}"
