"""Members and who they are; stores and staff."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Store(models.Model):
    code = models.SlugField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=80)
    address = models.CharField(_("address"), max_length=200, blank=True)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("store")
        verbose_name_plural = _("stores")

    def __str__(self) -> str:
        return self.name


class Staff(models.Model):
    """A guide or other member of the enterprise; may have a login to the admin."""

    work_userid = models.CharField(_("WeCom userid"), max_length=64, unique=True, null=True, blank=True)
    name = models.CharField(_("name"), max_length=80)
    store = models.ForeignKey(Store, models.PROTECT, null=True, blank=True, related_name="staff", verbose_name=_("store"))
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="staff", verbose_name=_("login")
    )
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("guide")
        verbose_name_plural = _("guides")

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """One person. Her identities say how she is reached; MemberStats what she did."""

    name = models.CharField(_("name"), max_length=80, blank=True)
    avatar_url = models.URLField(_("avatar"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("member since"))

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"
