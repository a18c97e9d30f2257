"""Carriers, what they say about a parcel, and the words in which a buyer is told about her order."""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop import logistics


@pghistory.track()
class Carrier(models.Model):
    """Who brings parcels. `code` is the word by which tracking services know it (Kuaidi100's list of companies)."""

    code = models.CharField(
        _("code"), max_length=40, unique=True, help_text=_("As the tracking service calls it: shunfeng, jd …")
    )
    name = models.CharField(_("name"), max_length=40, unique=True)
    phone = models.CharField(_("phone"), max_length=20, blank=True)
    tracking_url = models.CharField(
        _("tracking page"),
        max_length=200,
        blank=True,
        help_text=_("The carrier's own page; {number} stands for the tracking number."),
    )
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("offered when shipping"), default=True)

    class Meta:
        verbose_name = _("carrier")
        verbose_name_plural = _("carriers")
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return self.name


class TrackingEvent(models.Model):
    """One thing that happened to a parcel, as the carrier or the staff say. Append-only."""

    STAFF, PROVIDER, DEMO = "staff", "provider", "demo"
    SOURCES = [(STAFF, _("typed by staff")), (PROVIDER, _("the tracking service")), (DEMO, _("made up"))]

    shipment = models.ForeignKey(
        "shop.Shipment", models.CASCADE, related_name="events", verbose_name=_("shipment")
    )
    at = models.DateTimeField(_("at"))
    state = models.CharField(_("state"), max_length=12, choices=logistics.STATES)
    text = models.CharField(_("what happened"), max_length=300)
    source = models.CharField(_("source"), max_length=8, choices=SOURCES)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    noted_at = models.DateTimeField(_("noted at"))

    class Meta:
        verbose_name = _("tracking event")
        verbose_name_plural = _("tracking events")
        ordering = ["-at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["shipment", "at", "text"], name="tracking_event_once_per_parcel_and_moment"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[word for word, _label in logistics.STATES]),
                name="tracking_event_state_is_a_known_word",
            ),
        ]

    def __str__(self) -> str:
        return self.text


@pghistory.track()
class OrderMessage(models.Model):
    """How the buyer hears of one moment of her order: by subscription, by template, or as a text in an open chat."""

    KINDS = [
        (logistics.PAID, _("paid")),
        (logistics.SHIPPED, _("shipped")),
        (logistics.SIGNED, _("signed for")),
        (logistics.READY, _("ready to be collected")),
        (logistics.REFUNDED, _("refunded")),
        (logistics.UNPAID, _("not paid yet")),
        (logistics.BALANCE, _("balance of a presale due")),
        (logistics.REVIEW, _("some days after receipt")),
        (logistics.VOUCHER, _("a voucher ends soon")),
    ]

    kind = models.CharField(_("moment"), max_length=10, choices=KINDS, unique=True)
    is_active = models.BooleanField(_("tell her"), default=True)
    subscribe_template = models.CharField(
        _("subscription template"),
        max_length=64,
        blank=True,
        help_text=_("Template id. The shop asks the buyer for it after the payment or on her order."),
    )
    notice_template = models.CharField(
        _("template message"), max_length=64, blank=True, help_text=_("Template id, for followers.")
    )
    fields = models.JSONField(
        _("fields"),
        default=dict,
        blank=True,
        help_text=_(
            'The template\'s fields: {"thing1": "{goods}", "character_string2": "{number}"}. Known: {number} {goods} '
            "{amount} {carrier} {parcel} {store} {code} {time} {minutes} {until} {pieces} {state}."
        ),
    )
    uses_chat = models.BooleanField(
        _("as a text when she wrote lately"),
        default=True,
        help_text=_("When there is no template: a customer-service message within 48 hours of hers."),
    )
    text = models.CharField(
        _("text"), max_length=300, blank=True, help_text=_("Empty: the usual words. Same {names} as above.")
    )

    class Meta:
        verbose_name = _("order message")
        verbose_name_plural = _("order messages")
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=logistics.MESSAGE_KINDS), name="order_message_kind_is_a_known_word"
            )
        ]

    def __str__(self) -> str:
        return str(self.get_kind_display())
