"""Numbers at the counter: given once, called once. Every change of a queue happens under the lock of its day's row."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from core import clock
from shop import booking_rules as rules
from shop.errors import NoSuchBooking, NoSuchService, NoSuchTicket, QueueRefused, TooLate
from shop.models import BookableService, Booking, QueueDay, QueueTicket
from shop.services.booking_messages import tell_member

WALK_IN_BEFORE = timedelta(minutes=30)
MOST_CALL_MESSAGES = 3
# Who booked comes before who walked in; within each the smaller number first.
ORDER = ("-is_booked", "number")


@transaction.atomic
def take_number(
    *, store_id: int, service_id: int, member_id: int | None = None, guest: str = "", by: str = ""
) -> QueueTicket:
    """A number for somebody who walked in: a member by the store's code, or a guest whom the staff writes down.

    Locks: the queue's day. Idempotent on: (queue, member) while her number waits or is called.
    Raises NoSuchService, QueueRefused (closed now, or bookings only).
    """
    service = (
        BookableService.objects.filter(pk=service_id, is_active=True, stores=store_id, stores__is_active=True)
        .prefetch_related("openings", "days")
        .first()
    )
    if service is None:
        raise NoSuchService(_("This store does not offer that."))
    guest = " ".join(guest.split())[:40]
    if member_id is None and not (guest and by):
        raise QueueRefused(_("Please write the guest's name."))
    if member_id is not None and not service.takes_walk_ins:
        raise QueueRefused(_("This service takes bookings only. Please book a time."))
    if member_id is not None and not is_open(service, store_id, clock.now()):
        raise QueueRefused(_("Numbers are given during opening hours only."))
    return _give_number(store_id, service_id, member_id=member_id, guest=guest)


def is_open(service: BookableService, store_id: int, moment: datetime) -> bool:
    """Within the day's hours, or half an hour before. `openings` and `days` should be loaded."""
    openings = [rules.Opening(one.weekday, one.opens, one.closes) for one in service.openings.all()]
    days = [rules.DayRule(one.day, one.store_id, one.opens, one.closes) for one in service.days.all()]
    today = clock.local(moment).date()
    return any(
        datetime.combine(today, opens, tzinfo=clock.zone()) - WALK_IN_BEFORE
        <= moment
        < datetime.combine(today, closes, tzinfo=clock.zone())
        for opens, closes in rules.open_spans(today, store_id, openings, days)
    )


@transaction.atomic
def check_in(
    *, code: str, member_id: int | None = None, store_id: int | None = None, by: str = "member"
) -> QueueTicket:
    """She is there for her booking and gets a number. Herself (`member_id`) from two hours before until the slot is
    over; by the staff of its store (`store_id`) at any time of that day.

    Locks: booking, the queue's day. Idempotent: her number is returned. Raises NoSuchBooking, TooLate, QueueRefused
    (she stands there for another booking: one number stands for one booking).
    """
    bookings = Booking.objects.filter(code=code.strip().upper()[:12])
    if member_id is not None:
        bookings = bookings.filter(member_id=member_id)
    if store_id is not None:
        bookings = bookings.filter(slot__store_id=store_id)
    booking = bookings.select_related("slot__store").select_for_update(of=("self",)).first()
    if booking is None:
        raise NoSuchBooking(_("There is no such booking in this store."))
    earlier = QueueTicket.objects.filter(booking=booking).first()
    if earlier is not None:
        return earlier
    moment, slot = clock.now(), booking.slot
    if booking.state != Booking.BOOKED:
        raise TooLate(_("This booking is not open: %(state)s.") % {"state": booking.get_state_display()})
    if member_id is not None and moment < slot.starts_at - rules.CHECK_IN_BEFORE:
        at = clock.local(slot.starts_at - rules.CHECK_IN_BEFORE)
        raise TooLate(_("You can check in from %(at)s.") % {"at": f"{at:%Y-%m-%d %H:%M}"})
    if clock.local(slot.starts_at).date() != clock.local(moment).date():
        raise TooLate(_("This booking is not for today."))
    if member_id is not None and moment > slot.ends_at:
        raise TooLate(_("The time of this booking is over. Please ask at the counter."))
    booking.state, booking.checked_in_at = Booking.CHECKED_IN, moment
    booking.save(update_fields=["state", "checked_in_at"])
    return _give_number(slot.store_id, slot.service_id, member_id=booking.member_id, booking=booking)


def _give_number(
    store_id: int,
    service_id: int,
    *,
    member_id: int | None,
    booking: Booking | None = None,
    guest: str = "",
) -> QueueTicket:
    """The next number of today's queue. Counter and number commit together: none is lost, none is given twice."""
    moment = clock.now()
    today = clock.local(moment).date()
    made, _created = QueueDay.objects.get_or_create(store_id=store_id, service_id=service_id, day=today)
    queue = QueueDay.objects.select_for_update().get(pk=made.pk)
    if member_id is not None:
        standing = QueueTicket.objects.filter(
            queue=queue, member_id=member_id, state__in=[QueueTicket.WAITING, QueueTicket.CALLED]
        ).first()
        if standing is not None:
            if booking is not None and standing.booking_id is not None:
                raise QueueRefused(
                    _("Number %(number)s waits for another booking: check in again when it was served.")
                    % {"number": standing.label}
                )
            if booking is not None:  # she walked in first and checks in now
                standing.booking, standing.is_booked = booking, True
                standing.save(update_fields=["booking", "is_booked"])
            return standing
    queue.last_number += 1
    queue.save(update_fields=["last_number"])
    ticket = QueueTicket(
        queue=queue,
        number=queue.last_number,
        member_id=member_id,
        booking=booking,
        guest=guest,
        is_booked=booking is not None,
        taken_at=moment,
    )
    if _ahead_of_new(ticket) <= rules.NOTIFY_AT_AHEAD:
        ticket.notified_at = moment  # the page in her hand says it already
    ticket.save()
    return ticket


def _ahead_of_new(ticket: QueueTicket) -> int:
    waiting = QueueTicket.objects.filter(queue=ticket.queue, state=QueueTicket.WAITING)
    return waiting.filter(is_booked=True).count() if ticket.is_booked else waiting.count()


@transaction.atomic
def call_next(*, store_id: int, service_id: int, by: str) -> QueueTicket:
    """Call the next number of today. Two clerks never call the same one.

    Locks: the queue's day. Not idempotent: each call takes the next. Raises QueueRefused when nobody waits.
    """
    queue = (
        QueueDay.objects.select_for_update()
        .filter(store_id=store_id, service_id=service_id, day=clock.today())
        .first()
    )
    waiting = QueueTicket.objects.filter(queue=queue, state=QueueTicket.WAITING)
    ticket = waiting.order_by(*ORDER).first() if queue else None
    if ticket is None:
        raise QueueRefused(_("Nobody is waiting."))
    return _call(ticket, waiting.filter(pk=ticket.pk), by=by)


@transaction.atomic
def call_again(*, ticket_id: int, store_id: int, by: str) -> QueueTicket:
    """Call a number once more: one that was called and did not come, or one that was skipped before.

    Locks: the queue's day. Raises NoSuchTicket, QueueRefused.
    """
    ticket = _locked(ticket_id, store_id)
    newer = QueueTicket.objects.filter(
        queue_id=ticket.queue_id,
        member_id=ticket.member_id or 0,
        state__in=[QueueTicket.WAITING, QueueTicket.CALLED],
    ).exclude(pk=ticket.pk)
    if other := newer.first():
        raise QueueRefused(
            _("This member stands in the queue with %(number)s by now.") % {"number": other.label}
        )
    callable_ones = QueueTicket.objects.filter(
        pk=ticket.pk, state__in=[QueueTicket.CALLED, QueueTicket.SKIPPED]
    )
    return _call(ticket, callable_ones, by=by)


def _call(ticket: QueueTicket, callable_ones: QuerySet[QueueTicket], *, by: str) -> QueueTicket:
    called = callable_ones.update(
        state=QueueTicket.CALLED,
        calls=ticket.calls + 1,
        called_at=clock.now(),
        ended_at=None,
        actor=by[:80],
    )
    if not called:
        raise QueueRefused(_("This number is not waiting any more."))
    ticket.refresh_from_db()
    store = ticket.queue.store
    if ticket.member_id and ticket.calls <= MOST_CALL_MESSAGES:
        tell_member(
            member_id=ticket.member_id or 0,
            origin=f"queue-call-{ticket.calls}",
            origin_id=ticket.pk,
            title=_("It is your turn: %(number)s") % {"number": ticket.label},
            text=_("Please come to the counter of %(store)s.") % {"store": store.name},
            path=f"/tickets/{ticket.pk}/",
        )
    _tell_who_is_near(ticket.queue)
    return ticket


@transaction.atomic
def skip_number(*, ticket_id: int, store_id: int, by: str) -> QueueTicket:
    """The called number did not come; it can be called again later. Locks: the queue's day. Idempotent."""
    return _end(ticket_id, store_id, [QueueTicket.CALLED], QueueTicket.SKIPPED, by)


@transaction.atomic
def finish_number(*, ticket_id: int, store_id: int, by: str) -> QueueTicket:
    """The called guest was served, and her booking with it. Locks: the queue's day, booking. Idempotent."""
    ticket = _end(ticket_id, store_id, [QueueTicket.CALLED], QueueTicket.SERVED, by)
    if ticket.booking_id:
        Booking.objects.filter(pk=ticket.booking_id, state=Booking.CHECKED_IN).update(
            state=Booking.SERVED, ended_at=clock.now(), actor=by[:80]
        )
    return ticket


@transaction.atomic
def leave_queue(*, ticket_id: int, member_id: int) -> QueueTicket:
    """The member gives her number back. Locks: the queue's day. Idempotent. Raises NoSuchTicket, QueueRefused."""
    known = QueueTicket.objects.filter(pk=ticket_id, member_id=member_id).select_related("queue").first()
    if known is None:
        raise NoSuchTicket(_("This number does not exist."))
    return _end(
        ticket_id,
        known.queue.store_id,
        [QueueTicket.WAITING, QueueTicket.CALLED],
        QueueTicket.LEFT,
        "member",
    )


def _end(ticket_id: int, store_id: int, before: list[str], after: str, by: str) -> QueueTicket:
    ticket = _locked(ticket_id, store_id)
    ended = QueueTicket.objects.filter(pk=ticket.pk, state__in=before).update(
        state=after, ended_at=clock.now(), actor=by[:80]
    )
    ticket.refresh_from_db()
    if not ended and ticket.state != after:
        raise QueueRefused(_("This number is now: %(state)s.") % {"state": ticket.get_state_display()})
    if ended:
        _tell_who_is_near(ticket.queue)
    return ticket


def _locked(ticket_id: int, store_id: int) -> QueueTicket:
    """The number, read under the lock of its queue. Raises NoSuchTicket, also for another store's or another day's."""
    tickets = QueueTicket.objects.filter(
        pk=ticket_id, queue__store_id=store_id, queue__day=clock.today()
    ).select_related("queue__store", "queue__service")
    found = tickets.first()
    if found is None:
        raise NoSuchTicket(_("This number does not exist."))
    QueueDay.objects.select_for_update().get(pk=found.queue_id)
    return tickets.get()


def _tell_who_is_near(queue: QueueDay) -> None:
    """Those with at most two before them hear of it once. Call under the lock of the queue."""
    waiting = QueueTicket.objects.filter(queue=queue, state=QueueTicket.WAITING).order_by(*ORDER)
    for ahead, ticket in enumerate(list(waiting[: rules.NOTIFY_AT_AHEAD + 1])):
        if ticket.notified_at is not None or ticket.member_id is None:
            continue
        ticket.notified_at = clock.now()
        ticket.save(update_fields=["notified_at"])
        tell_member(
            member_id=ticket.member_id or 0,
            origin="queue-near",
            origin_id=ticket.pk,
            title=_("Nearly your turn: %(number)s") % {"number": ticket.label},
            text=_("%(count)d before you. Please come to the counter.") % {"count": ahead},
            path=f"/tickets/{ticket.pk}/",
        )


def close_past_queues(*, limit: int = 1000) -> int:
    """Numbers of earlier days that nobody called have left; returns how many."""
    stale = QueueTicket.objects.filter(
        queue__day__lt=clock.today(), state__in=[QueueTicket.WAITING, QueueTicket.CALLED]
    ).values("pk")[:limit]
    return QueueTicket.objects.filter(pk__in=list(stale.values_list("pk", flat=True))).update(
        state=QueueTicket.LEFT, ended_at=clock.now(), actor="system"
    )


@transaction.atomic
def move_tickets(*, kept_id: int, merged_id: int) -> int:
    """Numbers of a member who turned out to be another; where both stand in one queue, the later number leaves."""
    live = [QueueTicket.WAITING, QueueTicket.CALLED]
    held = QueueTicket.objects.filter(member_id=kept_id, state__in=live).values("queue_id")
    QueueTicket.objects.filter(member_id=merged_id, state__in=live, queue_id__in=held).update(
        state=QueueTicket.LEFT, ended_at=clock.now(), actor="system"
    )
    return QueueTicket.objects.filter(member_id=merged_id).update(member_id=kept_id)
