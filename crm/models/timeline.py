"""The timeline: what happened to members. Append-only, range-partitioned by month (see migration 0002)."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


class Activity(models.Model):
    """One fact. `subject` names what it is about ("product:12", "broadcast:3", "order:20260101…").

    The table's real primary key is (at, id): a partitioned table must have its range in the key.
    """

    FOLLOWED, UNFOLLOWED, SCANNED, MESSAGE, MENU = "followed", "unfollowed", "scanned", "message", "menu"
    VISITED, VIEWED_PRODUCT, ADDED_TO_CART = "visited", "viewed_product", "added_to_cart"
    ORDERED, PAID, REFUNDED, SHIPPED, CANCELLED = "ordered", "paid", "refunded", "shipped", "cancelled"
    JOINED_GROUP, LEFT_GROUP = "joined_group", "left_group"
    CONTACT_ADDED, CONTACT_REMOVED = "contact_added", "contact_removed"
    TOUCHED, OPENED, TAGGED, SUBSCRIBED, JOINED = "touched", "opened", "tagged", "subscribed", "joined"
    MERGED = "merged"
    VOUCHER_USED, VOUCHER_EXPIRED = "voucher_used", "voucher_expired"
    RECHARGED, EXCHANGED, MEMBERSHIP = "recharged", "exchanged", "membership"
    NOTED = "noted"
    KINDS = [
        (JOINED, _("became a member")),
        (FOLLOWED, _("followed")),
        (UNFOLLOWED, _("unfollowed")),
        (SCANNED, _("scanned a code")),
        (MESSAGE, _("sent a message")),
        (MENU, _("tapped a menu")),
        (VISITED, _("visited the shop")),
        (VIEWED_PRODUCT, _("viewed a product")),
        (ADDED_TO_CART, _("added to the cart")),
        (ORDERED, _("placed an order")),
        (PAID, _("paid")),
        (REFUNDED, _("was refunded")),
        (SHIPPED, _("parcel sent")),
        (CANCELLED, _("order cancelled")),
        (JOINED_GROUP, _("joined a group")),
        (LEFT_GROUP, _("left a group")),
        (CONTACT_ADDED, _("added a guide")),
        (CONTACT_REMOVED, _("contact removed")),
        (TOUCHED, _("touched")),
        (OPENED, _("opened a link")),
        (TAGGED, _("tagged")),
        (SUBSCRIBED, _("answered a subscription")),
        (MERGED, _("merged with another member")),
        (VOUCHER_USED, _("used a voucher in a store")),
        (VOUCHER_EXPIRED, _("let a voucher expire")),
        (RECHARGED, _("recharged her balance")),
        (EXCHANGED, _("exchanged points")),
        (MEMBERSHIP, _("bought a membership")),
        (NOTED, _("note of the staff")),
    ]
    # What the person does herself; anything else does not end her silence.
    OWN_DOING = frozenset(
        {
            FOLLOWED,
            SCANNED,
            MESSAGE,
            MENU,
            VISITED,
            VIEWED_PRODUCT,
            ADDED_TO_CART,
            ORDERED,
            PAID,
            JOINED_GROUP,
            CONTACT_ADDED,
            OPENED,
            SUBSCRIBED,
            VOUCHER_USED,
            RECHARGED,
            EXCHANGED,
            MEMBERSHIP,
        }
    )

    member = models.ForeignKey(
        Member,
        models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="activities",
        verbose_name=_("member"),
    )
    kind = models.CharField(_("what"), max_length=16, choices=KINDS)
    at = models.DateTimeField(_("at"))
    subject = models.CharField(_("about"), max_length=80, blank=True, default="")
    amount_fen = models.BigIntegerField(_("amount"), default=0)
    data = models.JSONField(_("details"), default=dict, blank=True)

    class Meta:
        verbose_name = _("activity")
        verbose_name_plural = _("activities")
        indexes = [
            models.Index(fields=["member", "-at", "-id"], name="activity_by_member"),
            models.Index(fields=["kind", "at"], name="activity_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.kind}"
