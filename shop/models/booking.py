"""Services that a store gives at a time (a fitting, a perfume consultation), their slots, and who booked them."""

import pghistory
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core import clock
from shop import booking_rules


@pghistory.track()
class BookableService(models.Model):
    """What can be booked, where, and by which rules. `services.plan_slots` turns the rules into slots."""

    name = models.CharField(_("name"), max_length=60)
    description = models.TextField(_("description"), max_length=1000, blank=True)
    stores = models.ManyToManyField("crm.Store", related_name="+", verbose_name=_("stores"))
    minutes = models.PositiveSmallIntegerField(
        _("length of a slot (minutes)"),
        default=60,
        validators=[MinValueValidator(5), MaxValueValidator(720)],
    )
    capacity = models.PositiveSmallIntegerField(
        _("places per slot"), default=1, validators=[MinValueValidator(1), MaxValueValidator(500)]
    )
    days_ahead = models.PositiveSmallIntegerField(
        _("bookable days ahead"),
        default=14,
        validators=[MinValueValidator(1), MaxValueValidator(booking_rules.MAX_DAYS_AHEAD)],
    )
    cancel_hours = models.PositiveSmallIntegerField(
        _("cancel until (hours before)"), default=2, validators=[MaxValueValidator(240)]
    )
    max_open = models.PositiveSmallIntegerField(
        _("open bookings per member"), default=2, validators=[MinValueValidator(1), MaxValueValidator(20)]
    )
    takes_walk_ins = models.BooleanField(
        _("takes walk-ins"),
        default=True,
        help_text=_("Without a booking: a number from the store's QR code."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    position = models.IntegerField(_("position"), default=0, help_text=_("Smaller comes first."))

    class Meta:
        verbose_name = _("bookable service")
        verbose_name_plural = _("bookable services")
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(minutes__gte=5, minutes__lte=720, capacity__gte=1, capacity__lte=500),
                name="service_slots_have_length_and_places",
            )
        ]

    def __str__(self) -> str:
        return self.name


class ServiceOpening(models.Model):
    """A weekly opening; a weekday may have several (morning and afternoon)."""

    WEEKDAYS = [
        (0, _("Monday")),
        (1, _("Tuesday")),
        (2, _("Wednesday")),
        (3, _("Thursday")),
        (4, _("Friday")),
        (5, _("Saturday")),
        (6, _("Sunday")),
    ]

    service = models.ForeignKey(
        BookableService, models.CASCADE, related_name="openings", verbose_name=_("service")
    )
    weekday = models.PositiveSmallIntegerField(_("weekday"), choices=WEEKDAYS)
    opens = models.TimeField(_("opens"))
    closes = models.TimeField(_("closes"))

    class Meta:
        verbose_name = _("opening hours")
        verbose_name_plural = _("opening hours")
        ordering = ["weekday", "opens"]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "weekday", "opens"], name="service_opens_once_at_a_time"
            ),
            models.CheckConstraint(condition=Q(closes__gt=F("opens")), name="service_closes_after_it_opens"),
            models.CheckConstraint(condition=Q(weekday__lte=6), name="service_weekday_exists"),
        ]

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.opens:%H:%M}–{self.closes:%H:%M}"


class ServiceDay(models.Model):
    """One day that is not as its weekday: closed, or open at other hours; in one store or in all."""

    service = models.ForeignKey(
        BookableService, models.CASCADE, related_name="days", verbose_name=_("service")
    )
    store = models.ForeignKey(
        "crm.Store",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("store"),
        help_text=_("Empty: in all stores."),
    )
    day = models.DateField(_("day"))
    opens = models.TimeField(_("opens"), null=True, blank=True, help_text=_("Both empty: closed that day."))
    closes = models.TimeField(_("closes"), null=True, blank=True)
    note = models.CharField(_("note"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("exceptional day")
        verbose_name_plural = _("exceptional days")
        ordering = ["day", "opens"]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "store", "day", "opens"],
                name="service_day_said_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(opens__isnull=True, closes__isnull=True)
                | Q(opens__isnull=False, closes__isnull=False, closes__gt=F("opens")),
                name="service_day_closes_after_it_opens",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.note}".strip()


class BookingSlot(models.Model):
    """One service in one store at one time. `taken` is the number of its bookings that were not cancelled.

    Written by services alone: `taken` moves only by a guarded update, and the database never lets it pass `capacity`.
    """

    service = models.ForeignKey(
        BookableService, models.PROTECT, related_name="slots", verbose_name=_("service")
    )
    store = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("store"))
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    capacity = models.PositiveSmallIntegerField(_("places"))
    taken = models.PositiveSmallIntegerField(_("taken"), default=0)
    is_planned = models.BooleanField(_("within the hours"), default=True)
    is_closed = models.BooleanField(_("closed by hand"), default=False)
    is_capacity_own = models.BooleanField(_("places set by hand"), default=False)

    class Meta:
        verbose_name = _("booking slot")
        verbose_name_plural = _("booking slots")
        constraints = [
            models.UniqueConstraint(
                fields=["service", "store", "starts_at"], name="slot_once_per_service_store_and_time"
            ),
            models.CheckConstraint(
                condition=Q(taken__gte=0) & Q(taken__lte=F("capacity")), name="slot_never_overbooked"
            ),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="slot_ends_after_it_starts"),
        ]
        indexes = [models.Index(fields=["starts_at"], name="slot_by_time")]

    def __str__(self) -> str:
        return f"{clock.local(self.starts_at):%Y-%m-%d %H:%M}"

    @property
    def left(self) -> int:
        return self.capacity - self.taken if self.is_planned and not self.is_closed else 0


class Booking(models.Model):
    """A member's place in a slot. `code` is what she shows at the counter."""

    BOOKED, CHECKED_IN, SERVED = "booked", "checked_in", "served"
    NO_SHOW, CANCELLED = "no_show", "cancelled"
    STATES = [
        (BOOKED, _("place booked")),
        (CHECKED_IN, _("checked in")),
        (SERVED, _("served")),
        (NO_SHOW, _("did not come")),
        (CANCELLED, _("booking cancelled")),
    ]

    slot = models.ForeignKey(BookingSlot, models.PROTECT, related_name="bookings", verbose_name=_("slot"))
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    code = models.CharField(_("booking code"), max_length=12, unique=True)
    state = models.CharField(_("state"), max_length=12, choices=STATES, default=BOOKED)
    note = models.CharField(_("note"), max_length=200, blank=True)
    booked_at = models.DateTimeField(_("booked at"))
    checked_in_at = models.DateTimeField(_("checked in at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    actor = models.CharField(_("ended by"), max_length=80, blank=True)
    reason = models.CharField(_("reason"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("booking")
        verbose_name_plural = _("bookings")
        constraints = [
            models.UniqueConstraint(
                fields=["member", "slot"],
                condition=~Q(state="cancelled"),
                name="member_books_a_slot_once",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["booked", "checked_in", "served", "no_show", "cancelled"]),
                name="booking_state_is_a_known_word",
            ),
        ]
        indexes = [
            models.Index(fields=["member", "-booked_at"], name="bookings_of_member"),
            models.Index(fields=["slot"], name="bookings_open", condition=Q(state="booked")),
        ]

    def __str__(self) -> str:
        return self.code


class BookingReminder(models.Model):
    """A message that is due before a booking; done once, with what became of it."""

    KINDS = [(booking_rules.DAY, _("the day before")), (booking_rules.HOURS, _("two hours before"))]
    SENT, NO_WINDOW, REFUSED, VOID = "sent", "no_window", "refused", "void"
    OUTCOMES = [
        (SENT, _("sent")),
        (NO_WINDOW, _("WeChat does not allow a message now")),
        (REFUSED, _("the touch policy says no")),
        (VOID, _("no longer needed")),
    ]

    booking = models.ForeignKey(Booking, models.CASCADE, related_name="reminders", verbose_name=_("booking"))
    kind = models.CharField(_("when"), max_length=8, choices=KINDS)
    due_at = models.DateTimeField(_("due at"))
    done_at = models.DateTimeField(_("done at"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=OUTCOMES, blank=True)

    class Meta:
        verbose_name = _("booking reminder")
        verbose_name_plural = _("booking reminders")
        constraints = [
            models.UniqueConstraint(fields=["booking", "kind"], name="booking_reminds_once_per_kind")
        ]
        indexes = [models.Index(fields=["due_at"], name="reminders_due", condition=Q(done_at__isnull=True))]

    def __str__(self) -> str:
        return f"{self.booking_id} {self.kind}"
