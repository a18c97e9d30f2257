"""Files of another shop's history that were brought in."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class ImportRun(models.Model):
    """One file brought in, with the counts of what became of its rows. The work itself is a `core.Job`."""

    source = models.CharField(
        _("source"), max_length=32, help_text=_("The other shop's name; orders get the channel import:NAME.")
    )
    file = models.FileField(_("file"), upload_to="imports/%Y/%m/", max_length=200, blank=True)
    file_name = models.CharField(_("file name"), max_length=200, blank=True)
    currency = models.CharField(
        _("currency"), max_length=3, default="CNY", help_text=_("Of the file's amounts; nothing is converted.")
    )
    columns = models.JSONField(_("columns"), default=dict, blank=True)
    job = models.ForeignKey(
        "core.Job", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("job")
    )
    rows = models.BigIntegerField(_("rows read"), default=0)
    imported = models.BigIntegerField(_("rows imported"), default=0)
    skipped = models.BigIntegerField(_("rows skipped"), default=0)
    refused = models.BigIntegerField(_("rows refused"), default=0)
    members = models.BigIntegerField(_("new members"), default=0)
    products = models.BigIntegerField(_("new products"), default=0)
    orders = models.BigIntegerField(_("new orders"), default=0)
    seconds = models.FloatField(_("seconds"), default=0)
    report = models.FileField(_("report"), upload_to="imports/%Y/%m/", max_length=200, blank=True)
    created_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        verbose_name = _("order import")
        verbose_name_plural = _("order imports")

    def __str__(self) -> str:
        return f"{self.source} #{self.pk}"
