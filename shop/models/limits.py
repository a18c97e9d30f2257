"""How many pieces of a product a member has: the row on which its limit per member is guarded."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class ProductTally(models.Model):
    """Pieces of all SKUs of a limited product in a member's orders, less what was cancelled or given back.

    There are rows only for products that have a limit per member: a trigger counts them when the limit is set. Only
    `shop_take_limits`, `shop_give_back_limits` and `services.limits` write here.
    """

    product = models.ForeignKey(
        "shop.Product", models.CASCADE, related_name="tallies", verbose_name=_("product")
    )
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    taken = models.PositiveIntegerField(_("pieces bought"), default=0)

    class Meta:
        verbose_name = _("limited product of a member")
        verbose_name_plural = _("limited products of members")
        constraints = [
            models.UniqueConstraint(fields=["product", "member"], name="one_tally_per_product_and_member"),
            models.CheckConstraint(condition=Q(taken__gte=0), name="product_tally_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.product_id} {self.member_id}: {self.taken}"
