"""What products have in common and shoppers choose by: material, season, colour."""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class Attribute(models.Model):
    """A property such as 材质. One that is named like a dimension of SKUs (颜色) is filled from them by itself."""

    name = models.CharField(_("name"), max_length=20, unique=True)
    position = models.IntegerField(_("position"), default=0, help_text=_("Smaller comes first."))
    is_filter = models.BooleanField(
        _("filter"), default=True, help_text=_("Shoppers can narrow lists down with it.")
    )

    class Meta:
        verbose_name = _("attribute")
        verbose_name_plural = _("attributes")
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class AttributeValue(models.Model):
    """One of the values that an attribute can have: 真丝."""

    attribute = models.ForeignKey(
        Attribute, models.CASCADE, related_name="values", verbose_name=_("attribute")
    )
    name = models.CharField(_("value"), max_length=30)
    position = models.IntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("attribute value")
        verbose_name_plural = _("attribute values")
        ordering = ["attribute__position", "attribute_id", "position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["attribute", "name"], name="attribute_value_once"),
            models.CheckConstraint(condition=~Q(name=""), name="attribute_value_has_a_name"),
        ]

    def __str__(self) -> str:
        return f"{self.attribute.name}：{self.name}"
