"""How much of a SKU lies in a store, and every change of it."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Stock(models.Model):
    """One SKU in one store. `reserved` belongs to open orders; what may be sold is `on_hand - reserved`.

    Written by `services.move_stock` alone, so that a movement exists for every change.
    """

    sku = models.ForeignKey(  # found by `one_stock_per_sku_and_store`
        "shop.Sku", models.PROTECT, related_name="stocks", verbose_name=_("SKU"), db_index=False
    )
    store = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("store"))
    on_hand = models.IntegerField(_("on hand"), default=0)
    reserved = models.IntegerField(_("reserved"), default=0)
    safety = models.PositiveIntegerField(
        _("safety stock"),
        null=True,
        blank=True,
        help_text=_("Not sold online, and low when no more is available. Empty: as the store says."),
    )

    class Meta:
        verbose_name = _("stock")
        verbose_name_plural = _("stock")
        constraints = [
            models.UniqueConstraint(fields=["sku", "store"], name="one_stock_per_sku_and_store"),
            models.CheckConstraint(
                condition=Q(reserved__gte=0) & Q(reserved__lte=F("on_hand")),
                name="stock_reserves_only_what_it_has",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku.code} · {self.store}"

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class LowStock(Stock):
    """The same rows, for the list of what runs low: see `queries.low_stocks`."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("low stock")
        verbose_name_plural = _("low stock")


class StockMovement(models.Model):
    """One change of one stock, append-only. `cause` names what it was for ("order:42:reserve"), once per stock."""

    RESERVE, RELEASE, SHIP, RETURN = "reserve", "release", "ship", "return"
    ADJUST, RECEIVE, TRANSFER, SELL = "adjust", "receive", "transfer", "sell"
    EXCHANGE = "exchange"
    REASONS = [
        (RESERVE, _("reserved by an order")),
        (RELEASE, _("reservation released")),
        (SHIP, _("shipped")),
        (RETURN, _("returned")),
        (ADJUST, _("counted")),
        (RECEIVE, _("goods received")),
        (TRANSFER, _("between stores")),
        (SELL, _("sold in the store")),
        (EXCHANGE, _("exchanged for points")),
    ]

    stock = models.ForeignKey(  # found by `stock_moves_once_per_cause`
        Stock, models.PROTECT, related_name="movements", verbose_name=_("stock"), db_index=False
    )
    reason = models.CharField(_("reason"), max_length=10, choices=REASONS)
    on_hand_change = models.IntegerField(_("on hand, change"))
    reserved_change = models.IntegerField(_("reserved, change"))
    on_hand_after = models.IntegerField(_("on hand, after"))
    reserved_after = models.IntegerField(_("reserved, after"))
    cause = models.CharField(_("cause"), max_length=120)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    note = models.CharField(_("note"), max_length=200, blank=True)
    order = models.ForeignKey(
        "shop.Order",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="stock_movements",
        db_constraint=False,  # as for `OrderDiscount`
        verbose_name=_("order"),
    )
    moved_at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("stock movement")
        verbose_name_plural = _("stock movements")
        constraints = [
            models.UniqueConstraint(fields=["stock", "cause"], name="stock_moves_once_per_cause"),
            models.CheckConstraint(
                condition=~Q(on_hand_change=0, reserved_change=0), name="stock_movement_moves_something"
            ),
        ]
        indexes = [  # in the order of time as they are, so a few bytes per range of pages find a month
            BrinIndex(fields=["moved_at"], name="stock_movement_by_time")
        ]

    def __str__(self) -> str:
        return f"{self.stock} {self.on_hand_change:+d}/{self.reserved_change:+d}"
