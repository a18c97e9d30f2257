"""The queue at a store's counter: one list per store, service and day, and the numbers in it."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class QueueDay(models.Model):
    """The counter from which numbers come: `last_number` is the highest that was given."""

    store = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("store"))
    service = models.ForeignKey(
        "shop.BookableService", models.PROTECT, related_name="+", verbose_name=_("service")
    )
    day = models.DateField(_("day"))
    last_number = models.PositiveIntegerField(_("last number"), default=0)

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        constraints = [
            models.UniqueConstraint(
                fields=["store", "service", "day"], name="one_queue_per_store_service_and_day"
            )
        ]

    def __str__(self) -> str:
        return f"{self.store_id} {self.service_id} {self.day}"


class QueueTicket(models.Model):
    """One number. Who booked is called before who walked in; within each, the smaller number first.

    `member` is empty for a guest whom the staff put into the list by hand.
    """

    WAITING, CALLED, SERVED, SKIPPED, LEFT = "waiting", "called", "served", "skipped", "left"
    STATES = [
        (WAITING, _("waiting")),
        (CALLED, _("called")),
        (SERVED, _("served")),
        (SKIPPED, _("skipped")),
        (LEFT, _("left the queue")),
    ]

    queue = models.ForeignKey(QueueDay, models.PROTECT, related_name="tickets", verbose_name=_("queue"))
    number = models.PositiveIntegerField(_("number"))
    member = models.ForeignKey(
        "crm.Member", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("member")
    )
    booking = models.OneToOneField(
        "shop.Booking",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="ticket",
        verbose_name=_("booking"),
    )
    guest = models.CharField(_("guest"), max_length=40, blank=True)
    is_booked = models.BooleanField(_("with a booking"), default=False)
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=WAITING)
    calls = models.PositiveSmallIntegerField(_("times called"), default=0)
    taken_at = models.DateTimeField(_("taken at"))
    called_at = models.DateTimeField(_("called at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    notified_at = models.DateTimeField(_("told that it is nearly her turn"), null=True, blank=True)
    actor = models.CharField(_("called by"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("queue number")
        verbose_name_plural = _("queue numbers")
        constraints = [
            models.UniqueConstraint(fields=["queue", "number"], name="queue_gives_a_number_once"),
            models.UniqueConstraint(
                fields=["queue", "member"],
                condition=Q(state__in=["waiting", "called"]),
                name="member_stands_in_a_queue_once",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "called", "served", "skipped", "left"]),
                name="ticket_state_is_a_known_word",
            ),
            models.CheckConstraint(condition=Q(number__gte=1), name="ticket_numbers_begin_at_one"),
        ]
        indexes = [
            models.Index(fields=["member", "-taken_at"], name="tickets_of_member"),
            models.Index(fields=["queue", "state"], name="tickets_in_queue"),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """As it is called out: Y (预约) for who booked, A for who walked in."""
        return f"{'Y' if self.is_booked else 'A'}{self.number:03d}"
