"""The brands whose goods the shop sells."""

import pghistory
from django.db import models
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class Brand(models.Model):
    """A name that shoppers look for. `aliases` are its other spellings, found by the search and never shown."""

    name = models.CharField(_("name"), max_length=60, unique=True)
    aliases = models.CharField(
        _("other spellings"), max_length=200, blank=True, help_text=_("Separated by spaces; found by search.")
    )
    logo = models.ImageField(_("logo"), upload_to="brands/", max_length=200, blank=True)
    story = models.TextField(_("story"), max_length=2000, blank=True)
    position = models.IntegerField(_("position"), default=0, help_text=_("Smaller comes first."))
    is_active = models.BooleanField(_("shown"), default=True)

    class Meta:
        verbose_name = _("brand")
        verbose_name_plural = _("brands")
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name
