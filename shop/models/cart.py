"""What a member means to buy, and where it should go."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class CartLine(models.Model):
    """One SKU in a member's cart. `seen_price_fen` is what it cost when she put it in, to tell her of a change."""

    member = models.ForeignKey("crm.Member", models.CASCADE, related_name="+", verbose_name=_("member"))
    sku = models.ForeignKey("shop.Sku", models.CASCADE, related_name="cart_lines", verbose_name=_("SKU"))
    quantity = models.PositiveIntegerField(_("quantity"))
    is_selected = models.BooleanField(_("selected"), default=True)
    seen_price_fen = models.BigIntegerField(_("price when added"))
    added_at = models.DateTimeField(_("added at"))

    class Meta:
        verbose_name = _("cart line")
        verbose_name_plural = _("cart lines")
        constraints = [
            models.UniqueConstraint(fields=["member", "sku"], name="sku_once_per_cart"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1) & Q(quantity__lte=999), name="cart_quantity_within_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku_id} ×{self.quantity}"


class Address(models.Model):
    """Where a member's parcels go. At most one is her default."""

    member = models.ForeignKey("crm.Member", models.CASCADE, related_name="+", verbose_name=_("member"))
    receiver = models.CharField(_("receiver"), max_length=40)
    phone = models.CharField(_("phone"), max_length=20)
    province = models.CharField(_("province"), max_length=40)
    city = models.CharField(_("city"), max_length=40)
    district = models.CharField(_("district"), max_length=40, blank=True)
    street = models.CharField(_("street and house number"), max_length=200)
    postal_code = models.CharField(_("postal code"), max_length=10, blank=True)
    is_default = models.BooleanField(_("default"), default=False)
    used_at = models.DateTimeField(_("last used"))

    class Meta:
        verbose_name = _("address")
        verbose_name_plural = _("addresses")
        constraints = [
            models.UniqueConstraint(
                fields=["member"], condition=Q(is_default=True), name="one_default_address_per_member"
            )
        ]
        indexes = [models.Index(fields=["member", "-used_at"], name="address_of_member")]

    def __str__(self) -> str:
        return f"{self.receiver} {self.province}{self.city}"
