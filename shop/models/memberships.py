"""What was promised when a membership's payment was made."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class MembershipSale(models.Model):
    """A membership as it was sold. Once paid it is `crm.Membership` with the cause `direct:<payment>`."""

    payment = models.OneToOneField(
        "shop.DirectPayment",
        models.PROTECT,
        primary_key=True,
        related_name="membership_sale",
        verbose_name=_("payment"),
    )
    plan = models.ForeignKey(
        "crm.MembershipPlan",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("membership plan"),
    )
    name = models.CharField(_("name"), max_length=40)
    tier = models.CharField(_("member tier"), max_length=40)
    days = models.PositiveSmallIntegerField(_("days"))

    class Meta:
        verbose_name = _("membership sale")
        verbose_name_plural = _("membership sales")
        constraints = [models.CheckConstraint(condition=Q(days__gte=1), name="membership_sale_has_days")]

    def __str__(self) -> str:
        return self.name
