"""Files with which operators change catalogue, prices and stock at once."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.files import PrivateStorage
from core.uploads import UploadedFile


class CatalogueFile(UploadedFile):
    """A file of SKUs: first looked at (what would be new, changed, refused), then, when an operator agrees, applied.

    `preview` holds the first differences: [[line, SKU code, verdict, text], …]; `report` all of them as CSV.
    """

    LOOKING, LOOKED, APPLYING, APPLIED, FAILED = "looking", "looked", "applying", "applied", "failed"
    STATUSES = [
        (LOOKING, _("being compared")),
        (LOOKED, _("compared, nothing written yet")),
        (APPLYING, _("being applied")),
        (APPLIED, _("applied")),
        (FAILED, _("not readable")),
    ]

    file = models.FileField(_("file"), upload_to="catalogue/%Y/%m/", storage=PrivateStorage(), max_length=200)
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=LOOKING)
    rows = models.PositiveIntegerField(_("rows read"), default=0)
    fresh = models.PositiveIntegerField(_("new"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    same = models.PositiveIntegerField(_("unchanged"), default=0)
    refused = models.PositiveIntegerField(_("refused"), default=0)
    preview = models.JSONField(default=list, blank=True, editable=False)
    problem = models.CharField(_("problem"), max_length=300, blank=True)
    report = models.FileField(
        _("report"), upload_to="catalogue/%Y/%m/", storage=PrivateStorage(), max_length=200, blank=True
    )
    created_at = models.DateTimeField(_("uploaded at"))
    applied_at = models.DateTimeField(_("written at"), null=True, blank=True)

    class Meta:
        verbose_name = _("catalogue file")
        verbose_name_plural = _("catalogue files")
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    rows=models.F("fresh") + models.F("changed") + models.F("same") + models.F("refused")
                ),
                name="catalogue_file_rows_have_one_verdict",
            )
        ]

    def __str__(self) -> str:
        return f"{self.file_name} #{self.pk}"
