"""What one store has to hand over of one order: by parcel, or over the counter against a code."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Fulfilment(models.Model):
    """The part of a paid order that one store serves: all lines of the order whose store it is.

    Made in the transaction that marks the order paid, or when another store could not serve its part. `code` is the
    shopper's pickup code, eight digits, unique among those that are open. `reason` is routing's word for why this
    store. `due_at`: when a pickup that nobody fetches is settled as `ServiceRules.when_uncollected` says.
    """

    SHIP, PICKUP = "ship", "pickup"
    KINDS = [(SHIP, _("by parcel")), (PICKUP, _("collected in a store"))]
    WAITING, READY, SHIPPED = "waiting", "ready", "shipped"
    HANDED_OVER, CANCELLED = "handed_over", "cancelled"
    STATES = [
        (WAITING, _("to be prepared")),
        (READY, _("ready to be collected")),
        (SHIPPED, _("shipped")),
        (HANDED_OVER, _("handed over")),
        (CANCELLED, _("cancelled")),
    ]
    OPEN = (WAITING, READY)
    GONE = (SHIPPED, HANDED_OVER)
    REASONS = [
        ("pickup", _("collected in this store")),
        ("warehouse", _("the warehouse has everything")),
        ("nearest", _("the first store in line that has everything")),
        ("only_here", _("the only store that has everything")),
        ("split", _("no store has everything: as few parcels as possible")),
        ("rerouted", _("another store could not serve it")),
    ]

    order = models.ForeignKey(
        "shop.Order", models.PROTECT, related_name="fulfilments", verbose_name=_("order")
    )
    store = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("store"))
    kind = models.CharField(_("delivery"), max_length=8, choices=KINDS)
    state = models.CharField(_("status"), max_length=12, choices=STATES, default=WAITING)
    code = models.CharField(_("pickup code"), max_length=8, blank=True)
    reason = models.CharField(_("why this store"), max_length=12, choices=REASONS, blank=True)
    created_at = models.DateTimeField(_("ordered from the store at"))
    ready_at = models.DateTimeField(_("ready at"), null=True, blank=True)
    due_at = models.DateTimeField(_("to be collected until"), null=True, blank=True)
    done_at = models.DateTimeField(_("left the store at"), null=True, blank=True)
    actor = models.CharField(_("by"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("fulfilment")
        verbose_name_plural = _("fulfilments")
        constraints = [
            models.UniqueConstraint(fields=["order", "store"], name="a_store_serves_an_order_once"),
            models.UniqueConstraint(
                fields=["code"],
                condition=Q(state__in=["waiting", "ready"]) & ~Q(code=""),
                name="pickup_code_opens_one_order",
            ),
            models.CheckConstraint(
                condition=Q(kind="ship", code="") | Q(kind="pickup", code__regex=r"^[0-9]{8}$"),
                name="pickups_alone_have_a_code",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "cancelled"])
                | Q(kind="pickup", state__in=["ready", "handed_over"])
                | Q(kind="ship", state="shipped"),
                name="fulfilment_state_fits_its_kind",
            ),
            models.CheckConstraint(
                condition=Q(state="ready") | Q(due_at__isnull=True), name="what_lies_ready_alone_is_due"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["shipped", "handed_over"], done_at__isnull=False)
                | Q(state__in=["waiting", "ready", "cancelled"], done_at__isnull=True),
                name="fulfilment_left_at_a_moment",
            ),
        ]
        indexes = [
            models.Index(fields=["store", "state", "id"], name="fulfilments_of_store"),
            models.Index(fields=["code"], name="fulfilments_by_code", condition=~Q(code="")),
            models.Index(fields=["due_at"], name="pickups_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["id"], name="fulfilments_open", condition=Q(state__in=["waiting", "ready"])),
        ]

    def __str__(self) -> str:
        return f"{self.order.number} · {self.store.name}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN
