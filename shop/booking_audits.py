"""What must be true of slots, bookings and queues, each as one statement."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows


def _findings(check: str, sql: str, problem: str) -> Iterator[Finding]:
    """The first column names the subject, the second explains."""
    for subject, detail in rows(sql):
        yield Finding(check=check, subject=str(subject), problem=f"{problem} ({detail})")


@audit_check(
    "shop.slots_are_taken_by_their_bookings", gettext_lazy("Booking slots are taken by their bookings")
)
def slots_are_taken_by_their_bookings() -> Iterator[Finding]:
    return _findings(
        "shop.slots_are_taken_by_their_bookings",
        """
        SELECT 'slot ' || s.id, format('taken %s of %s, bookings %s', s.taken, s.capacity, coalesce(b.live, 0))
        FROM shop_bookingslot s LEFT JOIN (
            SELECT slot_id, count(*) AS live FROM shop_booking WHERE state <> 'cancelled' GROUP BY slot_id
        ) b ON b.slot_id = s.id
        WHERE s.taken <> coalesce(b.live, 0) OR s.taken > s.capacity
        """,
        _("the slot's taken places are not its bookings"),
    )


@audit_check("shop.queue_numbers_were_given", gettext_lazy("Queue numbers were given by their counter, once"))
def queue_numbers_were_given() -> Iterator[Finding]:
    return _findings(
        "shop.queue_numbers_were_given",
        """
        SELECT 'queue ' || q.id, format('last number %s, numbers %s, highest %s', q.last_number, count(t.id),
                                        coalesce(max(t.number), 0))
        FROM shop_queueday q LEFT JOIN shop_queueticket t ON t.queue_id = q.id
        GROUP BY q.id HAVING q.last_number <> count(t.id) OR q.last_number <> coalesce(max(t.number), 0)
        """,
        _("numbers are missing or were never given"),
    )


@audit_check(
    "shop.check_ins_have_their_number", gettext_lazy("Whoever checked in for a booking has a queue number")
)
def check_ins_have_their_number() -> Iterator[Finding]:
    return _findings(
        "shop.check_ins_have_their_number",
        """
        SELECT 'booking ' || b.id, format('%s, numbers %s', b.state, count(t.id))
        FROM shop_booking b LEFT JOIN shop_queueticket t ON t.booking_id = b.id
        GROUP BY b.id
        HAVING (b.state IN ('checked_in', 'served')) <> (count(t.id) = 1)
        """,
        _("the booking and its number do not agree"),
    )
