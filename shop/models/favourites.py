"""What a member wants to find again, and what she wants to hear of when it is back."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Favourite(models.Model):
    """A product that a member marked with a heart."""

    member = models.ForeignKey("crm.Member", models.CASCADE, related_name="+", verbose_name=_("member"))
    product = models.ForeignKey(
        "shop.Product", models.CASCADE, related_name="favourites", verbose_name=_("product")
    )
    added_at = models.DateTimeField(_("added at"))

    class Meta:
        verbose_name = _("favourite")
        verbose_name_plural = _("favourites")
        constraints = [models.UniqueConstraint(fields=["member", "product"], name="favourite_marked_once")]
        indexes = [models.Index(fields=["member", "-added_at"], name="favourites_of_member")]

    def __str__(self) -> str:
        return f"{self.member_id} {self.product_id}"


class StockNotice(models.Model):
    """A member wants to hear when a sold-out product can be bought again: told once, within the touch policy.

    `sku`: she waits for this variant; empty: for any. `due_at` is when the next look is due: a policy that defers moves
    it.
    """

    WAITING, TOLD, GIVEN_UP = "waiting", "told", "given_up"
    STATES = [
        (WAITING, _("waiting for stock")),
        (TOLD, _("told")),
        (GIVEN_UP, _("given up")),
    ]

    member = models.ForeignKey("crm.Member", models.CASCADE, related_name="+", verbose_name=_("member"))
    product = models.ForeignKey(
        "shop.Product", models.CASCADE, related_name="stock_notices", verbose_name=_("product")
    )
    sku = models.ForeignKey(
        "shop.Sku", models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("variant")
    )
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=WAITING)
    reason = models.CharField(_("reason"), max_length=24, blank=True)
    asked_at = models.DateTimeField(_("asked at"))
    due_at = models.DateTimeField(_("due at"))
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        verbose_name = _("back-in-stock notice")
        verbose_name_plural = _("back-in-stock notices")
        constraints = [
            models.UniqueConstraint(
                fields=["member", "product", "sku"],
                condition=Q(state="waiting"),
                nulls_distinct=False,
                name="stock_notice_asked_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "told", "given_up"]), name="stock_notice_state_is_known"
            ),
        ]
        indexes = [models.Index(fields=["due_at"], name="stock_notices_due", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.product} · {self.member}"
