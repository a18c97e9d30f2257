"""Who waits, who is called, and what place a member has."""

from dataclasses import dataclass, field

from django.db.models import Q
from django.utils.translation import gettext as _

from core import clock
from shop.errors import NoSuchTicket
from shop.models import BookableService, QueueTicket


@dataclass(frozen=True, slots=True)
class Place:
    """Where a waiting number stands: `ahead` are called before it; `called` are the numbers at the counter now."""

    ahead: int
    waiting: int
    called: list[str]


@dataclass(slots=True)
class QueueRow:
    """One service's queue in one store today."""

    service: BookableService
    waiting: list[QueueTicket] = field(default_factory=list)
    called: list[QueueTicket] = field(default_factory=list)
    skipped: list[QueueTicket] = field(default_factory=list)
    served: int = 0


def ticket_for(pk: int, *, member_id: int) -> QueueTicket:
    """A member's own number with queue, store, service, booking. Raises NoSuchTicket, also for another member's."""
    ticket = (
        QueueTicket.objects.filter(pk=pk, member_id=member_id)
        .select_related("queue__store", "queue__service", "booking")
        .first()
    )
    if ticket is None:
        raise NoSuchTicket(_("This number does not exist."))
    return ticket


def place_of(ticket: QueueTicket) -> Place:
    """One statement: the queue's waiting and called numbers."""
    rows = QueueTicket.objects.filter(
        queue_id=ticket.queue_id, state__in=[QueueTicket.WAITING, QueueTicket.CALLED]
    ).order_by("called_at", "pk")
    waiting = [row for row in rows if row.state == QueueTicket.WAITING]
    mine = (not ticket.is_booked, ticket.number)
    ahead = sum((not row.is_booked, row.number) < mine for row in waiting)
    return Place(ahead, len(waiting), [row.label for row in rows if row.state == QueueTicket.CALLED])


def queues_at(store_id: int) -> list[QueueRow]:
    """Today's queues of a store, one for each service it gives: two statements."""
    services = BookableService.objects.filter(Q(stores=store_id) & Q(is_active=True)).order_by(
        "position", "pk"
    )
    rows = {service.pk: QueueRow(service) for service in services}
    tickets = (
        QueueTicket.objects.filter(queue__store_id=store_id, queue__day=clock.today())
        .exclude(state=QueueTicket.LEFT)
        .select_related("queue", "member", "booking__slot")
        .order_by("-is_booked", "number")
    )
    for ticket in tickets:
        row = rows.get(ticket.queue.service_id)
        if row is None:
            continue
        if ticket.state == QueueTicket.SERVED:
            row.served += 1
        else:
            {
                QueueTicket.WAITING: row.waiting,
                QueueTicket.CALLED: row.called,
                QueueTicket.SKIPPED: row.skipped,
            }[ticket.state].append(ticket)
    return list(rows.values())


def live_tickets_of(member_id: int, store_id: int) -> list[QueueTicket]:
    """Her numbers in this store today that wait or are called."""
    return list(
        QueueTicket.objects.filter(
            member_id=member_id,
            queue__store_id=store_id,
            queue__day=clock.today(),
            state__in=[QueueTicket.WAITING, QueueTicket.CALLED],
        ).select_related("queue__service")
    )


def ticket_of_booking(booking_id: int) -> QueueTicket | None:
    return QueueTicket.objects.filter(booking_id=booking_id).first()
