"""What rows of files that people bring in share."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from core.files import PrivateStorage


class UploadedFile(models.Model):
    """A file, the `core.Job` that works through it, and who brought it."""

    file_name = models.CharField(_("file name"), max_length=200, blank=True)
    job = models.ForeignKey(
        "core.Job", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("job")
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        abstract = True


class ImportedFile(UploadedFile):
    """One file of another system brought in, with the counts of what became of its rows; a subclass adds `source`.

    `columns` is the mapping. Every row that was read has one verdict.
    """

    file = models.FileField(
        _("file"), upload_to="imports/%Y/%m/", storage=PrivateStorage(), max_length=200, blank=True
    )
    file_hash = models.CharField(max_length=64, blank=True, editable=False)
    columns = models.JSONField(_("columns"), default=dict, blank=True)
    rows = models.BigIntegerField(_("rows read"), default=0)
    imported = models.BigIntegerField(_("rows imported"), default=0)
    skipped = models.BigIntegerField(_("rows skipped"), default=0)
    refused = models.BigIntegerField(_("rows refused"), default=0)
    members = models.BigIntegerField(_("members"), default=0)
    seconds = models.FloatField(_("seconds"), default=0)
    report = models.FileField(
        _("report"), upload_to="imports/%Y/%m/", storage=PrivateStorage(), max_length=200, blank=True
    )
    created_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    source: "models.CharField[str, str]"

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.source} #{self.pk}"
