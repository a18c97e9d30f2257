"""Bookings: slots from rules, never overbooked, cancelled in time, reminded once."""

from collections import Counter
from datetime import date, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from core import audits, clock
from crm.services import merge_members, prepare_months_ahead
from shop import booking_rules, services
from shop.errors import NoSuchBooking, NotBookable, SlotFull, TooLate
from shop.models import Booking, BookingReminder, BookingSlot, ServiceDay
from shop.services import booking as booking_service
from tests.shop import booking_builders as make
from tests.shop import builders
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def monday() -> Any:
    with clock.travel(make.MONDAY):
        prepare_months_ahead(1)
        yield


def audit(name: str) -> list[audits.Finding]:
    return audits.run_check(name)


# --- Rules ---------------------------------------------------------------------------------------------------------
def test_a_rule_of_the_store_wins_over_one_of_all_stores_and_both_over_the_week() -> None:
    openings = [booking_rules.Opening(0, time(10), time(12)), booking_rules.Opening(0, time(14), time(15))]
    day = date(2026, 11, 23)
    week = [(time(10), time(12)), (time(14), time(15))]
    assert booking_rules.open_spans(day, 1, openings, []) == week
    shut = booking_rules.DayRule(day, None, None, None)
    assert booking_rules.open_spans(day, 1, openings, [shut]) == []
    late = booking_rules.DayRule(day, 1, time(18), time(20))
    assert booking_rules.open_spans(day, 1, openings, [shut, late]) == [(time(18), time(20))]
    assert booking_rules.open_spans(day, 2, openings, [shut, late]) == []
    assert booking_rules.slot_starts([(time(10), time(12)), (time(11), time(12, 30))], 45) == [
        time(10),
        time(10, 45),
        time(11),
        time(11, 45),
    ]


def test_slots_follow_the_rules_and_bookings_survive_every_change() -> None:
    store = make.store()
    service = make.service(store)
    assert service.slots.count() == 4 * 6  # today and three days, six hours each
    booked = make.slot(service, 14, days=1)
    booking = services.book_slot(member_id=builders.member().pk, slot_id=booked.pk)
    ServiceDay.objects.create(service=service, day=clock.today() + timedelta(days=1), note="盘点")
    services.change_slot(slot_id=make.slot(service, 10).pk, capacity=5)
    service.capacity = 3
    service.save()
    services.plan_slots(service_id=service.pk)
    assert service.slots.filter(is_planned=True).count() == 3 * 6
    booked.refresh_from_db()
    assert (booked.is_planned, booked.taken, booked.capacity) == (False, 1, 1)
    assert service.slots.filter(is_planned=False).count() == 1  # only the one that was booked is kept
    assert make.slot(service, 10).capacity == 5
    assert make.slot(service, 11).capacity == 3
    with pytest.raises(SlotFull):
        services.book_slot(member_id=builders.member().pk, slot_id=booked.pk)
    with pytest.raises(NotBookable):
        services.change_slot(slot_id=booked.pk, capacity=0)
    booking.refresh_from_db()
    assert booking.state == "booked"


def test_who_is_served_by_an_older_plan_is_not_free_for_others() -> None:
    with clock.travel(make.MONDAY):
        service = make.service(make.store(), capacity=2)
        booking = services.book_slot(member_id=builders.member().pk, slot_id=make.slot(service).pk)
        service.minutes = 45
        service.save()
        for _again in range(2):
            services.plan_slots(service_id=service.pk)
        ends, second = (service.slots.order_by("starts_at")[place] for place in (0, 1))
        assert (clock.local(ends.ends_at).hour, ends.capacity, second.capacity) == (11, 1, 1)
        services.book_slot(member_id=builders.member().pk, slot_id=second.pk)
        with pytest.raises(SlotFull):
            services.book_slot(member_id=builders.member().pk, slot_id=second.pk)
        services.cancel_booking(booking_id=booking.pk)
        services.plan_slots(service_id=service.pk)
        assert service.slots.filter(is_planned=True).exclude(capacity=2).count() == 0


# --- Never overbooked ----------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_twelve_members_at_once_get_exactly_the_three_places() -> None:
    service = make.service(make.store(), capacity=3)
    slot = make.slot(service)
    members = [builders.member() for _number in range(12)]
    results = at_once(
        *[lambda one=one: services.book_slot(member_id=one.pk, slot_id=slot.pk) for one in members]
    )
    assert Counter(type(result).__name__ for result in results) == {"Booking": 3, "SlotFull": 9}
    slot.refresh_from_db()
    assert (slot.taken, slot.bookings.count()) == (3, 3)


@pytest.mark.django_db(transaction=True)
def test_one_member_tapping_six_times_has_one_place_and_one_cancelling_six_times_gives_one_back() -> None:
    service = make.service(make.store(), capacity=9)
    slot, member = make.slot(service, 14), builders.member()
    results = at_once(*[lambda: services.book_slot(member_id=member.pk, slot_id=slot.pk)] * 6)
    assert {result.pk for result in results} == {Booking.objects.get().pk}
    slot.refresh_from_db()
    assert slot.taken == 1
    booking = results[0]
    others = [make.slot(service, hour) for hour in (15, 16, 17)]
    results = at_once(
        *[lambda one=one: services.book_slot(member_id=member.pk, slot_id=one.pk) for one in others]
    )
    assert Counter(type(result).__name__ for result in results) == {"Booking": 1, "NotBookable": 2}
    cancelled = at_once(*[lambda: services.cancel_booking(booking_id=booking.pk, member_id=member.pk)] * 6)
    assert {result.state for result in cancelled} == {"cancelled"}
    slot.refresh_from_db()
    assert slot.taken == 0


def test_cancelling_has_a_deadline_that_the_staff_does_not_have() -> None:
    service = make.service(make.store(), cancel_hours=2)
    slot, member = make.slot(service, 14), builders.member()
    booking = services.book_slot(member_id=member.pk, slot_id=slot.pk)
    with pytest.raises(NoSuchBooking):
        services.cancel_booking(booking_id=booking.pk, member_id=builders.member().pk)
    with clock.travel(make.MONDAY + timedelta(hours=3, minutes=1)), pytest.raises(TooLate):
        services.cancel_booking(booking_id=booking.pk, member_id=member.pk)
    slot.refresh_from_db()
    assert slot.taken == 1
    with clock.travel(make.MONDAY + timedelta(hours=4)):
        page = make.phone(member).get(f"/bookings/{booking.code}/").content.decode()
        assert "已过可取消时间" in page
        assert "小时可取消" not in page
        services.cancel_booking(booking_id=booking.pk, by="小周", reason="设备故障")
        assert "门店已取消" in make.phone(member).get(f"/bookings/{booking.code}/").content.decode()
    slot.refresh_from_db()
    assert slot.taken == 0
    again = services.book_slot(member_id=member.pk, slot_id=slot.pk)
    assert again.pk != booking.pk


def test_two_members_who_are_one_person_keep_one_place() -> None:
    service = make.service(make.store(), capacity=4)
    slot, kept, merged = make.slot(service), builders.member(), builders.member()
    for member in (kept, merged):
        services.book_slot(member_id=member.pk, slot_id=slot.pk)
    merge_members(kept_id=kept.pk, merged_id=merged.pk)
    services.move_member(kept_id=kept.pk, merged_id=merged.pk)
    slot.refresh_from_db()
    assert slot.taken == 1
    assert audit("shop.slots_are_taken_by_their_bookings") == []


# --- Reminders and no-shows ----------------------------------------------------------------------------------------
def test_reminders_come_the_day_before_and_two_hours_before_once_each() -> None:
    member = make.reachable()
    service = make.service(make.store())
    booking = services.book_slot(member_id=member.pk, slot_id=make.slot(service, 14, days=2).pk)
    at = make.MONDAY + timedelta(days=1, hours=5, minutes=1)
    assert services.send_booking_reminders() == 0
    with clock.travel(at):
        assert services.send_booking_reminders() == 1
        assert services.send_booking_reminders() == 0
    with clock.travel(at + timedelta(hours=22)):
        services.send_booking_reminders()
    assert (make.sent("booking-day"), make.sent("booking-hours")) == (1, 1)
    outcomes = BookingReminder.objects.filter(booking=booking).values_list("outcome", flat=True)
    assert list(outcomes) == ["sent", "sent"]


def test_nobody_is_reminded_of_a_cancelled_booking_or_without_an_open_window() -> None:
    service = make.service(make.store(), capacity=2)
    slot = make.slot(service, 14, days=2)
    member = make.reachable()
    booking = services.book_slot(member_id=member.pk, slot_id=slot.pk)
    services.cancel_booking(booking_id=booking.pk, member_id=member.pk)
    services.book_slot(member_id=builders.member().pk, slot_id=slot.pk)
    with clock.travel(make.MONDAY + timedelta(days=1, hours=6)):
        assert services.send_booking_reminders() == 1
    assert make.sent("booking-day") == 0
    assert BookingReminder.objects.filter(outcome="no_window").count() == 1


def test_a_reminder_that_fails_stands_in_no_others_way(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make.service(make.store(), capacity=2)
    slot, tell = make.slot(service, 14, days=2), booking_service.tell_member
    broken, _other = (
        services.book_slot(member_id=make.reachable().pk, slot_id=slot.pk) for _number in range(2)
    )

    def failing(*, origin_id: int, **rest: Any) -> str:
        if origin_id == broken.pk:
            raise RuntimeError("a fault of ours")
        return tell(origin_id=origin_id, **rest)

    monkeypatch.setattr(booking_service, "tell_member", failing)
    at = make.MONDAY + timedelta(days=1, hours=6)
    with clock.travel(at):
        assert [services.send_booking_reminders() for _turn in range(2)] == [1, 0]
    monkeypatch.undo()
    with clock.travel(at + timedelta(minutes=11)):
        assert services.send_booking_reminders() == 1


def test_who_did_not_come_is_marked_half_an_hour_after_the_slot() -> None:
    service = make.service(make.store())
    booking = services.book_slot(member_id=builders.member().pk, slot_id=make.slot(service).pk)
    with clock.travel(make.MONDAY + timedelta(hours=2, minutes=20)):
        assert services.mark_no_shows() == 0
    with clock.travel(make.MONDAY + timedelta(hours=2, minutes=31)):
        assert services.mark_no_shows() == 1
        assert services.mark_no_shows() == 0
    booking.refresh_from_db()
    assert booking.state == "no_show"


# --- Pages ---------------------------------------------------------------------------------------------------------
def test_a_member_books_and_cancels_through_the_pages() -> None:
    store = make.store()
    service = make.service(store)
    other, member = builders.member(), builders.member()
    services.book_slot(member_id=other.pk, slot_id=make.slot(service, 10).pk)
    phone = make.phone(member)
    assert "调香体验" in phone.get("/book/").content.decode()
    page = phone.get(f"/book/{service.pk}/").content.decode()
    assert page.count('data-test="slot-full"') == 1
    assert page.count('data-test="slot"') == 5
    slot = make.slot(service, 11)
    confirm = f"/book/slots/{slot.pk}/"
    assert "确认预约" in phone.get(confirm).content.decode()
    answer = phone.post(confirm, {"note": "😀" * 10_000})
    booking = Booking.objects.get(member=member)
    assert answer.headers["Location"] == f"/bookings/{booking.code}/"
    assert len(booking.note) == 200
    page = phone.get(answer.headers["Location"]).content.decode()
    assert f"{booking.code[:4]} {booking.code[4:]}" in page
    assert "data:image/svg+xml" in page
    assert "调香体验" in phone.get("/bookings/").content.decode()
    stranger = make.phone(other)
    assert stranger.get(f"/bookings/{booking.code}/").status_code == 404
    assert stranger.post(f"/bookings/{booking.code}/cancel/").status_code == 404
    assert stranger.post(confirm).status_code == 409
    assert Booking.objects.exclude(state="cancelled").count() == 2
    phone.post(f"/bookings/{booking.code}/cancel/")
    booking.refresh_from_db()
    assert booking.state == "cancelled"


def test_bad_addresses_are_refused_and_change_nothing(client: Any) -> None:
    service = make.service(make.store())
    phone = make.phone(builders.member())
    assert phone.get("/book/999/").status_code == 404
    assert phone.get("/book/slots/999/").status_code == 404
    assert phone.post("/book/slots/999/").status_code == 404
    assert phone.get(f"/book/{service.pk}/?store=-1&day=🦆").status_code == 200
    assert phone.get("/bookings/%F0%9F%A6%86/").status_code == 404
    with clock.travel(make.MONDAY + timedelta(hours=2)):
        assert phone.post(f"/book/slots/{make.slot(service, 10).pk}/").status_code == 409
    login = client.post(f"/book/slots/{make.slot(service, 10).pk}/")
    assert login.status_code == 302
    assert not Booking.objects.exists()


# --- Admin and audit -----------------------------------------------------------------------------------------------
def test_the_admin_keeps_services_and_cancels_bookings(
    client: Any, django_assert_max_num_queries: Any
) -> None:
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    store = make.store()
    service = make.service(store, capacity=4)
    booking = services.book_slot(member_id=builders.member().pk, slot_id=make.slot(service).pk)
    for name in ("bookableservice", "bookingslot", "booking", "queueticket"):
        page = reverse(f"admin:shop_{name}_changelist") + ("?days=7" if name == "bookingslot" else "")
        client.get(page)
        with django_assert_max_num_queries(12):
            seen = client.get(page)
        assert seen.status_code == 200
        if name == "bookingslot":
            assert (
                'aria-valuenow="25"' in seen.content.decode()
            )  # an empty bar of the browser's looks full there
    for row in (service, booking, booking.slot):
        page = reverse(f"admin:shop_{row._meta.model_name}_change", args=[row.pk])
        assert client.get(page).status_code == 200
    address = reverse("admin:shop_booking_cancel", args=[booking.pk])
    client.post(address, {"_form_submitted": "on", "reason": "停电"})
    booking.refresh_from_db()
    assert (booking.state, booking.actor, booking.reason) == ("cancelled", "小运", "停电")
    address = reverse("admin:shop_bookingslot_places", args=[booking.slot_id])
    client.post(address, {"_form_submitted": "on", "capacity": "7", "is_closed": "on"})
    slot = BookingSlot.objects.get(pk=booking.slot_id)
    assert (slot.capacity, slot.is_closed) == (7, True)
