"""Invoices (发票) that shoppers ask for."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.files import PrivateStorage


class Invoice(models.Model):
    """A request for an invoice of one order, and the invoice once staff has issued it elsewhere."""

    PERSON, COMPANY = "person", "company"
    KINDS = [(PERSON, _("person")), (COMPANY, _("company"))]
    REQUESTED, ISSUED, REFUSED = "requested", "issued", "refused"
    STATUSES = [(REQUESTED, _("to be issued")), (ISSUED, _("issued")), (REFUSED, _("refused"))]

    order = models.ForeignKey("shop.Order", models.PROTECT, related_name="invoices", verbose_name=_("order"))
    kind = models.CharField(_("made out to"), max_length=8, choices=KINDS)
    title = models.CharField(_("invoice title"), max_length=100)
    tax_number = models.CharField(_("tax number"), max_length=20, blank=True)
    email = models.EmailField(_("e-mail"), max_length=120, blank=True)
    amount_fen = models.BigIntegerField(_("amount"))
    status = models.CharField(_("status"), max_length=10, choices=STATUSES, default=REQUESTED)
    number = models.CharField(_("invoice number"), max_length=30, blank=True)
    file = models.FileField(
        _("PDF"), upload_to="invoices/%Y/%m/", storage=PrivateStorage(), max_length=200, blank=True
    )
    answer = models.CharField(_("why refused"), max_length=200, blank=True)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    requested_at = models.DateTimeField(_("requested at"))
    answered_at = models.DateTimeField(_("processed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        constraints = [
            models.UniqueConstraint(
                fields=["order"], condition=~Q(status="refused"), name="an_order_has_one_invoice"
            ),
            models.UniqueConstraint(
                fields=["number"], condition=~Q(number=""), name="invoice_number_is_used_once"
            ),
            models.CheckConstraint(
                condition=~Q(status="issued") | ~Q(number=""), name="issued_invoice_has_its_number"
            ),
            models.CheckConstraint(
                condition=Q(kind="person") | ~Q(tax_number=""), name="company_invoice_has_a_tax_number"
            ),
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="invoice_is_positive"),
        ]
        indexes = [models.Index(fields=["status", "-requested_at"], name="invoices_by_status")]

    def __str__(self) -> str:
        return f"{self.title} {self.number}".strip()

    @property
    def is_reversed(self) -> bool:
        """It had been issued, and was taken back by a red invoice (红冲)."""
        return self.status == self.REFUSED and self.number != ""
