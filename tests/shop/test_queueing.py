"""The queue: numbers given once, called once, and the phone that says when it is nearly her turn."""

import os
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from core import clock
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.booking_audits import check_ins_have_their_number
from shop.errors import NoSuchBooking, NoSuchService, NoSuchTicket, QueueRefused, TooLate
from shop.models import BookableService, QueueDay, QueueTicket
from tests.shop import booking_builders as make
from tests.shop import builders
from tests.shop.test_races import at_once

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def monday_at_ten() -> Any:
    with clock.travel(make.MONDAY):
        prepare_months_ahead(1)
        yield


@pytest.fixture
def place() -> Any:
    """A store with one service, at ten in the morning: {"store", "service"}."""
    store = make.store()
    service = make.service(store, capacity=9)
    with clock.travel(make.MONDAY + timedelta(hours=1)):
        yield {"store_id": store.pk, "service_id": service.pk}


def walk_in(place: dict[str, int], member: Any = None) -> QueueTicket:
    return services.take_number(**place, member_id=(member or builders.member()).pk)


@pytest.mark.django_db(transaction=True)
def test_numbers_taken_at_once_are_one_to_ten_and_clerks_never_call_the_same(place: Any) -> None:
    members = [builders.member() for _number in range(10)]
    taken = at_once(*[lambda one=one: walk_in(place, one) for one in members])
    assert sorted(ticket.number for ticket in taken) == list(range(1, 11))
    called = at_once(
        *[lambda name=name: services.call_next(**place, by=name) for name in ("周", "吴", "郑", "王") * 3]
    )
    numbers = [one.number for one in called if isinstance(one, QueueTicket)]
    assert sorted(numbers) == list(range(1, 11))
    assert Counter(type(one).__name__ for one in called) == {"QueueTicket": 10, "QueueRefused": 2}


@pytest.mark.django_db(transaction=True)
def test_one_member_has_one_number_however_often_she_taps(place: Any) -> None:
    member = builders.member()
    results = at_once(*[lambda: walk_in(place, member)] * 6)
    assert {ticket.pk for ticket in results} == {QueueTicket.objects.get().pk}
    assert QueueDay.objects.get().last_number == 1


def test_who_booked_comes_before_who_walked_in(place: Any) -> None:
    guests = [walk_in(place) for _number in range(2)]
    member = builders.member()
    slot = queries.slots_on(place["service_id"], place["store_id"], clock.today())[0]
    booking = services.book_slot(member_id=member.pk, slot_id=slot.pk)
    mine = services.check_in(code=booking.code.lower(), member_id=member.pk)
    assert services.check_in(code=booking.code, store_id=place["store_id"], by="小周").pk == mine.pk
    assert (mine.number, mine.label, queries.place_of(mine).ahead) == (3, "Y003", 0)
    assert queries.place_of(guests[1]).ahead == 2
    called = services.call_next(**place, by="小周")
    assert called.pk == mine.pk
    services.finish_number(ticket_id=called.pk, store_id=place["store_id"], by="小周")
    booking.refresh_from_db()
    assert booking.state == "served"
    assert queries.place_of(guests[1]).ahead == 1


def test_check_in_has_its_time_and_place(place: Any) -> None:
    member = builders.member()
    slot = queries.slots_on(place["service_id"], place["store_id"], clock.today())[-1]  # at 17
    code = services.book_slot(member_id=member.pk, slot_id=slot.pk).code
    with pytest.raises(TooLate):
        services.check_in(code=code, member_id=member.pk)
    with pytest.raises(NoSuchBooking):
        services.check_in(code=code, member_id=builders.member().pk)
    with pytest.raises(NoSuchBooking):
        services.check_in(code=code, store_id=make.store("别的店").pk, by="别人")
    assert not QueueTicket.objects.exists()
    assert services.check_in(code=code, store_id=place["store_id"], by="小周").is_booked


def test_one_number_stands_for_one_booking(place: Any) -> None:
    service, member = BookableService.objects.get(), builders.member()
    BookableService.objects.update(max_open=2)
    codes = [
        services.book_slot(member_id=member.pk, slot_id=make.slot(service, hour).pk).code for hour in (14, 15)
    ]
    mine = services.check_in(code=codes[0], store_id=place["store_id"], by="小周")
    with pytest.raises(QueueRefused, match=mine.label):
        services.check_in(code=codes[1], store_id=place["store_id"], by="小周")
    services.call_next(**place, by="小周")
    services.finish_number(ticket_id=mine.pk, store_id=place["store_id"], by="小周")
    assert services.check_in(code=codes[1], store_id=place["store_id"], by="小周").number == 2
    assert list(check_ins_have_their_number()) == []


def test_walk_ins_come_in_opening_hours_to_services_that_take_them(place: Any) -> None:
    with clock.travel(make.MONDAY + timedelta(hours=13)), pytest.raises(QueueRefused):
        walk_in(place)
    with pytest.raises(NoSuchService):
        services.take_number(store_id=place["store_id"], service_id=9_999, member_id=builders.member().pk)
    strict = make.service(make.store(), takes_walk_ins=False)
    with pytest.raises(QueueRefused):
        services.take_number(
            store_id=strict.stores.get().pk, service_id=strict.pk, member_id=builders.member().pk
        )
    assert not QueueTicket.objects.exists()


def test_skipped_numbers_are_called_again_and_served_ones_are_not(place: Any) -> None:
    ticket = walk_in(place)
    store_id = place["store_id"]
    with pytest.raises(QueueRefused):
        services.skip_number(ticket_id=ticket.pk, store_id=store_id, by="小周")
    services.call_next(**place, by="小周")
    services.skip_number(ticket_id=ticket.pk, store_id=store_id, by="小周")
    again = services.call_again(ticket_id=ticket.pk, store_id=store_id, by="小周")
    assert (again.state, again.calls) == ("called", 2)
    services.skip_number(ticket_id=ticket.pk, store_id=store_id, by="小周")
    page = make.phone(again.member).get(f"/tickets/{ticket.pk}/").content.decode()
    assert "您的号码已过号" in page  # and the page goes on asking: it may be called again
    assert "hx-get" in page
    newer = walk_in(place, again.member)
    with pytest.raises(QueueRefused, match="A002"):  # nobody stands in a queue twice
        services.call_again(ticket_id=ticket.pk, store_id=store_id, by="小周")
    services.leave_queue(ticket_id=newer.pk, member_id=again.member.pk)
    services.call_again(ticket_id=ticket.pk, store_id=store_id, by="小周")
    services.finish_number(ticket_id=ticket.pk, store_id=store_id, by="小周")
    services.finish_number(ticket_id=ticket.pk, store_id=store_id, by="小周")
    with pytest.raises(QueueRefused):
        services.call_again(ticket_id=ticket.pk, store_id=store_id, by="小周")
    with pytest.raises(NoSuchTicket):
        services.call_again(ticket_id=ticket.pk, store_id=make.store().pk, by="别人")
    assert QueueTicket.objects.get(pk=ticket.pk).state == "served"


def test_a_member_hears_once_when_two_are_before_her_and_when_she_is_called(place: Any) -> None:
    for _number in range(3):
        walk_in(place)
    member = make.reachable()
    mine = walk_in(place, member)
    assert make.sent("queue-near") == 0
    for _number in range(3):
        services.call_next(**place, by="小周")
    assert make.sent("queue-near") == 1
    assert services.call_next(**place, by="小周").pk == mine.pk
    assert (make.sent("queue-near"), make.sent("queue-call-1")) == (1, 1)


def test_leaving_and_the_end_of_the_day(place: Any) -> None:
    member = builders.member()
    ticket = walk_in(place, member)
    with pytest.raises(NoSuchTicket):
        services.leave_queue(ticket_id=ticket.pk, member_id=builders.member().pk)
    services.leave_queue(ticket_id=ticket.pk, member_id=member.pk)
    assert walk_in(place, member).number == 2
    with clock.travel(make.MONDAY + timedelta(days=1, hours=2)):
        assert walk_in(place, member).number == 1  # a new day, a new list
        assert services.close_past_queues() == 1
        assert services.close_past_queues() == 0


def test_the_clerks_page_is_for_clerks_of_a_store(client: Any, place: Any) -> None:
    assert client.get("/staff/queue/").headers["Location"].startswith("/admin/login/")
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get("/staff/queue/").status_code == 400
    ticket = walk_in(place)
    other = make.clerk(make.store("别的店"))
    client.force_login(other.user)
    assert client.post(f"/staff/queue/{ticket.pk}/", {"do": "again"}).status_code == 404
    assert client.post("/staff/queue/call/", {"service": place["service_id"]}).status_code == 409
    ticket.refresh_from_db()
    assert ticket.state == "waiting"


def test_a_guest_without_a_phone_gets_a_number_by_name(client: Any, place: Any) -> None:
    from crm.models import Store

    client.force_login(make.clerk(Store.objects.get(pk=place["store_id"])).user)
    client.post("/staff/queue/arrive/", {"guest": "张阿姨" * 50, "service": str(place["service_id"])})
    ticket = QueueTicket.objects.get()
    assert (len(ticket.guest), ticket.member_id) == (40, None)
    page = client.get("/staff/queue/", HTTP_HX_REQUEST="true").content.decode()
    assert "叫下一位：A001" in page
    given = client.post(
        "/staff/queue/arrive/",
        {"guest": "刘先生", "service": str(place["service_id"])},
        HTTP_HX_REQUEST="true",
    )
    assert (
        given["HX-Trigger"] == "form:done"
    )  # the name is taken out of the field: a second tap sends nothing
    answer = client.post("/staff/queue/arrive/", {"code": "\x00🦆" * 500}, HTTP_HX_REQUEST="true")
    assert "没有这个预约" in answer.content.decode()
    assert "HX-Trigger" not in answer
