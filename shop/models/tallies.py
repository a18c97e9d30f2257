"""How often a member took something that each may take so often: one guarded number, so that the limit holds."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Tally(models.Model):
    """`subject` names what is limited ("recharge:3", "mall:7"). Written by `services.tallies` alone."""

    subject = models.CharField(_("about"), max_length=40)
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    taken = models.PositiveIntegerField(_("taken"), default=0)

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        constraints = [
            models.UniqueConstraint(fields=["subject", "member"], name="one_tally_per_subject_and_member")
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.member_id}: {self.taken}"
