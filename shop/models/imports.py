"""Files of another shop's history that were brought in."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.uploads import ImportedFile


class ImportRun(ImportedFile):
    """One file of orders brought in. `members`, `products` and `orders` count those of this file that Pond holds after
    the run, so a second run of the same file says the same. The mapping: shop.imports.mapping.
    """

    source = models.CharField(
        _("source"), max_length=32, help_text=_("The other shop's name; orders get the channel import:NAME.")
    )
    currency = models.CharField(
        _("currency"),
        max_length=3,
        default="CNY",
        help_text=_("Of the file's amounts; nothing is converted."),
    )
    products = models.BigIntegerField(_("products"), default=0)
    orders = models.BigIntegerField(_("orders"), default=0)

    class Meta:
        verbose_name = _("order import")
        verbose_name_plural = _("order imports")


class ImportLine(models.Model):
    """One line of a file with its verdict: the staging table, the report, and the memory that makes a second run
    harmless (an imported line is known by `fingerprint` and `occurrence`, whatever file brings it again).
    """

    WAITING, IMPORTED, SKIPPED, REFUSED = "waiting", "imported", "skipped", "refused"
    VERDICTS = [
        (WAITING, _("waiting")),
        (IMPORTED, _("imported")),
        (SKIPPED, _("skipped")),
        (REFUSED, _("refused")),
    ]
    GOODS, SHIPPING, CANCELLATION, NOTHING = "goods", "shipping", "cancellation", ""

    run = models.ForeignKey(ImportRun, models.CASCADE, db_index=False, related_name="lines")
    number = models.BigIntegerField(_("line"))
    source = models.CharField(_("source"), max_length=32)
    kind = models.CharField(_("kind"), max_length=12, blank=True)
    verdict = models.CharField(_("verdict"), max_length=8, choices=VERDICTS)
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    order_number = models.CharField(_("order number"), max_length=80, blank=True)
    code = models.CharField(_("SKU code"), max_length=64, blank=True)
    name = models.CharField(_("product"), max_length=200, blank=True)
    quantity = models.IntegerField(_("quantity"), default=0)
    price = models.BigIntegerField(
        _("unit price"), default=0, help_text=_("In the currency's smallest unit.")
    )
    placed_at = models.DateTimeField(_("placed at"), null=True)
    customer = models.CharField(_("customer"), max_length=80, blank=True)
    fingerprint = models.UUIDField(null=True)
    occurrence = models.IntegerField(default=1)
    order = models.ForeignKey(
        "shop.Order", models.DO_NOTHING, null=True, db_index=False, db_constraint=False, related_name="+"
    )
    given_back = models.IntegerField(_("given back"), default=0)

    class Meta:
        verbose_name = _("imported line")
        verbose_name_plural = _("imported lines")
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="import_line_once_per_run"),
            models.UniqueConstraint(
                fields=["source", "fingerprint", "occurrence"],
                condition=Q(verdict="imported"),
                name="line_is_imported_once_per_source",
            ),
            models.CheckConstraint(
                condition=Q(given_back__gte=0) & (Q(given_back=0) | Q(given_back__lte=models.F("quantity"))),
                name="import_gives_back_only_what_was_bought",
            ),
        ]
        indexes = [
            models.Index(
                fields=["run", "order_number"], name="import_waiting", condition=Q(verdict="waiting")
            ),
            models.Index(
                fields=["source", "customer", "code"],
                name="import_cancellable",
                condition=Q(verdict="imported", kind="goods") & ~Q(customer=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.number}"
