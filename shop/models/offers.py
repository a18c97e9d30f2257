"""Offers: a special price of a SKU for so many pieces, who took them, and who waits for one."""

import pghistory
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


@pghistory.track(exclude=["taken"])
class Offer(models.Model):
    """A price with a quota. `taken` counts pieces in orders that are not given back; only `shop_place_orders` and
    `services.effects` write it, each time with a row of `OfferTake`.

    A flash, member or presale offer is open to every member, first_order only to who has not bought yet, once per
    person. A group offer is taken through its team alone: no ordinary checkout sees it.
    """

    FLASH, GROUP, MEMBER, PRESALE, FIRST_ORDER = "flash", "group", "member", "presale", "first_order"
    KINDS = [
        (FLASH, _("flash sale")),
        (GROUP, _("group buy")),
        (MEMBER, _("member offer")),
        (PRESALE, _("presale")),
        (FIRST_ORDER, _("first-order price")),
    ]

    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="offers", verbose_name=_("SKU"))
    kind = models.CharField(_("kind"), max_length=12, choices=KINDS, default=FLASH)
    name = models.CharField(_("name"), max_length=60, help_text=_("Shoppers see it."))
    price_fen = models.BigIntegerField(_("price (fen)"))
    quota = models.PositiveIntegerField(_("pieces in all"))
    taken = models.PositiveIntegerField(_("pieces taken"), default=0, editable=False)
    per_member_limit = models.PositiveIntegerField(_("pieces per member"), default=1)
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    is_active = models.BooleanField(_("switched on"), default=True)
    created_at = models.DateTimeField(_("created at"), editable=False)

    class Meta:
        verbose_name = _("offer")
        verbose_name_plural = _("offers")
        constraints = [
            models.CheckConstraint(
                condition=Q(taken__gte=0) & Q(taken__lte=F("quota")), name="offer_takes_at_most_its_quota"
            ),
            models.CheckConstraint(condition=Q(price_fen__gte=0), name="offer_price_never_negative"),
            models.CheckConstraint(
                condition=Q(per_member_limit__gte=1), name="offer_is_for_at_least_one_each"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="offer_ends_after_it_starts"
            ),
            models.CheckConstraint(
                condition=~Q(kind="first_order") | Q(per_member_limit=1),
                name="first_order_price_is_for_one_piece",
            ),
        ]
        indexes = [models.Index(fields=["sku", "ends_at"], name="offers_of_sku", condition=Q(is_active=True))]

    def __str__(self) -> str:
        return self.name

    @property
    def left(self) -> int:
        return max(self.quota - self.taken, 0)


class OfferTake(models.Model):
    """Pieces of an offer in one order. `quantity` shrinks when pieces come back; 0 with `released_at`: all of them.

    `is_first_order` repeats the offer's kind, for the unique key: one living first-order price per person, whatever
    the number of such offers.
    """

    offer = models.ForeignKey(
        Offer, models.PROTECT, related_name="takes", db_index=False, verbose_name=_("offer")
    )  # the unique constraint finds it
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    order = models.ForeignKey(
        "shop.Order", models.PROTECT, related_name="offer_takes", verbose_name=_("order")
    )
    taken_quantity = models.PositiveIntegerField(_("pieces taken"))
    quantity = models.PositiveIntegerField(_("pieces kept"))
    is_first_order = models.BooleanField(_("first-order price"), default=False)
    taken_at = models.DateTimeField(_("at"))
    released_at = models.DateTimeField(_("given back at"), null=True, blank=True)

    class Meta:
        verbose_name = _("taken offer")
        verbose_name_plural = _("taken offers")
        constraints = [
            models.UniqueConstraint(fields=["offer", "order"], name="offer_is_taken_once_per_order"),
            models.UniqueConstraint(
                fields=["member"],
                condition=Q(is_first_order=True, released_at__isnull=True),
                name="first_order_price_once_per_person",
            ),
            models.CheckConstraint(
                condition=Q(taken_quantity__gte=1)
                & Q(quantity__lte=F("taken_quantity"))
                & (Q(quantity__gte=1, released_at__isnull=True) | Q(quantity=0, released_at__isnull=False)),
                name="offer_take_gives_back_at_most_itself",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offer_id} {self.order_id} ×{self.quantity}"


class OfferTally(models.Model):
    """How many pieces of an offer one member has now: the row on which the limit per member is guarded."""

    offer = models.ForeignKey(
        Offer, models.CASCADE, related_name="tallies", db_index=False, verbose_name=_("offer")
    )  # the unique constraint finds it
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    taken = models.PositiveIntegerField(_("pieces taken"), default=0)

    class Meta:
        verbose_name = _("offer's pieces of a member")
        verbose_name_plural = _("offers' pieces of members")
        constraints = [
            models.UniqueConstraint(fields=["offer", "member"], name="one_tally_per_offer_and_member"),
            models.CheckConstraint(condition=Q(taken__gte=0), name="offer_tally_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.offer_id} {self.member_id}: {self.taken}"


class OfferWaiting(models.Model):
    """A member who wants to hear when a place of a sold-out offer frees. First come, first told, once."""

    offer = models.ForeignKey(Offer, models.CASCADE, related_name="waiting", verbose_name=_("offer"))
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    joined_at = models.DateTimeField(_("since"))
    told_at = models.DateTimeField(_("told at"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=60, blank=True)
    rounds = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("waiting for an offer")
        verbose_name_plural = _("waiting for offers")
        constraints = [
            models.UniqueConstraint(fields=["offer", "member"], name="waits_once_per_offer"),
        ]
        indexes = [
            models.Index(
                fields=["offer", "joined_at", "id"], name="offer_queue", condition=Q(told_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.offer} · {self.member}"
